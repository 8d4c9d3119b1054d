"""Brings Redis and the outbox together: plays that were deleted, lost, or recorded by two processes.

A server that was killed, restored from a backup, replaced by a replica or emptied by mistake has lost what
the logger knew to be written. So on every new connection and once an hour the newest days are compared, and
all plays of the outbox where the server is not the same as before.
"""

import secrets
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache

from spotify_logger.core import matching
from spotify_logger.core.matching import Identity, account_rank, identity, is_same_play, newness
from spotify_logger.core.play import IMPORT, LIVE, UNKNOWN, Play
from spotify_logger.core.redis_keys import ONE_DAY, TOMBSTONES, day_of, gap_key, play_key, second_of_day
from spotify_logger.core.times import to_iso
from spotify_logger.storage.client import Persistence, StoreError
from spotify_logger.storage.outbox import LOG_ID_NOTE, PLAYS_PER_QUERY, Outbox, OutboxPlay, log_trouble
from spotify_logger.storage.store import Store
from spotify_logger.system import log
from spotify_logger.system.clock import Clock
from spotify_logger.system.state import from_json, to_json

INTERVAL = 3600.0  # seconds between two comparisons over the same connection
MAX_SECONDS = 5.0  # seconds after which a comparison goes on in the next turn
REDIS_RUN_NOTE = "redis_run"  # the run id of the Redis server that was written to last
MAX_TOMBSTONES = 500  # newest tombstones kept locally: enough for all that `recently-played` can still report
MAX_START_DIFFERENCE = 6 * 3600  # maximum seconds by which another logger may have dated a play earlier


class Tombstones:
    """The deleted plays, so that the logger neither sends them again nor lets a backfill restore them."""

    def __init__(self, store: Store, outbox: Outbox) -> None:
        self._store, self._outbox = store, outbox
        self._count = -1  # tombstones in Redis when they were last read
        # The newest ones: second in the key of each play -> second of its end.
        self.plays = from_json(dict[int, int], outbox.note(TOMBSTONES)) or {}

    def refresh(self, *, force: bool = False) -> None:
        """Read the tombstones if Redis has more, or with `force`; delete those plays from the outbox."""
        count = self._store.send([("HLEN", self._store.key(TOMBSTONES))])[0]
        if count == self._count and not force:
            return
        found = self._store.tombstones()
        self._outbox.mark_deleted(found)
        known = dict(sorted((self.plays | found).items())[-MAX_TOMBSTONES:])
        self._outbox.set_note(TOMBSTONES, to_json(known))
        self.plays, self._count = known, count

    def restore(self) -> None:
        """Write tombstones that Redis has lost; some may have been lifted by an import."""
        held = self._store.hash(TOMBSTONES)
        lost = {str(second): end for second, end in self.plays.items() if str(second) not in held}
        if lost:
            with self._store.batch() as batch:
                batch.is_final = True
                batch.write_hash(TOMBSTONES, lost)


