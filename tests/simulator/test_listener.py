from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from spotify_logger.simulator.catalog import make_catalog
from spotify_logger.simulator.habits import Habits
from spotify_logger.simulator.listener import (
    DAY,
    DEFAULT_START,
    listen,
)
from tests.simulator.test_history import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from spotify_logger.simulator.timeline import ListeningHistory

PLAIN = Habits.plain()
CATALOG = make_catalog(1)
DAYS = 14


def days(count: float, habits: Habits) -> ListeningHistory:
    return listen(1, count, habits, catalog=CATALOG)


def test_a_history_depends_only_on_its_seed() -> None:
    first, again, other = (listen(seed, 2, catalog=CATALOG) for seed in (3, 3, 4))
    assert first.plays == again.plays
    assert [segment.start for segment in first.segments] == [segment.start for segment in again.segments]
    assert first.hiccups == again.hiccups
    assert first.plays != other.plays


def test_ordinary_weeks() -> None:
    ordinary = listen(3, DAYS)
    check(ordinary)
    plays = ordinary.plays
    assert 40 <= len(plays) / DAYS <= 120
    assert 3 <= sum(play.ms_played for play in plays) / 3_600_000 / DAYS <= 7
    tracks = [play for play in plays if play.kind == "track"]
    short = sum(play.ms_played < 20_000 and play.end_reason == "skipped" for play in tracks)
    through = sum(play.end_reason == "trackdone" for play in tracks)
    assert 0.10 <= short / len(tracks) <= 0.30
    assert 0.65 <= through / len(tracks) <= 0.85
    assert {play.kind for play in plays} == {"track", "episode", "chapter", "local"}
    assert {segment.visible for segment in ordinary.segments} == {
        "item",
        "nothing",
        "unknown",
        "ad",
        "withheld",
    }
    assert 0.5 <= len(ordinary.hiccups) / DAYS <= 3
    hours = Counter(int((play.started_at - DEFAULT_START) // 3600 % 24) for play in plays)
    assert hours[4] == hours[5] == 0
    assert all(hours[hour] for hour in (7, 10, 13, 18, 20, 22))


HABITS: dict[str, Callable[[ListeningHistory], bool]] = {
    "flip": lambda record: all(play.ms_played <= 1000 * PLAIN.flip_seconds[1] for play in record.plays[:10]),
    "late_skip": lambda record: record.plays[0].end_reason == "skipped",
    "repeat_one": lambda record: record.plays[0].uri == record.plays[1].uri,
    "replay": lambda record: record.plays[0].uri == record.plays[2].uri != record.plays[1].uri,
    "episode": lambda record: record.plays[0].kind == "episode",
    "pause": lambda record: any(segment.cause == "pause" for segment in record.segments),
    "long_pause": lambda record: any(play.end_reason == "stopped" for play in record.plays[:-1]),
    "seek": lambda record: any(segment.cause == "seek" for segment in record.segments),
    "restart": lambda record: (
        record.plays[0].uri == record.plays[1].uri and record.plays[0].end_reason == "skipped"
    ),
    "handover": lambda record: len({segment.settings.device for segment in record.segments}) > 1,
    "private_moment": lambda record: any(segment.settings.private for segment in record.segments),
    "ads": lambda record: any(segment.visible == "ad" for segment in record.segments),
    "crossfade": lambda record: record.plays[0].ms_played < record.plays[0].duration_ms - 1900,
    "hiccup": lambda record: len(record.hiccups) > 0,
    "first_skip": lambda record: record.plays[0].ms_played <= 20_000,
}


@pytest.mark.parametrize("habit", HABITS)
def test_a_listener_with_a_single_habit(habit: str) -> None:
    record = days(1, replace(PLAIN, **{habit: 1.0}))  # type: ignore[arg-type]
    assert HABITS[habit](record)
    check(record)


@pytest.mark.parametrize("pace", [5.0, 100.0])
def test_a_dense_history_has_no_long_gaps_and_no_tiny_plays(pace: float) -> None:
    record = days(2, Habits.dense(pace)).moved(1000.0, pace)
    starts = [play.started_at for play in record.plays]
    assert starts[0] == 1000.0
    gaps = sorted(later - earlier for earlier, later in pairwise(starts))
    assert gaps[0] >= 0.2
    assert gaps[-1] * pace < 45 * 60
    assert gaps[len(gaps) // 2] * pace < 240
    assert record.end - 1000.0 == pytest.approx(2 * DAY / pace, rel=0.03)
    check(record)
