from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.core.matching import identity
from spotify_logger.core.matching_exports import kind_of
from spotify_logger.core.play import SKIPPED, STOPPED, TRACKDONE, UNKNOWN, Play
from spotify_logger.core.player_state import Item
from spotify_logger.transfer.importer.dedup import Deduplicator, tombstone_spans
from spotify_logger.transfer.importer.export_rows import ImportedPlay
from spotify_logger.transfer.importer.pairing import RowStatus, known_play
from tests.exports import NOON, A, B, C, Song, account, entry, extended

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spotify_logger.core.player_state import FieldValue

NEW, LIVE, IMPORTED = RowStatus.NEW, RowStatus.LIVE, RowStatus.IMPORTED
DOUBLE, FORGOTTEN = RowStatus.DOUBLE, RowStatus.FORGOTTEN
RowOf = dict[str, object]


def seen(
    song: Song, start: float, end: float, heard: float = 0, *, reason: str = TRACKDONE, source: str = "live"
) -> Play:
    """A play that was logged, in seconds after noon; heard all the time unless it is said how long."""
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


def decided(
    rows: Iterable[RowOf],
    known: Iterable[Play] = (),
    isrcs: dict[str, str] | None = None,
    forgotten: Iterable[tuple[int, int]] = (),
) -> list[tuple[ImportedPlay, RowStatus]]:
    isrcs = isrcs or {}
    plays = [known_play(play, isrcs.get(play.item.key, "")) for play in known]
    return Deduplicator(forgotten).decide(map(entry, rows), plays, isrcs)


def statuses(
    rows: Iterable[RowOf], known: Iterable[Play] = (), isrcs: dict[str, str] | None = None
) -> list[RowStatus]:
    """What the rows are, in the order of their starts."""
    return [status for _, status in decided(rows, known, isrcs)]


def new_plays(rows: Iterable[RowOf], known: Iterable[Play] = ()) -> list[Play]:
    return [found.play for found, status in decided(rows, known) if status is NEW]


OTHER_ID = Song("A", identity="Z")
GUEST = Song("A", "A Guest", "A Sampler", "Y")
LIKE = Song("A ", "Somebody Else", "Else", "X")
SHOUTED = Song("a", "DAFT PUNK", "Discovery (Deluxe)", "W")


