"""Many years of listening at once: plays as the logger keeps them, without anybody having listened.

For what has to be measured or shown with a long past. A listener finds something new now and then, returns
most of the time to what was heard lately or often, and skips one in six.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spotify_logger.core.play import SKIPPED, STOPPED, TRACKDONE, Play
from spotify_logger.core.player_state import Item, encode_artists
from spotify_logger.simulator.name_parts import FIRST_WORDS, LAST_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from spotify_logger.core.player_state import FieldValue

LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ALBUMS_PER_ARTIST = 3
TRACKS_PER_ALBUM = 4
"""Most listeners know a few tracks of an album."""
REISSUED = 0.03
"""Share of tracks that are heard under a second id too, with the same ISRC."""
SKIPS = 0.16
STOPS = 0.02
LATELY, LATELY_PLAYS = 0.55, 3000
"""Share of what is known already that was heard among the last plays, and how many these are."""
FAVOURITES = 2.0
"""How much the tracks known longest are preferred; 1 would be not at all."""
HOURS = (7, 7, 8, 8, 9, 12, 13, 16, 17, 17, 18, 18, 19, 19, 20, 20, 21, 21, 22, 23, 0)
"""Hours (UTC) in which a listening session begins."""
DEVICES = (
    ("Kitchen", "Speaker"),
    ("Telephone", "Smartphone"),
    ("Living Room", "CastAudio"),
    ("Desk", "Computer"),
)
PAUSE_MS = 1200
HOUR_MS, DAY_MS = 3_600_000, 86_400_000


@dataclass(slots=True)
class SyntheticHistory:
    """A listener's past.

    Args:
        plays: How many plays there are.
        years: Over how long they are spread.
        tracks: How many different ones are heard in all.
        until: The end, in seconds since the epoch.
        seed: The same one gives the same past.
    """

    plays: int
    years: float
    tracks: int
    until: float
    seed: int = 1
    _chance: random.Random = field(init=False, repr=False)
    _now_ms: int = field(init=False, repr=False, default=0)
    _known: list[Item] = field(init=False, repr=False, default_factory=list)
    _lately: list[Item] = field(init=False, repr=False, default_factory=list)

    def live(self) -> Iterator[Play]:
        """Yield the plays in the order of time; no two start in the same second."""
        self._chance = random.Random(self.seed)
        self._known, self._lately = [], []
        days = max(1, round(self.years * 365.25))
        first_ms = int(self.until // 86_400) * DAY_MS - days * DAY_MS
        self._now_ms = first_ms
        yielded = 0
        for day in range(days):
            due = round(self.plays * (day + 1) / days) - yielded
            yielded += due
            yield from self._day(first_ms + day * DAY_MS, due)

    def _day(self, midnight_ms: int, number: int) -> Iterator[Play]:
        """Yield the plays of a day, in up to three sessions."""
        hours = sorted(self._chance.choices(HOURS, k=3))
        for session, hour in enumerate(hours):
            begin_ms = midnight_ms + hour * HOUR_MS + self._chance.randrange(HOUR_MS)
            self._now_ms = max(self._now_ms, begin_ms)
            device = self._chance.choice(DEVICES)
            for _ in range(number // 3 + (session < number % 3)):
                play = self._play(self._item(), self._now_ms, device)
                self._now_ms = play.ended_ms + PAUSE_MS
                yield play

    def _play(self, item: Item, started_ms: int, device: tuple[str, str]) -> Play:
        duration, chance = item.duration_ms or 0, self._chance.random()
        heard = round(duration * self._chance.random() ** 2) if chance < SKIPS + STOPS else duration - 400
        reason = SKIPPED if chance < SKIPS else STOPPED if chance < SKIPS + STOPS else TRACKDONE
        ended_ms = started_ms + heard
        fields: dict[str, FieldValue] = {
            "id": item.key.partition(":")[2],
            **{name: item.catalog[name] for name in ("uri", "type", "name", "artists", "album")},
            "duration_ms": duration,
            "explicit": 0,
            "device_name": device[0],
            "device_type": device[1],
            "device_volume": 60,
            "shuffle_state": 0,
            "repeat_state": "off",
            "context_uri": f"spotify:album:{item.catalog['album_id']}",
            "timestamp": started_ms,
            "progress_ms": heard,
            "playing": 1,
        }
        return Play(started_ms // 1000, item, started_ms, ended_ms, heard, reason, "live", fields)

    def _item(self) -> Item:
        if not self._known or self._chance.random() < self.tracks / self.plays:
            item = self._new()
        elif self._chance.random() < LATELY and self._lately:
            item = self._chance.choice(self._lately)
        else:
            item = self._known[int(len(self._known) * self._chance.random() ** FAVOURITES)]
        if len(self._lately) < LATELY_PLAYS:
            self._lately.append(item)
        else:
            self._lately[self._chance.randrange(LATELY_PLAYS)] = item
        return item

    def _new(self) -> Item:
        number = len(self._known)
        if number and self._chance.random() < REISSUED:
            other = self._known[self._chance.randrange(number)]
            item = self._item_of({**other.catalog, "album": f"{other.catalog['album']} (Remastered)"})
        else:
            item = self._item_of(self._about(number))
        self._known.append(item)
        return item

    def _about(self, number: int) -> Mapping[str, FieldValue]:
        album = number // TRACKS_PER_ALBUM
        artist = album // ALBUMS_PER_ARTIST
        words = random.Random(artist)
        artists = f"{words.choice(FIRST_WORDS)} {words.choice(LAST_WORDS)} {artist}"
        artist_id = _identity(words)
        return {
            "type": "track",
            "name": f"{self._chance.choice(FIRST_WORDS)} {self._chance.choice(LAST_WORDS)} {number}",
            "artists": artists,
            "artist_ids": artist_id,
            "artist_list": encode_artists([(artists, artist_id)]),
            "album": f"{self._chance.choice(LAST_WORDS)} of {album}",
            "album_id": _identity(random.Random(-1 - album)),
            "isrc": f"QZ{number:010}",
            "duration_ms": int(self._chance.gauss(225_000, 45_000)) % 400_000 + 45_000,
            "cover": "https://i.scdn.co/image/ab67616d0000b273" + f"{self._chance.getrandbits(96):024x}",
        }

    def _item_of(self, about: Mapping[str, FieldValue]) -> Item:
        identity = _identity(self._chance)
        uri = f"spotify:track:{identity}"
        return Item(f"track:{identity}", uri, int(about["duration_ms"]), {**about, "uri": uri})


def _identity(chance: random.Random) -> str:
    """Return a random id like those of Spotify."""
    return "".join(chance.choices(LETTERS, k=22))
