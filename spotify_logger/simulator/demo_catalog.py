"""A larger catalog, in which some artists are played far more often than others: for demos and screenshots.

`catalog` is made to be hard on a logger; this one is made to look like somebody's music.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from spotify_logger.simulator.bodies import (
    AlbumObject,
    ArtistObject,
    Recording,
    ShowObject,
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

ARTISTS = 140
FAVOURED = 40
"""How much more often the first artist's albums are played than those of the last artists."""
ALBUMS = (1, 3)
TRACKS = (8, 12)
FEATURED = 0.12
HOSTILE = '<script>alert("loud")</script>'
"""The title of one track: it has to stay text wherever it is shown."""

_BANDS = (
    "{} {}",
    "The {} {}",
    "{} {}",
    "{} {} Orchestra",
    "{} & the {}",
)
_FIRST = (  # noqa: SIM905 - a few lines to read instead of many
    "Amber Ash Birch Blue Brass Cedar Chalk Cinder Clover Cobalt Copper Coral Crystal Distant Dusty "
    "Ember Fallow Feather Gentle Glass Golden Granite Hazel Hollow Indigo Iron Ivory Juniper Lantern "
    "Lilac Linen Lunar Marble Meadow Midnight Misty Morning Mossy Neon Northern Ochre Olive Opal "
    "Paper Pearl Pine Quiet Raven Rust Saffron Salt Scarlet Silver Slate Slow Stone Sudden Tidal "
    "Timber Velvet Violet Wandering Willow Winter"
).split()
_LAST = (  # noqa: SIM905 - a few lines to read instead of many
    "Anchor Arrow Balcony Bell Bridge Canyon Captain Caravan Castle Choir Comet Compass Corner Delta "
    "Drummer Echo Engine Estate Falcon Ferry Field Fountain Garden Ghost Harbour Heron Horizon Hotel "
    "Island Kite Ladder Lantern Letter Lighthouse Machine Mirror Mountain Museum Ocean Orchard Parade "
    "Pilot Planet Postcard Radio Railway River Sailor Satellite Season Shadow Signal Sparrow Station "
    "Summer Telephone Theatre Tower Train Valley Village Violin Window"
).split()
_OTHERS = (
    "Ada Morwen",
    "Sigrún Vale",
    "Łucja Nowicka",
    "東京ノクターン",
    "Оркестр Тишины",
    "Beyza Çelik",
    "Ines & Tomáš",
    "Mañana Club",
)
_SENTENCES = (
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
        self._chance = random.Random(f"favourites {seed}")
        self._count = 0
        self._used: set[str] = set()

    def make(self) -> Catalog:
        artists = [ArtistObject(make_id(self._chance), self._band(number)) for number in range(ARTISTS)]
        albums: list[tuple[ItemObject, ...]] = []
        for number, artist in enumerate(artists):
            weight = max(1, FAVOURED // (number + 1))
            for _ in range(self._chance.randint(*ALBUMS)):
                albums += [self._album(artist, artists)] * max(
                    1, round(weight * self._chance.uniform(0.4, 1))
                )
        return Catalog(tuple(albums), self._shows(), (), self._files())

    def _band(self, number: int) -> str:
        if number % 9 == 4 and number // 9 < len(_OTHERS):  # noqa: PLR2004 - here and there
            return _OTHERS[number // 9]
        return self._new(lambda: self._chance.choice(_BANDS).format(*self._words()))

    def _title(self) -> str:
        if self._chance.random() < 0.25:  # noqa: PLR2004 - the share of longer titles
            return self._new(lambda: self._chance.choice(_SENTENCES).format(self._chance.choice(_LAST)))
        return self._new(lambda: " ".join(self._words()))

    def _words(self) -> tuple[str, str]:
        return self._chance.choice(_FIRST), self._chance.choice(_LAST)

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
        total = self._chance.randint(*TRACKS)
        released = f"{self._chance.randint(1971, 2025)}-{self._chance.randint(1, 12):02}-15"
        album = AlbumObject(make_id(self._chance), self._title(), artist, released, total)
        return tuple(self._track(album, others, number) for number in range(1, total + 1))

    def _track(self, album: AlbumObject, others: list[ArtistObject], number: int) -> ItemObject:
        self._count += 1
        guest = self._chance.choice(others)
        is_featured = guest != album.artist and self._chance.random() < FEATURED
        # Two titles that every page has to cope with, on the first albums, so that they show up.
        name = {60: HOSTILE, 90: LONG_TITLE}.get(self._count) or self._title()
        recording = Recording(
            name, [album.artist, *([guest] if is_featured else [])], f"ZZFAV26{self._count:05}"
        )
        length = round(min(420_000.0, max(100_000.0, self._chance.gauss(215_000, 40_000))))
        return track(make_id(self._chance), recording, album, number, length)

    def _shows(self) -> tuple[tuple[ItemObject, ...], ...]:
        names = ("The Slow Train", "Two Chairs and a Kettle", "Weather at Sea")
        return tuple(self._show(name) for name in names)

    def _show(self, name: str) -> tuple[ItemObject, ...]:
        show = ShowObject(make_id(self._chance), name, "Two people talk, one listens.", "en-GB", 30)
        return tuple(
            episode(
                make_id(self._chance),
                f"#{count}: {self._title()}",
                show,
                f"2025-{1 + count % 12:02}-01",
                self._chance.randint(30 * 60_000, 70 * 60_000),
            )
            for count in range(1, 31)
        )

    def _files(self) -> tuple[ItemObject, ...]:
        return tuple(
            local_file("The Basement Tapes Club", "Rehearsals", self._title(), self._chance.randint(120, 330))
            for _ in range(8)
        )
