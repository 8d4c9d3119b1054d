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
# 640 pixels, which every API response lists. Other URLs are used unchanged.
_COVER = re.compile(r"https://i\.scdn\.co/image/[0-9a-zA-Z]{1,100}")
_OWN_COVER = re.compile(r"/covers/[0-9a-zA-Z]{1,100}\.svg")  # of the demo, whose page draws them
_LARGE, _MIDDLE, _SMALL = "ab67616d0000b273", "ab67616d00001e02", "ab67616d00004851"
TILE_COLORS = 8


class Covers:
    """Looks up covers in the catalog, those on Spotify's host if they are `enabled`."""

    def __init__(self, *, enabled: bool) -> None:
        self._form = _COVER if enabled else _OWN_COVER

    def urls(self, store: Archive, keys: Iterable[str]) -> dict[str, str]:
        """Return the URLs of 300-pixel covers by catalog key, for the items that have one."""
        found = store.catalog(list(dict.fromkeys(keys)), ["cover"])
        return {key: cover.replace(_LARGE, _MIDDLE) for key, (cover,) in found if self._form.fullmatch(cover)}


def small_cover(cover: str) -> str:
    """Return the URL of the 64-pixel version of a 300-pixel cover."""
    return cover.replace(_MIDDLE, _SMALL)


def tile_color(name: str) -> int:
    """Return the number of the tile color for `name`, always the same for one name."""
    return hashlib.blake2b(name.encode(errors="replace"), digest_size=1).digest()[0] % TILE_COLORS


def initial(name: str) -> str:
    """Return the letter on the tile: the first letter or digit of `name`; "?" if it has none."""
    return next((character for character in name if character.isalnum()), "?").upper()[:1]


def catalog_key_of_play(play: Mapping[str, Any]) -> str:
    """Return the catalog key of the item of a play."""
    return catalog_key(str(play.get("type", "track")), str(play.get("id", "")), str(play.get("uri", "")))
