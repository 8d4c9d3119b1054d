"""Show the answers about periods: `stats`, `clock`, `calendar`, `course` and `year`."""

from __future__ import annotations

from dataclasses import is_dataclass
from datetime import date
from typing import TYPE_CHECKING

from spotify_logger.core.periods import WEEKDAYS
from spotify_logger.core.times import seconds_of
from spotify_logger.queries.charts import Calendar, Clock, Course
from spotify_logger.queries.local_time import DAY_HOURS
from spotify_logger.queries.question import PLAYS, TIME, Amount, Question, measure
from spotify_logger.queries.review import Review
from spotify_logger.queries.summary import Stats
from spotify_logger.queries.tallies import ALBUMS, ARTISTS, KINDS, NOUNS, TRACKS
from spotify_logger.report.answers import (
    bars,
    blocks,
    csv_rows,
    gap_note,
    nothing_played,
    plays_and_others,
    ranking,
    to_json,
)
from spotify_logger.report.blocks import (
    Block,
    CalendarHeatmap,
    Columns,
    Heading,
    Heatmap,
    Note,
    Sparkline,
    Table,
)
from spotify_logger.report.cells import MINUTE_MS, Cell, Formatted, filled, heard, phrase, share
from spotify_logger.report.words import (
    MONTHS,
    counted,
    exact_duration,
    format_iso,
    listening_time,
    percentage,
    plural,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spotify_logger.queries.figures import ReviewLine, Streak
    from spotify_logger.report.csv_output import CsvRow

    Row = tuple[str, Cell]


# stats


@blocks.register(Stats)
def _(result: Stats, question: Question) -> Sequence[Block]:
    if not result.plays and not result.shorter:
        return [nothing_played(question.period)]
    tracks, artists = (
        filled("{}, {} of them new", number, new) if result.from_ else number
        for number, new in ((result.tracks, result.new_tracks), (result.artists, result.new_artists))
    )
    session, longest = result.longest_session, None
    if session:
        longest = filled("{} from {}", heard(session.ms), format_iso(question.zone, session.from_))
    rate = "–" if result.skip_rate is None else percentage(result.skip_rate, 1)
    rows: list[Row] = [
        ("period", question.period.words),
        ("plays", plays_and_others(result.plays, result.shorter, question)),
        ("heard", heard(result.heard_ms)),
        ("tracks", tracks),
        ("artists", artists),
        ("albums", result.albums),
        ("shows", result.shows or None),
        ("skips", phrase(result.skips, f"({rate})")),
        ("sessions", result.sessions),
        ("longest session", longest),
        *day_rows(result),
    ]
    return [figures(rows), *gap_note(result.unseen)]


@csv_rows.register(Stats)
def _(result: Stats) -> Sequence[CsvRow]:
    names = to_json(result)
    values = (getattr(result, name, getattr(result, f"{name}_", None)) for name in names)
    return [{"figure": name, "value": _flat(value)} for name, value in zip(names, values, strict=True)]


def figures(rows: Sequence[Row]) -> Table:
    """Return a table of figures, without those that do not exist."""
    return Table([row for row in rows if row[1] is not None])


def day_rows(result: Stats | Calendar, of: str = "") -> list[Row]:
    """Return how the plays spread over the days; `of` follows the number of days, like "of 366"."""
    busiest = None
    if day := result.busiest_day:
        plays = plural(day.plays, "play")
        busiest = filled(f"{day.when}, {{}}, {{}} {plays}", heard(day.heard_ms), day.plays)
    return [
        ("days", phrase(result.days, f"{of} with plays".lstrip())),
        ("longest streak", _streak(result.longest_streak)),
        ("current streak", _streak(result.current_streak)),
        ("busiest day", busiest),
    ]


def _streak(streak: Streak) -> Cell:
    return phrase(streak.days, f"{plural(streak.days, 'day')} from {streak.from_}") if streak.days else None


def _flat(value: object) -> str | int | float | None:
    """Return a value as a CSV cell; the parts of an object are joined by spaces."""
    if is_dataclass(value):
        return " ".join(map(str, to_json(value).values()))
    return value if isinstance(value, str | int | float) else None


# clock, calendar, course

HOUR_MS = 60 * MINUTE_MS
HOURS = tuple(map(str, range(DAY_HOURS)))
"""The hours of a day as labels."""


@blocks.register(Clock)
def _(result: Clock, question: Question) -> Sequence[Block]:
    if not result.plays and not result.heard_ms:
        return [nothing_played(question.period)]
    unit, values = _in_unit(result.week, question.by)
    most = max(values)
    busiest = result.week[values.index(most)]
    of = plural(most, unit.removesuffix("s"))
    when = filled(f"{busiest.weekday} {busiest.hour}:00, {{}} {of}", most) if most else None
    return [
        Heatmap(WEEKDAYS, HOURS, _by_day(values), unit),
        Note(Sparkline(HOURS, [sum(values[hour::DAY_HOURS]) for hour in range(DAY_HOURS)], unit)),
        Note(_weekdays(result, question.by)),
        Note(figures([*_sums(result, question), ("busiest hour", when)])),
        *gap_note(result.unseen),
    ]


@blocks.register(Calendar)
def _(result: Calendar, question: Question) -> Sequence[Block]:
    if not result.plays and not result.heard_ms:
        return [nothing_played(question.period)]
    unit, numbers = _in_unit(result.calendar, question.by)
    days = (date.fromisoformat(str(each.when)) for each in result.calendar)
    values = dict(zip(days, numbers, strict=True))
    rows = [*_sums(result, question), *day_rows(result, f"of {len(values)}")]
    heatmap = CalendarHeatmap(result.year, values, unit)
    return [heatmap, Note(figures(rows)), *gap_note(result.unseen)]


@blocks.register(Course)
def _(result: Course, question: Question) -> Sequence[Block]:
    if not result.periods:
        return [nothing_played(question.period)]
    plays = f"{counted(result.plays, 'play')} {question.rule_words}"
    note = f"{question.period.words}: {plays}, {listening_time(result.heard_ms)} heard"
    return [bars(result.periods, question.by), Note(note), *gap_note(result.unseen)]


def _in_unit(sums: Iterable[Amount], by: str) -> tuple[str, list[int]]:
    """Return the unit of a chart, and the values in it."""
    if by == TIME:
        return "minutes", [each.heard_ms // MINUTE_MS for each in sums]
    return PLAYS, [each.plays for each in sums]


def _sums(result: Clock | Calendar, question: Question) -> list[tuple[str, Cell]]:
    return [
        ("period", question.period.words),
        ("plays", phrase(result.plays, question.rule_words)),
        ("heard", heard(result.heard_ms)),
    ]


def _by_day(hours: Sequence[int]) -> list[Sequence[int]]:
    """Return the hours of a week by day."""
    return [hours[first : first + DAY_HOURS] for first in range(0, len(hours), DAY_HOURS)]


def _weekdays(result: Clock, by: str) -> Table:
    """Return the weekdays as columns, which takes fewer lines than rows."""
    unit, unit_ms = ("hours", HOUR_MS) if by == TIME else (PLAYS, 1)
    hours = [measure(each, by) for each in result.week]
    days = [sum(day) for day in _by_day(hours)]
    numbers = [amount // unit_ms for amount in (*days, sum(days))]
    shares = [share(day, sum(days) or 1) for day in days]
    rows: list[Sequence[Cell]] = [(unit, *numbers), ("share", *shares, None)]
    return Table(rows, ("", *WEEKDAYS, "all"), range(1, len(WEEKDAYS) + 2), flexible=0)


# year

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
            _csv_row("month", {"name": each.when, "plays": each.plays, "heard_ms": each.heard_ms})
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
        how: Cell = _amount(line, result.by)
        if line is result.first_play:
            how = format_iso(question.zone, line.when)
        elif line.when:
            how = phrase(line.plays, f"× {line.when}")  # noqa: RUF001 - times
        rows.append((what, how, line.title))
    if result.top.shows:  # in one line: most listeners have none or few
        names = (filled("{} ({})", line.name, _rounded(line, result.by)) for line in result.top.shows)
        people, programs = zip(*names, strict=True)
        rows.append(("shows", None, Formatted(", ".join(people), ", ".join(programs))))
    return rows


def _top(result: Review, kind: str) -> Table:
    lines: Sequence[ReviewLine] = getattr(result.top, kind)
    return ranking(NOUNS[kind], result.by, ((line.title, _rounded(line, result.by)) for line in lines))


def _facts(result: Review, question: Question) -> list[tuple[str, Cell]]:
    streak, session = result.longest_streak, result.longest_session
    busiest, unseen = result.busiest_day, result.unseen
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
        ("busiest", filled("{}, {}", heard(busiest.heard_ms), str(busiest.when)) if busiest else None),
        ("missing", missing if unseen.gaps else None),
    ]


def _amount(line: ReviewLine, by: str) -> Cell:
    plays = line.plays or 0
    return _rounded(line, by) if by == TIME else phrase(plays, plural(plays, "play"))


def _rounded(line: ReviewLine, by: str) -> int | Formatted:
    """Return plays, or a listening time in whole hours if there are many."""
    if by != TIME:
        return line.plays or 0
    heard_ms = line.heard_ms or 0
    return heard(heard_ms - heard_ms % HOUR_MS if heard_ms >= FEW_HOURS * HOUR_MS else heard_ms)
