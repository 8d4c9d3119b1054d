"""Which plays of one logger another one knows, too: each saw a part of them, and names the start it saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.matching import UNSEEN_END_MS, is_same_play
from spotify_logger.core.play import Play
from spotify_logger.core.redis_keys import day_of

if TYPE_CHECKING:
    from datetime import date

    from spotify_logger.storage.store import Store

MAX_START_DIFFERENCE = 6 * 3600
"""Seconds before its start in which the same play may have begun for another logger."""


class TakeoverDedup:
    """Looks in Redis for what another logger wrote.

    Args:
        store: The log.

    Raises:
        StoreError: By `same`: there is no answer.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._days: dict[date, dict[int, tuple[str, int]]] = {}

    def clear_cache(self) -> None:
        """Begin with plays that are looked for together: the index of a day is read once for all of them."""
        self._days.clear()

    def find_duplicate(self, play: Play) -> Play | None:
        """The play by which another logger knows this one; None where there is none, or only itself."""
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
