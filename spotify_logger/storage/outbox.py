"""The outbox: plays on disk on their way to Redis, and notes that have to survive a power cut.

The newest plays stay here after Redis has acknowledged them: the items of `recently-played` are compared with
them, and a Redis that has lost some gets them again. A deleted play stays too, without its names, so that its
item does not become a new play; it is never sent again.

If the disk is full, read-only or broken, everything goes on in memory, and back to disk when it works again.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from spotify_logger.core.batched import batched
from spotify_logger.core.matching import identity, newness, next_free_second
from spotify_logger.core.play import LIVE, Play
from spotify_logger.core.player_state import FieldValue
from spotify_logger.core.times import from_iso, to_iso
from spotify_logger.system import log
from spotify_logger.system.state import from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
    from pathlib import Path

    from spotify_logger.core.matching import Identity

OUTBOX_FILE = "outbox.sqlite"
"""The file name in the state folder."""
MAX_BYTES_ON_DISK = 64 * 1024 * 1024
"""Most bytes on disk: years of queued plays."""
MAX_BYTES_IN_MEMORY = 8 * 1024 * 1024
"""Most bytes in memory, while the disk fails: months of plays, and a Pi has little memory."""
PLAYS_PER_EVICTION = 100
"""Plays that are evicted together when the outbox is full."""
MAX_KEPT_PLAYS = 5000
"""Acknowledged plays that stay, for a Redis that loses some: months for most listeners."""
MAX_KEPT_GAPS = 100
"""Acknowledged gaps that stay, for the same reason."""
PLAYS_PER_QUERY = 200
"""Plays read in one query."""
DISK_RETRY = 60.0
"""Seconds between attempts to use a failed disk again."""
NEWEST_CANDIDATES = 100
"""Newest plays in which the latest live one is looked for; backfilled ones may have started later."""
WAITING, ACKNOWLEDGED, DELETED = 0, 1, 2
"""Values of the column `safe`."""
TABLES = ("plays", "gaps", "notes")
GAP_FIELDS = ("from", "to", "reason")
ANONYMOUS_FIELDS = ("id", "uri", "type", "duration_ms", "progress_ms", "playing")
"""The fields that identify a deleted play."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS plays (
    started_ms INTEGER NOT NULL,
    uri TEXT NOT NULL,
    second INTEGER NOT NULL,
    key INTEGER NOT NULL UNIQUE,
    ended_ms INTEGER NOT NULL,
    closed INTEGER NOT NULL,
    safe INTEGER NOT NULL,
    fields TEXT NOT NULL,
    catalogue TEXT NOT NULL,
    PRIMARY KEY (started_ms, uri)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS waiting ON plays (key, closed) WHERE safe = 0;
