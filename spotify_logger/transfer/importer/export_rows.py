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

import re
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple
from urllib.parse import quote_plus

from spotify_logger.core.matching import AccountRank, naming_seconds
from spotify_logger.core.matching_exports import kind_of
from spotify_logger.core.play import BACKFILL, IMPORT, LIVE, SKIPPED, STOPPED, TRACKDONE, UNKNOWN, Play
from spotify_logger.core.player_state import (
    ITEM_FIELDS,
    MAX_ITEM_MS,
    ONE_DAY_MS,
    FieldValue,
    Item,
    catalog_key,
    redis_convert,
    storable,
    whole_number,
)
from spotify_logger.core.redis_keys import FIRST_DAY, HIDDEN, gap_key, gap_value, second_of_day
from spotify_logger.core.times import from_iso, to_iso
from spotify_logger.core.tracker import OVER_AFTER_MS
from spotify_logger.report.answers import from_cell
from spotify_logger.transfer.export import CSV_CATALOG_FIELDS, CSV_MILLISECONDS, SOURCE_FIELD, TRACK_FIELDS

EARLIEST_PLAY_MS = second_of_day(FIRST_DAY) * 1000  # no play is older than Spotify
START_TOLERANCE_MS = 5_000  # a start may be later by this much than `ms_played` before the end
MAX_OFFLINE_MS = 31 * ONE_DAY_MS  # a device has to be online once in thirty days, so an older start is wrong
MIN_UPLOAD_DELAY_MS = 60_000  # an offline play whose reported end is this late was uploaded later, not paused
MIN_MILLISECOND_STAMP = 10**11  # from here on in milliseconds; in seconds it would be in the year 5138

