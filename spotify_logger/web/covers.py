"""Cover images, and the tiles shown where there is none."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from spotify_logger.core.player_state import catalog_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from spotify_logger.storage.bulk import Archive

# The prefix of an image's ID gives its size. Spotify has three of each album; the catalog stores the one of
# 640 pixels, as every API response lists it. Other URLs are used unchanged.
_COVER = re.compile(r"https://i\.scdn\.co/image/[0-9a-zA-Z]{1,100}")
_LARGE, _MIDDLE, _SMALL = "ab67616d0000b273", "ab67616d00001e02", "ab67616d00004851"
TILE_COLORS = 8
"""Number of tile colors."""


class Covers:
    """Looks up covers in the catalog.

    Args:
        enabled: Whether to use images from Spotify's host.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled

    def urls(self, store: Archive, keys: Iterable[str]) -> dict[str, str]:
        """Return the URLs of 300-pixel covers by catalog key, for the items that have one."""
        if not self.enabled:
            return {}
        found = store.catalog(list(dict.fromkeys(keys)), ["cover"])
        return {key: with_size(cover, _MIDDLE) for key, (cover,) in found if _COVER.fullmatch(cover)}

    def url_of_play(self, store: Archive, play: Mapping[str, Any]) -> str:
        """Return the URL of the cover of a play; "" if there is none."""
        key = catalog_key_of_play(play)
        return self.urls(store, [key]).get(key, "")


def tile_color(name: str) -> int:
    """Return the number of the tile color for `name`, always the same for one name."""
    return hashlib.blake2b(name.encode(errors="replace"), digest_size=1).digest()[0] % TILE_COLORS


def initial(name: str) -> str:
    """Return the letter on the tile: the first letter or digit of `name`; "?" if it has none."""
    return next((character for character in name if character.isalnum()), "?").upper()[:1]


def small_cover(cover: str) -> str:
    """Return the URL of the 64-pixel version of a cover."""
    return with_size(cover, _SMALL)


def with_size(cover: str, size: str) -> str:
    """Return the URL of a cover in another size, given by its prefix."""
    return cover.replace(_LARGE, size).replace(_MIDDLE, size)


def catalog_key_of_play(play: Mapping[str, Any]) -> str:
    """Return the catalog key of the item of a play."""
    return catalog_key(str(play.get("type", "track")), str(play.get("id", "")), str(play.get("uri", "")))
