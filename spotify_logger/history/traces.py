"""Whether two accounts of something heard are of the same. Pure.

The player as it was watched, Spotify's list of what was played lately, its extended history and an account's
data each tell of a play in their own way: with other times, under another id, in more pieces or in fewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from spotify_logger.backfill import BACKFILL
from spotify_logger.playback import ONE_DAY_MS
from spotify_logger.plays import TRACKDONE, Play
from spotify_logger.text import fold

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spotify_logger.playback import Value

JITTER_MS = 5_000
"""By so much the times of two accounts differ, lateness of the server included."""
AT_ONCE_MS = 5_000
"""An end that is this near tells more than any start; `played_at` and `ts` are both Spotify's."""
NEAR_MS = 60_000
"""Ends of the same play differ by no more, where one of them is not of a player that was watched."""
MINUTE_MS = 60_000
"""An account's data say only in which minute a play ended."""
PART_MS = 15_000
"""By so much the parts of a play may stand out from it; a player may be seen late to have begun."""
PARTLY_MS = 32 * ONE_DAY_MS
"""Costs more than anything else."""
AGAIN_MS = 30_000
"""Rows that are alike but for their end, so near, are one play told twice (rule of maloja's importer)."""
SAME_START_MS = 1_000
"""No item is begun twice within a second."""
SAME_HEARD_MS = 1_000
"""By so much the two exports may differ in how long a play was heard."""


class Kind(IntEnum):
    """Who tells."""

    SEEN = 1
    """The player was watched."""
    TOLD = 2
    """`recently-played`: the end is right, the start only possible."""
    EXTENDED = 3
    """The extended streaming history."""
    ACCOUNT = 4
    """An account's data: no ids, and only the minute of the end."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What is told of something heard; times in milliseconds since the epoch, UTC.

    Attributes:
        kind: Who tells.
        uri: What was heard.
        names: Its name, artists and album, as far as they are known.
        isrc: The recording's, if it is known.
        begin_ms: Before this moment nothing of it was heard.
        end_ms: Nor after this one.
        told_ms: When it ended by what is told; that may be long after it was heard, if it was paused.
        heard_ms: How much was heard.
        is_done: Whether it was heard to its end.
    """

    kind: Kind
    uri: str
    names: Mapping[str, Value]
    isrc: str
    begin_ms: int
    end_ms: int
    told_ms: int
    heard_ms: int
    is_done: bool

    @property
    def has_start(self) -> bool:
        """Whether its start was told, and not made of its end and what was heard."""
        return self.end_ms - self.begin_ms != self.heard_ms


def trace_of(play: Play, kind: Kind, told_ms: int, isrc: str = "") -> Trace:
    """What a play tells."""
    end_ms = play.ended_ms + MINUTE_MS if kind is Kind.ACCOUNT else play.ended_ms
    names = play.item.catalogue or play.fields
    is_done = play.end_reason == TRACKDONE
    return Trace(kind, play.item.uri, names, isrc, play.started_ms, end_ms, told_ms, play.heard_ms, is_done)


def kind_of(play: Play) -> Kind:
    """Who told of a play that is in the log."""
    if play.source == BACKFILL:
        return Kind.TOLD
    if play.source == "live" or "playing" in play.fields:
        return Kind.SEEN
    # Rows of the extended history always say on what they were played.
    has_no_id = play.item.key.startswith("local:")
    return Kind.ACCOUNT if has_no_id and "device_name" not in play.fields else Kind.EXTENDED


def common_ms(one: Trace, other: Trace) -> int:
    """Milliseconds that two stretches have in common; negative: how far they are apart."""
    return min(one.end_ms, other.end_ms) - max(one.begin_ms, other.begin_ms)


def distance_ms(one: Trace, other: Trace) -> int:
    """How badly the times of two accounts fit, the smaller the better."""
    return abs(one.begin_ms - other.begin_ms) + abs(one.end_ms - other.end_ms)


# Two rows of an export


def is_again(one: Trace, other: Trace) -> bool:
    """Whether two rows of extended histories are one play, told twice."""
    is_as_long, have_starts = one.heard_ms == other.heard_ms, one.has_start and other.has_start
    begin_apart_ms = abs(one.begin_ms - other.begin_ms)
    if one.uri == other.uri and begin_apart_ms < SAME_START_MS:
        return is_as_long or have_starts or not begin_apart_ms
    if have_starts or not is_as_long or abs(one.told_ms - other.told_ms) > AGAIN_MS:
        return False
    # What is heard to its end again and again is heard for as long each time.
    is_repeated = one.is_done and other.is_done and 2 * common_ms(one, other) < one.heard_ms
    return not is_repeated and is_alike(one, other)


