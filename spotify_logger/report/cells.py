"""The cells of tables: text for people on a terminal, plain numbers for programs in a pipe."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from spotify_logger.core.display import format_duration
from spotify_logger.report import words

MINUTE_MS = 60_000


class Formatted(NamedTuple):
    """A value as people see it on a terminal, and as programs get it from a pipe."""

    for_people: str
    for_programs: str


Cell: TypeAlias = str | int | Formatted | None
"""The value of a cell: numbers get their thousands commas on a terminal only; None is blank."""


def for_people(cell: Cell) -> str:
    """Return a cell as a terminal shows it."""
    if isinstance(cell, Formatted):
        return cell.for_people
    return f"{cell:,}" if isinstance(cell, int) else cell or ""


def for_programs(cell: Cell) -> str:
    """Return a cell as a pipe gets it."""
    if isinstance(cell, Formatted):
        return cell.for_programs
    return "" if cell is None else str(cell)


def heard(milliseconds: int) -> Formatted:
    """Return a listening time: "3 h 20 min"; in a pipe "3:20:00"."""
    return Formatted(words.listening_time(milliseconds), _clock(milliseconds))


def duration(milliseconds: int) -> Formatted:
    """Return the duration of something: "5:45"; in a pipe "0:05:45"."""
    return Formatted(format_duration(milliseconds), _clock(milliseconds))


def share(part: float, whole: float) -> Formatted:
    """Return a share of a whole: "12.3 %"; in a pipe "12.3"."""
    text = words.percentage(part, whole)
    return Formatted(text, text.removesuffix(" %") if whole else "")


def change(number: int, before: int) -> Formatted:
    """Return the change from an earlier number: "+1,234", "new" or "="; in a pipe "1234"."""
    return Formatted(words.change(number, before), str(number - before))


def heard_change(milliseconds: int, before: int) -> Formatted:
    """Return the change from an earlier listening time: "+12 min", "new" or "="; in a pipe "0:12:00"."""
    minutes = milliseconds // MINUTE_MS - before // MINUTE_MS
    text = (f"{minutes:+,} min" if minutes else "=") if before else words.change(milliseconds, 0)
    return Formatted(text, "-" * (milliseconds < before) + _clock(abs(milliseconds - before)))


def phrase(*cells: Cell) -> Formatted:
    """Return several cells in one: "1,234 plays"; in a pipe "1234 plays"."""
    return Formatted(" ".join(map(for_people, cells)), " ".join(map(for_programs, cells)))


def filled(text: str, *cells: Cell) -> Formatted:
    """Return a text with cells in place of its braces: "{}, {} of them new"."""
    return Formatted(text.format(*map(for_people, cells)), text.format(*map(for_programs, cells)))


def _clock(milliseconds: int) -> str:
    """Format a duration as h:mm:ss."""
    minutes, seconds = divmod(milliseconds // 1000, 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
