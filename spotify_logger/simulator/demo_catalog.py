"""A larger catalog, in which some artists are played far more often than others: for demos and screenshots.

`catalog` is made to be hard on a logger; this one is made to look like somebody's music.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from spotify_logger.simulator.bodies import (
    AlbumObject,
    ArtistObject,
    Body,
    ShowObject,
    SongRecording,
    episode,
    local_file,
    make_id,
    track,
)
from spotify_logger.simulator.catalog import Catalog
from spotify_logger.simulator.name_parts import LONG_TITLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from spotify_logger.simulator.bodies import ItemObject

ARTIST_COUNT = 140
MAX_ALBUM_WEIGHT = 26
"""How much more often the first artist's albums are played than those of the last artists."""
ALBUMS_PER_ARTIST = (1, 3)
TRACKS_PER_ALBUM = (8, 12)
FEATURED_SHARE = 0.12
HOSTILE_TITLE = '<script>alert("loud")</script>'
"""The title of one track: it has to stay text wherever it is shown."""

_BAND_FORMATS = (
    "{} {}",
    "The {} {}",
    "{} {}",
    "{} {} Orchestra",
    "{} & the {}",
)
_FIRST_WORDS = (  # noqa: SIM905 - a few lines to read instead of many
    "Amber Ash Birch Blue Brass Cedar Chalk Cinder Clover Cobalt Copper Coral Crystal Distant Dusty "
    "Ember Fallow Feather Gentle Glass Golden Granite Hazel Hollow Indigo Iron Ivory Juniper Lantern "
    "Lilac Linen Lunar Marble Meadow Midnight Misty Morning Mossy Neon Northern Ochre Olive Opal "
    "Paper Pearl Pine Quiet Raven Rust Saffron Salt Scarlet Silver Slate Slow Stone Sudden Tidal "
    "Timber Velvet Violet Wandering Willow Winter"
).split()
_LAST_WORDS = (  # noqa: SIM905 - a few lines to read instead of many
    "Anchor Arrow Balcony Bell Bridge Canyon Captain Caravan Castle Choir Comet Compass Corner Delta "
    "Drummer Echo Engine Estate Falcon Ferry Field Fountain Garden Ghost Harbour Heron Horizon Hotel "
    "Island Kite Ladder Lantern Letter Lighthouse Machine Mirror Mountain Museum Ocean Orchard Parade "
    "Pilot Planet Postcard Radio Railway River Sailor Satellite Season Shadow Signal Sparrow Station "
    "Summer Telephone Theatre Tower Train Valley Village Violin Window"
).split()
_UNUSUAL_BANDS = (
    "Ada Morwen",
    "Sigrún Vale",
    "Łucja Nowicka",
    "東京ノクターン",
    "Оркестр Тишины",
    "Beyza Çelik",
    "Ines & Tomáš",
    "Mañana Club",
)
_LIKE_NAMES = {2: "Amber Harbour", 6: "Amber Harbor", 9: "Paper Kites", 19: "The Amber Harbour"}
_TITLE_FORMATS = (
    "What the {} Kept",
    "Leaving the {}",
    "Letters from a {}",
    "No {} Tonight",
    "Under the {}",
    "The Last {}",
    "Another {}",
)


def make_demo_catalog(seed: int) -> Catalog:
    """Make up a catalog; the same seed gives the same one.

    An album that is to be played more often is listed more than once: the listener picks albums at random.
    """
    return _DemoCatalogMaker(seed).make()