_SKIPS = ("fwdbtn", "backbtn", "clickrow", "clickside", "playbtn", "endplay", "remote", "uriopen", "popup")
_STOPS = ("logout", "unexpected-exit", "unexpected-exit-while-paused")
_END_REASONS = {"trackdone": TRACKDONE, **dict.fromkeys(_SKIPS, SKIPPED), **dict.fromkeys(_STOPS, STOPPED)}
"""What each `reason_end` means; "trackerror" and all others become unknown."""
_URI = re.compile(r"spotify:(?:track|episode|chapter):([\w.~-]{1,64})")
_OTHER_URI = re.compile(r"spotify:(?!track:|episode:|chapter:|local:|show:|album:|artist:|user:)\w+:")
"""Of a video that is neither a song nor an episode."""
_ITEM_FIELDS = (
    # type, and the fields of URI, title, artist, and album or show or audiobook
    ("episode", "audiobook_chapter_uri", "audiobook_chapter_title", "", "audiobook_title"),
    ("episode", "spotify_episode_uri", "episode_name", "", "episode_show_name"),
    ("track", TRACK_FIELDS[-1], *TRACK_FIELDS[:-1]),
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
    FOREIGN = "of other users"
    PLAYING = "still playing when it was exported"


class ImportedPlay(NamedTuple):
    """A play parsed from a row of an export."""

    play: Play
    kind: AccountRank
    reported_end_ms: int  # of account data, the minute; of what was paused or uploaded, later than its end
    stored_hash: Mapping[str, str] | None = None  # the whole hash, if it is from our own export


class OtherRecord(NamedTuple):
    """The key and the whole hash of a catalog item, of what is hidden, or of a gap with its first second."""

    key: str
    fields: Mapping[str, str]
    gap_second: int | None = None


Row = Mapping[str, object]
ParsedRow = ImportedPlay | OtherRecord | SkipReason | str
"""What is in a row, or why it is skipped; text says what is wrong with a malformed one."""


def read_listening(kind: AccountRank, row: Row, now_ms: int) -> ParsedRow:
    """Read a row of the extended streaming history or of the account data."""
    end, length = ("ts", "ms_played") if kind is AccountRank.EXTENDED else ("endTime", "msPlayed")
    # The oldest exports write "2012-03-21 21:36:50 UTC".
    reported_end_ms = from_iso(text_of(row[end]).removesuffix(" UTC"))
    if reported_end_ms is None or not is_plausible(reported_end_ms, now_ms):
        return f"{end} is not a time between 2006 and now"
    ms_played = integer(row.get(length))
    if ms_played is None or ms_played > MAX_ITEM_MS:
        return f"{length} is not a number of milliseconds"
    if not ms_played:
        return SkipReason.SILENT
    item = _item(row)
    if item is None or item.key.startswith("local:"):
        if any(isinstance(value, str) and _OTHER_URI.match(value) for value in row.values()):
            return SkipReason.VIDEO
        if item is None:
            return SkipReason.NAMELESS
    # Account data has neither a start nor an end reason.
    start, latest = stamp_ms(integer(row.get("offline_timestamp")) or 0), reported_end_ms - ms_played
    is_start = max(EARLIEST_PLAY_MS, latest - MAX_OFFLINE_MS) <= start <= latest + START_TOLERANCE_MS
    started_ms = start if is_start else latest  # of a play without a pause
    idle_ms = reported_end_ms - started_ms - ms_played
    longest_ms = MIN_UPLOAD_DELAY_MS if flag(row.get("offline")) else OVER_AFTER_MS
    ended_ms = reported_end_ms if 0 <= idle_ms <= longest_ms else started_ms + ms_played
    reason = _END_REASONS.get(text_of(row.get("reason_end")).lower(), UNKNOWN)
    skipped = flag(row.get("skipped"))
    if skipped is not None and skipped != (reason == SKIPPED):  # the flag decides: there is one since 2022
        reason = SKIPPED if skipped else UNKNOWN
    fields, source = fields_of(item), text_of(row.get(SOURCE_FIELD))
    if device := text_of(row.get("platform")):
        fields["device_name"] = device
    if (shuffle := flag(row.get("shuffle"))) is not None:
        fields["shuffle_state"] = int(shuffle)
    is_ours = source in {LIVE, BACKFILL, IMPORT}
    source = source if is_ours else IMPORT
    play = Play(started_ms // 1000, item, started_ms, ended_ms, ms_played, reason, source, fields)
    found = ImportedPlay(play, kind, reported_end_ms)
    return ImportedPlay(play, kind_of(play), ended_ms, _texts(play.to_hash())) if is_ours else found


def read_record(record: Row, now_ms: int) -> ParsedRow:
    """Read a record of our own export."""
    kind, key = record.get("kind"), text_of(record.get("key"))
    fields, second = _texts(record.get("fields")), whole_number(record.get("second")) or -1
    if kind == "item" and fields and _KEY.fullmatch(key):
        return OtherRecord(key, fields)
    if kind == "hidden" and fields:
        return OtherRecord(HIDDEN, fields)
    if kind == "gap" and gap_value(second, fields):
        return OtherRecord(gap_key(second), fields, second)
    return _own_play(second, fields if kind == "play" else {}, now_ms)


def read_csv_row(row: Row, now_ms: int) -> ParsedRow:
    """Read a row of our own CSV: a play, with the fields of its item."""
    fields = {name: from_cell(text) for name, text in _texts(row).items() if text}
    for column, name in CSV_MILLISECONDS.items():
        if (moment_ms := from_iso(fields.get(name, ""))) is not None:
            fields[name] = to_iso(moment_ms // 1000 * 1000 + (whole_number(fields.get(column)) or 0) % 1000)
    catalog = {name: fields[name] for name in ("uri", "type", *CSV_CATALOG_FIELDS) if name in fields}
    return _own_play(whole_number(fields.get("second")) or -1, fields, now_ms, catalog)


def _own_play(
    second: int, fields: Mapping[str, str], now_ms: int, catalog: Mapping[str, FieldValue] | None = None
) -> ParsedRow:
    """Return the play with a hash, which is stored as it is, unless it has fields of the catalog, too."""
    play = Play.from_hash(second, fields, catalog)
    is_possible = play is not None and second in naming_seconds(play.started_ms // 1000)
    if play is None or not is_possible or not is_plausible(play.started_ms, now_ms):
        return "its key or fields are not those of a play, an item or a gap"
    stored = fields if catalog is None else _texts(play.to_hash())
    return ImportedPlay(play, kind_of(play), play.ended_ms, stored)


def _texts(value: object) -> dict[str, str]:
    """Return the fields of a hash, blank ones, too; empty if any of them is not text or a number."""
    hashed = value if isinstance(value, dict) else {}
    fields = {**{name: "" for name in hashed if hashed[name] == ""}, **redis_convert(hashed)}
    return {name: str(fields[name]) for name in hashed} if fields.keys() == hashed.keys() else {}


def _item(row: Row) -> Item | None:
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


def stamp_ms(number: int) -> int:
    """Return the milliseconds since the epoch of a stamp in seconds or milliseconds."""
    return number if number >= MIN_MILLISECOND_STAMP else number * 1000


def text_of(value: object) -> str:
    """Return bounded text that can be stored; "" for anything but text."""
    return storable(value) if isinstance(value, str) else ""


def integer(value: object) -> int | None:
    """Return a non-negative whole number, or None; digits in text count, too."""
    return whole_number(int(value) if isinstance(value, float) and value.is_integer() else value)


def flag(value: object) -> bool | None:
    """Return a Boolean, or None; some exports have 1.0 and 0.0."""
    return bool(value) if isinstance(value, bool | int | float) and value in {0, 1} else None


def is_plausible(stamp_ms: int, now_ms: int) -> bool:
    """Return whether something can have been played at a moment; clocks may be wrong by a day."""
    return EARLIEST_PLAY_MS <= stamp_ms <= now_ms + ONE_DAY_MS
