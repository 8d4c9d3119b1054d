"""Answer `clock`, `calendar` and `course`: listening by hour of the week, by day of a year, and over time."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

from spotify_logger.core.periods import LocalClock
from spotify_logger.core.redis_keys import EPOCH_DAY
from spotify_logger.core.statistics import CalendarCounts, Totals, date_of
from spotify_logger.queries.arguments import MONTH, WEEK
from spotify_logger.queries.phrases import asked_data, gap_note, nothing_played, unseen_data
from spotify_logger.queries.question import PLAYS, TIME, Question
from spotify_logger.queries.ranking import amount_words, amounts_data
from spotify_logger.queries.reader import PlayReader, first_second
from spotify_logger.queries.summary import Figures, day_rows
from spotify_logger.report.blocks import Answer, BarChart, Block, CalendarHeatmap, Heatmap, Sparkline, Table
from spotify_logger.report.words import WEEKDAYS, counted, listening_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spotify_logger.storage.bulk import Archive

DAY_HOURS = 24
HOURS = tuple(map(str, range(DAY_HOURS)))
"""The hours of a day as labels."""
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
MINUTES = "minutes"


def _read(reader: PlayReader) -> tuple[CalendarCounts, Totals]:
    calendar, sums = CalendarCounts(LocalClock(reader.question.zone)), Totals()
    for rows, counts in reader.days():
        calendar.add(rows, counts)
        sums.add(rows, counts)
    return calendar, sums


def _sums_data(question: Question, sums: Totals) -> dict[str, object]:
    return {**asked_data(question), **amounts_data(sums.plays, sums.ms_played)}


def _sums_rows(question: Question, sums: Totals) -> list[tuple[str, str]]:
    return [
        ("period", question.period.words),
        ("plays", f"{sums.plays:,} {question.rule_words}"),
        ("heard", listening_time(sums.ms_played)),
    ]


def clock(archive: Archive, question: Question) -> Answer:
    """Show plays by weekday and hour; a play belongs to the hour in which it started."""
    reader = PlayReader(archive, question)
    calendar, sums = _read(reader)
    plays, heard = calendar.hour_plays, calendar.hour_ms_played
    cells: list[dict[str, Any]] = [
        {"weekday": weekday, "hour": hour, **amounts_data(plays[number], heard[number])}
        for number, (weekday, hour) in enumerate(product(WEEKDAYS, range(DAY_HOURS)))
    ]
    data = {**_sums_data(question, sums), "week": cells, "unseen": unseen_data(reader)}
    if not sums.rows:
        return Answer(data, [nothing_played(question.period)])
    amounts, unit = plays, PLAYS
    if question.by == TIME:
        amounts, unit = [milliseconds // MINUTE_MS for milliseconds in heard], MINUTES
    fullest = max(range(len(amounts)), key=amounts.__getitem__)  # the earliest in a tie
    when = f"{cells[fullest]['weekday']} {cells[fullest]['hour']}:00"
    words = f"{when}, {counted(amounts[fullest], unit[:-1])}" if amounts[fullest] else ""
    page: list[Block] = [
        Heatmap(WEEKDAYS, HOURS, _days(amounts), unit),
        Sparkline(HOURS, [sum(amounts[hour::DAY_HOURS]) for hour in range(DAY_HOURS)], unit),
        _weekdays(calendar, question.by),
        Table([*_sums_rows(question, sums), ("busiest hour", words)]),
        *gap_note(reader),
    ]
    return Answer(data, page, csv_rows=cells)


def _days(hours: list[int]) -> list[list[int]]:
    """Return the hours of a week by day."""
    return [hours[first : first + DAY_HOURS] for first in range(0, len(hours), DAY_HOURS)]


def _weekdays(calendar: CalendarCounts, by: str) -> Table:
    """Return the weekdays as columns, which takes fewer lines than rows."""
    unit, hours = ("hours", calendar.hour_ms_played) if by == TIME else (PLAYS, calendar.hour_plays)
    days = [sum(day) for day in _days(hours)]
    numbers = [amount // HOUR_MS if by == TIME else amount for amount in (*days, sum(days))]
    shares = [f"{100 * day / (sum(days) or 1):.1f} %" for day in days]
    rows = [(unit, *(f"{number:,}" for number in numbers)), ("share", *shares, "")]
    return Table(rows, ("", *WEEKDAYS, "all"), range(1, len(WEEKDAYS) + 2), flexible=0)


def calendar(archive: Archive, question: Question) -> Answer:
    """Show the days of a year; the period of the question is a calendar year."""
    reader = PlayReader(archive, question)
    figures = Figures.of(reader)
    sums = figures.sums
    year = question.zone.day(first_second(question.period)).year
    past = [day for day in days_of_year(year) if date_of(day) <= question.today]
    # Days after today may have plays, logged by a clock ahead of ours.
    days = sums_by(figures.calendar, sorted({*past, *figures.calendar.ms_played}), "day", str)
    about_days = figures.days_data(question.today)
    data = {"year": year, **_sums_data(question, sums), **about_days}
    data |= {"calendar": days, "unseen": unseen_data(reader)}
    if not sums.rows:
        return Answer(data, [nothing_played(question.period)])
    unit = MINUTES if question.by == TIME else PLAYS
    values = {
        date.fromisoformat(day["day"]): day["heard_ms"] // MINUTE_MS if question.by == TIME else day["plays"]
        for day in days
    }
    rows = [*_sums_rows(question, sums), *day_rows(about_days, f" of {len(days):,}")]
    table = Table([row for row in rows if row[1]])
    return Answer(data, [CalendarHeatmap(year, values, unit), table, *gap_note(reader)], csv_rows=days)


def days_of_year(year: int) -> range:
    """Return the days of a year, as days since the epoch."""
    first, end = ((date(number, 1, 1) - EPOCH_DAY).days for number in (year, year + 1))
    return range(first, end)


def sums_by(
    calendar: CalendarCounts, days: Iterable[int], label: str, name_of: Callable[[date], str]
) -> list[dict[str, Any]]:
    """Sum up plays and time of some days since the epoch, by the name of their interval, for JSON and CSV."""
    found: dict[str, dict[str, Any]] = {}
    for day in days:
        name = name_of(date_of(day))
        sums = found.setdefault(name, {label: name, **amounts_data(0, 0)})
        sums["plays"] += calendar.plays[day]
        sums["heard_ms"] += calendar.ms_played.get(day, 0)
    return list(found.values())


def course(archive: Archive, question: Question, per: str) -> Answer:
    """Chart listening over time; `per` is one of `INTERVALS`."""
    reader = PlayReader(archive, question)
    calendar, sums = _read(reader)
    found = by_interval(calendar, question, per)
    data = {"per": per, **_sums_data(question, sums), "periods": found, "unseen": unseen_data(reader)}
    if not found:
        return Answer(data, [nothing_played(question.period)])
    plays = f"{counted(sums.plays, 'play')} {question.rule_words}"
    total = f"{question.period.words}: {plays}, {listening_time(sums.ms_played)} heard"
    return Answer(data, [bar_chart(found, "from", question.by), total, *gap_note(reader)], csv_rows=found)


def bar_chart(periods: Iterable[dict[str, Any]], name: str, by: str) -> BarChart:
    """Return a bar for each period, given as JSON; `name` is the key of its name."""
    return BarChart(
        [
            (
                each[name],
                each["heard_ms"] if by == TIME else each["plays"],
                amount_words(each["plays"], each["heard_ms"], by),
            )
            for each in periods
        ]
    )


def by_interval(calendar: CalendarCounts, question: Question, per: str) -> list[dict[str, Any]]:
    """Return plays and time for each day, week (from Monday) or month of the period, with its first day.

    They range from the start of the period, or the first play, to its end or today.
    """
    if not calendar.ms_played:
        return []
    zone, period = question.zone, question.period
    first = date_of(min(calendar.ms_played)) if period.begin is None else zone.day(period.begin)
    last = question.today if period.end is None else min(zone.day(period.end - 1), question.today)
    last = max(last, date_of(max(calendar.ms_played)))
    days = range((first - EPOCH_DAY).days, (last - EPOCH_DAY).days + 1)
    return sums_by(calendar, days, "from", lambda day: str(_first_day(day, per)))


def _first_day(day: date, per: str) -> date:
    """Return the first day of the week or month that contains a day."""
    if per == WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if per == MONTH else day
