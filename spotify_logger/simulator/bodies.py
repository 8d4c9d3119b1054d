"""Items, devices and contexts as JSON objects of the Web API.

They are what a development-mode app gets since February 2026: without `available_markets`, `popularity`,
`preview_url`, `linked_from` and a show's `publisher`, but with `external_ids` (Web API migration guide of
February 2026, changelog of March 2026). Each object is serialized once and cached.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote_plus

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

Body = dict[str, object]
Kind = Literal["track", "episode", "chapter", "local"]

API = "https://api.spotify.com/v1"
OPEN = "https://open.spotify.com"
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def text(body: object) -> str:
    """Return `body` as compact JSON, as the Web API sends it."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def make_id(rng: random.Random) -> str:
    """Make up a Spotify ID: 22 characters of base 62."""
    return "".join(rng.choices(_BASE62, k=22))


@dataclass(eq=False)
class ItemObject:
    """An item that can be played.

    Attributes:
        kind: The kind of item. The API reports a chapter of an audiobook as an episode of a show.
        id: The ID in its URI; None for a local file.
        uri: Its Spotify URI.
        name: Its title.
        artists: The names of its artists; empty for episodes and chapters.
        album: The name of its album, show or audiobook.
        duration_ms: Its length in milliseconds.
        body: Its JSON object.
        home: The context that it is played from by default: its album or show.
        twin: The same recording under another ID, if there is one.
    """

    kind: Kind
    id: str | None
    uri: str
    name: str
    artists: tuple[str, ...]
    album: str
    duration_ms: int
    body: Body = field(repr=False)
    home: ContextObject | None = field(default=None, repr=False)
    twin: ItemObject | None = field(default=None, repr=False)

    @property
    def key(self) -> str:
        """`track:<id>` or `episode:<id>`; the whole URI of a local file."""
        return self.uri if self.id is None else self.uri.removeprefix("spotify:")

    @property
    def seconds(self) -> float:
        """Its length in seconds."""
        return self.duration_ms / 1000

    @cached_property
    def json(self) -> str:
        """Its JSON, as text."""
        return text(self.body)

    def paced(self, pace: float) -> ItemObject:
        """Return the same item with its length divided by `pace`, rounded up to a millisecond."""
        twin = None if self.twin is None else replace(self.twin, twin=None).paced(pace)
        duration = math.ceil(self.duration_ms / pace)
        return replace(self, duration_ms=duration, body={**self.body, "duration_ms": duration}, twin=twin)


@dataclass(frozen=True)
class DeviceObject:
    """A device that plays; speakers of other makers have no `id` and are `restricted`."""

    name: str
    type: str
    id: str | None
    volume: int | None = 60
    restricted: bool = False

    @cached_property
    def json(self) -> str:
        """Its JSON, as text."""
        return self._text(private=False)

    @cached_property
    def private_json(self) -> str:
        """Its JSON during a private session, as text."""
        return self._text(private=True)

    def _text(self, *, private: bool) -> str:
        return text(
            {
                "id": self.id,
                "is_active": True,
                "is_private_session": private,
                "is_restricted": self.restricted,
                "name": self.name,
                "supports_volume": self.volume is not None,
                "type": self.type,
                "volume_percent": self.volume,
            }
        )


@dataclass(frozen=True)
class ContextObject:
    """The context of an item: an album, an artist, a playlist, a show or the liked songs."""

    type: str
    uri: str
    href: str
    url: str

    @cached_property
    def json(self) -> str:
        """Its JSON, as text."""
        urls = {"spotify": self.url}
        return text({"external_urls": urls, "href": self.href, "type": self.type, "uri": self.uri})


LIKED_SONGS = ContextObject(
    "collection", "spotify:user:listener:collection", f"{API}/me/tracks", f"{OPEN}/collection/tracks"
)


def context(kind: str, identity: str) -> ContextObject:
    """Return the context of a `kind` ("album", "artist", "playlist" or "show") with this ID."""
    return ContextObject(
        kind, f"spotify:{kind}:{identity}", f"{API}/{kind}s/{identity}", f"{OPEN}/{kind}/{identity}"
    )


@dataclass(frozen=True)
class ArtistObject:
    """A simplified artist object."""

    id: str
    name: str

    @property
    def body(self) -> Body:
        """The artist's JSON object in a track or an album."""
        return {**_links("artist", self.id), "name": self.name}


@dataclass(frozen=True)
class AlbumObject:
    """A simplified album object; `type` is "album", "single" or "compilation"."""

    id: str
    name: str
    artist: ArtistObject
    released: str
    total: int
    type: str = "album"

    @property
    def body(self) -> Body:
        """The album's JSON object in a track."""
        return {
            "album_type": self.type,
            "artists": [self.artist.body],
            "images": _images("ab67616d", self.id),
            "name": self.name,
            "release_date": self.released,
            "release_date_precision": "day" if "-" in self.released else "year",
            "total_tracks": self.total,
            **_links("album", self.id),
        }


