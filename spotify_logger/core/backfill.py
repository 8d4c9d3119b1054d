"""What `recently-played` tells that polling did not see. Pure: known plays and its items in, plays out.

`played_at` is the end of a play, pauses included (recordings of 2020 to 2026; in 2017 it was the start). It
says neither when the play began nor how much of it was heard, knows no podcasts, and may come late, out of
order, twice, or never. So an item is first held against the plays that are known; what is left is a play that
nobody saw, and fills at most the room that its neighbours leave.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING

from spotify_logger.core.matching import (
    SAME_END_MS,
    UNSEEN_END_MS,
    distance_ms,
    end_of,
    ended_within,
    is_same_recording,
    item_with_names,
    remaining_ms,
)
from spotify_logger.core.play import BACKFILL, SKIPPED, STOPPED, TRACKDONE, UNKNOWN, Play, near_end_ms
from spotify_logger.core.player_state import Item, dict_get, read_item
from spotify_logger.core.times import from_iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spotify_logger.core.player_state import FieldValue

MAX_ITEMS = 100
"""Items of an answer that are looked at; Spotify gives fifty at most (spotify/web-api#1405)."""
LATEST_MS = 2**43
"""Milliseconds since the epoch, in the year 2248; what is later is no time but garbage."""


@dataclass(frozen=True, slots=True)
class RecentPlay:
    """An item of `recently-played`.

    Attributes:
        item: What was played.
        ended_ms: When it was left: milliseconds since the epoch, UTC.
        fields: The flat fields of the `listening:` hash that it tells.
    """

    item: Item
    ended_ms: int
    fields: dict[str, FieldValue]


def read_recently_played(body: object) -> list[RecentPlay]:
    """The items of an answer of `/v1/me/player/recently-played` that make sense, oldest first."""
    items = dict_get(body, "items")
    found = {}
    for entry in items[:MAX_ITEMS] if isinstance(items, list) else ():
        heard = _read_entry(entry)
        if heard is not None:
            found[heard.ended_ms, heard.item.uri] = heard
    return sorted(found.values(), key=attrgetter("ended_ms"))


def _read_entry(entry: object) -> RecentPlay | None:
    item, played_at = read_item(dict_get(entry, "track")), dict_get(entry, "played_at")
    ended_ms = from_iso(played_at) if isinstance(played_at, str) else None
    if item is None or ended_ms is None or not 0 < ended_ms < LATEST_MS:
        return None
    return RecentPlay(
        item, ended_ms, item_fields(item, dict_get(entry, "track"), dict_get(entry, "context.uri"))
    )


def item_fields(item: Item, raw: object, context: object) -> dict[str, FieldValue]:
    """The fields of the hash that tell what was played, as far as they are known."""
    told = {name: item.catalog.get(name) for name in ("uri", "type", "name", "artists", "album")}
    fields: dict[str, FieldValue] = {name: value for name, value in told.items() if value is not None}
    if item.key.startswith(("track:", "episode:")):
        fields["id"] = item.key.partition(":")[2]
    if item.duration_ms is not None:
        fields["duration_ms"] = item.duration_ms
    explicit = dict_get(raw, "explicit")
    if isinstance(explicit, bool):
        fields["explicit"] = int(explicit)
    if isinstance(context, str) and context:
        fields["context_uri"] = context[:4096].encode("utf-8", "replace").decode()
    return fields


def backfill_plays(
    known: Sequence[Play], history: Sequence[RecentPlay], now_ms: int, blind: Sequence[tuple[int, int]] = ()
) -> list[Play]:
    """Find what `recently-played` adds to what is known.

    Args:
        known: All plays since well before the oldest item, the open one included.
        history: The items, oldest first.
        now_ms: Now, in milliseconds since the epoch, UTC: where the open play has got to.
        blind: Stretches, from and to in such milliseconds, in which the player could not be seen.

    Returns:
        New plays, and newer states of known ones whose end nobody saw.
    """
    plays = sorted(known, key=attrgetter("started_ms"))
    told = [heard for heard in history if heard.ended_ms <= now_ms + UNSEEN_END_MS]
    pairs, unknown = _paired(plays, told, now_ms, blind)
    completed = []
    for index, heard in pairs:
        followed = (_followed_ms(play, heard.ended_ms) for play in plays[index + 1 :])
        ended_ms = min(heard.ended_ms, now_ms, *(moment for moment in followed if moment is not None))
        if (better := _completed(plays[index], ended_ms)) is not None:
            completed.append(better)
    changed = {(play.started_ms, play.item.uri): play for play in completed}
    plays = [changed.get((play.started_ms, play.item.uri), play) for play in plays]
    for play in completed:
        plays = list(_cut(plays, play, changed))
    for heard in unknown:
        new = _finished(_fitted(plays, heard, now_ms), plays)
        if new is None:
            continue
        plays = sorted([*_cut(plays, new, changed), new], key=attrgetter("started_ms"))
        changed[new.started_ms, new.item.uri] = new
    return sorted(changed.values(), key=attrgetter("started_ms"))


# Which items are known


def _paired(
    plays: Sequence[Play], history: Sequence[RecentPlay], now_ms: int, blind: Sequence[tuple[int, int]]
) -> tuple[list[tuple[int, RecentPlay]], list[RecentPlay]]:
    """Pair plays, by number, with items, the best fitting first; and return the items of no known play.

    The arguments are those of `repair`, the plays in the order of their starts.
    """
    names = [item_with_names(play) for play in plays]
    distances = sorted(
        (distance, number, index)
        for number, heard in enumerate(history)
        for index, play in enumerate(plays)
        if is_same_recording(names[index], heard.item)
        and (distance := distance_ms(play, heard.ended_ms, plays[index + 1 :], now_ms, blind)) is not None
    )
    of_item: dict[int, int] = {}
    for _, number, index in distances:
        if number not in of_item and index not in of_item.values():
            of_item[number] = index
    pairs = [(index, history[number]) for number, index in of_item.items()]
    rest = (heard for number, heard in enumerate(history) if number not in of_item)
    unknown = [
        heard
        for heard in rest
        if not any(
            ended_within(play, heard.ended_ms, now_ms) and is_same_recording(item, heard.item)
            for play, item in zip(plays, names, strict=True)
        )
    ]
    return pairs, unknown


def _followed_ms(play: Play, ended_ms: int) -> int | None:
    """When a later play began, if that is known: one that is known by its end may have begun later."""
    return None if play.source == BACKFILL and play.ended_ms > ended_ms else play.started_ms


def _completed(play: Play, ended_ms: int) -> Play | None:
    """A play that went out of sight, with the end that its item tells; None where nothing is to be added."""
    left = remaining_ms(play)
    if left is None or ended_ms <= play.ended_ms:
        return None
    more = min(left, ended_ms - play.ended_ms)
    is_done = left - more <= near_end_ms(play.item.duration_ms or 0)
    return replace(
        play,
        ended_ms=ended_ms,
        ms_played=play.ms_played + more,
        end_reason=TRACKDONE if is_done else SKIPPED,
    )


# What an unknown item is


def _fitted(plays: Sequence[Play], recent: RecentPlay, now_ms: int) -> Play:
    """The play of an item that nobody saw: it ends with the item, and fills the room before, if it can."""
    until_ms, from_ms = recent.ended_ms, 0
    for play in plays:
        end = end_of(play, now_ms)
        if play.started_ms > recent.ended_ms:
            break
        is_seen = play.source != BACKFILL
        if is_seen and end > recent.ended_ms and recent.ended_ms - play.started_ms <= SAME_END_MS:
            until_ms = min(until_ms, play.started_ms)  # this one came next
    for play in plays:
        if play.started_ms >= until_ms:
            break
        if play.source == BACKFILL and play.ended_ms > until_ms:
            continue  # its start was only a possible one
        heard_until = play.ended_ms if play.ended_ms <= until_ms else play.started_ms + play.ms_played
        from_ms = max(from_ms, min(heard_until, until_ms))
    room = until_ms - from_ms
    longest = _longest_ms([play for play in plays if play.started_ms < until_ms], recent.item)
    ms_played = min(room, longest)
    started_ms = until_ms - ms_played
    return Play(
        started_ms // 1000,
        recent.item,
        started_ms,
        until_ms,
        ms_played,
        UNKNOWN,
        BACKFILL,
        recent.fields,
    )


def _longest_ms(before: Sequence[Play], item: Item) -> int:
    """For how long an item can have been heard: all of it, or the rest where it was paused before."""
    if item.duration_ms is None:
        return 0
    paused = before[-1] if before else None
    progress = None if paused is None or paused.end_reason != STOPPED else paused.fields.get("progress_ms")
    if paused is not None and isinstance(progress, int) and is_same_recording(item_with_names(paused), item):
        return max(0, item.duration_ms - progress)
    return item.duration_ms


def _finished(new: Play, plays: Iterable[Play]) -> Play | None:
    """A new play with the reason of its end, and with a start at which no other play of the same starts.

    Two of them may have the same room to fill; None for one to which nothing at all is left of it.
    """
    taken = {play.started_ms for play in plays if play.item.uri == new.item.uri}
    while new.started_ms in taken:
        if not new.ms_played:
            return None
        new = replace(new, started_ms=new.started_ms + 1, ms_played=new.ms_played - 1)
    return replace(new, second=new.started_ms // 1000, end_reason=_reason(new, new.ms_played))


def _cut(plays: Iterable[Play], new: Play, changed: dict[tuple[int, str], Play]) -> Iterator[Play]:
    """Take from repaired plays what a newly found one shows they cannot have been heard for."""
    for play in plays:
        overlaps = play.started_ms < new.ended_ms < play.ended_ms
        room = play.ended_ms - new.ended_ms
        if play.source == BACKFILL and overlaps and play.ms_played > room:
            shorter = replace(play, ms_played=room, end_reason=_reason(play, room))
            changed[play.started_ms, play.item.uri] = shorter
            yield shorter
        else:
            yield play


def _reason(play: Play, ms_played: int) -> str:
    duration = play.item.duration_ms
    return TRACKDONE if duration is not None and ms_played >= duration - near_end_ms(duration) else UNKNOWN
