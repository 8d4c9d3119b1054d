"""Format times, durations and numbers as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.times import local, seconds_of

if TYPE_CHECKING:
    from spotify_logger.core.periods import Zone

MINUTE, HOUR, DAY = 60, 3600, 86_400
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def local_time(second: float) -> str:
    """Format a time in the local time zone: "2026-11-22 19:00"."""
    return f"{local(second):%Y-%m-%d %H:%M}"


def local_period(begin: float, end: float) -> str:
    """Format a period in the local time zone: "2026-11-22 19:00 to 21:10", or with both dates."""
    first, last = local_time(begin), local_time(end)
    same_day = first.split()[0] == last.split()[0]
    return f"{first} to {last.split()[1] if same_day else last}"


def format_time(zone: Zone, second: float | None) -> str:
    """Format a time in a zone, "2026-11-22 19:00"; return "" for None."""
    return "" if second is None else f"{zone.local(second):%Y-%m-%d %H:%M}"


def format_iso(zone: Zone, time: str | None) -> str:
    """Format the ISO time of a result like `format_time`."""
    return format_time(zone, seconds_of(time or ""))


def rough_duration(seconds: float) -> str:
    """Format a duration in one unit, rounded down: "40 s", "12 min", "5 h", "3 days"."""
    whole = int(seconds)
    if whole < 2 * MINUTE:
        return f"{whole} s"
    if whole < 2 * HOUR:
        return f"{whole // MINUTE} min"
    return f"{whole // HOUR} h" if whole < 2 * DAY else f"{whole // DAY} days"


def exact_duration(seconds: float) -> str:
    """Format a duration in up to two units: "40 s", "50 min", "3 h 20 min", "12 days 4 h"."""
    whole = int(seconds)
    if whole < HOUR:
        return rough_duration(whole)
    if whole < 2 * DAY:
        large, rest = f"{whole // HOUR} h", f"{whole % HOUR // MINUTE} min"
    else:
        large, rest = f"{whole // DAY} days", f"{whole % DAY // HOUR} h"
    return large if rest.startswith("0 ") else f"{large} {rest}"


def plural(number: int, noun: str) -> str:
    """Return the form of a noun that follows a number: "play", "plays"."""
    return noun if number == 1 else f"{noun}s"


def counted(number: int, noun: str) -> str:
    """Format a number with its noun: "1 play", "12,345 plays"."""
    return f"{number:,} {plural(number, noun)}"


def listening_time(milliseconds: int) -> str:
    """Format a listening time, never in days: "40 s", "50 min", "3 h 20 min", "1,234 h 5 min"."""
    whole = milliseconds // 1000
    if whole < HOUR:
        return rough_duration(whole)
    hours, rest = f"{whole // HOUR:,} h", whole % HOUR // MINUTE
    return f"{hours} {rest} min" if rest else hours


def percentage(part: float, whole: float) -> str:
    """Format a share of a whole: "12.3 %"; a dash if the whole is zero."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def change(number: int, before: int) -> str:
    """Format the change from an earlier number: "+12", "-3", "new" if it was zero, "=" if unchanged."""
    if number == before:
        return "="
    return f"{number - before:+,}" if before else "new"
