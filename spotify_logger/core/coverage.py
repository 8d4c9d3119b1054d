"""What could be seen, and what could not: from when to when, and why. Pure: time comes in with each turn.

A stretch without an answer for longer than was planned is a blind one: `recently-played` is asked what
happened meanwhile. One of more than five minutes is a gap, which is recorded.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

UNOBSERVED_AFTER_MS = 60_000
"""Milliseconds beyond the planned wait after which something may have been missed."""
GAP_MS = 300_000
"""Milliseconds without an answer that are a gap."""
MAX_TURN_DELAY = 30.0
"""Seconds by which a turn may be late, on a busy machine; more, and it was asleep."""

NOT_RUNNING = "not running"
SUSPENDED = "suspended"
OFFLINE = "offline"
RATE_LIMITED = "rate limited"
LOGIN_DEAD = "login dead"
SPOTIFY_DOWN = "Spotify down"


@dataclass(frozen=True, slots=True)
class UnobservedSpan:
    """A stretch without an answer: milliseconds since the epoch, UTC, and why."""

    from_ms: int
    to_ms: int
    reason: str

    @property
    def is_gap(self) -> bool:
        """Whether it is to be recorded."""
        return self.to_ms - self.from_ms > GAP_MS


class Coverage:
    """Follows from turn to turn whether anything could be seen.

    Args:
        answered_ms: When the last answer came, to another process; None when that is not known.
        planned: Seconds to the next answer that it may have planned, at most.
    """

    def __init__(self, answered_ms: int | None, expect_within: float) -> None:
        self._answered_ms = answered_ms
        self._answered: float | None = None  # the same, by the monotonic clock of this process
        self._planned = expect_within
        self._turned: float | None = None  # the last turn, or the start
        self._due: float | None = None
        self._reasons: Counter[str] = Counter()

    @property
    def answered_ms(self) -> int | None:
        """When the last answer came: milliseconds since the epoch, UTC."""
        return self._answered_ms

    def end_turn(self, now: float, due: float) -> None:
        """Take note of a turn, and of when the next one is to be; seconds of the monotonic clock."""
        self._turned, self._due = now, due

    def add_reason(self, lost: UnobservedSpan) -> None:
        """Take note of what another process has seen of the stretch that is under way."""
        self._reasons[lost.reason] += lost.to_ms - lost.from_ms

    def record_failure(self, now: float, reason: str) -> None:
        """A turn brought no answer."""
        if self._turned is not None:
            self._count(now, reason)

    def record_answer(self, stamp_ms: int, now: float) -> UnobservedSpan | None:
        """An answer came.

        Args:
            stamp_ms: When: milliseconds since the epoch, UTC.
            now: The same moment in seconds of the monotonic clock.

        Returns:
            The stretch since the answer before, if something may have been missed in it.
        """
        before_ms, elapsed_ms = self._answered_ms, self._elapsed_ms(stamp_ms, now)
        if self._turned is not None:
            self._count(now, "")
        stretch = None
        if before_ms is not None and self._is_blind(elapsed_ms):
            stretch = UnobservedSpan(before_ms, max(before_ms, stamp_ms), self._reason(elapsed_ms))
        self._answered_ms, self._answered = stamp_ms, now
        self._reasons.clear()
        return stretch

    def expect_within(self, seconds: float) -> None:
        """Take note of how long after this answer the next one is to come."""
        self._planned = seconds

    def current_gap(self, now: float) -> UnobservedSpan | None:
        """The gap that is under way, if this process has had an answer, which told it the time."""
        if self._answered is None or self._answered_ms is None:
            return None
        elapsed_ms = round((now - self._answered) * 1000)
        stretch = UnobservedSpan(self._answered_ms, self._answered_ms + elapsed_ms, self._reason(elapsed_ms))
        return stretch if stretch.is_gap and self._is_blind(elapsed_ms) and self._reasons else None

    def _is_blind(self, elapsed_ms: int) -> bool:
        """Whether the next answer is missed by now."""
        return elapsed_ms > 1000 * self._planned + UNOBSERVED_AFTER_MS

    def _elapsed_ms(self, stamp_ms: int, now: float) -> int:
        if self._answered is not None:
            return round((now - self._answered) * 1000)
        return 0 if self._answered_ms is None else stamp_ms - self._answered_ms

    def _count(self, now: float, reason: str) -> None:
        """Say what the time since the last turn was lost to: sleep beyond its end, and then the reason."""
        turned = now if self._turned is None else self._turned
        due = now if self._due is None else self._due
        late = now - max(due, turned)
        asleep = late if late > MAX_TURN_DELAY else 0.0
        self._reasons[SUSPENDED] += round(1000 * asleep)
        if reason:
            self._reasons[reason] += max(1, round(1000 * (now - turned - asleep)))

    def _reason(self, elapsed_ms: int) -> str:
        """What most of the time was lost to; in what no turn accounts for, this process did not run."""
        reasons = Counter(self._reasons)
        if self._answered is None:
            reasons[NOT_RUNNING] += max(0, elapsed_ms - sum(reasons.values()))
        ((reason, _),) = reasons.most_common(1) or [(SUSPENDED, 0)]
        return reason
