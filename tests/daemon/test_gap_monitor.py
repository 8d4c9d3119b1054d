"""The watch over the logger, with a real outbox and in virtual time, over restarts and power cuts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.coverage import LOGIN_DEAD, NOT_RUNNING, OFFLINE, RATE_LIMITED, SUSPENDED
from spotify_logger.core.times import from_iso, to_iso
from spotify_logger.daemon.alerts import Alerts, Heartbeat
from spotify_logger.daemon.gap_monitor import (
    GAP_NOTE,
    GAP_SAVE_INTERVAL,
    LAST_ANSWER_NOTE,
    MAX_SPANS,
    SAVE_INTERVAL,
    UNOBSERVED_NOTE,
    GapMonitor,
)
from spotify_logger.spotify.http import Response
from spotify_logger.storage.outbox import Outbox
from spotify_logger.system import log
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from spotify_logger.spotify.http import Request

T = 1_795_348_800.0  # 2026-11-22T12:00:00Z
DAY, HOUR, MINUTE = 86_400, 3600, 60
PLANNED = 60.0
REFUSED = "Spotify does not take the login any more"
Gap = tuple[float, float, str]
"""From and to, in seconds since noon, and why."""


class CountingOutbox(Outbox):
    """A real one; tells how often something was brought to the disk."""

    writes = 0

    def put(self, plays: object, notes: Mapping[str, str] | None = None) -> None:
        self.writes += 1
        super().put(plays, notes)  # type: ignore[arg-type]

    def put_gap(self, second: int, fields: Mapping[str, str], notes: Mapping[str, str] | None = None) -> None:
        self.writes += 1
        super().put_gap(second, fields, notes)


class Bench:
    """A watch, on a machine that can lose its power."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._outboxes: list[Outbox] = []
        self.told: list[str] = []
        self.beats = 0
        self.clock = VirtualClock(T)
        self.start()

    def start(self, *, redis_knows: float | None = None) -> None:
        """Start the loop; one that ran before was killed. `redis_knows`: an answer, as Redis has it."""
        self.outbox = CountingOutbox(self._path, self.clock.monotonic)
        self._outboxes.append(self.outbox)
        alerts = Alerts(self._alert, "https://ntfy.test/x", self.clock, self.outbox, lambda: 0.5)
        heartbeat = Heartbeat(self._heartbeat, "https://hc.test/x", self.clock)
        self.gap_monitor = GapMonitor(self.outbox, self.clock, alerts, heartbeat, PLANNED)
        self.gap_monitor.resume(None if redis_knows is None else round((T + redis_knows) * 1000))

    def reboot(self, ahead: float = 0.0) -> None:
        """Start the machine again, with a clock that is wrong by so many seconds."""
        self.clock = self.clock.reboot(ahead)
        self.start()

    def _alert(self, request: Request) -> Response:
        self.told.append(str(request.text))
        return Response(200, {}, b"")

    def _heartbeat(self, request: Request) -> Response:
        self.beats += 1
        return Response(200, {}, b"")

    def answer(self, wait: float = 30, *, date: bool = True) -> Gap | None:
        """A turn that brings an answer, and the wait after it; what was missed before."""
        if date:
            self.clock.correct(int(self.clock.now))
        stretch = self.gap_monitor.on_answer(round(self.clock.utc() * 1000), self.clock.monotonic())
        if self.gap_monitor.is_save_due():
            self.outbox.put([], self.gap_monitor.to_notes())
        self._wait(wait)
        if stretch is None:
            return None
        return stretch.from_ms / 1000 - T, stretch.to_ms / 1000 - T, stretch.reason

    def fail(self, reason: str = OFFLINE, wait: float = 30) -> None:
        """A turn that brings none."""
        self.gap_monitor.on_failure(reason)
        self._wait(wait)

    def _wait(self, wait: float) -> None:
        self.gap_monitor.on_planned(self.clock.monotonic() + wait)
        self.clock.sleep(wait)

    def answers(self, seconds: float, wait: float = 30) -> None:
        self._repeat(seconds, wait, lambda: self.answer(wait))

    def failures(self, seconds: float, reason: str = OFFLINE, wait: float = 30) -> None:
        self._repeat(seconds, wait, lambda: self.fail(reason, wait))

    @staticmethod
    def _repeat(seconds: float, wait: float, turn: Callable[[], object]) -> None:
        for _ in range(round(seconds / wait)):
            turn()

    @property
    def now(self) -> float:
        """Seconds since noon, in truth."""
        return self.clock.now - T

    def gaps(self) -> list[Gap]:
        """The gaps that are on the disk; those who read the disk of a machine without power find the same."""
        other = Outbox(self._path, self.clock.monotonic)
        rows = other.waiting_gaps()
        other.close()
        assert [row.second for row in rows] == [(from_iso(row.fields["from"]) or 0) // 1000 for row in rows]
        return [(moment(row.fields["from"]), moment(row.fields["to"]), row.fields["reason"]) for row in rows]

    def beat(self) -> float:
        """The last answer, as the disk knows it, in seconds since noon."""
        other = Outbox(self._path, self.clock.monotonic)
        beat = int(other.note(LAST_ANSWER_NOTE))
        other.close()
        return beat / 1000 - T

    def report(self, trouble: str = "", *, is_time_known: bool = True, healthy: bool = True) -> None:
        self.gap_monitor.report(T + 100 * DAY, trouble, is_time_known=is_time_known, healthy=healthy)

    def close(self) -> None:
        for outbox in self._outboxes:
            outbox.close()


def moment(text: str) -> float:
    stamp_ms = from_iso(text)
    assert stamp_ms is not None
    return stamp_ms / 1000 - T


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "outbox.sqlite")
    yield bench
    bench.close()


