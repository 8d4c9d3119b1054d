"""Remove catalog items that no play refers to any more."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from spotify_logger.core.batched import batched
from spotify_logger.core.redis_keys import ONE_DAY

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from spotify_logger.storage.bulk import Archive

ITEMS_PER_BATCH = 200
"""Items deleted per pipeline."""


def remove_items(archive: Archive, keys: Iterable[str], now: float, excluded: Container[int] = ()) -> int:
    """Delete items from the catalog.

    An item whose play began meanwhile is restored: the logger may just have started it.

    Args:
        archive: The log.
        keys: Their keys. A key that holds no catalog hash is left alone.
        now: Seconds since the epoch.
        excluded: Seconds of plays that do not count as a use.

    Returns:
        The number of items deleted.
    """
    removed = 0
    for batch in batched(sorted(keys), ITEMS_PER_BATCH):
        items = catalog_hashes(archive, batch)
        archive.send([("DEL", archive.key(key)) for key in items])
        back = _played_since(archive, int(now) - ONE_DAY, excluded) & items.keys()
        archive.write(
            [("HSET", archive.key(key), *chain.from_iterable(items[key].items())) for key in sorted(back)]
        )
        removed += len(items) - len(back)
    return removed


def catalog_hashes(archive: Archive, keys: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """Return the catalog hashes at `keys`, leaving out keys that hold anything else."""
    hashes = zip(keys, archive.hashes(keys), strict=True)
    return {key: fields for key, fields in hashes if "uri" in fields}


def _played_since(archive: Archive, second: int, excluded: Container[int]) -> set[str]:
    return {
        item
        for rows in archive.rows(second)
        for each, item in zip(rows.seconds, rows.items, strict=True)
        if each not in excluded
    }