class Takeover:
    """Decides under which key a play of the outbox is sent, and whether, if another process began it."""

    def __init__(self, store: Store, outbox: Outbox, tombstones: Tombstones) -> None:
        self._store, self._outbox, self.tombstones = store, outbox, tombstones
        self._own = deque[Identity](maxlen=1000)  # plays of this process: the outbox has their newest state
        self.index = cache(store.index)  # of a day; to be cleared before a new batch of plays

    def remember(self, play: Play) -> None:
        """Remember that the outbox has the newest state of a play."""
        if identity(play) not in self._own:
            self._own.append(identity(play))

    def claim(self, row: OutboxPlay) -> OutboxPlay:
        """Return a play under a key that no other play has or had, in Redis or in the outbox."""
        play = row.play
        key = self._store.claim(
            row.key,
            to_iso(play.started_ms),
            play.item.uri,
            lambda key: key in self.tombstones.plays or self._outbox.is_taken(key, play),
        )
        self._store.invalidate()
        if key == row.key:
            return row
        self._outbox.rekey(play, key)
        return row._replace(key=key)

    def to_send(self, row: OutboxPlay, *, is_active: bool) -> OutboxPlay | None:
        """Return what to send of a play, instead of a worse import; None if Redis has a better account."""
        play = row.play
        is_own = identity(play) in self._own
        self.remember(play)
        if (another := self._find_duplicate(play, only_imports=is_own)) is not None:
            key, is_better = another.second, account_rank(play) > account_rank(another)
            if another.source != IMPORT:  # or nobody else forwards it
                self._outbox.drop_listens(play)
            if is_better and another.source == IMPORT:
                self._store.delete_play(key)
                self.index.cache_clear()
            elif is_better and play.end_reason is not None and not self._outbox.is_taken(key, play):
                self._outbox.rekey(play, key)  # it was observed to its end, the other one was not
                self._store.invalidate()
                return row._replace(key=key)
            else:
                self._outbox.replace(play, (key, replace(another, item=play.item)))
                return None
        row = self.claim(row)
        if is_own:
            return row
        held, is_open = Play.from_hash(row.key, self._store.hash(play_key(row.key))), play.end_reason is None
        if held and identity(held) == identity(play):
            is_final = is_open or held.end_reason is not None  # only an active logger continues an open play
            if newness(held) > newness(play) if is_active else is_final:
                self._outbox.replace(play, (row.key, replace(held, second=play.second, item=play.item)))
                return None
        if is_open and not is_active:  # nobody here observes its end
            row = row._replace(play=replace(play, end_reason=UNKNOWN))
            self._outbox.put([row.play])
        return row

    def gave_way(self, play: Play) -> bool:
        """Return whether an import is a better account of a play, or was deleted since."""
        if play.source == LIVE:
            return False
        another = self._find_duplicate(play, only_imports=True)
        is_worse = another is not None and account_rank(play) < account_rank(another)
        return is_worse or matching.matches_tombstone(self.tombstones.plays, play.ended_ms)

    def _find_duplicate(self, play: Play, *, only_imports: bool) -> Play | None:
        """Return the same play under another key; None if there is none."""
        begin, end = play.started_ms // 1000, (play.ended_ms + matching.UNSEEN_END_MS) // 1000
        days = sorted({day_of(begin - MAX_START_DIFFERENCE), day_of(begin), day_of(end)})
        lines = sorted(line for day in days for line in self.index(day).items())
        followers = (*(second for second, _ in lines[1:]), end)
        found = []
        for (second, (item, ms_played)), follower in zip(lines, followers, strict=False):
            # With pauses, it lasted until another one began, at most.
            longest = max(follower, second + (ms_played + matching.UNSEEN_END_MS) // 1000)
            until = end if item == play.item.key else longest
            if begin - MAX_START_DIFFERENCE <= second <= end and begin <= until:
                another = Play.from_hash(second, self._store.hash(play_key(second)))
                if another is None or (only_imports and another.source != IMPORT):
                    continue
                if is_same_play(play, another) and not self._is_taken(another, play):
                    found.append(another)
        return min(found, key=lambda another: abs(another.ended_ms - play.ended_ms), default=None)

    def _is_taken(self, another: Play, play: Play) -> bool:
        """Return whether a different play of the outbox takes the place of another one in Redis."""
        rows = self._outbox.rows([another.second])
        return any(identity(row.play) != identity(play) and is_same_play(row.play, another) for row in rows)


class Reconciler:
    """Compares Redis with the outbox."""

    def __init__(self, store: Store, outbox: Outbox, takeover: Takeover, clock: Clock) -> None:
        self._store, self._outbox, self._takeover, self._clock = store, outbox, takeover, clock
        self._due = float("-inf")
        self._oldest = 0  # the second from which on plays and gaps are compared
        self._pending: list[int] = []  # keys that are still to be compared
        self._is_suspicious = False  # Redis has lost something: all plays have to be compared, whatever fails
        self._lost: list[int] = []
        self.persistence = Persistence()  # as of the last comparison
        self.status: Mapping[str, str | int] = {}  # what was written again last, when, and why
        self.log_trouble: str | None = None  # why Redis lacks the log, "" if it has it; None if unknown

    def check_log(self) -> None:
        """Set `log_trouble`; a new state folder adopts the log. StoreError if Redis has another one."""
        ours, found = self._outbox.note(LOG_ID_NOTE), self._store.log_id()
        if found is None:  # new, emptied, or from before there were IDs
            oldest = self._outbox.acknowledged()[:1]
            is_same = not ours or (oldest and not self._lost_plays(oldest))
            found = self._store.log_id((ours or secrets.token_hex(8)) if is_same else "")
        if found and not ours:
            self._outbox.set_note(LOG_ID_NOTE, ours := found.split()[0])
        known, where = self.log_trouble, self._store.where
        self.log_trouble = None if found is None else log_trouble(where, ours, found)
        if self.log_trouble and found:
            raise StoreError(self.log_trouble)
        if self.log_trouble and self.log_trouble != known:
            log.error(self.log_trouble)

    def run_if_due(self, *, is_new: bool) -> None:
        """Compare for some seconds, if the connection is new, an hour has passed, or Redis lost something."""
        begun = self._clock.monotonic()
        if is_new or self._store.has_lost_data or (begun >= self._due and not self._pending):
            self._begin()
        elif not self._pending:
            return
        while self._pending and self._clock.monotonic() - begun < MAX_SECONDS:
            lost = self._lost_plays(self._pending[:PLAYS_PER_QUERY])
            del self._pending[:PLAYS_PER_QUERY]
            self._lost += lost
            self._write_again(lost, [])
            if lost and not self._is_suspicious:
                self._is_suspicious = True
                self._begin()
        if not self._pending:
            self._end()

    def _begin(self) -> None:
        """Choose what to compare: the newest days, or everything where Redis has lost something."""
        self.persistence = self._store.client.persistence()
        self._takeover.tombstones.refresh()
        was_replaced = self._outbox.note(REDIS_RUN_NOTE) not in ("", self.persistence.run)
        self._is_suspicious |= self._store.has_lost_data or was_replaced
        self._store.has_lost_data = False
        self._oldest = 0
        if self._is_suspicious:
            self._takeover.tombstones.restore()
        else:
            self._oldest = second_of_day(day_of(max(0, int(self._clock.utc()) - ONE_DAY)))
        self._pending = self._outbox.acknowledged(self._oldest)

    def _write_again(self, plays: Sequence[int], gaps: Sequence[int]) -> None:
        if plays or gaps:
            self._store.invalidate()
            self._outbox.mark(plays, gaps, acknowledged=False)

    def _end(self) -> None:
        seconds = [second for second in self._outbox.gaps(acknowledged=True) if second >= self._oldest]
        indexed = {second for second, _, _ in self._store.gaps()} if seconds else set()
        held = zip(seconds, self._store.hashes(map(gap_key, seconds)), strict=True)
        self._write_again([], [second for second, fields in held if not fields or second not in indexed])
        known_run = self._outbox.note(REDIS_RUN_NOTE)
        if self._lost:
            since, now = to_iso(min(self._lost) * 1000), to_iso(round(self._clock.utc() * 1000))
            why = "it was emptied, or its keys were deleted: FLUSHALL, an eviction policy"
            if known_run not in ("", self.persistence.run):
                why = "it was restarted, restored or replaced"
            plays = "a play" if len(self._lost) == 1 else f"{len(self._lost):,} plays"
            log.warning(f"Redis has lost {plays}, from {since} onward; restoring what is missing ({why})")
            self.status = {"restored_plays": len(self._lost), "restored_at": now, "restored_why": why}
        self._outbox.set_note(REDIS_RUN_NOTE, self.persistence.run)
        self._lost, self._is_suspicious = [], False
        self._due = self._clock.monotonic() + INTERVAL

    def _lost_plays(self, keys: Sequence[int]) -> list[int]:
        """Return those of these plays that Redis lacks, or has in an older state."""
        held, lines = dict(self._store.plays(keys)), self._store.index_lines(keys)
        items = dict.fromkeys(line.partition(" ")[0] for line in lines.values())
        unnamed = {item for item, (name,) in self._store.catalog(items, ["name"]) if not name}
        self._takeover.index.cache_clear()
        return [
            row.key
            for row in self._outbox.rows(keys)
            if (row.play.item.key in unnamed and row.play.item.catalog.get("name"))
            or (_is_lost(row, held[row.key], lines.get(row.key)) and not self._takeover.gave_way(row.play))
        ]


def _is_lost(row: OutboxPlay, fields: Mapping[str, str], line: str | None) -> bool:
    """Return whether Redis lacks a play, its line in the index, or its newest state."""
    held = Play.from_hash(row.key, fields)
    if held is None or line is None:
        return True
    if identity(held) != identity(row.play):
        return not is_same_play(row.play, held)
    if account_rank(held) > account_rank(row.play):
        return False
    if newness(held) == newness(row.play):
        return line != row.play.index
    return newness(held) < newness(row.play)