def logged(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line[20:] for line in capsys.readouterr().err.splitlines()]


class TestBeat:
    def test_a_minute_passes_between_two_beats(self, bench: Bench) -> None:
        for _ in range(360):
            bench.answer(5)
            assert bench.outbox.note(LAST_ANSWER_NOTE)

        assert bench.outbox.writes == 30 * MINUTE / SAVE_INTERVAL

    def test_a_power_cut_hides_no_more_than_a_minute(self, bench: Bench) -> None:
        for _ in range(60):
            answered = bench.now
            bench.answer(7)
            assert 0 <= answered - bench.beat() < SAVE_INTERVAL

    def test_when_sight_is_lost_the_beat_is_exact(self, bench: Bench) -> None:
        bench.answers(100, wait=5)
        assert bench.beat() < 95

        bench.fail()
        assert bench.beat() == 95

    def test_while_nothing_can_be_seen_there_is_none(self, bench: Bench) -> None:
        bench.answers(100, wait=5)
        bench.fail()
        writes = bench.outbox.writes

        bench.failures(3 * MINUTE)
        assert not bench.gap_monitor.is_save_due()
        assert bench.outbox.writes == writes

    def test_where_no_answer_came_yet_there_is_none(self, bench: Bench) -> None:
        bench.failures(10 * MINUTE)

        assert bench.outbox.writes == 0
        assert bench.gap_monitor.to_notes() == {}

    def test_what_redis_knows_better_is_kept(self, bench: Bench) -> None:
        bench.answers(200, wait=5)
        assert bench.beat() < 195
        bench.start(redis_knows=195)

        bench.fail()
        assert bench.beat() == 195