@pytest.mark.parametrize(
    ("rows", "known", "expected"),
    [
        # Logged live
        ([extended(A, 0, 200)], [], [NEW]),
        ([extended(A, 0, 200)], [seen(A, 0.4, 200.2)], [LIVE]),
        ([extended(A, 0, 200)], [seen(A, 3, 204)], [LIVE]),
        ([extended(A, 0, 200)], [seen(B, 0.4, 200.2)], [NEW]),
        ([extended(A, 0, 200)], [seen(A, 200, 400)], [NEW]),
        ([extended(A, 0, 200, 500)], [seen(A, 0.4, 500, 200)], [LIVE]),
        ([extended(A, None, 200, 500)], [seen(A, 0.4, 500, 200)], [LIVE]),
        ([extended(A, 0, 200, 9000, "logout")], [seen(A, 0.4, 200, reason=STOPPED)], [LIVE]),
        ([extended(A, 0, 200)], [seen(A, 0.4, 50, reason=UNKNOWN)], [LIVE]),
        ([extended(A, 0, 200)], [seen(A, 150, 200)], [LIVE]),
        ([extended(A, 0, 1.2, reason="fwdbtn")], [seen(A, 2, 4, reason=SKIPPED)], [LIVE]),
        ([extended(A, 0, 1.2, reason="fwdbtn")], [seen(A, 8, 9, reason=SKIPPED)], [NEW]),
        # Under another id
        ([extended(OTHER_ID, 0, 200)], [seen(A, 0.4, 200)], [LIVE]),
        ([extended(GUEST, 0, 200)], [seen(A, 0.4, 200)], [LIVE]),
        ([extended(SHOUTED, 0, 200)], [seen(A, 0.4, 200)], [LIVE]),
        ([extended(LIKE, 0, 200)], [seen(A, 0.4, 200)], [NEW]),
        # Repeats stay repeats
        ([extended(A, 0, 200), extended(A, 200, 200)], [seen(A, 0.5, 200.5)], [LIVE, NEW]),
        ([extended(A, 0, 200), extended(A, 200, 200)], [seen(A, 200.5, 400.5)], [NEW, LIVE]),
        ([extended(A, 0, 3), extended(A, 3, 3), extended(A, 6, 3)], [seen(A, 3.4, 6)], [NEW, LIVE, NEW]),
        ([extended(A, 0, 200), extended(A, 200, 3)], [seen(A, 0.5, 200.5)], [LIVE, NEW]),
        (
            [extended(A, 0, 100), extended(B, 100, 9), extended(A, 109, 90)],
            [seen(A, 110, 200)],
            [NEW, NEW, LIVE],
        ),
        # One play in several rows, and one row in several plays
        (
            [extended(A, 0, 60, 900, "logout"), extended(A, 900, 140)],
            [seen(A, 0.5, 1041, 200)],
            [LIVE, LIVE],
        ),
        (
            [extended(A, 0, 60, reason="backbtn"), extended(A, 60, 200), extended(A, 260, 30)],
            [seen(A, 0.5, 260, 259)],
            [LIVE, LIVE, NEW],
        ),
        ([extended(A, 0, 200, 5000)], [seen(A, 0, 60, reason=STOPPED), seen(A, 4860, 5000)], [LIVE]),
        # Learned of by recently-played
        ([extended(A, 150, 50)], [seen(A, 0, 201, source="backfill")], [LIVE]),
        ([extended(A, 0, 50, 4000)], [seen(A, 3800, 4001, source="backfill")], [LIVE]),
        ([extended(A, 0, 50), extended(A, 150, 50)], [seen(A, 0, 201, 100, source="backfill")], [LIVE, LIVE]),
        ([extended(A, 0, 50), extended(B, 50, 9)], [seen(A, 0.4, 201, source="backfill")], [NEW, NEW]),
        # Of one name
        ([extended(A, 0, 9), extended(A, 0, 5)], [], [NEW, DOUBLE]),
        ([extended(A, 0, 200, 5000), extended(A, 0, 90, 6000)], [], [NEW, DOUBLE]),
        ([extended(A, 0, 50), extended(B, 50, 9)], [seen(A, 0, 201, source="backfill")], [LIVE, NEW]),
        # Twice in the files
        ([extended(A, 0, 200)] * 3, [], [NEW, DOUBLE, DOUBLE]),
        ([extended(A, 0, 200), extended(A, 0, 200, skipped=None, conn_country="ZZ")], [], [NEW, DOUBLE]),
        ([extended(A, 0, 200), extended(A, None, 200, 203)], [], [NEW, DOUBLE]),
        ([extended(A, None, 9, 9), extended(A, None, 9, 38, "logout")], [], [NEW, DOUBLE]),
        ([extended(A, None, 9, 9), extended(A, None, 9, 40, "logout")], [], [NEW, NEW]),
        ([extended(A, None, 9, 9), extended(A, None, 9, 18)], [], [NEW, NEW]),
        ([extended(A, 0, 9), extended(A, 0, 9, offline_timestamp=NOON * 1000 + 999)], [], [NEW, DOUBLE]),
        ([extended(A, None, 9.1, 9), extended(A, None, 9.2, 9)], [], [NEW, NEW]),
        ([extended(A, start, 9, start + 10, "fwdbtn") for start in (0, 12)], [], [NEW, NEW]),
        ([extended(A, None, 9, 9), extended(B, None, 9, 9)], [], [NEW, NEW]),
        ([extended(A, 0, 200), extended(A, 200, 200)], [], [NEW, NEW]),
        # Uploaded together, from a device that was offline
        ([extended(song, 0, 200, 900) for song in (A, B)], [], [NEW, NEW]),
        ([extended(A, start, 200, 900, offline=True) for start in (0, 200, 400)], [], [NEW, NEW, NEW]),
        # The account's data
        ([account(A, 230, 200), extended(A, 30, 200)], [], [NEW, DOUBLE]),
        ([account(A, 239, 200), extended(A, 30, 200, 239)], [], [NEW, DOUBLE]),
        ([account(A, 230, 200)] * 2, [], [NEW, DOUBLE]),
        ([account(A, 230, 200)], [seen(A, 30, 230)], [LIVE]),
        ([account(A, 230, 200)], [seen(B, 30, 230)], [NEW]),
        ([account(A, 230, 200)], [seen(A, 0, 231, source="backfill")], [LIVE]),
        ([account(A, 230, 200)], [seen(A, 230, 430)], [NEW]),
        ([account(A, 230, 200), account(A, 430, 200)], [seen(A, 30, 230)], [LIVE, NEW]),
        (
            [
                *(account(A, end, 200) for end in (230, 430)),
                *(extended(A, start, 200) for start in (30, 230)),
            ],
            [],
            [NEW, DOUBLE, NEW, DOUBLE],
        ),
    ],
)
def test_what_rows_are(rows: list[RowOf], known: list[Play], expected: list[RowStatus]) -> None:
    assert sorted(statuses(rows, known), key=str) == sorted(expected, key=str)
    assert sorted(statuses(reversed(rows), known), key=str) == sorted(expected, key=str)
    once = [*known, *new_plays(rows, known)]
    assert NEW not in statuses(rows, once)


