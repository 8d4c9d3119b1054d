"""Coverage scenarios: turns of the loop at their times, and the expected unobserved periods."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.coverage import (
    LOGIN_DEAD,
    MAX_TURN_DELAY,
    NOT_RUNNING,
    OFFLINE,
    RATE_LIMITED,
    SPOTIFY_DOWN,
    SUSPENDED,
    Coverage,
    UnobservedSpan,
)
from spotify_logger.core.poll_schedule import MAX_IDLE_FACTOR
from tests.histories import NOON

if TYPE_CHECKING:
    from collections.abc import Sequence

PLANNED = MAX_IDLE_FACTOR * 30.0
MINUTE, HOUR = 60, 3600

Turn = tuple[float, str, float]
"""Time in seconds since noon; reason for no answer, empty for an answer; time of the next turn."""
Seen = tuple[float, float, str]
"""Start, end and reason."""


@dataclass(frozen=True)
class Scenario:
    """Turns, and expected periods; an earlier process had its last answer `before` seconds before noon."""

    turns: Sequence[Turn]
    stretches: Sequence[Seen]
    before: float | None = None
    expect_within: float = PLANNED


def every(step: float, begin: float, end: float, reason: str = "") -> list[Turn]:
    """Turns of the same kind, one after the other."""
    count = round((end - begin) / step)
    return [(begin + step * number, reason, begin + step * (number + 1)) for number in range(count)]


SCENARIOS = {
    "answers all the time": Scenario(every(30, 0, HOUR), []),
    "one answer is missing": Scenario([*every(30, 0, 90), (90, OFFLINE, 95), *every(30, 95, 200)], []),
    "offline for a minute and a half: something may have been missed": Scenario(
        [*every(30, 0, 60), *every(10, 60, 180, OFFLINE), *every(30, 180, 300)], [(30, 180, OFFLINE)]
    ),
    "offline": Scenario(
        [*every(30, 0, 60), *every(60, 60, 4020, OFFLINE), *every(30, 4020, 5000)], [(30, 4020, OFFLINE)]
    ),
    "rate limited": Scenario(
        [*every(30, 0, 60), *every(60, 60, 660, RATE_LIMITED), (660, "", 690)], [(30, 660, RATE_LIMITED)]
    ),
    "the login dead": Scenario(
        [*every(30, 0, 60), *every(5, 60, 660, LOGIN_DEAD), (660, "", 690)], [(30, 660, LOGIN_DEAD)]
    ),
    "Spotify down": Scenario(
        [*every(30, 0, 60), *every(60, 60, 660, SPOTIFY_DOWN), (660, "", 690)], [(30, 660, SPOTIFY_DOWN)]
    ),
    "twice, for different reasons": Scenario(
        [
            *every(30, 0, 60),
            *every(60, 60, 660, SPOTIFY_DOWN),
            *every(30, 660, 900),
            *every(60, 900, 1500, OFFLINE),
            (1500, "", 1530),
        ],
        [(30, 660, SPOTIFY_DOWN), (870, 1500, OFFLINE)],
    ),
    "for several reasons: what lasted longest": Scenario(
        [
            *every(30, 0, 60),
            *every(60, 60, 360, SPOTIFY_DOWN),
            *every(60, 360, 1260, RATE_LIMITED),
            *every(60, 1260, 1860, OFFLINE),
            (1860, "", 1890),
        ],
        [(30, 1860, RATE_LIMITED)],
    ),
    "for several reasons, many of one and long ones of the other": Scenario(
        [
            *every(30, 0, 60),
            *every(5, 60, 160, LOGIN_DEAD),
            *every(60, 160, 400, SPOTIFY_DOWN),
            (400, "", 430),
        ],
        [(30, 400, SPOTIFY_DOWN)],
    ),
    "asleep": Scenario([*every(30, 0, 60), (4000, "", 4030)], [(30, 4000, SUSPENDED)]),
    "asleep, and not yet online": Scenario(
        [*every(30, 0, 60), *every(10, 4000, 4060, OFFLINE), (4060, "", 4090)], [(30, 4060, SUSPENDED)]
    ),
    "offline, and asleep in a wait": Scenario(
        [*every(30, 0, 60), *every(60, 60, 360, OFFLINE), (4000, OFFLINE, 4010), (4010, "", 4040)],
        [(30, 4010, SUSPENDED)],
    ),
    "offline for longer than asleep": Scenario(
        [*every(30, 0, 60), *every(60, 60, 1860, OFFLINE), (2800, OFFLINE, 2810), (2810, "", 2840)],
        [(30, 2810, OFFLINE)],
    ),
    "a busy machine is late": Scenario(
        [*every(30, 0, 60), (60 + MAX_TURN_DELAY, "", 120), (120 + MAX_TURN_DELAY, "", 180)], []
    ),
    "a busy machine that is late while offline was awake": Scenario(
        [
            *every(30, 0, 60),
            *((50 * turn, OFFLINE, 50 * turn + 22) for turn in range(2, 20)),
            (1000, "", 1030),
        ],
        [(30, 1000, OFFLINE)],
    ),
    # Another process was there before
    "nobody was there before": Scenario(every(30, 0, 300), []),
    "nobody was there before, and nothing answers at first": Scenario(
        [*every(60, 0, 1800, OFFLINE), *every(30, 1800, 2000)], []
    ),
    "started again at once": Scenario([*every(30, 2, 100)], [], before=20),
    "after a power cut": Scenario([(2, "", 32)], [(-HOUR, 2, NOT_RUNNING)], before=HOUR),
    "after a power cut, and for a while offline": Scenario(
        [*every(60, 2, 602, OFFLINE), (602, "", 632)], [(-HOUR, 602, NOT_RUNNING)], before=HOUR
    ),
    "after a short power cut, and for long offline": Scenario(
        [*every(60, 0, HOUR, OFFLINE), (HOUR, "", HOUR + 30)], [(-600, HOUR, OFFLINE)], before=600
    ),
    "after a short power cut, and offline with few turns": Scenario(
        [(0, OFFLINE, 1000), (1000, OFFLINE, 1010), (1010, "", 1040)], [(-600, 1010, OFFLINE)], before=600
    ),
    "after a power cut, and asleep a little later": Scenario(
        [(2, "", 32), (9000, "", 9030)], [(-HOUR, 2, NOT_RUNNING), (2, 9000, SUSPENDED)], before=HOUR
    ),
    "the other process was of the future": Scenario([(0, "", 30), (30, "", 60)], [], before=-HOUR),
    # Waits
    "who plans to ask every ten minutes misses nothing": Scenario(
        every(600, 0, 2 * HOUR), [], expect_within=600
    ),
    "who plans to ask every ten minutes, and is late": Scenario(
        [*every(600, 0, HOUR), (HOUR + 70, "", HOUR + 670)],
        [(HOUR - 600, HOUR + 70, SUSPENDED)],
        expect_within=600,
    ),
    "another process may have planned to ask in ten minutes": Scenario(
        [(2, "", 602)], [], before=650, expect_within=600
    ),
    "another process may not have planned that": Scenario(
        [(2, "", 602)], [(-700, 2, NOT_RUNNING)], before=700, expect_within=600
    ),
}


def stamp(second: float) -> int:
    return NOON + round(second * 1000)


def seconds(stretch: UnobservedSpan) -> Seen:
    return (stretch.from_ms - NOON) / 1000, (stretch.to_ms - NOON) / 1000, stretch.reason


def live_through(case: Scenario, step: float = 0, zero: float = 0) -> list[UnobservedSpan]:
    """Take the turns as the loop does.

    Args:
        case: What happens.
        step: By so much the wall clock is set forward after the first turn.
        zero: What the monotonic clock shows at noon.
    """
    coverage = Coverage(None if case.before is None else stamp(-case.before), case.expect_within)
    coverage.end_turn(zero, zero)
    stretches = []
    for number, (at, reason, due) in enumerate(case.turns):
        if reason:
            coverage.record_failure(zero + at, reason)
        else:
            stretch = coverage.record_answer(stamp(at + (step if number else 0)), zero + at)
            coverage.expect_within(due - at)
            stretches += [] if stretch is None else [stretch]
        coverage.end_turn(zero + at, zero + due)
    return stretches


@pytest.mark.parametrize("name", SCENARIOS)
def test_unobserved_periods(name: str) -> None:
    case = SCENARIOS[name]

    for zero in (0.0, 12_345.0):  # what the monotonic clock shows does not matter
        assert [seconds(stretch) for stretch in live_through(case, zero=zero)] == list(case.stretches)


@pytest.mark.parametrize("step", [-86_400, 86_400])
def test_a_step_of_the_clock_is_not_a_gap(step: float) -> None:
    assert live_through(Scenario(every(30, 0, 300), []), step=step) == []


def test_a_period_in_which_the_clock_was_set_back_does_not_end_before_it_began() -> None:
    coverage = Coverage(None, 30)
    coverage.record_answer(stamp(0), 0)

    assert coverage.record_answer(stamp(-86_400), 900) == UnobservedSpan(stamp(0), stamp(0), SUSPENDED)


@pytest.mark.parametrize(("more", "is_blind"), [(0, False), (1, True)])
def test_something_may_be_missed_a_minute_after_the_planned_answer(more: int, is_blind: bool) -> None:  # noqa: FBT001 - a table
    coverage = Coverage(NOON, 0.5)

    assert (coverage.record_answer(NOON + 60_500 + more, 7.0) is not None) is is_blind


@pytest.mark.parametrize(("length", "is_gap"), [(60, False), (300, False), (300.001, True), (86_400, True)])
def test_a_gap_is_longer_than_five_minutes(length: float, is_gap: bool) -> None:  # noqa: FBT001 - a table
    assert UnobservedSpan(NOON, NOON + round(length * 1000), OFFLINE).is_gap is is_gap


class TestOpenGap:
    def test_the_open_gap(self) -> None:
        coverage = seen_at_noon()
        for at in range(60, 361, 60):
            coverage.record_failure(at, RATE_LIMITED)
            gap = coverage.current_gap(at)
            assert (None if gap is None else seconds(gap)) == (
                (0, at, RATE_LIMITED) if at > 5 * MINUTE else None
            )
            coverage.end_turn(at, at + 60)

    def test_the_next_answer_ends_it(self) -> None:
        coverage = seen_at_noon()
        coverage.record_failure(400, OFFLINE)
        assert coverage.current_gap(400) is not None
        coverage.record_answer(stamp(410), 410)

        coverage.record_failure(420, OFFLINE)
        assert coverage.current_gap(420) is None

    def test_there_is_no_open_gap_before_the_first_answer(self) -> None:
        coverage = Coverage(stamp(-HOUR), PLANNED)
        coverage.end_turn(0, 0)
        coverage.record_failure(HOUR, OFFLINE)

        assert coverage.current_gap(HOUR) is None

    def test_while_turns_bring_answers_there_is_none(self) -> None:
        assert seen_at_noon().current_gap(HOUR) is None

    def test_a_planned_wait_is_not_a_gap(self) -> None:
        """With a long POLL_MAX, one failure does not turn the wait before it into a gap."""
        coverage = seen_at_noon(expect_within=600)

        coverage.record_failure(600, OFFLINE)
        assert coverage.current_gap(600) is None
        assert coverage.current_gap(660) is None
        gap = coverage.current_gap(661)
        assert gap is not None
        assert seconds(gap) == (0, 661, OFFLINE)


def seen_at_noon(expect_within: float = 30) -> Coverage:
    coverage = Coverage(None, expect_within)
    coverage.end_turn(0, 0)
    coverage.record_answer(stamp(0), 0)
    coverage.expect_within(expect_within)
    coverage.end_turn(0, expect_within)
    return coverage
