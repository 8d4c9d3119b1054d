"""Find the plays that polling missed in `recently-played`. Pure: known plays and its items in, plays out.

`played_at` is the end of a play, pauses included (recordings of 2020 to 2026; in 2017 it was the start). It
says neither when the play began nor how much of it was played, omits podcasts, and may arrive late, out of
order, twice, or never. So each item is first matched against the known plays. An item without a match is a
play that was missed: it fills at most the time that its neighbors leave free.
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
"""Items read from one response; Spotify returns at most fifty (spotify/web-api#1405)."""


@dataclass(frozen=True, slots=True)
class RecentPlay:
    """An item of `recently-played`.

    Attributes:
        item: The track.
        ended_ms: When the play ended, in milliseconds since the epoch, UTC.
        fields: The fields of the `listening:` hash that the item provides.
    """

    item: Item
    ended_ms: int
    fields: dict[str, FieldValue]


def read_recently_played(body: object) -> list[RecentPlay]:
    """Return the valid items of a response of `/v1/me/player/recently-played`, oldest first."""
    items = dict_get(body, "items")
    found = {}
    for entry in items[:MAX_ITEMS] if isinstance(items, list) else ():
        recent = _read_entry(entry)
        if recent is not None:
            found[recent.ended_ms, recent.item.uri] = recent
    return sorted(found.values(), key=attrgetter("ended_ms"))


def _read_entry(entry: object) -> RecentPlay | None:
    item, played_at = read_item(dict_get(entry, "track")), dict_get(entry, "played_at")
    ended_ms = from_iso(played_at) if isinstance(played_at, str) else None
    if item is None or not ended_ms:
        return None
    return RecentPlay(
        item, ended_ms, item_fields(item, dict_get(entry, "track"), dict_get(entry, "context.uri"))
    )


def item_fields(item: Item, raw: object, context: object) -> dict[str, FieldValue]:
    """Return the fields of the `listening:` hash that describe the item, as far as they are known."""
    known = {name: item.catalog.get(name) for name in ("uri", "type", "name", "artists", "album")}
    fields: dict[str, FieldValue] = {name: value for name, value in known.items() if value is not None}
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
    known: Sequence[Play],
    history: Sequence[RecentPlay],
    now_ms: int,
    unobserved: Sequence[tuple[int, int]] = (),
) -> list[Play]:
    """Return what `recently-played` adds to the known plays.

    Args:
        known: All plays since well before the oldest item, including the open one.
        history: The items, oldest first.
        now_ms: The present, in milliseconds since the epoch, UTC: how far the open play has come.
        unobserved: The start and end of each period without answers, in milliseconds since the epoch, UTC.

    Returns:
        New plays, and updated versions of known plays whose end was not observed.
    """
    plays = sorted(known, key=attrgetter("started_ms"))
    past = [recent for recent in history if recent.ended_ms <= now_ms + UNSEEN_END_MS]
    pairs, unknown = _paired(plays, past, now_ms, unobserved)
    completed = []
    for index, recent in pairs:
        followed = (_followed_ms(play, recent.ended_ms) for play in plays[index + 1 :])
        ended_ms = min(recent.ended_ms, now_ms, *(moment for moment in followed if moment is not None))
        if (better := _completed(plays[index], ended_ms)) is not None:
            completed.append(better)
    changed = {(play.started_ms, play.item.uri): play for play in completed}
    plays = [changed.get((play.started_ms, play.item.uri), play) for play in plays]
    for play in completed:
        plays = list(_cut(plays, play, changed))
    for recent in unknown:
        new = _finished(_fitted(plays, recent, now_ms), plays)
        if new is None:
            continue
        plays = sorted([*_cut(plays, new, changed), new], key=attrgetter("started_ms"))
        changed[new.started_ms, new.item.uri] = new
    return sorted(changed.values(), key=attrgetter("started_ms"))


# Matching items with known plays


