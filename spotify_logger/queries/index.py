"""The local index: a copy of the log in an SQLite file, from which questions are answered.

Redis is the truth. The file may be deleted at any time: what is missing, damaged or of another schema is read
from Redis again, and where no file can be written, the index is kept in memory.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_logger.queries.index_schema import SCHEMA, SCHEMA_VERSION
from spotify_logger.queries.index_sync import IndexSync

if TYPE_CHECKING:
    from spotify_logger.queries.index_sync import Progress
    from spotify_logger.storage.bulk import Archive

BUSY_TIMEOUT = 60.0  # seconds to wait for another process that synchronizes the same index
CACHE_KIB = 8 * 1024  # of pages kept in memory


def cache_folder() -> Path:
    """Return the folder for indexes: systemd's, or that of the XDG Base Directory Specification."""
    given = os.environ.get("CACHE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "spotify-logger"


def index_path(store: Archive) -> Path:
    """Return the path of the index of a log: its name is made of server, prefix and listener."""
    log = f"{store.where} {store.key('')}"
    return cache_folder() / f"{hashlib.sha256(log.encode()).hexdigest()[:16]}.sqlite"


class Index:
    """The index of one log, for one thread. `path` is None while it is kept in memory."""

    def __init__(self, store: Archive, progress: Progress | None = None) -> None:
        self._store, self._progress = store, progress
        self.path: Path | None = None
        with suppress(OSError, RuntimeError):  # no home, or one without permission
            path = index_path(store)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path = path
        self._database: sqlite3.Connection | None = None

    def sync(self) -> sqlite3.Connection:
        """Bring the index up to date with Redis, and return a connection to it; may raise StoreError."""
        while True:
            try:
                database = self._database or self._open()
                IndexSync(database, self._store, self._progress).run()
            except sqlite3.Error as error:
                self.close()
                self._give_up_file(error)
            else:
                return database

    def close(self) -> None:
        """Close the connection."""
        if self._database is not None:
            self._database.close()
        self._database = None

    def _open(self) -> sqlite3.Connection:
        if self.path is not None and _schema_of(self.path) not in (0, SCHEMA_VERSION):
            _delete(self.path)
        self._database = connect(self.path)
        self._database.executescript(SCHEMA)
        return self._database

    def _give_up_file(self, error: sqlite3.Error) -> None:
        """Delete a damaged file; go on in memory if the file cannot be written. Raise the error of a bug."""
        if self.path is None:
            raise error
        is_damaged = not isinstance(error, sqlite3.OperationalError)
        if not is_damaged or not _delete(self.path):
            self.path = None


def connect(path: Path | None) -> sqlite3.Connection:
    """Return a connection to an index, or to a new one in memory."""
    where = ":memory:" if path is None else str(path)
    database = sqlite3.connect(where, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        if path is not None:
            path.chmod(0o600)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = OFF")  # it can be made anew
        database.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    except BaseException:
        database.close()
        raise
    return database


def _schema_of(path: Path) -> int:
    """Return the schema version of a file; 0 if it does not exist."""
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("PRAGMA user_version").fetchone()[0])


def _delete(path: Path) -> bool:
    """Delete an index, and return whether that worked."""
    try:
        for ending in ("", "-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
    except OSError:
        return False
    return True
