"""The rules for matching rows of exports with each other and known plays, in UTC milliseconds. Pure.

Each source has its own times for a play, may use another ID, and may report it in more or fewer pieces.
"""

from functools import cached_property

from spotify_logger.core import matching
from spotify_logger.core.matching import LISTEN_TOLERANCE_MS, MINUTE_MS, SAME_END_MS, AccountRank
from spotify_logger.core.play import IMPORT, TRACKDONE, UNKNOWN, Play
from spotify_logger.core.player_state import ONE_DAY_MS

TIME_TOLERANCE_MS = 5_000  # the times of two sources differ by at most this, server delays included
SHORT_PLAY_MS = 2 * TIME_TOLERANCE_MS  # plays that the tolerance of times alone cannot tell apart
PART_TOLERANCE_MS = 15_000  # parts of a play extend beyond it by at most this: it may be observed late
PART_COST = 32 * ONE_DAY_MS  # of a row that can only be a part of a play: more than any other cost
DUPLICATE_END_MS = 30_000  # rows whose ends alone differ, by at most this, are one play (as in maloja)
SAME_START_MS = 1_000  # no item is started twice within a second
MS_PLAYED_TOLERANCE_MS = 1_000  # the two exports differ by at most this in how long a play lasted
IMPORTED_FIELDS = ("name", "artists", "album", "device_name", "shuffle_state")  # may differ in two exports
TOMBSTONE_MS = 1_000  # the resolution of tombstones: whole seconds
LEAST_LISTEN_MS = 30_000  # for an unknown length: other loggers count from about half a minute on
_KINDS = {AccountRank.SAMPLED: AccountRank.LIVE, AccountRank.WITHOUT_ID: AccountRank.EXTENDED}


class PlayEvidence:
    """What a source reports about a play."""

    def __init__(self, play: Play, kind: AccountRank, reported_end_ms: int, isrc: str = "") -> None:
        self.play = play
        self.kind = kind  # as `kind_of` returns it
        self.begin_ms = play.started_ms  # no part of it was played before
        # No part of it was played after.
        self.end_ms = play.ended_ms + (MINUTE_MS if kind is AccountRank.ACCOUNT_DATA else 0)
        self.reported_end_ms = reported_end_ms  # after a pause, long after the last playback
        self.ms_played = play.ms_played
        # Whether the source reports the start, rather than it being the end minus the time played.
        self.has_start = self.end_ms - self.begin_ms != self.ms_played
        self.has_only_minute = kind is AccountRank.LISTEN and has_only_minute(play)
        self.latest_start_ms = self.begin_ms + (MINUTE_MS - 1) * self.has_only_minute
        self._isrc = isrc

    @cached_property
    def recording(self) -> matching.Recording:
        """What tells its recording; most rows are told apart without it."""
        found = matching.recording_of(self.play.item, {**self.play.fields, "isrc": self._isrc})
        # Two loggers may know other lengths and guests of one recording; their times tell it from others.
        return found._replace(duration_ms=None)


def kind_of(play: Play) -> AccountRank:
    """Return the kind of account that a logged play is, whether polled by us or in 2019, with IDs or not."""
    rank = matching.account_rank(play)
    return _KINDS.get(rank, rank)


def account_order(play: Play) -> tuple[object, ...]:
    """Return a sort key for the accounts of one play, of which the greatest is the best.

    Imported ones of the same kind are told apart as well, so that the log depends on no order: the one that
    began first, and of those with the same second the one with the finer stamp. Of listens, those with
    a length come first, then those with the second.
    """
    rank = matching.account_rank(play)
    if play.source != IMPORT:
        return (rank,)
    has_length = rank is AccountRank.LISTEN and play.ms_played != LEAST_LISTEN_MS
    has_second = rank is AccountRank.LISTEN and not has_only_minute(play)
    second, rest_ms = divmod(play.started_ms, 1000)
    times = (-second, rest_ms, play.ms_played, -play.ended_ms, play.item.uri, str(play.end_reason))
    texts = (str(play.fields.get(name)).replace(" ", "").replace("\ufffd", "") for name in IMPORTED_FIELDS)
    # Without what CSV for spreadsheets replaces, so that it is no other account.
    return rank, has_length, has_second, *times, *("".join(filter(str.isprintable, text)) for text in texts)


