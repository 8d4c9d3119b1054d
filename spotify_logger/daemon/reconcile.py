"""Compares Redis with the outbox, and queues again what Redis has lost.

A server that was killed, restored from a backup, replaced by a replica or emptied by mistake has lost what
the logger knew to be written. So on every new connection and once an hour the newest days are compared, and
all plays of the outbox where the server is not the one of before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.matching import identity, is_same_play, newness
from spotify_logger.core.play import Play
from spotify_logger.core.redis_keys import ONE_DAY, TOMBSTONES, day_of, gap_key, second_of_day
from spotify_logger.core.times import to_iso
from spotify_logger.storage.outbox import ACKNOWLEDGED, WAITING
from spotify_logger.storage.persistence import Persistence
from spotify_logger.system import log
from spotify_logger.system.state import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spotify_logger.core.player_state import FieldValue
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
REDIS_RUN_NOTE = "redis_run"
"""The note with the run id of the Redis server that was written to last."""
MAX_TOMBSTONES = 500
"""Newest tombstones kept locally: enough for all that `recently-played` can still report."""


class Tombstones:
    """The deleted plays, so that the logger neither sends them again nor lets a backfill restore them.

    Attributes:
        plays: The newest tombstones: second in the key of each play -> second of its end.
    """

    def __init__(self, store: Store, outbox: Outbox) -> None:
        self._store = store
        self._outbox = outbox
        self._count = -1  # tombstones in Redis when they were last read
        self.plays = from_json(dict[int, int], outbox.note(TOMBSTONES)) or {}

    def refresh(self, *, force: bool = False) -> None:
        """Read tombstones from Redis if there are more, or by `force`; delete those plays from the outbox."""
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


class Reconciler:
    """Compares Redis with the outbox."""

    def __init__(self, store: Store, outbox: Outbox, tombstones: Tombstones, clock: Clock) -> None:
        self._store = store
        self._outbox = outbox
        self._tombstones = tombstones
        self._clock = clock
        self._due = float("-inf")
        self._pending: list[int] = []  # keys that are still to be compared
        self._is_suspicious = False  # Redis has lost something: all plays have to be compared, whatever fails
        self._lost: list[int] = []
        self.persistence = Persistence()  # as of the last comparison
        self.status: Mapping[str, FieldValue] = {}  # what was written again last, when, and why

    def run_if_due(self, *, is_new: bool) -> None:
        """Compare for some seconds, if the connection is new, an hour has passed, or Redis lost something."""
        begun = self._clock.monotonic()
        if is_new or self._store.has_lost_data or (begun >= self._due and not self._pending):
            self._begin()
        elif not self._pending:
            return
        while self._pending and self._clock.monotonic() - begun < MAX_SECONDS:
            lost = self._lost_plays(self._pending[:PLAYS_PER_BATCH])
            del self._pending[:PLAYS_PER_BATCH]
            self._lost += lost
            self._write_again(lost, [])
            if lost and not self._is_suspicious:
                self._is_suspicious = True
                self._begin()
        if not self._pending:
            self._end()

    def _begin(self) -> None:
        """Choose what to compare: the newest days, or everything where Redis has lost something."""
        self.persistence = self._store.persistence()
        self._is_suspicious |= self._store.has_lost_data or self._was_replaced
        self._store.has_lost_data = False
        oldest = 0
        if self._is_suspicious:
            self._tombstones.restore()
        else:
            oldest = second_of_day(day_of(max(0, int(self._clock.utc()) - ONE_DAY)))
        self._pending = self._outbox.acknowledged(oldest)

    def _write_again(self, plays: Sequence[int], gaps: Sequence[int]) -> None:
        if plays or gaps:
            self._store.invalidate_all()
            self._outbox.mark(WAITING, plays, gaps)

    def _end(self) -> None:
        self._write_again([], self._lost_gaps())
        if self._lost:
            since, now = to_iso(min(self._lost) * 1000), to_iso(round(self._clock.utc() * 1000))
            why = REPLACED if self._was_replaced else EMPTIED
            plays = "a play" if len(self._lost) == 1 else f"{len(self._lost):,} plays"
            log.warning(f"Redis has lost {plays} from {since} on: writing again what is missing ({why})")
            self.status = {"restored_plays": len(self._lost), "restored_at": now, "restored_why": why}
        if self.persistence.run != self._outbox.note(REDIS_RUN_NOTE):
            self._outbox.set_note(REDIS_RUN_NOTE, self.persistence.run)
        self._lost, self._is_suspicious = [], False
        self._due = self._clock.monotonic() + INTERVAL

    @property
    def _was_replaced(self) -> bool:
        return self._outbox.note(REDIS_RUN_NOTE) not in ("", self.persistence.run)

    def _lost_plays(self, keys: Sequence[int]) -> list[int]:
        rows = self._outbox.rows(keys)
        held, lines = dict(self._store.plays(keys)), self._store.index_lines(keys)
        items = dict.fromkeys(row.play.item.key for row in rows if row.play.item.catalog.get("name"))
        unnamed = {item for item, (name,) in self._store.catalog(items, ["name"]) if not name}
        return [
            row.key
            for row in rows
            if row.play.item.key in unnamed or _is_lost(row, held[row.key], lines.get(row.key))
        ]

    def _lost_gaps(self) -> list[int]:
        seconds = [gap.second for gap in self._outbox.gaps(ACKNOWLEDGED)]
        indexed = {second for second, _, _ in self._store.gaps()} if seconds else set()
        held = zip(seconds, self._store.hashes(map(gap_key, seconds)), strict=True)
        return [second for second, fields in held if not fields or second not in indexed]


def _is_lost(row: OutboxPlay, fields: Mapping[str, str], line: str | None) -> bool:
    """Return whether Redis lacks a play, its line in the index, or its newest state."""
    held = Play.from_hash(row.key, fields)
    if held is None or line is None:
        return True
    if identity(held) != identity(row.play):
        return not is_same_play(row.play, held)
    if newness(held) == newness(row.play):
        return line != row.play.index
    return newness(held) < newness(row.play)
