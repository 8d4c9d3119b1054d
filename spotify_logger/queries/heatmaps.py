"""Answer `clock` and `calendar`: heatmaps of the hours of the week and of the days of a year."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from spotify_logger.core.periods import LocalClock
from spotify_logger.core.redis_keys import EPOCH_DAY
from spotify_logger.core.statistics import CalendarCounts, Totals, streaks
from spotify_logger.queries.phrases import gap_note, nothing_played, unobserved_data
from spotify_logger.queries.question import PLAYS, TIME
from spotify_logger.queries.reader import PlayReader, first_second
from spotify_logger.queries.summary import Figures, busiest_data, busiest_words, streak_data, streak_words
from spotify_logger.report import blocks
from spotify_logger.report.blocks import Answer, Heatmap, Sparkline, Table
from spotify_logger.report.words import WEEKDAYS, counted, listening_time, utc_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.queries.question import Question
    from spotify_logger.report.blocks import Block
    from spotify_logger.report.csv_output import CsvRow
    from spotify_logger.storage.bulk import Archive

DAY_HOURS = 24
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
MINUTES = "minutes"


def clock(archive: Archive, question: Question) -> Answer:
    """Show plays by weekday and hour; a play belongs to the hour in which it started."""
    reader = PlayReader(archive, question)
    calendar, sums = CalendarCounts(LocalClock(question.zone)), Totals()
    for rows, counts in reader.days():
        calendar.add(rows, counts)
        sums.add(rows, counts)
    cells = _cells(calendar)
    data = {**_sums_data(question, sums), "week": cells, "unseen": unobserved_data(reader)}
    if not sums.rows:
        return Answer(data, [nothing_played(question.period)])
    amounts, unit = _amounts(calendar, question.by)
    days = [amounts[first : first + DAY_HOURS] for first in range(0, len(amounts), DAY_HOURS)]
    hours = [sum(amounts[hour::DAY_HOURS]) for hour in range(DAY_HOURS)]
    names = list(map(str, range(DAY_HOURS)))
    page: list[Block] = [
        Heatmap(WEEKDAYS, names, days, unit),
        Sparkline(names, hours, unit),
        _weekdays(calendar, question.by),
        Table([*_sums_rows(question, sums), ("fullest hour", _fullest(amounts, unit))]),
        *gap_note(reader),
    ]
    return Answer(data, page, csv_rows=cells)


def _cells(calendar: CalendarCounts) -> list[CsvRow]:
    """Return the hours of the week, from the first hour of Monday."""
    return [
        {
            "weekday": WEEKDAYS[hour // DAY_HOURS],
            "hour": hour % DAY_HOURS,
            "plays": plays,
            "heard_ms": ms_played,
        }
        for hour, (plays, ms_played) in enumerate(
            zip(calendar.hour_plays, calendar.hour_ms_played, strict=True)
        )
    ]


def _amounts(calendar: CalendarCounts, by: str) -> tuple[list[int], str]:
    """Return the value of each hour of the week, and the unit."""
    if by == TIME:
        return [milliseconds // MINUTE_MS for milliseconds in calendar.hour_ms_played], MINUTES
    return calendar.hour_plays, PLAYS


def _weekdays(calendar: CalendarCounts, by: str) -> Table:
    """Return the weekdays as columns, which takes fewer lines than rows."""
    unit, hours = ("hours", calendar.hour_ms_played) if by == TIME else (PLAYS, calendar.hour_plays)
    days = [sum(hours[first : first + DAY_HOURS]) for first in range(0, len(hours), DAY_HOURS)]
    numbers = [amount // HOUR_MS if by == TIME else amount for amount in (*days, sum(days))]
    shares = [f"{100 * day / (sum(days) or 1):.1f} %" for day in days]
    rows = [(unit, *(f"{number:,}" for number in numbers)), ("share", *shares, "")]
    return Table(rows, ("", *WEEKDAYS, "all"), range(1, len(WEEKDAYS) + 2), flexible=0)


def _fullest(amounts: Sequence[int], unit: str) -> str:
    """Format the peak hour of the week, the earliest in a tie: "Fri 17:00, 5,123 plays"."""
    hour = max(range(len(amounts)), key=amounts.__getitem__)
    if not amounts[hour]:
        return ""
    return f"{WEEKDAYS[hour // DAY_HOURS]} {hour % DAY_HOURS}:00, {counted(amounts[hour], unit[:-1])}"


def calendar(archive: Archive, question: Question) -> Answer:
    """Show the days of a year.

    Args:
        archive: The log.
        question: The question to answer; its period is a calendar year.
    """
    reader = PlayReader(archive, question)
    figures = Figures.of(reader)
    year = question.zone.day(first_second(question.period)).year
    days = _days(year, question.today, figures)
    data = {"year": year, **_sums_data(question, figures.sums), **_days_data(figures, question.today)}
    data |= {"calendar": days, "unseen": unobserved_data(reader)}
    if not figures.sums.rows:
        return Answer(data, [nothing_played(question.period)])
    values = {date.fromisoformat(str(day["day"])): _amount(day, question.by) for day in days}
    page: list[Block] = [
        blocks.CalendarHeatmap(year, values, MINUTES if question.by == TIME else PLAYS),
        Table([*_sums_rows(question, figures.sums), *_days_rows(figures, len(days), question.today)]),
        *gap_note(reader),
    ]
    return Answer(data, page, csv_rows=days)


def _days(year: int, today: date, figures: Figures) -> list[dict[str, str | int]]:
    """Return the days of a year up to today, and later ones with plays (logged by a clock ahead of ours)."""
    first, last = ((date(year + more, 1, 1) - EPOCH_DAY).days for more in (0, 1))
    past = range(first, min(last, (today - EPOCH_DAY).days + 1))
    plays, heard = figures.calendar.plays, figures.calendar.ms_played
    return [
        {"day": str(EPOCH_DAY + timedelta(day)), "plays": plays[day], "heard_ms": heard.get(day, 0)}
        for day in sorted({*past, *heard})
    ]


def _amount(day: CsvRow, by: str) -> int:
    return int(day["heard_ms"] or 0) // MINUTE_MS if by == TIME else int(day["plays"] or 0)


def _sums_rows(question: Question, sums: Totals) -> list[tuple[str, str]]:
    return [
        ("period", question.period.words),
        ("plays", f"{sums.plays:,} {question.rule_words}"),
        ("heard", listening_time(sums.ms_played)),
    ]


def _sums_data(question: Question, sums: Totals) -> dict[str, object]:
    return {
        "from": utc_time(question.period.begin),
        "to": utc_time(question.period.end),
        "by": question.by,
        "plays": sums.plays,
        "heard_ms": sums.ms_played,
    }


def _days_rows(figures: Figures, days: int, today: date) -> list[tuple[str, str]]:
    played = figures.days_with_plays()
    longest, current = streaks(played, today)
    rows = [
        ("days", f"{len(played):,} of {days:,} with plays"),
        ("longest streak", streak_words(longest)),
        ("current streak", streak_words(current)),
        ("busiest day", busiest_words(figures)),
    ]
    return [row for row in rows if row[1]]


def _days_data(figures: Figures, today: date) -> dict[str, object]:
    played = figures.days_with_plays()
    longest, current = streaks(played, today)
    return {
        "days": len(played),
        "longest_streak": streak_data(longest),
        "current_streak": streak_data(current),
        "busiest_day": busiest_data(figures),
    }