def is_duplicate(one: PlayEvidence, other: PlayEvidence) -> bool:
    """Return whether two rows of extended streaming histories are one play reported twice."""
    is_as_long, have_starts = one.ms_played == other.ms_played, one.has_start and other.has_start
    begin_apart_ms = abs(one.begin_ms - other.begin_ms)
    if one.play.item.uri == other.play.item.uri and begin_apart_ms < SAME_START_MS:
        return is_as_long or have_starts or not begin_apart_ms
    # Nobody heard one item twice in a shorter time than that takes; older exports have no IDs, or other ones.
    span_ms = max(one.end_ms, other.end_ms) - min(one.begin_ms, other.begin_ms)
    if is_as_long and (span_ms < 2 * one.ms_played - TIME_TOLERANCE_MS or begin_apart_ms < SAME_START_MS):
        return matching.is_same_recording(one.recording, other.recording)
    end_apart_ms = abs(one.reported_end_ms - other.reported_end_ms)
    if have_starts or not is_as_long or end_apart_ms > DUPLICATE_END_MS:
        return False
    # An item on repeat is played for the same time in each repetition.
    is_done = one.play.end_reason == other.play.end_reason == TRACKDONE
    is_repeated = is_done and 2 * overlap_ms(one, other) < one.ms_played
    return not is_repeated and matching.is_same_recording(one.recording, other.recording)


def account_cost(account: PlayEvidence, extended: PlayEvidence) -> int | None:
    """Return the mismatch of a row of the account data and an extended one; None if not the same play."""
    differs_ms = abs(account.ms_played - extended.ms_played)
    late_ms = account.reported_end_ms - extended.reported_end_ms
    outside_ms = max(0, late_ms, -MINUTE_MS - late_ms)
    # A play may have been left long after it was paused, which the log does not show. Two plays have the same
    # length to the millisecond only by chance, unless both were played to the end.
    is_done = extended.play.end_reason == TRACKDONE
    was_left_later = not differs_ms and not is_done and 0 <= late_ms <= ONE_DAY_MS
    if differs_ms > MS_PLAYED_TOLERANCE_MS or (outside_ms > SAME_END_MS and not was_left_later):
        return None
    return differs_ms * ONE_DAY_MS + outside_ms


