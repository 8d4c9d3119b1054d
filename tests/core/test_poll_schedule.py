from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.backoff import Backoff
from spotify_logger.core.observations import Observations
from spotify_logger.core.poll_schedule import PollSchedule
from spotify_logger.core.tracker import Tracker
from tests.histories import EPISODE, A, B, TimedState, advertisement, at, item, none, observe, played

if TYPE_CHECKING:
    from collections.abc import Sequence

PAUSED = [at(second, A, 50, playing=False) for second in (0, 60)]


def waits(history: Sequence[TimedState], slowdown: float = 1) -> list[float]:
    tracker, schedule, found = Tracker(), PollSchedule(5, 30), []
    schedule.slowdown = slowdown
    for answer in history:
        observe(tracker, answer)
        found.append(round(schedule.wait_after(tracker.seen, answer.at), 3))
    return found


@pytest.mark.parametrize(
    ("name", "history", "expected"),
    [
        ("a minute later", played(A, 0, (1, 31, 61)), 30),
        ("an item that just began as expected", [*played(A, 0, (1, 61, 199)), *played(B, 200, (201,))], 5),
        ("the end of the item comes first", played(A, 0, (1, 100, 185)), 16),
        (
            "before the end, where it was left early",
            [*played(A, 0, (1, 181)), *played(B, 190, (201, 371))],
            10,
        ),
        ("while it may be left early", [*played(A, 0, (1, 181)), *played(B, 190, (201, 371, 381))], 5),
        ("the end itself", [*played(A, 0, (1, 181)), *played(B, 190, (201, 371, 381, 386))], 5),
        ("skip", [*played(A, 0, (1, 61, 91)), *played(B, 100, (121,))], 5),
        ("soon after a skip", [*played(A, 0, (1, 61)), *played(B, 70, (91, 96))], 5),
        ("later after a skip", [*played(A, 0, (1, 61)), *played(B, 70, (91, 106))], 30),
        ("seek forward", [*played(A, 0, (1, 61, 91)), at(121, A, 150)], 5),
        ("resume", [*PAUSED, at(120, A, 55)], 5),
        ("an advertisement", [*played(A, 0, (1, 61, 199)), advertisement(201, 1)], 10),
        ("progress missing", [*played(A, 0, (1, 61)), at(91, A, None)], 30),
    ],
)
def test_the_wait_after_a_history(name: str, history: Sequence[TimedState], expected: float) -> None:
    assert waits(history)[-1] == expected, name


def test_idle_waits_grow_to_a_limit_and_restart_after_a_play() -> None:
    idle = waits([none(second) for second in range(0, 1800, 60)])

    assert idle[0] == 10
    assert idle == sorted(idle)
    assert idle[-1] == 1.75 * 30
    assert waits([*(none(s) for s in range(0, 600, 60)), *played(A, 600, (601,)), none(610)])[-1] == 10


@pytest.mark.parametrize(
    ("name", "history", "expected"),
    [
        ("after a change", played(A, 0, (1,)), 20),
        ("steady", played(EPISODE, 0, (1, 31, 61)), 120),
        ("idle", [none(second) for second in range(0, 1800, 60)], 210),
        ("but not the one until the end of an item", played(A, 0, (1, 100, 185)), 16),
        ("while it may be left early", [*played(A, 0, (1, 181)), *played(B, 190, (201, 371, 381))], 10),
        ("nor of a short one", played(item("S", 3), 0, (1,)), 3),
    ],
)
def test_rate_limits_lengthen_the_waits(name: str, history: Sequence[TimedState], expected: float) -> None:
    assert waits(history, slowdown=4)[-1] == expected, name


def test_a_changed_slowdown_applies_at_once() -> None:
    schedule, idle = PollSchedule(5, 30), Observations()
    found = []
    for schedule.slowdown in (1, 1, 4, 4, 1, 1):
        found.append(round(schedule.wait_after(idle, 0), 2))

    assert found == [10, 11, 48.4, 53.24, 14.64, 16.11]


def test_failures_double_the_wait_until_a_success() -> None:
    backoff = Backoff(5, 60, lambda: 1)
    assert [backoff.failed() for _ in range(6)] == [5, 10, 20, 40, 60, 60]
    for _ in range(10_000):
        backoff.failed()
    backoff.succeeded()
    assert backoff.failed() == 5


def test_the_wait_after_a_failure_has_jitter() -> None:
    randoms = iter((0, 0.5, 1))
    backoff = Backoff(5, 5, lambda: next(randoms))
    assert [backoff.failed() for _ in range(3)] == [2.5, 3.75, 5]
