"""The rulebook: when two things are the same, and which key a play gets. Pure.

Moments are milliseconds since the epoch, UTC, unless something else is said.

Same recording?
    `is_same_recording` compares two items as the Web API describes them. Exports say less about an item, so
    `matching_exports.is_same_in_exports` asks for less; both begin with `is_same_by_id`.

Same play?
    `identity` is what all states of one play have in common.
    `is_same_play` compares what two loggers saw of a play.
    `distance_ms` and `ended_within` compare an item of `recently-played` with a play.
    `matches_tombstone` compares an item of `recently-played` with deleted plays.
    `matching_exports` compares rows of Spotify's exports with each other and with plays.

Next free second?
    `next_free_second` finds the second that names a play's key; `naming_seconds` says which ones may.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import count, filterfalse
from typing import TYPE_CHECKING

from spotify_logger.core.play import BACKFILL, UNKNOWN, Play
from spotify_logger.core.player_state import MAX_ITEM_MS, Item
from spotify_logger.core.text import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

SAME_DURATION_MS = 3_000
"""Pressings of one recording differ in length by at most this."""
SAME_END_MS = 5_000
"""Reports of an end that was seen differ by at most this: the player's, `played_at`, an export's `ts`."""
UNSEEN_END_MS = 60_000
"""An end that nobody saw may be off by this: the time between two answers of an idle player."""
LONGEST_PAUSE_MS = 30 * 60_000
"""A play that is paused for longer is over; Spotify reports it when the player leaves the item."""
REPEAT_TOLERANCE_MS = 3_000
"""Each repetition of a track may take this much longer than the track."""
NAMING_SPAN = 3600
"""Seconds from the start of a play on in which the second that names it is looked for."""

Identity = tuple[int, str]
"""The start of a play in milliseconds, and the uri of its item."""


# Same recording?


def is_same_recording(item: Item, other: Item) -> bool:
    """Return whether two items are the same recording: by uri, ISRC, or artists, title and length.

    Spotify may report a play under another id, of another album (spotify/web-api#1232).
    """
    isrc, other_isrc = (str(one.catalog.get("isrc") or "") for one in (item, other))
    by_id = is_same_by_id(item.uri, isrc, other.uri, other_isrc)
    if by_id is not None:
        return by_id
    if not item.catalog.get("name") or _artists_and_title(item) != _artists_and_title(other):
        return False
    if item.duration_ms is None or other.duration_ms is None:
        return True
    return abs(item.duration_ms - other.duration_ms) <= SAME_DURATION_MS


def is_same_by_id(uri: str, isrc: str, other_uri: str, other_isrc: str) -> bool | None:
    """Return whether two items are the same recording by their ids; None where ids do not decide it."""
    if uri == other_uri:
        return True
    return isrc.upper() == other_isrc.upper() if isrc and other_isrc else None


def item_with_names(play: Play) -> Item:
    """Return the item of a play, with the names in its hash where the catalog's are not at hand."""
    return replace(play.item, catalog={**play.fields, **play.item.catalog})


@lru_cache(maxsize=1024)
def folded(text: str) -> str:
    """Return `text.fold(text)`; the same few names are compared again and again."""
    return fold(text)


def _artists_and_title(item: Item) -> str:
    return folded(f"{item.catalog.get('artists', '')}\n{item.catalog.get('name', '')}")


# Same play?


def identity(play: Play) -> Identity:
    """Return what tells a play from all others."""
    return play.started_ms, play.item.uri


def is_same_play(play: Play, other: Play) -> bool:
    """Return whether two loggers mean the same play of an item: nobody hears it twice at once.

    Each of them saw a part of it, and reports another start. A play is not another name of itself.

    Args:
        play: A play of an earlier process; where it is open, nobody saw its end.
        other: A play that is in Redis.
    """
    if identity(play) == identity(other):
        return False
    ended_ms = play.ended_ms
    if play.end_reason is None:
        length_ms = play.item.duration_ms or UNSEEN_END_MS
        ended_ms = max(ended_ms, min(ended_ms + UNSEEN_END_MS, play.started_ms + length_ms))
    shared = min(ended_ms, other.ended_ms) - max(play.started_ms, other.started_ms)
    shorter = min(play.ended_ms - play.started_ms, other.ended_ms - other.started_ms)
    return 2 * shared >= max(shorter, 0)


def distance_ms(
    play: Play, ended_ms: int, later: Sequence[Play], now_ms: int, unobserved: Iterable[tuple[int, int]]
) -> int | None:
    """Return how badly the end of an item of `recently-played` fits a play of the same recording.

    Args:
        play: The play.
        ended_ms: When the item ended.
        later: The plays that started after the play.
        now_ms: How far the open play has come.
        unobserved: From and to of the periods without answers.

    Returns:
        Milliseconds between the two ends; None where they cannot be the same play.
    """
    play_ended_ms = end_of(play, now_ms)
    apart_ms = abs(ended_ms - play_ended_ms)
    if play.source == BACKFILL:
        return apart_ms if apart_ms <= SAME_END_MS else None
    if _ended_at_start(play, ended_ms) or _may_be_repetition(play, ended_ms):
        return None
    is_within = play.end_reason is None and ended_ms <= play_ended_ms
    if ended_ms >= play.started_ms - SAME_END_MS and (is_within or apart_ms <= UNSEEN_END_MS):
        return apart_ms
    if ended_ms < play_ended_ms or _is_followed(play, later, ended_ms):
        return None
    return apart_ms if _may_have_lasted(play, ended_ms, unobserved) else None


def ended_within(play: Play, ended_ms: int, now_ms: int) -> bool:
    """Return whether an item of the same recording ended inside a play that was seen: it was restarted."""
    is_inside = play.started_ms <= ended_ms <= end_of(play, now_ms)
    return play.source != BACKFILL and is_inside and not _ended_at_start(play, ended_ms)


def end_of(play: Play, now_ms: int) -> int:
    """Return when a play ended; now, while it is open."""
    return now_ms if play.end_reason is None else play.ended_ms


def remaining_ms(play: Play) -> int | None:
    """Return how much was left of an item that played on when it was last seen; None if its end was seen."""
    progress, duration = play.fields.get("progress_ms"), play.item.duration_ms
    went_on = play.end_reason == UNKNOWN and play.fields.get("playing") == 1
    if not went_on or duration is None or not isinstance(progress, int):
        return None
    return max(0, min(duration, MAX_ITEM_MS) - progress)


def matches_tombstone(tombstones: Mapping[int, int], ended_ms: int) -> bool:
    """Return whether an item of `recently-played` may be one of the deleted plays.

    An item that ended as such a play began is the one before it.

    Args:
        tombstones: The second that named each deleted play, and the second in which it ended.
        ended_ms: When the item ended.
    """
    return any(
        second * 1000 + min(SAME_END_MS, (end - second) * 500 - 2000) <= ended_ms <= end * 1000 + SAME_END_MS
        for second, end in tombstones.items()
    )


def _ended_at_start(play: Play, ended_ms: int) -> bool:
    """Return whether an item of the same recording ended as a play began: on repeat, the one before."""
    length = None if play.end_reason is None else play.ended_ms - play.started_ms
    tolerance = SAME_END_MS if length is None else min(SAME_END_MS, length // 2)
    return abs(ended_ms - play.started_ms) <= tolerance


def _may_be_repetition(play: Play, ended_ms: int) -> bool:
    """Return whether a play whose end nobody saw may have been repeated in whole until a moment."""
    left, duration = remaining_ms(play), play.item.duration_ms
    if left is None or not duration:
        return False
    beyond = ended_ms - play.ended_ms - left
    times = round(beyond / duration)
    return times >= 1 and abs(beyond - times * duration) <= times * REPEAT_TOLERANCE_MS


def _is_followed(play: Play, later: Iterable[Play], until_ms: int) -> bool:
    """Return whether anything else was played after a play, and well before a moment."""
    moments = (other.ended_ms if other.source == BACKFILL else other.started_ms for other in later)
    return any(play.ended_ms - SAME_END_MS <= moment < until_ms - SAME_END_MS for moment in moments)


def _may_have_lasted(play: Play, until_ms: int, unobserved: Iterable[tuple[int, int]]) -> bool:
    """Return whether a play that was last heard some time ago may have been left only at a moment.

    It was paused, then, or not observed. A paused play is over after half an hour: if it was heard again
    later, that was a new one. But nothing was heard while the player was seen to stand still, unless so
    little was left that it was over between two answers.
    """
    over_ms = play.ended_ms + (remaining_ms(play) or 0) + LONGEST_PAUSE_MS
    if until_ms <= over_ms + UNSEEN_END_MS:
        return True
    unobserved_ms = sum(max(0, min(until_ms, end) - max(over_ms, begin)) for begin, end in unobserved)
    return unobserved_ms < UNSEEN_END_MS and not _is_almost_done(play)


def _is_almost_done(play: Play) -> bool:
    """Return whether the rest of a play's item is shorter than the time between two answers."""
    progress, duration = play.fields.get("progress_ms"), play.item.duration_ms
    return isinstance(progress, int) and duration is not None and duration - progress <= UNSEEN_END_MS


# Next free second?


def next_free_second(second: int, is_taken: Callable[[int], bool]) -> int:
    """Return the first second from `second` on, the one in which a play started, that names no other play."""
    return next(filterfalse(is_taken, count(second)))


def naming_seconds(started_second: int) -> range:
    """Return the seconds that may name a play which started in a second."""
    return range(started_second, started_second + NAMING_SPAN)
