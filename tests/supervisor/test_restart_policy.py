from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_logger.supervisor.restart_policy import (
    TERMINATE,
    Action,
    Beat,
    Exit,
    RestartPolicy,
    ScheduleRestart,
    Signal,
    Start,
    SupervisorTimings,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Event = Callable[[RestartPolicy, float], list[Action] | None]
    History = list[tuple[float, Event]]
    Outcome = list[tuple[float, Action]]

KILLED = -signal.SIGKILL
start, stop, restart = RestartPolicy.start, RestartPolicy.stop, RestartPolicy.restart
wake = RestartPolicy.on_deadline


def ok(seconds: float) -> Event:
    return lambda policy, now: policy.on_beat(now, Beat(seconds, ok=True, status="well"))


def trouble(seconds: float) -> Event:
    return lambda policy, now: policy.on_beat(now, Beat(seconds, ok=False, status="not well"))


def exits(status: int) -> Event:
    return lambda policy, now: policy.on_exit(now, status)


def loop_policy(chance: float = 0.0) -> RestartPolicy:
    return RestartPolicy(SupervisorTimings(), has_beats=True, final={78}, chance=lambda: chance)


def outcome_of(policy: RestartPolicy, history: History, until: float) -> Outcome:
    """Return what follows from a history, in virtual time: the policy is woken exactly at each deadline."""
    outcome: Outcome = []
    for moment, event in [*history, (until, wake)]:
        while policy.deadline is not None and policy.deadline < moment:
            now = policy.deadline
            outcome += [(now, action) for action in policy.on_deadline(now)]
        outcome += [(moment, action) for action in event(policy, moment) or []]
    return outcome


def restarted(at: float, reason: str, delay: float) -> Outcome:
    return [(at, ScheduleRestart(reason, delay, should_log=True)), (at + delay, Start(should_log=True))]


HISTORIES: dict[str, tuple[History, float, Outcome]] = {
    "a loop that beats": ([(1, ok(5)), (6, ok(30)), (37.9, ok(30)), (60, trouble(600))], 661, []),
    "exit code 0, unasked": ([(9, exits(0))], 11, restarted(9, "exit code 0", 1)),
    "a minute with a success resets the delay": (
        [(1, exits(1)), (5, exits(1)), (8, ok(99)), (67, exits(1))],
        90,
        restarted(1, "exit code 1", 1) + restarted(5, "exit code 1", 2) + restarted(67, "exit code 1", 1),
    ),
    "silence, two seconds longer than announced": (
        [(1, ok(33)), (36.5, exits(KILLED))],
        38,
        [(36, Signal(signal.SIGKILL)), *restarted(36.5, "silent for 35 s", 1)],
    ),
    "no beat within the first minute": (
        [(60.1, exits(KILLED))],
        61.5,
        [(60, Signal(signal.SIGKILL)), *restarted(60.1, "silent for 60 s", 1)],
    ),
    "78 is final": ([(3, exits(78))], 99, [(3, Exit(78))]),
    "stop, and it does not": (
        [(1, ok(3)), (5, stop), (6, ok(3)), (15.1, exits(KILLED))],
        99,
        [(5, TERMINATE), (15, Signal(signal.SIGKILL, "did not end within 10 s")), (15.1, Exit(0))],
    ),
    "stop twice": (
        [(5, stop), (6, stop), (6.1, exits(KILLED))],
        99,
        [(5, TERMINATE), (6, Signal(signal.SIGKILL, "was asked twice to stop")), (6.1, Exit(0))],
    ),
    "stop, twice at the same moment": (
        [(5, stop), (5.05, stop), (6, exits(0))],
        99,
        [(5, TERMINATE), (6, Exit(0))],
    ),
    "stop while waiting for the next start": (
        [(1, exits(1)), (1.5, stop)],
        99,
        [(1, ScheduleRestart("exit code 1", 1, should_log=True)), (1.5, Exit(0))],
    ),
    "restart, twice": (
        [(1, ok(30)), (5, restart), (6, restart), (7, exits(0)), (8, ok(60))],
        60,
        [(5, TERMINATE), (7, Start(should_log=True))],
    ),
}


@pytest.mark.parametrize(("history", "until", "outcome"), HISTORIES.values(), ids=HISTORIES)
def test_history(history: History, until: float, outcome: Outcome) -> None:
    started = [(0.0, Start(should_log=True))]
    assert outcome_of(loop_policy(), [(0, start), *history], until) == started + outcome


def test_a_supervisor_that_overslept_gives_a_second_chance_and_no_third() -> None:
    policy = loop_policy()
    outcome_of(policy, [(0, start), (1, ok(30))], 2)
    assert policy.on_deadline(500) == []
    assert policy.on_deadline(504.9) == []
    assert policy.on_deadline(505) == [Signal(signal.SIGKILL)]


def test_a_process_without_beats_is_never_silent_and_healthy_while_it_runs() -> None:
    server = RestartPolicy(SupervisorTimings(), chance=lambda: 0.0)
    history: History = [(0, start), (1, exits(1)), (3, exits(-63)), (1000, exits(KILLED))]
    assert outcome_of(server, history, 1002)[1:] == (
        restarted(1, "exit code 1", 1)
        + restarted(3, "killed by signal 63", 2)
        + restarted(1000, "killed by SIGKILL", 1)
    )


def test_a_repeated_failure_is_logged_rarely_and_another_one_at_once() -> None:
    policy = loop_policy()
    policy.start(0)
    actions = [policy.on_failure(0, "no memory") for _ in range(100)]
    logged = [number for number, (action,) in enumerate(actions, 1) if getattr(action, "should_log", False)]
    assert logged == [1, 2, 3, 4, 5, 6, 7, 8, *range(10, 101, 10)]
    assert policy.on_failure(0, "exit code 2") == [ScheduleRestart("exit code 2", 60.0, should_log=True)]


@given(chance=st.floats(0, 1), failures=st.integers(1, 100))
def test_delays_have_jitter_and_a_limit(chance: float, failures: int) -> None:
    policy = loop_policy(chance)
    action: Any = None
    for _ in range(failures):
        (action,) = policy.on_failure(0, "exit code 1")
    assert action.delay == pytest.approx(min(60.0, 2.0 ** (failures - 1)) * (1 - chance / 4))


class ProcessModel:
    """A process that is started only while it does not run."""

    def __init__(self) -> None:
        self.policy = loop_policy()
        self.now = 0.0
        self.is_running = False
        self._perform(self.policy.start(0.0))

    def on_event(self, event: str) -> None:
        self.now += 1
        if event == "exit" and self.is_running:
            self.is_running = False
            self._perform(self.policy.on_exit(self.now, 1))
        elif event == "beat" and self.is_running:
            ok(2)(self.policy, self.now)
        elif event == "restart":
            self._perform(self.policy.restart(self.now))
        else:
            self._perform(self.policy.on_deadline(self.now))

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            assert self.is_running is not isinstance(action, Start | ScheduleRestart)
            self.is_running |= isinstance(action, Start)


@given(st.lists(st.sampled_from(["exit", "beat", "restart", "time"]), max_size=60))
def test_a_process_is_never_started_twice_nor_forgotten_and_stops_when_asked(events: list[str]) -> None:
    process = ProcessModel()
    for event in events:
        process.on_event(event)
        assert process.is_running or process.policy.deadline is not None
    actions = process.policy.stop(process.now)
    if process.is_running:
        actions = process.policy.on_exit(process.now, 0)
    assert actions == [Exit(0)]
