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
    MIN_IDLE_SECONDS,
    MIN_REMAINING_SECONDS,
    listen,
)
from tests.simulator.test_history import check

if TYPE_CHECKING:
    from collections.abc import Callable

    from spotify_logger.simulator.habits import Span
    from spotify_logger.simulator.timeline import ListeningHistory, TruePlay

PLAIN = Habits.plain()
CATALOG = make_catalog(1)
DAYS = 14


def days(count: float, habits: Habits) -> ListeningHistory:
    return listen(1, count, habits, catalog=CATALOG)


@pytest.fixture(scope="module")
def ordinary() -> ListeningHistory:
    return listen(7, DAYS)


def test_a_history_depends_only_on_its_seed() -> None:
    first, again, other = (listen(seed, 2, catalog=CATALOG) for seed in (3, 3, 4))
    assert first.plays == again.plays
    assert [segment.start for segment in first.segments] == [segment.start for segment in again.segments]
    assert first.hiccups == again.hiccups
    assert first.plays != other.plays


def test_ordinary_weeks(ordinary: ListeningHistory) -> None:
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


def test_a_session_begins_later_than_a_play_may_be_paused(ordinary: ListeningHistory) -> None:
    idle = [
        later.start - segment.start
        for segment, later in pairwise(ordinary.segments)
        if segment.cause == "gone" and segment.start > DEFAULT_START and later.cause == "play"
    ]
    assert len(idle) > 25
    assert min(idle) >= MIN_IDLE_SECONDS


def test_short_plays_come_in_bursts(ordinary: ListeningHistory) -> None:
    short = [within(play, Habits().flip_seconds) and play.end_reason == "skipped" for play in ordinary.plays]
    following = [later for earlier, later in pairwise(short) if earlier]
    assert sum(following) / len(following) > 2 * sum(short) / len(short)


def within(play: TruePlay, span: Span) -> bool:
    return span[0] <= play.ms_played / 1000 <= span[1]


def test_seeks_in_podcasts_are_those_of_the_buttons() -> None:
    record = days(7, replace(PLAIN, music=0.0, podcast=1.0, seek=0.05))
    assert {
        round((later.position_ms - segment.position_at(later.start)) / 1000, 3)
        for segment, later in pairwise(record.segments)
        if later.cause == "seek"
    } == {15, 30, -15}


HABITS: dict[str, Callable[[ListeningHistory], bool]] = {
    "flip": lambda record: all(within(play, PLAIN.flip_seconds) for play in record.plays[:10]),
    "early_skip": lambda record: all(within(play, PLAIN.early_seconds) for play in record.plays[:10]),
    "late_skip": lambda record: record.plays[0].end_reason == "skipped",
    "repeat_one": lambda record: record.plays[0].uri == record.plays[1].uri,
    "replay": lambda record: record.plays[0].uri == record.plays[2].uri != record.plays[1].uri,
    "episode": lambda record: record.plays[0].kind == "episode",
    "pause": lambda record: any(segment.cause == "pause" for segment in record.segments),
    "long_pause": lambda record: any(play.end_reason == "stopped" for play in record.plays[:-1]),
    "seek": lambda record: any(segment.cause == "seek" for segment in record.segments),
    "restart": lambda record: record.plays[0].ms_played > 1.19 * record.plays[0].duration_ms,
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


def test_a_plain_listener_plays_every_track_to_its_end() -> None:
    record = days(3, PLAIN)
    assert len(record.plays) > 40
    assert {play.end_reason for play in record.plays} == {"trackdone"}
    assert all(play.ms_played == play.duration_ms for play in record.plays)


@pytest.mark.parametrize(
    ("ending", "causes", "reason"),
    [
        ("ends_silent", ("", "end", "gone"), "trackdone"),
        ("ends_gone", ("", "gone"), "trackdone"),
        ("ends_paused", ("", "pause", "gone"), "stopped"),
    ],
)
def test_the_end_of_a_session(ending: str, causes: tuple[str, ...], reason: str) -> None:
    habits = replace(PLAIN, load_seconds=(0.1, 0.5), ends_gone=0.0)
    record = days(3, replace(habits, **{ending: 1.0}))  # type: ignore[arg-type]
    ends = [index for index, segment in enumerate(record.segments) if segment.cause == "gone"][1:]
    first = next(index for index in ends if record.segments[index - 1].cause != "gone")
    assert tuple(segment.cause for segment in record.segments[first + 1 - len(causes) : first + 1]) == causes
    assert record.plays[-1].end_reason == reason


def test_a_podcast_is_resumed_where_it_was_left() -> None:
    record = days(14, replace(PLAIN, music=0.0, podcast=1.0, ends_gone=1.0))
    left: dict[str, float] = {}
    resumed = 0
    for segment, following in pairwise(record.segments):
        if segment.item is None or segment.cause == "gone":
            continue
        if segment.cause == "play":
            position = left.get(segment.item.uri, 0.0)
            assert segment.position_ms == pytest.approx(position)
            resumed += position > 0
        end = segment.position_at(following.start)
        left[segment.item.uri] = end if segment.item.duration_ms - end > MIN_REMAINING_SECONDS * 1000 else 0.0
    assert resumed > 3
    check(record)


@pytest.mark.parametrize("pace", [5.0, 100.0])
def test_a_dense_history_has_no_long_gaps_and_no_tiny_plays(pace: float) -> None:
    record = days(2, Habits.dense(pace)).moved(1000.0, pace)
    starts = [play.started_at for play in record.plays]
    assert starts[0] == 1000.0
    gaps = sorted(later - earlier for earlier, later in pairwise(starts))
    assert gaps[0] >= 0.29
    assert gaps[-1] * pace < 45 * 60
    assert gaps[len(gaps) // 2] * pace < 240
    assert record.end - 1000.0 == pytest.approx(2 * DAY / pace, rel=0.03)
    check(record)
