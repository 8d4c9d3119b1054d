"""Watches the logger itself: records gaps, alerts a person, and sends heartbeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.coverage import Coverage, UnobservedSpan
from spotify_logger.core.times import in_range, to_iso
from spotify_logger.system import log
from spotify_logger.system.state import from_json, to_json

if TYPE_CHECKING:
    from spotify_logger.daemon.alerts import Alerts, Heartbeat
    from spotify_logger.storage.outbox import Outbox
    from spotify_logger.system.clock import Clock

LAST_ANSWER_NOTE = "beat"
"""The note with the time of the last answer, at most `SAVE_INTERVAL` seconds old."""
GAP_NOTE = "gap"
"""The note with the current gap: from, to and reason so far; empty while there is none."""
UNOBSERVED_NOTE = "blind"
"""The note with the latest unobserved spans."""
SAVE_INTERVAL = 60.0
"""Seconds between saves of what changes with every answer: the most that a power cut loses."""
GAP_SAVE_INTERVAL = 900.0
"""Seconds between saves of a growing gap."""
MAX_SPANS = 50
"""Latest unobserved spans kept: more than the fifty items of `recently-played` reach back to."""


class GapMonitor:
    """Records when Spotify could not be observed, and reports health to alerts and heartbeat.

    Args:
        outbox: Where notes and gaps are kept.
        clock: The time.
        alerts: Alerts for a person.
        heartbeat: Heartbeats for a dead man's switch.
        expect_within: The longest wait, in seconds, that an earlier process may have planned.

    Attributes:
        unobserved: The latest unobserved spans, from and to in milliseconds since the epoch, UTC.
    """

    def __init__(
        self, outbox: Outbox, clock: Clock, alerts: Alerts, heartbeat: Heartbeat, expect_within: float
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._alerts = alerts
        self._heartbeat = heartbeat
        self._expect_within = expect_within
        self._coverage = self._coverage_since(_read_last_answer(outbox.note(LAST_ANSWER_NOTE)))
        self.unobserved = _read_spans(outbox.note(UNOBSERVED_NOTE))
        self._saved_at = float("-inf")
        self._saved_ms = _read_last_answer(outbox.note(LAST_ANSWER_NOTE))
        self._gap_saved_at = float("-inf")
        self._is_failing = False
        self._has_answer = False

    def _coverage_since(self, answered_ms: int | None) -> Coverage:
        return Coverage(answered_ms, self._expect_within, self._clock.monotonic())

    def resume(self, answered_ms: int | None) -> None:
        """Continue from the last answer of an earlier process, or from the gap it already recorded.

        Args:
            answered_ms: The last answer according to Redis, in milliseconds since the epoch; None if unknown.
        """
        gap = _read_gap(self._outbox.note(GAP_NOTE))
        known = [moment for moment in (answered_ms, self._saved_ms) if moment is not None]
        if gap is not None:
            self._coverage = self._coverage_since(gap.from_ms)
            self._coverage.add_reason(gap)
        elif known:
            self._coverage = self._coverage_since(max(known))

    def on_answer(self, stamp_ms: int, now: float) -> UnobservedSpan | None:
        """Handle an answer, and record the gap that it ends; see `Coverage.record_answer`."""
        span = self._coverage.record_answer(stamp_ms, now)
        self._is_failing = False
        self._has_answer = True
        if span is not None:
            self._gap_saved_at = float("-inf")
            self.unobserved = [*self.unobserved, (span.from_ms, span.to_ms)][-MAX_SPANS:]
            notes = {UNOBSERVED_NOTE: to_json(self.unobserved), GAP_NOTE: ""}
            if span.is_gap:
                self._record(span, notes)
                log.warning(f"not observed: {_describe(span)}")
            else:
                self._outbox.put([], notes)
        return span

    def on_failure(self, reason: str) -> None:
        """Handle a turn without an answer."""
        now = self._clock.monotonic()
        self._coverage.record_failure(now, reason)
        if not self._is_failing:
            self._is_failing = True
            if self._coverage.answered_ms not in {None, self._saved_ms}:
                self._outbox.put([], self.to_notes())
        gap = self._coverage.current_gap(now)
        if gap is not None and now - self._gap_saved_at >= GAP_SAVE_INTERVAL:
            self._gap_saved_at = now
            self._record(gap, {GAP_NOTE: to_json([gap.from_ms, gap.to_ms, gap.reason])})

    def on_planned(self, due: float) -> None:
        """Note when the next turn is due, in seconds of the monotonic clock."""
        now = self._clock.monotonic()
        self._coverage.end_turn(now, due)
        if not self._is_failing:
            self._coverage.planned = due - now

    def is_save_due(self) -> bool:
        """Return whether what changes with every answer should be saved now."""
        return not self._is_failing and self._clock.monotonic() - self._saved_at >= SAVE_INTERVAL

    def to_notes(self) -> dict[str, str]:
        """Return the notes to save then."""
        self._saved_at = self._clock.monotonic()
        self._saved_ms = self._coverage.answered_ms
        return {} if self._saved_ms is None else {LAST_ANSWER_NOTE: str(self._saved_ms)}

    def report(
        self, login_valid_until: float | None, trouble: str, *, is_time_known: bool, healthy: bool
    ) -> None:
        """Alert a person if one is needed, and send a heartbeat if all is well.

        Args:
            login_valid_until: When the login expires, in seconds since the epoch; None if unknown.
            trouble: Why the login does not work; "" while it does.
            is_time_known: Whether an answer has confirmed the time.
            healthy: Whether Spotify answered and Redis took the result.
        """
        # Before its first answer, a process does not know whether the login works.
        if trouble or (is_time_known and self._has_answer):
            self._alerts.check_login(login_valid_until, trouble, self._clock.utc())
        self._alerts.deliver()
        self._heartbeat.beat(healthy=healthy)

    def _record(self, gap: UnobservedSpan, notes: dict[str, str]) -> None:
        fields = {"from": to_iso(gap.from_ms), "to": to_iso(gap.to_ms), "reason": gap.reason}
        self._outbox.put_gap(gap.from_ms // 1000, fields, notes)


def _describe(gap: UnobservedSpan) -> str:
    return f"{to_iso(gap.from_ms)[:19]}Z to {to_iso(gap.to_ms)[:19]}Z ({gap.reason}); recorded as a gap"


def _read_last_answer(text: str) -> int | None:
    """Return the time of the last answer in milliseconds; None without a valid note."""
    return in_range(from_json(int, text))


def _read_gap(text: str) -> UnobservedSpan | None:
    """Return the gap in a note; None without a valid one."""
    kept = from_json(tuple[int, int, str], text)
    gap = None if kept is None else UnobservedSpan(*kept)
    return gap if gap is not None and 0 < gap.from_ms <= (in_range(gap.to_ms) or 0) else None


def _read_spans(text: str) -> list[tuple[int, int]]:
    return (from_json(list[tuple[int, int]], text) or [])[-MAX_SPANS:]
