"""The local index: a copy of the log in an SQLite file, from which questions are answered.

Redis is the truth. The file may be deleted at any time: what is missing, damaged or of another schema is read
from Redis again, and where no file can be written, the index is kept in memory.
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from spotify_logger.config.sources import xdg_folder
from spotify_logger.core.catalog import CatalogEntry
from spotify_logger.queries.index_sync import PLAYS_OF_ITEM, IndexSync
from spotify_logger.queries.sql import KINDS, RANKING, TALLY, Log
from spotify_logger.storage.bulk import Archive, Progress

T = TypeVar("T")

BUSY_TIMEOUT = 60.0  # seconds to wait for another process that synchronizes the same index
SCHEMA_VERSION = 10  # an index of another version is rebuilt
TEXTS = ", ".join(f"{name} TEXT NOT NULL DEFAULT ''" for name in CatalogEntry._fields)
OF_A_KIND = """
CREATE TABLE IF NOT EXISTS items_of_{0} ( -- as `sql.groups` returns them
    item INTEGER, grouped TEXT, PRIMARY KEY (item, grouped)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS groups_of_{0} ON items_of_{0} (grouped);
CREATE TABLE IF NOT EXISTS {0}_of_tally {1}; -- as `sql.make_ranking` makes it"""
SCHEMA = f"""
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF; -- it can be made anew
PRAGMA cache_size = -4096; -- KiB
CREATE TABLE IF NOT EXISTS days (
    day TEXT PRIMARY KEY, -- UTC
    revision TEXT NOT NULL -- the one in Redis when the day was read; "" if it had none
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS logged ( -- all plays
    second INTEGER PRIMARY KEY, -- that names the play: when it started
    item INTEGER NOT NULL,
    ms_played INTEGER NOT NULL,
    ending INTEGER NOT NULL, -- index into `ENDINGS`
    is_hidden INTEGER NOT NULL DEFAULT FALSE
);
{PLAYS_OF_ITEM};
CREATE INDEX IF NOT EXISTS hidden_plays ON logged (item) WHERE is_hidden;
CREATE VIEW IF NOT EXISTS plays AS -- those that statistics are made of
    SELECT second, item, ms_played, ending FROM logged WHERE NOT is_hidden;
CREATE TABLE IF NOT EXISTS hidden (key TEXT PRIMARY KEY) WITHOUT ROWID; -- of a track, an artist or a show
CREATE TABLE IF NOT EXISTS details ( -- what the day's index lacks, of the plays for which it has been asked
    second INTEGER PRIMARY KEY, source TEXT NOT NULL, device TEXT NOT NULL, context TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS hours ( -- the plays of each UTC hour, where half a minute counts
    hour INTEGER PRIMARY KEY, plays INTEGER NOT NULL, all_plays INTEGER NOT NULL, ms_played INTEGER NOT NULL,
    skips INTEGER NOT NULL, open INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS sessions (begin INTEGER PRIMARY KEY, end_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS items (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE, -- in the catalog
    is_episode INTEGER NOT NULL, -- not music
    {TEXTS}, -- for episodes, the album is the show
    duration_ms INTEGER, -- NULL if unknown
    title TEXT NOT NULL DEFAULT '', -- the name, folded
    words TEXT NOT NULL DEFAULT (char(10, 10)), -- of name, artists and album, a line each
    recording TEXT NOT NULL, -- what all items of a recording share
    first_artist INTEGER, -- NULL if unknown
    is_doubtful INTEGER NOT NULL DEFAULT 0, -- its artists cannot be told apart yet
    first INTEGER, -- the second of its first play; NULL if all are gone
    last INTEGER -- and of its last one
);
CREATE INDEX IF NOT EXISTS items_of_recording ON items (recording, first);
CREATE INDEX IF NOT EXISTS items_of_title ON items (title, isrc, is_episode);
CREATE INDEX IF NOT EXISTS items_of_album ON items (album_id, first_artist);
CREATE INDEX IF NOT EXISTS episodes ON items (id) WHERE is_episode;
CREATE TABLE IF NOT EXISTS artists (
    id INTEGER PRIMARY KEY,
    spotify_id TEXT NOT NULL, -- "" if unknown
    name TEXT NOT NULL,
    folded TEXT NOT NULL,
    words TEXT NOT NULL, -- as `indexed_words` returns them
    first INTEGER, -- the second of the first play under this name
    last INTEGER, -- and of the last one
    person TEXT NOT NULL, -- what all names of an artist share: the ID, or the folded name without one
    UNIQUE (spotify_id, name)
);
CREATE INDEX IF NOT EXISTS artists_of_person ON artists (person, first);
CREATE INDEX IF NOT EXISTS artists_of_name ON artists (folded);
CREATE TABLE IF NOT EXISTS credits ( -- of music
    item INTEGER NOT NULL, position INTEGER NOT NULL, artist INTEGER NOT NULL, PRIMARY KEY (item, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS credits_of_artist ON credits (artist, item);
{"".join(OF_A_KIND.format(kind, RANKING) for kind in KINDS)}
CREATE TABLE IF NOT EXISTS tally {TALLY}; -- of all time, where half a minute counts
CREATE TABLE IF NOT EXISTS years ( -- as the tally, of each UTC year
    item INTEGER, year INTEGER, plays INTEGER, ms_played INTEGER, PRIMARY KEY (item, year)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gaps (begin INTEGER PRIMARY KEY, end INTEGER NOT NULL, reason TEXT NOT NULL);
PRAGMA user_version = {SCHEMA_VERSION};
"""


for collection in (list, dict, set):  # values for `ONE_OF`
    sqlite3.register_adapter(collection, lambda values: json.dumps([*values]))


def cache_folder() -> Path:
    """Return the folder for indexes: systemd's, or that of the XDG Base Directory Specification."""
    by_systemd = os.environ.get("CACHE_DIRECTORY", "").partition(":")[0]
    return Path(by_systemd or xdg_folder("XDG_CACHE_HOME", "~/.cache", os.environ)).expanduser()


class Index:
    """The index of one log, for one thread. `path` is None while it is kept in memory."""

    def __init__(self, store: Archive, progress: Progress | None = None) -> None:
        self._store, self._progress = store, progress
        self._database: sqlite3.Connection | None = None
        self.path: Path | None = None
        name = hashlib.sha256(f"{store.where} {store.key('')}".encode()).hexdigest()[:16]
        with suppress(OSError, RuntimeError):  # no home, or one without permission
            folder = cache_folder()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path = folder / f"{name}.sqlite"

    def sync(self) -> Log:
        """Bring the index up to date with Redis, and return the log; may raise StoreError."""
        while True:
            try:
                log = Log(self._database or self._open(), self._store)
                IndexSync(log, self._progress).run()
            except sqlite3.Error as error:
                self._give_up_file(error)
            else:
                return log

    def ask(self, query: Callable[[Log], T]) -> T:
        """Return the result of a query, of an index that is up to date, and made anew if it is damaged."""
        try:
            return query(self.sync())
        except sqlite3.DatabaseError as error:
            self._give_up_file(error)
            return query(self.sync())

    def close(self) -> None:
        """Close the connection."""
        if self._database is not None:
            self._database.close()
        self._database = None

    def _open(self) -> sqlite3.Connection:
        self._database = database = sqlite3.connect(
            self.path or ":memory:", timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        if self.path is not None:
            with suppress(OSError):  # it belongs to somebody else
                self.path.chmod(0o600)
        ((version,),) = database.execute("PRAGMA user_version")
        if version not in (0, SCHEMA_VERSION):
            raise sqlite3.DatabaseError(f"schema {version}")
        database.executescript(SCHEMA)
        return database

    def _give_up_file(self, error: sqlite3.Error) -> None:
        """Delete a file that is no index; without a file, go on in memory; raise the error of a bug."""
        self.close()
        path, self.path = self.path, None
        if path is None:
            raise error
        if not isinstance(error, sqlite3.OperationalError):
            with suppress(OSError):
                for ending in ("", "-wal", "-shm"):
                    path.with_name(path.name + ending).unlink(missing_ok=True)
                self.path = path
