"""The gap monitor with a real outbox, in virtual time, across restarts and power cuts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.coverage import NOT_RUNNING, OFFLINE
from spotify_logger.core.times import from_iso
from spotify_logger.daemon.backfiller import (
    GAP_NOTE,
    LAST_ANSWER_NOTE,
    UNOBSERVED_NOTE,
    GapMonitor,
)
from spotify_logger.daemon.poller import SAVE_INTERVAL
from spotify_logger.storage.outbox import Outbox
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

T = 1_795_348_800.0  # 2026-11-22T12:00:00Z
DAY, HOUR, MINUTE = 86_400, 3600, 60
Gap = tuple[float, float, str]
"""From and to, in seconds since noon, and the reason."""


class GapMonitorHarness:
    """A gap monitor on a machine that can lose power."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outboxes: list[Outbox] = []
        self.clock, self._saved_at = VirtualClock(T), float("-inf")
        self.restart()

    def restart(self, *, answer_in_redis: float | None = None) -> None:
        """Start a process after the one before was killed."""
        self._saved_at = float("-inf")
        self.outbox = Outbox(self._path, self.clock.monotonic)
        self._outboxes.append(self.outbox)
        self.monitor = GapMonitor(self.outbox, self.clock, 60.0)
        self.monitor.resume(None if answer_in_redis is None else round((T + answer_in_redis) * 1000))

    def reboot(self, ahead: float = 0.0, answer_in_redis: float | None = None) -> None:
        """Restart the machine, with a clock that is wrong by some seconds."""
        self.clock = self.clock.reboot(ahead)
        self.restart(answer_in_redis=answer_in_redis)

    def answer(self, wait: float = 30, *, date: bool = True) -> Gap | None:
        """Run a turn with an answer, and wait; return the unobserved span that it ended."""
        if date:
            self.clock.correct(int(self.clock.now))
        span = self.monitor.on_answer(round(self.clock.utc() * 1000), self.clock.monotonic())
        if self.clock.monotonic() >= self._saved_at + SAVE_INTERVAL:  # as the poller does
            self._saved_at = self.clock.monotonic()
            self.outbox.put([], self.monitor.to_notes())
        self._wait(wait)
        return None if span is None else (span.from_ms / 1000 - T, span.to_ms / 1000 - T, span.reason)

    def answer_that_resumes(self) -> None:
        """Run a turn with an answer that shows something new after silence."""
        self.monitor.on_answer(round(self.clock.utc() * 1000), self.clock.monotonic(), resumes=True)

    def _wait(self, wait: float) -> None:
        self.monitor.on_planned(self.clock.monotonic() + wait)
        self.clock.sleep(wait)

    def answer_for(self, seconds: float, wait: float = 30) -> None:
        for _ in range(round(seconds / wait)):
            self.answer(wait)

    def fail_for(self, seconds: float, reason: str = OFFLINE) -> None:
        """Run turns without an answer."""
        for _ in range(round(seconds / 30)):
            self.monitor.on_failure(reason)
            self._wait(30)

    def saved_gaps(self) -> list[Gap]:
        gaps = self.outbox.gaps().values()
        return [(since_noon(each["from"]), since_noon(each["to"]), each["reason"]) for each in gaps]

    def saved_answer(self) -> float:
        """Return the last answer according to the outbox, in seconds since noon."""
        return int(self.outbox.note(LAST_ANSWER_NOTE)) / 1000 - T

    def close(self) -> None:
        for outbox in self._outboxes:
            outbox.close()


def since_noon(text: str) -> float:
    return (from_iso(text) or 0) / 1000 - T


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[GapMonitorHarness]:
    harness = GapMonitorHarness(tmp_path / "outbox.sqlite")
    yield harness
    harness.close()


def test_the_last_answer_is_saved_when_answers_stop(harness: GapMonitorHarness) -> None:
    for _ in range(10):
        answered = harness.clock.now - T
        harness.answer(7)
    assert harness.saved_answer() != answered
    harness.fail_for(30)
    assert harness.saved_answer() == answered
    writes = harness.outbox.changes
    harness.fail_for(3 * MINUTE)
    assert harness.outbox.changes == writes


