"""Track which periods were observed, and why others were not. Pure: time comes in with each turn.

A period without an answer that is longer than planned was not observed: `recently-played` is asked what was
played meanwhile. If it is longer than five minutes, it is a gap, and recorded.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

UNOBSERVED_AFTER_MS = 60_000
"""Milliseconds beyond the planned wait after which a play may have been missed."""
GAP_MS = 300_000
"""An unobserved period longer than this many milliseconds is a gap."""
MAX_TURN_DELAY = 30.0
"""Seconds by which a turn may be late on a busy machine; beyond that, the machine was suspended."""

NOT_RUNNING = "not running"
SUSPENDED = "suspended"
OFFLINE = "offline"
RATE_LIMITED = "rate limited"
LOGIN_DEAD = "login dead"
SPOTIFY_DOWN = "Spotify down"


@dataclass(frozen=True, slots=True)
class UnobservedSpan:
    """A period without answers, in milliseconds since the epoch, UTC, and its reason."""

    from_ms: int
    to_ms: int
    reason: str

    @property
    def is_gap(self) -> bool:
        """Whether it is long enough to be recorded as a gap."""
        return self.to_ms - self.from_ms > GAP_MS


class Coverage:
    """Follows from turn to turn what was observed.

    Args:
        answered_ms: When an earlier process received the last answer; None if unknown.
        expect_within: The longest wait, in seconds, that it may have planned.
    """

    def __init__(self, answered_ms: int | None, expect_within: float) -> None:
        self._answered_ms = answered_ms
        self._answered: float | None = None  # the same by this process's monotonic clock
        self._planned = expect_within
        self._turned: float | None = None  # the end of the last turn, or the start
        self._due: float | None = None
        self._reasons: Counter[str] = Counter()

    @property
    def answered_ms(self) -> int | None:
        """When the last answer arrived, in milliseconds since the epoch, UTC."""
        return self._answered_ms

    def end_turn(self, now: float, due: float) -> None:
        """Note the end of a turn, and when the next one is due, in seconds of the monotonic clock."""
        self._turned, self._due = now, due

    def add_reason(self, span: UnobservedSpan) -> None:
        """Note the part of the current unobserved period that an earlier process recorded."""
        self._reasons[span.reason] += span.to_ms - span.from_ms

    def record_failure(self, now: float, reason: str) -> None:
        """Note a turn without an answer, at `now` seconds of the monotonic clock."""
        if self._turned is not None:
            self._count(now, reason)

    def record_answer(self, stamp_ms: int, now: float) -> UnobservedSpan | None:
        """Note an answer.

        Args:
            stamp_ms: When it arrived, in milliseconds since the epoch, UTC.
            now: The same moment in seconds of the monotonic clock.

        Returns:
            The period since the previous answer, if plays may have been missed in it.
        """
        before_ms, elapsed_ms = self._answered_ms, self._elapsed_ms(stamp_ms, now)
        if self._turned is not None:
            self._count(now, "")
        span = None
        if before_ms is not None and self._is_overdue(elapsed_ms):
            span = UnobservedSpan(before_ms, max(before_ms, stamp_ms), self._reason(elapsed_ms))
        self._answered_ms, self._answered = stamp_ms, now
        self._reasons.clear()
        return span

    def expect_within(self, seconds: float) -> None:
        """Note that the next answer is planned within `seconds` of this one."""
        self._planned = seconds

    def current_gap(self, now: float) -> UnobservedSpan | None:
        """Return the gap that is still open; None before the first answer, which sets the clock."""
        if self._answered is None or self._answered_ms is None:
            return None
        elapsed_ms = round((now - self._answered) * 1000)
        span = UnobservedSpan(self._answered_ms, self._answered_ms + elapsed_ms, self._reason(elapsed_ms))
        return span if span.is_gap and self._is_overdue(elapsed_ms) and self._reasons else None

    def _is_overdue(self, elapsed_ms: int) -> bool:
        """Return whether the next answer is overdue."""
        return elapsed_ms > 1000 * self._planned + UNOBSERVED_AFTER_MS

    def _elapsed_ms(self, stamp_ms: int, now: float) -> int:
        if self._answered is not None:
            return round((now - self._answered) * 1000)
        return 0 if self._answered_ms is None else stamp_ms - self._answered_ms

    def _count(self, now: float, reason: str) -> None:
        """Attribute the time since the last turn: suspension beyond the due time, then `reason`."""
        turned = now if self._turned is None else self._turned
        due = now if self._due is None else self._due
        late = now - max(due, turned)
        asleep = late if late > MAX_TURN_DELAY else 0.0
        self._reasons[SUSPENDED] += round(1000 * asleep)
        if reason:
            self._reasons[reason] += max(1, round(1000 * (now - turned - asleep)))

    def _reason(self, elapsed_ms: int) -> str:
        """Return the reason for most of the time; what no turn accounts for counts as "not running"."""
        reasons = Counter(self._reasons)
        if self._answered is None:
            reasons[NOT_RUNNING] += max(0, elapsed_ms - sum(reasons.values()))
        ((reason, _),) = reasons.most_common(1) or [(SUSPENDED, 0)]
        return reason
