"""Asks `recently-played` where something may have been missed, and says what it adds.

Asked after every stretch in which nothing could be seen, and once more when what comes late has come; and
after half an hour of listening, for what was too short to be seen, or not shown by the player.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from spotify_logger.core.backfill import backfill_plays, read_recently_played
from spotify_logger.core.display import format_play
from spotify_logger.core.matching import identity, matches_tombstone
from spotify_logger.system import log
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.system.state import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spotify_logger.core.play import Play
    from spotify_logger.spotify.api import Spotify
    from spotify_logger.storage.outbox import Outbox
    from spotify_logger.system.clock import Clock

FOLLOW_UP_DELAY = 360.0
"""Seconds after the first question at which the second one is asked: a play is told of up to minutes late."""
LISTENED_INTERVAL_MS = 30 * 60_000
"""Milliseconds of listening after which it is asked without any gap."""
LISTENED_RETRY_MS = 10 * 60_000
"""The same after a question that brought no answer."""
LOOKBACK_MS = 24 * 3600_000
"""Milliseconds by which a play may have begun before the oldest item."""
RESTART_GRACE_MS = 120_000
"""Milliseconds within which a loop that starts again and again does not ask anew."""
BACKFILL_NOTE = "repair"


@dataclass(frozen=True)
class _BackfillState:
    """What has to be kept for another process.

    Attributes:
        asked_ms: When it was asked last: milliseconds since the epoch, UTC; 0 if never.
        listened_ms: Milliseconds heard since.
    """

    asked_ms: int
    listened_ms: int


class LogView(Protocol):
    """What others did to the log, as far as that can be known at this moment."""

    def tombstones(self) -> Mapping[int, int]:
        """What nobody shall bring back, see `Forgotten.plays`."""

    def foreign_plays(self, since_ms: int) -> list[Play]:
        """Plays that an import brought, since some milliseconds after the epoch."""


class Backfiller:
    """Says what polling missed.

    Args:
        spotify: Whom to ask.
        outbox: Knows the plays, and keeps when it was asked.
        clock: Tells the time.
        log: Knows what others did to the log.
    """

    def __init__(self, spotify: Spotify, outbox: Outbox, clock: Clock, log: LogView) -> None:
        self._spotify = spotify
        self._outbox = outbox
        self._clock = clock
        self._log = log
        asked = from_json(_BackfillState, outbox.note(BACKFILL_NOTE)) or _BackfillState(0, 0)
        self._asked_ms = asked.asked_ms
        self._listened_ms = min(max(0, asked.listened_ms), LISTENED_INTERVAL_MS)
        self._due: list[float] = []
        self._may_repeat = False  # one question was planned, and may be followed by another if it fails
        self._trouble = ""

    def on_start(self, now_ms: int) -> None:
        """This process begins to see: something may have been missed before."""
        if not 0 <= now_ms - self._asked_ms < RESTART_GRACE_MS:
            self._due = [self._clock.monotonic()]
            self._may_repeat = True

    def on_gap(self) -> None:
        """A stretch in which nothing could be seen is over."""
        now = self._clock.monotonic()
        self._due, self._may_repeat = [now, now + FOLLOW_UP_DELAY], False

    def on_listened(self, milliseconds: int) -> None:
        """So much was heard since the last answer."""
        self._listened_ms += milliseconds

    def to_note(self) -> dict[str, str]:
        """What has to be kept for another process."""
        return {BACKFILL_NOTE: to_json(_BackfillState(self._asked_ms, self._listened_ms))}

    def fetch_if_due(
        self, open_play: Play | None, now_ms: int, blind: Sequence[tuple[int, int]]
    ) -> list[Play]:
        """Ask if it is time to, and give the plays that are new, or known better now.

        Args:
            open_play: The play that is not over, in its newest state.
            now_ms: Now, in milliseconds since the epoch, UTC.
            blind: See `backfill.repair`.
        """
        now = self._clock.monotonic()
        by_plan = bool(self._due) and self._due[0] <= now
        if not by_plan and self._listened_ms < LISTENED_INTERVAL_MS:
            return []
        self._due = [due for due in self._due if due > now]
        self._asked_ms = now_ms
        try:
            body = self._spotify.recently_played().body
        except SpotifyLoggerError as error:
            self._failed(error)
            if self._may_repeat:
                self._due, self._may_repeat = [now + FOLLOW_UP_DELAY], False
            return []
        self._listened_ms, self._trouble, self._may_repeat = 0, "", False
        return self._added(body, open_play, now_ms, blind)

    def _added(
        self, body: object, open_play: Play | None, now_ms: int, blind: Sequence[tuple[int, int]]
    ) -> list[Play]:
        forgotten, horizon_ms = self._log.tombstones(), self._outbox.horizon_ms()
        items = [heard for heard in read_recently_played(body) if heard.ended_ms >= horizon_ms]
        history = [heard for heard in items if not matches_tombstone(forgotten, heard.ended_ms)]
        if not history:
            return []
        since_ms = history[0].ended_ms - LOOKBACK_MS
        told = {identity(play): play for play in self._log.foreign_plays(since_ms)}
        told |= {identity(play): play for play in self._outbox.kept(since_ms)}
        known = [play for play in told.values() if play.end_reason is not None]
        known += [] if open_play is None else [open_play]
        repaired = backfill_plays(known, history, now_ms, blind)
        plays = [play for play in repaired if not self._outbox.is_deleted(play)]
        for play in plays:
            log.info(f"recently played: {format_play(play)}")
        return plays

    def _failed(self, error: SpotifyLoggerError) -> None:
        self._listened_ms = min(self._listened_ms, LISTENED_INTERVAL_MS - LISTENED_RETRY_MS)
        if str(error) != self._trouble:
            log.warning(f"what was played lately cannot be learned ({error}); it is asked again later")
        self._trouble = str(error)
