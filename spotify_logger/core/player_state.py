"""Parse Spotify's JSON into a player state. Pure; any input yields a valid `PlayerState`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeGuard

FieldValue = str | int
"""The value of a field of a Redis hash."""

ONE_DAY_MS = 86_400_000
MAX_ITEM_MS = 7 * ONE_DAY_MS
"""Durations and positions beyond a week are invalid."""

MAX_TEXT_LENGTH = 4096
"""Characters; no title is that long, and one response must not fill the memory of a Pi."""

FIELD_PATHS = {
    "duration_ms": "item.duration_ms",
    "explicit": "item.explicit",
    "device_name": "device.name",
    "device_type": "device.type",
    "device_volume": "device.volume_percent",
    "shuffle_state": "shuffle_state",
    "repeat_state": "repeat_state",
    "context_uri": "context.uri",
    "timestamp": "timestamp",
    "progress_ms": "progress_ms",
    "playing": "is_playing",
}
"""Hash field -> its path in Spotify's response. `ITEM_FIELDS` are added from the item."""

ITEM_TYPES = ("track", "episode")
"""The types of items that can be played."""
ITEM_FIELDS = ("id", "uri", "type", "name", "artists", "album")
"""The hash fields that describe the item."""
INTEGER_FIELDS = frozenset({"duration_ms", "device_volume", "timestamp", "progress_ms"})
BOOLEAN_FIELDS = frozenset({"explicit", "shuffle_state", "playing"})


class StateKind(Enum):
    """What a player state is about."""

    ITEM = "item"
    """A track, an episode (audiobook chapters arrive as episodes) or a local file."""
    ADVERTISEMENT = "advertisement"
    """Not a play, but the listener is present and the previous item is over."""
    NO_INFORMATION = "nothing"
    """No information: 204, item null, an unknown type (spotify/web-api#662, spotipy#562)."""


@dataclass(frozen=True, slots=True)
class Item:
    """A track, an episode or a local file.

    Attributes:
        key: The catalog key: "track:<id>", "episode:<id>" or "local:<digest>".
        uri: Its Spotify URI, which identifies it.
        duration_ms: Its duration; None if Spotify does not provide it (for a local file it may be an object).
        catalog: The fields of its catalog hash.
    """

    key: str
    uri: str
    duration_ms: int | None
    catalog: Mapping[str, FieldValue]


@dataclass(frozen=True, slots=True)
class PlayerState:
    """One response of `/v1/me/player`.

    Attributes:
        kind: What it is about; all other attributes are empty unless it is an item or an advertisement.
        item: The item, for `StateKind.ITEM`.
        playing: False if paused.
        progress_ms: The position in the item, at most its duration; None if Spotify leaves it out.
        changed_ms: Spotify's `timestamp`: milliseconds since the epoch of the last play, pause, skip or seek.
            A hint only: it is sometimes frozen for hours (spotify/web-api#640, #1073).
        private: Whether it is a private session, which is not logged.
        fields: The flat fields of the `listening:` hash.
    """

    kind: StateKind
    item: Item | None = None
    playing: bool = False
    progress_ms: int | None = None
    changed_ms: int | None = None
    private: bool = False
    fields: Mapping[str, FieldValue] = field(default_factory=dict)


NO_STATE = PlayerState(StateKind.NO_INFORMATION)


def dict_get(d: object, path: str) -> object | None:
    """Look up a value in nested dicts.

    Args:
        d: The outermost dict.
        path: The keys, separated by dots.

    Returns:
        The value; None if a key is missing or a value on the way is not a dict.
    """
    for key in path.split("."):
        if not isinstance(d, Mapping):
            return None
        d = d.get(key)
    return d


def redis_convert(d: Mapping[str, object]) -> dict[str, FieldValue]:
    """Convert values for a Redis hash: booleans become 1 and 0; only text and whole numbers are kept."""
    flat: dict[str, FieldValue] = {}
    for key, value in d.items():
        if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
            flat[key] = int(value)
        elif isinstance(value, str):
            flat[key] = _storable(value)
    return flat


def read_player_state(body: object) -> PlayerState:
    """Return the player state from the decoded JSON body of `/v1/me/player`, or from None for a 204."""
    kind = dict_get(body, "currently_playing_type")
    if kind == "ad":
        return PlayerState(
            StateKind.ADVERTISEMENT,
            playing=dict_get(body, "is_playing") is True,
            progress_ms=_duration(dict_get(body, "progress_ms")),
        )
    item = read_item(dict_get(body, "item"))
    private = dict_get(body, "device.is_private_session") is True
    if item is None:
        return PlayerState(StateKind.NO_INFORMATION, private=private)
    fields = _playback_fields(body, item)
    progress = _duration(fields.get("progress_ms"))
    if progress is not None and item.duration_ms is not None:
        progress = min(progress, item.duration_ms)
    return PlayerState(
        StateKind.ITEM,
        item=item,
        playing=fields.get("playing") == 1,
        progress_ms=progress,
        changed_ms=whole_number(fields.get("timestamp")),
        private=private,
        fields=fields,
    )


