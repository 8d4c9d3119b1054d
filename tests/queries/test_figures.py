from __future__ import annotations

from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.core.day_sums import LocalSums, date_of, sessions, streaks, total
from spotify_logger.queries.charts import BY_HOUR, BY_WEEK_HOUR, sums_by
from spotify_logger.queries.index import Index
from tests import reference
from tests.random_logs import logs, question_from, write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.storage.embedded_server import EmbeddedServer
    from tests.random_logs import LogAndArguments
    from tests.reference import ReferenceLog, ReferencePlay


@settings(max_examples=50)
@given(days=st.sets(st.integers(0, 12)), later=st.integers(-1, 3))
def test_streaks_of_any_days(days: set[int], later: int) -> None:
    today = max(days, default=0) + later
    everything = [range(first, last) for first in range(13) for last in range(first + 1, 14)]
    runs = [run for run in everything if days.issuperset(run)]
    longest, lasting = streaks(sorted(days), date_of(today))
    assert longest.days == max(map(len, runs), default=0)
    last = [run for run in runs if run[-1] == max(days) >= today - 1]
    assert lasting.days == max(map(len, last), default=0)
    assert [streak.from_ is None for streak in (longest, lasting)] == [not longest.days, not lasting.days]


@settings(max_examples=25, deadline=None)
@given(case=logs())
def test_sums_by_local_hours(redis_server: EmbeddedServer, case: LogAndArguments) -> None:
    log, words = case
    question = question_from(log, words)
    with closing(write(redis_server, log)) as store, closing(Index(store)) as index:
        found = index.sync()
        assert numbers(sums_by(found, question, BY_HOUR)) == expected(log, log.inside, 24)
        week = sums_by(found, question, BY_WEEK_HOUR)
        assert numbers(week) == expected(log, log.inside, 7 * 24)
        assert total(week)[1:4] == (len(log.counted), len(log.inside), sum(each.heard_ms for each in week))
        one = [play for play in log.inside if play.item.key == log.inside[0].item.key]
        items = f"SELECT id FROM items WHERE key = '{one[0].item.key}'" if one else "NULL"
        assert numbers(sums_by(found, question, BY_HOUR, items)) == expected(log, one, 24)


def numbers(sums: Sequence[LocalSums]) -> dict[int, int]:
    return {each.number: each.all_plays for each in sums}


def expected(log: ReferenceLog, plays: Sequence[ReferencePlay], hours: int) -> dict[int, int]:
    local = (reference.shown(play.second, log.zone) for play in plays)
    return Counter((moment.weekday() * 24 + moment.hour) % hours for moment in local)


@pytest.mark.parametrize(
    ("plays", "expected"),
    [
        ([], []),
        ([(0, 60_000), (60 + 1799, 1)], [(0, 1_859_001)]),
        ([(0, 60_000), (60 + 1800, 1)], [(0, 60_000), (1860, 1_860_001)]),
        ([(0, 7_200_000), (10, 1), (8000, 1)], [(0, 8_000_001)]),  # one within another
        ([(86_300, 200_000), (86_500, 200_000)], [(86_300, 86_700_000)]),  # over midnight
    ],
)
def test_half_an_hour_of_silence_ends_a_session(
    plays: list[tuple[int, int]], expected: list[tuple[int, int]]
) -> None:
    assert [*sessions(plays)] == expected
