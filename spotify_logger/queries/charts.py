"""Answer `clock`, `calendar` and `course`: plays by local hours, days, weeks and months.

SQLite knows no time zones: it gets the UTC offsets as a table.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

from spotify_logger.core import day_sums
from spotify_logger.core.day_sums import LocalSums, Streak, Sums, total
from spotify_logger.core.periods import WEEKDAYS
from spotify_logger.queries import sql
from spotify_logger.queries.question import MIN_LISTENED_MS, Question
from spotify_logger.queries.sql import Log, MeasuredResult, about_period, bounds, counts, source

HOUR, DAY = 3600, 86_400
DAY_HOURS, WEEK_HOURS = 24, 168
BY_DAY = f"local / {DAY}"  # since the epoch
BY_HOUR = f"local / {HOUR} % {DAY_HOURS}"  # of the day
BY_WEEK_HOUR = f"(local / {HOUR} + 3 * {DAY_HOURS}) % {WEEK_HOURS}"  # from Monday; the epoch was a Thursday


@dataclass(frozen=True, slots=True)
class HourOfWeek:
    """How much was played in an hour of the week."""

    weekday: str
    hour: int
    plays: int
    heard_ms: int


@dataclass(frozen=True, kw_only=True)
class Clock(MeasuredResult):
    """Plays by hour of the week; a play belongs to the hour in which it started."""

    week: Sequence[HourOfWeek]


@dataclass(frozen=True, kw_only=True)
class Calendar(MeasuredResult):
    """Plays by day of a year."""

    year: int
    days: int  # with plays that count
    longest_streak: Streak
    current_streak: Streak
    busiest_day: Sums | None
    calendar: Sequence[Sums]  # up to today, and later days with plays


@dataclass(frozen=True, kw_only=True)
class Course(MeasuredResult):
    """Plays by day, week (from Monday) or month, without gaps; empty if nothing was played."""

    per: str
    periods: Sequence[Sums]


def clock(log: Log, question: Question) -> Clock:
    """Return plays by weekday and hour."""
    hours = sums_by(log, question, BY_WEEK_HOUR)
    labels = zip(product(WEEKDAYS, range(DAY_HOURS)), amounts(hours, WEEK_HOURS), strict=True)
    week = [HourOfWeek(*label, *amount) for label, amount in labels]
    return Clock(week=week, **_amounts(log, question, hours))


def calendar(log: Log, question: Question) -> Calendar:
    """Return the days of a year; the period of the question is a calendar year."""
    days = sums_by(log, question, BY_DAY)
    whole = day_sums.days_of(question.zone, question.period)
    # Days after today may have plays, logged by a clock ahead of ours.
    shown = {day for day in whole if day_sums.date_of(day) <= question.today} | {day.number for day in days}
    return Calendar(
        year=day_sums.date_of(whole.start).year,
        calendar=day_sums.sums_of(days, sorted(shown), "day", str),
        **day_sums.day_figures(days, question.today),
        **_amounts(log, question, days),
    )


def course(log: Log, question: Question, per: str) -> Course:
    """Return listening over time; `per` is one of `INTERVALS`."""
    days = sums_by(log, question, BY_DAY)
    sums = day_sums.by_interval(days, question.period, question.zone, question.today, per)
    return Course(per=per, periods=sums, **_amounts(log, question, days))


def _amounts(log: Log, question: Question, sums: Sequence[LocalSums]) -> dict[str, Any]:
    """Return the fields of `MeasuredResult`."""
    whole = total(sums)
    amounts = {"by": question.by, "plays": whole.plays, "heard_ms": whole.heard_ms}
    return {**amounts, **about_period(log, question)}


def amounts(sums: Iterable[LocalSums], number: int) -> list[tuple[int, int]]:
    """Return the plays and the time of a number of hours, also of those without any."""
    found = {each.number: (each.plays, each.heard_ms) for each in sums}
    return [found.get(hour, (0, 0)) for hour in range(number)]


def sums_by(log: Log, question: Question, unit: str, items: str = "") -> list[LocalSums]:
    """Return the plays of the period by `BY_DAY`, `BY_HOUR` or `BY_WEEK_HOUR`, in order.

    With `items`, a query for items, it returns only theirs. Makes `spans`.
    """
    is_hourly = make_spans(log, question)
    if is_hourly and question.threshold == MIN_LISTENED_MS and not items:
        plays = f"""SELECT hour * {HOUR} + ahead AS local, plays, all_plays, ms_played, skips, open
            FROM spans CROSS JOIN hours ON hour >= since / {HOUR} AND hour < until / {HOUR}"""
    else:
        plays = local_plays(question) + (f" AND item IN ({items})" if items else "")
    query = f"""SELECT {unit}, sum(plays), sum(all_plays), sum(ms_played), sum(skips), sum(open)
        FROM ({plays}) GROUP BY 1"""
    return [LocalSums(*row) for row in log.rows(query)]


def local_plays(question: Question) -> str:
    """Return the query for the plays in `spans`, with the local second in which each started."""
    return f"""SELECT second, item, second + ahead AS local, {counts(question)} AS plays, 1 AS all_plays,
        ms_played, ending = {sql.SKIPPED} AS skips, ending = {sql.OPEN} AS open
        FROM spans CROSS JOIN {source(question)} WHERE second >= since AND second < until"""


def make_spans(log: Log, question: Question) -> bool:
    """Make `spans`, a table of the UTC offsets of the period, and return whether they begin on the hour.

    It reaches from the hour of the first play to that of the last one.
    """
    begin, end = bounds(question.period)
    within = "FROM plays WHERE second >= ? AND second < ?"
    query = f"SELECT (SELECT min(second) {within}), (SELECT max(second) {within})"
    ((first, last),) = log.rows(query, begin, end, begin, end)
    spans = [(0, 0, 0)]
    if first is not None:
        begin, end = max(begin, first // HOUR * HOUR), min(end, (last // HOUR + 1) * HOUR)
        offsets = pairwise([*question.zone.offsets(begin, end), (end, 0)])
        spans = [(since, until, ahead) for (since, ahead), (until, _) in offsets]
    rows = ", ".join(map(str, spans))
    query = f"SELECT column1 AS since, column2 AS until, column3 AS ahead FROM (VALUES {rows})"
    log.make_table("spans", query)
    return not any(second % HOUR for span in spans for second in span)
