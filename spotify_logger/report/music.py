"""Show the answers about music: `top`, `compare`, `count`, and everything about one thing."""

from __future__ import annotations

import shlex
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from spotify_logger.config.listeners import UNNAMED
from spotify_logger.core.periods import Period
from spotify_logger.core.times import seconds_of
from spotify_logger.queries.compare import Comparison, SharedLine
from spotify_logger.queries.count import Count
from spotify_logger.queries.item_page import ItemPage, ItemReport
from spotify_logger.queries.question import PLAYS, TIME, Question, measure
from spotify_logger.queries.sql import NOUNS
from spotify_logger.queries.top import VARIOUS, RankedLine, Top
from spotify_logger.report import answers, words
from spotify_logger.report.answers import amount, blocks, columns, csv_rows, figures, gap_note
from spotify_logger.report.blocks import Block, Columns, Note, Sparkline, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.queries.count import CountedTrack
    from spotify_logger.queries.top import Line
    from spotify_logger.report.answers import Row
    from spotify_logger.report.blocks import CsvRow, CsvValue
    from spotify_logger.report.words import Cell


def _first(
    rows: Sequence[Sequence[Cell]], headings: Sequence[str], right: Sequence[int], limit: int
) -> list[Block]:
    """Return the first rows of a table, and how many more there are."""
    more = len(rows) - limit
    notes = [Note(f"and {words.counted(more, f'more {headings[0]}')}")] if more > 0 else []
    return [Table(rows[:limit], headings, right, flexible=0), *notes]


@blocks.register(Top)
def _(result: Top, question: Question) -> Sequence[Block]:
    noun, period, by = NOUNS[result.kind], question.period, result.by
    if not result.top:
        return [Note(f"No {noun} has plays {question.rule_words} ({period.words}).")]
    whole, headings = measure(result, by), ["", noun, "plays", "heard", "share"]
    rows: list[list[Cell]] = [
        [line.rank, line.title, line.plays, words.heard(line.heard_ms), words.share(measure(line, by), whole)]
        for line in result.top
    ]
    if period.previous:
        headings.append(period.previous.words)
        rows = [[*row, _change(line, by)] for row, line in zip(rows, result.top, strict=True)]
    plays, number = words.counted(result.plays, "play"), words.counted(result.number, noun)
    total = f"{period.words}: {plays} {question.rule_words}, of {number}"
    in_all = f"{total}; {words.listening_time(result.heard_ms)} heard in all"
    return [Table(rows, headings, [0, 2, 3, 4, 5]), Note(in_all), *gap_note(result.unseen)]


def _change(line: RankedLine, by: str) -> Cell:
    if by == TIME:
        return words.heard_change(line.heard_ms, line.heard_ms_before or 0)
    return words.change(line.plays, line.plays_before or 0)


@blocks.register(Comparison)
def _(result: Comparison, question: Question) -> list[Block]:
    names = [each["name"] or UNNAMED for each in result.listeners]
    both = [{**each, "heard": words.heard(each["heard_ms"])} for each in result.listeners]
    sums = [[name, *(each[name] for each in both)] for name in ("plays", "heard", "artists", "tracks")]
    in_common = ", ".join(words.counted(number, NOUNS[kind]) for kind, number in result.common.items())
    rows = [_shared(line, "artist", names, question) for line in result.artists]
    rows += [_shared(line, "track", names, question) for line in result.tracks]
    return [
        Note(Table(sums, [question.period.words, *names], right_aligned=[1, 2], flexible=0)),
        Note(f"In common: {in_common}."),
        *([Table(rows, ["", "", "", *names, "first"], [0, 3, 4], flexible=2)] if rows else []),
    ]


def _shared(line: SharedLine, noun: str, names: Sequence[str], question: Question) -> list[Cell]:
    amounts = map(words.heard, line.heard_ms) if question.by == TIME else line.plays
    left, right = (seconds_of(each or "") or 0 for each in line.first)
    first = "both" if left == right else names[left > right]
    return [line.rank, noun, line.name, *amounts, f"{first}, {question.zone.day(min(left, right))}"]


@blocks.register(Count)
def _(result: Count, question: Question) -> list[Block]:
    tracks = result.tracks
    song = result.song if len(tracks) == 1 or not question.exact else None
    if not tracks:
        return [_not_found(result, question, f"Nothing matches “{result.text}”.")]
    rank = tracks[0].rank if len(tracks) == 1 else None
    rows: list[Row] = [
        ("what", song.title if song else words.phrase(len(tracks), "tracks")),
        ("plays", result.plays),
        ("shorter", result.shorter),
        ("skipped", result.skips),
        ("heard", words.duration(result.heard_ms)),
        ("rank", rank and words.phrase(rank, "of", result.ranked, "tracks")),
        ("first", words.format_iso(question.zone, result.first)),
        ("last", words.format_iso(question.zone, result.last)),
    ]
    page: list[Block] = [figures(rows)]
    if song:
        page += _editions(tracks)
    else:
        lines = [
            (each.title, each.plays, words.duration(each.heard_ms), each.rank, each.album) for each in tracks
        ]
        headings = ("track", "plays", "heard", "rank", "album")
        table, *more = _first(lines, headings, [1, 2, 3], question.limit)
        page += [Note(table), *more]
    if result.less_close:
        page.append(Note(f"Not counted: {words.counted(result.less_close, 'track')} matching less closely."))
    return [*page, *gap_note(result.unseen)]


def _editions(tracks: Sequence[CountedTrack]) -> list[Block]:
    """Return which editions of a song were counted together, if there are several."""
    plays, heard_ms = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for edition in chain.from_iterable(track.editions for track in tracks):
        names = edition["name"], edition["album"]
        plays[names] += edition["plays"]
        heard_ms[names] += edition["heard_ms"]
    rows = [(*names, plays[names], words.duration(heard_ms[names])) for names in plays]
    table = Table(rows, ("counted together", "album", "plays", "heard"), [2, 3], flexible=0)
    return [Note(table)] if len(rows) > 1 else []