class TestGap:
    def test_it_is_on_the_disk_after_five_minutes_and_keeps_its_key(self, bench: Bench) -> None:
        bench.answers(60)
        bench.failures(270)
        assert bench.gaps() == []

        bench.failures(60)
        assert bench.gaps() == [(30, 360, OFFLINE)]

        assert bench.answer() == (30, 390, OFFLINE)
        assert bench.gaps() == [(30, 390, OFFLINE)]
        assert bench.outbox.note(GAP_NOTE) == ""

    def test_it_grows_now_and_then(self, bench: Bench) -> None:
        bench.answers(60)
        writes = bench.outbox.writes
        ends: set[float] = set()
        for _ in range(2 * 120):
            bench.fail(wait=30)
            ends.update(to for _, to, _ in bench.gaps())

        assert ends == {360 + GAP_SAVE_INTERVAL * number for number in range(8)}
        assert bench.outbox.writes == writes + len(ends) + 1  # and the beat

    def test_its_reason_is_what_lasted_longest(self, bench: Bench) -> None:
        bench.answers(60)
        bench.failures(330)
        bench.failures(HOUR, RATE_LIMITED)
        bench.answer()

        assert bench.gaps() == [(30, 390 + HOUR, RATE_LIMITED)]

    def test_the_log_says_so_once(self, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
        bench.answers(60)
        bench.failures(HOUR)
        bench.answers(300)

        words = "not observed: 2026-11-22T12:00:30Z to 2026-11-22T13:01:00Z (offline)"
        assert logged(capsys) == [f"{words}; recorded as a gap"]

    def test_less_than_five_minutes_are_no_gap_but_something_may_have_been_missed(
        self, bench: Bench, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bench.answers(60)
        bench.failures(240)

        assert bench.answer() == (30, 300, OFFLINE)
        assert bench.gaps() == []
        assert bench.gap_monitor.unobserved == [(round((T + 30) * 1000), round((T + 300) * 1000))]
        assert logged(capsys) == []

    def test_the_next_one_is_on_the_disk_as_soon(self, bench: Bench) -> None:
        bench.answers(60)
        bench.failures(390)
        bench.answer()  # at 450
        bench.failures(330)
        assert bench.now < 60 + 330 + GAP_SAVE_INTERVAL

        assert bench.gaps() == [(30, 450, OFFLINE), (450, 780, OFFLINE)]

    def test_a_suspended_machine(self, bench: Bench) -> None:
        bench.answers(60)
        bench.clock.sleep(8 * HOUR)

        assert bench.answer() == (30, 60 + 8 * HOUR, SUSPENDED)
        assert bench.gaps() == [(30, 60 + 8 * HOUR, SUSPENDED)]

    def test_one_failure_in_long_waits_is_none_and_no_restart_makes_one_of_it(self, bench: Bench) -> None:
        bench.answers(1200, wait=600)
        bench.fail(wait=5)
        bench.answers(1200, wait=600)
        assert bench.gaps() == []

        bench.start()
        assert bench.answer() is not None  # it ended after a wait that this process did not plan
        assert [gap for gap in bench.gaps() if gap[0] < 1205] == []


class TestRestart:
    def test_in_the_middle_of_a_gap_that_is_known(self, bench: Bench) -> None:
        bench.answers(60)
        bench.failures(10 * MINUTE)
        bench.start(redis_knows=30)
        bench.failures(10 * MINUTE)
        assert bench.gaps() == [(30, 360, OFFLINE)]

        bench.answer()
        assert bench.gaps() == [(30, 60 + 20 * MINUTE, OFFLINE)]

    def test_at_every_moment_of_a_gap(self, tmp_path: Path) -> None:
        for turns in range(22):
            bench = Bench(tmp_path / f"{turns}.sqlite")
            bench.answers(60)
            bench.failures(30 * turns)
            bench.start()
            bench.failures(660 - 30 * turns)
            bench.answers(90)
            bench.close()

            assert [(begin, end) for begin, end, _ in bench.gaps()] == [(30 if turns else 0, 720)]

    def test_who_starts_the_machine_again_because_it_is_offline(self, bench: Bench) -> None:
        """For most of the time the logger did run; the next process does not know it otherwise."""
        bench.answers(60)
        bench.failures(10 * HOUR)
        bench.clock.sleep(60)
        bench.reboot()
        bench.failures(60)
        bench.answer()

        assert bench.gaps() == [(30, 180 + 10 * HOUR, OFFLINE)]

    def test_a_machine_that_was_off_for_longer_than_offline(self, bench: Bench) -> None:
        bench.answers(60)
        bench.failures(10 * MINUTE)
        bench.clock.sleep(10 * HOUR)
        bench.reboot()
        bench.answer()

        assert bench.gaps() == [(30, 660 + 10 * HOUR, NOT_RUNNING)]

    def test_before_it_was_a_gap(self, bench: Bench) -> None:
        bench.answers(60)
        bench.failures(90)
        bench.start()
        bench.failures(HOUR, LOGIN_DEAD)
        bench.answer()

        assert bench.gaps() == [(30, 150 + HOUR, LOGIN_DEAD)]

    def test_a_power_cut(self, bench: Bench) -> None:
        bench.answers(100, wait=5)
        beat = bench.beat()
        bench.clock.sleep(2 * HOUR)
        bench.reboot()

        bench.answers(300)
        assert bench.gaps() == [(beat, 100 + 2 * HOUR, NOT_RUNNING)]

    def test_a_power_cut_and_redis_knows_of_a_later_answer(self, bench: Bench) -> None:
        bench.answers(100, wait=5)
        bench.clock.sleep(2 * HOUR)
        bench.start(redis_knows=95)

        bench.answers(300)
        assert bench.gaps() == [(95, 100 + 2 * HOUR, NOT_RUNNING)]

    def test_redis_has_an_old_copy(self, bench: Bench) -> None:
        bench.answers(100, wait=5)
        beat = bench.beat()
        bench.clock.sleep(2 * HOUR)
        bench.start(redis_knows=-DAY)

        bench.answers(300)
        assert bench.gaps() == [(beat, 100 + 2 * HOUR, NOT_RUNNING)]

    def test_a_new_state_folder_and_redis_knows(self, bench: Bench) -> None:
        bench.start(redis_knows=-HOUR)

        assert bench.answer() == (-HOUR, 0, NOT_RUNNING)
        assert bench.gaps() == [(-HOUR, 0, NOT_RUNNING)]

    def test_without_a_break_there_is_nothing(self, bench: Bench) -> None:
        bench.answers(600)
        bench.start(redis_knows=570)
        bench.answers(600)

        assert bench.gaps() == []
        assert bench.gap_monitor.unobserved == []

    @pytest.mark.parametrize("ahead", [-DAY, DAY, -10_000 * DAY, 10_000 * DAY])
    def test_a_clock_that_is_wrong_at_boot_makes_no_gap_of_a_day(self, bench: Bench, ahead: float) -> None:
        bench.answers(120)
        beat = bench.beat()
        bench.clock.sleep(600)
        bench.reboot(ahead)
        bench.failures(600)
        assert bench.gaps() == []  # nobody knows how long it is

        bench.answers(300)
        ((begin, end, _),) = bench.gaps()
        assert begin == beat
        assert abs(end - 1320) <= 1  # a `Date` has whole seconds

    @pytest.mark.parametrize("ahead", [-DAY, DAY])
    def test_a_wrong_clock_and_a_quick_restart_are_no_gap(self, bench: Bench, ahead: float) -> None:
        bench.answers(120)
        bench.clock.sleep(30)
        bench.reboot(ahead)

        bench.failures(30)
        bench.answers(300)
        assert bench.gaps() == []

    @pytest.mark.parametrize("step", [-DAY, DAY])
    def test_somebody_sets_the_clock(self, bench: Bench, step: float) -> None:
        bench.answers(120)
        bench.clock.step(step)
        bench.answers(120)
        bench.failures(600)
        bench.clock.step(-step)
        bench.answers(300)

        assert bench.gaps() == [(210, 840, OFFLINE)]

    @pytest.mark.parametrize(
        "garbage",
        ["soon", "-5", "1e9", "²", "9" * 40, "[]", "null", "[2, 1, 3]", "[9e99, 9e99, 1]", "[" * 10_000],
    )
    def test_notes_that_make_no_sense_are_none(self, bench: Bench, garbage: str) -> None:
        bench.outbox.put([], {LAST_ANSWER_NOTE: garbage, GAP_NOTE: garbage, UNOBSERVED_NOTE: garbage})
        bench.start()

        assert bench.gap_monitor.unobserved == []
        assert bench.answer() is None
        assert bench.gaps() == []


class TestBlind:
    def test_it_survives_a_restart(self, bench: Bench) -> None:
        bench.answers(60)
        bench.failures(240)
        bench.answers(60)
        blind = bench.gap_monitor.unobserved
        assert len(blind) == 1

        bench.start()
        assert bench.gap_monitor.unobserved == blind

    def test_the_newest_are_remembered(self, bench: Bench) -> None:
        bench.answer()
        for _ in range(MAX_SPANS + 5):
            bench.failures(120)
            bench.answer()

        assert len(bench.gap_monitor.unobserved) == MAX_SPANS
        assert bench.gap_monitor.unobserved[-1][1] == round((bench.clock.now - 30) * 1000)
        bench.start()
        assert len(bench.gap_monitor.unobserved) == MAX_SPANS

    @pytest.mark.parametrize(
        "note", ["{", "7", "[7]", "[[1]]", "[[1, 2, 3]]", '[["a", "b"]]', "[[1e999, 2]]", "[" * 10_000]
    )
    def test_a_note_that_makes_no_sense_is_none(self, bench: Bench, note: str) -> None:
        bench.outbox.put([], {UNOBSERVED_NOTE: note})
        bench.start()

        assert bench.gap_monitor.unobserved == []

    def test_a_note_is_bounded(self, bench: Bench) -> None:
        bench.outbox.put([], {UNOBSERVED_NOTE: json.dumps([[number, number + 1] for number in range(1000)])})
        bench.start()

        assert len(bench.gap_monitor.unobserved) == MAX_SPANS
        assert bench.gap_monitor.unobserved[-1] == (999, 1000)


class TestTell:
    def test_a_dead_login_is_told_and_so_is_that_it_works_again(self, bench: Bench) -> None:
        bench.answer()
        bench.report()
        assert bench.told == []

        bench.fail(LOGIN_DEAD)
        bench.report(REFUSED, healthy=False)
        bench.report(REFUSED, healthy=False)
        assert len(bench.told) == 1

        bench.answer()
        bench.report()
        assert "works again" in bench.told.pop()

    def test_it_is_told_before_anybody_knows_the_time(self, bench: Bench) -> None:
        bench.fail(LOGIN_DEAD)
        bench.report(REFUSED, is_time_known=False, healthy=False)

        assert len(bench.told) == 1

    @pytest.mark.parametrize("is_time_known", [False, True])
    def test_no_answer_does_not_tell_that_the_login_works_again(
        self, bench: Bench, *, is_time_known: bool
    ) -> None:
        """A process that starts with a timeout, or with a 503, which has a `Date`, knows of no trouble."""
        bench.fail(LOGIN_DEAD)
        bench.report(REFUSED, healthy=False)
        bench.told.clear()
        bench.start()

        bench.fail(OFFLINE)
        bench.report(is_time_known=is_time_known, healthy=False)
        assert bench.told == []

        bench.fail(LOGIN_DEAD)
        bench.report(REFUSED, healthy=False)
        assert bench.told == []

        bench.answer()
        bench.report()
        assert len(bench.told) == 1

    def test_no_end_of_a_login_is_told_by_a_clock_that_may_be_wrong(self, bench: Bench) -> None:
        bench.clock = VirtualClock(T, ahead=95 * DAY)
        bench.start()
        bench.answer(date=False)
        bench.report(is_time_known=False)
        assert bench.told == []

        bench.answer()
        bench.report()
        assert bench.told == []

    def test_an_end_that_comes_near_is_told(self, bench: Bench) -> None:
        bench.clock.sleep(95 * DAY)
        bench.answer()
        bench.report()

        assert len(bench.told) == 1
        assert "expires in 5 days" in bench.told[0]

    def test_the_heart_beats_while_all_is_well(self, bench: Bench) -> None:
        bench.report(healthy=False)
        assert bench.beats == 0
        bench.report()
        assert bench.beats == 1


def test_its_words_are_fit_for_a_terminal(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.answer()
    bench.clock.sleep(HOUR)
    bench.answer()

    (line,) = logged(capsys)
    assert line == log.sanitize(line)
    assert to_iso(round(T * 1000))[:19] in line
