from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.core.periods import LocalClock, Zone
from spotify_logger.core.play_rows import PlayRows
from spotify_logger.core.statistics import (
    CalendarCounts,
    DetailedItemCounts,
    ItemCounts,
    ItemStatistics,
    Session,
    SessionCounter,
    Totals,
    at_least,
    date_of,
    half,
    streaks,
)

A, B, EPISODE = "track:a", "track:b", "episode:e"
NOON = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())
"""On a Sunday."""
MINUTE, HOUR = 60, 3600

Row = tuple[int, str, int, str]


def rows(*lines: Row) -> PlayRows:
    return PlayRows(*map(list, zip(*lines, strict=True))) if lines else PlayRows()


LINES = st.lists(
    st.tuples(
        st.integers(0, 3 * 86_400),
        st.sampled_from((A, B, EPISODE)),
        st.sampled_from((0, 1, 29_999, 30_000, 200_000, 1_800_000)),
        st.sampled_from(("trackdone", "skipped", "stopped", "unknown", "open")),
    ),
    unique_by=lambda line: line[0],
    max_size=20,
).map(sorted)


def by_day(lines: list[Row]) -> list[PlayRows]:
    days = sorted({line[0] // 86_400 for line in lines})
    return [rows(*(line for line in lines if line[0] // 86_400 == day)) for day in days]


class TestRules:
    PLAYED = rows(
        (1, A, 30_000, "skipped"),
        (2, A, 29_999, "trackdone"),
        (3, B, 100, "open"),
        (4, B, 99, "stopped"),
        (5, EPISODE, 3_600_000, "unknown"),
    )

    def test_at_least(self) -> None:
        assert list(at_least(30_000)(self.PLAYED)) == [1, 0, 0, 0, 1]

    @pytest.mark.parametrize(
        ("durations", "counted"),
        [
            ({}, [0, 1, 0, 0, 0]),  # unknown durations: the end reason decides
            ({A: 60_000, B: 200}, [1, 1, 1, 0, 0]),
            ({A: 60_001, B: 198, EPISODE: 7_200_000}, [0, 1, 1, 1, 1]),
        ],
    )
    def test_half(self, durations: dict[str, int], counted: list[int]) -> None:
        assert list(half(durations)(self.PLAYED)) == counted


@settings(max_examples=50)
@given(lines=LINES, least=st.sampled_from((0, 30_000, 10**9)))
def test_all_counts_add_up(lines: list[Row], least: int) -> None:
    tallies, details, sums, in_all = ItemCounts(), DetailedItemCounts(), Totals(), ItemStatistics()
    for day in by_day(lines):
        counted = list(at_least(least)(day))
        for fold in (tallies, details, sums):
            fold.add(day, counted)
    for item in (A, B, EPISODE):
        own = [line for line in lines if line[1] == item]
        seconds = [line[0] for line in own if line[2] >= least]
        tally = details.tally(item)
        assert (tally.plays, tally.shorter) == (len(seconds), len(own) - len(seconds))
        assert (tally.first, tally.last) == (min(seconds, default=None), max(seconds, default=None))
        assert tally.ms_played == sum(line[2] for line in own) == tallies.ms_played.get(item, 0)
        assert tally.skips == sum(line[3] == "skipped" for line in own)
        assert tallies.plays[item] == tally.plays
        in_all.merge(tally)
    assert (sums.plays, sums.skips, sums.ms_played) == (in_all.plays, in_all.skips, in_all.ms_played)
    assert sums.rows == in_all.plays + in_all.shorter == len(lines)
    assert details.tally("track:never") == ItemStatistics()
    assert sums.closed == sum(line[3] != "open" for line in lines)


def test_a_play_belongs_to_the_hour_in_which_it_started() -> None:
    calendar = CalendarCounts(LocalClock(Zone("Asia/Kolkata")))
    evening = NOON + 6 * HOUR + 29 * MINUTE + 59  # 23:59:59
    played = rows(
        (evening, A, 7_200_000, "trackdone"), (evening + 1, B, 5, "open"), (evening + 2, A, 9, "open")
    )
    calendar.add(played, [True, True, False])
    sunday, monday = (date(2026, 11, day).toordinal() - date(1970, 1, 1).toordinal() for day in (22, 23))
    assert calendar.plays == {sunday: 1, monday: 1}
    assert calendar.ms_played == {sunday: 7_200_000, monday: 14}
    assert (calendar.hour_plays[0], calendar.hour_plays[167], sum(calendar.hour_plays)) == (1, 1, 2)
    assert (calendar.hour_ms_played[0], calendar.hour_ms_played[167]) == (14, 7_200_000)


@pytest.mark.parametrize(
    ("lines", "number", "longest"),
    [
        ([(0, 0)], 0, None),  # nothing was heard
        ([(0, 60_000), (60 + 1799, 1)], 1, Session(0, 1_859_001)),
        ([(0, 60_000), (60 + 1800, 1)], 2, Session(0, 60_000)),
        ([(0, 7_200_000), (10, 1), (8000, 1)], 1, Session(0, 8_000_001)),  # one within another
        ([(86_300, 200_000), (86_500, 200_000)], 1, Session(86_300, 86_700_000)),  # over midnight
    ],
)
def test_half_an_hour_of_silence_ends_a_session(
    lines: list[tuple[int, int]], number: int, longest: Session | None
) -> None:
    sessions = SessionCounter()
    for day in by_day([(second, A, ms_played, "trackdone") for second, ms_played in lines]):
        sessions.add(day)
    assert (sessions.number, sessions.longest) == (number, longest)


@settings(max_examples=50)
@given(days=st.sets(st.integers(0, 12)), later=st.integers(-1, 3))
def test_streaks_of_any_days(days: set[int], later: int) -> None:
    today = max(days, default=0) + later
    everything = [range(first, last) for first in range(13) for last in range(first + 1, 14)]
    runs = [run for run in everything if days.issuperset(run)]
    longest, lasting = streaks(days, date_of(today))
    assert longest.days == max(map(len, runs), default=0)
    last = [run for run in runs if run[-1] == max(days) >= today - 1]
    assert lasting.days == max(map(len, last), default=0)
    assert [streak.first is None for streak in (longest, lasting)] == [not longest.days, not lasting.days]
