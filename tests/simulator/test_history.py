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
    from spotify_logger.simulator.timeline import ListeningHistory, Segment

T = 1_700_000_000.0
ONE = song("One", 200)
TWO = song("Two", 100)
EPISODE = make_catalog(1).shows[0][0]
FILE = local_file("Me", "", "Demo Tape", 150)
SPEAKER = DeviceObject("Kitchen", "Speaker", None, 30, restricted=True)


def check(record: ListeningHistory) -> None:
    """Hold the truth against what the player did: the two are written in one stroke, and must agree."""
    last = record.segments[-1]
    stretches = list(pairwise([*record.segments, replace(last, start=max(record.end, last.start))]))
    heard = dict.fromkeys(range(len(record.plays)), 0.0)
    for segment, following in stretches:
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


def check_positions(segment: Segment, following: Segment) -> None:
    """Nothing but an event that says so moves the position, and never beyond the item."""
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
    """Name, start and end after the beginning, seconds heard, reason."""
    return [
        (play.name, play.started_at - T, play.ended_at - T, play.ms_played / 1000, play.end_reason)
        for play in record.plays
    ]


DONE = "trackdone"
Row = tuple[str, float, float, float, str]
SCENARIOS: list[tuple[str, Callable[[History], History], list[Row]]] = [
    ("nothing", lambda h: h.gone(60), []),
    ("heard through", lambda h: h.play(ONE).play(TWO).gone(60), [
        ("One", 0, 200, 200, DONE), ("Two", 200, 300, 100, DONE),
    ]),
    ("skipped", lambda h: h.play(ONE, 5).play(TWO, 20).gone(60), [
        ("One", 0, 5, 5, "skipped"), ("Two", 5, 25, 20, "stopped"),
    ]),
    ("a player that takes a while to load", lambda h: h.play(ONE, load=0.5), [("One", 0, 200.5, 200, DONE)]),
    ("paused", lambda h: h.play(ONE, 50).pause(600).listen(), [("One", 0, 800, 200, DONE)]),
    ("paused, and skipped then", lambda h: h.play(ONE, 50).pause(600).play(TWO), [
        ("One", 0, 650, 50, "skipped"), ("Two", 650, 750, 100, DONE),
    ]),
    ("paused for too long", lambda h: h.play(ONE, 50).pause(PAUSE_LIMIT + 1).listen(), [
        ("One", 0, 50, 50, "stopped"), ("One", 1851, 2001, 150, DONE),
    ]),
    ("paused for as long as may be", lambda h: h.play(ONE, 50).pause(PAUSE_LIMIT).listen(), [
        ("One", 0, 2000, 200, DONE),
    ]),
    ("paused for too long, another one then", lambda h: h.play(ONE, 50).pause(1900).play(TWO, 7), [
        ("One", 0, 50, 50, "stopped"), ("Two", 1950, 1957, 7, "stopped"),
    ]),
    ("closed and resumed in time", lambda h: h.play(ONE, 50).pause(300).gone(900).listen(), [
        ("One", 0, 1400, 200, DONE),
    ]),
    ("closed and resumed too late", lambda h: h.play(ONE, 50).pause(300).gone(1600).listen(), [
        ("One", 0, 50, 50, "stopped"), ("One", 1950, 2100, 150, DONE),
    ]),
    ("closed, another one then", lambda h: h.play(ONE, 50).gone(60).play(TWO), [
        ("One", 0, 50, 50, "stopped"), ("Two", 110, 210, 100, DONE),
    ]),
    ("sought", lambda h: h.play(ONE, 50).seek(150).listen(20).seek(10).listen(30).play(TWO, 3), [
        ("One", 0, 100, 100, "skipped"), ("Two", 100, 103, 3, "stopped"),
    ]),
    ("back to the beginning", lambda h: h.play(ONE, 80).seek(0).listen(), [("One", 0, 280, 280, DONE)]),
    ("on repeat", lambda h: h.play(TWO).play(TWO).play(TWO), [
        ("Two", 0, 100, 100, DONE), ("Two", 100, 200, 100, DONE), ("Two", 200, 300, 100, DONE),
    ]),
    ("left and chosen again", lambda h: h.play(ONE, 60).play(TWO, 5).play(ONE), [
        ("One", 0, 60, 60, "skipped"), ("Two", 60, 65, 5, "skipped"), ("One", 65, 265, 200, DONE),
    ]),
    ("crossfade", lambda h: h.play(ONE, 0).listen(190, fade=True).play(TWO), [
        ("One", 0, 190, 190, DONE), ("Two", 190, 290, 100, DONE),
    ]),
    ("another device", lambda h: h.play(ONE, 50).hand_over(SPEAKER, 10).listen(), [
        ("One", 0, 210, 200, DONE),
    ]),
    ("a device that says unknown", lambda h: h.play(ONE, 50).hand_over(SPEAKER, 10, "unknown").listen(), [
        ("One", 0, 210, 200, DONE),
    ]),
    ("an advertisement", lambda h: h.play(ONE).ad(30).play(TWO), [
        ("One", 0, 200, 200, DONE), ("Two", 230, 330, 100, DONE),
    ]),
    ("private all along", lambda h: h.change(private="shown").play(ONE).play(TWO), []),
    ("private in between", lambda h: (
        h.play(ONE, 50).change(private="withheld").listen(70).change(private="").listen()
    ), [("One", 0, 200, 130, DONE)]),
    ("private at first", lambda h: h.change(private="shown").play(ONE, 50).change(private="").listen(), [
        ("One", 50, 200, 150, DONE),
    ]),
    ("private at last", lambda h: h.play(ONE, 50).change(private="nothing").listen().play(TWO), [
        ("One", 0, 50, 50, "unknown"),
    ]),
    ("silent after the last one", lambda h: h.play(ONE).silent(120).gone(60), [("One", 0, 200, 200, DONE)]),
    ("silent, and started again", lambda h: h.play(TWO).silent(120).play(TWO, 10), [
        ("Two", 0, 100, 100, DONE), ("Two", 220, 230, 10, "stopped"),
    ]),
    ("a podcast, resumed another day", lambda h: h.play(EPISODE, 900).pause(300).gone(80_000).listen(600), [
        (EPISODE.name, 0, 900, 900, "stopped"), (EPISODE.name, 81_200, 81_800, 600, "stopped"),
    ]),
    ("a file", lambda h: h.play(FILE).gone(1), [("Demo Tape", 0, 150, 150, DONE)]),
]  # fmt: skip


