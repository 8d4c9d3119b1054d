"""Statistics of one thing: how much it was played, when, and how often in a row. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING

from spotify_logger.core.statistics import CalendarCounts, Totals

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from spotify_logger.core.periods import LocalClock
    from spotify_logger.core.play_rows import PlayRows


@dataclass(slots=True)
class PlayRun:
    """The longest run of consecutive plays, with no other counting play between them.

    Attributes:
        plays: The number of plays in the longest run, the earliest in a tie.
        begin: The second of its first play; None if there is none.
    """

    plays: int = 0
    begin: int | None = None
    _plays: int = field(default=0, repr=False)
    _begin: int = field(default=0, repr=False)

    def add(self, seconds: Iterable[int], hits: Collection[bool]) -> None:
        """Add plays that count, in chronological order.

        Args:
            seconds: When they started.
            hits: Which of them are plays of the thing.
        """
        if True not in hits:
            self._plays = 0 if hits else self._plays
            return
        for second, hit in zip(seconds, hits, strict=True):
            if hit:
                self._go_on(second)
            else:
                self._plays = 0

    def _go_on(self, second: int) -> None:
        self._begin = self._begin if self._plays else second
        self._plays += 1
        if self._plays > self.plays:
            self.plays, self.begin = self._plays, self._begin


class ItemStats:
    """Running statistics of one thing.

    Args:
        items: Its catalog keys; the caller may add a key before adding rows of it.
        clock: Converts seconds to local time.

    Attributes:
        calendar: Its plays by day and hour.
        sums: The totals.
        run: The longest run of consecutive plays.
        first: Second of the first play that counts; None if there is none.
        last: Second of the last one.
    """

    def __init__(self, items: Collection[str], clock: LocalClock) -> None:
        self.items = items
        self.calendar = CalendarCounts(clock)
        self.sums = Totals()
        self.run = PlayRun()
        self.first: int | None = None
        self.last: int | None = None

    def add(self, rows: PlayRows, counts: list[bool]) -> None:
        """Add all plays of a day; days come in chronological order."""
        hits = list(map(self.items.__contains__, rows.items))
        self.run.add(compress(rows.seconds, counts), list(compress(hits, counts)))
        if True in hits:
            self._add(rows.select(hits), list(compress(counts, hits)))

    def _add(self, rows: PlayRows, counts: list[bool]) -> None:
        self.calendar.add(rows, counts)
        self.sums.add(rows, counts)
        seconds = list(compress(rows.seconds, counts))
        if seconds:
            self.first = seconds[0] if self.first is None else self.first
            self.last = seconds[-1]
