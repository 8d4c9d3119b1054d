"""Turns of the loop at their times, and the periods that the logger should report as unobserved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.coverage import (
    MAX_TURN_DELAY,
    NOT_RUNNING,
    OFFLINE,
    RATE_LIMITED,
    SPOTIFY_DOWN,
    SUSPENDED,
    Coverage,
    UnobservedSpan,
)
from spotify_logger.core.poll_schedule import MAX_IDLE_FACTOR
from tests.histories import NOON

if TYPE_CHECKING:
    from collections.abc import Sequence

PLANNED = MAX_IDLE_FACTOR * 30.0
MINUTE, HOUR = 60, 3600

Turn = tuple[float, str, float]
"""Seconds since noon; why there was no answer, "" for an answer; when the next turn is due."""
Unobserved = tuple[float, float, str]
"""Start, end and reason."""


@dataclass(frozen=True)
class CoverageCase:
    """Turns, and expected periods; an earlier process had its last answer `before` seconds before noon."""

    turns: Sequence[Turn]
    unobserved: Sequence[Unobserved]
    before: float | None = None
    expect_within: float = PLANNED


def every(step: float, begin: float, end: float, reason: str = "") -> list[Turn]:
    """Return turns of the same kind, one after the other."""
    count = round((end - begin) / step)
    return [(begin + step * number, reason, begin + step * (number + 1)) for number in range(count)]


CASES = {
    "answers all the time": CoverageCase(every(30, 0, HOUR), []),
    "offline for a minute and a half: a play may have been missed": CoverageCase(
        [*every(30, 0, 60), *every(10, 60, 180, OFFLINE), *every(30, 180, 300)], [(30, 180, OFFLINE)]
    ),
    "for several reasons: the longest one counts": CoverageCase(
        [
            *every(30, 0, 60),
            *every(60, 60, 360, SPOTIFY_DOWN),
            *every(60, 360, 1260, RATE_LIMITED),
            *every(60, 1260, 1860, OFFLINE),
            (1860, "", 1890),
        ],
        [(30, 1860, RATE_LIMITED)],
    ),
    "suspended": CoverageCase([*every(30, 0, 60), (4000, "", 4030)], [(30, 4000, SUSPENDED)]),
    "a busy machine is late": CoverageCase(
        [*every(30, 0, 60), (60 + MAX_TURN_DELAY, "", 120), (120 + MAX_TURN_DELAY, "", 180)], []
    ),
    "no earlier process, and no answer at first": CoverageCase(
        [*every(60, 0, 1800, OFFLINE), *every(30, 1800, 2000)], []
    ),
    "after a power cut": CoverageCase([(2, "", 32)], [(-HOUR, 2, NOT_RUNNING)], before=HOUR),
    "a poll every ten minutes, and one is late": CoverageCase(
        [*every(600, 0, HOUR), (HOUR + 70, "", HOUR + 670)],
        [(HOUR - 600, HOUR + 70, SUSPENDED)],
        expect_within=600,
    ),
}


def stamp(second: float) -> int:
    return NOON + round(second * 1000)


def seconds(span: UnobservedSpan) -> Unobserved:
    return (span.from_ms - NOON) / 1000, (span.to_ms - NOON) / 1000, span.reason


def run(case: CoverageCase, step: float = 0, zero: float = 0) -> list[Unobserved]:
    """Take the turns as the loop does; the clock is set forward by `step` after the first one.

    The monotonic clock shows `zero` at noon.
    """
    coverage = Coverage(None if case.before is None else stamp(-case.before), case.expect_within, zero)
    spans = []
    for number, (at, reason, due) in enumerate(case.turns):
        if reason:
            coverage.record_failure(zero + at, reason)
        else:
            spans.append(coverage.record_answer(stamp(at + (step if number else 0)), zero + at))
        coverage.end_turn(zero + at, zero + due)
    return [seconds(span) for span in spans if span is not None]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_unobserved_periods(case: CoverageCase) -> None:
    assert run(case) == run(case, zero=12_345.0) == list(case.unobserved)


@pytest.mark.parametrize("step", [-86_400, 86_400])
def test_a_step_of_the_clock_is_not_a_gap(step: float) -> None:
    assert run(CoverageCase(every(30, 0, 300), []), step=step) == []


def test_a_period_in_which_the_clock_was_set_back_does_not_end_before_it_began() -> None:
    coverage = Coverage(None, 30, 0)
    coverage.record_answer(stamp(0), 0)

    assert coverage.record_answer(stamp(-86_400), 900) == UnobservedSpan(stamp(0), stamp(0), SUSPENDED)


def observed_at_noon(expect_within: float = 30) -> Coverage:
    coverage = Coverage(None, expect_within, 0)
    coverage.record_answer(stamp(0), 0)
    coverage.end_turn(0, expect_within)
    return coverage


class TestCurrentGap:
    def test_it_lasts_until_the_next_answer(self) -> None:
        coverage = observed_at_noon()
        for at in range(60, 361, 60):
            coverage.record_failure(at, RATE_LIMITED)
            gap = coverage.current_gap(at)
            expected = (0, at, RATE_LIMITED) if at > 5 * MINUTE else None
            assert (gap and seconds(gap)) == expected
            coverage.end_turn(at, at + 60)
        coverage.record_answer(stamp(410), 410)
        coverage.record_failure(420, OFFLINE)
        assert coverage.current_gap(420) is None

    def test_there_is_none_before_the_first_answer(self) -> None:
        coverage = Coverage(stamp(-HOUR), PLANNED, 0)
        coverage.record_failure(HOUR, OFFLINE)
        assert coverage.current_gap(HOUR) is None

    def test_a_planned_wait_does_not_count(self) -> None:
        """With a long POLL_MAX, one failure does not turn the wait before it into a gap."""
        coverage = observed_at_noon(expect_within=600)
        coverage.record_failure(600, OFFLINE)
        assert coverage.current_gap(660) is None
        gap = coverage.current_gap(661)
        assert gap is not None
        assert seconds(gap) == (0, 661, OFFLINE)
