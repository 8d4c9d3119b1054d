"""Properties of the tracker for random players, answers and times."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.core.player_state import NO_STATE, PlayerState
from spotify_logger.core.tracker import Tracker
from tests.histories import (
    EPISODE,
    LOCAL,
    NOON,
    A,
    B,
    TimedState,
    at,
    follow,
    item,
    none,
    observe,
    reread,
    twice,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.core.play import Play
    from spotify_logger.core.player_state import Item

ITEMS = (A, B, EPISODE, LOCAL, item("short", 3), item("endless", None))


@st.composite
def wild_histories(
    draw: st.DrawFn, steps: Sequence[float] = (0, 0.3, 5, 10, 30, 60, 700, 4000)
) -> list[TimedState]:
    """Generate answers that need not fit together, `steps` seconds apart."""
    second, answers = 0.0, []
    for _ in range(draw(st.integers(1, 20))):
        second += draw(st.sampled_from(steps))
        what = draw(st.sampled_from(ITEMS))
        playback = draw(
            st.sampled_from((NO_STATE, PlayerState(playing=True, progress_ms=5000, is_advertisement=True)))
            | playbacks(what, second)
        )
        answers.append(TimedState(second, playback))
    return answers


@st.composite
def playbacks(draw: st.DrawFn, what: Item, second: float) -> PlayerState:
    """Generate any state of an item."""
    progress = draw(st.none() | st.integers(0, 200) | st.just(second % 200))
    ago = draw(st.none() | st.integers(-100, 100))
    playing = draw(st.booleans())
    private = draw(st.sampled_from((False, False, False, True)))
    changed = None if ago is None else second - ago
    return at(second, what, progress, playing=playing, private=private, changed=changed).state


@st.composite
def listened(draw: st.DrawFn) -> list[TimedState]:
    """Generate answers about a listener who plays, pauses, seeks, skips and repeats."""
    second, position, playing, what, answers = 0.0, 0.0, True, A, []
    for _ in range(draw(st.integers(1, 25))):
        elapsed = draw(st.sampled_from((1, 5, 10, 30, 31, 60)))
        second += elapsed
        if playing:
            position += elapsed
        length = (what.duration_ms or 0) / 1000
        action = draw(st.sampled_from(("listen",) * 6 + ("pause", "resume", "seek", "skip", "missing")))
        if position > length or action == "skip":
            what = draw(st.sampled_from((A, B, LOCAL, EPISODE)))
            position, playing = min(1.0, elapsed), True
        elif action in ("pause", "resume"):
            playing = action == "resume"
        elif action == "seek":
            position = draw(st.integers(0, round(length)))
        answers.append(none(second) if action == "missing" else at(second, what, position, playing=playing))
    return answers


@st.composite
def with_gaps(draw: st.DrawFn, histories: st.SearchStrategy[list[TimedState]]) -> list[TimedState]:
    """Generate histories with a gap before some of the states."""
    history = draw(histories)
    after_gap = draw(st.sets(st.integers(0, len(history) - 1), min_size=1, max_size=4))
    return [replace(answer, after_gap=number in after_gap) for number, answer in enumerate(history)]


quick_histories = wild_histories((0, 0.3, 5, 10, 30, 60)) | listened()
within_half_an_hour = quick_histories | with_gaps(quick_histories)
"""A play paused for longer is over with the next answer, even a repeated one."""
histories = wild_histories() | listened() | with_gaps(wild_histories() | listened())


def check(plays: Sequence[Play], history: Sequence[TimedState]) -> None:
    ends = [play.ended_ms for play in plays]
    starts = [play.started_ms for play in plays]
    for play in plays:
        assert 0 <= play.ms_played <= play.ended_ms - play.started_ms
        assert play.end_reason in (None, "trackdone", "skipped", "stopped", "unknown")
    for (_, next_start), (end, _) in zip(pairwise(starts), pairwise(ends), strict=True):
        assert end <= next_start
    assert all(play.end_reason for play in plays[:-1])
    last = NOON + round(1000 * history[-1].at)
    assert not plays or plays[-1].ended_ms <= last
    if plays:
        assert sum(play.ms_played for play in plays) <= last - plays[0].started_ms


@given(histories)
@settings(max_examples=60)
def test_plays_never_overlap_or_exceed_the_time_that_passed(history: list[TimedState]) -> None:
    plays = follow(history)

    check([plays[second] for second in sorted(plays)], history)


@given(quick_histories)
@settings(max_examples=60)
def test_a_track_is_heard_for_longer_than_it_is_only_after_a_seek_back(history: list[TimedState]) -> None:
    positions: dict[str, int] = {}
    fallen = set()
    for answer in history:
        uri, position = answer.state.uri, answer.state.progress_ms
        if position is not None:
            is_beyond = position > (answer.state.duration_ms or position)  # what Spotify says is cut there
            fallen |= {uri} if is_beyond or position < positions.get(uri, 0) else set()
            positions[uri] = position

    for play in follow(history).values():
        duration = play.item.duration_ms
        if play.item.uri not in fallen and play.item != EPISODE and duration is not None:
            assert play.ms_played <= duration


@given(within_half_an_hour)
@settings(max_examples=50)
def test_answers_delivered_twice_change_nothing(history: list[TimedState]) -> None:
    assert follow(twice(history)) == follow(history)


@given(histories, st.data())
@settings(max_examples=60)
def test_a_restart_anywhere_gives_the_same_plays(history: list[TimedState], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(history)))
    unbroken = {second: play.to_hash() for second, play in follow(history).items()}

    first = Tracker()
    plays = follow(history[:cut], first)
    second = restarted(first, plays)
    plays |= follow(history[cut:], second)

    assert {second: play.to_hash() for second, play in plays.items()} == unbroken


@given(histories, st.data())
@settings(max_examples=60)
def test_a_crash_between_any_two_writes_duplicates_nothing(
    history: list[TimedState], data: st.DataObject
) -> None:
    """The plays are written to Redis one by one, the tracker's JSON last."""
    cut = data.draw(st.integers(0, len(history) - 1))
    tracker = Tracker()
    plays = follow(history[:cut], tracker)
    memory = tracker.serialize()
    written = observe(tracker, history[cut])
    plays |= {play.second: play for play in written[: data.draw(st.integers(0, len(written)))]}

    second = restarted(tracker, plays, memory)
    plays |= follow(history[cut:], second)

    check([plays[second] for second in sorted(plays)], history)


def restarted(tracker: Tracker, plays: dict[int, Play], memory: str | None = None) -> Tracker:
    newest = max(plays.values(), key=lambda play: play.second, default=None)
    return Tracker(newest and reread(newest), tracker.serialize() if memory is None else memory)


@given(st.text() | st.just('{"last": [], "answered": -1, "play": {}}') | st.just('{"last": {"uri": 3}}'))
def test_damaged_memory_counts_as_none(memory: str) -> None:
    tracker = Tracker(None, memory)

    assert len(observe(tracker, at(100, A, 30))) == 1
