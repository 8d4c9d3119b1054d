from __future__ import annotations

import json
import math
import stat
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.spotify.rate_limit import (
    MAX_COOLDOWN,
    PROGRESS_SAVE_INTERVAL,
    RATE_LIMIT_FILE,
    RECENT_LIMIT_AGE,
    RateLimit,
    boot_id,
    cooldown_seconds,
)
from spotify_logger.system import clock as clock_room
from spotify_logger.system.clock import SystemClock
from spotify_logger.system.errors import NotBefore
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NOON = 1_795_348_800.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
YEAR = 365 * DAY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / RATE_LIMIT_FILE


def left(rate_limit: RateLimit) -> float:
    """Seconds for which the gate of the API is closed."""
    try:
        rate_limit.check("api")
    except NotBefore as limit:
        return limit.seconds
    return 0.0


class Machine:
    """A machine with the real clock room on hardware that is set by hand; it looks at the gate once a minute.

    Attributes:
        now: The true time.
        ahead: Seconds by which the machine's own clock is ahead of it.
        synchronized: Whether the kernel knows that it is not.
        boots: What the runs of the machine are called.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path, boots: Sequence[str] = ()) -> None:
        self.now, self.ahead, self.synchronized = NOON, 0.0, False
        self._booted = NOON - 3 * DAY
        self._boots = iter(boots or map(str, range(1000)))
        self._boot = next(self._boots)
        self._path = path
        monkeypatch.setattr(time, "time", lambda: self.now + self.ahead)
        monkeypatch.setattr(clock_room, "_boottime", lambda: self.now - self._booted)
        monkeypatch.setattr(clock_room, "_is_synchronized", lambda: self.synchronized)
        self.restart()

    def restart(self) -> None:
        """Another process of the logger, in the same run of the machine."""
        self.clock = SystemClock()
        self.rate_limit = RateLimit(self._path, self.clock, self._boot)

    def reboot(self, off: float, ahead: float = 0.0) -> None:
        """Cut the power for so many seconds; the machine comes back with some time or other."""
        self.now += off
        self.ahead, self.synchronized = ahead, False
        self._booted, self._boot = self.now, next(self._boots)
        self.restart()

    def set_right(self) -> None:
        """Let a network time service step the clock, and keep it right."""
        self.ahead, self.synchronized = 0.0, True

    def start_cooldown(self, seconds: float) -> None:
        """Get an answer that asks to wait, and that tells the time as every answer of Spotify's does."""
        self.clock.correct(math.floor(self.now))
        assert self.rate_limit.start_cooldown("api", seconds - 1, "quota").seconds == seconds

    def run(self, seconds: float) -> float:
        """Go on for a while; the seconds still to wait are returned."""
        end = self.now + seconds
        while self.now < end:
            left(self.rate_limit)
            self.now = min(end, self.now + MINUTE)
        return self.remaining

    @property
    def remaining(self) -> float:
        return left(self.rate_limit)


LOST = PROGRESS_SAVE_INTERVAL + MINUTE
"""Seconds of a wait that a reboot may cost."""
WRONG = {
    "right, but nobody knows": 0,
    "a day ahead": DAY,
    "a day behind": -DAY,
    "a year ahead": YEAR,
    "a year behind": -YEAR,
    "in 1970": 60 - NOON,
}
"""Seconds by which a clock is ahead."""


@pytest.fixture
def make_machine(monkeypatch: pytest.MonkeyPatch, path: Path) -> Callable[..., Machine]:
    return lambda *boots: Machine(monkeypatch, path, boots)


def test_nothing_was_asked_for(path: Path) -> None:
    rate_limit = RateLimit(path, VirtualClock(NOON), "boot")
    rate_limit.check("api")
    rate_limit.end_cooldown("api")
    assert not path.exists()


def test_a_wait_ends_by_itself(path: Path) -> None:
    clock = VirtualClock(NOON)
    rate_limit = RateLimit(path, clock, "boot")
    limit = rate_limit.start_cooldown("api", 30, "too many")
    assert (str(limit), limit.seconds) == ("too many", 31)
    clock.sleep(30)
    with pytest.raises(NotBefore, match=r"^too many$") as caught:
        rate_limit.check("api")
    assert caught.value.seconds == pytest.approx(1)
    clock.sleep(1)
    rate_limit.check("api")


