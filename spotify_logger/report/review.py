"""Shows `year` on one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.times import seconds_of
from spotify_logger.queries.question import PLAYS, TIME, Question
from spotify_logger.queries.review import Review, ReviewLine
from spotify_logger.queries.tallies import ALBUMS, ARTISTS, KINDS, NOUNS, TRACKS
from spotify_logger.report.answers import blocks, csv_rows, to_json
from spotify_logger.report.blocks import Block, Columns, Heading, Note, Sparkline, Table
from spotify_logger.report.cells import MINUTE_MS, Cell, Formatted, filled, heard, phrase
from spotify_logger.report.charts import HOUR_MS
from spotify_logger.report.phrases import format_iso, nothing_played
from spotify_logger.report.summary import figures
from spotify_logger.report.words import MONTHS, counted, exact_duration, listening_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.report.csv_output import CsvRow

FEW_HOURS = 10
"""Below this many hours, minutes are shown."""
HIGHLIGHTS = ("first play", "most repeated", "late night", "discovery")
COLUMNS = ("name", "artists", "plays", "heard_ms", "when", "key")


@blocks.register(Review)
def _(result: Review, question: Question) -> Sequence[Block]:
    if not result.plays and not result.shorter:
        return [nothing_played(question.period)]
    times = [month.heard_ms for month in result.months]
    unit, unit_ms = ("minutes", MINUTE_MS) if max(times) < FEW_HOURS * HOUR_MS else ("hours", HOUR_MS)
    tracks, artists, albums = (_top(result, kind) for kind in (TRACKS, ARTISTS, ALBUMS))
    when = result.year if result.over else f"{result.year} so far"
    at_least = "at least " if result.unseen.gaps else ""
    plays = f"{counted(result.plays, 'play')} {question.rule_words}"
    highlights = _highlights(result, question)
    return [
        Note(Heading(f"{when}: {at_least}{listening_time(result.heard_ms)}, {plays}")),
        Sparkline(MONTHS, [time // unit_ms for time in times], unit),
        Columns(tracks, artists),
        Columns(albums, figures(_facts(result, question))),
        *([Table(highlights, flexible=2, single_line=True)] if highlights else []),
    ]


@csv_rows.register(Review)
def _(result: Review) -> Sequence[CsvRow]:
    if not result.plays and not result.shorter:
        return ()
    return [
        _csv_row("year", {"name": str(result.year), "plays": result.plays, "heard_ms": result.heard_ms}),
        *(
            _csv_row("month", {"name": each.month, "plays": each.plays, "heard_ms": each.heard_ms})
            for each in result.months
        ),
        *(
            _csv_row(NOUNS[kind], to_json(line), rank)
            for kind in KINDS
            for rank, line in enumerate(getattr(result.top, kind), 1)
        ),
        *(_csv_row(what, to_json(line)) for what, line in _lines(result)),
    ]


def _csv_row(what: str, values: CsvRow, rank: int | None = None) -> CsvRow:
    return {"what": what, "rank": rank, **{name: values.get(name) for name in COLUMNS}}


def _lines(result: Review) -> list[tuple[str, ReviewLine]]:
    """Return the highlights that there are, with their names."""
    lines = (getattr(result, what.replace(" ", "_")) for what in HIGHLIGHTS)
    return [(what, line) for what, line in zip(HIGHLIGHTS, lines, strict=True) if line]


def _highlights(result: Review, question: Question) -> list[Sequence[Cell]]:
    rows: list[Sequence[Cell]] = []
    for what, line in _lines(result):
        if line is result.first_play:
            amount: Cell = format_iso(question.zone, line.when)
        elif line.when:
            amount = phrase(line.plays, f"× {line.when}")  # noqa: RUF001 - times
        else:
            amount = _amount(line, result.by)
        rows.append((what, amount, line.title))
    if result.top.shows:  # in one line: most listeners have none or few
        names = (filled("{} ({})", line.name, _measure(line, result.by)) for line in result.top.shows)
        people, programs = zip(*names, strict=True)
        rows.append(("shows", None, Formatted(", ".join(people), ", ".join(programs))))
    return rows


def _top(result: Review, kind: str) -> Table:
    rows = [
        (rank, line.title, _measure(line, result.by))
        for rank, line in enumerate(getattr(result.top, kind), 1)
    ]
    return Table(rows, ("", NOUNS[kind], "heard" if result.by == TIME else PLAYS), [0, 2])


def _facts(result: Review, question: Question) -> list[tuple[str, Cell]]:
    streak, session, busiest, unseen = (
        result.longest_streak,
        result.longest_session,
        result.busiest_day,
        result.unseen,
    )
    new = None
    if result.new_tracks is not None and result.new_artists is not None:
        new = f"{counted(result.new_tracks, 'track')}, {counted(result.new_artists, 'artist')}"
    session_day = session and question.zone.day(seconds_of(session.from_) or 0)
    missing = f"{exact_duration(unseen.seconds)} in {counted(unseen.gaps, 'gap')}"
    return [
        ("days", phrase(result.days, "with plays")),
        ("new", new),
        ("streak", f"{counted(streak.days, 'day')} from {streak.from_}" if streak.days else None),
        ("session", filled("{}, {}", heard(session.ms), str(session_day)) if session else None),
        ("busiest", filled("{}, {}", heard(busiest.heard_ms), busiest.day) if busiest else None),
        ("missing", missing if unseen.gaps else None),
    ]


def _amount(line: ReviewLine, by: str) -> Cell:
    plays = line.plays or 0
    return _measure(line, by) if by == TIME else phrase(plays, "play" if plays == 1 else "plays")


def _measure(line: ReviewLine, by: str) -> int | Formatted:
    """Return plays, or a listening time in whole hours if there are many."""
    if by != TIME:
        return line.plays or 0
    heard_ms = line.heard_ms or 0
    return heard(heard_ms - heard_ms % HOUR_MS if heard_ms >= FEW_HOURS * HOUR_MS else heard_ms)
