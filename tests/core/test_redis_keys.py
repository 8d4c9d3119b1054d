from __future__ import annotations

from datetime import date

import pytest

from spotify_logger.core.redis_keys import (
    day_of,
    gap_key,
    index_key,
    play_key,
    read_day,
    read_gap,
    read_row,
    read_tombstone,
    second_of_key,
)

SECOND = 1_795_370_400  # 2026-11-22T18:00:00Z


def test_the_names_of_the_keys() -> None:
    assert play_key(SECOND) == "listening:1795370400"
    assert gap_key(SECOND) == "gap:1795370400"
    assert index_key(date(2026, 11, 22)) == "plays:2026-11-22"


def test_the_index_is_by_utc_day() -> None:
    assert day_of(SECOND + 6 * 3600 - 1) == date(2026, 11, 22)
    assert day_of(SECOND + 6 * 3600) == date(2026, 11, 23)


@pytest.mark.parametrize(
    ("key", "second"),
    [
        ("listening:1795370400", SECOND),
        ("ann:listening:1795370400", SECOND),
        ("listening:", None),
        ("gap:1795370400", None),
        ("listening:\u0663", None),
        ("listening:" + "9" * 11, None),
    ],
)
def test_the_second_of_a_key(key: str, second: int | None) -> None:
    assert second_of_key(key) == second


@pytest.mark.parametrize(
    ("second", "value", "gap"),
    [
        ("1795370400", "1795374000 login dead", (SECOND, SECOND + 3600, "login dead")),
        ("1795370400", "1795370399 offline", None),
        ("1795370400", "1795374000", None),
        ("1795370400", "soon offline", None),
        ("1795370400", "1795374000 " + "x" * 101, None),
        ("1795370400", "1795374000 off\nline", None),
        ("1795370400", "1795374000 ausgefallen \u2013", None),
    ],
)
def test_reading_a_gap(second: str, value: str, gap: tuple[int, int, str] | None) -> None:
    assert read_gap(second, value) == gap


@pytest.mark.parametrize(
    ("second", "value", "row"),
    [
        ("1795370400", "track:x 215000 trackdone", (SECOND, "track:x", 215_000, "trackdone")),
        ("1795370400", "track:x 215000", (SECOND, "track:x", 215_000, "unknown")),
        ("1795370400", "track:x 215000 never", None),
        ("1795370400", "gap:x 1", None),
        ("1795370400", "track:x", None),
        ("soon", "track:x 1", None),
    ],
)
def test_reading_an_index_row(second: str, value: str, row: tuple[int, str, int, str] | None) -> None:
    assert read_row(second, value) == row


def test_rows_are_sorted_and_lines_that_are_no_rows_left_out() -> None:
    lines = {"9": "track:x 7", "soon": "track:x 1 open", "2": "x", "1": "", "3": "episode:y 0 open"}
    assert read_day(lines) == [(3, "episode:y", 0, "open"), (9, "track:x", 7, "unknown")]
    assert read_day({"x": "y"}) == []


@pytest.mark.parametrize(
    ("second", "value", "tombstone"),
    [
        ("1795370400", "1795370615", (SECOND, SECOND + 215)),
        ("1795370400", "1795370399", None),
        ("listening:7", "8", None),
    ],
)
def test_reading_a_tombstone(second: str, value: str, tombstone: tuple[int, int] | None) -> None:
    assert read_tombstone(second, value) == tombstone
