"""Records when Spotify could not be observed, and finds plays that were missed, in `recently-played`.

It is fetched after every start and every unobserved span, again a few minutes later for plays that Spotify
reports late, and after every half hour of listening for plays too short to be polled or not shown by the
player.
"""

from collections.abc import Sequence

from spotify_logger.core.backfill import backfill_plays, read_recently_played
from spotify_logger.core.coverage import Coverage, UnobservedSpan
from spotify_logger.core.matching import AccountRank, account_rank, identity, matches_tombstone
from spotify_logger.core.play import Play, format_play
from spotify_logger.core.times import in_range, to_iso
from spotify_logger.daemon.recorder import Recorder
from spotify_logger.spotify.api import Spotify
from spotify_logger.storage.outbox import Outbox
from spotify_logger.system import log
from spotify_logger.system.clock import Clock
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.system.state import from_json, to_json

LAST_ANSWER_NOTE = "beat"
GAP_NOTE = "gap"
UNOBSERVED_NOTE = "blind"
GAP_SAVE_INTERVAL = 900.0  # seconds between saves of a growing gap
MAX_SPANS = 50  # latest unobserved spans kept: more than the fifty items of `recently-played` reach back to
FOLLOW_UP_DELAY = 360.0  # seconds between two requests after a gap: Spotify reports some plays minutes late
LISTENED_INTERVAL_MS = 30 * 60_000  # milliseconds of listening between two requests without a gap
LISTENED_RETRY_MS = 10 * 60_000  # milliseconds of listening before such a request is retried after a failure
LOOKBACK_MS = 24 * 3600_000  # milliseconds before the oldest item in which known plays are looked for
RESTART_GRACE_MS = 120_000  # milliseconds after a request in which a restart does not send another one
BACKFILL_NOTE = "repair"


