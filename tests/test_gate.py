from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_logger.errors import NotBefore
from spotify_logger.gate import GATE_FILE, LONGEST, Gate, Hold, boot_id, wait
from spotify_logger.simulator.virtual import VirtualClock

if TYPE_CHECKING:
    from pathlib import Path

NOON = 1_795_348_800.0
HOUR, DAY = 3600.0, 86400.0
YEAR = 365 * DAY


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / GATE_FILE


def left(gate: Gate) -> float:
    """Seconds for which the gate of the API is closed."""
    try:
        gate.check("api")
    except NotBefore as limit:
        return limit.seconds
    return 0.0


def test_nothing_was_asked_for(path: Path) -> None:
    gate = Gate(path, VirtualClock(NOON), "boot")
    gate.check("api")
    gate.passed("api")
    assert not path.exists()


def test_a_wait_ends_by_itself(path: Path) -> None:
    clock = VirtualClock(NOON)
    gate = Gate(path, clock, "boot")
    limit = gate.limited("api", 30, "too many")
    assert (str(limit), limit.seconds) == ("too many", 31)
    clock.sleep(30)
    with pytest.raises(NotBefore, match=r"^too many$") as caught:
        gate.check("api")
    assert caught.value.seconds == pytest.approx(1)
    clock.sleep(1)
    gate.check("api")


def test_the_families_wait_apart(path: Path) -> None:
    gate = Gate(path, VirtualClock(NOON), "boot")
    gate.limited("accounts", 30, "too many")
    gate.check("api")
    gate.passed("api")
    with pytest.raises(NotBefore):
        gate.check("accounts")


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
        (1e300, 60, 1, LONGEST),
        (float("inf"), 60, 1, LONGEST),
    ],
)
def test_how_long(asked: float | None, guess: float, times: int, expected: float) -> None:
    assert wait(asked, guess, times) == expected


def test_repeated_limits_make_it_more_careful_and_an_answer_ends_that(path: Path) -> None:
    clock = VirtualClock(NOON)
    gate = Gate(path, clock, "boot")
    waits = []
    for _ in range(3):
        waits.append(gate.limited("api", None, "too many").seconds)
        clock.sleep(waits[-1])
        gate = Gate(path, clock, "boot")
    gate.passed("api")
    assert json.loads(path.read_text()) == {}
    assert [*waits, gate.limited("api", None, "too many").seconds] == [60, 120, 240, 60]


def test_a_restart_sends_nothing_before_and_no_step_of_the_clock_changes_that(path: Path) -> None:
    clock = VirtualClock(NOON)
    Gate(path, clock, "boot").limited("api", 10 * HOUR, "quota")
    for step in (DAY, -2 * DAY, YEAR, -3 * YEAR):
        clock.sleep(HOUR)
        clock.step(step)
        clock.heed(clock.now + step)
        left(Gate(path, clock, "boot"))
    clock.sleep(6 * HOUR)
    assert left(Gate(path, clock, "boot")) == pytest.approx(1)


@pytest.mark.parametrize(
    ("off", "ahead", "expected"),
    [
        (60, 0, 9 * HOUR - 60),  # a right clock tells how long the machine was off
        (7 * HOUR, 0, 2 * HOUR),
        (20 * HOUR, 0, 0),
        (7 * HOUR, -7 * HOUR, 9 * HOUR),  # a clock that stood still counts from now on
        (7 * HOUR, -YEAR, 10 * HOUR),  # one that lies before the wait tells nothing: all of it again
        (60, YEAR, 0),  # one that is far ahead costs one careful try
    ],
)
def test_after_a_reboot_the_other_clock_decides(
    path: Path, off: float, ahead: float, expected: float
) -> None:
    clock = VirtualClock(NOON)
    Gate(path, clock, "boot 1").limited("api", 10 * HOUR, "quota")
    clock.sleep(HOUR + off)
    clock = clock.reboot(ahead)
    assert left(Gate(path, clock, "boot 2")) == pytest.approx(expected, abs=1)
    clock.step(YEAR)  # from here on the monotonic clock of this run of the machine
    clock.sleep(expected / 2)
    assert left(Gate(path, clock, "boot 2")) == pytest.approx(expected / 2, abs=1)


def test_a_machine_that_does_not_tell_its_boots_apart_goes_by_the_other_clock(path: Path) -> None:
    clock = VirtualClock(NOON)
    Gate(path, clock, "").limited("api", 10 * HOUR, "quota")
    clock.sleep(HOUR)
    assert left(Gate(path, clock.reboot(), "")) == pytest.approx(9 * HOUR, abs=1)


@given(
    asked=st.floats(0, 1e9),
    reboots=st.lists(st.tuples(st.floats(0, 1e6), st.floats(-1e9, 1e9)), max_size=5),
)
def test_no_wait_is_longer_than_two_days_whatever_the_clocks_do(
    asked: float, reboots: list[tuple[float, float]]
) -> None:
    hold = Hold(wait(asked, 60, 1), 0, NOON, "boot", 1, "quota")
    for number, (uptime, utc) in enumerate(reboots):
        before = hold.left(uptime)
        hold = hold.carried_over(uptime, NOON + utc, str(number))
        assert 0 <= hold.left(uptime) <= LONGEST
        assert hold.left(uptime + LONGEST + 1) == 0
        assert hold.carried_over(uptime, 0, str(number)) is hold
        assert before >= 0


def test_only_the_owner_may_read_the_file(path: Path) -> None:
    Gate(path, VirtualClock(NOON), "boot").limited("api", 30, "too many")
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
    gate = Gate(path, VirtualClock(NOON), "boot")
    gate.check("api")
    gate.check("api")
    assert capsys.readouterr().err.count(str(path)) == 1
    gate.limited("api", 30, "too many")
    assert left(Gate(path, VirtualClock(NOON), "boot")) == 31


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        ({}, 60),
        ({"seconds": 1e11}, LONGEST),
        ({"times": 0}, 60),
        ({"boot": None}, 60),
        ({"reason": "\x1b[2J" * 500}, 60),
        ({"monotonic": 1e9}, 60),
        ({"more": "than known"}, 60),
    ],
)
def test_what_is_odd_in_the_file_is_bounded(path: Path, odd: dict[str, object], expected: float) -> None:
    path.write_text(json.dumps({"api": {**GOOD, **odd}, "unknown": 5}))
    gate = Gate(path, VirtualClock(NOON), "boot")
    with pytest.raises(NotBefore) as caught:
        gate.check("api")
    assert caught.value.seconds == expected
    assert len(str(caught.value)) <= 200
    assert "\x1b" not in str(caught.value)


def test_a_file_that_cannot_be_read_opens_the_gate(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.mkdir()
    Gate(path, VirtualClock(NOON), "boot").check("api")
    assert "not known any more" in capsys.readouterr().err


def test_a_disk_that_refuses_does_not_open_the_gate_and_is_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gone" / GATE_FILE
    gate = Gate(path, VirtualClock(NOON), "boot")
    gate.limited("api", 30, "too many")
    assert left(gate) == 31
    assert left(gate) == 31
    assert capsys.readouterr().err.count("cannot be written") == 1
    path.parent.mkdir()
    assert left(gate) == 31
    assert left(Gate(path, VirtualClock(NOON), "boot")) == 31


def test_boot_id_is_the_same_all_along() -> None:
    assert boot_id() == boot_id()
    assert boot_id() == boot_id().strip()
