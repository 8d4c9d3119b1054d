"""The outbox: plays on disk on their way to Redis, their listens on the way to receivers, and notes.

The newest plays stay after Redis has acknowledged them, to be compared with `recently-played`, and sent again
if Redis loses them. A deleted one stays, too, without its names, so that its item does not become a new play.
A listen that was sent stays without its JSON: no other state of it is sent. The command adds listens, too.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, NamedTuple

from spotify_logger.core.batched import batched
from spotify_logger.core.matching import Identity, identity, newness, next_free_second
from spotify_logger.core.play import LIVE, Play
from spotify_logger.core.redis_keys import gap_value
from spotify_logger.core.times import to_iso
from spotify_logger.storage.sqlite_file import Row, SqliteFile
from spotify_logger.system import log
from spotify_logger.system.state import from_json

Gaps = Mapping[int, Mapping[str, str]]  # their hashes, by the seconds in their keys

OUTBOX_FILE = "outbox.sqlite"
MAX_BYTES_ON_DISK = 64 * 1024 * 1024  # years of queued plays
MAX_BYTES_IN_MEMORY = 8 * 1024 * 1024  # while the disk fails: months of plays, and a Pi has little memory
PLAYS_PER_EVICTION = 100
MAX_KEPT_PLAYS = 5000  # acknowledged plays that stay, for a Redis that loses some: months for most listeners
MAX_KEPT_GAPS = 100  # acknowledged gaps that stay, for the same reason
PLAYS_PER_QUERY = 200
NEWEST_CANDIDATES = 100  # newest plays in which the latest live one is looked for; backfilled ones may follow
LOG_ID_NOTE = "log_id"  # the ID of the log that the state folder belongs to, as its status in Redis has it
WAITING, ACKNOWLEDGED, DELETED = 0, 1, 2  # values of the column `safe`
RETRY_NOTE = "forward_retry"  # set if everything is to be tried now, whatever a receiver has refused
COUNT_WAITING = "SELECT count(*) FROM plays WHERE safe = 0 AND closed = 1"
ANONYMOUS_FIELDS = ("id", "uri", "type", "duration_ms", "progress_ms", "playing")  # of a deleted play

_SELECT = "SELECT key, second, fields, catalogue FROM plays WHERE"
_THIS_PLAY = "started_ms = ? AND uri = ?"
_ALL_OF = "(SELECT value FROM json_each(?))"
_INSERT = "INTO plays VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UNSENT = "FROM listens WHERE target = ? AND body != '' AND refusal = ''"
_EVICT_LISTENS = """
DELETE FROM listens WHERE (target, started_ms, uri) IN
    (SELECT target, started_ms, uri FROM listens ORDER BY body != '', second LIMIT 1000)
