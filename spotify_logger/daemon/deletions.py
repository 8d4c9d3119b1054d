"""The plays that somebody wanted to be forgotten: from when to when they lasted is all that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.redis_keys import TOMBSTONES
from spotify_logger.system.state import from_json, to_json

if TYPE_CHECKING:
    from spotify_logger.storage.outbox import Outbox
    from spotify_logger.storage.store import Store

MAX_TOMBSTONES = 500
"""Of the newest, so many are kept in mind: with them, all that `recently-played` may still tell of."""


class Tombstones:
    """What the logger has to know of them: it never sends them again, nor lets anybody bring them back.

    Args:
        store: Where others say what is to be forgotten.
        outbox: Remembers it for a Redis that does not.

    Attributes:
        plays: The newest of them: the second that named each -> the second at which it ended.
    """

    def __init__(self, store: Store, outbox: Outbox) -> None:
        self._store = store
        self._outbox = outbox
        self._count = -1  # how many there were when they were last read
        self.plays = from_json(dict[int, int], outbox.note(TOMBSTONES)) or {}

    def refresh(self, *, force: bool = False) -> None:
        """Learn what was forgotten since anybody looked.

        Args:
            force: Whether Redis may be another one than it was.
        """
        count = self._store.count_tombstones()
        if count == self._count and not force:
            return
        found = self._store.tombstones()
        self._outbox.mark_deleted(found)
        known = dict(sorted((self.plays | found).items())[-MAX_TOMBSTONES:])
        if known != self.plays:
            self._outbox.set_note(TOMBSTONES, to_json(known))
        self.plays, self._count = known, count

    def restore(self) -> None:
        """Tell a Redis that has lost something what was forgotten."""
        lost = self.plays.keys() - self._store.tombstones().keys()
        if lost:
            with self._store.batch() as batch:
                batch.write_tombstones({second: self.plays[second] for second in lost})