def _paired(
    plays: Sequence[Play], history: Sequence[RecentPlay], now_ms: int, unobserved: Sequence[tuple[int, int]]
) -> tuple[list[tuple[int, RecentPlay]], list[RecentPlay]]:
    """Pair known plays with items, the closest pairs first.

    Args:
        plays: The known plays, in the order of their starts.
        history: The items.
        now_ms: The present, in milliseconds since the epoch, UTC.
        unobserved: The start and end of each period without answers.

    Returns:
        Pairs of an index into `plays` and its item; and the items that belong to no known play.
    """
    names = [item_with_names(play) for play in plays]
    distances = sorted(
        (distance, number, index)
        for number, recent in enumerate(history)
        for index, play in enumerate(plays)
        if is_same_recording(names[index], recent.item)
        and (distance := distance_ms(play, recent.ended_ms, plays[index + 1 :], now_ms, unobserved))
        is not None
    )
    of_item: dict[int, int] = {}
    for _, number, index in distances:
        if number not in of_item and index not in of_item.values():
            of_item[number] = index
    pairs = [(index, history[number]) for number, index in of_item.items()]
    rest = (recent for number, recent in enumerate(history) if number not in of_item)
    unknown = [
        recent
        for recent in rest
        if not any(
            ended_within(play, recent.ended_ms, now_ms) and is_same_recording(item, recent.item)
            for play, item in zip(plays, names, strict=True)
        )
    ]
    return pairs, unknown


def _followed_ms(play: Play, ended_ms: int) -> int | None:
    """Return when a later play began; None if only its end is known, so that it may have begun later."""
    return None if play.source == BACKFILL and play.ended_ms > ended_ms else play.started_ms


def _completed(play: Play, ended_ms: int) -> Play | None:
    """Return a play whose end was not observed with the end of its item; None if that adds nothing."""
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


# New plays


def _fitted(plays: Sequence[Play], recent: RecentPlay, now_ms: int) -> Play:
    """Return the play of an unmatched item: it ends with the item, and fills the free time before that."""
    until_ms, from_ms = recent.ended_ms, 0
    for play in plays:
        end = end_of(play, now_ms)
        if play.started_ms > recent.ended_ms:
            break
        is_seen = play.source != BACKFILL
        if is_seen and end > recent.ended_ms and recent.ended_ms - play.started_ms <= SAME_END_MS:
            until_ms = min(until_ms, play.started_ms)  # this play came next
    for play in plays:
        if play.started_ms >= until_ms:
            break
        if play.source == BACKFILL and play.ended_ms > until_ms:
            continue  # its start is only an estimate
        played_until = play.ended_ms if play.ended_ms <= until_ms else play.started_ms + play.ms_played
        from_ms = max(from_ms, min(played_until, until_ms))
    free_ms = until_ms - from_ms
    longest = _longest_ms([play for play in plays if play.started_ms < until_ms], recent.item)
    ms_played = min(free_ms, longest)
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
    """Return for how long an item can have played: its whole length, or the rest if it was paused before."""
    if item.duration_ms is None:
        return 0
    paused = before[-1] if before else None
    progress = None if paused is None or paused.end_reason != STOPPED else paused.fields.get("progress_ms")
    if paused is not None and isinstance(progress, int) and is_same_recording(item_with_names(paused), item):
        return max(0, item.duration_ms - progress)
    return item.duration_ms


def _finished(new: Play, plays: Iterable[Play]) -> Play | None:
    """Return a new play with its end reason, and with a start that no other play of its item has.

    Two plays may compete for the same free time; None for a play that gets none of it.
    """
    taken = {play.started_ms for play in plays if play.item.uri == new.item.uri}
    while new.started_ms in taken:
        if not new.ms_played:
            return None
        new = replace(new, started_ms=new.started_ms + 1, ms_played=new.ms_played - 1)
    return replace(new, second=new.started_ms // 1000, end_reason=_reason(new, new.ms_played))


def _cut(plays: Iterable[Play], new: Play, changed: dict[tuple[int, str], Play]) -> Iterator[Play]:
    """Shorten the backfilled plays that overlap a newly found one."""
    for play in plays:
        overlaps = play.started_ms < new.ended_ms < play.ended_ms
        free_ms = play.ended_ms - new.ended_ms
        if play.source == BACKFILL and overlaps and play.ms_played > free_ms:
            shorter = replace(play, ms_played=free_ms, end_reason=_reason(play, free_ms))
            changed[play.started_ms, play.item.uri] = shorter
            yield shorter
        else:
            yield play


def _reason(play: Play, ms_played: int) -> str:
    duration = play.item.duration_ms
    return TRACKDONE if duration is not None and ms_played >= duration - near_end_ms(duration) else UNKNOWN
