"""The log as rows for a spreadsheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.history.export_plays import NUMERIC, as_value, known, plays

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.archive import Archive
    from spotify_logger.sheets import Cell

COLUMNS = (
    *("started_at", "ended_at", "ms_played", "end_reason", "source"),
    *("type", "name", "artists", "album", "duration_ms", "explicit"),
    *("device_name", "device_type", "device_volume", "shuffle_state", "repeat_state"),
    *("context_uri", "uri", "isrc"),
)
"""What a row has beside the second that names the play."""
CATALOGUE = ("name", "artists", "album", "duration_ms", "isrc")
"""What the catalogue may know better: plays that were learned of later may have none of it."""


def rows(archive: Archive, begin: int, end: int | None) -> Iterator[dict[str, Cell]]:
    """The plays that started in a stretch, in the order of time; times are UTC.

    Args:
        archive: The log.
        begin: The first second of the stretch.
        end: The second after its last one; None for all that there is.
    """
    for portion in plays(archive, begin, end, COLUMNS):
        items = known(archive, portion, CATALOGUE)
        for play in portion:
            told = {**items[play.item], **play.fields}
            cells = {name: told.get(name, "") for name in COLUMNS}
            yield {
                "second": play.second,
                **{name: as_value(text) if name in NUMERIC else text for name, text in cells.items()},
            }
