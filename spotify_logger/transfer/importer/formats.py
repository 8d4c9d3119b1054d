"""The formats of rows that can be imported: how each is recognized, and what reads it."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.matching_exports import SourceKind
from spotify_logger.transfer.importer import export_rows as rows
from spotify_logger.transfer.importer.export_rows import SkippedRow, SkipReason, read_listening
from spotify_logger.transfer.importer.json_rows import is_damaged
from spotify_logger.transfer.importer.other_loggers import KOITO, LAST_FM, LISTENBRAINZ, MALOJA, read_listen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spotify_logger.transfer.importer.export_rows import ParsedRow


class Format(NamedTuple):
    """A format of rows.

    Attributes:
        service: Whose it is.
        fields: Those that every row of it has.
        read: Parses a row, given the time in milliseconds since the epoch.
    """

    service: str
    fields: frozenset[str]
    read: Callable[[Mapping[str, object], int], ParsedRow]


FORMATS = (
    Format("Spotify", frozenset({"ts", "ms_played"}), partial(read_listening, SourceKind.EXTENDED)),
    Format("Spotify", frozenset({"endTime", "msPlayed"}), partial(read_listening, SourceKind.ACCOUNT)),
    Format("spotify-logger", frozenset({"kind", "fields"}), rows.read_record),
    Format("ListenBrainz", frozenset({"listened_at", "track_metadata"}), partial(read_listen, LISTENBRAINZ)),
    Format("Koito", frozenset({"listened_at", "track"}), partial(read_listen, KOITO)),
    Format("Maloja", frozenset({"time", "track"}), partial(read_listen, MALOJA)),
    *(
        Format("Last.fm", frozenset({"artist", moment, title}), partial(read_listen, LAST_FM))
        for moment, title in product(("uts", "date", "timestamp", "@attr"), ("track", "name", "title"))
    ),
)


def format_of(row: object) -> Format | None:
    """Return the format of a row, decoded from JSON or CSV; None if it is not a known one."""
    if isinstance(row, dict):
        for known in FORMATS:
            if known.fields <= row.keys():
                return known
    return None


def read_row(row: object, now_ms: int, *, private: bool = False) -> ParsedRow:
    """Parse a row; private sessions are skipped unless `private` is set."""
    if isinstance(row, str) and is_damaged(row):
        return rows.malformed("not UTF-8, perhaps Latin-1: convert the file to UTF-8")
    known = format_of(row)
    if known is None or not isinstance(row, dict):
        return rows.malformed("not a row of a known format")
    if rows.flag(row.get("incognito_mode")) and not private:
        return SkippedRow(SkipReason.PRIVATE)
    return known.read(row, now_ms)
