"""Listens of closed plays on their way to their receivers, in the file of the outbox.

The command adds to them, too. The row of a sent one stays, without its JSON: no other state of it is sent.
"""

import sqlite3
from collections.abc import Callable, Container, Iterable
from typing import ClassVar, NamedTuple

from spotify_logger.core.matching import identity
from spotify_logger.core.play import Play
from spotify_logger.storage.outbox import SELECT, THIS_PLAY, Outbox, OutboxPlay, read_play

RETRY_NOTE = "forward_retry"  # changes when everything is to be tried again now
_UNSENT = "FROM listens WHERE target = ? AND body != '' AND refusal = ''"
_UPDATE = "UPDATE listens SET body = ?, refusal = ? WHERE target = ? AND started_ms = ? AND uri = ?"
_EVICT = """
DELETE FROM listens WHERE (target, started_ms, uri) IN
    (SELECT target, started_ms, uri FROM listens ORDER BY body != '', second LIMIT 1000)
"""  # the oldest ones, beginning with those that were sent


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


def retry(database: sqlite3.Connection, when: str) -> tuple[int, int]:
    """Let everything be tried now; return how many listens that is, and how many of them were refused."""
    database.execute("REPLACE INTO notes VALUES (?, ?)", (RETRY_NOTE, when))
    refused = database.execute("UPDATE listens SET refusal = '' WHERE refusal != ''").rowcount
    return database.execute("SELECT count(*) FROM listens WHERE body != ''").fetchone()[0], refused


class ForwardingOutbox(Outbox):
    """The outbox of a listener whose plays are forwarded."""

    SCHEMA = f"""
    {Outbox.SCHEMA}
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
    TABLES: ClassVar[tuple[str, ...]] = (*Outbox.TABLES, "listens")
    listens_of: Callable[[OutboxPlay], Iterable[Listen]]  # set by the forwarder

    def unsent(self, target: int, limit: int) -> list[Listen]:
        """Return up to `limit` listens for a receiver, oldest first."""
        rows = self.read(f"SELECT * {_UNSENT} ORDER BY second LIMIT ?", target, limit)
        return [Listen(*row) for row in rows]

    def count(self, target: int) -> int:
        """Return the number of listens for a receiver."""
        return int(self.read(f"SELECT count(*) {_UNSENT}", target)[0][0])

    def refused(self, target: int) -> tuple[int, Listen | None]:
        """Return the number of listens that a receiver does not take, and the latest one."""
        query = "SELECT count(*) OVER (), * FROM listens WHERE target = ? AND refusal != ''"
        rows = self.read(f"{query} ORDER BY second DESC LIMIT 1", target)
        return (rows[0][0], Listen(*rows[0][1:])) if rows else (0, None)

    def update(self, listens: Iterable[Listen]) -> None:
        """Keep new states of listens; if a power cut takes them back, the listens are sent once more."""
        rows = [(body, refusal, *key) for *key, _, body, refusal in listens]
        self._execute(_UPDATE, rows, is_urgent=False)

    def rekey(self, play: Play, key: int) -> None:
        """Change the key of a play and of its listens."""
        super().rekey(play, key)
        self._execute(f"UPDATE listens SET second = ? WHERE {THIS_PLAY}", [(key, *identity(play))])  # noqa: S608 - ours

    def mark_deleted(self, keys: Container[int]) -> None:
        """Mark plays as deleted, and drop what waits to be forwarded of them."""
        super().mark_deleted(keys)
        unsent = self.read("SELECT DISTINCT second FROM listens WHERE body != ''")
        if gone := [row for row in unsent if row[0] in keys]:
            self._execute("DELETE FROM listens WHERE body != '' AND second = ?", gone)

    def drop_listens(self, play: Play) -> None:
        """Drop what waits to be forwarded of a play."""
        self._execute(f"DELETE FROM listens WHERE {THIS_PLAY} AND body != ''", [identity(play)])  # noqa: S608 - ours

    def _saved(self, database: sqlite3.Connection, plays: Iterable[Play]) -> None:
        """Add listens of the plays that are closed."""
        query = f"{SELECT} {THIS_PLAY} AND closed = 1 AND safe < 2"
        for play in plays:
            for key, *columns in database.execute(query, identity(play)):
                if (saved := read_play(*columns)) is not None:
                    add(database, self.listens_of(OutboxPlay(key, saved)))

    def _evict(self) -> None:
        """Drop the oldest listens, and then the oldest plays, while the outbox is too large."""
        while self.is_full and self.read("SELECT 1 FROM listens LIMIT 1"):
            self._execute(_EVICT, [()])
            self._is_complete = self.on_disk
        super()._evict()
