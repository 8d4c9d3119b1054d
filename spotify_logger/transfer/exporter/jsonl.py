"""Export the log as JSON records that `import` restores without loss."""

from __future__ import annotations

from heapq import merge
from operator import itemgetter
from typing import TYPE_CHECKING

from spotify_logger.core.redis_keys import gap_key
from spotify_logger.transfer.exporter.plays import as_values, read_plays

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from spotify_logger.storage.bulk import Archive
    from spotify_logger.transfer.exporter.plays import StoredPlay

JsonObject = dict[str, object]
"""A JSON object."""


def records(archive: Archive, begin: int, end: int | None) -> Iterator[JsonObject]:
    """Yield the plays and gaps that began in a period, in order; each item comes before its first play.

    Only the keys of the items already written are kept in memory.

    Args:
        archive: The log.
        begin: The first second of the period.
        end: The second after the last one; None for no limit.
    """
    both = merge(_plays(archive, begin, end), _gaps(archive, begin, end), key=itemgetter(0))
    return (record for _, record in both)


def _plays(archive: Archive, begin: int, end: int | None) -> Iterator[tuple[int, JsonObject]]:
    written: set[str] = set()
    for batch in read_plays(archive, begin, end):
        items = _items(archive, batch, written)
        for play in batch:
            if (fields := items.pop(play.item, None)) is not None:
                yield play.second, {"kind": "item", "key": play.item, "fields": fields}
            yield play.second, {"kind": "play", "second": play.second, "fields": as_values(play.fields)}


def _items(archive: Archive, plays: list[StoredPlay], written: set[str]) -> dict[str, Mapping[str, object]]:
    """Return the catalog hashes of items not written yet, and mark them as written."""
    keys = list(dict.fromkeys(play.item for play in plays if play.item not in written))
    written.update(keys)
    hashes = zip(keys, archive.hashes(keys), strict=True)
    return {key: as_values(fields) for key, fields in hashes if fields}


def _gaps(archive: Archive, begin: int, end: int | None) -> Iterator[tuple[int, JsonObject]]:
    seconds = [gap[0] for gap in archive.gaps() if begin <= gap[0] and (end is None or gap[0] < end)]
    for second, fields in zip(seconds, archive.hashes(map(gap_key, seconds)), strict=True):
        if fields:
            yield second, {"kind": "gap", "second": second, "fields": fields}
