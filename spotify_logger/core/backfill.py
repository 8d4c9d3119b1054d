"""Find the plays that polling missed in `recently-played`. Pure; moments are in UTC milliseconds.

`played_at` is the end of a play, pauses included (recordings of 2020 to 2026; in 2017 it was the start). It
says neither when the play began nor how much of it was played, omits podcasts, and may arrive late, out of
order, twice, or never. So each item is first matched against the known plays. An item without a match is a
play that was missed: it fills at most the time that its neighbors leave free.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import NamedTuple

from spotify_logger.core import matching
from spotify_logger.core.play import BACKFILL, SKIPPED, STOPPED, TRACKDONE, UNKNOWN, Play, near_end_ms
from spotify_logger.core.player_state import FieldValue, Item, dict_get, playback_fields, read_item
from spotify_logger.core.times import from_iso

MAX_ITEMS = 100  # read from one response; Spotify returns at most fifty (spotify/web-api#1405)
START = attrgetter("started_ms")


class RecentPlay(NamedTuple):
    """An item of `recently-played`, and the fields of the `listening:` hash that it provides."""

    item: Item
    ended_ms: int
    fields: Mapping[str, FieldValue]


def read_recently_played(body: object) -> list[RecentPlay]:
    """Return the valid items of a response of `/v1/me/player/recently-played`, oldest first."""
    entries, found = dict_get(body, "items"), {}
    for entry in entries[:MAX_ITEMS] if isinstance(entries, list) else ():
        item, played_at = read_item(dict_get(entry, "track")), dict_get(entry, "played_at")
        ended_ms = from_iso(played_at) if isinstance(played_at, str) else None
        if item is not None and ended_ms:
            about = {"item": dict_get(entry, "track"), "context": dict_get(entry, "context")}
            found[ended_ms, item.uri] = RecentPlay(item, ended_ms, playback_fields(item, about))
    return sorted(found.values(), key=attrgetter("ended_ms"))


def backfill_plays(
    known: Sequence[Play], history: Sequence[RecentPlay], now_ms: int, unobserved: Sequence[tuple[int, int]]
) -> list[Play]:
    """Return new plays, and updated versions of known plays whose end was not observed.

    The known plays are all since well before the oldest item of the history, including the open one, which
    lasts until `now_ms`. `unobserved` is the start and end of each period without answers.
    """
    plays = sorted(known, key=START)
    past = [recent for recent in history if recent.ended_ms <= now_ms + matching.UNSEEN_END_MS]
    pairs, unknown = _paired(plays, past, now_ms, unobserved)
    before, completed = {matching.identity(play): play for play in plays}, []
    for index, recent in pairs:
        # The start of a backfilled play is only an estimate.
        followed = (
            play.started_ms
            for play in plays[index + 1 :]
            if play.source != BACKFILL or play.ended_ms <= recent.ended_ms
        )
        better = _corrected(plays[index], recent, min(recent.ended_ms, now_ms, *followed), unknown)
        if better is not plays[index]:
            completed.append(better)
    log = before | {matching.identity(play): play for play in completed}
    for play in completed:
        _make_room(log, play)
    for recent in unknown:
        since_ms = max((begin for begin, end in unobserved if begin <= recent.ended_ms <= end), default=0)
        new = _fitted(sorted(log.values(), key=START), recent, since_ms, now_ms)
        while matching.identity(new) in log and new.ms_played:  # two plays compete for the same free time
            new = replace(new, started_ms=new.started_ms + 1, ms_played=new.ms_played - 1)
        if matching.identity(new) not in log:
            new = replace(new, second=new.started_ms // 1000, end_reason=_reason(new, new.ms_played))
            _make_room(log, new)
            log[matching.identity(new)] = new
    return sorted((play for key, play in log.items() if play is not before.get(key)), key=START)


def _paired(
    plays: Sequence[Play], history: Sequence[RecentPlay], now_ms: int, unobserved: Sequence[tuple[int, int]]
) -> tuple[list[tuple[int, RecentPlay]], list[RecentPlay]]:
    """Return pairs of an index into `plays` and its item, and the items that belong to no known play."""
    recordings = [matching.recording_of(play.item, play.fields) for play in plays]
    distances, restarted = [], set()
    for number, recent in enumerate(history):
        wanted, ended_ms = matching.recording_of(recent.item, recent.fields), recent.ended_ms
        begun = bisect_right(plays, ended_ms + matching.SAME_END_MS, key=START)
        for index, play in enumerate(plays[:begun]):
            if matching.is_same_recording(recordings[index], wanted):
                distance = matching.distance_ms(play, ended_ms, plays[index + 1 :], now_ms, unobserved)
                if distance is not None:
                    distances.append((distance, number, index))
                if matching.ended_within(play, ended_ms, now_ms):
                    restarted.add(number)
    paired: dict[int, int] = {}
    for _, number, index in sorted(distances):  # the closest pairs first
        if number not in paired and index not in paired.values():
            paired[number] = index
    unknown = [recent for number, recent in enumerate(history) if number not in paired.keys() | restarted]
    return [(index, history[number]) for number, index in paired.items()], unknown


def _corrected(play: Play, recent: RecentPlay, until_ms: int, unknown: Sequence[RecentPlay]) -> Play:
    """Return a play with the end of its item, if its own was not observed, or is that of an unknown item."""
    left, excess_ms = matching.remaining_ms(play), play.ended_ms - recent.ended_ms
    if left is not None and until_ms > play.ended_ms:
        more = min(left, until_ms - play.ended_ms)
        reason = TRACKDONE if left - more <= near_end_ms(play.item.duration_ms or 0) else SKIPPED
        return replace(play, ended_ms=until_ms, ms_played=play.ms_played + more, end_reason=reason)
    is_live = play.source != BACKFILL and play.end_reason in {SKIPPED, TRACKDONE}
    is_taken = any(abs(other.ended_ms - play.ended_ms) <= matching.SAME_END_MS for other in unknown)
    if is_live and is_taken and 0 < excess_ms < play.ms_played:
        ms_played = play.ms_played - excess_ms
        return replace(play, ended_ms=recent.ended_ms, ms_played=ms_played, end_reason=SKIPPED)
    return play


def _fitted(plays: Sequence[Play], recent: RecentPlay, since_ms: int, now_ms: int) -> Play:
    """Return the play of an unmatched item: it ends with the item, and fills the free time since a moment."""
    until_ms, from_ms = recent.ended_ms, since_ms
    for play in plays:
        contains = play.started_ms <= recent.ended_ms < matching.end_of(play, now_ms)
        if play.source != BACKFILL and contains and recent.ended_ms - play.started_ms <= matching.SAME_END_MS:
            until_ms = min(until_ms, play.started_ms)
    before = [play for play in plays if play.started_ms < until_ms]
    for play in before:
        if play.ended_ms <= until_ms:
            from_ms = max(from_ms, play.ended_ms)
        elif play.source != BACKFILL:  # the start of a backfilled play is only an estimate
            from_ms = max(from_ms, min(play.started_ms + play.ms_played, until_ms))
    longest_ms, last = recent.item.duration_ms or 0, before[-1] if before else None
    if last is not None and last.end_reason == STOPPED:  # if this item was paused, only the rest was missed
        progress, stopped = last.fields.get("progress_ms"), matching.recording_of(last.item, last.fields)
        is_rest = matching.is_same_recording(stopped, matching.recording_of(recent.item, recent.fields))
        longest_ms = max(0, longest_ms - progress) if is_rest and isinstance(progress, int) else longest_ms
    ms_played = max(0, min(until_ms - from_ms, longest_ms))
    return Play(0, recent.item, until_ms - ms_played, until_ms, ms_played, UNKNOWN, BACKFILL, recent.fields)


def _make_room(log: dict[matching.Identity, Play], new: Play) -> None:
    """Shorten the backfilled plays that overlap a newly found one."""
    for key, play in log.items():
        free_ms = play.ended_ms - new.ended_ms
        if play.source == BACKFILL and 0 < free_ms < play.ms_played:
            log[key] = replace(play, ms_played=free_ms, end_reason=_reason(play, free_ms))


def _reason(play: Play, ms_played: int) -> str:
    duration = play.item.duration_ms
    return TRACKDONE if duration is not None and ms_played >= duration - near_end_ms(duration) else UNKNOWN
