"""Answer `clock`, `calendar` and `course`: listening by hour of the week, by day of a year, and over time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from itertools import product
from typing import TYPE_CHECKING

from spotify_logger.core.periods import WEEKDAYS
from spotify_logger.core.redis_keys import EPOCH_DAY
from spotify_logger.core.times import utc_time
from spotify_logger.queries.figures import Streak, Sums, date_of, day_figures
from spotify_logger.queries.local_time import BY_DAY, BY_WEEK_HOUR, DAY_HOURS, LocalSums, sums_by, total
from spotify_logger.queries.log import Log, Unseen, unseen
from spotify_logger.queries.question import MONTH, WEEK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from spotify_logger.queries.question import Question


@dataclass(frozen=True, slots=True)
class HourOfWeek:
    """How much was played in an hour of the week."""

    weekday: str
    hour: int
    plays: int
    heard_ms: int


@dataclass(frozen=True, slots=True)
class Clock:
    """Plays by hour of the week; a play belongs to the hour in which it started."""

    from_: str | None
    to: str | None
    by: str
    plays: int
    heard_ms: int
    week: Sequence[HourOfWeek]
    unseen: Unseen


@dataclass(frozen=True, slots=True)
class Calendar:
    """Plays by day of a year."""

    year: int
    from_: str | None
    to: str | None
    by: str
    plays: int
    heard_ms: int
    days: int  # with plays that count
    longest_streak: Streak
    current_streak: Streak
    busiest_day: Sums | None
    calendar: Sequence[Sums]  # up to today, and later days with plays
    unseen: Unseen


@dataclass(frozen=True, slots=True)
class Course:
    """Plays by day, week (from Monday) or month, without gaps; empty if nothing was played."""

    per: str
    from_: str | None
    to: str | None
    by: str
    plays: int
    heard_ms: int
    periods: Sequence[Sums]
    unseen: Unseen


def clock(log: Log, question: Question) -> Clock:
    """Return plays by weekday and hour."""
    hours = sums_by(log, question, BY_WEEK_HOUR)
    found = {each.number: (each.plays, each.heard_ms) for each in hours}
    week = [
        HourOfWeek(weekday, hour, *found.get(number, (0, 0)))
        for number, (weekday, hour) in enumerate(product(WEEKDAYS, range(DAY_HOURS)))
    ]
    return Clock(*_asked(question, hours), week, unseen(log, question))


def calendar(log: Log, question: Question) -> Calendar:
    """Return the days of a year; the period of the question is a calendar year."""
    days = sums_by(log, question, BY_DAY)
    year = year_of(question)
    past = [day for day in days_of_year(year) if date_of(day) <= question.today]
    # Days after today may have plays, logged by a clock ahead of ours.
    shown = sums_of(days, sorted({*past, *(day.number for day in days)}), "day", str)
    return Calendar(
        year,
        *_asked(question, days),
        *day_figures(days, question.today),
        shown,
        unseen(log, question),
    )


def course(log: Log, question: Question, per: str) -> Course:
    """Return listening over time; `per` is one of `INTERVALS`."""
    days = sums_by(log, question, BY_DAY)
    return Course(per, *_asked(question, days), by_interval(days, question, per), unseen(log, question))


def by_interval(days: Sequence[LocalSums], question: Question, per: str) -> list[Sums]:
    """Return the sums of each day, week or month of the period.

    They range from the start of the period, or the first play, to its end or today.
    """
    if not days:
        return []
    zone, period = question.zone, question.period
    first = date_of(days[0].number) if period.begin is None else zone.day(period.begin)
    last = question.today if period.end is None else min(zone.day(period.end - 1), question.today)
    last = max(last, date_of(days[-1].number))
    wanted = range((first - EPOCH_DAY).days, (last - EPOCH_DAY).days + 1)
    return sums_of(days, wanted, "from", lambda day: str(_first_day(day, per)))


def sums_of(
    days: Iterable[LocalSums], wanted: Iterable[int], unit: str, name_of: Callable[[date], str]
) -> list[Sums]:
    """Sum up plays and time of wanted days since the epoch, by the name of the unit they are in."""
    found: dict[str, tuple[int, int]] = {}
    known = {day.number: (day.plays, day.heard_ms) for day in days}
    for day in wanted:
        name, (plays, heard_ms) = name_of(date_of(day)), known.get(day, (0, 0))
        more_plays, more_ms = found.get(name, (0, 0))
        found[name] = plays + more_plays, heard_ms + more_ms
    return [Sums(unit, name, *sums) for name, sums in found.items()]


def year_of(question: Question) -> int:
    """Return the calendar year that is the period of a question."""
    return question.zone.day(question.period.begin or 0).year


def days_of_year(year: int) -> range:
    """Return the days of a year, as days since the epoch."""
    first, end = ((date(number, 1, 1) - EPOCH_DAY).days for number in (year, year + 1))
    return range(first, end)


def _asked(question: Question, sums: Sequence[LocalSums]) -> tuple[str | None, str | None, str, int, int]:
    """Return the period and the measure of a question, and its plays and time."""
    period, whole = question.period, total(sums)
    return utc_time(period.begin), utc_time(period.end), question.by, whole.plays, whole.heard_ms


def _first_day(day: date, per: str) -> date:
    """Return the first day of the week or month that contains a day."""
    if per == WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if per == MONTH else day
