"""The contact with Redis: it rests for a while after a failure, and reports each trouble once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.system import log

if TYPE_CHECKING:
    from spotify_logger.core.backoff import Backoff
    from spotify_logger.storage.client import StoreError
    from spotify_logger.system.clock import Clock

WRONG_TYPE = "WRONGTYPE"
"""The error code for a key of another type, which something else uses."""


class RedisSession:
    """What is known of the contact with Redis.

    Args:
        clock: The time.
        backoff: How long to leave Redis alone after a failure.

    Attributes:
        trouble: What is wrong with Redis; "" while all is well.
    """

    def __init__(self, clock: Clock, backoff: Backoff) -> None:
        self._clock = clock
        self._backoff = backoff
        self._retry_at = float("-inf")
        self._reported: set[str] = set()  # kinds of the current errors
        self.trouble = ""

    @property
    def is_resting(self) -> bool:
        """Return whether Redis failed a moment ago and is left alone."""
        return self._clock.monotonic() < self._retry_at

    def failed(self, error: StoreError) -> None:
        """Note that Redis did not answer, or refused everything."""
        wait = self._backoff.failed()
        self._retry_at = self._clock.monotonic() + wait
        self.report(error, f" (plays are queued; next try in {wait:.0f} s)")

    def report(self, error: StoreError, what_next: str = " (everything else was written)") -> None:
        """Log an error, unless its kind has been logged since the last success."""
        kinds = _kinds(error)
        if not kinds <= self._reported:
            log.warning(f"{error}{what_next}")
        self._reported |= kinds
        self.trouble = str(error)

    def succeeded(self) -> None:
        """Note that Redis took everything."""
        self._backoff.succeeded()
        if self.trouble:
            log.info("Redis is back; sending queued plays")
        self._reported.clear()
        self.trouble = ""


def _kinds(error: StoreError) -> set[str]:
    """Return the kinds of errors that each deserve a log line: every key of another type is one."""
    if error.codes == {WRONG_TYPE}:
        return {f"{WRONG_TYPE} {key}" for key in error.refused}
    return set(error.codes) or {str(error)}
