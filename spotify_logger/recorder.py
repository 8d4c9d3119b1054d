"""What the tracker found, on its way to Redis: kept here until Redis has taken it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger import journal
from spotify_logger.keyspace import day_of, index_key, play_key
from spotify_logger.plays import to_iso
from spotify_logger.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from spotify_logger.clock import Clock
    from spotify_logger.pacing import Backoff
    from spotify_logger.playback import Value
    from spotify_logger.plays import Play
    from spotify_logger.store import Store

LONGEST_QUEUE = 5000
"""Plays that wait at most, about 10 MB: a month of listening."""
NOW_PLAYING_GRACE = 30.0
"""Seconds after the next answer is due at which the open play no longer counts as open."""


class Recorder:
    """Writes plays, the newest state of each, and the status; in the order of the plays' starts.

    Args:
        store: Where to.
        clock: Tells when to try again.
        backoff: Tells how long to leave Redis alone after a failure.

    Attributes:
        trouble: What is wrong with Redis, empty while all is well.
    """

    def __init__(self, store: Store, clock: Clock, backoff: Backoff) -> None:
        self._store = store
        self._clock = clock
        self._backoff = backoff
        self._waiting: dict[int, Play] = {}
        self._keys: dict[int, int] = {}  # a play's second -> the one that Redis had free for it
        self._retry_at = float("-inf")
        self.trouble = ""

    def __len__(self) -> int:
        return len(self._waiting)

    def load(self) -> tuple[tuple[int, dict[str, str]] | None, dict[str, str]] | None:
        """The newest play and the status that Redis has; None while it is away."""
        if self._is_resting():
            return None
        try:
            loaded = self._store.latest_play(), self._store.read_status()
        except StoreError as error:
            self._failed(error)
            return None
        self._succeeded()
        return loaded

    def add(self, plays: Sequence[Play]) -> None:
        """Take plays over; a play that waits already is replaced by its newer state."""
        for play in plays:
            self._waiting[play.second] = play
        while len(self._waiting) > LONGEST_QUEUE:
            lost = self._forget(min(self._waiting))
            journal.error(f"lost the play of {to_iso(lost.started_ms)}: Redis is away and memory is full")

    def write(self, open_play: Play | None, due: float, status: Mapping[str, Value]) -> bool:
        """Bring everything that waits to Redis, and the status with it.

        Args:
            open_play: The play that the last answer showed, if it did.
            due: Seconds until the next answer.
            status: Fields of the status hash.

        Returns:
            Whether Redis has all of it.
        """
        if self._is_resting():
            return False
        try:
            self._send(open_play, due, status)
        except StoreError as error:
            self._forget_written(error.refused)
            self._failed(error)
            return False
        for second in list(self._waiting):
            self._forget(second)
        self._succeeded()
        return True

    def _send(self, open_play: Play | None, due: float, status: Mapping[str, Value]) -> None:
        last = {}
        with self._store.batch() as batch:
            for play in sorted(self._waiting.values(), key=lambda play: play.second):
                key = self._key(play)
                batch.write_play(key, play.to_hash(), play.index)
                batch.write_catalogue(play.item.key, play.item.catalogue)
                last = {"last_play": play_key(key)}
            if open_play is not None:
                batch.set_now_playing(self._key(open_play), due + NOW_PLAYING_GRACE)
            elif any(play.end_reason for play in self._waiting.values()):
                batch.clear_now_playing()
            batch.write_status({**status, **last})

    def _forget_written(self, refused: Collection[str]) -> None:
        """After a failure: what is not among the refused keys is written, if Redis said so at all."""
        if not refused:
            return
        for second in list(self._waiting):
            key = self._keys[second]
            if not {play_key(key), index_key(day_of(key)), self._waiting[second].item.key} & set(refused):
                self._forget(second)

    def _forget(self, second: int) -> Play:
        """Let go of a play that no longer waits; its key is needed again only as long as it is open."""
        play = self._waiting.pop(second)
        if play.end_reason is not None:
            self._keys.pop(second, None)
        return play

    def _key(self, play: Play) -> int:
        if play.second not in self._keys:
            started_at, uri = to_iso(play.started_ms), play.item.uri
            self._keys[play.second] = self._store.claim(play.second, started_at, uri)
        return self._keys[play.second]

    def _is_resting(self) -> bool:
        return self._clock.monotonic() < self._retry_at

    def _failed(self, error: StoreError) -> None:
        wait = self._backoff.failed()
        self._retry_at = self._clock.monotonic() + wait
        if str(error) != self.trouble:
            journal.warning(f"{error} (plays wait in memory, the next try is in {wait:.0f} s)")
        self.trouble = str(error)

    def _succeeded(self) -> None:
        self._backoff.succeeded()
        if self.trouble:
            journal.info("Redis is there again and takes what waited for it")
        self.trouble = ""
