"""Finds plays that polling missed, in `recently-played`.

It is fetched after every unobserved span, again a few minutes later for plays that Spotify reports late, and
after every half hour of listening for plays too short to be polled or not shown by the player.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.backfill import backfill_plays, read_recently_played
from spotify_logger.core.display import format_play
from spotify_logger.core.matching import identity, matches_tombstone
from spotify_logger.system import log
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.system.state import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.core.play import Play
    from spotify_logger.daemon.recorder import Recorder
    from spotify_logger.spotify.api import Spotify
    from spotify_logger.storage.outbox import Outbox
    from spotify_logger.system.clock import Clock

FOLLOW_UP_DELAY = 360.0  # seconds between two requests after a gap: Spotify reports some plays minutes late
LISTENED_INTERVAL_MS = 30 * 60_000  # milliseconds of listening between two requests without a gap
LISTENED_RETRY_MS = 10 * 60_000  # milliseconds of listening before such a request is retried after a failure
LOOKBACK_MS = 24 * 3600_000  # milliseconds before the oldest item in which known plays are looked for
RESTART_GRACE_MS = 120_000  # milliseconds after a request in which a restart does not send another one
BACKFILL_NOTE = "repair"
"""The note with the time of the last request (0 if never), and how much was played since, in milliseconds."""

Span = tuple[int, int]
"""The begin and end of a time without answers, in milliseconds since the epoch, UTC."""


class Backfiller:
    """Fetches `recently-played` when it is due; the recorder knows what others have changed in the log."""

    def __init__(self, spotify: Spotify, outbox: Outbox, clock: Clock, recorder: Recorder) -> None:
        self._spotify = spotify
        self._outbox = outbox
        self._clock = clock
        self._recorder = recorder
        note = from_json(dict[str, int], outbox.note(BACKFILL_NOTE)) or {}
        self._asked_ms = note.get("asked_ms", 0)
        self._listened_ms = min(max(0, note.get("listened_ms", 0)), LISTENED_INTERVAL_MS)
        self._due: list[float] = []
        self._may_repeat = False  # one request is planned, and a second one if it fails
        self._trouble = ""

    def on_start(self, now_ms: int) -> None:
        """Plan a request: plays may have been missed before this process started."""
        if not 0 <= now_ms - self._asked_ms < RESTART_GRACE_MS:
            self._due, self._may_repeat = [self._clock.monotonic()], True

    def on_gap(self) -> None:
        """Plan two requests: an unobserved span has ended."""
        now = self._clock.monotonic()
        self._due, self._may_repeat = [now, now + FOLLOW_UP_DELAY], False

    def on_listened(self, milliseconds: int) -> None:
        """Count the milliseconds played since the last answer."""
        self._listened_ms += milliseconds

    def to_note(self) -> dict[str, str]:
        """Return the note to be saved."""
        return {BACKFILL_NOTE: to_json({"asked_ms": self._asked_ms, "listened_ms": self._listened_ms})}

    def fetch_if_due(self, open_play: Play | None, now_ms: int, unobserved: Sequence[Span]) -> list[Play]:
        """Fetch `recently-played` if it is due, and return plays that are new or better known now."""
        now = self._clock.monotonic()
        is_planned = bool(self._due) and self._due[0] <= now
        if not is_planned and self._listened_ms < LISTENED_INTERVAL_MS:
            return []
        self._due = [due for due in self._due if due > now]
        self._asked_ms = now_ms
        try:
            body = self._spotify.recently_played().body
        except SpotifyLoggerError as error:
            self._listened_ms = min(self._listened_ms, LISTENED_INTERVAL_MS - LISTENED_RETRY_MS)
            if self._may_repeat:
                self._due, self._may_repeat = [now + FOLLOW_UP_DELAY], False
            if str(error) != self._trouble:
                log.warning(f"cannot fetch recently played items ({error}); retrying later")
            self._trouble = str(error)
            return []
        self._listened_ms, self._trouble, self._may_repeat = 0, "", False
        return self._new_plays(body, open_play, now_ms, unobserved)

    def _new_plays(
        self, body: object, open_play: Play | None, now_ms: int, unobserved: Sequence[Span]
    ) -> list[Play]:
        tombstones, horizon_ms = self._recorder.tombstones(), self._outbox.horizon_ms()
        items = [item for item in read_recently_played(body) if item.ended_ms >= horizon_ms]
        history = [item for item in items if not matches_tombstone(tombstones, item.ended_ms)]
        if not history:
            return []
        since_ms = history[0].ended_ms - LOOKBACK_MS
        logged = {identity(play): play for play in self._recorder.foreign_plays(since_ms)}
        logged |= {identity(play): play for play in self._outbox.kept(since_ms)}
        known = [play for play in logged.values() if play.end_reason is not None]
        known += [] if open_play is None else [open_play]
        found = backfill_plays(known, history, now_ms, unobserved)
        plays = [play for play in found if not self._outbox.is_deleted(play)]
        for play in plays:
            log.info(f"recently played: {format_play(play)}")
        return plays
