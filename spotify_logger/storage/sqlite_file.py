"""An SQLite file that survives power cuts, and goes on in memory while its disk is full or broken."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, ClassVar

from spotify_logger.system import disk, log

Change = Callable[[sqlite3.Connection], object]
Row = tuple[Any, ...]

CHECK_INTERVAL = 25.0  # seconds between two looks at a disk that seems to be well
DISK_RETRY = 60.0  # seconds between attempts to use a failed disk again
PAGE_SIZE = 1024  # minimum bytes that SQLite writes with each change of a row: a quarter of its default
PAGES_IN_LOG = 200  # pages in the write-ahead log before they are copied to the file
_SET_PAGE_SIZE = f"PRAGMA journal_mode = DELETE; PRAGMA page_size = {PAGE_SIZE}; VACUUM"
# From the first change on, the log is overwritten: growing it costs the file system as much again each time.
_PREPARE_LOG = f"""
PRAGMA journal_mode = WAL;
PRAGMA wal_autocheckpoint = {PAGES_IN_LOG};
PRAGMA journal_size_limit = {1024 * 1024};
DROP TABLE IF EXISTS filler;
CREATE TABLE filler AS SELECT zeroblob({int(1.3 * PAGES_IN_LOG * PAGE_SIZE)});
DROP TABLE filler;
PRAGMA wal_checkpoint(RESTART);
"""


class SqliteFile:
    """A database for one process and one thread, in a folder that exists; a subclass names its tables."""

    SCHEMA: ClassVar[str]  # creates what is missing
    TABLES: ClassVar[tuple[str, ...]]

    def __init__(
        self,
        path: Path,
        monotonic: Callable[[], float],
        connect: Callable[[str], sqlite3.Connection] | None = None,  # tests pass one that fails
        disk_retry: float = DISK_RETRY,
    ) -> None:
        self._path, self._monotonic, self._connect = path, monotonic, connect or _connect
        self._disk_retry, self._retry_at = disk_retry, 0.0
        self._is_complete = True  # whether the memory has had all that is on the disk
        self.on_disk = True  # not in memory
        self.trouble = ""  # what is wrong with the disk
        self.changes = 0  # how many so far, so that an unchanged disk is not compared again
        self._compared_at, self._has_lost = 0, False
        self._check_at, self._hidden_trouble = float("-inf"), ""
        try:
            self._database = self._open()
        except sqlite3.Error as error:
            self._fall_back_to_memory(error)

    def close(self) -> None:
        """Save to disk what is only in memory, if possible, and close the file."""
        self._retry_at = float("-inf")
        self._return_to_disk()
        self._database.close()

    def read(self, query: str, *values: object) -> list[Row]:
        """Return the rows that a query finds."""
        try:
            return self._database.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._fall_back_to_memory(error)
            return self._database.execute(query, values).fetchall()

    def write(self, change: Change, *, is_urgent: bool = True) -> None:
        """Apply a change as a whole; if not urgent, it survives a power cut only after the next one."""
        self.changes += 1
        self._return_to_disk()
        try:
            _transact(self._database, change, is_urgent=is_urgent)
        except sqlite3.Error as error:
            self._fall_back_to_memory(error)
            _transact(self._database, change)

    def check_disk(self) -> str:
        """Return what is wrong with the disk although it seems to take all writes; "" if nothing."""
        if self._monotonic() >= self._check_at:
            self._check_at = self._monotonic() + CHECK_INTERVAL
            if self.on_disk and self.changes != self._compared_at:
                write_ahead_log = self._path.with_name(f"{self._path.name}-wal")
                self._compared_at, self._has_lost = self.changes, disk.has_lost(write_ahead_log)
            loses = f"the disk with {self._path.parent} does not keep what is written to it: replace it"
            self._hidden_trouble = disk.trouble(self._path.parent) or (loses if self._has_lost else "")
        return self._hidden_trouble

    def merge(self, database: sqlite3.Connection, table: str, row: Row) -> None:
        """Copy a row to a table, where another one may contradict it."""
        database.execute(f"REPLACE INTO {table} VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 - our own names

    def _open(self, rows: sqlite3.Connection | None = None) -> sqlite3.Connection:
        """Open the file, and copy rows to it."""
        database = self._connect(str(self._path))
        try:
            self._path.chmod(0o600)
            if database.execute("PRAGMA page_size").fetchone() != (PAGE_SIZE,):
                with suppress(sqlite3.OperationalError):  # a full disk: it is tried again at the next start
                    database.executescript(_SET_PAGE_SIZE)
            database.executescript(_PREPARE_LOG)
            self._set_up(database)
            if rows is not None:
                self._copy(rows, database)
        except (sqlite3.Error, OSError) as error:
            database.close()
            raise sqlite3.OperationalError(getattr(error, "strerror", error)) from None
        return database

    def _set_up(self, database: sqlite3.Connection) -> None:
        database.text_factory = lambda data: data.decode(errors="replace")  # tolerate damaged text
        database.execute("PRAGMA cache_size = -512")  # KiB
        database.executescript(self.SCHEMA)

    def _fall_back_to_memory(self, error: sqlite3.Error) -> None:
        """Go on in memory, with everything that can still be read from disk; raise `error` if that failed."""
        if not self.on_disk:
            raise error
        self.on_disk, self._is_complete = False, True
        self._retry_at = self._monotonic() + self._disk_retry
        memory = _connect(":memory:")
        self._set_up(memory)
        try:
            disk = getattr(self, "_database", None) or _connect(f"{self._path.absolute().as_uri()}?mode=ro")
            with closing(disk):
                self._copy(disk, memory)
        except (sqlite3.Error, ValueError):  # a read-only disk lacks the log's index; another schema
            self._is_complete = False
        self._database = memory
        if not self._set_aside(error):
            self.trouble = f"{self._path} cannot be written: {log.sanitize(str(error), 200)}"
            log.error(f"{self.trouble}; continuing in memory, and retrying the disk every minute")

    def _set_aside(self, error: sqlite3.Error) -> bool:
        """Rename a corrupt file; the next write creates a new one."""
        if not any(words in str(error) for words in ("not a database", "malformed", "no such column")):
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

    def _return_to_disk(self) -> None:
        if self.on_disk or self._monotonic() < self._retry_at:
            return
        self._retry_at = self._monotonic() + self._disk_retry
        try:
            disk = self._open(self._database)
        except sqlite3.Error as error:
            self._set_aside(error)
            return
        if self.trouble:
            log.info(f"{self._path} is writable again and has everything")
        self._database.close()
        self._database, self.on_disk, self.trouble = disk, True, ""

    def _copy(self, source: sqlite3.Connection, target: sqlite3.Connection) -> None:
        """Copy all rows that can be read."""

        def copy(target: sqlite3.Connection) -> None:
            for table in self.TABLES:
                if self._is_complete:
                    target.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
                for row in self._salvage(source, table):
                    self.merge(target, table, row)

        _transact(target, copy)

    def _salvage(self, source: sqlite3.Connection, table: str) -> Iterator[Row]:
        """Yield all rows of a table, or those before and after damage."""
        for order in ("ASC", "DESC"):
            with suppress(sqlite3.Error):
                yield from source.execute(f"SELECT * FROM {table} ORDER BY 1 {order}")  # noqa: S608 - our own names
                return
            self._is_complete = False


def _connect(name: str) -> sqlite3.Connection:
    return sqlite3.connect(name, isolation_level=None, timeout=5.0, uri=name.startswith("file:"))


def _transact(database: sqlite3.Connection, change: Change, *, is_urgent: bool = True) -> None:
    database.execute(f"PRAGMA synchronous = {'FULL' if is_urgent else 'NORMAL'}")
    with database:  # rolls everything back after an error
        database.execute("BEGIN IMMEDIATE")
        change(database)
        database.commit()