def test_a_recording_is_known_by_its_isrc() -> None:
    other = Song("Veridis Quo - Remastered", identity="V")
    known = [seen(A, 0, 200)]
    same = {"track:A": "GBDUW0000053", "track:V": "gbduw0000053"}
    assert statuses([extended(other, 0, 200)], known) == [NEW]
    assert statuses([extended(other, 0, 200)], known, same) == [LIVE]
    assert statuses([extended(OTHER_ID, 0, 200)], known, {"track:A": "1", "track:Z": "2"}) == [NEW]


def test_an_episode_is_known_by_its_show() -> None:
    podcast = {
        "endTime": "2026-01-01 12:05",
        "podcastName": "Show",
        "episodeName": "One",
        "msPlayed": 300_000,
    }
    play = seen(A, 0, 300)
    episode: dict[str, FieldValue] = {"type": "episode", "name": "One", "album": "Show", "playing": 1}
    assert statuses([podcast], [replace(play, fields=episode)]) == [LIVE]
    assert statuses([podcast], [replace(play, fields={**episode, "album": "Other"})]) == [NEW]


def test_uploaded_rows_end_where_they_were_heard() -> None:
    rows = [extended(A, 0, 200, 900), extended(B, 200, 300, 900), extended(C, 500, 390, 900)]
    ends = [(play.ended_ms // 1000 - NOON) for play in new_plays(rows)]
    assert ends == [200, 500, 900]


def test_what_was_imported_before_is_known_from_either_export() -> None:
    rows = [
        extended(A, 0, 200, 215),
        extended(A, 215, 3.3, 700, "logout"),
        extended(C, 9000, 5, 9010, "logout"),
    ]
    told = [account(A, 215, 200), account(A, 700, 3.3), account(C, 9010, 5)]
    for first, second in ((rows, told), (told, rows)):
        known = new_plays(first)
        assert len(known) == 3
        assert statuses(second, known) == [IMPORTED] * 3
        assert sorted(statuses([*first, *second], known), key=str) == [IMPORTED] * 6


def test_what_was_left_long_after_it_was_paused_is_known_from_the_accounts_data() -> None:
    known = new_plays([extended(A, 0, 12.345, 9000, "logout"), extended(B, 20_000, 200, 29_000)])
    assert statuses([account(A, 9000, 12.345)], known) == [IMPORTED]
    # Whoever hears a track to its end twice a day hears it for as long.
    assert statuses([account(B, 29_000, 200)], known) == [NEW]


def test_a_row_that_comes_again_tells_when_its_play_was_left() -> None:
    row = extended(A, 0, 200, 9000)
    assert statuses([row, account(A, 9000, 200)], new_plays([row])) == [IMPORTED, IMPORTED]


def test_a_play_of_the_accounts_data_is_one_row_of_the_extended_history() -> None:
    known = new_plays([account(A, 20, 20)])
    rows = [account(A, 20, 20), extended(A, 0, 20), extended(A, 20, 20)]
    assert sorted(status.name for status in statuses(rows)) == ["DOUBLE", "NEW", "NEW"]
    assert sorted(status.name for status in statuses(rows, known)) == ["IMPORTED", "IMPORTED", "NEW"]


def test_the_same_rows_in_the_same_run_are_doubles_however_far_apart() -> None:
    merger = Deduplicator()
    first = merger.decide([entry(extended(A, 0, 12.3, 9000))], [], {})
    later = merger.decide([entry(account(A, 9000, 12.3))], [known_play(first[0][0].play)], {})
    assert [status for _, status in later] == [DOUBLE]


def test_what_is_forgotten_stays_so() -> None:
    rows = [extended(A, 0, 100), extended(B, 100, 200), extended(C, 300, 2), account(B, 300, 200)]
    lines = {str(NOON + 100): str(NOON + 299), "nonsense": "5", "7": "nonsense", "9": "8"}
    stretches = tombstone_spans(lines)
    assert stretches == [((NOON + 100) * 1000, (NOON + 299) * 1000)]
    found = [(found.play.item.uri[-3:], status) for found, status in decided(rows, (), None, stretches)]
    assert found == [("k:A", NEW), ("k:B", FORGOTTEN), ("B:0", FORGOTTEN), ("k:C", NEW)]


def test_what_ended_somewhere_in_a_minute_is_not_forgotten_with_its_neighbour() -> None:
    stretches = [((NOON + 340) * 1000, (NOON + 400) * 1000)]
    found = decided([account(A, 330, 20), account(B, 399, 50)], (), None, stretches)
    assert [status for _, status in found] == [NEW, FORGOTTEN]


@pytest.mark.parametrize("late", [-1, 0, 1])
def test_a_short_play_is_forgotten_and_not_its_neighbours(late: int) -> None:
    short = [((NOON + 100 + late) * 1000, (NOON + 101 + late) * 1000)]
    rows = [extended(A, 60, 40), extended(B, 100, 1), extended(C, 101, 60)]
    assert [status for _, status in decided(rows, (), None, short)] == [NEW, FORGOTTEN, NEW]


def kept(play: Play, **changes: str) -> ImportedPlay:
    """A play that comes back from an export of this program."""
    fields = {name: str(value) for name, value in play.to_hash().items()} | changes
    again = Play.from_hash(play.second, fields)
    assert again is not None
    return ImportedPlay(again, kind_of(again), again.ended_ms, fields)


def test_plays_of_an_own_export_come_back_to_the_letter() -> None:
    plays = [seen(A, 0, 200), seen(A, 0.1, 200), seen(A, 1, 200, source="backfill")]
    entries = [kept(play) for play in plays]
    found = Deduplicator().decide([*entries, *entries], [known_play(plays[1])], {})
    assert [status for _, status in found] == [NEW, DOUBLE, LIVE, LIVE, NEW, DOUBLE]


def test_rows_of_spotifys_find_plays_of_an_own_export() -> None:
    found = Deduplicator().decide([kept(seen(A, 0, 200)), entry(extended(A, 0, 200))], [], {})
    assert sorted(status.name for _, status in found) == ["DOUBLE", "NEW"]


def test_plays_made_of_samples_find_rows_of_exports() -> None:
    known = [known_play(play) for play in new_plays([extended(A, 0, 200), extended(A, 200, 200)])]
    plays = [seen(A, 0.7, 200.2, source="import"), seen(A, 200.2, 400), seen(B, 400, 500)]
    found = Deduplicator().decide(
        [ImportedPlay(play, kind_of(play), play.ended_ms) for play in plays], known, {}
    )
    assert [status for _, status in found] == [IMPORTED, IMPORTED, NEW]
    assert statuses([extended(A, 0, 200), extended(B, 400, 100)], [plays[0]]) == [IMPORTED, NEW]


# Whatever was heard


@dataclass(frozen=True)
class Heard:
    """One play as it was, and how it is told; seconds after noon."""

    song: Song
    start: float
    heard: float
    end: float
    is_done: bool
    lag: float

    @property
    def extended(self) -> RowOf:
        reason = "trackdone" if self.is_done else "fwdbtn"
        return extended(self.song, self.start, self.heard, self.end + self.lag, reason)

    @property
    def account(self) -> RowOf:
        return account(self.song, self.end + self.lag, self.heard)

    def logged(self, source: str) -> Play:
        reason = TRACKDONE if self.is_done else SKIPPED
        return seen(
            self.song,
            self.start + self.lag / 2,
            self.end + self.lag,
            self.heard,
            reason=reason,
            source=source,
        )


LENGTHS = {A: 65.123, B: 200.456, C: 301.789}


@st.composite
def heard(draw: st.DrawFn) -> list[Heard]:
    """What somebody hears who repeats, skips and pauses, one after the other."""
    now, plays = 0.0, []
    for number in range(draw(st.integers(1, 12))):
        song = draw(st.sampled_from(list(LENGTHS)))
        now += draw(st.sampled_from((0, 0, 0, 7.5, 400, 40_000)))
        is_done = draw(st.booleans())
        length = LENGTHS[song]
        # Nobody leaves a track twice after the same number of milliseconds.
        listened = length if is_done else draw(st.sampled_from((1.1, 4, 31, length / 2))) + number / 500
        end = now + listened + draw(st.sampled_from((0, 0, 30, 1000)))
        plays.append(Heard(song, now, listened, end, is_done, draw(st.sampled_from((0, 0.3, 0.9)))))
        now = end
    return plays


def told_apart(plays: Iterable[Play]) -> set[tuple[int, str]]:
    return set(map(identity, plays))


@settings(max_examples=100)
@given(heard(), st.data())
def test_every_play_comes_in_once_whatever_was_logged_before(plays: list[Heard], data: st.DataObject) -> None:
    sources = [data.draw(st.sampled_from(("live", "backfill", ""))) for _ in plays]
    known = [play.logged(source) for play, source in zip(plays, sources, strict=True) if source]
    rows = [play.extended for play in plays]
    found = new_plays(rows, known)
    assert len(found) == sources.count("")
    assert statuses(rows, known).count(LIVE) == len(known)


@settings(max_examples=100)
@given(heard(), st.data())
def test_order_and_doubles_change_nothing(plays: list[Heard], data: st.DataObject) -> None:
    rows = [row for play in plays for row in (play.extended, play.account)]
    mixed = data.draw(st.permutations([*rows, *data.draw(st.lists(st.sampled_from(rows), max_size=5))]))
    known = [play.logged("live") for play in plays if data.draw(st.booleans())]
    found = told_apart(new_plays(rows, known))
    assert told_apart(new_plays(mixed, known)) == found
    assert len(found) + len(known) == len(plays)


@settings(max_examples=100)
@given(heard(), st.data())
def test_what_was_ended_in_the_middle_comes_to_the_same_end(plays: list[Heard], data: st.DataObject) -> None:
    kinds = [data.draw(st.sampled_from(("extended", "account", "both"))) for _ in plays]
    rows = [play.extended for play, kind in zip(plays, kinds, strict=True) if kind != "account"]
    rows += [play.account for play, kind in zip(plays, kinds, strict=True) if kind != "extended"]
    live = [play.logged("live") for play in plays if data.draw(st.booleans())]
    whole = new_plays(rows, live)
    written = [play for play in whole if data.draw(st.booleans())]
    rest = new_plays(rows, [*live, *written])
    assert told_apart(written) | told_apart(rest) == told_apart(whole)
    assert len(written) + len(rest) == len(whole)


@settings(max_examples=100)
@given(heard())
def test_one_export_after_the_other_adds_nothing(plays: list[Heard]) -> None:
    rows: dict[str, Sequence[RowOf]] = {
        "extended": [play.extended for play in plays],
        "account": [play.account for play in plays],
    }
    for first, second in (("extended", "account"), ("account", "extended")):
        known = new_plays(rows[first])
        assert len(known) == len(plays)
        assert new_plays(rows[second], known) == []
