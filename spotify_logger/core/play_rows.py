"""Rows of the index: the plays of a UTC day as columns, and the sessions that plays make. Pure."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from spotify_logger.core.redis_keys import ONE_DAY, read_row, second_of_day

SESSION_PAUSE_MS = 30 * 60_000  # a listening session ends when nothing is played for this long

Session = tuple[int, int]
"""The second in which its first play started, and the millisecond in which the last one ended."""


@dataclass(slots=True)
class PlayRows:
    """The plays that started on one UTC day, in chronological order, as columns of equal length."""

    seconds: list[int] = field(default_factory=list)  # since the epoch, UTC: they name the plays
    items: list[str] = field(default_factory=list)  # catalog keys
    ms_played: list[int] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)  # one of `END_REASONS`, or `OPEN`

    def __len__(self) -> int:
        return len(self.seconds)

    def between(self, begin: int, end: int) -> "PlayRows":
        """Return the plays that started from the second `begin` on and before the second `end`."""
        if not self.seconds or (begin <= self.seconds[0] and self.seconds[-1] < end):
            return self
        part = slice(bisect_left(self.seconds, begin), bisect_left(self.seconds, end))
        return PlayRows(self.seconds[part], self.items[part], self.ms_played[part], self.ends[part])


def read_day(lines: Mapping[str, str]) -> PlayRows:
    """Return the rows of a day's index; invalid ones are skipped."""
    read = sorted(row for row in map(read_row, lines.keys(), lines.values()) if row is not None)
    return PlayRows(*map(list, zip(*read, strict=True))) if read else PlayRows()


def sessions(plays: Iterable[tuple[int, int]]) -> Iterator[Session]:
    """Yield the sessions of plays, given as seconds and milliseconds played, in chronological order."""
    begin, end_ms = 0, -SESSION_PAUSE_MS
    for second, ms_played in plays:
        if second * 1000 - end_ms >= SESSION_PAUSE_MS:
            if end_ms >= 0:
                yield begin, end_ms
            begin, end_ms = second, second * 1000
        end_ms = max(end_ms, second * 1000 + ms_played)
    if end_ms >= 0:
        yield begin, end_ms


def is_day(text: str) -> bool:
    """Return whether a text is a day as the names of keys have it: "2026-11-22"."""
    try:
        return str(date.fromisoformat(text)) == text
    except ValueError:
        return False


def span_of(day: str) -> tuple[int, int]:
    """Return the first second of such a UTC day, and the one after its last."""
    begin = second_of_day(date.fromisoformat(day))
    return begin, begin + ONE_DAY
