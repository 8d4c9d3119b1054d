from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.simulator.bodies import DeviceObject, context, local_file
from spotify_logger.simulator.catalog import make_catalog, song
from spotify_logger.simulator.history import PAUSE_LIMIT, History

if TYPE_CHECKING:
    from spotify_logger.simulator.timeline import ListeningHistory, PlayerSegment

T = 1_700_000_000.0
ONE = song("One", 200)
TWO = song("Two", 100)
EPISODE = make_catalog(1).shows[0][0]
FILE = local_file("Me", "", "Demo Tape", 150)
SPEAKER = DeviceObject("Kitchen", "Speaker", None, 30, restricted=True)


def check(record: ListeningHistory) -> None:
    """Check that the true plays agree with what the player showed."""
    last = record.segments[-1]
    periods = list(pairwise([*record.segments, replace(last, start=max(record.end, last.start))]))
    heard = dict.fromkeys(range(len(record.plays)), 0.0)
    for segment, following in periods:
        assert segment.start <= following.start
        if segment.moving and segment.play is not None:
            heard[segment.play] += following.start - segment.start
        check_positions(segment, following)
    for number, play in enumerate(record.plays):
        assert play.ms_played == pytest.approx(1000 * heard[number], abs=1)
        assert play.ms_played <= 1000 * (play.ended_at - play.started_at) + 1
        assert record.start <= play.started_at <= play.ended_at <= record.end
    for play, later in pairwise(record.plays):
        assert play.ended_at <= later.started_at


def check_positions(segment: PlayerSegment, following: PlayerSegment) -> None:
    """Check that only playing and seeking move the position, and never beyond the item."""
    if not math.isfinite(segment.start):
        return
    end = segment.position_at(following.start)
    if segment.item is not None:
        assert -0.001 <= segment.position_ms <= end <= segment.item.duration_ms + 0.001
    if segment.item is following.item and following.cause not in {"play", "seek", "end", "ad"}:
        assert following.position_ms == pytest.approx(end, abs=0.001)
    if segment.play is not None:
        assert segment.visible == "item"
        assert not segment.settings.private


DONE = "trackdone"
Row = tuple[str, float, float, float, str]
Action = Callable[[History], History]
CASES: dict[str, tuple[Action, list[Row]]] = {
    "played to its end": (
        lambda h: h.play(ONE).play(TWO).gone(60),
        [("One", 0, 200, 200, DONE), ("Two", 200, 300, 100, DONE)],
    ),
    "skipped": (
        lambda h: h.play(ONE, 5).play(TWO, 20).gone(60),
        [("One", 0, 5, 5, "skipped"), ("Two", 5, 25, 20, "stopped")],
    ),
    "paused for too long": (
        lambda h: h.play(ONE, 50).pause(PAUSE_LIMIT + 1).listen(),
        [("One", 0, 50, 50, "stopped"), ("One", 1851, 2001, 150, DONE)],
    ),
    "seek": (
        lambda h: h.play(ONE, 50).seek(150).listen(20).seek(10).listen(30).play(TWO, 3),
        [("One", 0, 100, 100, "skipped"), ("Two", 100, 103, 3, "stopped")],
    ),
    "crossfade": (
        lambda h: h.play(ONE, 0).listen(190, fade=True).play(TWO),
        [("One", 0, 190, 190, DONE), ("Two", 190, 290, 100, DONE)],
    ),
    "another device": (
        lambda h: h.play(ONE, 50).hand_over(SPEAKER, 10, "unknown").listen(),
        [("One", 0, 210, 200, DONE)],
    ),
    "started again": (
        lambda h: h.play(ONE, 50).play(ONE).gone(60),
        [("One", 0, 50, 50, "skipped"), ("One", 50, 250, 200, DONE)],
    ),
    "a podcast at twice the speed, whose time is what passed": (
        lambda h: h.change(speed=2.0).play(EPISODE).gone(60),
        [(EPISODE.name, 0, EPISODE.seconds / 2, EPISODE.seconds / 2, DONE)],
    ),
    "a podcast resumed another day": (
        lambda h: h.play(EPISODE, 900).pause(300).gone(80_000).listen(600),
        [(EPISODE.name, 0, 900, 900, "stopped"), (EPISODE.name, 81_200, 81_800, 600, "stopped")],
    ),
}


