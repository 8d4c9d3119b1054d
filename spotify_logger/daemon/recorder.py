"""Writes plays, gaps and the status to Redis; plays wait in the outbox until Redis has acknowledged them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from spotify_logger.core.backoff import Backoff
from spotify_logger.core.matching import identity
from spotify_logger.core.observations import Observations
from spotify_logger.core.play import LIVE, Play
from spotify_logger.core.player_state import FieldValue
from spotify_logger.core.redis_keys import GAPS, STATUS, day_of, gap_key, index_key, play_key, second_of_key
from spotify_logger.daemon.reconcile import REDIS_RUN_NOTE, Reconciler, Takeover, Tombstones
from spotify_logger.storage.client import StoreError
from spotify_logger.storage.outbox import NEWEST_CANDIDATES, PLAYS_PER_QUERY, Gaps, Outbox, OutboxPlay
from spotify_logger.storage.store import Batch, Store
from spotify_logger.system import log
from spotify_logger.system.clock import Clock

NOW_PLAYING_GRACE = 30.0  # seconds after the next answer is due until `now_playing` expires
OPEN_SAVE_INTERVAL = 30.0  # seconds between saves of the open play to disk while Redis is away
MAX_CATCH_UP = 10.0  # maximum seconds that a turn spends on queued plays; the rest follows in the next turns
REFUSED_RETRY = 60.0  # seconds before a play that Redis refused is retried
ADOPTED_PLAYS = 500  # newest plays in Redis that a state folder gets if it is new, or was not in use
TRACKER_NOTE = "tracker"
WRONG_TYPE = "WRONGTYPE"  # the error code for a key of another type, which something else uses
T = TypeVar("T")


class RedisSession:
    """What is known of the contact with Redis, and of its trouble ("" while all is well)."""

    def __init__(self, clock: Clock, backoff: Backoff, connect: Callable[[], None]) -> None:
        self._clock, self._backoff, self._connect = clock, backoff, connect
        self._retry_at = float("-inf")
        self._reported: set[str] = set()  # kinds of the current errors
        self.refused_since = float("inf")  # monotonic seconds
        self.trouble = ""

    def attempt(self, work: Callable[[], T], *, otherwise: T) -> T:
        """Connect, and do `work`; return `otherwise` if Redis fails, or failed a moment ago."""
        if self._clock.monotonic() >= self._retry_at:
            try:
                self._connect()
                return work()
            except StoreError as error:
                wait = self._backoff.failed()
                self._retry_at = self._clock.monotonic() + wait
                self.report(error, f"plays are queued; next try in {wait:.0f} s")
        return otherwise

    def report(self, error: StoreError, what_next: str) -> None:
        """Log an error, unless its kind has been logged since the last success."""
        kinds = set(error.codes) or {str(error)}
        if kinds == {WRONG_TYPE}:  # each key of another type deserves a line
            kinds = {f"{WRONG_TYPE} {key}" for key in error.refused}
        if not kinds <= self._reported:
            log.warning(f"{error} ({what_next})")
        self._reported |= kinds
        self.trouble = str(error)
        if error.codes:
            self.refused_since = min(self.refused_since, self._clock.monotonic())

    def succeeded(self) -> None:
        """Note that Redis took everything."""
        self._backoff.succeeded()
        if self.trouble:
            log.info("Redis is back; sending queued plays")
        self._reported.clear()
        self.trouble, self.refused_since = "", float("inf")


class Recorder:
    """Writes the newest state of each play, in the order of their keys, and the status.

    A play is saved to disk before it is sent to Redis when it begins and when it ends. In between only Redis
    gets its newest state; while Redis is away, the disk does, every `OPEN_SAVE_INTERVAL` seconds.
    """

    def __init__(self, store: Store, outbox: Outbox, clock: Clock, backoff: Backoff) -> None:
        self._store, self._outbox, self._clock = store, outbox, clock
        self._open: Play | None = None
        self._open_key: int | None = None
        self._has_ended = False  # Redis may still have a closed play in `now_playing`
        self._last_key: int | None = None
        self._memory = ""  # the state of the tracker
        self.saved_at = float("-inf")  # monotonic seconds
        self._refused: dict[int, float] = {}  # keys of plays, and when they are retried
        self._connection = 0
        self._compared_at = -1  # `Outbox.changes` when the tombstones were asked for
        self.session = RedisSession(clock, backoff, self._connect)
        self._tombstones = Tombstones(store, outbox)
        self._takeover = Takeover(store, outbox, self._tombstones)
        self.reconciler = Reconciler(store, outbox, self._takeover, clock)
        self.may_write: Callable[[], bool] = lambda: True  # whether no other logger has taken over
        self.notes: Callable[[], Mapping[str, str]] = dict  # what else is saved each time
        self.must_relearn = False  # plays that another logger wrote are still to be read
        self.role_fields: Mapping[str, FieldValue] = {}  # of the status: who writes

    @property
    def has_history(self) -> bool:
        """Return whether the outbox has the plays that are in Redis."""
        return self._connection > 0 or self._outbox.note(REDIS_RUN_NOTE) != ""

    def load(self) -> tuple[Play | None, str, dict[str, str]] | None:
        """Load the newest play, tracker state and status; None if Redis is away and only it has them."""
        memory = self._outbox.note(TRACKER_NOTE)
        is_new = not memory and self._outbox.newest() is None
        found = self.session.attempt(self._read_log, otherwise=None)
        if found is None and (is_new or self.must_relearn):
            return None
        live, status = found or (None, {})
        kept, remote = self._outbox.newest(), status.get("tracker", "")
        self._last_key = second_of_key(status.get("last_play", ""))
        if live is not None and Observations.restore(remote).now > Observations.restore(memory).now:
            self._outbox.adopt([(live.second, live)])
            key = self._outbox.key(live)
            kept, memory = live, remote
            for _, ours in self._outbox.rows([] if key is None else [key]):  # as the outbox identifies it
                kept = replace(live, second=ours.second, item=ours.item)
        self._open = kept if kept is not None and kept.end_reason is None else None
        self._memory = memory
        return kept, memory, status

    def _read_log(self) -> tuple[Play | None, dict[str, str]] | None:
        """Return the polled play that started last, and the status."""
        plays = (Play.from_hash(*play) for play in self._store.recent(NEWEST_CANDIDATES))
        candidates = (play for play in plays if play and play.second not in self._tombstones.plays)
        live = next((play for play in candidates if play.source == LIVE), None)
        status = self._store.hash(STATUS)
        self.session.succeeded()
        return live, status

    def add(self, plays: Sequence[Play], memory: str = "") -> None:
        """Save new states of plays to disk, with the state of the tracker if it returned them."""
        self._memory = memory or self._memory
        to_keep = []
        for play in plays:
            is_open = self._open is not None and identity(play) == identity(self._open)
            if play.end_reason is not None or not is_open:
                to_keep.append(play)
            if play.end_reason is None:
                self._open_key = self._open_key if is_open else None
                self._open = play
            elif is_open:
                self._open, self._open_key, self._has_ended = None, None, True
        if to_keep:
            self.save(to_keep)

    def save(self, plays: Sequence[Play] = ()) -> None:
        """Save plays to disk, or else the open one, with the tracker's state and the notes of others."""
        plays = plays or ([] if self._open is None else [self._open])
        self._outbox.put(plays, {TRACKER_NOTE: self._memory, **self.notes()})
        self.saved_at = self._clock.monotonic()
        for play in plays:
            self._takeover.remember(play)

    def write(self, shown: Play | None, due: float, status: Mapping[str, FieldValue]) -> bool:
        """Send what is queued, `due` seconds before the next answer; return whether Redis took all of it."""
        finish = partial(self._finish, shown=shown, due=due, status=status)
        # Another logger may have taken over while Redis was away.
        if self.session.attempt(lambda: self.may_write() and self._send(finish), otherwise=False):
            return True
        if self._open is not None and self._clock.monotonic() - self.saved_at >= OPEN_SAVE_INTERVAL:
            self.save()
        return False

    def write_stopped(self) -> None:
        """Send what is queued, and that nothing is playing and no poll is planned, if Redis answers."""
        self._has_ended = True
        self.write(None, 0.0, {"state": "stopped", "next_poll": ""})

    def flush_leftovers(self) -> None:
        """Send what is left in the outbox while another logger is active."""
        if not self._connection or self._outbox.waiting(1) or self._outbox.gaps():
            self.session.attempt(self._send, otherwise=False)

    def tombstones(self) -> Mapping[int, int]:
        """Return the deleted plays, as of the last contact with Redis: start second -> end second."""
        self.session.attempt(self._tombstones.refresh, otherwise=None)
        return self._tombstones.plays

    def foreign_plays(self, since_ms: int) -> list[Play]:
        """Return plays since `since_ms` that are not in the outbox; [] while Redis is away."""
        since, read = since_ms // 1000, self._store.foreign_plays
        return self.session.attempt(lambda: self._with_isrcs(read(since, self._outbox.keys())), otherwise=[])

    def _connect(self) -> None:
        """Connect; over a new connection, and once an hour, look for what Redis has lost."""
        connection = self._store.client.connect()
        is_new = connection != self._connection
        if is_new or self._store.has_lost_data or self.reconciler.log_trouble != "":
            self.reconciler.check_log()
        if is_new:
            self._store.register_listener()
            # The state folder is new, or was not in use.
            if self.must_relearn or self._outbox.newest() is None:
                plays = [Play.from_hash(*play) for play in self._store.recent(ADOPTED_PLAYS)]
                known = self._with_isrcs([play for play in plays if play is not None])
                self._outbox.adopt((play.second, play) for play in known)
                self.must_relearn = False
            self._tombstones.refresh(force=True)
        self.reconciler.run_if_due(is_new=is_new)
        self._connection = connection

    def _with_isrcs(self, plays: Sequence[Play]) -> list[Play]:
        """Return plays with the ISRCs from the catalog, which tell recordings apart."""
        keys = dict.fromkeys(play.item.key for play in plays)
        known = {key: {"isrc": isrc} if isrc else {} for key, (isrc,) in self._store.catalog(keys, ["isrc"])}
        return [replace(play, item=replace(play.item, catalog=known[play.item.key])) for play in plays]

    def _send(self, finish: Callable[[Batch], None] | None = None) -> bool:
        """Send what is queued, in batches; `finish` completes the last one, except on standby."""
        begun, partial_error, is_last = self._clock.monotonic(), None, False
        while not is_last:
            rows, gaps = self._queued(is_active=finish is not None)
            is_last = len(rows) < PLAYS_PER_QUERY or self._clock.monotonic() - begun > MAX_CATCH_UP
            try:
                with self._store.batch() as batch:
                    self._fill(batch, rows, gaps)
                    if is_last and finish is not None:
                        finish(batch)
            except StoreError as error:
                # If only some keys were refused, everything else was written.
                plays, refused = {play_key(row.key) for row in rows}, error.refused
                is_everything = not refused or STATUS in refused or (rows and refused >= plays)
                if is_everything and error.codes != {WRONG_TYPE}:
                    raise
                partial_error = error
            self._acknowledged(rows, gaps, partial_error.refused if partial_error else ())
        if partial_error is not None:
            self.session.report(partial_error, "everything else was written")
        if partial_error is not None or self._refused:
            return False
        self.session.succeeded()
        self._has_ended = False
        return True

    def _queued(self, *, is_active: bool) -> tuple[list[OutboxPlay], Gaps]:
        """Return plays and gaps to send."""
        begun = self._clock.monotonic()
        self._refused = {key: until for key, until in self._refused.items() if begun < until}
        excluded = {*self._refused}
        if self._open is not None:
            excluded.add(self._open_row(self._open).key)
        # What was deleted must neither be sent, nor be forwarded, nor stay on the disk for long.
        if self._outbox.changes != self._compared_at or self._outbox.waiting(1, excluded):
            self._tombstones.refresh()
            self._compared_at = self._outbox.changes
        self._takeover.index.cache_clear()
        rows = []
        for row in self._outbox.waiting(PLAYS_PER_QUERY, excluded):
            if self._clock.monotonic() - begun > MAX_CATCH_UP:
                break  # the rest follows in the next turn
            if (sent := self._takeover.to_send(row, is_active=is_active)) is not None:
                rows.append(sent)
        return rows, self._outbox.gaps()

    def _finish(self, batch: Batch, shown: Play | None, due: float, status: Mapping[str, FieldValue]) -> None:
        if self._open is not None:
            row = self._open_row(self._open)
            self._fill(batch, [row], {})
            if shown is not None:
                batch.set_now_playing(row.key, due + NOW_PLAYING_GRACE)
        if self._has_ended and shown is None:
            batch.clear_now_playing()
        if self._memory:
            batch.write_status({"tracker": self._memory})
        if self._last_key is not None:
            batch.write_status({"last_play": play_key(self._last_key)})
        batch.write_status({**status, **self.reconciler.status, **self.role_fields})
        batch.write_status({"outbox": len(self._outbox), "outbox_trouble": self._outbox.trouble})
        trouble = self.session.trouble or self.reconciler.log_trouble or ""
        batch.write_status({"redis_trouble": trouble, "persistence": self.reconciler.persistence.words})

    def _open_row(self, play: Play) -> OutboxPlay:
        """Return the open play under a key that stays the same."""
        if self._open_key is None:
            if (key := self._outbox.key(play)) is None:  # it was deleted
                self._outbox.put([play])
                key = self._outbox.key(play)
            self._open_key = self._takeover.claim(OutboxPlay(play.second if key is None else key, play)).key
        return OutboxPlay(self._open_key, play)

    def _fill(self, batch: Batch, rows: Sequence[OutboxPlay], gaps: Gaps) -> None:
        for row in rows:
            batch.write_play(row.key, row.play.to_hash(), row.play.index)
            batch.write_hash(row.play.item.key, row.play.item.catalog)
            self._last_key = row.key if self._last_key is None else max(self._last_key, row.key)
        for second, fields in gaps.items():
            batch.write_gap(second, fields)

    def _acknowledged(self, rows: list[OutboxPlay], gaps: Gaps, refused: Collection[str]) -> None:
        retry_at = self._clock.monotonic() + REFUSED_RETRY
        for row in rows:
            if not {index_key(day_of(row.key)), row.play.item.key, play_key(row.key)}.isdisjoint(refused):
                self._refused[row.key] = retry_at
        taken = [row.key for row in rows if row.key not in self._refused]
        self._outbox.mark(taken, [second for second in gaps if {gap_key(second), GAPS}.isdisjoint(refused)])
