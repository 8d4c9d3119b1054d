"""Compares Redis with the outbox, and queues again what Redis has lost.

A server that was killed, restored from a backup, replaced by a replica or emptied by mistake has lost what
the logger knew to be written. So on every new connection and once an hour the newest days are compared, and
all plays of the outbox where the server is not the one of before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.matching import identity, is_same_play, newness
from spotify_logger.core.play import Play
from spotify_logger.core.redis_keys import ONE_DAY, day_of, gap_key, second_of_day
from spotify_logger.core.times import to_iso
from spotify_logger.storage.outbox import ACKNOWLEDGED
from spotify_logger.storage.persistence import Persistence
from spotify_logger.system import log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spotify_logger.core.player_state import FieldValue
    from spotify_logger.daemon.deletions import Tombstones
    from spotify_logger.storage.outbox import Outbox, OutboxPlay
    from spotify_logger.storage.store import Store
    from spotify_logger.system.clock import Clock

INTERVAL = 3600.0
"""Seconds between two comparisons over the same connection."""
MAX_SECONDS = 5.0
"""Seconds after which a comparison goes on in the next turn."""
PLAYS_PER_BATCH = 200
"""Plays compared at once."""
REPLACED = "it was restarted, restored or replaced"
EMPTIED = "it was emptied, or its keys were deleted: FLUSHALL, an eviction policy"
"""Why Redis may have lost plays."""
REDIS_RUN_NOTE = "redis_run"
"""The note with the run id of the Redis server that was written to last."""


class Reconciler:
    """Compares Redis with the outbox.

    Args:
        store: The log in Redis.
        outbox: The plays and gaps that Redis has acknowledged.
        tombstones: The deleted plays, which nothing may bring back.
        clock: The time.

    Attributes:
        persistence: How the server keeps its data, as of the last comparison.
        status: Fields of the status: how many plays were written again last, when, and why.
    """

    def __init__(self, store: Store, outbox: Outbox, tombstones: Tombstones, clock: Clock) -> None:
        self._store = store
        self._outbox = outbox
        self._tombstones = tombstones
        self._clock = clock
        self._due = float("-inf")
        self._pending: list[int] = []  # keys that are still to be compared
        self._is_suspicious = False  # Redis has lost something: all plays have to be compared
        self._lost: list[int] = []
        self.persistence = Persistence()
        self.status: Mapping[str, FieldValue] = {}

    @property
    def is_due(self) -> bool:
        """Return whether a comparison has begun, the last one is an hour ago, or the store has met a loss."""
        is_late = self._clock.monotonic() >= self._due
        return is_late or self._store.has_lost_data or bool(self._pending)

    def compare_all(self) -> None:
        """Compare all plays of the outbox with the next comparison."""
        self._store.has_lost_data = True

    def run(self, *, is_new: bool = False) -> None:
        """Compare, and queue again what is missing or older in Redis; for some seconds, or go on with that.

        Args:
            is_new: Whether the connection is a new one: a comparison begins anew.

        Raises:
            StoreError: Redis did not answer.
        """
        begun = self._clock.monotonic()
        if is_new or self._store.has_lost_data or not self._pending:
            self._begin()
        while self._pending and self._clock.monotonic() - begun < MAX_SECONDS:
            self._compare(self._pending[:PLAYS_PER_BATCH])
            del self._pending[:PLAYS_PER_BATCH]
            if self._lost and not self._is_suspicious:
                self._compare_everything()
        if not self._pending:
            self._end()

    def _begin(self) -> None:
        self.persistence = self._store.persistence()
        is_suspicious = self._is_suspicious or self._store.has_lost_data or self._was_replaced
        self._store.has_lost_data = False
        if is_suspicious:
            self._compare_everything()
        else:
            oldest = second_of_day(day_of(max(0, int(self._clock.utc()) - ONE_DAY)))
            self._pending = self._outbox.acknowledged(oldest)

    def _compare_everything(self) -> None:
        self._is_suspicious = True  # until all of it is done, whatever fails meanwhile
        self._tombstones.restore()
        self._pending = self._outbox.acknowledged()

    def _compare(self, keys: Sequence[int]) -> None:
        lost = self._lost_plays(keys)
        self._lost += lost
        if lost:
            self._store.invalidate_all()
            self._outbox.mark_waiting(lost)

    def _end(self) -> None:
        gaps = self._lost_gaps()
        if gaps:
            self._store.invalidate_all()
            self._outbox.mark_waiting([], gaps)
        if self._lost:
            self._report(self._lost, REPLACED if self._was_replaced else EMPTIED)
        if self.persistence.run != self._outbox.note(REDIS_RUN_NOTE):
            self._outbox.set_note(REDIS_RUN_NOTE, self.persistence.run)
        self._lost, self._is_suspicious = [], False
        self._due = self._clock.monotonic() + INTERVAL

    @property
    def _was_replaced(self) -> bool:
        return self._outbox.note(REDIS_RUN_NOTE) not in ("", self.persistence.run)

    def _report(self, lost: Sequence[int], why: str) -> None:
        since = to_iso(min(lost) * 1000)
        plays = "a play" if len(lost) == 1 else f"{len(lost):,} plays"
        log.warning(f"Redis has lost {plays} from {since} on: writing again what is missing ({why})")
        self.status = {
            "restored_plays": len(lost),
            "restored_at": to_iso(round(self._clock.utc() * 1000)),
            "restored_why": why,
        }

    def _lost_plays(self, keys: Sequence[int]) -> list[int]:
        rows = self._outbox.rows(keys)
        held, lines = dict(self._store.plays(keys)), self._store.index_lines(keys)
        items = dict.fromkeys(row.play.item.key for row in rows if row.play.item.catalog.get("name"))
        unnamed = {item for item, (name,) in self._store.catalog(items, ["name"]) if not name}
        return [
            row.key
            for row in rows
            if _is_lost(row, held[row.key], lines.get(row.key)) or row.play.item.key in unnamed
        ]

    def _lost_gaps(self) -> list[int]:
        seconds = [gap.second for gap in self._outbox.gaps(ACKNOWLEDGED)]
        if not seconds:
            return []
        indexed = {second for second, _, _ in self._store.gaps()}
        hashes = self._store.hashes(map(gap_key, seconds))
        return [
            second for second, held in zip(seconds, hashes, strict=True) if second not in indexed or not held
        ]


def _is_lost(row: OutboxPlay, fields: Mapping[str, str], line: str | None) -> bool:
    """Return whether Redis lacks a play, or has an older state of it.

    Args:
        row: The play in the outbox.
        fields: The hash under its key in Redis.
        line: Its line in the index of the day.
    """
    held = Play.from_hash(row.key, fields)
    if held is None or line is None:
        return True
    if identity(held) != identity(row.play):
        return not is_same_play(row.play, held)
    if newness(held) == newness(row.play):
        return line != row.play.index
    return newness(held) < newness(row.play)
