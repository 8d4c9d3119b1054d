"""Which image belongs to what: Spotify's cover, in the size that is needed, or none."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from spotify_logger.core.player_state import catalog_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from spotify_logger.storage.store import Store

# An address says how large its image is: of the three that Spotify has of an album, the one of 640 pixels is
# in the catalogue. So it is in every answer of the API; another address is taken as it is.
_COVER = re.compile(r"https://i\.scdn\.co/image/[0-9a-zA-Z]{1,100}")
_LARGE, _MIDDLE, _SMALL = "ab67616d0000b273", "ab67616d00001e02", "ab67616d00004851"
TILE_COLORS = 8
"""Colours of tiles."""


class Covers:
    """Looks covers up.

    Args:
        shown: False where no image is wanted from elsewhere.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled

    def urls(self, store: Store, keys: Iterable[str]) -> dict[str, str]:
        """The addresses of covers, in 300 pixels, by the catalogue keys of the items that have one."""
        if not self.enabled:
            return {}
        found = store.archive().catalog(list(dict.fromkeys(keys)), ["cover"])
        return {key: with_size(cover, _MIDDLE) for key, (cover,) in found if _COVER.fullmatch(cover)}

    def url_of_play(self, store: Store, play: Mapping[str, Any]) -> str:
        """The cover of a play's item; "" where there is none."""
        key = catalog_key_of_play(play)
        return self.urls(store, [key]).get(key, "")


def tile_color(name: str) -> int:
    """Which colour the tile has that stands where no cover is: for one name always the same."""
    return hashlib.blake2b(name.encode(errors="replace"), digest_size=1).digest()[0] % TILE_COLORS


def initial(name: str) -> str:
    """What stands on that tile: the first letter or figure; "?" where there is none."""
    return next((character for character in name if character.isalnum()), "?").upper()[:1]


def small_cover(cover: str) -> str:
    """The same image in 64 pixels."""
    return with_size(cover, _SMALL)


def with_size(cover: str, size: str) -> str:
    """The same image in another size."""
    return cover.replace(_LARGE, size).replace(_MIDDLE, size)


def catalog_key_of_play(play: Mapping[str, Any]) -> str:
    """The catalogue key of a play's item."""
    return catalog_key(str(play.get("type", "track")), str(play.get("id", "")), str(play.get("uri", "")))