CREATE TABLE IF NOT EXISTS gaps (
    second INTEGER PRIMARY KEY, safe INTEGER NOT NULL, fields TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
"""

_COUNT = "SELECT count(*) FROM plays WHERE safe = 0 AND closed = 1"
# The comparison is `newness` in SQL.
_IF_NEWER = (
    "UPDATE plays SET ended_ms = ?, closed = ?, safe = ?, fields = ?"
    " WHERE started_ms = ? AND uri = ? AND safe < 2 AND (?, ?) > (closed, ended_ms)"
)


@dataclass(frozen=True, slots=True)
class OutboxPlay:
    """A play, and the second in its Redis key."""

    key: int
    play: Play


@dataclass(frozen=True, slots=True)
class OutboxGap:
    """A gap: the second in its Redis key, and its hash."""

    second: int
    fields: Mapping[str, str]


def count_waiting(path: Path) -> int | None:
    """Return the number of queued plays in the outbox of another process; None if it cannot be read."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=1.0)) as database:
            ((count,),) = database.execute(_COUNT).fetchall()
    except sqlite3.Error:
        return None
    return int(count)


class Outbox:
    """The outbox of one listener, for one process and one thread.

    Args:
        path: The database file; its folder must exist.
        monotonic: Returns monotonic seconds, for retries of a failed disk.
        connect: Opens a database; tests pass one that fails.
        disk_retry: Seconds between attempts to use a failed disk again.

    Attributes:
        trouble: What is wrong with the disk; "" while all is well.
        changes: Number of changes so far, so that unchanged data need not be searched again.
    """

    def __init__(
        self,
        path: Path,
        monotonic: Callable[[], float],
        connect: Callable[[str], sqlite3.Connection] | None = None,
        disk_retry: float = DISK_RETRY,
    ) -> None:
        self._path = path
        self._disk_retry = disk_retry
        self._monotonic = monotonic
        self._connect = connect or _connect
        self._on_disk = True
        self._is_complete = True  # whether the memory knows all that the disk does
        self._retry_at = 0.0
        self.trouble = ""
        self.changes = 0
        self._counted_at, self._count = -1, 0
        self._database = self._open()

    def close(self) -> None:
        """Save to disk what is only in memory, if possible, and close the file."""
        self._retry_at = 0.0
        self._return_to_disk()
        self._database.close()

    def put(self, plays: Iterable[Play], notes: Mapping[str, str] | None = None) -> None:
        """Queue the newest state of plays, and save notes with them in one transaction.

        A new play gets its key: the first free second from its start on.
        """
        plays = list(plays)

        def put(database: sqlite3.Connection) -> None:
            for play in plays:
                _put(database, play)
            _note(database, notes or {})

        if plays or notes:
            self._write(put)
            self._evict()

    def waiting(self, limit: int, exclude: Collection[int] = ()) -> list[OutboxPlay]:
        """Return up to `limit` queued plays, oldest first, without the keys in `exclude`."""
        waiting = self._read("SELECT key FROM plays WHERE safe = 0 ORDER BY key")
        return self.rows(list(islice((key for (key,) in waiting if key not in exclude), limit)))

    def key(self, play: Play) -> int | None:
        """Return the second in the key of a play; None if it is not here."""
        query = "SELECT key FROM plays WHERE started_ms = ? AND uri = ?"
        found = self._read(query, *identity(play))
        return int(found[0][0]) if found else None

    def is_taken(self, key: int, play: Play) -> bool:
        """Return whether another play has a key."""
        query = "SELECT 1 FROM plays WHERE key = ? AND NOT (started_ms = ? AND uri = ?)"
        return bool(self._read(query, key, *identity(play)))

    def rekey(self, play: Play, key: int) -> None:
        """Change the key of a play, because another play has it in Redis."""
        change = "UPDATE plays SET key = ? WHERE started_ms = ? AND uri = ?"
        self._write(lambda database: database.execute(change, (key, *identity(play))))

    def replace(self, play: Play, another: tuple[int, Play]) -> None:
        """Replace a play by its state and key in Redis."""
        delete = "DELETE FROM plays WHERE started_ms = ? AND uri = ? AND safe < 2"
        self._write(lambda database: database.execute(delete, identity(play)))
        self.adopt([another])

    def mark_acknowledged(self, plays: Iterable[int], gaps: Iterable[int] = ()) -> None:
        """Mark plays (by key) and gaps (by second) that Redis has acknowledged."""
        self._mark(plays, gaps, safe=ACKNOWLEDGED)
        self._write(_drop_oldest)

    def mark_waiting(self, plays: Iterable[int], gaps: Iterable[int] = ()) -> None:
        """Queue plays (by key) and gaps (by second) again that Redis has lost."""
        self._mark(plays, gaps, safe=WAITING)

    def _mark(self, plays: Iterable[int], gaps: Iterable[int], *, safe: int) -> None:
        keys, seconds = [(safe, key) for key in plays], [(safe, second) for second in gaps]

        def mark(database: sqlite3.Connection) -> None:
            database.executemany("UPDATE plays SET safe = ? WHERE key = ? AND safe < 2", keys)
            database.executemany("UPDATE gaps SET safe = ? WHERE second = ?", seconds)

        if keys or seconds:
            self._write(mark)

    def mark_deleted(self, keys: Container[int]) -> None:
        """Mark plays as deleted, so that they are never sent again, and remove their names."""
        known = self._read("SELECT key FROM plays WHERE safe < 2")
        for batch in batched((key for (key,) in known if key in keys), PLAYS_PER_QUERY):
            rows = self._rows(f"WHERE key IN ({_placeholders(len(batch))})", *batch)
            self._write(lambda database, rows=rows: _mark_deleted(database, rows))  # type: ignore[misc]

    def is_deleted(self, play: Play) -> bool:
        """Return whether a play is here and marked as deleted."""
        query = "SELECT 1 FROM plays WHERE started_ms = ? AND uri = ? AND safe = 2"
        return bool(self._read(query, *identity(play)))

    def keys(self) -> set[int]:
        """Return the keys of all plays."""
        return {key for (key,) in self._read("SELECT key FROM plays")}

    def acknowledged(self, oldest: int = 0) -> list[int]:
        """Return the keys, from `oldest` on, of the plays that Redis has acknowledged."""
        query = "SELECT key FROM plays WHERE safe = 1 AND key >= ? ORDER BY key"
        return [key for (key,) in self._read(query, oldest)]

    def rows(self, keys: Sequence[int]) -> list[OutboxPlay]:
        """Return the plays with these keys, at most `PLAYS_PER_QUERY`."""
        return self._rows(f"WHERE key IN ({_placeholders(len(keys))}) ORDER BY key", *keys)

    def acknowledged_gaps(self) -> list[OutboxGap]:
        """Return the gaps that Redis has acknowledged."""
        return self._gaps(ACKNOWLEDGED)

    def kept(self, ended_from_ms: int = 0) -> list[Play]:
        """Return the plays that ended at `ended_from_ms` or later, in the order of their starts."""
        return [row.play for row in self._rows("WHERE ended_ms >= ? ORDER BY started_ms, key", ended_from_ms)]

    def horizon_ms(self) -> int:
        """Return the start of the oldest play here; 0 as long as no play has been dropped."""
        ((count, oldest),) = self._read("SELECT count(*), min(started_ms) FROM plays WHERE safe > 0")
        return int(oldest) if count >= MAX_KEPT_PLAYS else 0

    def newest(self) -> Play | None:
        """Return the polled play that started last."""
        rows = self._rows("WHERE safe < 2 ORDER BY started_ms DESC, key DESC LIMIT ?", NEWEST_CANDIDATES)
        return next((row.play for row in rows if row.play.source == LIVE), None)

    def adopt(self, plays: Iterable[tuple[int, Play]]) -> None:
        """Insert plays from Redis with their keys, or update those that are older here."""
        rows = [(key, play) for key, play in plays]

        def adopt(database: sqlite3.Connection) -> None:
            insert = f"INSERT OR IGNORE INTO plays VALUES ({_placeholders(9)})"  # noqa: S608 - question marks
            for key, play in rows:
                values = _values(play, safe=1)
                database.execute(_IF_NEWER, (*values[:4], *identity(play), *newness(play)))
                database.execute(insert, (*identity(play), play.second, key, *values))

        self._write(adopt)

    def __len__(self) -> int:
        """Return the number of closed plays that Redis has not acknowledged."""
        if self._counted_at != self.changes:
            ((self._count,),) = self._read(_COUNT)
            self._counted_at = self.changes
        return self._count

    # Gaps and notes

    def put_gap(self, second: int, fields: Mapping[str, str], notes: Mapping[str, str] | None = None) -> None:
        """Queue the newest state of a gap, and save notes with it."""

        def put(database: sqlite3.Connection) -> None:
            database.execute("REPLACE INTO gaps VALUES (?, 0, ?)", (second, json.dumps(dict(fields))))
            _note(database, notes or {})

        self._write(put)

    def waiting_gaps(self) -> list[OutboxGap]:
        """Return the queued gaps; invalid ones are deleted."""
        return self._gaps(WAITING)

    def _gaps(self, safe: int) -> list[OutboxGap]:
        gaps = []
        for second, text in self._read(
            "SELECT second, fields FROM gaps WHERE safe = ? ORDER BY second", safe
        ):
            fields = _gap_fields(text)
            if fields is not None:
                gaps.append(OutboxGap(second, fields))
            else:
                self._discard("gap", to_iso(second * 1000), "DELETE FROM gaps WHERE second = ?", second)
        return gaps

    def note(self, name: str) -> str:
        """Return the note called `name`; "" if there is none."""
        found = self._read("SELECT text FROM notes WHERE name = ?", name)
        return str(found[0][0]) if found else ""

    def set_note(self, name: str, text: str) -> None:
        """Save a note."""
        self._write(lambda database: _note(database, {name: text}))

    def _rows(self, clauses: str, *values: int) -> list[OutboxPlay]:
        """Return the plays that a query finds; invalid ones are deleted."""
        query = f"SELECT uri, second, key, fields, catalogue FROM plays {clauses}"  # noqa: S608 - ours
        rows = []
        for uri, second, key, fields, catalog in self._read(query, *values):
            row = _row(key, second, fields, catalog)
            if row is not None:
                rows.append(row)
            else:
                name = f"{uri} at {to_iso(key * 1000)}"
                self._discard("play", name, "DELETE FROM plays WHERE key = ?", key)
        return rows

    def _discard(self, kind: str, name: str, delete: str, key: int) -> None:
        log.error(f"deleting an invalid {kind} from {self._path}: {name}")
        self._write(lambda database: database.execute(delete, (key,)))

    # The disk, and memory while it fails

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            if not self._on_disk:
                raise
            self._database = self._fall_back_to_memory(error, self._database)
            return self._database.execute(query, values).fetchall()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._open_file()
        except sqlite3.Error as error:
            return self._fall_back_to_memory(error, None)

    def _open_file(self) -> sqlite3.Connection:
        database = self._connect(str(self._path))
        try:
            self._path.chmod(0o600)
            _prepare(database)
            _set_up(database)
        except (sqlite3.Error, OSError) as error:
            database.close()
            raise (
                error if isinstance(error, sqlite3.Error) else sqlite3.OperationalError(error.strerror)
            ) from None
        return database

    def _set_aside(self, error: sqlite3.Error) -> bool:
        """Rename a corrupt file; the next write creates a new one."""
        if not _is_corrupt(error):
            return False
        bad = self._path.with_name(f"{self._path.name}.bad")
        try:
            self._path.replace(bad)
            for ending in ("-wal", "-shm"):
                self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
        except OSError:
            return False
        log.error(f"{self._path} is corrupt: kept as {bad.name}, starting a new one")
        self._retry_at = float("-inf")
        return True

    def _write(self, change: Callable[[sqlite3.Connection], object]) -> None:
        """Apply a change, on disk if possible."""
        self.changes += 1
        self._return_to_disk()
        try:
            _transact(self._database, change)
        except sqlite3.Error as error:
            if not self._on_disk:
                raise
            self._database = self._fall_back_to_memory(error, self._database)
            _transact(self._database, change)

    def _fall_back_to_memory(
        self, error: sqlite3.Error, disk: sqlite3.Connection | None
    ) -> sqlite3.Connection:
        """Go on in memory, with everything that can still be read from disk."""
        self._on_disk = False
        self._retry_at = self._monotonic() + self._disk_retry
        memory = _connect(":memory:")
        _set_up(memory)
        source, self._is_complete = (disk, True) if disk is not None else self._read_only()
        if source is not None:
            self._is_complete = _copy(source, memory) and self._is_complete
            source.close()
        if not self._set_aside(error):
            reason = log.sanitize(str(error), 200)
            log.error(
                f"{self._path} cannot be written ({reason}): plays wait in memory, "
                "and the disk is tried again every minute"
            )
            self.trouble = f"{self._path} cannot be written: {reason}"
        return memory

    def _read_only(self) -> tuple[sqlite3.Connection | None, bool]:
        """Open the file for reading only; return it, and whether all of it can be read.

        The latest writes are in the WAL, which cannot be read without a shared-memory file.
        """
        for how, is_all in (("mode=ro", True), ("immutable=1", False)):
            database = None
            try:
                database = _connect(f"file:{quote(str(self._path.absolute()))}?{how}")
                database.execute("SELECT count(*) FROM plays").fetchone()
            except sqlite3.Error:
                if database is not None:
                    database.close()
            else:
                return database, is_all
        return None, False

    def _return_to_disk(self) -> None:
        if self._on_disk or self._monotonic() < self._retry_at:
            return
        self._retry_at = self._monotonic() + self._disk_retry
        disk = None
        try:
            disk = self._open_file()
            _copy(self._database, disk, overwrite=self._is_complete)
        except sqlite3.Error as error:
            if disk is not None:
                disk.close()
            self._set_aside(error)
            return
        if self.trouble:
            log.info(f"{self._path} is writable again and has everything")
        self._database.close()
        self._database, self._on_disk, self._is_complete, self.trouble = disk, True, True, ""

    def _evict(self) -> None:
        """Drop the oldest plays while the outbox is too large."""
        query = "SELECT key, safe, started_ms FROM plays ORDER BY safe DESC, started_ms LIMIT ?"
        delete = "DELETE FROM plays WHERE key = ?"
        lost: list[int] = []
        while _size(self._database) > (MAX_BYTES_ON_DISK if self._on_disk else MAX_BYTES_IN_MEMORY):
            going = self._read(query, PLAYS_PER_EVICTION)
            if not going:
                break
            keys = [(key,) for key, _, _ in going]
            self._write(lambda database, keys=keys: database.executemany(delete, keys))  # type: ignore[misc]
            self._is_complete = self._on_disk  # plays dropped from memory stay on disk
            lost += [started_ms for _, safe, started_ms in going if not safe]
        if lost:
            unless = "" if self._on_disk else " (unless they are on disk)"
            log.error(
                f"lost {len(lost)} plays, from {to_iso(min(lost))} on{unless}: the outbox is full, and Redis "
                "is away"
            )


def _connect(name: str) -> sqlite3.Connection:
    return sqlite3.connect(name, isolation_level=None, timeout=5.0, uri=name.startswith("file:"))


def _prepare(database: sqlite3.Connection) -> None:
    """Make writes durable against power cuts, and the file change rarely (WAL)."""
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(f"PRAGMA journal_size_limit = {1024 * 1024}")


def _set_up(database: sqlite3.Connection) -> None:
    database.text_factory = lambda data: data.decode(errors="replace")  # tolerate damaged text
    database.execute("PRAGMA cache_size = -512")  # KiB
    database.executescript(_SCHEMA)


def _transact(database: sqlite3.Connection, change: Callable[[sqlite3.Connection], object]) -> None:
    database.execute("BEGIN IMMEDIATE")
    try:
        change(database)
        database.commit()
    except BaseException:
        with suppress(sqlite3.Error):
            database.rollback()
        raise


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, *, overwrite: bool = True) -> bool:
    """Copy all readable rows, replacing the target's if `overwrite`; return whether that was all."""
    tables = {table: _readable(source, table) for table in TABLES}

    def copy(target: sqlite3.Connection) -> None:
        for table, (rows, _) in tables.items():
            if overwrite:
                target.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
            if table == "plays" and not overwrite:
                for row in rows:
                    _merge(target, row)
            elif rows:
                insert = f"REPLACE INTO {table} VALUES ({_placeholders(len(rows[0]))})"  # noqa: S608 - ours
                target.executemany(insert, rows)

    _transact(target, copy)
    return all(is_all for _, is_all in tables.values())