def test_the_families_wait_apart(path: Path) -> None:
    rate_limit = RateLimit(path, VirtualClock(NOON), "boot")
    rate_limit.start_cooldown("accounts", 30, "too many")
    rate_limit.check("api")
    rate_limit.end_cooldown("api")
    with pytest.raises(NotBefore):
        rate_limit.check("accounts")


@pytest.mark.parametrize(
    ("asked", "guess", "times", "expected"),
    [
        (6, 60, 1, 7),
        (6, 60, 2, 8),
        (6, 60, 5, 22),
        (6, 60, 1000, 66),
        (0, 60, 1, 1),
        (-5, 60, 1, 1),
        (49_861, 60, 1, 49_862),
        (None, 60, 1, 60),
        (None, 60, 3, 240),
        (None, 60, 1000, 3600),
        (None, 3600, 4, 3600),
        (1e300, 60, 1, MAX_COOLDOWN),
        (float("inf"), 60, 1, MAX_COOLDOWN),
    ],
)
def test_how_long(asked: float | None, guess: float, times: int, expected: float) -> None:
    assert cooldown_seconds(asked, guess, times) == expected


def test_repeated_limits_make_it_more_careful_and_an_answer_ends_that(path: Path) -> None:
    clock = VirtualClock(NOON)
    rate_limit = RateLimit(path, clock, "boot")
    waits = []
    for _ in range(3):
        waits.append(rate_limit.start_cooldown("api", None, "too many").seconds)
        clock.sleep(waits[-1])
        rate_limit = RateLimit(path, clock, "boot")
    rate_limit.end_cooldown("api")
    assert set(json.loads(path.read_text())) == {"limits"}
    assert [*waits, rate_limit.start_cooldown("api", None, "too many").seconds] == [60, 120, 240, 60]


def test_a_restart_sends_nothing_before_and_no_step_of_the_clock_changes_that(path: Path) -> None:
    clock = VirtualClock(NOON)
    RateLimit(path, clock, "boot").start_cooldown("api", 10 * HOUR, "quota")
    for step in (DAY, -2 * DAY, YEAR, -3 * YEAR):
        clock.sleep(HOUR)
        clock.step(step)
        clock.correct(clock.now + step)
        left(RateLimit(path, clock, "boot"))
    clock.sleep(6 * HOUR)
    assert left(RateLimit(path, clock, "boot")) == pytest.approx(1)


# A reboot: T is 10 h after noon; the machine runs for an hour, and is off for some


@pytest.mark.parametrize("ahead", WRONG.values(), ids=WRONG)
def test_after_a_reboot_only_what_the_machine_saw_has_passed(
    make_machine: Callable[..., Machine], ahead: float
) -> None:
    machine = make_machine()
    machine.start_cooldown(10 * HOUR)
    machine.run(HOUR)
    machine.reboot(20 * HOUR, ahead)
    assert 9 * HOUR <= machine.remaining <= 9 * HOUR + LOST
    assert 5 * HOUR <= machine.run(4 * HOUR) <= 5 * HOUR + LOST
    machine.restart()
    assert 5 * HOUR <= machine.remaining <= 5 * HOUR + LOST
    assert machine.run(5 * HOUR + LOST) == 0