@dataclass(frozen=True)
class ShowObject:
    """A podcast or an audiobook."""

    id: str
    name: str
    about: str
    language: str
    total: int | None

    @property
    def body(self) -> Body:
        """The show's JSON object in an episode."""
        return {
            "copyrights": [],
            "description": self.about,
            "explicit": False,
            "html_description": f"<p>{self.about}</p>",
            "images": _images("ab676563", self.id),
            "is_externally_hosted": False,
            "languages": [self.language],
            "media_type": "audio",
            "name": self.name,
            "total_episodes": self.total,
            **_links("show", self.id),
        }


@dataclass(frozen=True)
class SongRecording:
    """What all releases of one recording have in common."""

    name: str
    artists: Sequence[ArtistObject]
    isrc: str
    explicit: bool = False


def track(
    identity: str, recording: SongRecording, album: AlbumObject, number: int, duration_ms: int
) -> ItemObject:
    """Return a track of an album."""
    body: Body = {
        "album": album.body,
        "artists": [artist.body for artist in recording.artists],
        "disc_number": 1,
        "duration_ms": duration_ms,
        "explicit": recording.explicit,
        "external_ids": {"isrc": recording.isrc},
        "is_local": False,
        "name": recording.name,
        "track_number": number,
        **_links("track", identity),
    }
    names = tuple(artist.name for artist in recording.artists)
    uri = f"spotify:track:{identity}"
    home = context("album", album.id)
    return ItemObject("track", identity, uri, recording.name, names, album.name, duration_ms, body, home)


def episode(identity: str, name: str, show: ShowObject, released: str, duration_ms: int) -> ItemObject:
    """Return an episode of a podcast."""
    body: Body = {
        "audio_preview_url": None,
        "description": f"{name}. {show.about}",
        "duration_ms": duration_ms,
        "explicit": False,
        "html_description": f"<p>{name}. {show.about}</p>",
        "images": _images("ab676563", identity),
        "is_externally_hosted": False,
        "is_playable": True,
        "language": show.language,
        "languages": [show.language],
        "name": name,
        "release_date": released,
        "release_date_precision": "day",
        "resume_point": {"fully_played": False, "resume_position_ms": 0},
        "show": show.body,
        **_links("episode", identity),
    }
    uri = f"spotify:episode:{identity}"
    return ItemObject(
        "episode", identity, uri, name, (), show.name, duration_ms, body, context("show", show.id)
    )


def chapter(identity: str, name: str, book: ShowObject, duration_ms: int) -> ItemObject:
    """Return a chapter of an audiobook: an episode without a date, language or description."""
    item = episode(identity, name, book, "0000", duration_ms)
    bare: Body = {"description": "", "html_description": "", "language": "", "languages": [""]}
    body = {**item.body, **bare, "release_date_precision": "year"}
    del body["is_playable"]
    return replace(item, kind="chapter", body=body)


def local_file(artist: str, album: str, name: str, seconds: int) -> ItemObject:
    """Return a local file: it has no ID and no links, only a URI."""
    uri = f"spotify:local:{quote_plus(artist)}:{quote_plus(album)}:{quote_plus(name)}:{seconds}"
    nowhere: Body = {"external_urls": {}, "href": None, "id": None}
    body: Body = {
        "album": {
            "album_type": None,
            "artists": [],
            "images": [],
            "name": album,
            "release_date": None,
            "release_date_precision": None,
            "type": "album",
            "uri": None,
            **nowhere,
        },
        "artists": [{"name": artist, "type": "artist", "uri": None, **nowhere}],
        "disc_number": 0,
        "duration_ms": seconds * 1000,
        "explicit": False,
        "external_ids": {},
        "is_local": True,
        "name": name,
        "track_number": 0,
        "type": "track",
        "uri": uri,
        **nowhere,
    }
    return ItemObject("local", None, uri, name, (artist,), album, seconds * 1000, body)


def _links(kind: str, identity: str) -> Body:
    return {
        "external_urls": {"spotify": f"{OPEN}/{kind}/{identity}"},
        "href": f"{API}/{kind}s/{identity}",
        "id": identity,
        "type": kind,
        "uri": f"spotify:{kind}:{identity}",
    }


def _images(prefix: str, identity: str) -> list[Body]:
    digest = identity.encode().hex()[:24]
    return [
        {"height": size, "url": f"https://i.scdn.co/image/{prefix}{size:08x}{digest}", "width": size}
        for size in (640, 300, 64)
    ]
