"""Collect the plays of all files in a temporary SQLite table, and yield them in chronological order."""

from __future__ import annotations

import pickle
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.transfer.importer.export_rows import ImportedPlay, SkippedRow, read_row
from spotify_logger.transfer.importer.json_rows import UnreadableFile, read_rows
from spotify_logger.transfer.importer.own_records import GapRecord, ItemRecord, read_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.transfer.importer.files import SourceFile
    from spotify_logger.transfer.importer.report import ImportSummary
    from spotify_logger.transfer.importer.writer import PlayWriter

ROWS_PER_BATCH = 1000
"""Rows after which the progress is reported, and records that are not plays are written."""
_SCHEMA = """
    PRAGMA journal_mode = OFF;
    CREATE TABLE plays (started_ms INTEGER NOT NULL, play BLOB NOT NULL);
    CREATE INDEX plays_by_start ON plays (started_ms);
"""


@contextmanager
def temporary_table() -> Iterator[sqlite3.Connection]:
    """Open an empty table in a file without a name: SQLite deletes it at once, and its disk space at the end.

    Raises:
        SpotifyLoggerError: The disk is full, for example.
    """
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as database:
            database.executescript(_SCHEMA)
            yield database
    except sqlite3.Error as error:
        raise SpotifyLoggerError(
            f"cannot sort the rows in a temporary file: {error} (TMPDIR names another folder for it)"
        ) from None


class RowTable:
    """The plays in the rows of files.

    Args:
        database: The table for them.
        now_ms: Now, in milliseconds since the epoch, UTC.
        summary: Counts the rows, those that are skipped, and other records.
        writer: Writes the records that are not plays.
        private: Whether to include private sessions.

    Attributes:
        plays: The number of plays in the table.
    """

    def __init__(
        self,
        database: sqlite3.Connection,
        now_ms: int,
        summary: ImportSummary,
        writer: PlayWriter,
        *,
        private: bool = False,
    ) -> None:
        self._database = database
        self._now_ms = now_ms
        self._private = private
        self._summary = summary
        self._writer = writer
        self._items: list[ItemRecord] = []
        self._gaps: list[GapRecord] = []
        self.plays = 0

    def add(self, source: SourceFile) -> Iterator[int]:
        """Add the rows of a file.

        Yields:
            The number of bytes read so far.
        """
        number = 0
        try:
            with source.open() as text:
                for number, row in enumerate(read_rows(text, source.size), 1):
                    self._add(row, source.name, number)
                    if number % ROWS_PER_BATCH == 0:
                        self._flush()
                        yield text.buffer.tell()
        except UnreadableFile as error:
            self._summary.broken.append((source.name, number + 1, str(error)))
        self._flush()

    def sorted_plays(self) -> Iterator[ImportedPlay]:
        """Yield the plays by start, and those with the same start in the order of their rows."""
        for (play,) in self._database.execute("SELECT play FROM plays ORDER BY started_ms, rowid"):
            yield pickle.loads(play)  # noqa: S301 - from `_add`; nobody else can open the file

    def _add(self, row: object, name: str, number: int) -> None:
        if isinstance(row, dict) and "kind" in row:
            record = read_record(row, self._now_ms)
        else:
            record = read_row(row, self._now_ms, private=self._private)
        match record:
            case ItemRecord():
                self._items.append(record)
            case GapRecord():
                self._gaps.append(record)
            case SkippedRow():
                self._summary.rows += 1
                self._summary.skip(record, name, number)
            case ImportedPlay():
                self._summary.rows += 1
                values = (record.play.started_ms, pickle.dumps(record))
                self._database.execute("INSERT INTO plays VALUES (?, ?)", values)
                self.plays += 1

    def _flush(self) -> None:
        if self._items or self._gaps:
            self._summary.items.update(self._writer.write_items(self._items))
            self._summary.gaps.update(self._writer.write_gaps(self._gaps))
            self._items, self._gaps = [], []
