"""Writes plays, gaps and the status to Redis; plays wait in the outbox until Redis has acknowledged them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from spotify_logger.core.matching import identity
from spotify_logger.core.play import LIVE, Play
from spotify_logger.core.redis_keys import GAPS, STATUS, day_of, gap_key, index_key, play_key, second_of_key
from spotify_logger.core.times import to_iso
from spotify_logger.core.tracker import last_answer_at
from spotify_logger.daemon.deletions import Tombstones
from spotify_logger.daemon.reconcile import REDIS_RUN_NOTE, Reconciler
from spotify_logger.daemon.redis_session import WRONG_TYPE, RedisSession
from spotify_logger.daemon.takeover import Takeover
from spotify_logger.storage.client import StoreError
from spotify_logger.storage.outbox import NEWEST_CANDIDATES, OutboxPlay

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from spotify_logger.core.backoff import Backoff
    from spotify_logger.core.player_state import FieldValue
    from spotify_logger.storage.outbox import Outbox, OutboxGap
    from spotify_logger.storage.store import Batch, Store
    from spotify_logger.system.clock import Clock

NOW_PLAYING_GRACE = 30.0
"""Seconds after the next answer is due until `now_playing` expires."""
OPEN_SAVE_INTERVAL = 30.0
"""Seconds between saves of the open play to disk while Redis is away."""
PLAYS_PER_BATCH = 200
"""Plays sent to Redis in one batch."""
MAX_CATCH_UP = 10.0
"""Most seconds that one turn spends on queued plays; the rest follows in the next turns."""
REFUSED_RETRY = 60.0
"""Seconds before a key that Redis refused is retried."""
ADOPTED_PLAYS = 500
"""Newest plays in Redis that a state folder gets which is new, or was not in use."""
TRACKER_NOTE = "tracker"
"""The note with the state of the tracker."""


class Recorder:
    """Writes the newest state of each play, in the order of their keys, and the status.

    A play is saved to disk before it is sent to Redis when it begins and when it ends. In between only Redis
    gets its newest state; while Redis is away, the disk does, every `OPEN_SAVE_INTERVAL` seconds.

    Args:
        store: The log in Redis.
        outbox: The queue on disk.
        clock: The time, for retries.
        backoff: How long to leave Redis alone after a failure.
        may_write: Returns whether no other logger has taken over.

    Attributes:
        role_fields: Fields of the status that tell who writes.
    """

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        clock: Clock,
        backoff: Backoff,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._clock = clock
        self._may_write = may_write
        self._open: Play | None = None
        self._open_key: int | None = None
        self._has_ended = False  # Redis may still have a closed play in `now_playing`
        self._last_key: int | None = None
        self._memory = ""
        self._saved_at = float("-inf")
        self._refused: dict[str, float] = {}
        self._searched_at = (
            self._nothing_at
        ) = -1  # `Outbox.changes` at the last search, and at the last empty one
        self._connection = 0
        self._must_relearn = False
        self._session = RedisSession(clock, backoff)
        self._tombstones = Tombstones(store, outbox)
        self._takeover = Takeover(store, outbox, self._claimed)
        self._reconciler = Reconciler(store, outbox, self._tombstones, clock)
        self.role_fields: Mapping[str, FieldValue] = {}

    @property
    def trouble(self) -> str:
        """What is wrong with Redis; "" while all is well."""
        return self._session.trouble

    @property
    def has_history(self) -> bool:
        """Return whether the outbox has the plays that are in Redis."""
        return self._connection > 0 or self._outbox.note(REDIS_RUN_NOTE) != ""

    def load(self) -> tuple[Play | None, str, dict[str, str]] | None:
        """Load where an earlier process stopped, from the disk or from Redis, whichever is newer.

        Returns:
            The newest play, the state of the tracker, and the status in Redis (empty while Redis is away).
            None while Redis is away and the disk has nothing, as in a new state folder, or lacks what another
            logger has written since.
        """
        kept, memory = self._outbox.newest(), self._outbox.note(TRACKER_NOTE)
        loaded, status = self._load_from_redis()
        kept = kept and self._outbox.newest()  # it may have been deleted
        if self.trouble and (self._must_relearn or (kept is None and not memory)):
            return None
        remote = status.get("tracker", "")
        self._last_key = second_of_key(status.get("last_play", ""))
        if loaded is not None and last_answer_at(remote) > last_answer_at(memory):
            kept, memory = self._as_kept(*loaded), remote
        self._open = kept if kept is not None and kept.end_reason is None else None
        self._memory = memory
        return kept, memory, status

    def _load_from_redis(self) -> tuple[tuple[int, dict[str, str]] | None, dict[str, str]]:
        if self._session.is_resting:
            return None, {}
        try:
            self._connect()
            loaded = self._newest_live(), self._store.read_status()
        except StoreError as error:
            self._session.failed(error)
            return None, {}
        self._succeeded()
        return loaded

    def _newest_live(self) -> tuple[int, dict[str, str]] | None:
        """Return the polled play that started last; backfilled ones may have started later."""
        for count in (3, NEWEST_CANDIDATES):
            newest = self._store.recent(count)
            live = next((play for play in newest if self._is_live(*play)), None)
            if live is not None or len(newest) < count:
                return live
        return None

    def _is_live(self, second: int, fields: Mapping[str, str]) -> bool:
        return fields.get("source") == LIVE and second not in self._tombstones.plays

    def _as_kept(self, second: int, fields: Mapping[str, str]) -> Play | None:
        """Adopt the newest play in Redis, and return it with the identity that it has in the outbox."""
        play = Play.from_hash(second, fields)
        if play is None:
            return None
        self._outbox.adopt([(second, play)])
        ours = next((kept for kept in self._outbox.kept() if identity(kept) == identity(play)), None)
        return play if ours is None else replace(play, second=ours.second, item=ours.item)

    def add(self, plays: Sequence[Play], memory: str) -> None:
        """Save new states of plays to disk.

        Args:
            plays: Newer states of plays; the last one from the tracker may be open.
            memory: The state of the tracker after it returned them.
        """
        self._memory = memory
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
            self._put(to_keep)

    def save(self, notes: Mapping[str, str]) -> None:
        """Save notes to disk, together with the open play and the state of the tracker."""
        self._outbox.put([] if self._open is None else [self._open], {TRACKER_NOTE: self._memory, **notes})
        self._saved_at = self._clock.monotonic()

    def _put(self, plays: Sequence[Play]) -> None:
        self._outbox.put(plays, {TRACKER_NOTE: self._memory})
        self._saved_at = self._clock.monotonic()
        for play in plays:
            self._takeover.remember(play)

    def write(self, shown: Play | None, due: float, status: Mapping[str, FieldValue]) -> bool:
        """Send everything that is queued to Redis, and the status with it.

        Args:
            shown: The play that the last answer showed, if any.
            due: Seconds until the next answer.
            status: Fields of the status hash.

        Returns:
            Whether Redis took all of it.
        """
        if self._session.is_resting:
            self._save_open()
            return False
        try:
            self._connect()
            if not self._may_write():  # another logger may have taken over while Redis was away
                self._save_open()
                return False
            partial_error = self._send(shown, due, status)
        except StoreError as error:
            self._session.failed(error)
            self._save_open()
            return False
        if partial_error is not None:
            self._session.report(partial_error)
        if partial_error is not None or self._refused:
            return False
        self._succeeded()
        return True

    # Other loggers

    def relearn(self) -> None:
        """Read the plays that another logger wrote, on the next connection to Redis."""
        self._must_relearn = True

    @property
    def is_up_to_date(self) -> bool:
        """Return whether the plays of other loggers have been read."""
        return not self._must_relearn

    def rewrite(self) -> None:
        """Write again what another logger may have overwritten."""
        self._store.invalidate_all()
        self._reconciler.compare_all()

    def flush_leftovers(self) -> None:
        """Send what is left in the outbox while another logger is active."""
        if self._session.is_resting or self._outbox.changes == self._nothing_at:
            return
        try:
            self._connect()
            rows = self._rows(is_active=False)
            gaps = self._gaps(rows)
            with self._store.batch() as batch:
                self._fill(batch, rows, gaps)
            self._sent(rows, gaps, ())
        except StoreError as error:
            self._session.failed(error)
        else:
            self._succeeded()

    # The server

    def _connect(self) -> None:
        """Connect; over a new connection, and once an hour, look for what Redis has lost."""
        connection = self._store.connect()
        is_new = connection != self._connection
        if is_new:
            self._store.register_listener()
            self._adopt_newest()
            self._tombstones.refresh(force=True)
        if is_new or self._reconciler.is_due:
            self._reconciler.run(is_new=is_new)
        self._connection = connection

    def _adopt_newest(self) -> None:
        """Read the newest plays from Redis into a state folder that is new or was not in use."""
        if self._must_relearn or self._outbox.newest() is None:
            kept = (
                (second, Play.from_hash(second, fields))
                for second, fields in self._store.recent(ADOPTED_PLAYS)
            )
            plays = [(second, play) for second, play in kept if play is not None]
            seconds = [second for second, _ in plays]
            self._outbox.adopt(zip(seconds, self._with_isrcs([play for _, play in plays]), strict=True))
            self._must_relearn = False

    def _with_isrcs(self, plays: Sequence[Play]) -> list[Play]:
        """Return plays with the ISRCs from the catalog, which tell recordings apart."""
        keys = dict.fromkeys(play.item.key for play in plays)
        isrcs = {key: isrc for key, (isrc,) in self._store.catalog(keys, ["isrc"])}
        return [_with_isrc(play, isrcs[play.item.key]) for play in plays]

    def tombstones(self) -> Mapping[int, int]:
        """Return the deleted plays, as of the last contact with Redis: start second -> end second."""
        if not self._session.is_resting:
            try:
                self._connect()
                self._tombstones.refresh()
            except StoreError as error:
                self._session.failed(error)
        return self._tombstones.plays

    def foreign_plays(self, since_ms: int) -> list[Play]:
        """Return plays that are not in the outbox: from an import or another logger; [] while Redis is away.

        Args:
            since_ms: Milliseconds since the epoch, UTC.
        """
        if self._session.is_resting:
            return []
        try:
            self._connect()
            return self._with_isrcs(self._store.foreign_plays(since_ms // 1000, self._outbox.keys()))
        except StoreError as error:
            self._session.failed(error)
            return []

    # Sending

    def _send(self, shown: Play | None, due: float, status: Mapping[str, FieldValue]) -> StoreError | None:
        """Send what is queued, in batches; the open play, gaps and status go with the last one.

        Returns:
            The error if Redis refused some keys and took the rest; None if it took everything.
        """
        begun, partial_error = self._clock.monotonic(), None
        while True:
            rows = self._rows(is_active=True)
            is_last = len(rows) < PLAYS_PER_BATCH or self._clock.monotonic() - begun > MAX_CATCH_UP
            gaps = self._gaps(rows) if is_last else []
            try:
                with self._store.batch() as batch:
                    self._fill(batch, rows, gaps)
                    if is_last:
                        self._finish(batch, shown, due, status)
            except StoreError as error:
                if _is_total_failure(error, rows):
                    raise
                partial_error = error
            self._sent(rows, gaps, () if partial_error is None else partial_error.refused)
            if is_last:
                return partial_error

    def _rows(self, *, is_active: bool) -> list[OutboxPlay]:
        """Return the plays to send now; nothing is searched if nothing has changed since an empty search."""
        if self._outbox.changes == self._nothing_at:
            return []
        self._tombstones.refresh()
        self._searched_at = self._outbox.changes
        excluded = {int(key.removeprefix("listening:")) for key in self._recently_refused("listening:")}
        if self._open is not None:
            excluded.add(self._open_row(self._open).key)
        rows = self._outbox.waiting(PLAYS_PER_BATCH, excluded)
        self._takeover.clear_cache()
        begun, ready = self._clock.monotonic(), []
        for row in rows:
            if self._clock.monotonic() - begun > MAX_CATCH_UP:
                self._searched_at = -1  # the rest follows in the next turn
                break
            if (sent := self._takeover.to_send(row, is_active=is_active)) is not None:
                ready.append(sent)
        return ready

    def _gaps(self, rows: Sequence[OutboxPlay]) -> list[OutboxGap]:
        if self._outbox.changes == self._nothing_at:
            return []
        held = self._recently_refused("gap:")
        gaps = [gap for gap in self._outbox.gaps() if _gap_version(gap) not in held]
        self._nothing_at = -1 if rows or gaps or self._refused else self._searched_at
        return gaps

    def _recently_refused(self, kind: str) -> set[str]:
        now = self._clock.monotonic()
        self._refused = {key: until for key, until in self._refused.items() if now < until}
        return {key for key in self._refused if key.startswith(kind)}

    def _claimed(self, row: OutboxPlay) -> OutboxPlay:
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

    def _finish(self, batch: Batch, shown: Play | None, due: float, status: Mapping[str, FieldValue]) -> None:
        if self._open is not None:
            row = self._open_row(self._open)
            self._fill(batch, [row], [])
            if shown is not None:
                batch.set_now_playing(row.key, due + NOW_PLAYING_GRACE)
        elif self._has_ended:
            batch.clear_now_playing()
        last = {} if self._last_key is None else {"last_play": play_key(self._last_key)}
        keeping: dict[str, FieldValue] = {
            "outbox": len(self._outbox),
            "outbox_trouble": self._outbox.trouble,
            "redis_trouble": self.trouble,
            "persistence": self._reconciler.persistence.words,
            "persistence_trouble": self._reconciler.persistence.trouble,
            **self._reconciler.status,
        }
        batch.write_status({**status, **last, **keeping, **self.role_fields})

    def _open_row(self, play: Play) -> OutboxPlay:
        """Return the open play under a key that stays the same."""
        if self._open_key is None:
            if (key := self._outbox.key(play)) is None:  # it was deleted
                self._outbox.put([play])
                key = self._outbox.key(play)
            self._open_key = self._claimed(OutboxPlay(play.second if key is None else key, play)).key
        return OutboxPlay(self._open_key, play)

    def _fill(self, batch: Batch, rows: Sequence[OutboxPlay], gaps: Sequence[OutboxGap]) -> None:
        for row in rows:
            batch.write_play(row.key, row.play.to_hash(), row.play.index)
            batch.write_catalog(row.play.item.key, row.play.item.catalog)
            self._last_key = row.key if self._last_key is None else max(self._last_key, row.key)
        for gap in gaps:
            batch.write_gap(gap.second, gap.fields)

    def _sent(self, rows: Sequence[OutboxPlay], gaps: Sequence[OutboxGap], refused: Collection[str]) -> None:
        """Note what Redis has acknowledged, and what it refused."""
        if not rows and not gaps:
            return
        written = {
            play_key(row.key): {index_key(day_of(row.key)), row.play.item.key, play_key(row.key)}
            for row in rows
        } | {_gap_version(gap): {gap_key(gap.second), GAPS} for gap in gaps}
        now = self._clock.monotonic()
        for key, keys in written.items():
            if keys & set(refused):
                self._refused[key] = now + REFUSED_RETRY
            else:
                self._refused.pop(key, None)
        self._outbox.mark_acknowledged(
            [row.key for row in rows if play_key(row.key) not in self._refused],
            [gap.second for gap in gaps if _gap_version(gap) not in self._refused],
        )

    # Success and failure

    def _save_open(self) -> None:
        """Save the open play to disk from time to time."""
        if self._open is not None and self._clock.monotonic() - self._saved_at >= OPEN_SAVE_INTERVAL:
            self.save({})

    def _succeeded(self) -> None:
        self._session.succeeded()
        self._has_ended = False


def _gap_version(gap: OutboxGap) -> str:
    """Return what identifies one state of a gap, which grows while it lasts."""
    return f"{gap_key(gap.second)} {gap.fields['to']} {gap.fields['reason']}"


def _is_total_failure(error: StoreError, rows: Sequence[OutboxPlay]) -> bool:
    """Return whether the server took nothing; otherwise only some keys were refused."""
    refused = error.refused
    if error.codes == {WRONG_TYPE}:
        return False
    return not refused or STATUS in refused or (bool(rows) and refused >= {play_key(row.key) for row in rows})


def _with_isrc(play: Play, isrc: str) -> Play:
    return replace(play, item=replace(play.item, catalog={"isrc": isrc} if isrc else {}))
