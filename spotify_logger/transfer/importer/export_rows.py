"""One row of an export: the play that it tells of, or why there is none. Pure; whatever nonsense comes in.

The meaning of the fields is as Spotify's own description of the export has it, their quirks as found in
exports that people published: `ts` is the end, `offline_timestamp` the start of what was heard online too, in
milliseconds before 2023 and in seconds since; both may be nonsense, and any field may be null.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple
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

FIRST_MS = second_of_day(FIRST_DAY) * 1000
"""No play is older than Spotify."""
LATE_START_MS = 5_000
"""By so much a start may be too late for all that was heard before the end; both are whole seconds."""
LONGEST_AWAY_MS = 31 * ONE_DAY_MS
"""A device has to be online once in thirty days; what was heard longer ago is told a wrong start."""
UPLOAD_MS = 60_000
"""An item that was heard offline and told of so much later was not paused, but uploaded."""
MILLISECONDS_FROM = 10**11
"""A stamp from here on is in milliseconds; in seconds it would lie in the year 5138."""

_ENDS = {
    "trackdone": TRACKDONE,
    **dict.fromkeys(
        ("fwdbtn", "backbtn", "clickrow", "clickside", "playbtn", "endplay", "remote", "uriopen", "popup"),
        SKIPPED,
    ),
    **dict.fromkeys(("logout", "unexpected-exit", "unexpected-exit-while-paused"), STOPPED),
}
"""`reason_end`: something else was wanted, or the player was closed; "trackerror" and others tell neither."""
_URI = re.compile(r"spotify:(?:track|episode|chapter):([\w.~-]{1,64})")
_NAMES = (
    # type, uri, title, artist, album or what stands in its place
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


class Why(Enum):
    """Why a row is left out; the value says it to a person."""

    BAD = "not understood"
    PRIVATE = "private (--private takes them in)"
    SILENT = "nothing was heard"
    NAMELESS = "nothing says what it was"


@dataclass(frozen=True, slots=True)
class Left:
    """A row that is left out.

    Attributes:
        why: For which kind of reason.
        words: What is wrong with it, if it is bad.
    """

    why: Why
    words: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row that tells of a play.

    Attributes:
        play: The play as it would be written.
        kind: How well its times are known.
        told_ms: When it ended by what the row says: milliseconds since the epoch, UTC. An account's data say
            only in which minute, and this is the minute's beginning. A play that was paused for long, or
            uploaded later, ended before.
        kept: The whole hash, where it was one before.
    """

    play: Play
    kind: SourceKind
    told_ms: int
    kept: Mapping[str, str] | None = None


def read_row(row: object, now_ms: int, *, private: bool = False) -> Entry | Left:
    """Make an entry of a row of the extended streaming history, or of an account's data.

    Args:
        row: As decoded from JSON.
        now_ms: Now, in milliseconds since the epoch, UTC.
        private: Whether what was heard in a private session is wanted.
    """
    if not isinstance(row, dict):
        return bad("it is no object")
    if "ts" in row:
        return _extended(row, now_ms, private=private)
    return _account(row, now_ms) if "endTime" in row else bad("it has neither ts nor endTime")


def bad(words: str) -> Left:
    """A row that cannot be understood."""
    return Left(Why.BAD, words)


def _extended(row: Mapping[str, object], now_ms: int, *, private: bool) -> Entry | Left:
    told_ms, ms_played = _moment(row["ts"], now_ms), _heard(row.get("ms_played"))
    if told_ms is None or ms_played is None:
        return bad(
            "ts is no time from 2006 to now" if told_ms is None else "ms_played is no number of milliseconds"
        )
    if _flag(row.get("incognito_mode")) and not private:
        return Left(Why.PRIVATE)
    if not ms_played:
        return Left(Why.SILENT)
    item = _item(row)
    if item is None:
        return Left(Why.NAMELESS)
    started_ms = _start(row.get("offline_timestamp"), told_ms, ms_played)
    ended_ms = _end(started_ms, told_ms, ms_played, is_offline=_flag(row.get("offline")) is True)
    play = Play(
        started_ms // 1000,
        item,
        started_ms,
        ended_ms,
        ms_played,
        _reason(row.get("reason_end"), row.get("skipped")),
        IMPORT,
        _fields(item, row),
    )
    return Entry(play, SourceKind.EXTENDED, told_ms)


