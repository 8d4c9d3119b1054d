"""Plays that Redis has not yet made safe, on disk; and what else has to survive a power cut.

A play stays here after it is safe, too, for as long as `recently-played` may still tell of it: against these
plays its items are held, and a Redis that comes back from an old copy is given them again. So does one that
somebody forgot, without its names: else its item would be a new play. It never goes to Redis again.

Where the disk is full, read-only or broken, everything goes on in memory, and to the disk again when it can.
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
from spotify_logger.core.matching import identity, next_free_second
from spotify_logger.core.play import LIVE, Play
from spotify_logger.core.times import from_iso, to_iso
from spotify_logger.system import log

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
    from pathlib import Path

    from spotify_logger.core.matching import Identity
    from spotify_logger.core.player_state import FieldValue

OUTBOX_FILE = "outbox.sqlite"
"""The outbox's file in the state folder."""
MAX_BYTES_ON_DISK = 64 * 1024 * 1024
"""Bytes on the disk at most: years of plays that wait."""
MAX_BYTES_IN_MEMORY = 8 * 1024 * 1024
"""Bytes at most where there is no disk: a Pi has little memory, and some months of plays fit."""
PLAYS_PER_EVICTION = 100
"""Plays that make room together when it is full."""
MAX_KEPT_PLAYS = 500
"""Plays that stay after they are safe: fifty items of `recently-played`, and all that lies between them."""
MAX_KEPT_GAPS = 100
"""Gaps that stay after they are safe, for a Redis that comes back from an old copy."""
PLAYS_PER_QUERY = 200
"""Plays that are looked at in one go."""
DISK_RETRY = 60.0
"""Seconds between two tries of a disk that failed."""
NEWEST_CANDIDATES = 100
"""Plays among which the newest live one is looked for; repaired ones may have started later."""
WAITING, SAFE, DELETED = 0, 1, 2
"""What is written of a play under `safe`."""
TABLES = ("plays", "gaps", "notes")
GAP_FIELDS = ("from", "to", "reason")
ANONYMOUS_FIELDS = ("id", "uri", "type", "duration_ms", "progress_ms", "playing")
"""The fields by which a play that was forgotten is told from others."""

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
_IF_NEWER = (
    "UPDATE plays SET ended_ms = ?, closed = ?, safe = ?, fields = ?"
    " WHERE started_ms = ? AND uri = ? AND safe < 2 AND (?, ?) > (closed, ended_ms)"
)


@dataclass(frozen=True, slots=True)
class OutboxPlay:
    """A play, and the second that names its key in Redis."""

    key: int
    play: Play


@dataclass(frozen=True, slots=True)
class OutboxGap:
    """A gap: the second that names its key, and its hash."""

    second: int
    fields: Mapping[str, str]