@pytest.mark.parametrize(("write", "expected"), [pytest.param(*row, id=name) for name, *row in SCENARIOS])
def test_truth(
    write: Callable[[History], History], expected: list[tuple[str, float, float, float, str]]
) -> None:
    record = write(History(T)).finish()
    found = plays_of(record)
    assert [(name, reason) for name, *_, reason in found] == [(name, reason) for name, *_, reason in expected]
    for play, row in zip(found, expected, strict=True):
        assert play[1:4] == pytest.approx(row[1:4])
    check(record)


Doing = Callable[[History], History]


def with_item(act: Doing) -> Doing:
    """What can be done only while there is an item."""
    return lambda history: act(history) if history.item else history


def length(history: History) -> float:
    return history.item.seconds if history.item else 0.0


PART = st.floats(0.02, 0.99)
DOINGS: st.SearchStrategy[Doing] = st.one_of(
    st.builds(
        lambda item, part: lambda h: h.play(item, part * item.seconds, load=0.25),
        st.sampled_from([ONE, TWO, FILE, EPISODE]),
        st.floats(0.02, 1.0),
    ),
    st.builds(lambda part: with_item(lambda h: h.listen(part * h.remaining)), PART),
    st.builds(lambda part: with_item(lambda h: h.listen(part * h.remaining, fade=True)), PART),
    st.builds(lambda seconds: with_item(lambda h: h.pause(seconds)), st.sampled_from([1, 1799, 1801])),
    st.builds(lambda part: with_item(lambda h: h.seek(part * length(h))), PART),
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


@settings(max_examples=150, deadline=None)
@given(st.lists(DOINGS, max_size=25))
def test_truth_and_timeline_agree_whatever_is_done(doings: list[Doing]) -> None:
    history = History(T)
    for act in doings:
        act(history)
    check(history.finish())


def test_what_the_player_shows_at_each_moment() -> None:
    history = (
        History(T).play(ONE, 50, load=0.5).pause(60).seek(100).listen(10).hand_over(SPEAKER, 5).listen(10)
    )
    record = history.silent(30).ad(15).gone(60).finish()

    shown: list[tuple[float, str, bool, float, str]] = [
        (-1e9, "nothing", False, 0, "Desk"),
        (0.4, "item", True, 0, "Desk"),
        (10.5, "item", True, 10_000, "Desk"),
        (60, "item", False, 50_000, "Desk"),
        (115.5, "item", True, 105_000, "Desk"),
        (122, "nothing", False, 110_000, "Desk"),
        (130.5, "item", True, 115_000, "Kitchen"),
        (140, "item", False, 0, "Kitchen"),
        (170.5, "ad", True, 5_000, "Kitchen"),
        (1e9, "nothing", False, 15_000, "Kitchen"),
    ]
    for seconds, face, playing, position, device in shown:
        segment = record.at(T + seconds)
        assert (segment.visible, segment.playing, segment.settings.device.name) == (face, playing, device)
        assert segment.position_at(T + seconds) == pytest.approx(position)


def test_the_timestamp_follows_the_events_and_may_be_frozen() -> None:
    history = History(T).play(ONE, 50, load=0.5).pause(10).listen(10).seek(5).listen(10)
    record = history.change(frozen_at=T - 500).play(TWO).finish()
    changed = {segment.start - T: segment.changed_at - T for segment in record.segments if segment.item}
    assert changed == {0: 0, 0.5: 0, 50.5: 50.5, 60.5: 60.5, 70.5: 70.5, 80.5: -500}


def test_tracks_that_are_left_are_noted_with_the_end_of_the_play() -> None:
    album = context("album", "x")
    history = (
        History(T).change(context=album).play(ONE, 50).pause(60).play(TWO).play(FILE, 10).play(EPISODE, 10)
    )
    history.change(private="shown").play(ONE).change(private="", context=None)
    record = history.play(TWO, 20).pause(300).gone(600).listen(10).gone(5).finish()
    assert [
        (leaving.item.name, leaving.left_at - T, leaving.ms_played, leaving.context)
        for leaving in record.finished_tracks
    ] == [
        ("One", 110, 50_000, album),
        ("Two", 210, 100_000, album),
        ("Two", 750, 20_000, None),
        ("Two", 1360, 10_000, None),
    ]


def test_a_history_refuses_what_cannot_be_heard() -> None:
    with pytest.raises(ValueError, match="are left"):
        History(T).listen(5)
    with pytest.raises(ValueError, match="are left"):
        History(T).play(TWO, 101)


def test_plays_so_far() -> None:
    record = History(T).play(ONE, 50).pause(60).listen(20).play(TWO).gone(60).finish()
    assert record.heard_by(T - 1) == []
    (play,) = record.heard_by(T + 120)
    assert (play.name, play.ended_at, play.ms_played, play.end_reason) == ("One", T + 120, 60_000, "")
    assert [play.ms_played for play in record.heard_by(T + 170)] == [70_000, 40_000]
    assert record.heard_by(T + 1000) == list(record.plays)


def test_the_same_history_elsewhere_and_faster() -> None:
    history = History(T).gone(600).change(frozen_at=T - 100).play(ONE, 50).pause(60).listen()
    moved = history.play(TWO).gone(60).finish(((T + 620, 2),)).moved(5_000.0, 10)
    assert [(play.started_at, play.ended_at, play.ms_played) for play in moved.plays] == [
        (5000, 5026, 20_000),
        (5026, 5036, 10_000),
    ]
    assert [(leaving.left_at, leaving.ms_played) for leaving in moved.finished_tracks] == [
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


def test_an_item_may_be_paced_with_its_other_pressing() -> None:
    item = next(item for item in make_catalog(1).tracks if item.twin)
    quick = item.paced(4)
    assert quick.twin is not None
    assert item.twin is not None
    assert quick.twin.uri == item.twin.uri
    assert quick.twin.duration_ms == math.ceil(item.twin.duration_ms / 4)
    assert '"duration_ms":' + str(quick.duration_ms) in quick.json
