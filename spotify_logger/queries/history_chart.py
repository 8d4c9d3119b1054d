"""Answer `course`: plays and listening time by day, week or month."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from spotify_logger.core.periods import LocalClock
from spotify_logger.core.statistics import CalendarCounts, Totals, date_of
from spotify_logger.queries.arguments import MONTH, WEEK
from spotify_logger.queries.phrases import gap_note, nothing_played, unobserved_data
from spotify_logger.queries.question import TIME
from spotify_logger.queries.reader import PlayReader
from spotify_logger.report.blocks import Answer, BarChart
from spotify_logger.report.words import counted, listening_time, utc_time

if TYPE_CHECKING:
    from spotify_logger.queries.question import Question
    from spotify_logger.report.blocks import Block
    from spotify_logger.report.csv_output import CsvRow, CsvValue
    from spotify_logger.storage.bulk import Archive

ONE_DAY = timedelta(days=1)


def course(archive: Archive, question: Question, per: str) -> Answer:
    """Chart listening over time.

    Args:
        archive: The log.
        question: The question to answer.
        per: One of `INTERVALS`.
    """
    reader = PlayReader(archive, question)
    calendar, sums = CalendarCounts(LocalClock(question.zone)), Totals()
    for rows, counts in reader.days():
        calendar.add(rows, counts)
        sums.add(rows, counts)
    found = by_interval(calendar, question, per)
    data = {
        "per": per,
        "from": utc_time(question.period.begin),
        "to": utc_time(question.period.end),
        "by": question.by,
        "plays": sums.plays,
        "heard_ms": sums.ms_played,
        "periods": found,
        "unseen": unobserved_data(reader),
    }
    if not found:
        return Answer(data, [nothing_played(question.period)])
    bars = [_bar(each["from"], each["plays"], each["heard_ms"], question.by) for each in found]
    total = f"{question.period.words}: {counted(sums.plays, 'play')} {question.rule_words}, "
    page: list[Block] = [BarChart(bars), f"{total}{listening_time(sums.ms_played)} heard", *gap_note(reader)]
    return Answer(data, page, csv_rows=found)


def _bar(begin: CsvValue, plays: CsvValue, ms_played: CsvValue, by: str) -> tuple[str, float, str]:
    times, milliseconds = int(plays or 0), int(ms_played or 0)
    return (
        (str(begin), milliseconds, listening_time(milliseconds))
        if by == TIME
        else (str(begin), times, f"{times:,}")
    )


def by_interval(calendar: CalendarCounts, question: Question, per: str) -> list[CsvRow]:
    """Return plays and time for each day, week (from Monday) or month of the period, with its first day.

    They range from the begin of the period, or the first play, to its end or today.
    """
    if not calendar.ms_played:
        return []
    zone, period = question.zone, question.period
    first = date_of(min(calendar.ms_played)) if period.begin is None else zone.day(period.begin)
    last = question.today if period.end is None else min(zone.day(period.end - 1), question.today)
    last = max(last, date_of(max(calendar.ms_played)))
    found: dict[date, list[int]] = {}
    day = first
    while day <= last:
        amounts = found.setdefault(first_day_of_interval(day, per), [0, 0])
        number = (day - date_of(0)).days
        amounts[0] += calendar.plays[number]
        amounts[1] += calendar.ms_played.get(number, 0)
        day += ONE_DAY
    return [
        {"from": str(begin), "plays": plays, "heard_ms": ms_played}
        for begin, (plays, ms_played) in found.items()
    ]


def first_day_of_interval(day: date, per: str) -> date:
    """Return the first day of the week or month that contains a day."""
    if per == WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if per == MONTH else day