def _account(row: Mapping[str, object], now_ms: int) -> Entry | Left:
    told_ms, ms_played = _moment(row["endTime"], now_ms), _heard(row.get("msPlayed"))
    if told_ms is None or ms_played is None:
        return bad(
            "endTime is no time from 2006 to now"
            if told_ms is None
            else "msPlayed is no number of milliseconds"
        )
    if not ms_played:
        return Left(Why.SILENT)
    track, episode = _text(row.get("trackName")), _text(row.get("episodeName"))
    if track:
        item = _nameless("track", _Names(track, _text(row.get("artistName")), ""))
    elif episode:
        item = _nameless("episode", _Names(episode, "", _text(row.get("podcastName"))))
    else:
        return Left(Why.NAMELESS)
    started_ms = told_ms - ms_played
    play = Play(started_ms // 1000, item, started_ms, told_ms, ms_played, UNKNOWN, IMPORT, item.catalog)
    return Entry(play, SourceKind.ACCOUNT, told_ms)


# What was played


class _Names(NamedTuple):
    """What an item is called; an episode's show, and a chapter's book, stand where a track has its album."""

    name: str
    artists: str
    album: str


def _item(row: Mapping[str, object]) -> Item | None:
    for item_type, uri, title, artists, album in _NAMES:
        if row.get(uri) or row.get(title):
            names = _Names(_text(row.get(title)), _text(row.get(artists)), _text(row.get(album)))
            return _item_of(item_type, _text(row.get(uri)), names)
    return None


def _item_of(item_type: str, uri: str, names: _Names) -> Item | None:
    known = _URI.fullmatch(uri)
    if known is not None:
        return _made(item_type, known[1], f"spotify:{item_type}:{known[1]}", names)
    if uri.startswith("spotify:local:"):
        return _made(item_type, "", uri, names)
    return _nameless(item_type, names) if names.name else None


def _nameless(item_type: str, names: _Names) -> Item:
    """What has no id is named as Spotify names a local file, whose length is not known here."""
    artists, album, name = map(quote_plus, (names.artists, names.album, names.name))
    return _made(item_type, "", f"spotify:local:{artists}:{album}:{name}:0", names)


def _made(item_type: str, identity: str, uri: str, names: _Names) -> Item:
    told = {"uri": uri, "type": item_type, "name": names.name, "artists": names.artists, "album": names.album}
    catalog: dict[str, FieldValue] = {field: text for field, text in told.items() if text}
    return Item(catalog_key(item_type, identity, uri), uri, None, catalog)


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


# When, how long, and why no longer


def _moment(value: object, now_ms: int) -> int | None:
    # The oldest exports write "2012-03-21 21:36:50 UTC".
    moment = from_iso(value.removesuffix(" UTC")) if isinstance(value, str) else None
    return moment if moment is not None and FIRST_MS <= moment <= now_ms + ONE_DAY_MS else None


def _heard(value: object) -> int | None:
    number = _whole(value)
    return number if number is not None and number <= MAX_ITEM_MS else None


def _start(value: object, told_ms: int, ms_played: int) -> int:
    """When it began: as the row says, if that can be; else it was not paused."""
    number = _whole(value) or 0
    start = number if number >= MILLISECONDS_FROM else number * 1000
    latest = told_ms - ms_played
    is_possible = max(FIRST_MS, latest - LONGEST_AWAY_MS) <= start <= latest + LATE_START_MS
    return start if is_possible else latest


def _end(started_ms: int, told_ms: int, ms_played: int, *, is_offline: bool) -> int:
    unheard = told_ms - started_ms - ms_played
    if unheard > (UPLOAD_MS if is_offline else OVER_AFTER_MS):
        return started_ms + ms_played
    return max(told_ms, started_ms + ms_played)


def _reason(reason_end: object, skipped: object) -> str:
    if isinstance(reason_end, str) and reason_end:
        return _ENDS.get(reason_end.lower(), UNKNOWN)
    return SKIPPED if _flag(skipped) else UNKNOWN


# Values


def _text(value: object) -> str:
    if not isinstance(value, str):
        return ""
    text = value[:MAX_TEXT_LENGTH]
    # JSON may escape half a surrogate pair, which UTF-8 does not know.
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _whole(value: object) -> int | None:
    return whole_number(int(value) if isinstance(value, float) and value.is_integer() else value)


def _flag(value: object) -> bool | None:
    """True or false; exports were seen that write 1.0 and 0.0."""
    return bool(value) if isinstance(value, bool | int | float) and value in {0, 1} else None