"""  # the oldest ones, beginning with those that were sent


class OutboxPlay(NamedTuple):
    """A play, and the second in its Redis key."""

    key: int
    play: Play


class Listen(NamedTuple):
    """A listen for one receiver."""

    target: int  # the number of the receiver in the settings
    started_ms: int
    uri: str
    second: int  # in the key of its play
    body: str  # its JSON; "" once it was sent
    refusal: str = ""  # its title, and why the receiver does not take it


class Outbox(SqliteFile):
    """The outbox of one listener."""

    SCHEMA = """
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
    CREATE TABLE IF NOT EXISTS listens (
        target INTEGER NOT NULL,
        started_ms INTEGER NOT NULL,
        uri TEXT NOT NULL,
        second INTEGER NOT NULL,
        body TEXT NOT NULL,
        refusal TEXT NOT NULL,
        PRIMARY KEY (target, started_ms, uri)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS unsent ON listens (target, second) WHERE body != '' AND refusal = '';
    CREATE INDEX IF NOT EXISTS refused ON listens (target, second) WHERE refusal != '';
    """
    TABLES: ClassVar[tuple[str, ...]] = ("plays", "gaps", "notes", "listens")
    listens_of: Callable[[OutboxPlay], Iterable[Listen]] | None = None  # set where plays are forwarded

    def put(self, plays: Collection[Play], notes: Mapping[str, str] = {}, gaps: Gaps = {}) -> None:  # noqa: B006
        """Save plays (new ones under the first free second from their start on), gaps and notes at once."""
        rows = [_row(play.second, play, WAITING) for play in plays]
        gap_rows = [(second, WAITING, json.dumps(dict(fields))) for second, fields in gaps.items()]

        def put(database: sqlite3.Connection) -> None:
            _insert_or_update(database, rows)
            for play in plays if self.listens_of else ():
                self._add_listens(database, play)
            database.executemany("REPLACE INTO gaps VALUES (?, ?, ?)", gap_rows)
            database.executemany("REPLACE INTO notes VALUES (?, ?)", notes.items())

        if rows or gap_rows or notes:
            self.write(put)
            self._evict()

    def _add_listens(self, database: sqlite3.Connection, play: Play) -> None:
        """Add the listens of a play that was just saved, if it is closed."""
        query = f"{_SELECT} {_THIS_PLAY} AND closed = 1 AND safe < 2"
        for key, *columns in database.execute(query, identity(play)):
            if self.listens_of and (saved := read_play(*columns)) is not None:
                add_listens(database, self.listens_of(OutboxPlay(key, saved)))

    def set_note(self, name: str, text: str) -> None:
        """Save a note if it changed: some are set every turn, and SD cards wear out."""
        if text != self.note(name):
            self.put((), {name: text})

    def waiting(self, limit: int, exclude: Collection[int] = ()) -> list[OutboxPlay]:
        """Return up to `limit` queued plays, oldest first, without the keys in `exclude`."""
        condition = f"safe = 0 AND key NOT IN {_ALL_OF} ORDER BY key LIMIT ?"
        return self._rows(condition, json.dumps([*exclude]), limit)

    def key(self, play: Play) -> int | None:
        """Return the second in the key of a play; None if it is not here."""
        return next(iter(self._keys(_THIS_PLAY, *identity(play))), None)

    def is_taken(self, key: int, play: Play) -> bool:
        """Return whether another play has a key."""
        return bool(self._keys(f"key = ? AND NOT ({_THIS_PLAY})", key, *identity(play)))

    def rekey(self, play: Play, key: int) -> None:
        """Change the key of a play and of its listens, because another play has it in Redis."""
        for column in ("plays SET key", "listens SET second"):
            self._execute(f"UPDATE {column} = ? WHERE {_THIS_PLAY}", [(key, *identity(play))])

    def replace(self, play: Play, another: tuple[int, Play]) -> None:
        """Replace a play with its state and key in Redis."""
        self.adopt([another], [identity(play)])

    def drop_listens(self, play: Play) -> None:
        """Drop what waits to be forwarded of a play."""
        self._execute(f"DELETE FROM listens WHERE {_THIS_PLAY} AND body != ''", [identity(play)])  # noqa: S608 - ours

    def mark(self, plays: Iterable[int], gaps: Iterable[int] = (), *, acknowledged: bool = True) -> None:
        """Mark plays (by key) and gaps (by second) as acknowledged by Redis or waiting; drop the oldest."""
        safe = ACKNOWLEDGED if acknowledged else WAITING
        keys, seconds = [(safe, key) for key in plays], [(safe, second) for second in gaps]

        def mark(database: sqlite3.Connection) -> None:
            database.executemany("UPDATE plays SET safe = ? WHERE key = ? AND safe < 2", keys)
            database.executemany("UPDATE gaps SET safe = ? WHERE second = ?", seconds)
            for table, key, kept in (("plays", "key", MAX_KEPT_PLAYS), ("gaps", "second", MAX_KEPT_GAPS)):
                oldest = f"SELECT {key} FROM {table} ORDER BY 1 DESC LIMIT 1 OFFSET ?"  # noqa: S608 - ours
                database.execute(f"DELETE FROM {table} WHERE safe > 0 AND {key} <= ({oldest})", (kept,))  # noqa: S608

        if keys or seconds:
            # If a power cut takes it back, the same plays are only sent or compared once more.
            self.write(mark, is_urgent=False)

    def mark_deleted(self, keys: Container[int]) -> None:
        """Mark plays as deleted, so that they are never sent again, and remove their names and listens."""
        known = self._keys("safe < 2")
        for batch in batched((key for key in known if key in keys), PLAYS_PER_QUERY):
            rows = [_row(row.key, _anonymized(row.play), DELETED) for row in self.rows(batch)]
            self._execute(f"REPLACE {_INSERT}", rows)
        unsent = self.read("SELECT DISTINCT second FROM listens WHERE body != ''")
        if gone := [row for row in unsent if row[0] in keys]:
            self._execute("DELETE FROM listens WHERE body != '' AND second = ?", gone)

    def is_deleted(self, play: Play) -> bool:
        """Return whether a play is here and marked as deleted."""
        return bool(self._keys(f"{_THIS_PLAY} AND safe = 2", *identity(play)))

    def keys(self) -> set[int]:
        """Return the keys of all plays."""
        return set(self._keys("true"))

    def acknowledged(self, oldest: int = 0) -> list[int]:
        """Return the keys, from `oldest` on, of the plays that Redis has acknowledged."""
        return self._keys("safe = 1 AND key >= ? ORDER BY key", oldest)

    def rows(self, keys: Sequence[int]) -> list[OutboxPlay]:
        """Return the plays with these keys."""
        return self._rows(f"key IN {_ALL_OF} ORDER BY key", json.dumps(keys)) if keys else []

    def kept(self, ended_from_ms: int = 0) -> list[Play]:
        """Return the plays that ended at `ended_from_ms` or later, in the order of their starts."""
        return [row.play for row in self._rows("ended_ms >= ? ORDER BY started_ms, key", ended_from_ms)]

    def horizon_ms(self) -> int:
        """Return the start of the oldest play here; 0 as long as no play has been dropped."""
        ((count, oldest),) = self.read("SELECT count(*), min(started_ms) FROM plays WHERE safe > 0")
        return int(oldest) if count >= MAX_KEPT_PLAYS else 0

    def newest(self) -> Play | None:
        """Return the polled play that started last."""
        rows = self._rows("safe < 2 ORDER BY started_ms DESC, key DESC LIMIT ?", NEWEST_CANDIDATES)
        return next((row.play for row in rows if row.play.source == LIVE), None)

    def adopt(self, plays: Iterable[tuple[int, Play]], replaced: Collection[Identity] = ()) -> None:
        """Insert plays from Redis with their keys, or update those that are older here."""
        # The comparison is `newness` in SQL. Another play with that key, or a newer state, stays.
        adopt = (
            f"INSERT {_INSERT} ON CONFLICT (started_ms, uri) DO UPDATE"
            " SET ended_ms = excluded.ended_ms, closed = excluded.closed, safe = 1, fields = excluded.fields"
            " WHERE safe < 2 AND (?, ?) > (closed, ended_ms) ON CONFLICT DO NOTHING"
        )
        rows = [(*_row(key, play, ACKNOWLEDGED), *newness(play)) for key, play in plays]

        def change(database: sqlite3.Connection) -> None:
            database.executemany(f"DELETE FROM plays WHERE {_THIS_PLAY} AND safe < 2", replaced)  # noqa: S608 - ours
            database.executemany(adopt, rows)

        self.write(change)

    def __len__(self) -> int:
        """Return the number of closed plays that Redis has not acknowledged."""
        return int(self.read(COUNT_WAITING)[0][0])

    def gaps(self, *, acknowledged: bool = False) -> Gaps:
        """Return the gaps that wait, or those that Redis has acknowledged; invalid ones are deleted."""
        query = "SELECT second, fields FROM gaps WHERE safe = ? ORDER BY second"
        found = self.read(query, ACKNOWLEDGED if acknowledged else WAITING)
        gaps = {second: _read_fields(text) for second, text in found}
        invalid = [second for second, fields in gaps.items() if not gap_value(second, fields)]
        self._discard("DELETE FROM gaps WHERE second = ?", invalid)
        return {second: fields for second, fields in gaps.items() if second not in invalid}

    def note(self, name: str) -> str:
        """Return the note called `name`; "" if there is none."""
        found = self.read("SELECT text FROM notes WHERE name = ?", name)
        return str(found[0][0]) if found else ""

    def unsent(self, target: int, limit: int) -> list[Listen]:
        """Return up to `limit` listens for a receiver, oldest first."""
        return [
            Listen(*row) for row in self.read(f"SELECT * {_UNSENT} ORDER BY second LIMIT ?", target, limit)
        ]

    def count(self, target: int) -> int:
        """Return the number of listens for a receiver."""
        return int(self.read(f"SELECT count(*) {_UNSENT}", target)[0][0])

    def refused(self, target: int) -> tuple[int, str]:
        """Return the number of listens that a receiver does not take, and the latest refusal."""
        query = "SELECT count(*) OVER (), refusal FROM listens WHERE target = ? AND refusal != ''"
        found = self.read(f"{query} ORDER BY second DESC LIMIT 1", target)
        return (int(found[0][0]), str(found[0][1])) if found else (0, "")

    def update(self, listens: Iterable[Listen]) -> None:
        """Keep new states of listens; if a power cut takes them back, the listens are sent once more."""
        self._execute("REPLACE INTO listens VALUES (?, ?, ?, ?, ?, ?)", [*listens], is_urgent=False)

    @property
    def is_full(self) -> bool:
        """Whether more bytes are in use than it may have."""
        limit = MAX_BYTES_ON_DISK if self.on_disk else MAX_BYTES_IN_MEMORY
        tables = "pragma_page_count, pragma_freelist_count, pragma_page_size"
        query = f"SELECT (page_count - freelist_count) * page_size > ? FROM {tables}"  # noqa: S608 - ours
        return bool(self.read(query, limit)[0][0])

    def _keys(self, condition: str, *values: object) -> list[int]:
        return [key for (key,) in self.read(f"SELECT key FROM plays WHERE {condition}", *values)]  # noqa: S608 - ours

    def _rows(self, condition: str, *values: object) -> list[OutboxPlay]:
        """Return the plays that a query finds; invalid ones are deleted."""
        found = self.read(f"{_SELECT} {condition}", *values)
        plays = [(key, read_play(*columns)) for key, *columns in found]
        self._discard("DELETE FROM plays WHERE key = ?", [key for key, play in plays if play is None])
        return [OutboxPlay(key, play) for key, play in plays if play is not None]

    def _discard(self, delete: str, seconds: Sequence[int]) -> None:
        for second in seconds:
            log.error(f"deleting an invalid entry from {self._path}: {to_iso(second * 1000)}")
            self._execute(delete, [(second,)])

    def _execute(self, change: str, rows: Sequence[Row], *, is_urgent: bool = True) -> None:
        self.write(lambda database: database.executemany(change, rows), is_urgent=is_urgent)

    def merge(self, database: sqlite3.Connection, table: str, row: Row) -> None:
        """Copy a row to a table; of two states of a play, the newer one wins."""
        if table != "plays":
            super().merge(database, table, row)
            return
        started_ms, uri, _, _, ended_ms, closed, *_ = row
        newer = f"SELECT 1 FROM plays WHERE {_THIS_PLAY} AND (closed, ended_ms) > (?, ?)"  # noqa: S608 - ours
        if not database.execute(newer, (started_ms, uri, closed, ended_ms)).fetchone():
            _insert_or_update(database, [row])

    def _evict(self) -> None:
        """Drop the oldest listens, and then the oldest plays, while the outbox is too large."""
        while self.is_full and self.read("SELECT 1 FROM listens LIMIT 1"):
            self._execute(_EVICT_LISTENS, [()])
            self._is_complete = self.on_disk  # what is dropped from memory stays on disk
        query = "SELECT key, safe, started_ms FROM plays ORDER BY safe DESC, started_ms LIMIT ?"
        lost: list[int] = []
        while self.is_full and (going := self.read(query, PLAYS_PER_EVICTION)):
            self._execute("DELETE FROM plays WHERE key = ?", [(key,) for key, _, _ in going])
            self._is_complete = self.on_disk
            lost += [started_ms for _, safe, started_ms in going if not safe]
        if lost:
            since = f"{to_iso(min(lost))} onward" + ("" if self.on_disk else " (unless they are on disk)")
            log.error(f"lost {len(lost)} plays, from {since}: the outbox is full, and Redis is away")


def add_listens(database: sqlite3.Connection, listens: Iterable[Listen]) -> int:
    """Add listens of plays that have none yet, and return how many."""
    return database.executemany("INSERT OR IGNORE INTO listens VALUES (?, ?, ?, ?, ?, ?)", listens).rowcount


def retry_listens(database: sqlite3.Connection) -> tuple[int, int]:
    """Let everything be tried now; return how many listens that is, and how many of them were refused."""
    database.execute("REPLACE INTO notes VALUES (?, 'now')", (RETRY_NOTE,))
    refused = database.execute("UPDATE listens SET refusal = '' WHERE refusal != ''").rowcount
    return database.execute("SELECT count(*) FROM listens WHERE body != ''").fetchone()[0], refused


def read_play(second: int, fields: str, catalog: str) -> Play | None:
    """Return a play as its columns have it; None if they are invalid."""
    return Play.from_hash(second, _read_fields(fields), from_json(dict[str, str | int], catalog) or {})


def _insert_or_update(database: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Update plays, or insert them under the first free keys from their own on."""
    # A play restored after a restart has no catalog fields; keep the known ones.
    update = (
        "UPDATE plays SET ended_ms = ?, closed = ?, safe = CASE safe WHEN 2 THEN 2 ELSE ? END, fields = ?,"  # noqa: S608 - ours
        f" catalogue = coalesce(nullif(?, '{{}}'), catalogue) WHERE {_THIS_PLAY}"
    )
    is_taken = "SELECT 1 FROM plays WHERE key = ?"
    for started_ms, uri, second, first, *values in rows:
        if not database.execute(update, (*values, started_ms, uri)).rowcount:
            key = next_free_second(first, lambda key: bool(database.execute(is_taken, (key,)).fetchone()))
            database.execute(f"INSERT {_INSERT}", (started_ms, uri, second, key, *values))


def _row(key: int, play: Play, safe: int) -> Row:
    """Return the columns of a play."""
    fields, catalog = json.dumps(play.to_hash()), json.dumps(dict(play.item.catalog))
    is_closed = int(play.end_reason is not None)
    return (*identity(play), play.second, key, play.ended_ms, is_closed, safe, fields, catalog)


def _read_fields(text: str) -> dict[str, str]:
    return {name: str(value) for name, value in (from_json(dict[str, object], text) or {}).items()}


def _anonymized(play: Play) -> Play:
    """Return a play without names."""
    fields = {name: play.fields[name] for name in ANONYMOUS_FIELDS if name in play.fields}
    catalog = {"isrc": play.item.catalog.get("isrc", "")}  # an empty catalog would not replace the known one
    return replace(play, fields=fields, item=replace(play.item, catalog=catalog))


def log_trouble(where: str, expected: str, found: str | None) -> str:
    """Return why Redis lacks the log with the `expected` ID ("" if new), and what to do; "" if it has it."""
    if expected in (found or "").split() or (not expected and found != ""):
        return ""
    if found:
        return (
            f"Redis at {where} has the log of another logger: correct REDIS_URL, or set REDIS_PREFIX;"
            " `spotify-logger move --accept` joins that log"
        )
    return (
        f"Redis at {where} lacks the log that was kept so far: it is another server, or was emptied."
        " `spotify-logger move` brings the log here, `spotify-logger restore` brings back its second copy,"
        " and `spotify-logger move --accept` goes on without it"
    )


def known_log(folder: Path) -> str:
    """Return the ID of the log that a state folder belongs to; "" if it is new, or cannot be read."""
    return look_up(folder / OUTBOX_FILE, f"SELECT text FROM notes WHERE name = '{LOG_ID_NOTE}'") or ""  # noqa: S608 - ours


def look_up(outbox: Path, query: str) -> str | None:
    """Return the first value that a query finds in an outbox; None if there is none, or it cannot be read."""
    address = f"{outbox.absolute().as_uri()}?mode=ro"
    with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True, timeout=1.0)) as database:
        row = database.execute(query).fetchone()
        return None if row is None else str(row[0])
    return None