def _readable(source: sqlite3.Connection, table: str) -> tuple[list[tuple[Any, ...]], bool]:
    """Return all rows, or those before and after damage, and whether that is all."""
    rows: list[tuple[Any, ...]] = []
    try:
        rows.extend(source.execute(f"SELECT * FROM {table} ORDER BY 1"))  # noqa: S608 - our own names
    except sqlite3.Error:
        with suppress(sqlite3.Error):
            rows.extend(source.execute(f"SELECT * FROM {table} ORDER BY 1 DESC"))  # noqa: S608 - the same
        return rows, False
    return rows, True


def _merge(database: sqlite3.Connection, row: tuple[Any, ...]) -> None:
    """Add a play that was queued while the disk could not be read; the newer state wins."""
    started_ms, uri, second, key, *values = row
    newer = "SELECT 1 FROM plays WHERE started_ms = ? AND uri = ? AND (closed, ended_ms) > (?, ?)"
    ended_ms, closed = values[:2]
    if not database.execute(newer, (started_ms, uri, closed, ended_ms)).fetchone():
        _insert_or_update(database, (started_ms, uri), second, key, values)


def _placeholders(count: int) -> str:
    return ", ".join("?" * count)


def _is_corrupt(error: sqlite3.Error) -> bool:
    text = str(error)
    return "not a database" in text or "malformed" in text or "no such column" in text