class GapMonitor:
    """Follows which times were observed, and records gaps."""

    def __init__(self, outbox: Outbox, clock: Clock, expect_within: float) -> None:
        self._outbox, self._clock = outbox, clock
        self._expect_within = expect_within  # seconds that an earlier process may have planned to wait
        self._gap_saved_at = float("-inf")
        self._coverage = Coverage(None, expect_within, clock.monotonic())
        self.resume(None)
        spans = from_json(list[tuple[int, int]], outbox.note(UNOBSERVED_NOTE)) or []
        self.unobserved = spans[-MAX_SPANS:]  # from and to, in milliseconds since the epoch, UTC

    def resume(self, answered_ms: int | None) -> None:
        """Continue from the last answer of an earlier process, as Redis says or a note, or from its gap."""
        kept = from_json(tuple[int, int, str], self._outbox.note(GAP_NOTE))
        saved_ms = in_range(from_json(int, self._outbox.note(LAST_ANSWER_NOTE)))
        known = [moment for moment in (answered_ms, saved_ms) if moment is not None]
        gap = UnobservedSpan(*kept) if kept and 0 < kept[0] <= (in_range(kept[1]) or 0) else None
        if gap or known:
            since_ms = gap.from_ms if gap else max(known)
            self._coverage = Coverage(since_ms, self._expect_within, self._clock.monotonic(), gap)

    def on_answer(self, stamp_ms: int, now: float, *, resumes: bool = False) -> UnobservedSpan | None:
        """Handle an answer, perhaps one with which playback resumes; see `Coverage.record_answer`."""
        before_ms = self._coverage.answered_ms
        span = self._coverage.record_answer(stamp_ms, now)
        if before_ms is not None and (resumes or span is not None):
            self._gap_saved_at = float("-inf")
            self.unobserved = [*self.unobserved, (before_ms, max(before_ms, stamp_ms))][-MAX_SPANS:]
            notes = {UNOBSERVED_NOTE: to_json(self.unobserved), GAP_NOTE: ""}
            if span is not None and span.is_gap:
                self._record(span, notes)
                begin, end = (to_iso(moment)[:19] for moment in (span.from_ms, span.to_ms))
                log.warning(f"not observed: {begin}Z to {end}Z ({span.reason}); recorded as a gap")
            else:
                self._outbox.put([], notes)
        return span

    def on_failure(self, reason: str) -> None:
        """Handle a turn without an answer."""
        now, is_first = self._clock.monotonic(), not self._coverage.reasons
        self._coverage.record_failure(now, reason)
        if is_first:
            self._outbox.put([], self.to_notes())
        gap = self._coverage.current_gap(now)
        if gap is not None and now - self._gap_saved_at >= GAP_SAVE_INTERVAL:
            self._gap_saved_at = now
            self._record(gap, {GAP_NOTE: to_json(gap)})

    def on_planned(self, due: float) -> None:
        """Note when the next turn is due, in seconds of the monotonic clock."""
        self._coverage.end_turn(self._clock.monotonic(), due)

    def to_notes(self) -> dict[str, str]:
        """Return the notes to be saved now and then, and when answers stop."""
        answered_ms = self._coverage.answered_ms
        return {} if answered_ms is None else {LAST_ANSWER_NOTE: str(answered_ms)}

    def _record(self, gap: UnobservedSpan, notes: dict[str, str]) -> None:
        fields = {"from": to_iso(gap.from_ms), "to": to_iso(gap.to_ms), "reason": gap.reason}
        self._outbox.put([], notes, {gap.from_ms // 1000: fields})


class Backfiller:
    """Fetches `recently-played` when it is due; the recorder knows what others have changed in the log."""

    def __init__(self, spotify: Spotify, outbox: Outbox, clock: Clock, recorder: Recorder) -> None:
        self._spotify, self._recorder = spotify, recorder
        self._outbox, self._clock = outbox, clock
        note = from_json(dict[str, int], outbox.note(BACKFILL_NOTE)) or {}
        self._asked_ms = note.get("asked_ms", 0)  # the last request; 0 if never
        self.listened_ms = 0  # played since then
        self._due: list[float] = []
        self._trouble = ""

    def on_start(self, now_ms: int) -> None:
        """Plan requests: plays may have been missed before this process started."""
        if not 0 <= now_ms - self._asked_ms < RESTART_GRACE_MS:
            self.on_gap()

    def on_gap(self) -> None:
        """Plan two requests: an unobserved span has ended."""
        now = self._clock.monotonic()
        self._due = [now, now + FOLLOW_UP_DELAY]

    def to_note(self) -> dict[str, str]:
        """Return the note to be saved."""
        return {BACKFILL_NOTE: to_json({"asked_ms": self._asked_ms})}

    def fetch_if_due(self, open_play: Play | None, unobserved: Sequence[tuple[int, int]]) -> list[Play]:
        """Fetch `recently-played` if it is due, and return plays that are new or better known now."""
        now = self._clock.monotonic()
        later = [due for due in self._due if due > now]
        if later == self._due and self.listened_ms < LISTENED_INTERVAL_MS:
            return []
        self._due = later
        self._asked_ms = round(self._clock.utc() * 1000)
        try:
            body = self._spotify.recently_played().body
        except SpotifyLoggerError as error:
            self.listened_ms = min(self.listened_ms, LISTENED_INTERVAL_MS - LISTENED_RETRY_MS)
            if str(error) != self._trouble:
                log.warning(f"cannot fetch recently played items ({error}); retrying later")
            self._trouble = str(error)
            return []
        self.listened_ms, self._trouble = 0, ""
        return self._new_plays(body, open_play, unobserved)

    def _new_plays(
        self, body: object, open_play: Play | None, unobserved: Sequence[tuple[int, int]]
    ) -> list[Play]:
        tombstones, horizon_ms = self._recorder.tombstones(), self._outbox.horizon_ms()
        items = [item for item in read_recently_played(body) if item.ended_ms >= horizon_ms]
        history = [item for item in items if not matches_tombstone(tombstones, item.ended_ms)]
        if not history:
            return []
        since_ms = history[0].ended_ms - LOOKBACK_MS
        logged = {identity(play): play for play in self._recorder.foreign_plays(since_ms)}
        logged |= {identity(play): play for play in self._outbox.kept(since_ms)}
        closed = (play for play in logged.values() if play.end_reason is not None)
        known = [play for play in closed if account_rank(play) >= AccountRank.BACKFILLED]
        known += [] if open_play is None else [open_play]
        found = backfill_plays(known, history, self._asked_ms, unobserved)
        plays = [play for play in found if not self._outbox.is_deleted(play)]
        for play in plays:
            log.info(f"recently played: {format_play(play)}")
        return plays