@pytest.mark.parametrize(("write", "expected"), CASES.values(), ids=CASES.keys())
def test_the_true_plays_of_a_history(write: Action, expected: list[Row]) -> None:
    record = write(History(T)).finish()
    found = [
        (play.name, play.started_at - T, play.ended_at - T, play.ms_played / 1000, play.end_reason)
        for play in record.plays
    ]
    assert [(name, reason) for name, *_, reason in found] == [(name, reason) for name, *_, reason in expected]
    for play, row in zip(found, expected, strict=True):
        assert play[1:4] == pytest.approx(row[1:4])
    check(record)


@pytest.mark.parametrize(
    ("speed", "report_seconds", "shown"),
    [(2.0, None, [20, 120, 158]), (2.0, 60, [10, 120, 139]), (0.5, 60, [10, 30, 49])],
)
def test_the_position_runs_at_the_speed_or_jumps_with_each_report(
    speed: float, report_seconds: float | None, shown: list[float]
) -> None:
    record = History(T).change(speed=speed, report_seconds=report_seconds).play(EPISODE, 300).finish()
    answers = [record.at(T + second).shown_at(T + second) / 1000 for second in (10, 60, 79)]
    assert answers == pytest.approx(shown)


def with_item(act: Action) -> Action:
    """Make an action that needs an item do nothing without one."""
    return lambda history: act(history) if history.item else history


def duration(history: History) -> float:
    return history.item.seconds if history.item else 0.0


FRACTIONS = st.floats(0.02, 0.99)
ACTIONS: st.SearchStrategy[Action] = st.one_of(
    st.builds(
        lambda item, part: lambda h: h.play(item, part * item.seconds, load=0.25),
        st.sampled_from([ONE, TWO, FILE, EPISODE]),
        st.floats(0.02, 1.0),
    ),
    st.builds(
        lambda part, fade: with_item(lambda h: h.listen(part * h.remaining, fade=fade)),
        FRACTIONS,
        st.booleans(),
    ),
    st.builds(lambda seconds: with_item(lambda h: h.pause(seconds)), st.sampled_from([1, 1799, 1801])),
    st.builds(lambda part: with_item(lambda h: h.seek(part * duration(h))), FRACTIONS),
    st.builds(
        lambda visible: with_item(lambda h: h.hand_over(SPEAKER, 7, visible)),
        st.sampled_from(["nothing", "unknown"]),
    ),
    st.builds(
        lambda how: lambda h: h.change(private=how), st.sampled_from(["", "shown", "withheld", "nothing"])
    ),
    st.just(lambda h: h.ad(20)),
    st.just(with_item(lambda h: h.silent(30))),
    st.builds(lambda seconds: lambda h: h.gone(seconds), st.sampled_from([1, 600, 5000])),
)


@settings(max_examples=60)
@given(st.lists(ACTIONS, max_size=25))
def test_plays_and_player_agree_after_any_actions(actions: list[Action]) -> None:
    history = History(T)
    for act in actions:
        act(history)
    check(history.finish())


def test_tracks_are_reported_when_they_are_left() -> None:
    album = context("album", "x")
    history = (
        History(T).change(context=album).play(ONE, 50).pause(60).play(TWO).play(FILE, 10).play(EPISODE, 10)
    )
    history.change(private="shown").play(ONE).change(private="", context=None)
    record = history.play(TWO, 20).pause(300).gone(600).listen(10).gone(5).finish()
    assert [
        (finished.item.name, finished.left_at - T, finished.ms_played, finished.context)
        for finished in record.finished_tracks
    ] == [
        ("One", 110, 50_000, album),
        ("Two", 210, 100_000, album),
        ("Two", 750, 20_000, None),
        ("Two", 1360, 10_000, None),
    ]
