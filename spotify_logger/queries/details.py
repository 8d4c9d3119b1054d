"""Read what the index of plays lacks from their hashes: devices, contexts and sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.queries.tallies import bounds

if TYPE_CHECKING:
    from spotify_logger.core.periods import Period
    from spotify_logger.queries.log import Log

FIELDS = ("source", "device_name", "context_uri")


def read_details(log: Log, period: Period) -> None:
    """Read the details of all plays of a period that are not in the index yet."""
    query = """SELECT second FROM plays
        WHERE second >= ? AND second < ? AND second NOT IN (SELECT second FROM details)"""
    missing = log.rows(query, *bounds(period))
    found = log.store.fields((second for (second,) in missing), FIELDS)
    with log.database:
        log.database.execute("BEGIN IMMEDIATE")
        rows = ((second, *values) for second, values in found)
        log.database.executemany("INSERT OR IGNORE INTO details VALUES (?, ?, ?, ?)", rows)