def count_waiting(path: Path) -> int | None:
    """Return how many plays wait in the outbox of another process; None where that cannot be seen."""
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
        monotonic: Seconds; tells when to try a disk again that failed.
        connect: Opens a database; another one may break it on purpose.

    Attributes:
        trouble: What is wrong with the disk, empty while all is well.
        changes: How many there were, so that nobody has to look for what can only be as it was.
    """

    def __init__(
        self,
        path: Path,
        monotonic: Callable[[], float],
        connect: Callable[[str], sqlite3.Connection] | None = None,
    ) -> None:
        self._path = path
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
        """Bring to the disk what is not there yet, if it can be, and close the file."""
        self._retry_at = 0.0
        self._return_to_disk()
        self._database.close()

    def put(self, plays: Iterable[Play], notes: Mapping[str, str] | None = None) -> None:
        """Keep the newest state of plays, which wait from now on; and notes with them, all or nothing.

        The first time a play is put, it gets its key: the first second from its own on that no other has.
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
        """Plays that Redis may not have, the oldest first; without those whose keys are `besides`."""
        waiting = self._read("SELECT key FROM plays WHERE safe = 0 ORDER BY key")
        keys = list(islice((key for (key,) in waiting if key not in exclude), limit))
        return self._rows(f"WHERE key IN ({_placeholders(len(keys))}) ORDER BY key", *keys)

    def key(self, play: Play) -> int | None:
        """The second that names a play's key; None for a play that is not here."""
        query = "SELECT key FROM plays WHERE started_ms = ? AND uri = ?"
        found = self._read(query, *identity(play))
        return int(found[0][0]) if found else None

    def is_taken(self, key: int, play: Play) -> bool:
        """Whether a second names another play's key."""
        query = "SELECT 1 FROM plays WHERE key = ? AND NOT (started_ms = ? AND uri = ?)"
        return bool(self._read(query, key, *identity(play)))

    def rekey(self, play: Play, key: int) -> None:
        """Give a play another key, because in Redis its own is somebody else's."""
        change = "UPDATE plays SET key = ? WHERE started_ms = ? AND uri = ?"
        self._write(lambda database: database.execute(change, (key, *identity(play))))

    def replace(self, play: Play, another: tuple[int, Play]) -> None:
        """Take in the state of a play that Redis has, with its key, in the place of the one that is here."""
        delete = "DELETE FROM plays WHERE started_ms = ? AND uri = ? AND safe < 2"
        self._write(lambda database: database.execute(delete, identity(play)))
        self.adopt([another])

    def mark_safe(self, plays: Iterable[int], gaps: Iterable[int] = ()) -> None:
        """Take note of keys of plays, and seconds of gaps, that Redis has made safe."""
        self._mark(plays, gaps, safe=1)
        self._write(_drop_oldest)

    def mark_waiting(self, plays: Iterable[int]) -> None:
        """Let plays wait again that Redis has lost although it was sure of them; and all gaps."""
        gaps = [second for (second,) in self._read("SELECT second FROM gaps WHERE safe = 1")]
        self._mark(plays, gaps, safe=0)

    def _mark(self, plays: Iterable[int], gaps: Iterable[int], *, safe: int) -> None:
        keys, seconds = [(safe, key) for key in plays], [(safe, second) for second in gaps]

        def mark(database: sqlite3.Connection) -> None:
            database.executemany("UPDATE plays SET safe = ? WHERE key = ? AND safe < 2", keys)
            database.executemany("UPDATE gaps SET safe = ? WHERE second = ?", seconds)

        if keys or seconds:
            self._write(mark)

    def mark_deleted(self, keys: Container[int]) -> None:
        """Let plays never wait again, whatever becomes of them, and take their names away."""
        known = self._read("SELECT key FROM plays WHERE safe < 2")
        for portion in batched((key for (key,) in known if key in keys), PLAYS_PER_QUERY):
            rows = self._rows(f"WHERE key IN ({_placeholders(len(portion))})", *portion)
            self._write(lambda database, rows=rows: _mark_deleted(database, rows))  # type: ignore[misc]

    def is_deleted(self, play: Play) -> bool:
        """Whether it is a play that is here and was forgotten."""
        query = "SELECT 1 FROM plays WHERE started_ms = ? AND uri = ? AND safe = 2"
        return bool(self._read(query, *identity(play)))

    def keys(self) -> set[int]:
        """The keys of all plays that are here."""
        return {key for (key,) in self._read("SELECT key FROM plays")}

    def safe_keys(self) -> list[int]:
        """The keys of the plays that are kept although they are safe."""
        return [key for (key,) in self._read("SELECT key FROM plays WHERE safe = 1")]

    def kept(self, ended_from_ms: int = 0) -> list[Play]:
        """The plays that are here and ended after a moment, in the order of their starts."""
        return [row.play for row in self._rows("WHERE ended_ms >= ? ORDER BY started_ms, key", ended_from_ms)]

    def horizon_ms(self) -> int:
        """The start of the oldest play that is known of; 0 where no play was let go of yet."""
        ((count, oldest),) = self._read("SELECT count(*), min(started_ms) FROM plays WHERE safe > 0")
        return int(oldest) if count >= MAX_KEPT_PLAYS else 0

    def newest(self) -> Play | None:
        """The play that was learned by polling and started last."""
        rows = self._rows("WHERE safe < 2 ORDER BY started_ms DESC, key DESC LIMIT ?", NEWEST_CANDIDATES)
        return next((row.play for row in rows if row.play.source == LIVE), None)

    def adopt(self, plays: Iterable[tuple[int, Play]]) -> None:
        """Take in plays that Redis has, and the seconds that name their keys, where it knows more of them."""
        rows = [(key, play) for key, play in plays]

        def adopt(database: sqlite3.Connection) -> None:
            insert = f"INSERT OR IGNORE INTO plays VALUES ({_placeholders(9)})"  # noqa: S608 - question marks
            for key, play in rows:
                values = _values(play, safe=1)
                ended_ms, closed, _, _, _ = values
                database.execute(_IF_NEWER, (*values[:4], *identity(play), closed, ended_ms))
                database.execute(insert, (*identity(play), play.second, key, *values))

        self._write(adopt)

    def __len__(self) -> int:
        """How many plays that are over wait for Redis to make them safe."""
        if self._counted_at != self.changes:
            ((self._count,),) = self._read(_COUNT)
            self._counted_at = self.changes
        return self._count

    # Gaps and notes

    def put_gap(self, second: int, fields: Mapping[str, str], notes: Mapping[str, str] | None = None) -> None:
        """Keep a gap, which waits from now on, in its newest state; and notes with it."""

        def put(database: sqlite3.Connection) -> None:
            database.execute("REPLACE INTO gaps VALUES (?, 0, ?)", (second, json.dumps(dict(fields))))
            _note(database, notes or {})

        self._write(put)

    def waiting_gaps(self) -> list[OutboxGap]:
        """The gaps that Redis may not have; one that makes no sense is taken away."""
        gaps = []
        for second, text in self._read("SELECT second, fields FROM gaps WHERE safe = 0 ORDER BY second"):
            fields = _gap_fields(text)
            if fields is not None:
                gaps.append(OutboxGap(second, fields))
            else:
                self._discard("gap", to_iso(second * 1000), "DELETE FROM gaps WHERE second = ?", second)
        return gaps

    def note(self, name: str) -> str:
        """A small text; empty when there is none of that name."""
        found = self._read("SELECT text FROM notes WHERE name = ?", name)
        return str(found[0][0]) if found else ""

    def set_note(self, name: str, text: str) -> None:
        """Keep a small text."""
        self._write(lambda database: _note(database, {name: text}))

    def _rows(self, clauses: str, *values: int) -> list[OutboxPlay]:
        """The plays that a query finds; one that makes no sense is taken away."""
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
        log.error(f"{self._path} holds a {kind} that makes no sense; it is taken out: {name}")
        self._write(lambda database: database.execute(delete, (key,)))

    # The disk, and what to do without it

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
        """Put a file aside that is no database (any more); the next write begins a new one then."""
        if not _is_corrupt(error):
            return False
        bad = self._path.with_name(f"{self._path.name}.bad")
        try:
            self._path.replace(bad)
            for ending in ("-wal", "-shm"):
                self._path.with_name(self._path.name + ending).unlink(missing_ok=True)
        except OSError:
            return False
        log.error(f"{self._path} is no database any more: it is kept as {bad.name}, and a new one begun")
        self._retry_at = float("-inf")
        return True

    def _write(self, change: Callable[[sqlite3.Connection], object]) -> None:
        """Make a change, on the disk where possible."""
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
        """Go on in memory, with all of the disk that can still be read."""
        self._on_disk = False
        self._retry_at = self._monotonic() + DISK_RETRY
        memory = _connect(":memory:")
        _set_up(memory)
        source, self._is_complete = (disk, True) if disk is not None else self._read_only()
        if source is not None:
            self._is_complete = _copy(source, memory) and self._is_complete
            source.close()
        if not self._set_aside(error):
            said = log.sanitize(str(error), 200)
            log.error(
                f"{self._path} cannot be written ({said}): plays wait in memory, "
                "and the disk is tried again every minute"
            )
            self.trouble = f"{self._path} cannot be written: {said}"
        return memory

    def _read_only(self) -> tuple[sqlite3.Connection | None, bool]:
        """The file, where nothing can be written, and whether that is all of it.

        What was written last is in a file of its own, which cannot be read without a third one.
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
        self._retry_at = self._monotonic() + DISK_RETRY
        disk = None
        try:
            disk = self._open_file()
            _copy(self._database, disk, anew=self._is_complete)
        except sqlite3.Error as error:
            if disk is not None:
                disk.close()
            self._set_aside(error)
            return
        if self.trouble:
            log.info(f"{self._path} can be written again and has everything")
        self._database.close()
        self._database, self._on_disk, self._is_complete, self.trouble = disk, True, True, ""

    def _evict(self) -> None:
        """Let the oldest plays go where there are too many; better those than the newest."""
        query = "SELECT key, safe, started_ms FROM plays ORDER BY safe DESC, started_ms LIMIT ?"
        delete = "DELETE FROM plays WHERE key = ?"
        lost: list[int] = []
        while _size(self._database) > (MAX_BYTES_ON_DISK if self._on_disk else MAX_BYTES_IN_MEMORY):
            going = self._read(query, PLAYS_PER_EVICTION)
            if not going:
                break
            keys = [(key,) for key, _, _ in going]
            self._write(lambda database, keys=keys: database.executemany(delete, keys))  # type: ignore[misc]
            self._is_complete = self._on_disk  # what goes from the memory stays on the disk
            lost += [started_ms for _, safe, started_ms in going if not safe]
        if lost:
            unless = "" if self._on_disk else " (unless they are on the disk)"
            log.error(
                f"lost {len(lost)} plays, from {to_iso(min(lost))} on{unless}: the outbox is full, and Redis "
                "is away"
            )


def _connect(name: str) -> sqlite3.Connection:
    return sqlite3.connect(name, isolation_level=None, timeout=5.0, uri=name.startswith("file:"))


def _prepare(database: sqlite3.Connection) -> None:
    """A power cut after a write loses none of it; the file itself is changed now and then, all at once."""
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute(f"PRAGMA journal_size_limit = {1024 * 1024}")


def _set_up(database: sqlite3.Connection) -> None:
    database.text_factory = lambda data: data.decode(errors="replace")  # a spoilt letter spoils no more
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


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, *, anew: bool = True) -> bool:
    """Copy all rows that can be read, in place of what was there if `anew`; tell whether that is all."""
    tables = {table: _readable(source, table) for table in TABLES}

    def copy(target: sqlite3.Connection) -> None:
        for table, (rows, _) in tables.items():
            if anew:
                target.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
            if table == "plays" and not anew:
                for row in rows:
                    _merge(target, row)
            elif rows:
                insert = f"REPLACE INTO {table} VALUES ({_placeholders(len(rows[0]))})"  # noqa: S608 - ours
                target.executemany(insert, rows)

    _transact(target, copy)
    return all(is_all for _, is_all in tables.values())


def _readable(source: sqlite3.Connection, table: str) -> tuple[list[tuple[Any, ...]], bool]:
    """All rows; where the file is damaged, those before and after that."""
    rows: list[tuple[Any, ...]] = []
    try:
        rows.extend(source.execute(f"SELECT * FROM {table} ORDER BY 1"))  # noqa: S608 - our own names
    except sqlite3.Error:
        with suppress(sqlite3.Error):
            rows.extend(source.execute(f"SELECT * FROM {table} ORDER BY 1 DESC"))  # noqa: S608 - the same
        return rows, False
    return rows, True


def _merge(database: sqlite3.Connection, row: tuple[Any, ...]) -> None:
    """Add a play that was put while nobody knew what is there; the newer state of a play counts."""
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
    """Update a play; where it is new, under the first free key from the given one on."""
    # A play that a restart found again knows no catalogue any more; what is known of it stays.
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
    try:
        kept: dict[str, FieldValue] = json.loads(fields)
        play = Play.from_hash(second, {name: str(value) for name, value in kept.items()})
        known: dict[str, FieldValue] = dict(json.loads(catalog))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    return None if play is None else OutboxPlay(key, replace(play, item=replace(play.item, catalog=known)))


def _mark_deleted(database: sqlite3.Connection, rows: Iterable[OutboxPlay]) -> None:
    replace_row = f"REPLACE INTO plays VALUES ({_placeholders(9)})"  # noqa: S608 - question marks
    for row in rows:
        values = _values(_anonymized(row.play), safe=DELETED)
        database.execute(replace_row, (*identity(row.play), row.play.second, row.key, *values))


def _anonymized(play: Play) -> Play:
    """A play without all that is only for people."""
    fields = {name: play.fields[name] for name in ANONYMOUS_FIELDS if name in play.fields}
    catalog = {name: play.item.catalog[name] for name in ("isrc",) if name in play.item.catalog}
    return replace(play, fields=fields, item=replace(play.item, catalog=catalog))


def _gap_fields(text: str) -> dict[str, str] | None:
    try:
        fields = {name: str(json.loads(text)[name]) for name in GAP_FIELDS}
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return None if from_iso(fields["from"]) is None or from_iso(fields["to"]) is None else fields


def _note(database: sqlite3.Connection, notes: Mapping[str, str]) -> None:
    database.executemany("REPLACE INTO notes VALUES (?, ?)", list(notes.items()))


def _drop_oldest(database: sqlite3.Connection) -> None:
    """Keep the newest of what is safe."""
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
