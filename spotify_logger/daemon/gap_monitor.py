"""Records when Spotify could not be observed, across restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.coverage import Coverage, UnobservedSpan
from spotify_logger.core.times import in_range, to_iso
from spotify_logger.system import log
from spotify_logger.system.state import from_json, to_json

if TYPE_CHECKING:
    from spotify_logger.storage.outbox import Outbox
    from spotify_logger.system.clock import Clock

LAST_ANSWER_NOTE = "beat"
GAP_NOTE = "gap"
UNOBSERVED_NOTE = "blind"
SAVE_INTERVAL = 60.0  # seconds between saves of what changes with every answer: what a power cut loses
GAP_SAVE_INTERVAL = 900.0  # seconds between saves of a growing gap
MAX_SPANS = 50  # latest unobserved spans kept: more than the fifty items of `recently-played` reach back to


class GapMonitor:
    """Follows which times were observed, and records gaps.

    Attributes:
        unobserved: The latest unobserved spans, from and to in milliseconds since the epoch, UTC.
    """

    def __init__(self, outbox: Outbox, clock: Clock, expect_within: float) -> None:
        self._outbox = outbox
        self._clock = clock
        self._expect_within = expect_within  # seconds that an earlier process may have planned to wait
        self._saved_at = self._gap_saved_at = float("-inf")
        self._saved_ms = in_range(from_json(int, outbox.note(LAST_ANSWER_NOTE)))
        self._coverage = self._coverage_since(self._saved_ms)
        self._is_failing = False
        spans = from_json(list[tuple[int, int]], outbox.note(UNOBSERVED_NOTE)) or []
        self.unobserved = spans[-MAX_SPANS:]

    def _coverage_since(self, answered_ms: int | None) -> Coverage:
        return Coverage(answered_ms, self._expect_within, self._clock.monotonic())

    def resume(self, answered_ms: int | None) -> None:
        """Continue from the last answer of an earlier process, as Redis says or a note, or from its gap."""
        kept = from_json(tuple[int, int, str], self._outbox.note(GAP_NOTE))
        known = [moment for moment in (answered_ms, self._saved_ms) if moment is not None]
        if kept is not None and 0 < kept[0] <= (in_range(kept[1]) or 0):
            self._coverage = self._coverage_since(kept[0])
            self._coverage.add_reason(UnobservedSpan(*kept))
        elif known:
            self._coverage = self._coverage_since(max(known))

    def on_answer(self, stamp_ms: int, now: float) -> UnobservedSpan | None:
        """Handle an answer, and record the gap that it ends; see `Coverage.record_answer`."""
        span = self._coverage.record_answer(stamp_ms, now)
        self._is_failing = False
        if span is not None:
            self._gap_saved_at = float("-inf")
            self.unobserved = [*self.unobserved, (span.from_ms, span.to_ms)][-MAX_SPANS:]
            notes = {UNOBSERVED_NOTE: to_json(self.unobserved), GAP_NOTE: ""}
            if span.is_gap:
                fields = self._record(span, notes)
                begin, end = fields["from"][:19], fields["to"][:19]
                log.warning(f"not observed: {begin}Z to {end}Z ({span.reason}); recorded as a gap")
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

    def _record(self, gap: UnobservedSpan, notes: dict[str, str]) -> dict[str, str]:
        fields = {"from": to_iso(gap.from_ms), "to": to_iso(gap.to_ms), "reason": gap.reason}
        self._outbox.put([], notes, {gap.from_ms // 1000: fields})
        return fields
