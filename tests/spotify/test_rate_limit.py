from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spotify_logger.spotify.rate_limit import (
    MAX_COOLDOWN,
    RECENT_LIMIT_AGE,
    RateLimit,
)
from spotify_logger.system.clock import DATE_TOLERANCE, Clock
from spotify_logger.system.errors import NotBefore
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from pathlib import Path

NOON = 1_795_348_800.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
YEAR = 365 * DAY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "limits.json"


def start(path: Path, clock: Clock) -> RateLimit:
    """Return what a process starts with that keeps the limits in a file."""
    return RateLimit(path.read_text() if path.exists() else "", path.write_text, clock)


def remaining(rate_limit: RateLimit) -> float:
    """Return the seconds for which nothing may be sent to the API."""
    try:
        rate_limit.check("api")
    except NotBefore as limit:
        return limit.seconds
    return 0.0


class RebootingMachine:
    """A machine with the real clock on simulated hardware; the logger polls once a minute.

    Attributes:
        now: The true time.
        ahead: Seconds by which the machine's own clock is ahead of it.
        synchronized: Whether the kernel reports the clock as synchronised.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.now, self.ahead, self.synchronized = NOON, 0.0, False
        self._booted = NOON - 3 * DAY
        self._path = path
        monkeypatch.setattr(time, "time", lambda: self.now + self.ahead)
        monkeypatch.setattr(Clock, "monotonic", lambda _: self.now - self._booted)
        monkeypatch.setattr(Clock, "is_synchronized", lambda _: self.synchronized)
        self.restart()

    def restart(self) -> None:
        """Start another process of the logger, without a reboot."""
        self.clock = Clock()
        self.rate_limit = start(self._path, self.clock)

    def reboot(self, off: float, ahead: float = 0.0) -> None:
        """Cut the power for some seconds; the clock comes back ahead of the true time, or behind."""
        self.now += off
        self.ahead, self.synchronized = ahead, False
        self._booted = self.now
        self.restart()

    def synchronize(self) -> None:
        """Let a network time service step the clock, and keep it right."""
        self.ahead, self.synchronized = 0.0, True

    def start_cooldown(self, seconds: float) -> None:
        """Get an answer that asks to wait; like every answer, it tells the time."""
        self.clock.correct(math.floor(self.now))
        assert self.rate_limit.start_cooldown("api", seconds - 1, "quota").seconds == seconds

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            remaining(self.rate_limit)
            self.now = min(end, self.now + MINUTE)

    @property
    def remaining(self) -> float:
        return remaining(self.rate_limit)


@pytest.mark.parametrize(
    ("asked", "guess", "times", "expected"),
    [
        (6, 60, 5, 22),
        (6, 60, 1030, 66),
        (0, 60, 1, 1),
        (None, 60, 1, 60),
        (None, 60, 3, 240),
        (None, 60, 20, 3600),
        (float("inf"), 60, 1, MAX_COOLDOWN),
    ],
)
def test_length_of_a_cooldown(asked: float | None, guess: float, times: int, expected: float) -> None:
    rate_limit = RateLimit("", lambda _: None, Clock())
    limits = [rate_limit.start_cooldown("api", asked, "", guess) for _ in range(times)]
    assert limits[-1].seconds == expected


CLOCK_ERROR = DATE_TOLERANCE + 1
"""Seconds by which the time of an answer may be wrong."""
DURATIONS, OFFSETS = st.floats(0, 5 * HOUR), st.floats(-YEAR, YEAR)
EVENTS = st.tuples(
    st.sampled_from(["run", "idle", "restart", "synchronize", "step", "reboot"]), DURATIONS, OFFSETS
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.floats(2, 1e6), ahead=OFFSETS, events=st.lists(EVENTS, max_size=10))
def test_cooldown_is_never_too_short_and_exact_until_a_reboot(
    memory_folder: Path,
    asked: float,
    ahead: float,
    events: list[tuple[str, float, float]],
) -> None:
    path = memory_folder / "limits.json"
    path.unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        machine = RebootingMachine(patch, path)
        machine.reboot(0, ahead)
        seconds, was_rebooted = min(asked, MAX_COOLDOWN), False
        machine.start_cooldown(seconds)
        for event, duration, offset in events:
            if event == "run":
                machine.run(duration)
            elif event == "idle":
                machine.now += duration
            elif event == "restart":
                machine.now += duration
                machine.restart()
            elif event == "synchronize":
                machine.synchronize()
            elif event == "step":
                machine.ahead, machine.synchronized = offset, False
            else:
                machine.reboot(duration, offset)
                was_rebooted = True
            left = NOON + seconds - machine.now
            assert left - CLOCK_ERROR <= machine.remaining <= seconds + 0.001
            if machine.synchronized or not was_rebooted:
                assert machine.remaining <= max(0, left) + CLOCK_ERROR
        machine.now += seconds + 1
        assert machine.remaining == 0


@pytest.mark.parametrize(
    ("ages", "slowdown"),
    [
        ([], 1),
        ([60, 120], 2),
        ([60, RECENT_LIMIT_AGE - 1], 2),
        ([60, RECENT_LIMIT_AGE], 1),
        ([60, -MAX_COOLDOWN], 2),  # a cooldown that goes on
        ([60, -MAX_COOLDOWN - 1], 1),  # no cooldown is as long: the clock was wrong
    ],
)
def test_recent_limits_slow_polling_down(path: Path, ages: list[float], slowdown: float) -> None:
    path.write_text(json.dumps({"limits": [NOON - age for age in ages]}))
    assert start(path, VirtualClock(NOON)).slowdown() == slowdown


COOLDOWN = {"seconds": 60, "monotonic": 0, "utc": NOON, "times": 1, "reason": "x"}


def test_invalid_limits_do_not_cost_the_cooldown(path: Path) -> None:
    path.write_text(json.dumps({"api": COOLDOWN, "limits": [NOON, NOON, "x"]}))
    rate_limit = start(path, VirtualClock(NOON))
    assert (rate_limit.slowdown(), remaining(rate_limit)) == (1, 60)


def test_invalid_text_stops_nothing(path: Path) -> None:
    path.write_text("{")
    rate_limit = start(path, VirtualClock(NOON))
    assert remaining(rate_limit) == 0
    rate_limit.start_cooldown("api", 30, "too many")
    assert remaining(start(path, VirtualClock(NOON))) == 31


def test_odd_values_in_the_file_are_bounded(path: Path) -> None:
    odd = {"seconds": 1e9, "monotonic": 1e9}
    path.write_text(json.dumps({"api": COOLDOWN | odd, "unknown": 5}))
    with pytest.raises(NotBefore) as caught:
        start(path, VirtualClock(NOON)).check("api")
    assert caught.value.seconds == MAX_COOLDOWN