class _DemoCatalogMaker:
    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"favourites {seed}")
        self._count = 0
        self._used: set[str] = set()

    def make(self) -> Catalog:
        artists = [ArtistObject(make_id(self._rng), self._band(number)) for number in range(ARTIST_COUNT)]
        albums: list[tuple[ItemObject, ...]] = []
        for number, artist in enumerate(artists):
            weight = max(1, MAX_ALBUM_WEIGHT // (number + 1))
            for _ in range(self._rng.randint(*ALBUMS_PER_ARTIST)):
                albums += [self._album(artist, artists)] * max(1, round(weight * self._rng.uniform(0.4, 1)))
        return Catalog(tuple(albums), self._shows(), (), self._files())

    def _band(self, number: int) -> str:
        if number % 9 == 4 and number // 9 < len(_UNUSUAL_BANDS):  # noqa: PLR2004 - here and there
            return _UNUSUAL_BANDS[number // 9]
        name = self._new(lambda: self._rng.choice(_BAND_FORMATS).format(*self._words()))
        return _LIKE_NAMES.get(number, name)

    def _title(self) -> str:
        if self._rng.random() < 0.25:  # noqa: PLR2004 - the share of longer titles
            return self._new(lambda: self._rng.choice(_TITLE_FORMATS).format(self._rng.choice(_LAST_WORDS)))
        return self._new(lambda: " ".join(self._words()))

    def _words(self) -> tuple[str, str]:
        return self._rng.choice(_FIRST_WORDS), self._rng.choice(_LAST_WORDS)

    def _new(self, make: Callable[[], str]) -> str:
        """Return a name that nothing else has; "(Reprise)" is added to one that is taken."""
        for _ in range(20):
            name = make()
            if name not in self._used:
                break
        while name in self._used:
            name += " (Reprise)"
        self._used.add(name)
        return name

    def _album(self, artist: ArtistObject, others: list[ArtistObject]) -> tuple[ItemObject, ...]:
        total = self._rng.randint(*TRACKS_PER_ALBUM)
        released = f"{self._rng.randint(1971, 2025)}-{self._rng.randint(1, 12):02}-15"
        album = AlbumObject(make_id(self._rng), self._title(), artist, released, total)
        return tuple(self._track(album, others, number) for number in range(1, total + 1))

    def _track(self, album: AlbumObject, others: list[ArtistObject], number: int) -> ItemObject:
        self._count += 1
        guest = self._rng.choice(others)
        is_featured = guest != album.artist and self._rng.random() < FEATURED_SHARE
        # Two titles that every page has to cope with, on the first albums, so that they show up.
        name = {60: HOSTILE_TITLE, 90: LONG_TITLE}.get(self._count) or self._title()
        recording = SongRecording(
            name, [album.artist, *([guest] if is_featured else [])], f"ZZFAV26{self._count:05}"
        )
        length = round(min(420_000.0, max(100_000.0, self._rng.gauss(215_000, 40_000))))
        item = track(make_id(self._rng), recording, album, number, length)
        return replace(item, body={**item.body, "album": {**album.body, "images": _cover(album.id)}})

    def _shows(self) -> tuple[tuple[ItemObject, ...], ...]:
        names = ("The Slow Train", "Two Chairs and a Kettle", "Weather at Sea")
        return tuple(self._show(name) for name in names)

    def _show(self, name: str) -> tuple[ItemObject, ...]:
        show = ShowObject(make_id(self._rng), name, "Two people talk, one listens.", "en-GB", 30)
        episodes = (
            episode(
                make_id(self._rng),
                f"#{count}: {self._title()}",
                show,
                f"2025-{1 + count % 12:02}-01",
                self._rng.randint(30 * 60_000, 70 * 60_000),
            )
            for count in range(1, 31)
        )
        return tuple(replace(each, body={**each.body, "images": _cover(show.id)}) for each in episodes)

    def _files(self) -> tuple[ItemObject, ...]:
        return tuple(
            local_file("The Basement Tapes Club", "Rehearsals", self._title(), self._rng.randint(120, 330))
            for _ in range(8)
        )


def _cover(identity: str) -> list[Body]:
    """Return the images of an album or show: the page of the demo draws them."""
    return [{"height": 300, "width": 300, "url": f"/covers/{identity}.svg"}]
