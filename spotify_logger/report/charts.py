"""Shows `clock`, `calendar` and `course` as charts."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.periods import WEEKDAYS
from spotify_logger.queries.charts import Calendar, Clock, Course
from spotify_logger.queries.local_time import DAY_HOURS
from spotify_logger.queries.question import PLAYS, TIME, Question
from spotify_logger.report.answers import blocks, csv_rows, to_json
from spotify_logger.report.blocks import BarChart, Block, CalendarHeatmap, Heatmap, Note, Sparkline, Table
from spotify_logger.report.cells import MINUTE_MS, Cell, filled, heard, phrase, share
from spotify_logger.report.phrases import gap_note, nothing_played
from spotify_logger.report.summary import day_rows, figures
from spotify_logger.report.words import counted, listening_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.queries.charts import HourOfWeek, IntervalSums
    from spotify_logger.queries.figures import DaySums
    from spotify_logger.report.csv_output import CsvRow

    Sums = HourOfWeek | IntervalSums | DaySums

HOUR_MS = 60 * MINUTE_MS
HOURS = tuple(map(str, range(DAY_HOURS)))
"""The hours of a day as labels."""


class Measure(NamedTuple):
    """What a chart shows: plays, or a time in whole minutes or hours."""

    unit: str
    unit_ms: int | None = None  # None for plays

    def of(self, sums: Sums) -> int:
        """Return the value of a cell."""
        return sums.heard_ms // self.unit_ms if self.unit_ms else sums.plays


@blocks.register(Clock)
def _(result: Clock, question: Question) -> Sequence[Block]:
    if not result.plays and not result.heard_ms:
        return [nothing_played(question.period)]
    measure = _measure(question)
    values = [measure.of(each) for each in result.week]
    most = max(values)
    busiest = result.week[values.index(most)]
    unit = measure.unit.removesuffix("s") if most == 1 else measure.unit
    when = filled(f"{busiest.weekday} {busiest.hour}:00, {{}} {unit}", most) if most else None
    return [
        Heatmap(WEEKDAYS, HOURS, _by_day(values), measure.unit),
        Note(Sparkline(HOURS, [sum(values[hour::DAY_HOURS]) for hour in range(DAY_HOURS)], measure.unit)),
        Note(_weekdays(result, question.by)),
        Note(figures([*_sums(result, question), ("busiest hour", when)])),
        *gap_note(result.unseen),
    ]


@blocks.register(Calendar)
def _(result: Calendar, question: Question) -> Sequence[Block]:
    if not result.plays and not result.heard_ms:
        return [nothing_played(question.period)]
    measure = _measure(question)
    values = {date.fromisoformat(each.day): measure.of(each) for each in result.calendar}
    rows = [*_sums(result, question), *day_rows(result, f"of {len(values)}")]
    heatmap = CalendarHeatmap(result.year, values, measure.unit)
    return [heatmap, Note(figures(rows)), *gap_note(result.unseen)]


@blocks.register(Course)
def _(result: Course, question: Question) -> Sequence[Block]:
    if not result.periods:
        return [nothing_played(question.period)]
    plays = f"{counted(result.plays, 'play')} {question.rule_words}"
    note = f"{question.period.words}: {plays}, {listening_time(result.heard_ms)} heard"
    bars = [
        (each.from_, each.heard_ms, heard(each.heard_ms))
        if question.by == TIME
        else (each.from_, each.plays, each.plays)
        for each in result.periods
    ]
    return [BarChart(bars), Note(note), *gap_note(result.unseen)]


@csv_rows.register(Clock)
def _(result: Clock) -> Sequence[CsvRow]:
    rows: list[CsvRow] = to_json(result.week)
    return rows


@csv_rows.register(Calendar)
def _(result: Calendar) -> Sequence[CsvRow]:
    rows: list[CsvRow] = to_json(result.calendar)
    return rows


@csv_rows.register(Course)
def _(result: Course) -> Sequence[CsvRow]:
    rows: list[CsvRow] = to_json(result.periods)
    return rows


def _measure(question: Question) -> Measure:
    return Measure("minutes", MINUTE_MS) if question.by == TIME else Measure(PLAYS)


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
    hours = [each.heard_ms if by == TIME else each.plays for each in result.week]
    days = [sum(day) for day in _by_day(hours)]
    numbers = [amount // unit_ms for amount in (*days, sum(days))]
    shares = [share(day, sum(days) or 1) for day in days]
    rows: list[Sequence[Cell]] = [(unit, *numbers), ("share", *shares, None)]
    return Table(rows, ("", *WEEKDAYS, "all"), range(1, len(WEEKDAYS) + 2), flexible=0)