def cost(row: PlayEvidence, known: PlayEvidence) -> int | None:
    """Return the mismatch of a row and a play, `PART_COST` more for a part; None if they do not match."""
    if known.kind is AccountRank.BACKFILLED:
        # The item may have stayed loaded after it was heard. A row that is short may be the one after it.
        apart_ms = min(_ends_apart_ms(row, known), abs(row.end_ms - known.end_ms))
        is_whole = apart_ms <= min(SAME_END_MS, row.ms_played // 2 + MS_PLAYED_TOLERANCE_MS)
    else:
        is_whole = _is_whole(row, known)
    if not (is_whole or is_part(row, known)):
        return None
    if row.kind is AccountRank.ACCOUNT_DATA:
        apart_ms = abs(row.ms_played - known.ms_played) + _ends_apart_ms(row, known)
    else:
        apart_ms = abs(row.begin_ms - known.begin_ms) + abs(row.end_ms - known.end_ms)
    return apart_ms + (0 if is_whole else PART_COST)


def listen_cost(listen: PlayEvidence, known: PlayEvidence) -> int | None:
    """Return how far a listen is from a play, which some loggers note at its end; None for another play."""
    if listen.kind is not AccountRank.LISTEN:
        return None
    since_ms = known.begin_ms - LISTEN_TOLERANCE_MS
    until_ms = max(known.end_ms, known.latest_start_ms) + LISTEN_TOLERANCE_MS
    apart_ms = max(0, listen.begin_ms - known.latest_start_ms, known.begin_ms - listen.latest_start_ms)
    return apart_ms if since_ms <= listen.latest_start_ms and listen.begin_ms <= until_ms else None


def may_be_one_listen(listen: Play, other: Play) -> bool:
    """Return whether a listen may be the same as another account.

    A logger has each listen once, but of two exports of one account, one may only have the minutes.
    """
    if listen.fields.get("logged_by") != other.fields.get("logged_by"):
        return True
    if listen.started_ms // MINUTE_MS != other.started_ms // MINUTE_MS:
        return False
    return has_only_minute(listen) != has_only_minute(other) or listen.started_ms == other.started_ms


def has_only_minute(listen: Play) -> bool:
    """Return whether a listen is of a file that has minutes only, as some of Last.fm; it has no lengths."""
    return listen.started_ms % MINUTE_MS == 0 and listen.ms_played == LEAST_LISTEN_MS


def _is_whole(row: PlayEvidence, known: PlayEvidence) -> bool:
    """Return whether a row may be a whole play that was observed."""
    if _is_inside(row, known):
        return True
    shorter_ms, longer_ms = sorted((row.ms_played, known.ms_played))
    is_over_before = row.kind is AccountRank.ACCOUNT_DATA and known.end_ms > row.end_ms + TIME_TOLERANCE_MS
    tolerance_ms = max(TIME_TOLERANCE_MS, shorter_ms // 100)  # the end of a fast podcast is an estimate
    if is_over_before or overlap_ms(row, known) < shorter_ms - tolerance_ms:
        return False
    begins_apart_ms = abs(row.begin_ms - known.begin_ms)
    if known.play.end_reason == UNKNOWN and begins_apart_ms <= TIME_TOLERANCE_MS:
        return True
    if row.has_start and begins_apart_ms <= 2 * SAME_START_MS:  # however much of it was observed
        return True
    # A short one may also be a neighbor, on repeat, that only touches the other.
    apart_ms = min(begins_apart_ms, _ends_apart_ms(row, known))
    is_alike = longer_ms <= 2 * shorter_ms and apart_ms <= TIME_TOLERANCE_MS
    return is_alike or shorter_ms >= SHORT_PLAY_MS


def _is_inside(row: PlayEvidence, known: PlayEvidence) -> bool:
    """Return whether a play was noticed late, or resumed after a pause, inside a row that has a start."""
    # A neighbor, on repeat, reaches no further into the row than times differ.
    reaches_ms = min(known.end_ms - row.begin_ms, row.reported_end_ms - known.begin_ms)
    has_pause = row.reported_end_ms - row.begin_ms > row.ms_played + TIME_TOLERANCE_MS
    is_no_longer = known.ms_played <= row.ms_played + MS_PLAYED_TOLERANCE_MS
    is_between = row.begin_ms <= known.begin_ms and known.end_ms <= row.reported_end_ms
    return has_pause and is_no_longer and is_between and reaches_ms > TIME_TOLERANCE_MS


def is_part(row: PlayEvidence, known: PlayEvidence, used_ms: int = 0) -> bool:
    """Return whether a row may be a part of a play: inside it, and within the time that other rows left.

    Closing a paused player, or seeking back to the beginning, ends a row but not the play. Other rows account
    for `used_ms` of it.
    """
    if known.kind is AccountRank.BACKFILLED:
        return False  # only its end is known
    tolerance_ms = min(PART_TOLERANCE_MS, row.ms_played // 4)
    is_inside = overlap_ms(row, known) >= row.ms_played - tolerance_ms
    return is_inside and used_ms + row.ms_played <= known.ms_played + tolerance_ms


def deleted_ms(row: PlayEvidence, from_ms: int, to_ms: int) -> int:
    """Return how much of a row was played in the period of a tombstone; if negative, their distance."""
    middle_ms = MINUTE_MS // 2 if row.kind is AccountRank.ACCOUNT_DATA else 0
    return min(row.end_ms - middle_ms, to_ms) - max(row.begin_ms + middle_ms, from_ms)


def tombstone_cost(row: PlayEvidence, from_ms: int, to_ms: int) -> int | None:
    """Return the mismatch of a listen or a row of account data and a tombstone; None if they do not match."""
    span_ms = to_ms - from_ms
    if row.kind is AccountRank.LISTEN:  # other loggers have no shorter ones
        apart_ms = max(0, from_ms - row.latest_start_ms, row.begin_ms - from_ms)
        return apart_ms if apart_ms <= LISTEN_TOLERANCE_MS and span_ms >= LEAST_LISTEN_MS else None
    differs_ms = abs(span_ms - row.ms_played)
    outside_ms = max(0, row.reported_end_ms - to_ms, to_ms - row.reported_end_ms - MINUTE_MS)
    is_near = differs_ms <= MS_PLAYED_TOLERANCE_MS + 2 * TOMBSTONE_MS and outside_ms <= SAME_END_MS
    return differs_ms + outside_ms if is_near else None


def overlap_ms(one: PlayEvidence, other: PlayEvidence) -> int:
    """Return the overlap of two periods in milliseconds; if negative, the distance between them."""
    return min(one.end_ms, other.end_ms) - max(one.begin_ms, other.begin_ms)


def _ends_apart_ms(row: PlayEvidence, known: PlayEvidence) -> int:
    late_ms = known.reported_end_ms - row.reported_end_ms
    return max(0, late_ms - MINUTE_MS, -late_ms) if row.kind is AccountRank.ACCOUNT_DATA else abs(late_ms)