def _not_found(result: Count | ItemPage, question: Question, problem: str) -> Note:
    """Return that nothing was played, or that nothing was found; and ask for what is close to it."""
    if result.known:
        return Note(f"“{result.text}” was not played in this period ({question.period.words}).")
    if not result.close:
        return Note(problem)
    *names, last = (f"“{name}”" for name in result.close)
    return Note(f"{problem} Did you mean {', '.join(names)}{' or ' * bool(names)}{last}?")


@csv_rows.register(Count)
def _(result: Count) -> list[CsvRow]:
    names = "name", "artists", "album", "plays", "shorter", "skips", "heard_ms", "first", "last", "rank"
    return [columns(track, names) | {"key": track.keys[0]} for track in result.tracks]


@blocks.register(ItemPage)
def _(result: ItemPage, question: Question) -> Sequence[Block]:
    if result.found:
        return [*_report(result, result.found, question), *gap_note(result.unseen)]
    if result.candidates:
        return _choice(result, question.limit)
    return [_not_found(result, question, f"No {result.kind} is called “{result.text}”.")]


@csv_rows.register(ItemPage)
def _(result: ItemPage) -> Sequence[CsvRow]:
    names = ("name", "artists", "plays", "heard_ms", "key")

    def row(what: str, of: object, **more: CsvValue) -> CsvRow:
        return {"what": what, **columns(of, (*names, "rank", "skips", "first", "last")), **more}

    if not result.found:
        return [columns(line, names) for line in result.candidates]
    return [
        row(result.kind, result.found),
        *(row("period", each, name=each.when) for each in result.found.periods),
        *(
            row(part.removesuffix("s"), line, rank=rank)
            for part in ("tracks", "albums", "ids")
            for rank, line in enumerate(getattr(result.found, part), 1)
        ),
    ]


def _choice(result: ItemPage, limit: int) -> list[Block]:
    """Return the list of several candidates, and the commands that select the first of them."""
    noun, lines = result.kind, result.candidates
    first = lines[0]
    texts = (
        [first.text] if first.artists == VARIOUS else [f"{first.artists} {first.name}".strip(), first.text]
    )
    commands = [f"spotify-logger {noun} {shlex.quote(text)}" for text in dict.fromkeys(texts)]
    return [
        Note(f"{words.counted(len(lines), noun)} match “{result.text}”:"),
        *_first([(line.title, line.plays) for line in lines], (noun, PLAYS), [1], limit),
        Note(Table(list(zip(("try", "or"), commands, strict=False)))),
    ]


def _report(result: ItemPage, found: ItemReport, question: Question) -> list[Block]:
    by = result.by

    def shown(lines: Sequence[Line]) -> list[tuple[str, Cell]]:
        """Return titles and amounts; an artist whom all lines share is in the first table."""
        return [(line.title if found.artists == VARIOUS else line.name, amount(line, by)) for line in lines]

    parts = [("track", found.tracks), ("album", found.albums)]
    tables = [answers.ranking(noun, by, shown(lines)) for noun, lines in parts if len(lines) > 1]
    page: list[Block] = [Columns(*tables)] if len(tables) == len(parts) else [*tables]
    if len(found.ids) > 1:
        rows = [(f"{line.key} on {line.name}", amount(line, by)) for line in found.ids]
        page.append(Table(rows, ("ids", "heard" if by == TIME else PLAYS), [1], flexible=0))
    if len(found.periods) > 1:
        page.append(answers.bars(found.periods, by))
    hours = [each.heard_ms // words.MINUTE_MS if by == TIME else each.plays for each in found.hours]
    labels = [str(each.when) for each in found.hours]
    page.append(Sparkline(labels, hours, "minutes" if by == TIME else PLAYS))
    if found.others:
        others = [(other["text"], other["plays"]) for other in found.others[: question.limit]]
        page.append(Table(others, ("others with this name", PLAYS), [1], flexible=0))
    return [_facts(result, found, question), *map(Note, page)]


def _facts(result: ItemPage, found: ItemReport, question: Question) -> Table:
    zone, best, run, ids = question.zone, found.most_in_a_day, found.most_in_a_row, found.ids
    of_all = f"{words.percentage(found.share, 1)} of all {'time heard' if result.by == TIME else PLAYS}"
    things = f"{result.kind}{'s' * (found.ranked > 1)}, {of_all}"
    skip_rate = "" if found.skip_rate is None else f"({words.percentage(found.skip_rate, 1)})"
    rows: list[Row] = [
        (result.kind, found.title),
        *([("album", ids[0].name), ("key", ids[0].key)] if len(ids) == 1 else []),
        ("period", "" if question.period == Period() else question.period.words),
        ("plays", answers.plays_and_others(found.plays, found.shorter, question)),
        ("heard", words.heard(found.heard_ms)),
        ("rank", found.rank and words.phrase(found.rank, "of", found.ranked, things)),
        ("tracks", found.number_of_tracks or None),
        ("albums", found.number_of_albums or None),
        ("skips", words.phrase(found.skips, skip_rate)),
        ("first", words.format_iso(zone, found.first)),
        ("last", words.format_iso(zone, found.last)),
    ]
    if found.plays:
        rows.append(("most in a day", words.phrase(amount(best, result.by), f"on {best.when}")))
    if run["plays"] > 1:
        since = words.format_iso(zone, run["from"])
        rows.append(("most in a row", words.phrase(run["plays"], f"from {since}")))
    return figures(rows)
