"""What rows link to besides their items."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.catalog import CatalogEntry, artists_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spotify_logger.core.catalog import Artist
    from spotify_logger.storage.bulk import Archive
    from spotify_logger.web.covers import Covers


class ItemLinks(NamedTuple):
    """What items link to, by their keys in the catalog."""

    covers: Mapping[str, str]  # URLs
    albums: Mapping[str, str]  # the queries of their pages; album names are not unique
    artists: Mapping[str, Sequence[Artist]]


def item_links(store: Archive, covers: Covers, keys: Iterable[str]) -> ItemLinks:
    """Return what items link to, by their keys."""
    keys = list(dict.fromkeys(keys))
    entries = {key: CatalogEntry._make(entry) for key, entry in store.catalog(keys, CatalogEntry._fields)}
    albums = {
        key: f"{'show' if key.startswith('episode:') else 'album'}:{entry.album_id}"
        for key, entry in entries.items()
        if entry.album_id
    }
    artists = {key: artists_of(entry) for key, entry in entries.items()}
    return ItemLinks(covers.urls(store, keys), albums, artists)
