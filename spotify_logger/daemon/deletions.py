"""Tombstones: deleted plays, of which only start and end are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.redis_keys import TOMBSTONES
from spotify_logger.system.state import from_json, to_json

if TYPE_CHECKING:
    from spotify_logger.storage.outbox import Outbox
    from spotify_logger.storage.store import Store

MAX_TOMBSTONES = 500
"""Newest tombstones kept locally: enough for all that `recently-played` can still report."""


class Tombstones:
    """The deleted plays, so that the logger neither sends them again nor lets a backfill restore them.

    Args:
        store: The log, where deletions are written.
        outbox: Keeps a local copy, for a Redis that loses data.

    Attributes:
        plays: The newest tombstones: second in the key of each play -> second of its end.
    """

    def __init__(self, store: Store, outbox: Outbox) -> None:
        self._store = store
        self._outbox = outbox
        self._count = -1  # tombstones in Redis when they were last read
        self.plays = from_json(dict[int, int], outbox.note(TOMBSTONES)) or {}

    def refresh(self, *, force: bool = False) -> None:
        """Read new tombstones from Redis, and delete those plays from the outbox.

        Args:
            force: Read them even if their number has not changed.
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
        """Write tombstones that Redis has lost."""
        lost = self.plays.keys() - self._store.tombstones().keys()
        if lost:
            with self._store.batch() as batch:
                batch.write_tombstones({second: self.plays[second] for second in lost})