def _size(database: sqlite3.Connection) -> int:
    (pages,), (free,), (size,) = (
        database.execute(f"PRAGMA {name}").fetchone()
        for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _put(database: sqlite3.Connection, play: Play) -> None:
    _insert_or_update(database, identity(play), play.second, play.second, _values(play, safe=0))


def _insert_or_update(
    database: sqlite3.Connection, play: Identity, second: int, key: int, values: Sequence[object]
) -> None:
    """Update a play, or insert it under the first free key from the given one on."""
    # A play restored after a restart has no catalog fields; keep the known ones.
    update = (
        "UPDATE plays SET ended_ms = ?, closed = ?, safe = CASE safe WHEN 2 THEN 2 ELSE ? END, fields = ?,"
        " catalogue = coalesce(nullif(?, '{}'), catalogue) WHERE started_ms = ? AND uri = ?"
    )
    if database.execute(update, (*values, *play)).rowcount:
        return
    insert = f"INSERT INTO plays VALUES ({_placeholders(9)})"  # noqa: S608 - question marks
    database.execute(insert, (*play, second, _free_key(database, key), *values))


def _free_key(database: sqlite3.Connection, second: int) -> int:
    is_taken = "SELECT 1 FROM plays WHERE key = ?"
    return next_free_second(second, lambda key: database.execute(is_taken, (key,)).fetchone() is not None)


def _values(play: Play, *, safe: int) -> tuple[int, int, int, str, str]:
    fields, catalog = json.dumps(play.to_hash()), json.dumps(dict(play.item.catalog))
    return play.ended_ms, int(play.end_reason is not None), safe, fields, catalog


def _row(key: int, second: int, fields: str, catalog: str) -> OutboxPlay | None:
    kept, known = from_json(dict[str, object], fields), from_json(dict[str, FieldValue], catalog)
    play = None if kept is None else Play.from_hash(second, {name: str(kept[name]) for name in kept})
    if play is None or known is None:
        return None
    return OutboxPlay(key, replace(play, item=replace(play.item, catalog=known)))


def _mark_deleted(database: sqlite3.Connection, rows: Iterable[OutboxPlay]) -> None:
    replace_row = f"REPLACE INTO plays VALUES ({_placeholders(9)})"  # noqa: S608 - question marks
    for row in rows:
        values = _values(_anonymized(row.play), safe=DELETED)
        database.execute(replace_row, (*identity(row.play), row.play.second, row.key, *values))


def _anonymized(play: Play) -> Play:
    """Return a play without names."""
    fields = {name: play.fields[name] for name in ANONYMOUS_FIELDS if name in play.fields}
    catalog = {name: play.item.catalog[name] for name in ("isrc",) if name in play.item.catalog}
    return replace(play, fields=fields, item=replace(play.item, catalog=catalog))


def _gap_fields(text: str) -> dict[str, str] | None:
    fields = from_json(dict[str, str], text) or {}
    is_valid = "reason" in fields and None not in {from_iso(fields.get(name, "")) for name in ("from", "to")}
    return {name: fields[name] for name in GAP_FIELDS} if is_valid else None


def _note(database: sqlite3.Connection, notes: Mapping[str, str]) -> None:
    database.executemany("REPLACE INTO notes VALUES (?, ?)", list(notes.items()))


def _drop_oldest(database: sqlite3.Connection) -> None:
    """Drop all but the newest acknowledged plays and gaps."""
    oldest = database.execute(
        "SELECT started_ms FROM plays WHERE safe > 0 ORDER BY started_ms DESC LIMIT 1 OFFSET ?",
        (MAX_KEPT_PLAYS,),
    ).fetchone()
    if oldest is not None:
        database.execute("DELETE FROM plays WHERE safe > 0 AND started_ms <= ?", oldest)
    database.execute(
        "DELETE FROM gaps WHERE safe = 1 AND second <= "
        "(SELECT second FROM gaps WHERE safe = 1 ORDER BY second DESC LIMIT 1 OFFSET ?)",
        (MAX_KEPT_GAPS,),
    )
