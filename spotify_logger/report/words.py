"""Format times, durations and numbers: as text for people, and as plain numbers for programs in a pipe."""

from typing import NamedTuple, TypeAlias

from spotify_logger.core.periods import Zone
from spotify_logger.core.play import format_duration

MINUTE, HOUR, DAY = 60, 3600, 86_400
MINUTE_MS = 60_000
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
UNNAMED = "(no name)"  # stands for the listener without a name


class Formatted(NamedTuple):
    """A value as people see it on a terminal, and as programs get it from a pipe."""

    for_people: str
    for_programs: str

    def __str__(self) -> str:
        return self.for_people


Cell: TypeAlias = str | int | Formatted | None  # only a terminal gets thousands commas; None is blank


def format_time(zone: Zone, second: float | None) -> str:
    """Format a time in a zone, "2026-11-22 19:00"; return "" for None."""
    return "" if second is None else f"{zone.local(second):%Y-%m-%d %H:%M}"


def rough_duration(seconds: float) -> str:
    """Format a duration in one unit, rounded down: "40 s", "12 min", "5 h", "3 days"."""
    for size, unit in ((DAY, "days"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= 2 * size:
            return f"{int(seconds) // size} {unit}"
    return f"{int(seconds)} s"


def exact_duration(seconds: float) -> str:
    """Format a duration in up to two units: "40 s", "50 min", "3 h 20 min", "12 days 4 h"."""
    if seconds < 2 * DAY:
        return listening_time(int(seconds) * 1000)
    days, hours = divmod(int(seconds) // HOUR, 24)
    return f"{days} days {hours} h" if hours else f"{days} days"


def listening_time(milliseconds: int) -> str:
    """Format a listening time, never in days: "40 s", "50 min", "3 h 20 min", "1,234 h 5 min"."""
    whole = milliseconds // 1000
    if whole < HOUR:
        return rough_duration(whole)
    hours, minutes = divmod(whole // MINUTE, 60)
    return f"{hours:,} h {minutes} min" if minutes else f"{hours:,} h"


def counted(number: int, noun: str) -> Formatted:
    """Return a number with its noun: "1 play", "12,345 plays"; in a pipe "12345 plays"."""
    return phrase(number, noun if number == 1 else f"{noun}s")


def formatted(cell: Cell) -> Formatted:
    """Return a cell for people and for programs."""
    if isinstance(cell, int):
        return Formatted(f"{cell:,}", str(cell))
    return cell if isinstance(cell, Formatted) else Formatted(cell or "", cell or "")


def heard(milliseconds: int) -> Formatted:
    """Return a listening time: "3 h 20 min"; in a pipe "3:20:00"."""
    return Formatted(listening_time(milliseconds), _clock(milliseconds))


def duration(milliseconds: int) -> Formatted:
    """Return the duration of something: "5:45"; in a pipe "0:05:45"."""
    return Formatted(format_duration(milliseconds), _clock(milliseconds))


def share(part: float, whole: float) -> Formatted:
    """Return a share of a whole: "12.3 %", a dash if that is zero; in a pipe "12.3", or nothing."""
    percent = f"{100 * part / whole:.1f}" if whole else ""
    return Formatted(f"{percent} %" if whole else "–", percent)


def change(now: int, before: int, *, is_time: bool) -> Formatted:
    """Return a change: "+1,234", "new" or "="; of milliseconds "-3 min", in a pipe "-0:03:00"."""
    shown = now // MINUTE_MS - before // MINUTE_MS if is_time else now - before
    text = f"{shown:+,}{' min' * is_time}" if shown and before else "new" if now and not before else "="
    return Formatted(text, "-" * (now < before) + (_clock if is_time else str)(abs(now - before)))


def phrase(*cells: Cell, sep: str = " ") -> Formatted:
    """Return several cells in one: "1,234 plays"; in a pipe "1234 plays"."""
    return filled(sep.join(["{}"] * len(cells)), *cells)


def filled(text: str, *cells: Cell) -> Formatted:
    """Return a text with cells in place of its braces: "{}, {} of them new"."""
    people, programs = zip(*map(formatted, cells), strict=True) if cells else ((), ())
    return Formatted(text.format(*people), text.format(*programs))


def _clock(milliseconds: int) -> str:
    """Format a duration as h:mm:ss."""
    minutes, seconds = divmod(milliseconds // 1000, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
