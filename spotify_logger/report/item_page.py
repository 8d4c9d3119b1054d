"""Shows the report on a track, an artist or an album, or the candidates."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from spotify_logger.core.periods import Period
from spotify_logger.queries.item_page import ItemPage, ItemReport
from spotify_logger.queries.question import PLAYS, TIME, Question
from spotify_logger.queries.top import VARIOUS
from spotify_logger.report.answers import blocks, csv_rows
from spotify_logger.report.blocks import BarChart, Block, Columns, Note, Sparkline, Table
from spotify_logger.report.cells import MINUTE_MS, Cell, Formatted, heard, phrase
from spotify_logger.report.phrases import did_you_mean, format_iso, gap_note
from spotify_logger.report.words import counted, percentage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.queries.figures import DaySums, Line
    from spotify_logger.queries.item_page import HourSums, PeriodSums
    from spotify_logger.report.csv_output import CsvRow

    Sums = Line | DaySums | PeriodSums | HourSums

AMOUNTS = ("name", "artists", "plays", "heard_ms", "key")  # the columns of a line
PARTS = ("tracks", "albums", "ids")


@blocks.register(ItemPage)
def _(result: ItemPage, question: Question) -> Sequence[Block]:
    if result.found:
        return [*_report(result, result.found, question), *gap_note(result.unseen)]
    if result.candidates:
        return _choice(result, question.limit)
    if result.known:
        return [Note(f"“{result.text}” was not played: {question.period.words}.")]
    return [Note(did_you_mean(f"No {result.kind} is called “{result.text}”.", result.close))]


@csv_rows.register(ItemPage)
def _(result: ItemPage) -> Sequence[CsvRow]:
    if not result.found:
        return [_amounts(line) for line in result.candidates]
    found = result.found
    whole = {
        **_amounts(found),
        "rank": found.rank,
        "skips": found.skips,
        "first": found.first,
        "last": found.last,
    }
    nothing: CsvRow = dict.fromkeys(whole)
    rows: list[CsvRow] = [{"what": result.kind, **whole}]
    rows += [
        {"what": "period", **nothing, "name": each.period, "plays": each.plays, "heard_ms": each.heard_ms}
        for each in found.periods
    ]
    rows += [
        {"what": part.removesuffix("s"), **nothing, **_amounts(line), "rank": rank}
        for part in PARTS
        for rank, line in enumerate(getattr(found, part), 1)
    ]
    return rows


def _amounts(line: Line) -> CsvRow:
    return {name: getattr(line, name) for name in AMOUNTS}


def _choice(result: ItemPage, limit: int) -> list[Block]:
    """Return the list of several candidates, and the commands that select the first of them."""
    noun, number, first = result.kind, len(result.candidates), result.candidates[0]
    page: list[Block] = [
        Note(f"{counted(number, noun)} match “{result.text}”:"),
        Table(
            [(line.title, line.plays) for line in result.candidates[:limit]], (noun, PLAYS), [1], flexible=0
        ),
    ]
    if number > limit:
        page.append(Note(f"and {counted(number - limit, f'more {noun}')}"))
    by_name = [] if first.artists == VARIOUS else [f"{first.artists} {first.name}".strip()]
    commands = [
        f"spotify-logger {noun} {shlex.quote(text)}" for text in dict.fromkeys([*by_name, first.text])
    ]
    return [*page, Note(Table(list(zip(("try", "or"), commands, strict=False))))]


def _report(result: ItemPage, found: ItemReport, question: Question) -> list[Block]:
    by, limit = result.by, question.limit
    page: list[Block] = [Table([row for row in _rows(result, found, question) if row[1]])]
    tables = [
        _part(found, noun, lines, by)
        for noun, lines in (("track", found.tracks), ("album", found.albums))
        if len(lines) > 1
    ]
    page += [Columns(*tables)] if len(tables) == 2 else tables  # noqa: PLR2004 - left and right
    if len(found.ids) > 1:
        rows = [(f"{line.key} on {line.name}", _amount(line, by)) for line in found.ids]
        page.append(Table(rows, ("ids", _heading(by)), [1], flexible=0))
    if len(found.periods) > 1:
        page.append(
            BarChart([(each.period, _measure(each, by), _amount(each, by)) for each in found.periods])
        )
    hours = [each.heard_ms // MINUTE_MS if by == TIME else each.plays for each in found.hours]
    labels = [str(each.hour) for each in found.hours]
    page.append(Sparkline(labels, hours, "minutes" if by == TIME else PLAYS))
    if found.others:
        others = [(other.text, other.plays) for other in found.others[:limit]]
        page.append(Table(others, ("others with this name", PLAYS), [1], flexible=0))
    return [page[0], *map(Note, page[1:])]


def _rows(result: ItemPage, found: ItemReport, question: Question) -> list[tuple[str, Cell]]:
    zone, best, run, ids = question.zone, found.most_in_a_day, found.most_in_a_row, found.ids
    rank: Cell = None
    if found.rank:
        of_all = f"{percentage(found.share, 1)} of all {'time heard' if result.by == TIME else PLAYS}"
        rank = phrase(found.rank, "of", found.ranked, f"{result.kind}{'s' * (found.ranked > 1)}, {of_all}")
    skip_rate = "" if found.skip_rate is None else f"({percentage(found.skip_rate, 1)})"
    others = "other" if found.shorter == 1 else "others"
    return [
        (result.kind, found.title),
        *([("album", ids[0].name), ("key", ids[0].key)] if len(ids) == 1 else []),
        ("period", "" if question.period == Period() else question.period.words),
        ("plays", phrase(found.plays, f"{question.rule_words},", found.shorter, others)),
        ("heard", heard(found.heard_ms)),
        ("rank", rank),
        ("tracks", found.number_of_tracks or None),
        ("albums", found.number_of_albums or None),
        ("skips", phrase(found.skips, skip_rate)),
        ("first", format_iso(zone, found.first)),
        ("last", format_iso(zone, found.last)),
        ("most in a day", found.plays and phrase(_amount(best, result.by), f"on {best.day}")),
        ("most in a row", run.plays > 1 and phrase(run.plays, f"from {format_iso(zone, run.from_)}")),
    ]


def _part(found: ItemReport, noun: str, lines: Sequence[Line], by: str) -> Table:
    """Return the table of a part; the artist whom all of its lines share is in the first table."""
    names = [line.title if found.artists == VARIOUS else line.name for line in lines]
    rows = [
        (rank, name, _amount(line, by)) for rank, (name, line) in enumerate(zip(names, lines, strict=True), 1)
    ]
    return Table(rows, ("", noun, _heading(by)), [0, 2])


def _heading(by: str) -> str:
    return "heard" if by == TIME else PLAYS


def _measure(sums: Sums, by: str) -> int:
    return sums.heard_ms if by == TIME else sums.plays


def _amount(sums: Sums, by: str) -> int | Formatted:
    return heard(sums.heard_ms) if by == TIME else sums.plays