def test_the_time_before_playback_resumes_is_unobserved_but_no_gap(harness: GapMonitorHarness) -> None:
    harness.answer_for(100, wait=50)
    harness.answer_that_resumes()

    assert harness.monitor.unobserved == [(round((T + 50) * 1000), round((T + 100) * 1000))]
    assert harness.outbox.note(UNOBSERVED_NOTE)
    assert not harness.outbox.note(GAP_NOTE)


class TestGap:
    def test_it_is_saved_after_five_minutes_and_has_one_key(
        self, harness: GapMonitorHarness, capsys: pytest.CaptureFixture[str]
    ) -> None:
        harness.answer_for(60)
        harness.fail_for(270)
        assert harness.saved_gaps() == []
        harness.fail_for(60)
        assert harness.saved_gaps() == [(30, 360, OFFLINE)]
        assert harness.answer() == (30, 390, OFFLINE)
        assert harness.saved_gaps() == [(30, 390, OFFLINE)]
        harness.fail_for(330)
        assert harness.saved_gaps()[1:] == [(390, 720, OFFLINE)], "the next one is saved as soon"
        line = "not observed: 2026-11-22T12:00:30Z to 2026-11-22T12:06:30Z (offline); recorded as a gap"
        assert capsys.readouterr().err.count(line) == 1

    def test_shorter_spans_are_unobserved_but_no_gaps(
        self, harness: GapMonitorHarness, capsys: pytest.CaptureFixture[str]
    ) -> None:
        harness.answer_for(60)
        harness.fail_for(240)
        assert harness.answer() == (30, 300, OFFLINE)
        assert harness.saved_gaps() == []
        assert capsys.readouterr().err == ""
        harness.restart()
        assert harness.monitor.unobserved == [(round((T + 30) * 1000), round((T + 300) * 1000))]

    def test_a_restart_at_any_moment_leaves_one(self, tmp_path: Path) -> None:
        for turns in range(0, 22, 3):
            harness = GapMonitorHarness(tmp_path / f"{turns}.sqlite")
            harness.answer_for(60)
            harness.fail_for(30 * turns)
            harness.restart(answer_in_redis=30)
            harness.fail_for(660 - 30 * turns)
            harness.answer_for(90)
            assert [(begin, end) for begin, end, _ in harness.saved_gaps()] == [(30, 720)]
            harness.close()

    @pytest.mark.parametrize(
        ("answer_in_redis", "begin"), [(None, SAVE_INTERVAL), (125, 125), (-DAY, SAVE_INTERVAL)]
    )
    def test_a_power_cut_is_one_from_the_last_known_answer(
        self, harness: GapMonitorHarness, answer_in_redis: float | None, begin: float
    ) -> None:
        harness.answer_for(130, wait=5)
        assert harness.saved_answer() == SAVE_INTERVAL
        harness.clock.sleep(2 * HOUR)
        harness.reboot(answer_in_redis=answer_in_redis)
        harness.answer_for(300)
        assert harness.saved_gaps() == [(begin, 130 + 2 * HOUR, NOT_RUNNING)]

    @pytest.mark.parametrize("ahead", [-DAY, 10_000 * DAY])
    def test_a_clock_that_is_wrong_at_boot_does_not_change_its_length(
        self, harness: GapMonitorHarness, ahead: float
    ) -> None:
        harness.answer_for(120)
        answered = harness.saved_answer()
        harness.clock.sleep(600)
        harness.reboot(ahead)
        harness.fail_for(600)
        assert harness.saved_gaps() == []  # its length is not known yet
        harness.answer_for(300)
        ((begin, end, _),) = harness.saved_gaps()
        assert begin == answered
        assert abs(end - 1320) <= 1  # a `Date` has whole seconds


@pytest.mark.parametrize("note", ["-5", "[5, 2, 0]"])
def test_invalid_notes_count_as_none(harness: GapMonitorHarness, note: str) -> None:
    harness.outbox.put([], {LAST_ANSWER_NOTE: note, GAP_NOTE: note, UNOBSERVED_NOTE: note})
    harness.restart()
    assert harness.monitor.unobserved == []
    assert harness.answer() is None
    assert harness.saved_gaps() == []
