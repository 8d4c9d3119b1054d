"""Made-up albums, podcasts, audiobooks and local files; the same seed gives the same ones.

They include what play loggers stumble over: consecutive titles that differ only by a number, titles that
several artists share, other scripts, emoji, very long titles, interludes of half a minute, tracks of twenty
minutes, and recordings that have two IDs.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from spotify_logger.simulator import name_parts
from spotify_logger.simulator.bodies import (
    AlbumObject,
    ArtistObject,
    ShowObject,
    SongRecording,
    chapter,
    episode,
    local_file,
    make_id,
    track,
)

if TYPE_CHECKING:
    from spotify_logger.simulator.bodies import ItemObject

ARTIST_COUNT = 36
ALBUMS_PER_ARTIST = 2
TWIN_SHARE = 0.08
"""Share of tracks that also have a second ID, as on a single released before the album."""
INTERLUDE_SHARE = 0.05
"""Share of tracks of 20 to 45 seconds."""
LONG_TRACK_SHARE = 0.02
"""Share of tracks of 8 to 25 minutes."""
FEATURED_SHARE = 0.15
"""Share of tracks with a second artist."""
EXPLICIT_SHARE = 0.1
LONG_TITLE_SHARE = 0.01
UNUSUAL_TITLE_SHARE = 0.25
"""Share of titles with unusual characters, or that several artists share."""
YEAR_ONLY_SHARE = 0.1
"""Share of albums whose release date is only a year."""


@dataclass(frozen=True)
class Catalog:
    """Everything that can be played.

    Attributes:
        albums: Their tracks, in order.
        shows: The episodes of each podcast, oldest first.
        books: The chapters of each audiobook, in order.
        files: The listener's own files.
    """

    albums: tuple[tuple[ItemObject, ...], ...]
    shows: tuple[tuple[ItemObject, ...], ...]
    books: tuple[tuple[ItemObject, ...], ...]
    files: tuple[ItemObject, ...]

    @property
    def tracks(self) -> tuple[ItemObject, ...]:
        """Every track, the second pressings of some among them."""
        return tuple(item for album in self.albums for item in album)

    def within(self, shortest: float, longest: float) -> Catalog:
        """Return a catalog of only the tracks and files whose length in seconds is within these bounds."""
        if (shortest, longest) == (0.0, math.inf):
            return self

        def kept(items: tuple[ItemObject, ...]) -> tuple[ItemObject, ...]:
            return tuple(item for item in items if shortest <= item.seconds <= longest)

        albums = tuple(filter(None, (kept(album) for album in self.albums)))
        return replace(self, albums=albums, files=kept(self.files))


@cache
def make_catalog(seed: int) -> Catalog:
    """Make up a catalog; the same seed gives the same one."""
    return _CatalogMaker(seed).make()


def song(name: str, seconds: float) -> ItemObject:
    """Return the track with this title and length, always the same one: for scripted histories."""
    rng = random.Random(f"song {name}")
    artist = ArtistObject(make_id(rng), f"The Band of {name}")
    album = AlbumObject(make_id(rng), f"All of {name}", artist, "2024-05-17", 1)
    recording = SongRecording(name, [artist], f"ZZSNG24{rng.randrange(100_000):05}")
    return track(make_id(rng), recording, album, 1, round(seconds * 1000))


class _CatalogMaker:
    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"catalogue {seed}")
        self._count = 0
        self._singles: list[tuple[ItemObject, ...]] = []

    def make(self) -> Catalog:
        artists = [self._artist(number) for number in range(ARTIST_COUNT)]
        albums = [self._album(artist, artists) for artist in artists for _ in range(ALBUMS_PER_ARTIST)]
        albums += [
            self._series(word, artist) for word, artist in zip(name_parts.SERIES_NAMES, artists, strict=False)
        ]
        shows = tuple(self._show(number) for number in range(6))
        books = tuple(self._book(number) for number in range(3))
        return Catalog((*albums, *self._singles), shows, books, self._files())

    def _words(self) -> str:
        return f"{self._rng.choice(name_parts.FIRST_WORDS)} {self._rng.choice(name_parts.LAST_WORDS)}"

    def _id(self) -> str:
        return make_id(self._rng)

    def _artist(self, number: int) -> ArtistObject:
        name = name_parts.ARTISTS[number] if number < len(name_parts.ARTISTS) else f"The {self._words()}"
        return ArtistObject(self._id(), name)

    def _title(self) -> str:
        roll = self._rng.random()
        if roll < LONG_TITLE_SHARE:
            return name_parts.LONG_TITLE
        return self._rng.choice(name_parts.TITLES) if roll < UNUSUAL_TITLE_SHARE else self._words()

    def _duration(self) -> int:
        """Return the length of a track in milliseconds, mostly three to four and a half minutes."""
        roll = self._rng.random()
        if roll < INTERLUDE_SHARE:
            return self._rng.randint(20_000, 45_000)
        if roll < INTERLUDE_SHARE + LONG_TRACK_SHARE:
            return self._rng.randint(480_000, 1_500_000)
        return round(min(420_000.0, max(90_000.0, self._rng.gauss(220_000, 48_000))))

    def _recording(self, name: str, artists: list[ArtistObject]) -> SongRecording:
        self._count += 1
        return SongRecording(name, artists, f"ZZSIM26{self._count:05}", self._rng.random() < EXPLICIT_SHARE)

    def _album(self, artist: ArtistObject, others: list[ArtistObject]) -> tuple[ItemObject, ...]:
        album = self._release(artist, self._title(), self._rng.randint(8, 14))
        return tuple(self._track(album, others, number) for number in range(1, album.total + 1))

    def _release(self, artist: ArtistObject, name: str, total: int, kind: str = "album") -> AlbumObject:
        year = self._rng.randint(1968, 2025)
        released = (
            str(year) if self._rng.random() < YEAR_ONLY_SHARE else f"{year}-{self._rng.randint(1, 12):02}-15"
        )
        return AlbumObject(self._id(), name, artist, released, total, kind)

    def _track(self, album: AlbumObject, others: list[ArtistObject], number: int) -> ItemObject:
        featured = [self._rng.choice(others)] if self._rng.random() < FEATURED_SHARE else []
        artists = [album.artist, *(guest for guest in featured if guest != album.artist)]
        recording = self._recording(self._title(), artists)
        item = track(self._id(), recording, album, number, self._duration())
        if self._rng.random() < TWIN_SHARE:
            self._release_single(item, recording)
        return item

    def _release_single(self, item: ItemObject, recording: SongRecording) -> None:
        """Release the same recording as a single: another ID and album, and up to 1.5 s longer or shorter.

        Two releases of one recording in a published response differ by 1.4 s (rspotify's tests).
        """
        single = self._release(recording.artists[0], recording.name, 1, "single")
        duration = item.duration_ms + self._rng.randint(-1500, 1500)
        twin = track(self._id(), recording, single, 1, duration)
        item.twin, twin.twin = twin, item
        self._singles.append((twin,))

    def _series(self, word: str, artist: ArtistObject) -> tuple[ItemObject, ...]:
        """Make an album whose titles differ only by a number, as is common in piano music."""
        album = self._release(artist, f"{self._words()}: {word}s", 24)
        return tuple(
            track(
                self._id(),
                self._recording(f"{word} {number}", [artist]),
                album,
                number,
                self._rng.randint(38_000, 260_000),
            )
            for number in range(1, album.total + 1)
        )

    def _show(self, number: int) -> tuple[ItemObject, ...]:
        show = ShowObject(
            self._id(), f"The {self._words()} Podcast", "Two people talk, one listens.", "en-GB", 20
        )
        return tuple(
            episode(
                self._id(),
                f"#{count}: {self._title()}",
                show,
                f"2025-{1 + count % 12:02}-{1 + number:02}",
                self._rng.randint(30 * 60_000, 90 * 60_000),
            )
            for count in range(1, 21)
        )

    def _book(self, number: int) -> tuple[ItemObject, ...]:
        about = f"Author(s): {name_parts.SPEAKERS[number]} Narrator(s): {name_parts.SPEAKERS[number]}"
        book = ShowObject(self._id(), f"{self._words()}, a Novel", about, "en", None)
        return tuple(
            chapter(self._id(), f"Chapter {count}", book, self._rng.randint(3 * 60_000, 16 * 60_000))
            for count in range(1, 31)
        )

    def _files(self) -> tuple[ItemObject, ...]:
        songs = [
            local_file(f"The {self._words()}", "", self._title(), self._rng.randint(120, 330))
            for _ in range(14)
        ]
        return (*songs, local_file("DJ Löwe", "Live Sets", "Sunrise at the Pier", 72 * 60))
