"""Exponential backoff with jitter."""

from collections.abc import Callable


class Backoff:
    """Doubles the delay after each failure, from `shortest` to `longest` seconds, with jitter by `chance`."""

    def __init__(self, shortest: float, longest: float, chance: Callable[[], float]) -> None:
        self._shortest, self._longest, self._chance = shortest, longest, chance
        self._failures = 0

    def failed(self) -> float:
        """Count a failure, and return the seconds to wait before the next attempt."""
        wait = min(self._shortest * 2.0 ** min(self._failures, 16), self._longest)
        self._failures += 1
        return wait * (0.5 + self._chance() / 2)

    def succeeded(self) -> None:
        """Reset the delay."""
        self._failures = 0
