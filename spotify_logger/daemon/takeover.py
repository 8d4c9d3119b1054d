"""Plays of which another process, here or on another machine, has recorded a part."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from spotify_logger.core.matching import UNSEEN_END_MS, identity, is_better_account, is_same_play, newness
from spotify_logger.core.play import UNKNOWN, Play
from spotify_logger.core.redis_keys import day_of, play_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date

    from spotify_logger.core.matching import Identity
    from spotify_logger.storage.outbox import Outbox, OutboxPlay
    from spotify_logger.storage.store import Store

MAX_START_DIFFERENCE = 6 * 3600
"""Most seconds by which another logger may have dated the same play earlier."""
MAX_OWN_PLAYS = 1000
"""Most plays that are remembered as recorded by this process."""


class Takeover:
    """Decides what becomes of a play in the outbox that this process has not recorded itself.

    Args:
        store: The log.
        outbox: The queue on disk.
        claim: Returns a play under a key that no other play has.

    Raises:
        StoreError: From `to_send`, if Redis does not answer.
    """

    def __init__(self, store: Store, outbox: Outbox, claim: Callable[[OutboxPlay], OutboxPlay]) -> None:
        self._store = store
        self._outbox = outbox
        self._claim = claim
        self._own: dict[Identity, None] = {}  # plays of this process: the outbox has their newest state
        self._days: dict[date, dict[int, tuple[str, int]]] = {}

    def remember(self, play: Play) -> None:
        """Remember that the outbox has the newest state of a play."""
        self._own[identity(play)] = None
        if len(self._own) > MAX_OWN_PLAYS:
            del self._own[next(iter(self._own))]

    def clear_cache(self) -> None:
        """Drop cached day indexes before a new batch of plays."""
        self._days.clear()

    def to_send(self, row: OutboxPlay, *, is_active: bool) -> OutboxPlay | None:
        """Return what to send of a play, under its own key; None if Redis has a better account of it.

        Args:
            row: The play.
            is_active: Whether this logger polls; on standby nobody here observes the end of an open play.
        """
        play = row.play
        if identity(play) in self._own:
            return self._claim(row)
        self.remember(play)
        if (another := self._find_duplicate(play)) is not None:
            return self._resolve_duplicate(another, row)
        row = self._claim(row)
        held = Play.from_hash(row.key, self._store.play(row.key) or {})
        if held is not None and self._is_better(held, play, is_active=is_active):
            self._outbox.replace(play, (row.key, replace(held, second=play.second, item=play.item)))
            return None
        if play.end_reason is None and not is_active:
            row = replace(row, play=replace(play, end_reason=UNKNOWN))
            self._outbox.put([row.play])
        return row

    @staticmethod
    def _is_better(held: Play, play: Play, *, is_active: bool) -> bool:
        """Return whether Redis has the newer state; on standby, another logger continues an open play."""
        if identity(held) != identity(play):
            return False
        if is_active:
            return newness(held) > newness(play)
        return held.end_reason is not None or play.end_reason is None

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

    def _index(self, day: date) -> dict[int, tuple[str, int]]:
        if day not in self._days:
            self._days[day] = self._store.index(day)
        return self._days[day]

    def _resolve_duplicate(self, another: Play, row: OutboxPlay) -> OutboxPlay | None:
        """Replace a backfilled or imported duplicate by a play observed to its end, or keep the duplicate."""
        key = another.second
        if not is_better_account(row.play, another) or self._outbox.is_taken(key, row.play):
            self._outbox.replace(row.play, (key, replace(another, item=row.play.item)))
            return None
        self._outbox.rekey(row.play, key)
        self._store.invalidate(play_key(key))
        return replace(row, key=key)
