"""Parse one row of a Spotify export into a play, or say why it is skipped. Pure; accepts any input.

The meaning of the fields is that of the description which Spotify ships with the export; their quirks are
those of exports that people have published. `ts` is the end. `offline_timestamp` is the start, of online
plays too, in milliseconds before 2023 and in seconds since then. Both may be nonsense, and any field may be
null.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from spotify_logger.core.matching_exports import SourceKind
from spotify_logger.core.play import IMPORT, SKIPPED, STOPPED, TRACKDONE, UNKNOWN, Play
from spotify_logger.core.player_state import (
    MAX_ITEM_MS,
    MAX_TEXT_LENGTH,
    ONE_DAY_MS,
    FieldValue,
    Item,
    catalog_key,
    whole_number,
)
from spotify_logger.core.redis_keys import FIRST_DAY, second_of_day
from spotify_logger.core.times import from_iso
from spotify_logger.core.tracker import OVER_AFTER_MS

if TYPE_CHECKING:
    from collections.abc import Mapping

EARLIEST_PLAY_MS = second_of_day(FIRST_DAY) * 1000
"""Milliseconds since the epoch; no play is older than Spotify."""
START_TOLERANCE_MS = 5_000
"""Milliseconds by which a start may be too late for `ms_played` to fit before the end."""
MAX_OFFLINE_MS = 31 * ONE_DAY_MS
"""Milliseconds; a device has to be online once in thirty days, so an older start is wrong."""
MIN_UPLOAD_DELAY_MS = 60_000
"""Milliseconds; an offline play whose reported end is this late was uploaded later, not paused."""
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
)


class SkipReason(Enum):
    """Why a row is skipped; the value is shown to the user."""

    BAD = "not understood"
    PRIVATE = "private (--private imports them)"
    SILENT = "0 ms played"
    NAMELESS = "neither a title nor an ID"


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A skipped row.

    Attributes:
        reason: Why it is skipped.
        detail: What is wrong with it, if it is malformed.
    """

    reason: SkipReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ImportedPlay:
    """A play parsed from a row of an export.

    Attributes:
        play: The play as it would be written.
        kind: The kind of source, which determines how precise its times are.
        reported_end_ms: The end that the row reports, in milliseconds since the epoch, UTC. Account data has
            only whole minutes, rounded down. A play that was paused for long or uploaded later ended earlier.
        stored_hash: The whole hash, if it is from our own export.
    """

    play: Play
    kind: SourceKind
    reported_end_ms: int
    stored_hash: Mapping[str, str] | None = None


def read_row(row: object, now_ms: int, *, private: bool = False) -> ImportedPlay | SkippedRow:
    """Parse a row of the extended streaming history or of the account data.

    Args:
        row: The row, decoded from JSON.
        now_ms: Now, in milliseconds since the epoch, UTC.
        private: Whether to accept private sessions.
    """
    if not isinstance(row, dict) or row.keys().isdisjoint(("ts", "endTime")):
        return malformed("has neither ts nor endTime" if isinstance(row, dict) else "not a JSON object")
    is_extended = "ts" in row
    end, length = ("ts", "ms_played") if is_extended else ("endTime", "msPlayed")
    reported_end_ms, ms_played = _timestamp(row[end], now_ms), _ms_played(row.get(length))
    if reported_end_ms is None:
        return malformed(f"{end} is not a time between 2006 and now")
    if ms_played is None:
        return malformed(f"{length} is not a number of milliseconds")
    if _flag(row.get("incognito_mode")) and not private:
        return SkippedRow(SkipReason.PRIVATE)
    if not ms_played:
        return SkippedRow(SkipReason.SILENT)
    play = (_extended if is_extended else _account)(row, reported_end_ms, ms_played)
    kind = SourceKind.EXTENDED if is_extended else SourceKind.ACCOUNT
    return SkippedRow(SkipReason.NAMELESS) if play is None else ImportedPlay(play, kind, reported_end_ms)


def is_plausible(stamp_ms: int, now_ms: int) -> bool:
    """Return whether something can have been played at a moment; clocks may be wrong by a day."""
    return EARLIEST_PLAY_MS <= stamp_ms <= now_ms + ONE_DAY_MS


