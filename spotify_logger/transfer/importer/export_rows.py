"""Parse one row of an export into a play, or say why it is skipped. Pure; accepts any input.

The meaning of Spotify's fields is that of the description which it ships with the export; their quirks are
those of exports that people have published. `ts` is the end. `offline_timestamp` is the start, of online
plays too, in milliseconds before 2023 and in seconds since then. Both may be nonsense, and any field may be
null. Moments are in milliseconds since the epoch, UTC.

Our own export has a record per line, or all of them in an array. A catalog item comes before its first play:

    {"kind": "item", "key": "track:<id>", "fields": {...}}
    {"kind": "play", "second": 1795377734, "fields": {...}}
    {"kind": "gap", "second": 1795377734, "fields": {"from": ..., "to": ..., "reason": ...}}
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote_plus

from spotify_logger.core.matching import naming_seconds
from spotify_logger.core.matching_exports import SourceKind, kind_of
from spotify_logger.core.play import IMPORT, SKIPPED, STOPPED, TRACKDONE, UNKNOWN, Play
from spotify_logger.core.player_state import (
    ITEM_FIELDS,
    MAX_ITEM_MS,
    MAX_TEXT_LENGTH,
    ONE_DAY_MS,
    FieldValue,
    Item,
    catalog_key,
    redis_convert,
    whole_number,
)
from spotify_logger.core.redis_keys import FIRST_DAY, gap_value, second_of_day
from spotify_logger.core.times import from_iso
from spotify_logger.core.tracker import OVER_AFTER_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

EARLIEST_PLAY_MS = second_of_day(FIRST_DAY) * 1000
"""No play is older than Spotify."""
START_TOLERANCE_MS = 5_000
"""Milliseconds by which a start may be too late for `ms_played` to fit before the end."""
MAX_OFFLINE_MS = 31 * ONE_DAY_MS
"""A device has to be online once in thirty days, so an older start is wrong."""
MIN_UPLOAD_DELAY_MS = 60_000
"""An offline play whose reported end is this late was uploaded later, not paused."""
MIN_MILLISECOND_STAMP = 10**11
"""A stamp from here on is in milliseconds; in seconds it would be in the year 5138."""

_END_REASONS = {
    "trackdone": TRACKDONE,
    **dict.fromkeys(
        ("fwdbtn", "backbtn", "clickrow", "clickside", "playbtn", "endplay", "remote", "uriopen", "popup"),
        SKIPPED,
    ),
    **dict.fromkeys(("logout", "unexpected-exit", "unexpected-exit-while-paused"), STOPPED),
}
"""What each `reason_end` means; "trackerror" and all others become unknown."""
_URI = re.compile(r"spotify:(?:track|episode|chapter):([\w.~-]{1,64})")
_OTHER_URI = re.compile(r"spotify:(?!track:|episode:|chapter:|local:|show:|album:|artist:|user:)\w+:")
"""Of a video that is neither a song nor an episode."""
_ITEM_FIELDS = (
    # type, and the fields of URI, title, artist, and album or show or audiobook
    ("episode", "audiobook_chapter_uri", "audiobook_chapter_title", "", "audiobook_title"),
    ("episode", "spotify_episode_uri", "episode_name", "", "episode_show_name"),
    (
        "track",
        "spotify_track_uri",
        "master_metadata_track_name",
        "master_metadata_album_artist_name",
        "master_metadata_album_album_name",
    ),
    # Of the account data, which has no URIs.
    ("track", "", "trackName", "artistName", ""),
    ("episode", "", "episodeName", "", "podcastName"),
    ("episode", "", "chapterName", "", "audiobookName"),
)
_KEY = re.compile(r"(track|episode|local):\S{1,200}")


class SkipReason(Enum):
    """Why a row is skipped; the value is shown to the user."""

    BAD = "not understood"
    PRIVATE = "private (--private imports them)"
    SILENT = "0 ms played"
    NAMELESS = "neither a title nor an ID"
    VIDEO = "videos, neither songs nor episodes"
    PLAYING = "not over when it was exported"


class SkippedRow(NamedTuple):
    """A skipped row: why it is skipped, and what is wrong with it if it is malformed."""

    reason: SkipReason
    detail: str = ""


class ImportedPlay(NamedTuple):
    """A play parsed from a row of an export.

    Attributes:
        kind: The kind of source, which determines how precise its times are.
        reported_end_ms: The end that the row reports. Account data has only whole minutes, rounded down. A
            play that was paused for long or uploaded later ended earlier.
        stored_hash: The whole hash, if it is from our own export.
    """

    play: Play
    kind: SourceKind
    reported_end_ms: int
    stored_hash: Mapping[str, str] | None = None


class ItemRecord(NamedTuple):
    """The key and the whole hash of a catalog item."""

    key: str
    fields: Mapping[str, str]


class GapRecord(NamedTuple):
    """The second since the epoch at which a gap began, its entry in the index of gaps, and its whole hash."""

    second: int
    line: str
    fields: Mapping[str, str]


ParsedRow = ImportedPlay | ItemRecord | GapRecord | SkippedRow


def read_listening(kind: SourceKind, row: Mapping[str, object], now_ms: int) -> ParsedRow:
    """Read a row of the extended streaming history or of the account data."""
    end, length = ("ts", "ms_played") if kind is SourceKind.EXTENDED else ("endTime", "msPlayed")
    reported_end_ms, ms_played = _timestamp(row[end], now_ms), integer(row.get(length))
    if reported_end_ms is None:
        return malformed(f"{end} is not a time between 2006 and now")
    if ms_played is None or ms_played > MAX_ITEM_MS:
        return malformed(f"{length} is not a number of milliseconds")
    if not ms_played:
        return SkippedRow(SkipReason.SILENT)
    item = _item(row)
    if item is None or item.key.startswith("local:"):
        if any(isinstance(value, str) and _OTHER_URI.match(value) for value in row.values()):
            return SkippedRow(SkipReason.VIDEO)
        if item is None:
            return SkippedRow(SkipReason.NAMELESS)
    # Account data has neither a start nor an end reason.
    started_ms = _start(row.get("offline_timestamp"), reported_end_ms, ms_played)
    ended_ms = _end(started_ms, reported_end_ms, ms_played, is_offline=flag(row.get("offline")) is True)
    reason, fields = _reason(row.get("reason_end"), flag(row.get("skipped"))), _fields(item, row)
    play = Play(started_ms // 1000, item, started_ms, ended_ms, ms_played, reason, IMPORT, fields)
    return ImportedPlay(play, kind, reported_end_ms)


def read_record(record: Mapping[str, object], now_ms: int) -> ParsedRow:
    """Read a record of our own export."""
    fields, second = _texts(record.get("fields")), whole_number(record.get("second"))
    second = -1 if second is None else second
    if not fields:
        return malformed("has no fields, or fields that are not text")
    match record.get("kind"):
        case "item":
            key = _texts({"key": record.get("key")}).get("key", "")
            is_key = _KEY.fullmatch(key)
            return ItemRecord(key, fields) if is_key else malformed("its key is not a key of the catalog")
        case "play":
            return _play(second, fields, now_ms)
        case "gap":
            line = gap_value(second, fields)
            return GapRecord(second, line, fields) if line else malformed("its fields do not describe a gap")
        case _:
            return malformed("its kind is not item, play or gap")


def _texts(value: object) -> dict[str, str]:
    """Return the fields of a hash; empty if any of them is not text or a number."""
    fields = redis_convert(value) if isinstance(value, dict) else {}
    is_whole = isinstance(value, dict) and len(fields) == len(value)
    return {name: str(text) for name, text in fields.items()} if is_whole else {}


def _play(second: int, fields: Mapping[str, str], now_ms: int) -> ParsedRow:
    play = Play.from_hash(second, fields)
    if play is None or not is_plausible(play.started_ms, now_ms):
        return malformed("its fields do not describe a play")
    if second not in naming_seconds(play.started_ms // 1000):
        return malformed("its second is not the second at which it started")
    return ImportedPlay(play, kind_of(play), play.ended_ms, fields)


def _item(row: Mapping[str, object]) -> Item | None:
    for item_type, uri, *names in _ITEM_FIELDS:
        if row.get(uri) or row.get(names[0]):
            return item_of(item_type, text_of(row.get(uri)), *(text_of(row.get(field)) for field in names))
    return None


def item_of(item_type: str, uri: str, name: str, artists: str, album: str) -> Item | None:
    """Return an item; `album` is the show of an episode, and the audiobook of a chapter."""
    known = _URI.fullmatch(uri)
    if known is not None:
        uri = f"spotify:{item_type}:{known[1]}"
    elif not uri.startswith("spotify:local:"):
        if not name:
            return None
        # The URI that Spotify gives to local files, with length 0.
        uri = ":".join(("spotify:local", *map(quote_plus, (artists, album, name)), "0"))
    texts = {"uri": uri, "type": item_type, "name": name, "artists": artists, "album": album}
    catalog: dict[str, FieldValue] = {field: text for field, text in texts.items() if text}
    return Item(catalog_key(item_type, known[1] if known else "", uri), uri, None, catalog)


def fields_of(item: Item) -> dict[str, FieldValue]:
    """Return the fields of a play that say what was played."""
    fields = {name: item.catalog[name] for name in ITEM_FIELDS if name in item.catalog}
    return fields if item.key.startswith("local:") else {**fields, "id": item.key.partition(":")[2]}


def _fields(item: Item, row: Mapping[str, object]) -> dict[str, FieldValue]:
    fields = fields_of(item)
    device, shuffle = text_of(row.get("platform")), flag(row.get("shuffle"))
    if device:
        fields["device_name"] = device
    if shuffle is not None:
        fields["shuffle_state"] = int(shuffle)
    return fields


def _timestamp(value: object, now_ms: int) -> int | None:
    # The oldest exports write "2012-03-21 21:36:50 UTC".
    moment = from_iso(value.removesuffix(" UTC")) if isinstance(value, str) else None
    return moment if moment is not None and is_plausible(moment, now_ms) else None


def stamp_ms(number: int) -> int:
    """Return the milliseconds since the epoch of a stamp in seconds or milliseconds."""
    return number if number >= MIN_MILLISECOND_STAMP else number * 1000


def _start(value: object, reported_end_ms: int, ms_played: int) -> int:
    """Return the reported start if it is plausible; else the start of a play without a pause."""
    number = integer(value) or 0
    start = stamp_ms(number)
    latest = reported_end_ms - ms_played
    is_possible = max(EARLIEST_PLAY_MS, latest - MAX_OFFLINE_MS) <= start <= latest + START_TOLERANCE_MS
    return start if is_possible else latest


def _end(started_ms: int, reported_end_ms: int, ms_played: int, *, is_offline: bool) -> int:
    idle_ms = reported_end_ms - started_ms - ms_played
    if idle_ms > (MIN_UPLOAD_DELAY_MS if is_offline else OVER_AFTER_MS):
        return started_ms + ms_played
    return max(reported_end_ms, started_ms + ms_played)


def _reason(reason_end: object, skipped: bool | None) -> str:  # noqa: FBT001 - a field of the row
    """Return how a play ended: the flag decides about skips where it is given, which is since 2022."""
    reason = _END_REASONS.get(reason_end.lower(), UNKNOWN) if isinstance(reason_end, str) else UNKNOWN
    if skipped:
        return SKIPPED
    return UNKNOWN if skipped is False and reason == SKIPPED else reason


def text_of(value: object) -> str:
    """Return bounded text that can be stored; "" for anything but text."""
    if not isinstance(value, str):
        return ""
    text = value[:MAX_TEXT_LENGTH]
    # JSON may contain a lone surrogate, which UTF-8 cannot encode.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def integer(value: object) -> int | None:
    """Return a non-negative whole number, or None; digits in text count, too."""
    return whole_number(int(value) if isinstance(value, float) and value.is_integer() else value)


def flag(value: object) -> bool | None:
    """Return a Boolean, or None; some exports have 1.0 and 0.0."""
    return bool(value) if isinstance(value, bool | int | float) and value in {0, 1} else None


def is_plausible(stamp_ms: int, now_ms: int) -> bool:
    """Return whether something can have been played at a moment; clocks may be wrong by a day."""
    return EARLIEST_PLAY_MS <= stamp_ms <= now_ms + ONE_DAY_MS


def malformed(detail: str) -> SkippedRow:
    """Return a row that is skipped because of what is wrong with it."""
    return SkippedRow(SkipReason.BAD, detail)