def account_cost(account: Trace, extended: Trace) -> int | None:
    """How badly a row of an account's data fits one of the extended history; None: not at all."""
    differs_ms = abs(account.heard_ms - extended.heard_ms)
    late_ms = account.told_ms - extended.told_ms
    outside_ms = max(0, late_ms, -MINUTE_MS - late_ms)
    if differs_ms > SAME_HEARD_MS:
        return None
    if outside_ms > AT_ONCE_MS and not _is_left_later(account, extended, late_ms):
        return None
    return differs_ms * ONE_DAY_MS + outside_ms if is_alike(account, extended) else None


def _is_left_later(account: Trace, extended: Trace, late_ms: int) -> bool:
    """Whether a play was left long after it was paused, which the log no longer knows.

    To the millisecond as long as each other are two plays only by chance, unless both were heard to the end.
    """
    return account.heard_ms == extended.heard_ms and not extended.is_done and 0 <= late_ms <= ONE_DAY_MS


# A row, and what was watched


def cost(row: Trace, known: Trace) -> int | None:
    """How badly a row of an export fits a play that was seen, or told of; None: not at all.

    From `PARTLY_MS` on it can be no more than a part of it.
    """
    is_near = known.kind is Kind.TOLD and _ends_apart_ms(row, known) <= AT_ONCE_MS
    is_whole = is_near or _may_be_whole(row, known)
    if not (is_whole or is_part(row, known)) or not is_alike(row, known):
        return None
    return distance_ms(row, known) + (0 if is_whole else PARTLY_MS)


def _may_be_whole(row: Trace, known: Trace) -> bool:
    if known.kind is Kind.TOLD and _ends_apart_ms(row, known) > NEAR_MS:
        return False
    return common_ms(row, known) >= min(row.heard_ms, known.heard_ms) - JITTER_MS


def _ends_apart_ms(row: Trace, known: Trace) -> int:
    late_ms = known.told_ms - row.told_ms
    return max(0, late_ms - MINUTE_MS, -late_ms) if row.kind is Kind.ACCOUNT else abs(late_ms)


def is_part(row: Trace, known: Trace, used_ms: int = 0) -> bool:
    """Whether a row may tell of a part of a play: it lies inside of it, and there is that much left to tell.

    A player that is closed while paused, or sent back to the beginning, ends a row, and not the play.

    Args:
        row: The row.
        known: The play.
        used_ms: How much of it other rows have told of.
    """
    slack_ms = min(PART_MS, row.heard_ms // 4)
    is_inside = common_ms(row, known) >= row.heard_ms - slack_ms
    return is_inside and used_ms + row.heard_ms <= known.heard_ms + slack_ms


# What was heard


def is_alike(one: Trace, other: Trace) -> bool:
    """Whether two accounts name the same recording: by uri, ISRC, or title and artist.

    Spotify tells the same play under other ids (spotify/web-api#1232), and in exports names the artist of the
    album, where the player names all of the track's.
    """
    if one.uri == other.uri:
        return True
    if one.isrc and other.isrc:
        return one.isrc.upper() == other.isrc.upper()
    return _title(one) != "" and _title(one) == _title(other) and _share_a_name(one.names, other.names)


def _share_a_name(one: Mapping[str, Value], other: Mapping[str, Value]) -> bool:
    """Whether two items of the same title have an artist or the album in common, as far as both tell them."""
    artists, others = _artists(one), _artists(other)
    if artists & others:
        return True
    album, other_album = (_folded(str(names.get("album", ""))) for names in (one, other))
    return album == other_album if album and other_album else not (artists and others)


def _title(trace: Trace) -> str:
    return _folded(str(trace.names.get("name", "")))


def _artists(names: Mapping[str, Value]) -> frozenset[str]:
    return _parted(str(names.get("artists", "")))


@lru_cache(maxsize=4096)
def _parted(artists: str) -> frozenset[str]:
    whole = fold(artists)
    return frozenset((whole, *whole.split(", "))) - {""}


@lru_cache(maxsize=4096)
def _folded(text: str) -> str:
    return fold(text)
