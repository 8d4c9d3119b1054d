"""Export the log as rows for a spreadsheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.transfer.exporter.plays import as_values, read_plays_with_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.report.csv_output import CsvValue
    from spotify_logger.storage.bulk import Archive

COLUMNS = (
    *("started_at", "ended_at", "ms_played", "end_reason", "source"),
    *("type", "name", "artists", "album", "duration_ms", "explicit"),
    *("device_name", "device_type", "device_volume", "shuffle_state", "repeat_state"),
    *("context_uri", "uri", "isrc"),
)
"""The columns after `second`."""
CATALOG_FIELDS = ("name", "artists", "album", "duration_ms", "isrc")
"""Fields taken from the catalog where the play lacks them, as backfilled plays may."""


def rows(archive: Archive, begin: int, end: int | None) -> Iterator[dict[str, CsvValue]]:
    """Yield a row per play that started in a period, in chronological order; times are UTC.

    Args:
        archive: The log.
        begin: The first second of the period.
        end: The second after the last one; None for no limit.
    """
    for play, fields in read_plays_with_catalog(archive, begin, end, COLUMNS, CATALOG_FIELDS):
        yield {"second": play.second, **as_values({name: fields.get(name, "") for name in COLUMNS})}
