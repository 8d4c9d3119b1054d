from __future__ import annotations

import os
import threading
import time

import pytest

from spotify_logger import clock
from spotify_logger.clock import SystemClock

DAY = 86_400.0


class Machine:
    """A machine whose clocks are set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.uptime = 1_790_000_000.0, 1000.0
        monkeypatch.setattr(time, "time", lambda: self.wall)
        monkeypatch.setattr(clock, "_boottime", lambda: self.uptime)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.uptime += seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_a_clock_that_spotify_agrees_with_is_followed(machine: Machine) -> None:
    system = SystemClock()
    machine.wall += 0.4  # slewed by NTP
    system.heed(1_790_000_000)

    assert system.utc() == 1_790_000_000.4


def test_a_clock_in_the_past_is_corrected_by_the_first_answer(machine: Machine) -> None:
    machine.wall -= 30 * DAY
    system = SystemClock()
    system.heed(1_790_000_000)

    assert system.utc() == 1_790_000_000.5
    machine.passes(10)
    assert system.utc() == 1_790_000_010.5


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_a_step_of_the_local_clock_changes_nothing(machine: Machine, step: float) -> None:
    system = SystemClock()
    system.heed(1_790_000_000)
    machine.passes(10)
    machine.wall += step

    assert system.utc() == 1_790_000_010
    system.heed(1_790_000_009)  # half a second off, which the header cannot tell
    assert system.utc() == 1_790_000_010


def test_a_clock_that_is_put_right_is_followed_again(machine: Machine) -> None:
    machine.wall -= DAY
    system = SystemClock()
    system.heed(1_790_000_000)
    machine.wall += DAY
    system.heed(1_790_000_000)

    assert system.utc() == 1_790_000_000


def test_durations_know_nothing_of_the_wall_clock(machine: Machine) -> None:
    system = SystemClock()
    before = system.monotonic()
    machine.wall += DAY
    machine.uptime += 5

    assert system.monotonic() - before == 5


def test_sleep_lasts() -> None:
    before = time.monotonic()
    SystemClock().sleep(0.05)

    assert time.monotonic() - before >= 0.05


def test_sleep_ends_when_something_asks_for_attention() -> None:
    reader, writer = os.pipe()
    threading.Timer(0.05, lambda: os.write(writer, b"!")).start()
    before = time.monotonic()
    SystemClock(reader).sleep(60)

    assert time.monotonic() - before < 30
    os.close(reader)
    os.close(writer)
