"""What rows show and link to besides their items: covers or tiles, artists and albums."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from spotify_logger.core.catalog import CatalogEntry, artists_of
from spotify_logger.core.player_state import catalog_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spotify_logger.core.catalog import Artist
    from spotify_logger.storage.bulk import Archive

# The prefix of an image's ID gives its size. Spotify has three of each album; the catalog stores the one of
# 640 pixels, which every API response lists. Other URLs are used unchanged.
SPOTIFY_COVER = re.compile(r"https://i\.scdn\.co/image/[0-9a-zA-Z]{1,100}")
DEMO_COVER = re.compile(r"/covers/[0-9a-zA-Z]{1,100}\.svg")  # the demo's page draws them
LARGE, MIDDLE, SMALL = "ab67616d0000b273", "ab67616d00001e02", "ab67616d00004851"
TILE_COLORS = 8


class ItemLinks(NamedTuple):
    """What items link to, by their keys in the catalog."""

    covers: Mapping[str, str]  # URLs of images of 300 pixels
    albums: Mapping[str, str]  # the queries of their pages; album names are not unique
    artists: Mapping[str, Sequence[Artist]]


def item_links(store: Archive, keys: Iterable[str], *, covers: bool) -> ItemLinks:
    """Return what items link to, by their keys; `covers` allows those on Spotify's host."""
    form = SPOTIFY_COVER if covers else DEMO_COVER
    images, albums, artists = {}, {}, {}
    for key, (cover, *about) in store.catalog(list(dict.fromkeys(keys)), ["cover", *CatalogEntry._fields]):
        entry = CatalogEntry._make(about)
        artists[key] = artists_of(entry)
        if entry.album_id:
            albums[key] = f"{'show' if key.startswith('episode:') else 'album'}:{entry.album_id}"
        if form.fullmatch(cover):
            images[key] = cover.replace(LARGE, MIDDLE)
    return ItemLinks(images, albums, artists)


def small_cover(cover: str) -> str:
    """Return the URL of the 64-pixel version of a 300-pixel cover."""
    return cover.replace(MIDDLE, SMALL)


def tile_color(name: str) -> int:
    """Return the number of the tile color for `name`, always the same for one name."""
    return hashlib.blake2b(name.encode(errors="replace"), digest_size=1).digest()[0] % TILE_COLORS


def initial(name: str) -> str:
    """Return the letter on the tile: the first letter or digit of `name`; "?" if it has none."""
    return next((character for character in name if character.isalnum()), "?").upper()[:1]


def catalog_key_of_play(play: Mapping[str, Any]) -> str:
    """Return the catalog key of the item of a play."""
    return catalog_key(str(play.get("type", "track")), str(play.get("id", "")), str(play.get("uri", "")))
