"""Finds plays that two loggers recorded: each saw a part, and named it by the start that it saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.matching import UNSEEN_END_MS, is_same_play
from spotify_logger.core.play import Play
from spotify_logger.core.redis_keys import day_of

if TYPE_CHECKING:
    from datetime import date

    from spotify_logger.storage.store import Store

MAX_START_DIFFERENCE = 6 * 3600
"""Most seconds by which another logger may have dated the same play earlier."""


class TakeoverDedup:
    """Looks in Redis for the same play as another logger recorded it.

    Args:
        store: The log.

    Raises:
        StoreError: From `find_duplicate`, if Redis does not answer.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._days: dict[date, dict[int, tuple[str, int]]] = {}

    def clear_cache(self) -> None:
        """Drop cached day indexes before a new batch of plays."""
        self._days.clear()

    def find_duplicate(self, play: Play) -> Play | None:
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
