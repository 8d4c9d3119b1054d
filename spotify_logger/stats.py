"""Figures over rows of the index. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LISTENED_MS = 30_000
"""What counts as a play unless told otherwise: half a minute, as Spotify counts."""


@dataclass(slots=True)
class Tally:
    """What is added up over plays.

    Attributes:
        plays: Those of at least `LISTENED_MS`.
        skips: Those left before.
        heard_ms: Milliseconds heard in all, skips included.
        first: Second of the first play that counts; None if there is none.
        last: Second of the last one that counts.
    """

    plays: int = 0
    skips: int = 0
    heard_ms: int = 0
    first: int | None = None
    last: int | None = None

    def add(self, second: int, heard_ms: int) -> None:
        """Count one play."""
        self.heard_ms += heard_ms
        if heard_ms < LISTENED_MS:
            self.skips += 1
        else:
            self.plays += 1
            self._stretch(second, second)

    def merge(self, other: Tally) -> None:
        """Count everything that another tally has counted."""
        self.plays += other.plays
        self.skips += other.skips
        self.heard_ms += other.heard_ms
        if other.first is not None and other.last is not None:
            self._stretch(other.first, other.last)

    def _stretch(self, first: int, last: int) -> None:
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)


def tally(rows: Iterable[tuple[int, str, int]]) -> dict[str, Tally]:
    """Add up, item by item, rows of second, catalogue key and milliseconds heard."""
    tallies: dict[str, Tally] = {}
    for second, item, heard_ms in rows:
        found = tallies.get(item)
        if found is None:
            found = tallies[item] = Tally()
        found.add(second, heard_ms)
    return tallies
