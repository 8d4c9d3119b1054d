"""How listening went on: plays and time by day, week or month, each one from the first to the last."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from spotify_logger.core.periods import LocalClock
from spotify_logger.core.statistics import CalendarCounts, Totals, date_of
from spotify_logger.queries.phrases import at_least, nothing, unseen_data
from spotify_logger.queries.question import TIME
from spotify_logger.queries.reader import Reading
from spotify_logger.report.blocks import Answer, Bars
from spotify_logger.report.words import counted, listened, utc_time

if TYPE_CHECKING:
    from spotify_logger.queries.question import Question
    from spotify_logger.report.blocks import Block
    from spotify_logger.report.csv_output import Cell, Row
    from spotify_logger.storage.bulk import Archive

DAY, WEEK, MONTH = "day", "week", "month"
PERIODS = (DAY, WEEK, MONTH)
ONE_DAY = timedelta(days=1)


def course(archive: Archive, question: Question, per: str) -> Answer:
    """How listening went on.

    Args:
        archive: The log.
        question: What is asked.
        per: One of `PERIODS`.
    """
    reading = Reading(archive, question)
    calendar, sums = CalendarCounts(LocalClock(question.zone)), Totals()
    for rows, counts in reading.days():
        calendar.add(rows, counts)
        sums.add(rows, counts)
    found = periods(calendar, question, per)
    data = {
        "per": per,
        "from": utc_time(question.stretch.begin),
        "to": utc_time(question.stretch.end),
        "by": question.by,
        "plays": sums.plays,
        "heard_ms": sums.ms_played,
        "periods": found,
        "unseen": unseen_data(reading),
    }
    if not found:
        return Answer(data, [nothing(question.stretch)])
    bars = [_bar(each["from"], each["plays"], each["heard_ms"], question.by) for each in found]
    total = f"{question.stretch.words}: {counted(sums.plays, 'play')} {question.rule_words}, "
    page: list[Block] = [Bars(bars), f"{total}{listened(sums.ms_played)} heard", *at_least(reading)]
    return Answer(data, page, sheet=found)


def _bar(begin: Cell, plays: Cell, ms_played: Cell, by: str) -> tuple[str, float, str]:
    times, milliseconds = int(plays or 0), int(ms_played or 0)
    return (
        (str(begin), milliseconds, listened(milliseconds))
        if by == TIME
        else (str(begin), times, f"{times:,}")
    )


def periods(calendar: CalendarCounts, question: Question, per: str) -> list[Row]:
    """The days, weeks (from Monday on) or months that a stretch touches, by their first day.

    They reach from the beginning of the stretch, or where it has none from the first play, to its end or
    today.
    """
    if not calendar.heard:
        return []
    zone, stretch = question.zone, question.stretch
    first = date_of(min(calendar.heard)) if stretch.begin is None else zone.day(stretch.begin)
    last = question.today if stretch.end is None else min(zone.day(stretch.end - 1), question.today)
    last = max(last, date_of(max(calendar.heard)))
    found: dict[date, list[int]] = {}
    day = first
    while day <= last:
        amounts = found.setdefault(begin_of_period(day, per), [0, 0])
        number = (day - date_of(0)).days
        amounts[0] += calendar.plays[number]
        amounts[1] += calendar.heard.get(number, 0)
        day += ONE_DAY
    return [
        {"from": str(begin), "plays": plays, "heard_ms": ms_played}
        for begin, (plays, ms_played) in found.items()
    ]


def begin_of_period(day: date, per: str) -> date:
    """The first day of the week or month that a day lies in."""
    if per == WEEK:
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if per == MONTH else day
