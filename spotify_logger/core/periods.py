"""Periods of time as people name them, in a time zone; invalid texts raise ValueError. Pure."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from spotify_logger.core.times import EPOCH, local

DAY_SECONDS = 86_400
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
OFFSET_SECONDS = 7 * DAY_SECONDS  # clocks never change twice in a week
DAY_FORMS = "2026, 2026-11, 2026-11-22, 2026-11-22T18:30, today or yesterday"
LENGTHS = "12h, 30d, 4w, 6m or 1y"
FIRST_YEAR, LAST_YEAR = 1971, 2199  # that the calendar of every supported platform covers


class Zone:
    """A time zone by its IANA name, or that of the machine; an unknown name raises a ValueError."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        try:
            self._zone = None if name is None else ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(name) from error

    def local(self, second: float) -> datetime:
        """Return the local time at a second since the epoch, as a naive datetime."""
        if self._zone is None:
            return local(second).replace(fold=0)
        # Not `fromtimestamp`, which fails after 2038 on many 32-bit systems.
        return (EPOCH + timedelta(seconds=second)).astimezone(self._zone).replace(tzinfo=None, fold=0)

    def day(self, second: float) -> date:
        """Return the local date at a second since the epoch."""
        return self.local(second).date()

    def offset(self, second: int) -> int:
        """Return the UTC offset in seconds at a second since the epoch."""
        there = EPOCH.replace(tzinfo=None) + timedelta(seconds=second)
        return int((self.local(second) - there).total_seconds())

    def second(self, moment: datetime) -> int:
        """Return the first second since the epoch at which clocks show a local time, or a later one."""
        naive = moment.replace(tzinfo=None, fold=0)
        try:
            found = int(naive.replace(tzinfo=self._zone).timestamp())
        except OverflowError:  # as in `times.local`
            found = int(naive.replace(tzinfo=UTC).timestamp())
        if self.local(found) == naive:
            return found
        near = range(found - DAY_SECONDS, found + DAY_SECONDS)
        return near.start + bisect_left(near, naive, key=self.local)

    def offsets(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Return the UTC offsets in seconds from `begin` to before `end`, each after its first second."""
        found = [(begin, self.offset(begin))]
        for known in range(begin, end - 1, OFFSET_SECONDS):
            week = range(known, min(known + OFFSET_SECONDS, end - 1))
            if (ahead := self.offset(week.stop)) != found[-1][1]:
                change = bisect_left(week, 1, key=lambda second: self.offset(second) != found[-1][1])
                found.append((week.start + change, ahead))
        return found

    def midnight(self, day: date) -> int:
        """Return the second since the epoch at which a local day begins."""
        return self.second(datetime(day.year, day.month, day.day))  # noqa: DTZ001 - local time


@dataclass(frozen=True, slots=True)
class Period:
    """A period of time."""

    begin: int | None = None  # its first second since the epoch; None for "from the first play on"
    end: int | None = None  # the second after its last one; None for an open end
    words: str = "all time"  # its name, such as "2026" or "the last 30 days"
    previous: "Period | None" = None  # the one before it to compare with


def year(zone: Zone, number: int) -> Period:
    """Return a calendar year, and the one before it as `previous`."""
    return _from_days(zone, "%Y", [date(number + more, 1, 1) for more in (-1, 0, 1)])


def month(zone: Zone, first: date) -> Period:
    """Return the calendar month that begins on `first`, and the one before it as `previous`."""
    return _from_days(zone, "%Y-%m", [_months_later(first, more) for more in (-1, 0, 1)])


def day(zone: Zone, which: date) -> Period:
    """Return a local day, and the one before it as `previous`."""
    return _from_days(zone, "%Y-%m-%d", [which + timedelta(more) for more in (-1, 0, 1)])


def _from_days(zone: Zone, form: str, days: Sequence[date]) -> Period:
    """Return the period between the last two of three days, named by the first of them in a format."""
    earlier, begin, end = map(zone.midnight, days)
    return Period(begin, end, f"{days[1]:{form}}", Period(earlier, begin, f"{days[0]:{form}}"))


def last(zone: Zone, now: float, number: int, unit: str) -> Period:
    """Return the last hours, days, weeks, months ("m") or years; OverflowError or ValueError if too many."""
    end = int(now) + 1
    begin, earlier = (_back(zone, end, number * times, unit) for times in (1, 2))
    noun = {"h": "hour", "d": "day", "w": "week", "m": "month", "y": "year"}[unit]
    length = noun if number == 1 else f"{number} {noun}s"
    return Period(begin, end, f"the last {length}", Period(earlier, begin, f"{length} before"))


def between(begin: int | None, end: int | None, words: str) -> Period:
    """Return a period; if it has both ends, with one of the same length before it as `previous`."""
    if begin is None or end is None:
        return Period(begin, end, words)
    days = round((end - begin) / DAY_SECONDS)
    earlier = f"{days} days before" if days > 1 else "day before" if days else "before"
    return Period(begin, end, words, Period(begin - (end - begin), begin, earlier))


def _back(zone: Zone, second: int, number: int, unit: str) -> int:
    if unit == "h":
        return second - 3600 * number
    moment = zone.local(second)
    if unit in "dw":
        return zone.second(moment - timedelta(days=number * (7 if unit == "w" else 1)))
    months = number * (12 if unit == "y" else 1)
    first = _months_later(moment.date().replace(day=1), -months)
    length = (_months_later(first, 1) - first).days
    earlier = first.replace(day=min(moment.day, length))
    return zone.second(datetime.combine(earlier, moment.time()))


def _months_later(first: date, months: int) -> date:
    number = first.year * 12 + first.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)


def parse_year(text: str) -> int:
    """Return the year that a text names."""
    number = int(matched(r"[0-9]{4}", text)[0])
    if not FIRST_YEAR <= number <= LAST_YEAR:
        raise ValueError(text)
    return number


def parse_month(text: str) -> date:
    """Return the first day of the month that a text names."""
    numbers = matched(r"([0-9]{4})-([0-9]{2})", text)
    return date(parse_year(numbers[1]), int(numbers[2]), 1)


def parse_day(zone: Zone, now: float, text: str) -> date:
    """Return the local day that a text names."""
    days_ago = {"today": 0, "yesterday": 1}.get(text)
    try:
        found = date.fromisoformat(text) if days_ago is None else zone.day(now) - timedelta(days=days_ago)
        parse_year(f"{found.year:04}")
    except ValueError:
        raise ValueError(f"{text!r} is not a day (try 2026-11-22, today or yesterday)") from None
    return found


def matched(form: str, text: str) -> re.Match[str]:
    """Return the match of a whole text with a pattern."""
    if match := re.fullmatch(form, text):
        return match
    raise ValueError(text)


def parse_length(text: str) -> tuple[int, str]:
    """Return the number and the unit of a length of time: "30d"."""
    number, unit = matched(r"([1-9][0-9]{0,3})([hdwmy])", text).groups()
    return int(number), unit


def bounds_of(zone: Zone, now: float, text: str) -> tuple[int, int]:
    """Return the first second of the date in a text, as in `DAY_FORMS`, and the second after its last one."""
    if len(text) == len("2026"):
        found = year(zone, parse_year(text))
    elif len(text) == len("2026-11"):
        found = month(zone, parse_month(text))
    elif "T" in text or " " in text:
        moment = datetime.fromisoformat(text)
        parse_year(f"{moment.year:04}")
        second = zone.second(moment) if moment.tzinfo is None else int(moment.timestamp())
        return second, second
    else:
        found = day(zone, parse_day(zone, now, text))
    return found.begin or 0, found.end or 0
