from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_logger.supervisor.heartbeat import Beat
from spotify_logger.supervisor.restart_policy import (
    Action,
    Exit,
    Kill,
    RestartPolicy,
    ScheduleRestart,
    Start,
    Terminate,
    describe,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Event = Callable[[RestartPolicy, float], list[Action] | None]
    History = list[tuple[float, Event]]
    Outcome = list[tuple[float, Action]]

KILLED = -signal.SIGKILL


def start(policy: RestartPolicy, now: float) -> list[Action]:
    return policy.start(now)


def stop(policy: RestartPolicy, now: float) -> list[Action]:
    return policy.stop(now)


def renew(policy: RestartPolicy, now: float) -> list[Action]:
    return policy.restart(now)


def wake(policy: RestartPolicy, now: float) -> list[Action]:
    return policy.on_deadline(now)


def ok(seconds: float) -> Event:
    return lambda policy, now: policy.on_beat(now, Beat(seconds, ok=True, status="well"))


def trouble(seconds: float) -> Event:
    return lambda policy, now: policy.on_beat(now, Beat(seconds, ok=False, status="not well"))


def ends(status: int) -> Event:
    return lambda policy, now: policy.on_exit(now, status)


def a_loop(chance: float = 0.0) -> RestartPolicy:
    return RestartPolicy(lambda: chance, has_beats=True, final={78})


def play(policy: RestartPolicy, history: History, until: float) -> Outcome:
    """What comes of a history, in virtual time: the keeper is woken exactly at each of its deadlines."""
    outcome: Outcome = []
    for moment, event in [*history, (until, wake)]:
        while policy.deadline is not None and policy.deadline < moment:
            now = policy.deadline
            outcome += [(now, action) for action in policy.on_deadline(now)]
        outcome += [(moment, action) for action in event(policy, moment) or []]
    return outcome


def restarted(at: float, reason: str, delay: float) -> Outcome:
    return [(at, ScheduleRestart(reason, delay, should_log=True)), (at + delay, Start(should_log=True))]


BEGIN: Outcome = [(0.0, Start(should_log=True))]

HISTORIES: list[tuple[str, History, float, Outcome]] = [
    (
        "a loop that beats is left alone",
        [(0, start), (1, ok(5)), (6, ok(30)), (37.9, ok(30)), (60, trouble(600))],
        661,
        BEGIN,
    ),
    ("an exit code", [(0, start), (1, ok(30)), (9, ends(1))], 11, BEGIN + restarted(9, "exit code 1", 1)),
    ("exit code 0, unasked", [(0, start), (9, ends(0))], 11, BEGIN + restarted(9, "exit code 0", 1)),
    ("a signal", [(0, start), (9, ends(KILLED))], 11, BEGIN + restarted(9, "killed by SIGKILL", 1)),
    (
        "delays double, and stay at a minute",
        [(0, start)] + [(float(t), ends(1)) for t in (1, 3, 6, 11, 20, 37, 70, 131, 192)],
        260,
        BEGIN
        + restarted(1, "exit code 1", 1)
        + restarted(3, "exit code 1", 2)
        + restarted(6, "exit code 1", 4)
        + restarted(11, "exit code 1", 8)
        + restarted(20, "exit code 1", 16)
        + restarted(37, "exit code 1", 32)
        + restarted(70, "exit code 1", 60)
        + restarted(131, "exit code 1", 60)
        + [(192, ScheduleRestart("exit code 1", 60, should_log=False)), (252, Start(should_log=False))],
    ),
    (
        "a minute with a success: the failures before are forgotten",
        [(0, start), (1, ends(1)), (5, ends(1)), (8, ok(99)), (67, ends(1)), (70, ends(1))],
        90,
        BEGIN
        + restarted(1, "exit code 1", 1)
        + restarted(5, "exit code 1", 2)
        + restarted(67, "exit code 1", 1)
        + restarted(70, "exit code 1", 2),
    ),
    (
        "less than a minute: they are not",
        [(0, start), (1, ends(1)), (2.5, ok(99)), (61.9, ends(1))],
        90,
        BEGIN + restarted(1, "exit code 1", 1) + restarted(61.9, "exit code 1", 2),
    ),
    (
        "a minute without a success: they are not",
        [(0, start), (1, ends(1)), (2.5, trouble(99)), (99, ends(1))],
        102,
        BEGIN + restarted(1, "exit code 1", 1) + restarted(99, "exit code 1", 2),
    ),
    (
        "silence beyond what was announced and two seconds",
        [(0, start), (1, ok(33)), (36.5, ends(KILLED))],
        38,
        [*BEGIN, (36, Kill("")), *restarted(36.5, "silent for 35 s", 1)],
    ),
    (
        "no beat within the first minute",
        [(0, start), (60.1, ends(KILLED))],
        61.5,
        [*BEGIN, (60, Kill("")), *restarted(60.1, "silent for 60 s", 1)],
    ),
    (
        "a beat after the verdict saves nobody",
        [(0, start), (1, ok(3)), (6, wake), (6.1, ok(1)), (12, ends(KILLED))],
        14,
        [*BEGIN, (6, Kill("")), *restarted(12, "silent for 5 s", 1)],
    ),
    ("78 is final", [(0, start), (3, ends(78))], 99, [*BEGIN, (3, Exit(78))]),
    ("stop", [(0, start), (1, ok(9)), (5, stop), (6, ends(0))], 99, [*BEGIN, (5, Terminate()), (6, Exit(0))]),
    (
        "stop, and it fails on the way",
        [(0, start), (5, stop), (6, ends(78))],
        99,
        [*BEGIN, (5, Terminate()), (6, Exit(0))],
    ),
    (
        "stop, and it does not",
        [(0, start), (1, ok(3)), (5, stop), (6, ok(3)), (15.1, ends(KILLED))],
        99,
        [*BEGIN, (5, Terminate()), (15, Kill("did not end within 10 s")), (15.1, Exit(0))],
    ),
    (
        "stop twice",
        [(0, start), (5, stop), (6, stop), (6.1, ends(KILLED))],
        99,
        [*BEGIN, (5, Terminate()), (6, Kill("was asked twice to end")), (6.1, Exit(0))],
    ),
    (
        "stop, said twice at once",
        [(0, start), (5, stop), (5.05, stop), (6, ends(0))],
        99,
        [*BEGIN, (5, Terminate()), (6, Exit(0))],
    ),
    (
        "stop while waiting for the next start",
        [(0, start), (1, ends(1)), (1.5, stop)],
        99,
        [*BEGIN, (1, ScheduleRestart("exit code 1", 1, should_log=True)), (1.5, Exit(0))],
    ),
    ("stop before the start", [(0, stop)], 99, [(0, Exit(0))]),
    (
        "renew",
        [(0, start), (1, ok(30)), (5, renew), (6, ends(0)), (7, ok(60))],
        60,
        [*BEGIN, (5, Terminate()), (6, Start(should_log=True))],
    ),
    (
        "renew twice",
        [(0, start), (5, renew), (6, renew), (7, ends(0))],
        9,
        [*BEGIN, (5, Terminate()), (7, Start(should_log=True))],
    ),
    (
        "renew one that does not end",
        [(0, start), (5, renew), (15.1, ends(KILLED))],
        20,
        [*BEGIN, (5, Terminate()), (15, Kill("did not end within 10 s")), (15.1, Start(should_log=True))],
    ),
    (
        "renew, and it says 78",
        [(0, start), (5, renew), (6, ends(78))],
        99,
        [*BEGIN, (5, Terminate()), (6, Exit(78))],
    ),
    (
        "renew while waiting: at once, and the failures are forgotten",
        [(0, start), (1, ends(1)), (3, ends(1)), (4, renew), (5, ends(1))],
        6.5,
        BEGIN
        + restarted(1, "exit code 1", 1)
        + [(3, ScheduleRestart("exit code 1", 2, should_log=True)), (4, Start(should_log=True))]
        + restarted(5, "exit code 1", 1),
    ),
    (
        "renew, then stop: asked once, with a grace of its own",
        [(0, start), (5, renew), (7, stop), (17.5, ends(KILLED))],
        99,
        [*BEGIN, (5, Terminate()), (17, Kill("did not end within 10 s")), (17.5, Exit(0))],
    ),
]


@pytest.mark.parametrize(
    ("history", "until", "outcome"), [row[1:] for row in HISTORIES], ids=[row[0] for row in HISTORIES]
)
def test_history(history: History, until: float, outcome: Outcome) -> None:
    assert play(a_loop(), history, until) == outcome


def test_a_supervisor_that_overslept_gives_a_second_chance_and_no_third() -> None:
    policy = a_loop()
    play(policy, [(0, start), (1, ok(30))], 2)
    assert policy.on_deadline(500) == []
    assert policy.on_deadline(504.9) == []
    assert policy.on_deadline(505) == [Kill("")]


def test_a_second_chance_taken() -> None:
    policy = a_loop()
    play(policy, [(0, start), (1, ok(30))], 2)
    assert policy.on_deadline(500) == []
    assert play(policy, [(501, ok(60))], 560) == []


def test_a_process_without_beats_is_never_silent_and_healthy_by_living() -> None:
    server = RestartPolicy(lambda: 0.0)
    history: History = [(0, start), (1, ends(1)), (3, ends(1)), (1000, ends(KILLED))]
    assert play(server, history, 1002) == (
        BEGIN
        + restarted(1, "exit code 1", 1)
        + restarted(3, "exit code 1", 2)
        + restarted(1000, "killed by SIGKILL", 1)
    )


def test_a_start_that_fails_is_tried_again() -> None:
    policy = a_loop()
    policy.start(0)
    assert policy.on_failure(0, "no memory") == [ScheduleRestart("no memory", 1.0, should_log=True)]
    assert policy.on_deadline(1) == [Start(should_log=True)]


def test_the_same_death_again_and_again_is_told_rarely_and_another_one_at_once() -> None:
    policy = a_loop()
    policy.start(0)
    told = [policy.on_failure(0, "exit code 1")[0] for _ in range(1440)]
    aloud = [
        number
        for number, action in enumerate(told, 1)
        if isinstance(action, ScheduleRestart) and action.should_log
    ]
    assert aloud == [1, 2, 3, 4, 5, 6, 7, 8, *range(10, 1441, 10)]
    assert policy.on_failure(0, "exit code 2") == [ScheduleRestart("exit code 2", 60.0, should_log=True)]


@given(chance=st.floats(0, 1), failures=st.integers(1, 2000))
def test_delays_are_bounded_and_left_a_little_to_chance(chance: float, failures: int) -> None:
    policy = a_loop(chance)
    action: Any = None
    for _ in range(failures):
        (action,) = policy.on_failure(0, "exit code 1")
    whole = min(60.0, 2.0 ** min(failures - 1, 10))
    assert action.delay == pytest.approx(whole * (1 - chance / 4))
    assert 0.75 <= action.delay <= 60


class Machine:
    """What a keeper's decisions mean for a process: it is only started when it is not there."""

    def __init__(self) -> None:
        self.policy = a_loop()
        self.now = 0.0
        self.there = False
        self._do(self.policy.start(0.0))

    def happens(self, what: str) -> None:
        self.now += 1
        if what == "death" and self.there:
            self.there = False
            self._do(self.policy.on_exit(self.now, 1))
        elif what == "beat" and self.there:
            ok(2)(self.policy, self.now)
        elif what == "renew":
            self._do(self.policy.restart(self.now))
        else:
            self._do(self.policy.on_deadline(self.now))

    def _do(self, actions: list[Action]) -> None:
        for action in actions:
            assert self.there is not isinstance(action, Start | ScheduleRestart)
            self.there |= isinstance(action, Start)


@given(st.lists(st.sampled_from(["death", "beat", "renew", "time"]), max_size=60))
def test_a_process_is_never_started_twice_nor_forgotten_and_stops_when_asked(events: list[str]) -> None:
    machine = Machine()
    for event in events:
        machine.happens(event)
        assert machine.there or machine.policy.deadline is not None
    actions = machine.policy.stop(machine.now)
    if machine.there:
        actions = machine.policy.on_exit(machine.now, 0)
    assert actions == [Exit(0)]


@pytest.mark.parametrize(
    ("status", "description"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-9, "killed by SIGKILL"),
        (-11, "killed by SIGSEGV"),
        (-63, "killed by signal 63"),
    ],
)
def test_an_exit_is_described(status: int, description: str) -> None:
    assert describe(status) == description