@pytest.mark.parametrize("ahead", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("late", [0, MINUTE, 2 * HOUR])
@pytest.mark.parametrize("off", [MINUTE, 5 * HOUR])
def test_a_clock_that_a_time_service_has_put_right_tells_how_long_the_machine_was_off(
    make_machine: Callable[..., Machine], ahead: float, late: float, off: float
) -> None:
    machine = make_machine()
    machine.start_cooldown(10 * HOUR)
    machine.run(HOUR)
    machine.reboot(off, ahead)
    machine.run(late)
    machine.set_right()
    over = 9 * HOUR - off - late
    assert machine.remaining == pytest.approx(over, abs=1)
    assert machine.run(HOUR) == pytest.approx(over - HOUR, abs=1)
    machine.restart()
    assert machine.run(over - HOUR - 1) > 0
    machine.now += 2
    assert machine.remaining == 0


@pytest.mark.parametrize("ahead", WRONG.values(), ids=WRONG)
def test_a_wait_that_ended_while_the_machine_was_off_is_over_once_the_clock_is_right(
    make_machine: Callable[..., Machine], ahead: float
) -> None:
    machine = make_machine()
    machine.start_cooldown(10 * HOUR)
    machine.reboot(11 * HOUR, ahead)
    assert machine.remaining > 9 * HOUR
    machine.set_right()
    assert machine.remaining == 0


@pytest.mark.parametrize("ahead", WRONG.values(), ids=WRONG)
def test_what_an_answer_said_of_the_time_outlives_a_machine_that_never_knew_it(
    make_machine: Callable[..., Machine], ahead: float
) -> None:
    machine = make_machine()
    machine.ahead = ahead
    machine.restart()
    machine.start_cooldown(10 * HOUR)
    machine.run(30 * MINUTE)
    machine.restart()  # before another answer has told it the time
    machine.run(30 * MINUTE)
    machine.reboot(5 * HOUR)
    machine.set_right()
    assert machine.remaining == pytest.approx(4 * HOUR, abs=1)


def test_what_the_machine_ran_since_the_boot_counts_though_nobody_looked(
    make_machine: Callable[..., Machine],
) -> None:
    machine = make_machine()
    machine.reboot(0)
    machine.start_cooldown(10 * HOUR)
    machine.run(2 * HOUR)
    machine.reboot(MINUTE)
    machine.now += 3 * HOUR
    machine.restart()
    assert 5 * HOUR <= machine.remaining <= 5 * HOUR + LOST


@pytest.mark.parametrize("ahead", [DAY, -DAY, YEAR, -YEAR])
def test_a_clock_that_jumps_does_not_touch_a_wait_that_it_was_wrong_at(
    make_machine: Callable[..., Machine], ahead: float
) -> None:
    machine = make_machine()
    machine.ahead = ahead
    machine.restart()
    machine.rate_limit.start_cooldown("api", 10 * HOUR - 1, "quota")  # by an answer without a date
    machine.set_right()
    assert machine.run(HOUR) == 9 * HOUR
    machine.restart()
    assert machine.remaining == 9 * HOUR


@pytest.mark.parametrize("ahead", [DAY, YEAR])
def test_a_wait_that_seems_to_begin_in_the_future_is_no_longer(
    make_machine: Callable[..., Machine], ahead: float
) -> None:
    machine = make_machine()
    machine.ahead = ahead
    machine.restart()
    machine.rate_limit.start_cooldown("api", 10 * HOUR - 1, "quota")
    machine.run(HOUR)
    machine.reboot(5 * HOUR)
    machine.set_right()
    assert 9 * HOUR <= machine.remaining <= 9 * HOUR + LOST
    assert 9 * HOUR - 5 * MINUTE <= machine.run(5 * MINUTE) < 9 * HOUR
    assert machine.run(9 * HOUR + LOST) == 0


def test_a_process_knows_that_the_one_before_it_found_the_machine_rebooted(
    make_machine: Callable[..., Machine],
) -> None:
    machine = make_machine()
    machine.start_cooldown(10 * HOUR)
    machine.run(HOUR)
    machine.reboot(5 * HOUR, -DAY)
    machine.run(HOUR)
    machine.restart()
    machine.set_right()
    assert machine.remaining == pytest.approx(3 * HOUR, abs=1)


def test_once_the_clock_has_told_the_time_no_step_of_it_changes_anything(
    make_machine: Callable[..., Machine],
) -> None:
    machine = make_machine()
    machine.start_cooldown(10 * HOUR)
    machine.reboot(5 * HOUR, -DAY)
    machine.set_right()
    assert machine.run(HOUR) == pytest.approx(4 * HOUR, abs=1)
    machine.ahead = YEAR  # somebody set it, which the kernel notices
    machine.synchronized = False
    assert machine.run(HOUR) == pytest.approx(3 * HOUR, abs=1)
    machine.restart()
    assert machine.run(HOUR) == pytest.approx(2 * HOUR, abs=1)


@pytest.mark.parametrize("ahead", WRONG.values(), ids=WRONG)
def test_every_reboot_costs_a_little(make_machine: Callable[..., Machine], ahead: float) -> None:
    machine = make_machine()
    machine.start_cooldown(10 * HOUR)
    for reboots in range(1, 6):
        machine.run(HOUR)
        machine.reboot(7 * HOUR, ahead)
        assert 0 <= machine.remaining - (10 - reboots) * HOUR <= reboots * LOST
    machine.set_right()
    assert machine.remaining == 0


def test_the_second_reboot_finds_the_right_time(make_machine: Callable[..., Machine]) -> None:
    machine = make_machine()
    machine.start_cooldown(10 * HOUR)
    machine.run(HOUR)
    machine.reboot(2 * HOUR, YEAR)
    machine.run(HOUR)
    machine.reboot(2 * HOUR, -YEAR)
    machine.set_right()
    assert machine.remaining == pytest.approx(4 * HOUR, abs=1)


def test_a_wait_that_is_over_stays_over(make_machine: Callable[..., Machine]) -> None:
    machine = make_machine()
    machine.start_cooldown(10 * HOUR)
    assert machine.run(10 * HOUR) == 0
    machine.reboot(HOUR, -DAY)
    assert machine.remaining == 0


def test_without_a_name_for_its_runs_a_machine_waits_all_the_same(
    make_machine: Callable[..., Machine],
) -> None:
    machine = make_machine("", "", "")
    machine.start_cooldown(10 * HOUR)  # it has been up for three days
    assert machine.remaining == 10 * HOUR
    assert machine.run(HOUR) == 9 * HOUR
    machine.restart()
    assert machine.remaining == 9 * HOUR
    machine.reboot(5 * HOUR, YEAR)
    assert 9 * HOUR <= machine.remaining <= 9 * HOUR + LOST
    machine.run(HOUR)
    machine.reboot(MINUTE, -YEAR)
    assert 8 * HOUR <= machine.remaining <= 8 * HOUR + 2 * LOST
    machine.set_right()
    assert machine.remaining == pytest.approx(3 * HOUR - MINUTE, abs=1)


@pytest.mark.parametrize("boots", [("", "1"), ("1", "")])
def test_a_machine_that_gives_its_runs_names_or_no_longer_waits_all_the_same(
    make_machine: Callable[..., Machine], boots: tuple[str, str]
) -> None:
    machine = make_machine(*boots)
    machine.start_cooldown(10 * HOUR)
    machine.run(HOUR)
    machine.reboot(5 * HOUR, YEAR)
    assert 9 * HOUR <= machine.remaining <= 9 * HOUR + LOST
    machine.set_right()
    assert machine.remaining == pytest.approx(4 * HOUR, abs=1)


def test_of_an_unnamed_run_that_may_be_the_same_as_before_only_the_end_counts(
    make_machine: Callable[..., Machine],
) -> None:
    machine = make_machine("", "", "")
    machine.reboot(0)
    machine.start_cooldown(10 * HOUR)
    machine.run(2 * HOUR)
    machine.reboot(MINUTE)
    machine.now += 3 * HOUR  # nobody looks at the gate
    machine.restart()
    assert 5 * HOUR <= machine.remaining <= 7 * HOUR
    assert machine.run(7 * HOUR) == 0


def test_the_disk_is_told_now_and_then_and_not_at_every_look(
    make_machine: Callable[..., Machine], path: Path
) -> None:
    machine = make_machine()
    machine.start_cooldown(10 * HOUR)
    contents = []
    for _ in range(9 * 60):
        contents.append(path.read_text())
        assert 0 <= json.loads(contents[-1])["api"]["seconds"] - machine.remaining <= LOST
        machine.run(MINUTE)
    assert 9 * HOUR / LOST <= len(set(contents)) <= 9 * HOUR / PROGRESS_SAVE_INTERVAL + 1


Moves = list[tuple[str, float, float]]
RUNS = st.tuples(st.just("run"), st.floats(0, 8 * HOUR), st.just(0.0))
RIGHT = st.tuples(st.just("set right"), st.just(0.0), st.just(0.0))
STARTS = st.tuples(st.just("restart"), st.just(0.0), st.just(0.0))
STEPS = st.tuples(st.just("step"), st.just(0.0), st.floats(-YEAR, YEAR))
REBOOTS = st.tuples(st.just("reboot"), st.floats(0, DAY), st.floats(-YEAR, YEAR))


@settings(max_examples=60, deadline=None)
@given(
    asked=st.floats(2, 1e9),
    named=st.booleans(),
    is_advancing=st.lists(RUNS | RIGHT | STARTS | STEPS | REBOOTS, max_size=12),
)
def test_whatever_happens_nothing_is_sent_before_and_two_days_of_running_are_enough(
    asked: float, is_advancing: Moves, *, named: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        machine = Machine(patch, Path(folder) / RATE_LIMIT_FILE, () if named else [""] * 20)
        seconds = min(asked, MAX_COOLDOWN)
        machine.start_cooldown(seconds)
        for kind, lasts, ahead in is_advancing:
            if kind == "run":
                machine.run(lasts)
            elif kind == "set right":
                machine.set_right()
            elif kind == "restart":
                machine.restart()
            elif kind == "step":
                machine.ahead, machine.synchronized = ahead, False
            else:
                machine.reboot(lasts, ahead)
            assert machine.remaining >= NOON + seconds - machine.now - 1
            assert machine.remaining <= seconds + 0.001
        machine.now += seconds + 1
        assert machine.remaining == 0


# The pace after limits


def limits(path: Path, *ends: float) -> RateLimit:
    """A gate whose file knows of limits that ended so many seconds before noon."""
    path.write_text(json.dumps({"limits": [NOON - end for end in ends]}))
    return RateLimit(path, VirtualClock(NOON), "boot")


@pytest.mark.parametrize(
    ("ends", "slowdown"),
    [
        ([], 1),
        ([60], 1),
        ([60, 120], 2),
        ([60, 120, 180], 4),
        ([60] * 8, 4),
        ([60, RECENT_LIMIT_AGE - 1], 2),
        ([60, RECENT_LIMIT_AGE], 1),
        ([60, YEAR], 1),
        ([60, -MAX_COOLDOWN], 2),  # a wait that goes on
        ([60, -MAX_COOLDOWN - 1], 1),  # no wait is as long: a clock that was wrong
        ([60, -YEAR, -YEAR], 1),
    ],
)
def test_limits_that_come_again_slow_the_pace(path: Path, ends: list[float], slowdown: float) -> None:
    assert limits(path, *ends).slowdown() == slowdown


def test_the_pace_is_slow_for_hours_whatever_restarts_and_comes_back(path: Path) -> None:
    clock = VirtualClock(NOON)
    rate_limit = RateLimit(path, clock, "boot")
    seen = [rate_limit.slowdown()]
    for _ in range(4):
        clock.sleep(rate_limit.start_cooldown("api", 29, "too many").seconds)
        rate_limit.end_cooldown("api")
        rate_limit = RateLimit(path, clock, "boot")
        seen.append(rate_limit.slowdown())
    assert seen == [1, 1, 2, 4, 4]
    seen = []
    for _ in range(7):
        seen.append(RateLimit(path, clock, "boot").slowdown())
        clock.sleep(HOUR)
    assert seen == [4, 4, 4, 4, 4, 4, 1]


def test_a_long_wait_is_remembered_from_its_end_on(path: Path) -> None:
    clock = VirtualClock(NOON)
    rate_limit = RateLimit(path, clock, "boot")
    for _ in range(2):
        clock.sleep(rate_limit.start_cooldown("api", 14 * HOUR, "quota").seconds)
        rate_limit.end_cooldown("api")
        clock.sleep(HOUR)
    assert rate_limit.slowdown() == 1
    clock.sleep(rate_limit.start_cooldown("api", 9, "too many").seconds)
    assert rate_limit.slowdown() == 2


def test_limits_of_the_token_endpoint_do_not_slow_the_pace(path: Path) -> None:
    rate_limit = RateLimit(path, VirtualClock(NOON), "boot")
    for _ in range(3):
        rate_limit.start_cooldown("accounts", 9, "too many")
    assert rate_limit.slowdown() == 1


def test_no_more_limits_are_kept_than_matter(path: Path) -> None:
    rate_limit = RateLimit(path, VirtualClock(NOON), "boot")
    for _ in range(100):
        rate_limit.start_cooldown("api", 9, "too many")
    assert len(json.loads(path.read_text())["limits"]) == 8


@pytest.mark.parametrize(
    ("content", "slowdown"),
    [
        ([NOON] * 3000, 4),
        ([NOON, None, "x", -1, float("nan"), 10**400, [], NOON], 2),
        ("many", 1),
        ({}, 1),
        (None, 1),
    ],
)
def test_odd_limits_cost_no_wait(
    path: Path, content: object, slowdown: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(json.dumps({"api": GOOD, "limits": content}))
    rate_limit = RateLimit(path, VirtualClock(NOON), "boot")
    assert rate_limit.slowdown() == slowdown
    assert left(rate_limit) == 60
    assert not capsys.readouterr().err


# The file


def test_a_file_of_the_version_before_is_read(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(json.dumps({"api": GOOD}))
    rate_limit = RateLimit(path, VirtualClock(NOON), "boot")
    assert (left(rate_limit), rate_limit.slowdown()) == (60, 1)
    assert not capsys.readouterr().err
    rate_limit.start_cooldown("accounts", 29, "too many")
    rate_limit = RateLimit(path, VirtualClock(NOON), "boot")
    assert (left(rate_limit), rate_limit.slowdown()) == (60, 1)


def test_only_the_owner_may_read_the_file(path: Path) -> None:
    RateLimit(path, VirtualClock(NOON), "boot").start_cooldown("api", 30, "too many")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


GOOD = {"seconds": 60, "monotonic": 0, "utc": NOON, "boot": "boot", "times": 1, "reason": "x"}


BAD: list[dict[str, object]] = [
    {"seconds": -1},
    {"seconds": "60"},
    {"seconds": None},
    {"seconds": float("nan")},
    {"seconds": float("inf")},
    {"seconds": 10**400},
    {"utc": []},
    {"monotonic": {}},
    {"times": "many"},
]
NONSENSE = {
    "nothing": "",
    "half": "{",
    "a list": "[]",
    "null": "null",
    "a word": '"api"',
    "zeros": "\x00" * 100,
    "deep": "[" * 50_000,
    "long": "x" * 1_000_000,
    "a number": '{"api": 5}',
    "empty": '{"api": {}}',
    **{f"bad {bad}"[:30]: json.dumps({"api": {**GOOD, **bad}}) for bad in BAD},
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_file_that_makes_no_sense_is_warned_about_once_and_opens_the_gate(
    path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(NONSENSE[name])
    rate_limit = RateLimit(path, VirtualClock(NOON), "boot")
    rate_limit.check("api")
    rate_limit.check("api")
    assert capsys.readouterr().err.count(str(path)) == 1
    rate_limit.start_cooldown("api", 30, "too many")
    assert left(RateLimit(path, VirtualClock(NOON), "boot")) == 31


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        ({}, 60),
        ({"seconds": 1e11}, MAX_COOLDOWN),
        ({"times": 0}, 60),
        ({"boot": None}, 60),
        ({"reason": "\x1b[2J" * 500}, 60),
        ({"monotonic": 1e9}, 60),
        ({"rebooted": "yes"}, 60),
        ({"more": "than known"}, 60),
    ],
)
def test_what_is_odd_in_the_file_is_bounded(path: Path, odd: dict[str, object], expected: float) -> None:
    path.write_text(json.dumps({"api": {**GOOD, **odd}, "unknown": 5}))
    clock = VirtualClock(NOON)
    rate_limit = RateLimit(path, clock, "boot")
    with pytest.raises(NotBefore) as caught:
        rate_limit.check("api")
    assert caught.value.seconds == expected
    clock.sleep(expected)
    rate_limit.check("api")
    assert len(str(caught.value)) <= 200
    assert "\x1b" not in str(caught.value)


def test_a_file_that_cannot_be_read_opens_the_gate(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.mkdir()
    RateLimit(path, VirtualClock(NOON), "boot").check("api")
    assert "cannot be read" in capsys.readouterr().err


def test_a_disk_that_refuses_does_not_open_the_gate_and_is_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gone" / RATE_LIMIT_FILE
    rate_limit = RateLimit(path, VirtualClock(NOON), "boot")
    rate_limit.start_cooldown("api", 30, "too many")
    assert left(rate_limit) == 31
    assert left(rate_limit) == 31
    assert capsys.readouterr().err.count("cannot be written") == 1
    path.parent.mkdir()
    assert left(rate_limit) == 31
    assert left(RateLimit(path, VirtualClock(NOON), "boot")) == 31


def test_boot_id_is_the_same_all_along() -> None:
    assert boot_id() == boot_id()
    assert boot_id() == boot_id().strip()
