"""Put times, lengths and numbers into words."""

from __future__ import annotations

from spotify_logger.core.times import local, to_iso

MINUTE, HOUR, DAY = 60, 3600, 86_400


WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def local_time(second: float) -> str:
    """A moment in the local time zone: "2026-11-22 19:00"."""
    return f"{local(second):%Y-%m-%d %H:%M}"


def local_period(begin: float, end: float) -> str:
    """A stretch of time in the local time zone: "2026-11-22 19:00 to 21:10", or with both days."""
    first, last = local_time(begin), local_time(end)
    same_day = first.split()[0] == last.split()[0]
    return f"{first} to {last.split()[1] if same_day else last}"


def utc_time(second: float | None) -> str | None:
    """The same for programs: "2026-11-22T18:00:00.000Z"."""
    return None if second is None else to_iso(round(second * 1000))


def rough_duration(seconds: float) -> str:
    """A rough length of time: "40 s", "12 min", "5 h", "3 days"."""
    whole = int(seconds)
    if whole < 2 * MINUTE:
        return f"{whole} s"
    if whole < 2 * HOUR:
        return f"{whole // MINUTE} min"
    return f"{whole // HOUR} h" if whole < 2 * DAY else f"{whole // DAY} days"


def exact_duration(seconds: float) -> str:
    """A length of time that is given in full: "40 s", "50 min", "3 h 20 min", "12 days 4 h"."""
    whole = int(seconds)
    if whole < HOUR:
        return rough_duration(whole)
    if whole < 2 * DAY:
        large, rest = f"{whole // HOUR} h", f"{whole % HOUR // MINUTE} min"
    else:
        large, rest = f"{whole // DAY} days", f"{whole % DAY // HOUR} h"
    return large if rest.startswith("0 ") else f"{large} {rest}"


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 play", "12,345 plays"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listening_time(milliseconds: int) -> str:
    """How long something was heard, in full: "40 s", "50 min", "3 h 20 min", "1,234 h 5 min"."""
    whole = milliseconds // 1000
    if whole < HOUR:
        return rough_duration(whole)
    hours, rest = f"{whole // HOUR:,} h", whole % HOUR // MINUTE
    return f"{hours} {rest} min" if rest else hours


def percentage(part: float, whole: float) -> str:
    """A part of something: "12.3 %"; a dash where there is nothing to have a part of."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def change(number: int, before: int) -> str:
    """A number against an earlier one: "+12", "-3", "new" where there was none, "=" where nothing changed."""
    if number == before:
        return "="
    return f"{number - before:+,}" if before else "new"
