"""Listens of closed plays on their way to their receivers, in the file of the outbox.

The command adds to them, too. When a listen was sent, its row stays without the JSON: no other state of its
play is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from spotify_logger.storage.sqlite_file import Row, SqliteFile

RETRY_NOTE = "forward_retry"  # changes when everything is to be tried again now
SCHEMA = """
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
EVICT = """
DELETE FROM listens WHERE (target, started_ms, uri) IN
    (SELECT target, started_ms, uri FROM listens ORDER BY body != '', second LIMIT 1000)
"""  # the oldest ones, beginning with those that were sent
_UNSENT = "FROM listens WHERE target = ? AND body != '' AND refusal = ''"
_REFUSED = "FROM listens WHERE target = ? AND refusal != ''"
_UPDATE = "UPDATE listens SET body = ?, refusal = ? WHERE target = ? AND started_ms = ? AND uri = ?"


class Listen(NamedTuple):
    """A listen for one receiver."""

    target: int  # the number of the receiver in the settings
    started_ms: int
    uri: str
    second: int  # in the key of its play
    body: str  # its JSON; "" once it was sent
    refusal: str = ""  # why the receiver does not take it


def add(database: sqlite3.Connection, listens: Iterable[Listen]) -> int:
    """Add listens of plays that have none yet, and return how many."""
    return database.executemany("INSERT OR IGNORE INTO listens VALUES (?, ?, ?, ?, ?, ?)", listens).rowcount


def retry(database: sqlite3.Connection, when: str) -> int:
    """Let everything be tried now, also what was refused, and return how many listens that is."""
    database.execute("REPLACE INTO notes VALUES (?, ?)", (RETRY_NOTE, when))
    return database.execute("UPDATE listens SET refusal = '' WHERE refusal != ''").rowcount


class ListenQueue:
    """The listens in an open outbox."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def unsent(self, target: int, limit: int) -> list[Listen]:
        """Return up to `limit` listens for a receiver, oldest first."""
        rows = self._file.read(f"SELECT * {_UNSENT} ORDER BY second LIMIT ?", target, limit)
        return [Listen(*row) for row in rows]

    def count(self, target: int) -> int:
        """Return the number of listens for a receiver."""
        return int(self._file.read(f"SELECT count(*) {_UNSENT}", target)[0][0])

    def refused(self, target: int) -> tuple[int, Listen | None]:
        """Return the number of listens that a receiver does not take, and the latest one."""
        latest = self._file.read(f"SELECT * {_REFUSED} ORDER BY second DESC LIMIT 1", target)
        count = self._file.read(f"SELECT count(*) {_REFUSED}", target)[0][0]
        return int(count), Listen(*latest[0]) if latest else None

    def mark_sent(self, listens: Iterable[Listen]) -> None:
        """Mark listens as sent; if a power cut takes that back, they are sent once more."""
        self._update([("", "", *listen[:3]) for listen in listens])

    def refuse(self, listen: Listen, why: str) -> None:
        """Put a listen aside."""
        self._update([(listen.body, why, *listen[:3])])

    def _update(self, rows: Sequence[Row]) -> None:
        self._file.write(lambda database: database.executemany(_UPDATE, rows), is_urgent=False)
