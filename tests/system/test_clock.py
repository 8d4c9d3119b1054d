from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from spotify_logger.system import clock
from spotify_logger.system.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable

DAY = 86_400.0


class Machine:
    """A machine whose clocks are set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.uptime, self.synchronized = 1_790_000_000.0, 1000.0, False
        monkeypatch.setattr(time, "time", lambda: self.wall)
        monkeypatch.setattr(clock, "_boottime", lambda: self.uptime)
        monkeypatch.setattr(clock, "_is_synchronized", lambda: self.synchronized)

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.uptime += seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_a_clock_that_spotify_agrees_with_is_followed(machine: Machine) -> None:
    system = SystemClock()
    machine.wall += 0.4  # slewed by NTP
    system.correct(1_790_000_000)

    assert system.utc() == 1_790_000_000.4


def test_a_clock_in_the_past_is_corrected_by_the_first_answer(machine: Machine) -> None:
    machine.wall -= 30 * DAY
    system = SystemClock()
    system.correct(1_790_000_000)

    assert system.utc() == 1_790_000_000.5
    machine.passes(10)
    assert system.utc() == 1_790_000_010.5


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_a_step_of_the_local_clock_changes_nothing(machine: Machine, step: float) -> None:
    system = SystemClock()
    system.correct(1_790_000_000)
    machine.passes(10)
    machine.wall += step

    assert system.utc() == 1_790_000_010
    system.correct(1_790_000_009)  # half a second off, which the header cannot tell
    assert system.utc() == 1_790_000_010


def test_a_corrected_clock_is_followed_again(machine: Machine) -> None:
    machine.wall -= DAY
    system = SystemClock()
    system.correct(1_790_000_000)
    machine.wall += DAY
    system.correct(1_790_000_000)

    assert system.utc() == 1_790_000_000


# Before the first answer


@pytest.mark.parametrize("wrong", [DAY, -DAY, -1_790_000_000 + 60])
def test_a_clock_that_is_synchronized_before_the_first_answer_is_followed(
    machine: Machine, wrong: float
) -> None:
    machine.wall += wrong
    system = SystemClock()

    assert system.utc() == 1_790_000_000 + wrong
    assert not system.is_synchronized()
    machine.wall -= wrong
    machine.synchronized = True
    assert system.is_synchronized()
    assert system.utc() == 1_790_000_000
    machine.passes(10)
    assert system.utc() == 1_790_000_010


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_after_an_answer_only_answers_correct_the_clock(machine: Machine, step: float) -> None:
    system = SystemClock()
    system.correct(1_790_000_000)
    machine.wall += step
    machine.synchronized = True

    assert system.is_synchronized()
    assert system.utc() == 1_790_000_000


@pytest.mark.parametrize(
    ("state", "expected"),
    [(0, True), (1, True), (4, True), (5, False), (6, False), (-1, False), (None, False)],
)
def test_whether_the_kernel_reports_synchronization(
    monkeypatch: pytest.MonkeyPatch, state: int | None, *, expected: bool
) -> None:
    asked: list[bytes] = []

    def adjtimex(room: ctypes.Array[ctypes.c_char]) -> int | None:
        asked.append(room.raw)
        return state

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(adjtimex=adjtimex))

    assert SystemClock().is_synchronized() is expected
    (room,) = asked
    assert not any(room), "something else than a question"
    assert len(room) >= 208  # as large as the struct is on 64 bits


def _no_library(name: object) -> object:
    raise OSError(f"{name}: cannot open shared object file")


def _no_memory(name: object) -> object:
    raise MemoryError  # where memory must not be both written and run


@pytest.mark.parametrize("library", [_no_library, _no_memory, lambda name: SimpleNamespace()])
def test_synchronization_is_unknown_without_the_system_call(
    monkeypatch: pytest.MonkeyPatch, library: Callable[[object], object]
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", library)

    assert SystemClock().is_synchronized() is False


def test_a_python_without_ctypes_does_not_know_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)

    assert SystemClock().is_synchronized() is False


def test_the_real_kernel_answers() -> None:
    assert isinstance(SystemClock().is_synchronized(), bool)


# Durations


def test_durations_ignore_the_wall_clock(machine: Machine) -> None:
    system = SystemClock()
    before = system.monotonic()
    machine.wall += DAY
    machine.uptime += 5

    assert system.monotonic() - before == 5


def test_sleep_lasts() -> None:
    before = time.monotonic()
    SystemClock().sleep(0.05)

    assert time.monotonic() - before >= 0.05


def test_sleep_ends_early_when_woken() -> None:
    reader, writer = os.pipe()
    threading.Timer(0.05, lambda: os.write(writer, b"!")).start()
    before = time.monotonic()
    SystemClock(reader).sleep(60)

    assert time.monotonic() - before < 30
    os.close(reader)
    os.close(writer)
