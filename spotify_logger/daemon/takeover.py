"""Plays of which another process, here or on another machine, has recorded a part."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from spotify_logger.core.matching import UNSEEN_END_MS, identity, is_better_account, is_same_play, newness
from spotify_logger.core.play import UNKNOWN, Play
from spotify_logger.core.redis_keys import day_of, play_key
from spotify_logger.core.times import to_iso

if TYPE_CHECKING:
    from spotify_logger.core.matching import Identity
    from spotify_logger.daemon.reconcile import Tombstones
    from spotify_logger.storage.outbox import Outbox, OutboxPlay
    from spotify_logger.storage.store import Store

MAX_START_DIFFERENCE = 6 * 3600
"""Most seconds by which another logger may have dated the same play earlier."""
MAX_OWN_PLAYS = 1000
"""Most plays that are remembered as recorded by this process."""


class Takeover:
    """Decides under which key a play of the outbox is sent, and whether, if another process began it."""

    def __init__(self, store: Store, outbox: Outbox, tombstones: Tombstones) -> None:
        self._store = store
        self._outbox = outbox
        self._tombstones = tombstones
        self._own: dict[Identity, None] = {}  # plays of this process: the outbox has their newest state
        self._index = cache(store.index)  # of a day

    def remember(self, play: Play) -> None:
        """Remember that the outbox has the newest state of a play."""
        self._own[identity(play)] = None
        if len(self._own) > MAX_OWN_PLAYS:
            del self._own[next(iter(self._own))]

    def clear_cache(self) -> None:
        """Drop cached day indexes before a new batch of plays."""
        self._index.cache_clear()

    def claim(self, row: OutboxPlay) -> OutboxPlay:
        """Return a play under a key that no other play has or had, in Redis or in the outbox."""
        play = row.play
        key = self._store.claim(
            row.key,
            to_iso(play.started_ms),
            play.item.uri,
            lambda key: key in self._tombstones.plays or self._outbox.is_taken(key, play),
        )
        self._store.invalidate(play_key(key), play.item.key)
        if key == row.key:
            return row
        self._outbox.rekey(play, key)
        return replace(row, key=key)

    def to_send(self, row: OutboxPlay, *, is_active: bool) -> OutboxPlay | None:
        """Return what to send of a play, under its own key; None if Redis has a better account of it."""
        play = row.play
        if identity(play) in self._own:
            return self.claim(row)
        self.remember(play)
        if (another := self._find_duplicate(play)) is not None:
            key = another.second
            if not is_better_account(play, another) or self._outbox.is_taken(key, play):
                self._outbox.replace(play, (key, replace(another, item=play.item)))
                return None
            self._outbox.rekey(play, key)  # it was observed to its end, the other one was not
            self._store.invalidate(play_key(key))
            return replace(row, key=key)
        row = self.claim(row)
        held = Play.from_hash(row.key, self._store.play(row.key) or {})
        if (
            held is not None
            and identity(held) == identity(play)
            and _is_newer(held, play, is_active=is_active)
        ):
            self._outbox.replace(play, (row.key, replace(held, second=play.second, item=play.item)))
            return None
        if play.end_reason is None and not is_active:  # nobody here observes its end
            row = replace(row, play=replace(play, end_reason=UNKNOWN))
            self._outbox.put([row.play])
        return row

    def _find_duplicate(self, play: Play) -> Play | None:
        """Return the same play under another key; None if there is none."""
        begin, end = play.started_ms // 1000, (play.ended_ms + UNSEEN_END_MS) // 1000
        for day in sorted({day_of(begin - MAX_START_DIFFERENCE), day_of(begin), day_of(end)}):
            for second, (item, _) in self._index(day).items():
                if item == play.item.key and begin - MAX_START_DIFFERENCE <= second <= end:
                    another = Play.from_hash(second, self._store.play(second) or {})
                    if another is not None and is_same_play(play, another):
                        return another
        return None


def _is_newer(held: Play, play: Play, *, is_active: bool) -> bool:
    """Return whether Redis has the newer state of a play; only an active logger continues an open one."""
    if is_active:
        return newness(held) > newness(play)
    return held.end_reason is not None or play.end_reason is None
