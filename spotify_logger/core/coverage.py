"""Track which periods were observed, and why others were not. Pure: time comes in with each turn.

After a period without an answer, longer than planned, `recently-played` is asked what was played meanwhile.
"""

from collections import Counter
from typing import NamedTuple

UNOBSERVED_AFTER_MS = 60_000  # beyond the planned wait, after which a play may have been missed
GAP_MS = 300_000  # an unobserved period longer than this is a gap
MAX_TURN_DELAY = 30.0  # seconds that a turn may be late on a busy machine; else the machine was suspended
NOT_RUNNING, SUSPENDED, OFFLINE = "not running", "suspended", "offline"  # the reasons
RATE_LIMITED, LOGIN_DEAD, SPOTIFY_DOWN = "rate limited", "login dead", "Spotify down"


class UnobservedSpan(NamedTuple):
    """A period without answers, in milliseconds since the epoch, UTC, and its reason."""

    from_ms: int
    to_ms: int
    reason: str

    @property
    def is_gap(self) -> bool:
        """Whether it is long enough to be recorded as a gap."""
        return self.to_ms - self.from_ms > GAP_MS


class Coverage:
    """Follows from turn to turn what was observed; `now` is in seconds of the monotonic clock."""

    def __init__(
        self, answered_ms: int | None, planned: float, now: float, recorded: UnobservedSpan | None = None
    ) -> None:
        self.answered_ms = answered_ms  # the last answer, possibly to an earlier process; None if unknown
        self._planned = planned  # the longest wait, in seconds, that was planned after it
        self._answered: float | None = None  # when it arrived here, by the monotonic clock
        self._turned = self._due = now  # the end of the last turn, and when the next one is due
        # Milliseconds by reason since the last answer; an earlier process may have recorded a part.
        self.reasons = Counter({recorded.reason: recorded.to_ms - recorded.from_ms} if recorded else {})

    def end_turn(self, now: float, due: float) -> None:
        """Note the end of a turn, and when the next one is due."""
        self._turned, self._due = now, due
        if not self.reasons:  # after an answer
            self._planned = due - now

    def record_failure(self, now: float, reason: str) -> None:
        """Note a turn without an answer: the time since the last one was suspension, then `reason`."""
        late = now - max(self._due, self._turned)
        asleep = late if late > MAX_TURN_DELAY else 0.0
        self.reasons[SUSPENDED] += round(1000 * asleep)
        if reason:
            self.reasons[reason] += max(1, round(1000 * (now - self._turned - asleep)))

    def record_answer(self, stamp_ms: int, now: float) -> UnobservedSpan | None:
        """Note an answer at `stamp_ms`, UTC; return the period before it if plays may have been missed."""
        self.record_failure(now, "")
        span, before_ms = None, self.answered_ms
        if before_ms is not None:
            if self._answered is None:  # what no turn accounts for counts as "not running"
                elapsed_ms = stamp_ms - before_ms
                self.reasons[NOT_RUNNING] += max(0, elapsed_ms - self.reasons.total())
            else:
                elapsed_ms = round((now - self._answered) * 1000)
            if self._is_overdue(elapsed_ms):
                span = UnobservedSpan(before_ms, max(before_ms, stamp_ms), self._main_reason())
        self.answered_ms, self._answered = stamp_ms, now
        self.reasons.clear()
        return span

    def current_gap(self, now: float) -> UnobservedSpan | None:
        """Return the gap that is still open; None before the first answer, which sets the clock."""
        if self.answered_ms is None or self._answered is None:
            return None
        elapsed_ms = round((now - self._answered) * 1000)
        span = UnobservedSpan(self.answered_ms, self.answered_ms + elapsed_ms, self._main_reason())
        return span if span.is_gap and self._is_overdue(elapsed_ms) and self.reasons else None

    def _is_overdue(self, elapsed_ms: int) -> bool:
        return elapsed_ms > 1000 * self._planned + UNOBSERVED_AFTER_MS

    def _main_reason(self) -> str:
        return max(self.reasons, key=self.reasons.__getitem__, default=SUSPENDED)