def malformed(detail: str) -> SkippedRow:
    """Return the result for a row that cannot be understood."""
    return SkippedRow(SkipReason.BAD, detail)


def _extended(row: Mapping[str, object], reported_end_ms: int, ms_played: int) -> Play | None:
    item = _item(row)
    if item is None:
        return None
    started_ms = _start(row.get("offline_timestamp"), reported_end_ms, ms_played)
    ended_ms = _end(started_ms, reported_end_ms, ms_played, is_offline=_flag(row.get("offline")) is True)
    reason = _reason(row.get("reason_end"), row.get("skipped"))
    return Play(started_ms // 1000, item, started_ms, ended_ms, ms_played, reason, IMPORT, _fields(item, row))


def _account(row: Mapping[str, object], reported_end_ms: int, ms_played: int) -> Play | None:
    track, artist, episode, show = (
        _text(row.get(name)) for name in ("trackName", "artistName", "episodeName", "podcastName")
    )
    item = _item_of("track", "", track, artist, "") or _item_of("episode", "", episode, "", show)
    if item is None:
        return None
    started_ms = reported_end_ms - ms_played
    return Play(
        started_ms // 1000, item, started_ms, reported_end_ms, ms_played, UNKNOWN, IMPORT, item.catalog
    )


# The item


def _item(row: Mapping[str, object]) -> Item | None:
    for item_type, uri, *names in _ITEM_FIELDS:
        if row.get(uri) or row.get(names[0]):
            name, artists, album = (_text(row.get(field)) for field in names)
            return _item_of(item_type, _text(row.get(uri)), name, artists, album)
    return None


def _item_of(item_type: str, uri: str, name: str, artists: str, album: str) -> Item | None:
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


def _fields(item: Item, row: Mapping[str, object]) -> dict[str, FieldValue]:
    fields = dict(item.catalog)
    if not item.key.startswith("local:"):
        fields["id"] = item.key.partition(":")[2]
    device, shuffle = _text(row.get("platform")), _flag(row.get("shuffle"))
    if device:
        fields["device_name"] = device
    if shuffle is not None:
        fields["shuffle_state"] = int(shuffle)
    return fields


# Times, length and end reason


def _timestamp(value: object, now_ms: int) -> int | None:
    # The oldest exports write "2012-03-21 21:36:50 UTC".
    moment = from_iso(value.removesuffix(" UTC")) if isinstance(value, str) else None
    return moment if moment is not None and is_plausible(moment, now_ms) else None


def _ms_played(value: object) -> int | None:
    number = _integer(value)
    return number if number is not None and number <= MAX_ITEM_MS else None


def _start(value: object, reported_end_ms: int, ms_played: int) -> int:
    """Return the reported start if it is plausible; else the start of a play without a pause."""
    number = _integer(value) or 0
    start = number if number >= MIN_MILLISECOND_STAMP else number * 1000
    latest = reported_end_ms - ms_played
    is_possible = max(EARLIEST_PLAY_MS, latest - MAX_OFFLINE_MS) <= start <= latest + START_TOLERANCE_MS
    return start if is_possible else latest


def _end(started_ms: int, reported_end_ms: int, ms_played: int, *, is_offline: bool) -> int:
    idle_ms = reported_end_ms - started_ms - ms_played
    if idle_ms > (MIN_UPLOAD_DELAY_MS if is_offline else OVER_AFTER_MS):
        return started_ms + ms_played
    return max(reported_end_ms, started_ms + ms_played)


def _reason(reason_end: object, skipped: object) -> str:
    if isinstance(reason_end, str) and reason_end:
        return _END_REASONS.get(reason_end.lower(), UNKNOWN)
    return SKIPPED if _flag(skipped) else UNKNOWN


# Values


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    text = value[:MAX_TEXT_LENGTH]
    # JSON may contain a lone surrogate, which UTF-8 cannot encode.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _integer(value: object) -> int | None:
    return whole_number(int(value) if isinstance(value, float) and value.is_integer() else value)


def _flag(value: object) -> bool | None:
    """Return a Boolean, or None; some exports have 1.0 and 0.0."""
    return bool(value) if isinstance(value, bool | int | float) and value in {0, 1} else None
