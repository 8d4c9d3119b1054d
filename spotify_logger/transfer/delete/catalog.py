"""Items taken out of the catalogue that no play needs any more."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from spotify_logger.core.batched import batched
from spotify_logger.storage.bulk import ONE_DAY

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from spotify_logger.storage.bulk import Archive

ITEMS_PER_BATCH = 200
"""Items that are taken out in one go."""


def remove_items(archive: Archive, keys: Iterable[str], now: float, excluded: Container[int] = ()) -> int:
    """Take items out of the catalogue.

    One that is played just now is put back: the logger may have begun a play of it meanwhile.

    Args:
        archive: The log.
        keys: Theirs. What lies there and is none of ours stays.
        now: Seconds since the epoch.
        excluded: Seconds of plays that do not count.

    Returns:
        How many were taken out.
    """
    removed = 0
    for portion in batched(sorted(keys), ITEMS_PER_BATCH):
        items = catalog_hashes(archive, portion)
        archive.send([("DEL", archive.key(key)) for key in items])
        back = _played_since(archive, int(now) - ONE_DAY, excluded) & items.keys()
        archive.write(
            [("HSET", archive.key(key), *chain.from_iterable(items[key].items())) for key in sorted(back)]
        )
        removed += len(items) - len(back)
    return removed


def catalog_hashes(archive: Archive, keys: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """What the catalogue has under keys, but not what somebody else keeps there."""
    hashes = zip(keys, archive.hashes(keys), strict=True)
    return {key: fields for key, fields in hashes if "uri" in fields}


def _played_since(archive: Archive, second: int, excluded: Container[int]) -> set[str]:
    return {
        item
        for rows in archive.rows(second)
        for each, item in zip(rows.seconds, rows.items, strict=True)
        if each not in excluded
    }
