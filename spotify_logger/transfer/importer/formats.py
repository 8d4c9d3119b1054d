"""The formats of rows that can be imported: how each is recognized, and what reads it."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.matching_exports import SourceKind
from spotify_logger.transfer.importer.export_rows import (
    SkippedRow,
    SkipReason,
    flag,
    malformed,
    read_listening,
    read_record,
)
from spotify_logger.transfer.importer.json_rows import is_damaged
from spotify_logger.transfer.importer.other_loggers import (
    read_koito,
    read_last_fm,
    read_listenbrainz,
    read_maloja,
)

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
    Format("Spotify", frozenset({"ts"}), partial(read_listening, SourceKind.EXTENDED)),
    Format("Spotify", frozenset({"endTime"}), partial(read_listening, SourceKind.ACCOUNT)),
    Format("spotify-logger", frozenset({"kind"}), read_record),
    Format("ListenBrainz", frozenset({"listened_at", "track_metadata"}), read_listenbrainz),
    Format("Koito", frozenset({"listened_at", "track"}), read_koito),
    Format("Maloja", frozenset({"time", "track"}), read_maloja),
    *(
        Format("Last.fm", frozenset({"artist", moment, title}), read_last_fm)
        for moment, title in product(("uts", "date", "timestamp", "@attr"), ("track", "name", "title"))
    ),
)


def format_of(row: object) -> Format | None:
    """Return the format of a row, decoded from JSON or CSV; None if it is not a known one."""
    fields = row.keys() if isinstance(row, dict) else ()
    return next((known for known in FORMATS if known.fields <= fields), None) if fields else None


def read_row(row: object, now_ms: int, *, private: bool = False) -> ParsedRow:
    """Parse a row; private sessions are skipped unless `private` is set."""
    if not isinstance(row, dict):
        is_text = isinstance(row, str) and is_damaged(row)
        return malformed(
            "not UTF-8, perhaps Latin-1: convert the file to UTF-8" if is_text else "not a JSON object"
        )
    known = format_of(row)
    if known is None:
        return malformed("has the fields of no known format")
    if flag(row.get("incognito_mode")) and not private:
        return SkippedRow(SkipReason.PRIVATE)
    return known.read(row, now_ms)
