from __future__ import annotations

import ctypes
import os
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from spotify_logger.system.clock import Clock, Deadline

DAY = 86_400.0
NOW = 1_790_000_000.0


class ClocksByHand:
    """The clocks of a machine, set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall, self.uptime, self.synchronized = NOW, 1000.0, False
        monkeypatch.setattr(time, "time", lambda: self.wall)
        monkeypatch.setattr(Clock, "monotonic", lambda _: self.uptime)
        monkeypatch.setattr(Clock, "is_synchronized", lambda _: self.synchronized)

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.uptime += seconds


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> ClocksByHand:
    return ClocksByHand(monkeypatch)


def test_a_clock_in_the_past_is_corrected_until_the_system_clock_is_right(machine: ClocksByHand) -> None:
    machine.wall -= 30 * DAY
    system = Clock()
    assert system.utc() == NOW - 30 * DAY
    system.correct(NOW)
    assert system.utc() == NOW + 0.5
    machine.advance(10)
    assert system.utc() == NOW + 10.5
    machine.wall += 30 * DAY
    system.correct(NOW + 10)
    assert system.utc() == NOW + 10


@pytest.mark.parametrize("step", [DAY, -DAY])
@pytest.mark.parametrize("synchronized", [False, True])
def test_a_step_after_the_first_answer_changes_nothing(
    machine: ClocksByHand, step: float, *, synchronized: bool
) -> None:
    system = Clock()
    system.correct(NOW)
    machine.advance(10)
    machine.wall += step
    machine.synchronized = synchronized
    assert system.is_synchronized() is synchronized
    assert system.utc() == NOW + 10
    system.correct(NOW + 9)  # half a second off, which the header cannot tell
    assert system.utc() == NOW + 10


@pytest.mark.parametrize(("state", "expected"), [(0, True), (5, False), (-1, False), (None, False)])
def test_the_kernel_is_asked_for_synchronization(
    monkeypatch: pytest.MonkeyPatch, state: int | None, *, expected: bool
) -> None:
    assert isinstance(Clock().is_synchronized(), bool)  # the real kernel
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(adjtimex=lambda timex: state))
    assert Clock().is_synchronized() is expected


def test_without_the_system_call_it_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert Clock().is_synchronized() is False


def test_sleep_ends_after_its_time_or_when_woken() -> None:
    before = Clock().monotonic()
    Clock().sleep(0.05)
    assert Clock().monotonic() - before >= 0.05
    reader, writer = os.pipe()
    threading.Timer(0.05, lambda: os.write(writer, b"!")).start()
    Clock(reader).sleep(600)
    assert os.read(reader, 1) == b"!"
    os.close(reader)
    os.close(writer)


def test_a_deadline_starts_no_thread_for_each_block() -> None:
    deadline = Deadline(60, lambda: None)
    threads = threading.active_count()
    for _ in range(100):
        with deadline:
            pass
    assert threading.active_count() <= threads + 1


def test_a_deadline_interrupts_each_late_block_and_nothing_else() -> None:
    interrupted = threading.Event()
    deadline = Deadline(0.2, interrupted.set)
    with deadline:
        pass
    time.sleep(0.1)  # the thread of the first block will find one that is not late yet
    for _ in range(2):
        with pytest.raises(TimeoutError), deadline:
            assert interrupted.wait(60)
        interrupted.clear()
    with deadline:
        pass
    assert not interrupted.wait(0.5)
