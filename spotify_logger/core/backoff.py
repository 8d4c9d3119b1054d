"""Wait longer after each failure in a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Backoff:
    """How long to wait after failures in a row: twice as long each time, with jitter.

    Args:
        shortest: Seconds after the first.
        longest: Seconds at most.
        chance: Returns a random number from 0 to 1.
    """

    def __init__(self, shortest: float, longest: float, chance: Callable[[], float]) -> None:
        self._shortest, self._longest, self._chance = shortest, longest, chance
        self._failures = 0

    def failed(self) -> float:
        """Return the seconds to wait after one more failure."""
        wait = min(self._shortest * 2.0 ** min(self._failures, 16), self._longest)
        self._failures += 1
        return wait * (0.5 + self._chance() / 2)

    def succeeded(self) -> None:
        """Forget the failures."""
        self._failures = 0
