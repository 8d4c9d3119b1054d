from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.periods import Zone
from spotify_logger.report.words import (
    change,
    counted,
    exact_duration,
    format_time,
    listening_time,
    rough_duration,
    share,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NEW_YEAR = 1_767_223_800
"""2025-12-31T23:30:00Z."""


def test_times_are_local(set_timezone: Callable[[str], None]) -> None:
    set_timezone("CET-1CEST,M3.5.0,M10.5.0/3")  # as POSIX writes it, without a database
    times = [format_time(Zone(), second) for second in (NEW_YEAR + 0.9, 1_782_862_200, None)]
    assert times == ["2026-01-01 00:30", "2026-07-01 01:30", ""]


@pytest.mark.parametrize(
    ("seconds", "rough", "exact"),
    [
        (119.9, "119 s", "119 s"),
        (120, "2 min", "2 min"),
        (7199, "119 min", "1 h 59 min"),
        (7259, "2 h", "2 h"),
        (172_799, "47 h", "47 h 59 min"),
        (172_800, "2 days", "2 days"),
    ],
)
def test_durations_are_rounded_down(seconds: float, rough: str, exact: str) -> None:
    assert (rough_duration(seconds), exact_duration(seconds)) == (rough, exact)


def test_listening_time_has_no_days() -> None:
    words = [listening_time(milliseconds) for milliseconds in (40_999, 3_599_999, 4_442_700_000)]
    assert words == ["40 s", "59 min", "1,234 h 5 min"]


def test_counts_percentages_and_changes() -> None:
    assert [str(counted(number, "play")) for number in (1, 12345)] == ["1 play", "12,345 plays"]
    assert [share(2, 3).for_people, share(0, 0).for_people] == ["66.7 %", "–"]
    assert [change(*both, is_time=False).for_people for both in ((2001, 1), (1, 4), (5, 0), (5, 5))] == [
        "+2,000",
        "-3",
        "new",
        "=",
    ]
