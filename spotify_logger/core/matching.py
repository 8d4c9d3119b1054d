"""The rules for the same recording, the same play, and the key of a play, in UTC milliseconds. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import IntEnum
from functools import lru_cache
from itertools import count, filterfalse
from typing import NamedTuple

from spotify_logger.core.play import BACKFILL, IMPORT, LIVE, UNKNOWN, Play
from spotify_logger.core.player_state import MAX_ITEM_MS, FieldValue, Item
from spotify_logger.core.text import fold

SAME_DURATION_MS = 3_000  # pressings of one recording differ in length by at most this
SAME_END_MS = 5_000  # reports of an end (the player's, `played_at`, an export's `ts`) differ by at most this
UNSEEN_END_MS = 60_000  # an unobserved end may be off by the time between two answers of an idle player
MINUTE_MS = 60_000  # account data gives only the minute in which a play ended
LISTEN_TOLERANCE_MS = 60_000  # other loggers note a listen at most this much before or after its play
LONGEST_PAUSE_MS = 30 * 60_000  # of a play; Spotify reports it once the player leaves the item
REPEAT_TOLERANCE_MS = 3_000  # each repetition of a track may take this much longer than the track
NAMING_SPAN = 3600  # seconds after the start of a play among which the one that names it is chosen

folded = lru_cache(maxsize=1024)(fold)  # the same few names are compared again and again


class Recording(NamedTuple):
    """What tells whether two items are the same recording; names are folded, and what is unknown is empty."""

    uri: str
    isrc: str
    title: str
    artists: frozenset[str]
    album: str
    duration_ms: int | None


def recording_of(item: Item, fields: Mapping[str, FieldValue]) -> Recording:
    """Return the recording of an item; the fields of a play of it provide names that the catalog lacks."""
    known = {**fields, **item.catalog}
    name, artists, album, isrc = (str(known.get(key) or "") for key in ("name", "artists", "album", "isrc"))
    names = folded(name), artist_names(artists), folded(album)
    return Recording(item.uri, isrc.upper(), *names, item.duration_ms)


@lru_cache(maxsize=4096)
def artist_names(artists: str) -> frozenset[str]:
    """Return the names in a joined list of artists, and the whole list, which may be one name; folded."""
    whole = fold(artists)
    return frozenset((whole, *whole.split(", "))) - {""}


def is_same_recording(one: Recording, other: Recording) -> bool:
    """Return whether two items are the same recording: by URI, ISRC, or title, artists and duration.

    Spotify may report a play under another ID, of another album (spotify/web-api#1232). Exports have no
    durations, and only the album's artist where the player has all artists of the track.
    """
    if one.uri == other.uri:
        return True
    if one.isrc and other.isrc:
        return one.isrc == other.isrc
    if not one.title or one.title != other.title:
        return False
    if one.duration_ms is not None and other.duration_ms is not None:
        return one.artists == other.artists and abs(one.duration_ms - other.duration_ms) <= SAME_DURATION_MS
    if one.artists & other.artists:
        return True
    return one.album == other.album if one.album and other.album else not (one.artists and other.artists)


Identity = tuple[int, str]


def identity(play: Play) -> Identity:
    """Return what all states of a play have in common: its start in milliseconds, and the URI of its item."""
    return play.started_ms, play.item.uri


def is_same_play(play: Play, other: Play) -> bool:
    """Return whether a play of the outbox, perhaps open, and another one in Redis are one play.

    Each logger, or an import, reports another start of it; a play with the same start is no match.
    """
    ours, theirs = (recording_of(each.item, each.fields) for each in (play, other))
    if identity(play) == identity(other) or not is_same_recording(ours, theirs):
        return False
    ranks = account_rank(play), account_rank(other)
    if AccountRank.LISTEN in ranks:
        return abs(play.started_ms - other.started_ms) <= LISTEN_TOLERANCE_MS
    if IMPORT in {play.source, other.source} and min(ranks) <= AccountRank.BACKFILLED:
        # Only the end is known of a backfilled play, and only its minute in account data.
        early_ms, late_ms = (SAME_END_MS + MINUTE_MS * (rank is AccountRank.ACCOUNT_DATA) for rank in ranks)
        return -early_ms <= play.ended_ms - other.ended_ms <= late_ms
    ended_ms = play.ended_ms
    if play.end_reason is None:
        length_ms = play.item.duration_ms or UNSEEN_END_MS
        ended_ms = max(ended_ms, min(ended_ms + UNSEEN_END_MS, play.started_ms + length_ms))
    shared = min(ended_ms, other.ended_ms) - max(play.started_ms, other.started_ms)
    shorter = min(play.ended_ms - play.started_ms, other.ended_ms - other.started_ms)
    is_same_end = AccountRank.BACKFILLED in ranks and abs(play.ended_ms - other.ended_ms) <= SAME_END_MS
    return is_same_end or 2 * shared >= max(shorter, 0)


def distance_ms(
    play: Play, ended_ms: int, later: Sequence[Play], now_ms: int, unobserved: Iterable[tuple[int, int]]
) -> int | None:
    """Return how far apart the ends of a `recently-played` item and a play of its recording are.

    It is None if they cannot be the same play. The plays in `later` started after it.
    """
    play_ended_ms = end_of(play, now_ms)
    apart_ms = abs(ended_ms - play_ended_ms)
    if play.source == BACKFILL:
        return apart_ms if apart_ms <= SAME_END_MS else None
    if _ended_at_start(play, ended_ms) or _may_be_repetition(play, ended_ms):
        return None
    if ended_ms >= play.started_ms - SAME_END_MS and (play.end_reason is None or apart_ms <= UNSEEN_END_MS):
        return apart_ms
    moments = (other.ended_ms if other.source == BACKFILL else other.started_ms for other in later)
    # Something else was played after it and well before the item ended.
    is_followed = any(play.ended_ms - SAME_END_MS <= moment < ended_ms - SAME_END_MS for moment in moments)
    if ended_ms < play_ended_ms or is_followed:
        return None
    return apart_ms if _may_have_lasted(play, ended_ms, unobserved) else None


def ended_within(play: Play, ended_ms: int, now_ms: int) -> bool:
    """Return whether an item of the same recording ended inside an observed play: it was restarted."""
    is_inside = play.started_ms <= ended_ms <= end_of(play, now_ms)
    return play.source != BACKFILL and is_inside and not _ended_at_start(play, ended_ms)


def end_of(play: Play, now_ms: int) -> int:
    """Return when a play ended; `now_ms` while it is open."""
    return now_ms if play.end_reason is None else play.ended_ms


def remaining_ms(play: Play) -> int | None:
    """Return the milliseconds left of an item that was last seen playing; None if its end was observed."""
    went_on = play.end_reason == UNKNOWN and play.fields.get("playing") == 1
    return _left_ms(play) if went_on else None


def _left_ms(play: Play) -> int | None:
    progress, duration = play.fields.get("progress_ms"), play.item.duration_ms
    if duration is None or not isinstance(progress, int):
        return None
    return max(0, min(duration, MAX_ITEM_MS) - progress)


def matches_tombstone(tombstones: Mapping[int, int], ended_ms: int) -> bool:
    """Return whether an item of `recently-played` that ended at `ended_ms` may be a deleted play.

    An item that ended just as a deleted play began is the play before it.
    """
    return any(
        second * 1000 + min(SAME_END_MS, (end - second) * 500 - 2000) <= ended_ms <= end * 1000 + SAME_END_MS
        for second, end in tombstones.items()
    )


def _ended_at_start(play: Play, ended_ms: int) -> bool:
    """Return whether an item ended as a play began that is not short: on repeat, it is the one before."""
    is_short = play.end_reason is not None and play.ended_ms - play.started_ms < 2 * SAME_END_MS
    return not is_short and abs(ended_ms - play.started_ms) <= SAME_END_MS


def _may_be_repetition(play: Play, ended_ms: int) -> bool:
    """Return whether a play with an unobserved end may have been repeated in full until `ended_ms`."""
    left, duration = remaining_ms(play), play.item.duration_ms
    if left is None or not duration:
        return False
    beyond = ended_ms - play.ended_ms - left
    times = round(beyond / duration)
    return times >= 1 and abs(beyond - times * duration) <= times * REPEAT_TOLERANCE_MS


def _may_have_lasted(play: Play, until_ms: int, unobserved: Iterable[tuple[int, int]]) -> bool:
    """Return whether a play that last advanced some time ago may have ended only at `until_ms`.

    Meanwhile it was paused, for half an hour at most, or not observed. Nothing played while the player was
    observed standing still, unless so little was left that it ended between two answers.
    """
    if play.source == IMPORT:  # an export says how long it was heard, and not when it was left
        return True
    over_ms = play.ended_ms + (remaining_ms(play) or 0) + LONGEST_PAUSE_MS
    if until_ms <= over_ms + UNSEEN_END_MS:
        return True
    unobserved_ms = sum(max(0, min(until_ms, end) - max(over_ms, begin)) for begin, end in unobserved)
    left_ms = _left_ms(play)
    is_almost_done = left_ms is not None and left_ms <= UNSEEN_END_MS
    return unobserved_ms < UNSEEN_END_MS and not is_almost_done


def newness(play: Play) -> tuple[bool, int]:
    """Return a sort key for the states of one play: the newest is closed, or else ends last."""
    return play.end_reason is not None, play.ended_ms


class AccountRank(IntEnum):
    """How good an account of a play is: in the log, the better one takes the place of the other."""

    LISTEN = 0  # of another logger: title, artist, and a second at which it was playing
    ACCOUNT_DATA = 1  # no IDs, and only the minute of the end
    WITHOUT_ID = 2  # the first exports of the extended streaming history have no IDs
    BACKFILLED = 3  # the end is exact, the start an estimate
    EXTENDED = 4  # the extended streaming history
    SAMPLED = 5  # by the script of 2019
    LIVE = 6


def account_rank(play: Play) -> AccountRank:
    """Return how good the account of a play is."""
    if play.source != IMPORT:
        return AccountRank.LIVE if play.source == LIVE else AccountRank.BACKFILLED
    if "logged_by" in play.fields:
        return AccountRank.LISTEN
    if "playing" in play.fields:
        return AccountRank.SAMPLED
    if "id" in play.fields:
        return AccountRank.EXTENDED
    return AccountRank.WITHOUT_ID if "device_name" in play.fields else AccountRank.ACCOUNT_DATA


def next_free_second(second: int, is_taken: Callable[[int], bool]) -> int:
    """Return the first second, from that of the start on, that names no other play."""
    return next(filterfalse(is_taken, count(second)))


def naming_seconds(started_second: int) -> range:
    """Return the seconds that may name a play that started in `started_second`."""
    return range(started_second, started_second + NAMING_SPAN)
