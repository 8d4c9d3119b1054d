"""Parse Spotify's JSON into a player state. Pure; any input yields a valid `PlayerState`."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

FieldValue = str | int  # of a Redis hash

ONE_DAY_MS = 86_400_000
MAX_ITEM_MS = 7 * ONE_DAY_MS  # longer durations and positions are invalid
MAX_TEXT_LENGTH = 4096  # no title is that long, and one response must not fill the memory of a Pi
MAX_DIGITS = len(str(2**63))

ITEM_TYPES = ("track", "episode")
ITEM_FIELDS = ("uri", "type", "name", "artists", "album", "duration_ms")  # of a play and of the catalog
FIELD_PATHS = {
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
"""The other fields of a play that come from a player state -> the path in Spotify's response."""
STATE_FIELDS = frozenset({"id", *ITEM_FIELDS, *FIELD_PATHS})
INTEGER_FIELDS = frozenset({"duration_ms", "device_volume", "timestamp", "progress_ms"})
BOOLEAN_FIELDS = frozenset({"explicit", "shuffle_state", "playing"})
NUMERIC_FIELDS = INTEGER_FIELDS | BOOLEAN_FIELDS


@dataclass(frozen=True, slots=True)
class Item:
    """A track, an episode (audiobook chapters arrive as episodes) or a local file."""

    key: str  # in the catalog: "track:<id>", "episode:<id>" or "local:<digest>"
    uri: str  # identifies it
    duration_ms: int | None  # None if Spotify does not provide it: for a local file it may be an object
    catalog: Mapping[str, FieldValue]  # the fields of its catalog hash


@dataclass(frozen=True, slots=True)
class PlayerState:
    """One response of `/v1/me/player`."""

    item: Item | None = None  # None for 204, item null, an unknown type (spotify/web-api#662, spotipy#562)
    playing: bool = False  # False if paused
    progress_ms: int | None = None  # the position, at most the duration; None if Spotify leaves it out
    # Spotify's `timestamp`: milliseconds since the epoch of the last play, pause, skip or seek. It is only a
    # hint, sometimes frozen for hours (spotify/web-api#640, #1073).
    changed_ms: int | None = None
    private: bool = False  # a private session, which is not logged
    fields: Mapping[str, FieldValue] = field(default_factory=dict)  # those of the `listening:` hash
    is_advertisement: bool = False  # no play, but the listener is present and the previous item is over

    @property
    def uri(self) -> str:
        """The URI of the item; empty without one."""
        return "" if self.item is None else self.item.uri

    @property
    def duration_ms(self) -> int | None:
        """The duration of the item; None if unknown."""
        return None if self.item is None else self.item.duration_ms


NO_STATE = PlayerState()


def dict_get(d: object, path: str) -> object | None:
    """Look up the keys of a path, separated by dots, in nested dicts; None if there is no such value."""
    for key in path.split("."):
        if not isinstance(d, dict):
            return None
        d = d.get(key)
    return d


def redis_convert(d: Mapping[str, object]) -> dict[str, FieldValue]:
    """Convert values for a Redis hash: booleans become 1 and 0; blanks and other types are left out."""
    flat: dict[str, FieldValue] = {}
    for key, value in d.items():
        if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
            flat[key] = int(value)
        elif isinstance(value, str) and value:
            flat[key] = storable(value)
    return flat


def read_player_state(body: object) -> PlayerState:
    """Return the player state from the decoded JSON body of `/v1/me/player`, or from None for a 204."""
    if dict_get(body, "currently_playing_type") == "ad":
        playing, progress = dict_get(body, "is_playing") is True, _duration(dict_get(body, "progress_ms"))
        return PlayerState(is_advertisement=True, playing=playing, progress_ms=progress)
    item = read_item(dict_get(body, "item"))
    private = dict_get(body, "device.is_private_session") is True
    if item is None:
        return PlayerState(private=private)
    fields = playback_fields(item, body)
    progress = _duration(fields.get("progress_ms"))
    if progress and item.duration_ms:
        progress = min(progress, item.duration_ms)
    playing, changed_ms = fields.get("playing") == 1, whole_number(fields.get("timestamp"))
    return PlayerState(item, playing, progress, changed_ms, private, fields)


