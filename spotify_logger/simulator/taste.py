"""What a listener likes as the year goes by: seasons, discoveries, and phases of one artist."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spotify_logger.simulator.bodies import ItemObject
    from spotify_logger.simulator.catalog import Catalog

DAY, YEAR = 86_400, 365.25 * 86_400  # seconds
MIDWINTER = 15 * DAY  # after New Year
DISCOVERED_SHARE = 0.4  # of artists that the listener does not know at first
PHASE_DAYS, PHASE_BREAK_DAYS, DAYS_PER_PHASE = (12, 28), (15, 45), 50
PHASE_SHARE = 0.25  # of albums that are by one artist during a phase
FAVOURITES, FAVOURITE_WEIGHT = 40, (6, 26)  # tracks that are liked more than their album
COPIES = 4  # of an album for each one in the catalog, so that it can become rarer by degrees


class Taste:
    """The taste of a listener for the music of a catalog, from `begin` on; always the same for a seed."""

    def __init__(self, seed: int, catalog: Catalog, begin: float, days: int) -> None:
        rng = random.Random(f"taste {seed}")
        self._catalog = catalog
        self._albums = Counter(catalog.albums)
        artists = list(dict.fromkeys(map(_artist, self._albums)))
        for track in rng.sample(catalog.tracks, FAVOURITES):
            self._albums[track,] = rng.randint(*FAVOURITE_WEIGHT)  # as an album of one track
        self._seasons = {artist: rng.choice((-1.2, 0, 0, 1.2)) for artist in artists}
        new = [artist for artist in artists if rng.random() < DISCOVERED_SHARE]
        self._known_since = {artist: begin + days * DAY * rng.random() for artist in new}
        self._phases: list[tuple[float, float, str]] = []
        moment = begin
        for artist in rng.sample(new, min(len(new), days // DAYS_PER_PHASE)):
            # A phase begins with the discovery of its artist.
            start = self._known_since[artist] = moment + DAY * rng.uniform(*PHASE_BREAK_DAYS)
            moment = start + DAY * rng.uniform(*PHASE_DAYS)
            self._phases.append((start, moment, artist))

    def catalog_at(self, moment: float) -> Catalog:
        """Return a catalog in which albums are listed as often as they are liked at a moment."""
        winter = math.cos(2 * math.pi * (moment % YEAR - MIDWINTER) / YEAR)
        albums: list[tuple[ItemObject, ...]] = []
        for album, count in self._albums.items():
            if self._known_since.get(_artist(album), 0) <= moment:
                albums += [album] * round(COPIES * count * math.exp(winter * self._seasons[_artist(album)]))
        for artist in (artist for begin, end, artist in self._phases if begin <= moment < end):
            own = [album for album in self._albums if _artist(album) == artist]
            albums += own * round(len(albums) * PHASE_SHARE / (1 - PHASE_SHARE) / len(own))
        return replace(self._catalog, albums=tuple(albums))


def _artist(album: tuple[ItemObject, ...]) -> str:
    return album[0].artists[0]