def read_item(raw: object) -> Item | None:
    """Return the item from a track or episode object; None if it is neither or lacks an identifier."""
    item_type = dict_get(raw, "type")
    uri = dict_get(raw, "uri")
    identity = dict_get(raw, "id")
    if not isinstance(item_type, str) or item_type not in ITEM_TYPES:
        return None
    if not is_spotify_id(identity):
        # A local file has no ID; its URI consists of artist, album, title and seconds (spotify/web-api#480).
        if not isinstance(uri, str) or not uri.startswith("spotify:local:"):
            return None
        identity = ""
    uri = _storable(uri if isinstance(uri, str) and uri else f"spotify:{item_type}:{identity}")
    key = catalog_key(item_type, _storable(identity), uri)
    return Item(key, uri, _duration(dict_get(raw, "duration_ms")) or None, _catalog(raw, uri))


def is_spotify_id(value: object) -> TypeGuard[str]:
    """Return whether a value can be an item id: a single word, because index rows are split at spaces."""
    return isinstance(value, str) and value.split() == [value]


def catalog_key(item_type: str, identity: str, uri: str) -> str:
    """Return an item's catalog key: "track:<id>" or "episode:<id>"; without an ID "local:<digest>"."""
    return f"{item_type}:{identity}" if identity else "local:" + hashlib.sha256(uri.encode()).hexdigest()[:16]


def _catalog(raw: object, uri: str) -> dict[str, FieldValue]:
    """Return the catalog fields of a track or episode; a show takes the place of the album."""
    is_episode = dict_get(raw, "type") == "episode"
    collection = dict_get(raw, "show" if is_episode else "album")
    images = dict_get(raw, "images" if is_episode else "album.images")
    return _without_blanks(
        {
            "uri": uri,
            "type": dict_get(raw, "type"),
            "name": dict_get(raw, "name"),
            "artists": _joined(dict_get(raw, "artists"), "name", ", "),
            "artist_ids": _joined(dict_get(raw, "artists"), "id", " "),
            "album": dict_get(collection, "name"),
            "album_id": dict_get(collection, "id"),
            "isrc": dict_get(raw, "external_ids.isrc"),
            "duration_ms": _duration(dict_get(raw, "duration_ms")),
            "cover": next((dict_get(image, "url") for image in _items(images)), None),
        },
    )


def _playback_fields(body: object, item: Item) -> dict[str, FieldValue]:
    """Return the fields of the `listening:` hash; missing and invalid values are left out."""
    found = {name: dict_get(body, path) for name, path in FIELD_PATHS.items()}
    identity = dict_get(body, "item.id")
    fields = _without_blanks(
        {
            "id": identity if is_spotify_id(identity) else None,
            **{name: item.catalog.get(name) for name in ITEM_FIELDS[1:]},
            **found,
        },
    )
    for name in INTEGER_FIELDS & fields.keys():
        number = whole_number(fields[name])
        if number is None:
            del fields[name]
        else:
            fields[name] = number
    return {name: value for name, value in fields.items() if name not in BOOLEAN_FIELDS or value in (0, 1)}


def _items(value: object) -> Iterable[object]:
    return value if isinstance(value, list) else ()


def _joined(values: object, key: str, separator: str) -> str:
    found = (dict_get(value, key) for value in _items(values))
    return separator.join(text for text in found if isinstance(text, str) and text)


def _without_blanks(d: Mapping[str, object]) -> dict[str, FieldValue]:
    return {key: value for key, value in redis_convert(d).items() if value != ""}


def whole_number(value: object) -> int | None:
    """Return a non-negative 64-bit integer, or None; digits in text count too, as in responses of 2017."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len(str(2**63)):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < 2**63 else None


def _duration(value: object) -> int | None:
    whole = (
        whole_number(int(value)) if isinstance(value, float) and value.is_integer() else whole_number(value)
    )
    return whole if whole is not None and whole <= MAX_ITEM_MS else None


def _storable(text: str) -> str:
    """Return bounded text that UTF-8 can encode: JSON may contain half of a surrogate pair."""
    return text[:MAX_TEXT_LENGTH].encode("utf-8", "replace").decode()
