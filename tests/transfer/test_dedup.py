from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.core.matching import identity
from spotify_logger.core.matching_exports import kind_of
from spotify_logger.core.play import SKIPPED, STOPPED, TRACKDONE, Play
from spotify_logger.core.player_state import Item
from spotify_logger.transfer.importer.dedup import Candidate, Deduplicator, RowStatus
from spotify_logger.transfer.importer.export_rows import ImportedPlay
from tests.exports import NOON, A, B, C, Song, account, entry, extended, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from spotify_logger.core.player_state import FieldValue

NEW, IMPROVED, LIVE = RowStatus.NEW, RowStatus.IMPROVED, RowStatus.LIVE
IMPORTED, DOUBLE, FORGOTTEN = RowStatus.IMPORTED, RowStatus.DOUBLE, RowStatus.FORGOTTEN
Row = dict[str, object]
T = TypeVar("T")


def logged(
    song: Song, start: float, end: float, heard: float = 0, *, reason: str = TRACKDONE, source: str = "live"
) -> Play:
    """Return a logged play; times in seconds after noon. Without `heard` there was no pause."""
    fields: dict[str, FieldValue] = {
        "id": song.uri.rpartition(":")[2],
        "uri": song.uri,
        "type": "track",
        "name": song.name,
        "artists": f"{song.artist}, A Guest",
        "album": song.album,
        "playing": 1,
    }
    started, ended = (round((NOON + second) * 1000) for second in (start, end))
    ms_played = round(heard * 1000) or ended - started
    item = Item("track:" + song.uri.rpartition(":")[2], song.uri, None, {})
    return Play(started // 1000, item, started, ended, ms_played, reason, source, fields)


def decide(
    rows: Iterable[Row],
    known: Iterable[Play] = (),
    isrcs: dict[str, str] | None = None,
    tombstones: Iterable[tuple[int, int]] = (),
) -> list[Candidate]:
    return Deduplicator(tombstones).decide(map(entry, rows), known, isrcs or {})[0]


def statuses(
    rows: Iterable[Row], known: Iterable[Play] = (), isrcs: dict[str, str] | None = None
) -> list[RowStatus]:
    """Return the status of each row, in the order of their starts."""
    return [found.status for found in decide(rows, known, isrcs)]


def new_plays(rows: Iterable[Row], known: Iterable[Play] = ()) -> list[Play]:
    return [found.entry.play for found in decide(rows, known) if found.status is NEW]


OTHER_ID = Song("A", identity="Z")
GUEST = Song("A", "A Guest", "A Sampler", "Y")
NAMESAKE = Song("A ", "Somebody Else", "Else", "X")


@pytest.mark.parametrize(
    ("rows", "known", "expected"),
    [
        # Logged live
        ([extended(A, 0, 200)], [], [NEW]),
        ([extended(A, 0, 200)], [logged(A, 3, 204)], [LIVE]),
        ([extended(A, 0, 200)], [logged(A, 200, 400)], [NEW]),
        ([extended(A, None, 200, 500)], [logged(A, 0.4, 500, 200)], [LIVE]),
        ([extended(A, 0, 200, 9000, "logout")], [logged(A, 0.4, 200, reason=STOPPED)], [LIVE]),
        ([extended(A, 0, 1.2, reason="fwdbtn")], [logged(A, 2, 4, reason=SKIPPED)], [LIVE]),
        ([extended(A, 0, 1.2, reason="fwdbtn")], [logged(A, 8, 9, reason=SKIPPED)], [NEW]),
        ([extended(A, 0, 200)], [logged(A, 0.4, 1.2, reason="unknown")], [LIVE]),
        ([extended(A, 0, 200)], [logged(A, 0.4, 1.2, reason=SKIPPED)], [NEW]),
        # Under another ID
        ([extended(OTHER_ID, 0, 200)], [logged(A, 0.4, 200)], [LIVE]),
        ([extended(GUEST, 0, 200)], [logged(A, 0.4, 200)], [LIVE]),
        ([extended(NAMESAKE, 0, 200)], [logged(A, 0.4, 200)], [NEW]),
        # Repeats stay repeats
        ([extended(A, 0, 200), extended(A, 200, 200)], [logged(A, 0.5, 200.5)], [LIVE, NEW]),
        ([extended(A, 0, 3), extended(A, 3, 3), extended(A, 6, 3)], [logged(A, 3.4, 6)], [NEW, LIVE, NEW]),
        # One play in several rows, and one row in several plays
        ([extended(A, 0, 60, 900, "logout"), extended(A, 900, 140)], [logged(A, 0.5, 1041, 200)], [LIVE] * 2),
        (
            [extended(A, 0, 60, reason="backbtn"), extended(A, 60, 200), extended(A, 260, 30)],
            [logged(A, 0.5, 260, 259)],
            [LIVE, LIVE, NEW],
        ),
        ([extended(A, 0, 200, 5000)], [logged(A, 0, 60, reason=STOPPED), logged(A, 4860, 5000)], [LIVE]),
        # From recently-played
        ([extended(A, 150, 50)], [logged(A, 0, 201, source="backfill")], [IMPROVED]),
        ([account(A, 201, 50)], [logged(A, 0, 201, source="backfill")], [LIVE]),
        ([extended(A, 0, 200, 9000, "logout")], [logged(A, 0.6, 200.6, source="backfill")], [IMPROVED]),
        ([extended(A, 9, 50), extended(A, 150, 50)], [logged(A, 0, 201, source="backfill")], [NEW, IMPROVED]),
        ([extended(A, 9, 50), extended(B, 59, 9)], [logged(A, 0, 201, source="backfill")], [NEW, NEW]),
        # Twice in the files
        ([extended(A, 0, 200), extended(A, 0, 200, skipped=None, conn_country="ZZ")], [], [NEW, DOUBLE]),
        ([extended(A, 0, 200), extended(A, None, 200, 203)], [], [NEW, DOUBLE]),
        ([extended(A, None, 9, 9), extended(A, None, 9, 38, "logout")], [], [NEW, DOUBLE]),
        ([extended(A, None, 9, 9), extended(A, None, 9, 40, "logout")], [], [NEW, NEW]),
        ([extended(A, start, 9, start + 10, "fwdbtn") for start in (0, 12)], [], [NEW, NEW]),
        # Uploaded together, from a device that was offline
        ([extended(A, start, 200, 900, offline=True) for start in (0, 200, 400)], [], [NEW, NEW, NEW]),
        # The account's data
        ([account(A, 239, 200), extended(A, 30, 200, 239)], [], [NEW, DOUBLE]),
        ([account(A, 230, 200), account(A, 430, 200)], [logged(A, 30, 230)], [LIVE, NEW]),
    ],
)
def test_status_of_rows_in_any_order(rows: list[Row], known: list[Play], expected: list[RowStatus]) -> None:
    assert sorted(statuses(rows, known), key=str) == sorted(expected, key=str)
    assert sorted(statuses(reversed(rows), known), key=str) == sorted(expected, key=str)
    assert NEW not in statuses(rows, [*known, *new_plays(rows, known)])


def test_row_with_the_start_of_what_it_replaces_is_found_by_the_next_batch() -> None:
    worse, better, later = extended(A, 0, 199, 9000), extended(A, 0, 200, 9000), account(A, 9000, 200)
    (known,), deduplicator = new_plays([worse]), Deduplicator()
    (found,), _ = deduplicator.decide([entry(better)], [known], {})
    assert (found.status, found.replaced, identity(found.entry.play)) == (IMPROVED, [known], identity(known))
    (again,), _ = deduplicator.decide([entry(later)], [found.entry.play], {})
    assert again.status is DOUBLE


def test_same_recording_is_recognized_by_its_isrc() -> None:
    other = Song("Veridis Quo - Remastered", identity="V")
    known = [logged(A, 0, 200)]
    same = {"track:A": "GBDUW0000053", "track:V": "gbduw0000053"}
    assert statuses([extended(other, 0, 200)], known) == [NEW]
    assert statuses([extended(other, 0, 200)], known, same) == [LIVE]
    assert statuses([extended(OTHER_ID, 0, 200)], known, {"track:A": "1", "track:Z": "2"}) == [NEW]


def test_live_play_of_another_log_is_recognized_under_another_id_and_length() -> None:
    known = [logged(A, 0, 200, source="backfill")]
    known = [replace(play, item=replace(play.item, duration_ms=200_000)) for play in known]
    other = logged(OTHER_ID, 0.4, 200)
    fields = {**other.fields, "artists": A.artist}
    other = replace(other, item=replace(other.item, duration_ms=204_000), fields=fields)
    row = ImportedPlay(other, kind_of(other), other.ended_ms, {"uri": OTHER_ID.uri})
    (found,), _ = Deduplicator().decide([row], known, {})
    assert (found.status, found.replaced) == (IMPROVED, known)


def test_episode_is_recognized_by_its_show() -> None:
    row: Row = {
        "endTime": "2026-01-01 12:05",
        "podcastName": "Show",
        "episodeName": "One",
        "msPlayed": 300_000,
    }
    play = logged(A, 0, 300)
    episode: dict[str, FieldValue] = {"type": "episode", "name": "One", "album": "Show", "playing": 1}
    assert statuses([row], [replace(play, fields=episode)]) == [LIVE]
    assert statuses([row], [replace(play, fields={**episode, "album": "Other"})]) == [NEW]


def test_rows_uploaded_together_end_one_after_the_other() -> None:
    rows = [extended(A, 0, 200, 900), extended(B, 200, 300, 900), extended(C, 500, 390, 900)]
    assert [(play.ended_ms // 1000 - NOON) for play in new_plays(rows)] == [200, 500, 900]


def test_play_that_stayed_loaded_for_hours_is_recognized_by_its_length() -> None:
    known = new_plays([extended(A, 0, 12.345, 9000, "logout"), extended(B, 20_000, 200, 29_000)])
    assert statuses([account(A, 9000, 12.345)], known) == [IMPORTED]
    # Whole plays of one track all have the same length.
    assert statuses([account(B, 29_000, 200)], known) == [NEW]


def test_deleted_plays_stay_deleted() -> None:
    rows = [extended(A, 0, 100), extended(B, 100, 200), extended(C, 300, 2), account(B, 300, 200)]
    spans = [(NOON + 100, NOON + 299)]
    found = [(found.entry.play.item.uri[-3:], found.status) for found in decide(rows, tombstones=spans)]
    assert found == [("k:A", NEW), ("k:B", FORGOTTEN), ("B:0", FORGOTTEN), ("k:C", NEW)]


@pytest.mark.parametrize("late", [-1, 0, 1])
def test_neighbours_of_a_short_deleted_play_are_new(late: int) -> None:
    span = (NOON + 100 + late, NOON + 101 + late)
    rows = [extended(A, 60, 40), extended(B, 100, 1), extended(C, 101, 60)]
    assert [found.status for found in decide(rows, tombstones=[span])] == [NEW, FORGOTTEN, NEW]


def test_row_of_several_deleted_plays_stays_away_until_all_of_them_are_restored() -> None:
    parts = [(NOON, NOON + 70), (NOON + 70, NOON + 140), (NOON + 140, NOON + 201)]
    spans, rows = [*parts, (NOON + 197, NOON + 400)], [extended(A, 0, 200)]
    assert [found.status for found in decide(rows, tombstones=spans)] == [FORGOTTEN]
    deduplicator = Deduplicator(spans, restore=True)
    (found,), lifted = deduplicator.decide(map(entry, rows), [], {})
    assert (found.status, lifted) == (NEW, {second for second, _ in parts})


def last_fm(song: Song, start: float) -> Row:
    """Return a row of a CSV that has the minutes only."""
    when = f"{datetime.fromtimestamp(NOON + start, UTC):%d %b %Y %H:%M}"
    return {"artist": song.artist, "track": song.name, "album": song.album, "date": when}


def scrobble(song: Song, start: float) -> Row:
    """Return a row of Last.fm with the second."""
    return last_fm(song, start) | {"uts": str(math.floor(NOON + start))}


def koito(song: Song, start: float, seconds: int = 200) -> Row:
    track = {"aliases": [{"alias": song.name}], "duration": seconds}
    moment = stamp(math.floor(start))
    return {"listened_at": moment, "track": track, "artists": [{"alias": song.artist}], "album": None}


SPAN = (NOON + 100, NOON + 280)


@pytest.mark.parametrize(
    ("rows", "known", "span", "expected"),
    [
        ([last_fm(A, 100)], [], SPAN, [FORGOTTEN]),
        ([last_fm(A, 100), koito(A, 130), scrobble(A, 75)], [], SPAN, [FORGOTTEN] * 3),
        ([last_fm(A, 100), scrobble(A, 100.5)], [], SPAN, [FORGOTTEN] * 2),
        ([last_fm(A, 100), last_fm(B, 280), last_fm(B, 60 - 180)], [], SPAN, [NEW, FORGOTTEN, NEW]),
        ([last_fm(B, 40), last_fm(A, 100)], [], (NOON + 40, NOON + 70), [FORGOTTEN, NEW]),
        ([scrobble(A, 100), scrobble(B, 135)], [], (NOON + 100, NOON + 135), [FORGOTTEN, NEW]),
        ([scrobble(B, 110)], [], (NOON + 100, NOON + 110), [NEW]),
        ([last_fm(B, 100)], [logged(B, 110, 200)], (NOON + 70, NOON + 109), [LIVE]),
        ([account(A, 105, 5)], [], (NOON + 100, NOON + 105), [FORGOTTEN]),
        ([account(A, 105, 5), account(B, 100, 9)], [], (NOON + 100, NOON + 105), [NEW, FORGOTTEN]),
        ([account(A, 105, 5)], [], (NOON + 20, NOON + 25), [NEW]),
        ([account(A, 105, 5)], [], (NOON + 100, NOON + 110), [NEW]),
    ],
)
def test_deleted_play_stays_away_also_from_files_with_minutes_or_listens(
    rows: list[Row], known: list[Play], span: tuple[int, int], expected: list[RowStatus]
) -> None:
    for some in (rows, rows[::-1]):
        assert [found.status for found in decide(some, known, tombstones=[span])] == expected
        deduplicator = Deduplicator([span], restore=True)
        found, lifted = deduplicator.decide(map(entry, some), known, {})
        assert FORGOTTEN not in [each.status for each in found]
        assert lifted == ({span[0]} if FORGOTTEN in expected else set())


def test_a_listen_near_two_logged_plays_does_not_make_one_of_them() -> None:
    log = [entry(scrobble(A, at)).play for at in (0, 20)]
    assert len(imported(log, [entry(koito(A, 0))])) == 2


LENGTHS = {A: 65.123, B: 200.456, C: 301.789}
SOURCES = ("live", "backfill", "account data", "export of 2020", "export of today")
LOGGERS = {"minutes of Last.fm": last_fm, "Last.fm": scrobble, "Koito": koito}


@dataclass(frozen=True)
class ListenedPlay:
    """A play as it was; times in seconds after noon."""

    song: Song
    start: float
    heard: float
    end: float
    is_done: bool
    lag: float

    def as_told_by(self, source: str) -> ImportedPlay:
        """Return the account of a source; what the logger has recorded comes from our own export."""
        left = self.end + self.lag
        if source in LOGGERS:
            return entry(LOGGERS[source](self.song, self.start + self.lag))
        if source == "account data":
            return entry(account(self.song, left, self.heard))
        if source in {"live", "backfill"}:
            # All that is known of a backfilled play is its end.
            start = self.start + self.lag / 2 if source == "live" else left - LENGTHS[self.song]
            heard = self.heard if source == "live" else 0
            reason = TRACKDONE if self.is_done else SKIPPED
            play = logged(self.song, start, left, heard, reason=reason, source=source)
            hashed = {name: str(value) for name, value in play.to_hash().items()}
            return ImportedPlay(play, kind_of(play), play.ended_ms, hashed)
        row = extended(self.song, self.start, self.heard, left, "trackdone" if self.is_done else "fwdbtn")
        old = {"spotify_track_uri": None, "offline_timestamp": round((NOON + self.start) * 1000)}
        return entry(row | old if source == "export of 2020" else row)


@st.composite
def listening(draw: st.DrawFn) -> list[ListenedPlay]:
    """Plays one after the other, with repeats, skips and pauses."""
    now, plays = 0.0, list[ListenedPlay]()
    for number in range(draw(st.integers(1, 12))):
        song = draw(st.sampled_from(list(LENGTHS)))
        now += draw(st.sampled_from((0, 0, 0, 7.5, 400, 40_000)))
        is_done = draw(st.booleans())
        # Nothing tells apart two skips of a track in a minute if a source has only one of them.
        recent = [play for play in plays if play.song == song and now - play.end < 120]
        if is_done or not recent:
            # No two skips come after the same number of milliseconds.
            heard = draw(st.sampled_from((1.1, 4, 31, LENGTHS[song] / 2))) + number / 500
            heard = LENGTHS[song] if is_done else heard
            end = now + heard + draw(st.sampled_from((0, 0, 30, 1000)))
            lag = draw(st.sampled_from((0, 0.3, 0.9)))
            if all(play.is_done for play in recent):
                plays.append(ListenedPlay(song, now, heard, end, is_done, lag))
                now = end
    return plays


def part(draw: Callable[[st.SearchStrategy[int]], int], items: Sequence[T]) -> Sequence[T]:
    """Draw some of the items that follow each other, as an export covers a time."""
    begin, end = sorted(draw(st.integers(0, len(items))) for _ in range(2))
    return items[begin:end]


def imported(log: Iterable[Play], rows: Iterable[ImportedPlay]) -> list[Play]:
    """Return a log after an import."""
    plays = {identity(play): play for play in log}
    for found in Deduplicator().decide(rows, list(plays.values()), {})[0]:
        for worse in found.replaced:
            del plays[identity(worse)]
        if found.is_written:
            plays[identity(found.entry.play)] = found.entry.play
    return sorted(plays.values(), key=identity)


@settings(max_examples=100)
@given(listening(), st.data())
def test_any_order_of_all_sources_ends_in_the_same_log(
    plays: list[ListenedPlay], data: st.DataObject
) -> None:
    files: list[Sequence[ImportedPlay]] = []
    by_logger = {
        play: data.draw(st.sampled_from(("live", "backfill", "") if play.heard > 30 else ("live", "")))
        for play in plays
    }
    # Other loggers leave short plays out; a pause, or a repeat that a source lacks, hides which one is meant.
    starts = {song: [play.start for play in plays if play.song == song] for song in LENGTHS}
    long = [
        play
        for play in plays
        if play.heard > 30
        and play.end - play.start - play.heard < 31
        and all(start == play.start or abs(start - play.start) > 1500 for start in starts[play.song])
    ]
    for source in (*SOURCES, *LOGGERS):
        is_logger = source in {"live", "backfill"}
        known = part(data.draw, long if source in LOGGERS else plays)
        known = [play for play in plays if by_logger[play] == source] if is_logger else known
        told = [play.as_told_by(source) for play in known]
        files += [told, part(data.draw, told)]
    expected: list[Play] = []
    for rows in files[::2]:
        expected = imported(expected, rows)
    log: list[Play] = []
    for rows in data.draw(st.permutations(files)):
        log = imported(log, data.draw(st.permutations(rows)))
    assert [play.to_hash() for play in log] == [play.to_hash() for play in expected]
    rows = [row for told in files for row in told]
    assert imported([], data.draw(st.permutations(rows))) == expected
    assert imported(expected, rows) == expected


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (extended(A, None, 200, 260), DOUBLE),
        (extended(A, 60.5, 200, 261), DOUBLE),
        (extended(OTHER_ID, None, 200, 390), DOUBLE),
        (extended(A, None, 200, 396), NEW),
        (extended(A, 60, 200, 560), NEW),
        (extended(A, None, 200.001, 260), NEW),
        (extended(NAMESAKE, None, 200, 260), NEW),
    ],
)
def test_rows_whose_times_cannot_both_be_true_are_one_play(second: Row, expected: RowStatus) -> None:
    assert statuses([extended(A, None, 200, 200), second]) == [NEW, expected]
