from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from spotify_logger.report.words import (
    change,
    counted,
    exact_duration,
    listening_time,
    local_period,
    local_time,
    percentage,
    rough_duration,
    utc_time,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BERLIN, ST_JOHNS = "CET-1CEST,M3.5.0,M10.5.0/3", "NST3:30NDT,M3.2.0,M11.1.0"
"""As POSIX writes them, which needs no time zone database."""
NEW_YEAR = 1_767_223_800
"""2025-12-31T23:30:00Z."""


@pytest.fixture
def set_zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    def set_zone(zone: str) -> None:
        monkeypatch.setenv("TZ", zone)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "winter", "summer"),
    [(BERLIN, "2026-01-01 00:30", "2026-07-01 01:30"), (ST_JOHNS, "2025-12-31 20:00", "2026-06-30 21:00")],
)
def test_times_are_local(zone: str, winter: str, summer: str, set_zone: Callable[[str], None]) -> None:
    set_zone(zone)
    assert (local_time(NEW_YEAR + 0.9), local_time(1_782_862_200)) == (winter, summer)


def test_a_period_within_a_day_has_one_date(set_zone: Callable[[str], None]) -> None:
    set_zone(BERLIN)
    assert local_period(NEW_YEAR, NEW_YEAR + 3600) == "2026-01-01 00:30 to 01:30"
    assert local_period(NEW_YEAR - 3600, NEW_YEAR) == "2025-12-31 23:30 to 2026-01-01 00:30"


def test_utc_time() -> None:
    assert utc_time(NEW_YEAR + 0.9) == "2025-12-31T23:30:00.900Z"
    assert utc_time(None) is None


@pytest.mark.parametrize(
    ("seconds", "rough", "exact"),
    [
        (0.4, "0 s", "0 s"),
        (119.9, "119 s", "119 s"),
        (120, "2 min", "2 min"),
        (3600, "60 min", "1 h"),
        (7199, "119 min", "1 h 59 min"),
        (7259, "2 h", "2 h"),
        (172_799, "47 h", "47 h 59 min"),
        (172_800, "2 days", "2 days"),
        (10**6, "11 days", "11 days 13 h"),
    ],
)
def test_durations_are_rounded_down(seconds: float, rough: str, exact: str) -> None:
    assert (rough_duration(seconds), exact_duration(seconds)) == (rough, exact)


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (40_999, "40 s"),
        (3_599_999, "59 min"),
        (3_600_000, "1 h"),
        (12_000_000, "3 h 20 min"),
        (4_442_700_000, "1,234 h 5 min"),
    ],
)
def test_listening_time_has_no_days(milliseconds: int, words: str) -> None:
    assert listening_time(milliseconds) == words


def test_counted() -> None:
    assert [counted(number, "play") for number in (0, 1, 12345)] == ["0 plays", "1 play", "12,345 plays"]


def test_percentage() -> None:
    assert [percentage(*parts) for parts in ((0, 7), (2, 3), (7, 7), (0, 0))] == [
        "0.0 %",
        "66.7 %",
        "100.0 %",
        "–",
    ]


@pytest.mark.parametrize(
    ("number", "before", "words"),
    [(2001, 1, "+2,000"), (1, 4, "-3"), (0, 4, "-4"), (5, 0, "new"), (5, 5, "="), (0, 0, "=")],
)
def test_change(number: int, before: int, words: str) -> None:
    assert change(number, before) == words
