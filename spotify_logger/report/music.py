"""Show the answers about music: `top`, `compare`, `count`, and everything about one thing."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from spotify_logger.core.periods import Period
from spotify_logger.core.times import seconds_of
from spotify_logger.monitoring.status import UNNAMED
from spotify_logger.queries.compare import Comparison, SharedLine
from spotify_logger.queries.count import Count
from spotify_logger.queries.item_page import ItemPage, ItemReport
from spotify_logger.queries.question import PLAYS, TIME, Question, measure
from spotify_logger.queries.tallies import ARTISTS, NOUNS, TRACKS
from spotify_logger.queries.top import VARIOUS, RankedLine, Top
from spotify_logger.report.answers import (
    amount,
    bars,
    blocks,
    columns,
    csv_rows,
    gap_note,
    heading,
    plays_and_others,
    ranking,
)
from spotify_logger.report.blocks import Block, Columns, Note, Sparkline, Table
from spotify_logger.report.cells import (
    MINUTE_MS,
    Cell,
    change,
    duration,
    heard,
    heard_change,
    phrase,
    share,
)
from spotify_logger.report.words import counted, format_iso, listening_time, percentage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.queries.count import CountedTrack
    from spotify_logger.queries.question import Question
    from spotify_logger.queries.top import Line
    from spotify_logger.report.csv_output import CsvRow


# top


@blocks.register(Top)
def _(result: Top, question: Question) -> Sequence[Block]:
    noun, period = NOUNS[result.kind], question.period
    if not result.top:
        return [Note(f"No {noun} has plays {question.rule_words}: {period.words}.")]
    whole = measure(result, result.by)
    before = [period.previous.words] if period.previous else []
    table = Table(
        [_ranked(line, result.by, whole) for line in result.top],
        ["", noun, "plays", "heard", "share", *before],
        [0, 2, 3, 4, 5],
    )
    total = f"{period.words}: {counted(result.plays, 'play')} {question.rule_words}"
    in_all = f"{total}, of {counted(result.number, noun)}; {listening_time(result.heard_ms)} heard in all"
    return [table, Note(in_all), *gap_note(result.unseen)]


def _ranked(line: RankedLine, by: str, whole: int) -> list[Cell]:
    row: list[Cell] = [line.rank, line.title, line.plays, heard(line.heard_ms)]
    row.append(share(measure(line, by), whole))
    if line.plays_before is None or line.heard_ms_before is None:
        return row
    if by == TIME:
        return [*row, heard_change(line.heard_ms, line.heard_ms_before)]
    return [*row, change(line.plays, line.plays_before)]


# compare


@blocks.register(Comparison)
def _(result: Comparison, question: Question) -> list[Block]:
    names = [each.name or UNNAMED for each in result.listeners]
    both = [(each.plays, heard(each.heard_ms), each.artists, each.tracks) for each in result.listeners]
    figures = list(zip(("plays", "heard", "artists", "tracks"), *both, strict=True))
    artists, tracks = counted(result.common.artists, "artist"), counted(result.common.tracks, "track")
    rows = [
        _shared(line, NOUNS[kind], names, question)
        for kind, lines in ((ARTISTS, result.artists), (TRACKS, result.tracks))
        for line in lines
    ]
    page: list[Block] = [
        Note(Table(figures, [question.period.words, *names], right_aligned=[1, 2], flexible=0)),
        Note(f"In common: {artists}, {tracks}."),
    ]
    return [*page, Table(rows, ["", "", "", *names, "first"], [0, 3, 4], flexible=2)] if rows else page


def _shared(line: SharedLine, noun: str, names: Sequence[str], question: Question) -> list[Cell]:
    amounts = [heard(each) for each in line.heard_ms] if question.by == TIME else line.plays
    left, right = (seconds_of(each or "") or 0 for each in line.first)
    first = "both" if left == right else names[left > right]
    return [line.rank, noun, line.name, *amounts, f"{first}, {question.zone.day(min(left, right))}"]


# count

CSV_FIELDS = (
    "name", "artists", "album", "plays", "shorter", "skips", "heard_ms", "first", "last", "rank",
)  # fmt: skip


@blocks.register(Count)
def _(result: Count, question: Question) -> list[Block]:
    tracks = result.tracks
    if not result.known:
        return [_did_you_mean(f"Nothing matches “{result.text}”.", result.close)]
    if not tracks:
        return [Note(f"“{result.text}” was not played: {question.period.words}.")]
    rank = tracks[0].rank if len(tracks) == 1 else None
    rows: list[tuple[str, Cell]] = [
        ("what", result.song.title if result.song else phrase(len(tracks), "tracks")),
        ("plays", result.plays),
        ("shorter", result.shorter),
        ("skipped", result.skips),
        ("heard", duration(result.heard_ms)),
        ("rank", None if rank is None else phrase(rank, "of", result.ranked, "tracks")),
        ("first", format_iso(question.zone, result.first)),
        ("last", format_iso(question.zone, result.last)),
    ]
    page: list[Block] = [Table([row for row in rows if row[1] not in ("", None)])]
    page += _editions(tracks) if result.song else _list(tracks, question.limit)
    if result.less_close:
        page.append(Note(f"Not counted: {counted(result.less_close, 'track')} matching less closely."))
    return [*page, *gap_note(result.unseen)]


def _editions(tracks: Sequence[CountedTrack]) -> list[Block]:
    """Return which editions of a song were counted together, if there are several."""
    sums: dict[tuple[str, str], list[int]] = {}
    for edition in (edition for track in tracks for edition in track.editions):
        amounts = sums.setdefault((edition.name, edition.album), [0, 0])
        amounts[0] += edition.plays
        amounts[1] += edition.heard_ms
    if len(sums) == 1:
        return []
    rows = [(*names, plays, duration(heard_ms)) for names, (plays, heard_ms) in sums.items()]
    return [Note(Table(rows, ("counted together", "album", "plays", "heard"), [2, 3], flexible=0))]


def _did_you_mean(problem: str, close: Sequence[str]) -> Note:
    """Return that nothing was found, and ask for what is close to it."""
    *names, last = (f"“{name}”" for name in close) if close else ("",)
    words = f"{', '.join(names)} or {last}" if names else last
    return Note(f"{problem} Did you mean {words}?" if close else problem)


def _list(tracks: Sequence[CountedTrack], number: int) -> list[Block]:
    rows = [
        (track.title, track.plays, duration(track.heard_ms), track.rank, track.album)
        for track in tracks[:number]
    ]
    more = [Note(f"and {counted(len(tracks) - number, 'more track')}")] if len(tracks) > number else []
    return [Note(Table(rows, ("track", "plays", "heard", "rank", "album"), [1, 2, 3], flexible=0)), *more]


@csv_rows.register(Count)
def _(result: Count) -> list[CsvRow]:
    return [columns(track, CSV_FIELDS) | {"key": track.keys[0]} for track in result.tracks]


# artist, album, track

LINE = ("name", "artists", "plays", "heard_ms", "key")  # the columns of a line


@blocks.register(ItemPage)
def _(result: ItemPage, question: Question) -> Sequence[Block]:
    if result.found:
        return [*_report(result, result.found, question), *gap_note(result.unseen)]
    if result.candidates:
        return _choice(result, question.limit)
    if result.known:
        return [Note(f"“{result.text}” was not played: {question.period.words}.")]
    return [_did_you_mean(f"No {result.kind} is called “{result.text}”.", result.close)]


@csv_rows.register(ItemPage)
def _(result: ItemPage) -> Sequence[CsvRow]:
    if not result.found:
        return [columns(line, LINE) for line in result.candidates]
    found = result.found
    whole = columns(found, (*LINE, "rank", "skips", "first", "last"))
    nothing: CsvRow = dict.fromkeys(whole)
    return [
        {"what": result.kind, **whole},
        *(
            {"what": "period", **nothing, "name": each.when, "plays": each.plays, "heard_ms": each.heard_ms}
            for each in found.periods
        ),
        *(
            {"what": part.removesuffix("s"), **nothing, **columns(line, LINE), "rank": rank}
            for part in ("tracks", "albums", "ids")
            for rank, line in enumerate(getattr(found, part), 1)
        ),
    ]


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
        rows = [(f"{line.key} on {line.name}", amount(line, by)) for line in found.ids]
        page.append(Table(rows, ("ids", heading(by)), [1], flexible=0))
    if len(found.periods) > 1:
        page.append(bars(found.periods, by))
    hours = [each.heard_ms // MINUTE_MS if by == TIME else each.plays for each in found.hours]
    labels = [str(each.when) for each in found.hours]
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
    return [
        (result.kind, found.title),
        *([("album", ids[0].name), ("key", ids[0].key)] if len(ids) == 1 else []),
        ("period", "" if question.period == Period() else question.period.words),
        ("plays", plays_and_others(found.plays, found.shorter, question)),
        ("heard", heard(found.heard_ms)),
        ("rank", rank),
        ("tracks", found.number_of_tracks or None),
        ("albums", found.number_of_albums or None),
        ("skips", phrase(found.skips, skip_rate)),
        ("first", format_iso(zone, found.first)),
        ("last", format_iso(zone, found.last)),
        ("most in a day", found.plays and phrase(amount(best, result.by), f"on {best.when}")),
        ("most in a row", run.plays > 1 and phrase(run.plays, f"from {format_iso(zone, run.from_)}")),
    ]


def _part(found: ItemReport, noun: str, lines: Sequence[Line], by: str) -> Table:
    """Return the table of a part; the artist whom all of its lines share is in the first table."""
    names = [line.title if found.artists == VARIOUS else line.name for line in lines]
    return ranking(noun, by, zip(names, (amount(line, by) for line in lines), strict=True))