def read_item(raw: object) -> Item | None:
    """Return the item from a track or episode object; None if it is neither or lacks an identifier."""
    item_type, uri, identity = (dict_get(raw, name) for name in ("type", "uri", "id"))
    if not isinstance(item_type, str) or item_type not in ITEM_TYPES:
        return None
    if not is_spotify_id(identity):
        # A local file has no ID; its URI consists of artist, album, title and seconds (spotify/web-api#480).
        if not isinstance(uri, str) or not uri.startswith("spotify:local:"):
            return None
        identity = ""
    uri = storable(uri if isinstance(uri, str) and uri else f"spotify:{item_type}:{identity}")
    key, duration = catalog_key(item_type, storable(identity), uri), _duration(dict_get(raw, "duration_ms"))
    # A show takes the place of the album.
    collection, images = ("show", "images") if item_type == "episode" else ("album", "album.images")
    artists, covers = _artists(dict_get(raw, "artists")), dict_get(raw, images)
    catalog = {
        "uri": uri,
        "type": item_type,
        "name": dict_get(raw, "name"),
        "artists": ", ".join(name for name, _ in artists if name),
        "artist_ids": " ".join(artist_id for _, artist_id in artists if artist_id),
        "artist_list": encode_artists(artists),
        "album": dict_get(raw, f"{collection}.name"),
        "album_id": dict_get(raw, f"{collection}.id"),
        "isrc": dict_get(raw, "external_ids.isrc"),
        "duration_ms": duration,
        "cover": dict_get(covers[0], "url") if isinstance(covers, list) and covers else None,
    }
    return Item(key, uri, duration or None, redis_convert(catalog))


def playback_fields(item: Item, body: object) -> dict[str, FieldValue]:
    """Return the fields of the `listening:` hash of an item in a response; invalid values are left out."""
    fields = redis_convert(
        {
            "id": "" if item.key.startswith("local:") else item.key.partition(":")[2],
            **{name: item.catalog.get(name) for name in ITEM_FIELDS},
            **{name: dict_get(body, path) for name, path in FIELD_PATHS.items()},
        },
    )
    for name in NUMERIC_FIELDS & fields.keys():
        number = whole_number(fields.pop(name))
        if number is not None and (name in INTEGER_FIELDS or number in {0, 1}):
            fields[name] = number
    return fields


def is_episode(item: Item | None) -> bool:
    """Return whether an item is an episode, or a chapter of an audiobook: they are played at any speed."""
    return item is not None and item.key.startswith("episode:")


def is_spotify_id(value: object) -> TypeGuard[str]:
    """Return whether a value can be an item id: a single word, because index rows are split at spaces."""
    return isinstance(value, str) and value.split() == [value]


def catalog_key(item_type: str, identity: str, uri: str) -> str:
    """Return an item's catalog key: "track:<id>" or "episode:<id>"; without an ID "local:<digest>"."""
    return f"{item_type}:{identity}" if identity else "local:" + hashlib.sha256(uri.encode()).hexdigest()[:16]


def encode_artists(artists: Iterable[tuple[str, str]]) -> str:
    """Return names and IDs of artists as JSON for the catalog; "" if there are none, or too many to store."""
    named = [{"name": name} | ({"id": artist_id} if artist_id else {}) for name, artist_id in artists if name]
    text = json.dumps(named, ensure_ascii=False) if named else ""
    return text if len(text) <= MAX_TEXT_LENGTH else ""


def _artists(values: object) -> list[tuple[str, str]]:
    """Return names and IDs, "" if unknown."""
    listed = values if isinstance(values, list) else []
    found = [redis_convert(value) for value in listed if isinstance(value, Mapping)]
    return [(str(each.get("name", "")), str(each.get("id", ""))) for each in found]


def whole_number(value: object) -> int | None:
    """Return a non-negative 64-bit integer, or None; digits in text count too, as in responses of 2017."""
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS else -1
    elif not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 <= value < 2**63 else None


def _duration(value: object) -> int | None:
    whole = whole_number(int(value) if isinstance(value, float) and value.is_integer() else value)
    return whole if whole is not None and whole <= MAX_ITEM_MS else None


def storable(text: str) -> str:
    """Return bounded text that UTF-8 can encode: JSON may contain half of a surrogate pair."""
    return text[:MAX_TEXT_LENGTH].encode("utf-8", "replace").decode()
