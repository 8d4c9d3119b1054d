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


def plays_of(record: ListeningHistory) -> list[tuple[str, float, float, float, str]]:
    """Return name, start, end and seconds played of each play, and why it ended."""
    return [
        (play.name, play.started_at - T, play.ended_at - T, play.ms_played / 1000, play.end_reason)
        for play in record.plays
    ]


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
    "paused and skipped": (
        lambda h: h.play(ONE, 50).pause(600).play(TWO),
        [("One", 0, 650, 50, "skipped"), ("Two", 650, 750, 100, DONE)],
    ),
    "paused for too long": (
        lambda h: h.play(ONE, 50).pause(PAUSE_LIMIT + 1).listen(),
        [("One", 0, 50, 50, "stopped"), ("One", 1851, 2001, 150, DONE)],
    ),
    "closed and resumed too late": (
        lambda h: h.play(ONE, 50).pause(300).gone(1600).listen(),
        [("One", 0, 50, 50, "stopped"), ("One", 1950, 2100, 150, DONE)],
    ),
    "seek": (
        lambda h: h.play(ONE, 50).seek(150).listen(20).seek(10).listen(30).play(TWO, 3),
        [("One", 0, 100, 100, "skipped"), ("Two", 100, 103, 3, "stopped")],
    ),
    "restart": (lambda h: h.play(ONE, 80).seek(0).listen(), [("One", 0, 280, 280, DONE)]),
    "crossfade": (
        lambda h: h.play(ONE, 0).listen(190, fade=True).play(TWO),
        [("One", 0, 190, 190, DONE), ("Two", 190, 290, 100, DONE)],
    ),
    "another device": (
        lambda h: h.play(ONE, 50).hand_over(SPEAKER, 10, "unknown").listen(),
        [("One", 0, 210, 200, DONE)],
    ),
    "private in between": (
        lambda h: h.play(ONE, 50).change(private="withheld").listen(70).change(private="").listen(),
        [("One", 0, 200, 130, DONE)],
    ),
    "private at first": (
        lambda h: h.change(private="shown").play(ONE, 50).change(private="").listen(),
        [("One", 50, 200, 150, DONE)],
    ),
    "private at last": (
        lambda h: h.play(ONE, 50).change(private="nothing").listen().play(TWO),
        [("One", 0, 50, 50, "unknown")],
    ),
    "silent, and started again": (
        lambda h: h.play(TWO).silent(120).play(TWO, 10),
        [("Two", 0, 100, 100, DONE), ("Two", 220, 230, 10, "stopped")],
    ),
    "a podcast resumed another day": (
        lambda h: h.play(EPISODE, 900).pause(300).gone(80_000).listen(600),
        [(EPISODE.name, 0, 900, 900, "stopped"), (EPISODE.name, 81_200, 81_800, 600, "stopped")],
    ),
}


@pytest.mark.parametrize(("write", "expected"), CASES.values(), ids=CASES.keys())
def test_the_true_plays_of_a_history(write: Action, expected: list[Row]) -> None:
    record = write(History(T)).finish()
    found = plays_of(record)
    assert [(name, reason) for name, *_, reason in found] == [(name, reason) for name, *_, reason in expected]
    for play, row in zip(found, expected, strict=True):
        assert play[1:4] == pytest.approx(row[1:4])
    check(record)


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


def test_the_timestamp_follows_the_changes_or_is_frozen() -> None:
    history = History(T).play(ONE, 50, load=0.5).pause(10).listen(10).seek(5).listen(10)
    record = history.change(frozen_at=T - 500).play(TWO).finish()
    changed = {segment.start - T: segment.changed_at - T for segment in record.segments if segment.item}
    assert changed == {0: 0, 0.5: 0, 50.5: 50.5, 60.5: 60.5, 70.5: 70.5, 80.5: -500}


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


def test_a_track_cannot_be_played_beyond_its_end() -> None:
    with pytest.raises(ValueError, match="are left"):
        History(T).play(TWO, 101)


def test_a_history_can_be_moved_and_paced() -> None:
    history = History(T).gone(600).change(frozen_at=T - 100).play(ONE, 50).pause(60).listen()
    moved = history.play(TWO).gone(60).finish(((T + 620, 2),)).moved(5_000.0, 10)
    assert [(play.started_at, play.ended_at, play.ms_played) for play in moved.plays] == [
        (5000, 5026, 20_000),
        (5026, 5036, 10_000),
    ]
    assert [(finished.left_at, finished.ms_played) for finished in moved.finished_tracks] == [
        (5026, 20_000),
        (5036, 10_000),
    ]
    segment = moved.at(5002.5)
    assert segment.item is not None
    assert (segment.item.duration_ms, segment.item.body["duration_ms"]) == (20_000, 20_000)
    assert segment.position_at(5002.5) == pytest.approx(2500)
    assert segment.changed_at == pytest.approx(5000 - 70)
    assert (moved.start, moved.end) == (4940, 5042)
    assert (moved.pace, moved.hiccups) == (10, ((5002, 2),))
    check(moved)


def test_an_item_is_paced_with_its_twin() -> None:
    item = next(item for item in make_catalog(1).tracks if item.twin)
    quick = item.paced(4)
    assert quick.twin is not None
    assert item.twin is not None
    assert quick.twin.uri == item.twin.uri
    assert quick.twin.duration_ms == math.ceil(item.twin.duration_ms / 4)
    assert '"duration_ms":' + str(quick.duration_ms) in quick.json
