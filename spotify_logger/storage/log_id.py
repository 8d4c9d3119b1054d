"""Tells whether a Redis has the log that a state folder belongs to: both know its ID."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from spotify_logger.storage.outbox import LOG_ID_NOTE, OUTBOX_FILE


def log_trouble(where: str, expected: str, found: str | None) -> str:
    """Return why the Redis at `where` does not have the log, and what to do; "" if it has.

    `expected` is the ID in the state folder, "" if it is new; `found` has those in Redis.
    """
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
