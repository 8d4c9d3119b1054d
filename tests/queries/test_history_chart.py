from __future__ import annotations

from typing import Any

import pytest

from spotify_logger.core.day_sums import DAY, MONTH, WEEK
from spotify_logger.queries.charts import course
from spotify_logger.queries.question import TIME
from spotify_logger.report.answers import Table
from spotify_logger.report.words import heard
from tests.indexed_log import IndexedLog, data_of, texts
from tests.queries.items import QUO


@pytest.fixture(autouse=True)
def history(log: IndexedLog) -> None:
    log.to(QUO, "2026-10-31 23:30", heard=100)
    log.to(QUO, "2026-11-01 00:30", heard=200)
    log.to(QUO, "2026-11-02 00:00", heard=50)
    log.skipped(QUO, "2026-11-02 00:01")


def periods(log: IndexedLog, per: str, **more: object) -> list[tuple[str, int, int]]:
    found: Any = data_of(log.answer(course, per, **more))["periods"]
    return [(each["from"], each["plays"], each["heard_ms"]) for each in found]


def test_from_the_first_play_until_today(log: IndexedLog) -> None:
    days = periods(log, DAY)
    assert days[:3] == [("2026-10-31", 1, 100_000), ("2026-11-01", 1, 200_000), ("2026-11-02", 1, 55_000)]
    assert days[3:] == [(f"2026-11-{day:02}", 0, 0) for day in range(3, 23)]
    weeks = periods(log, WEEK)  # they begin on Monday
    assert weeks[:2] == [("2026-10-26", 2, 300_000), ("2026-11-02", 1, 55_000)]
    assert [begin for begin, *_ in weeks] == ["2026-10-26", "2026-11-02", "2026-11-09", "2026-11-16"]
    assert periods(log, MONTH) == [("2026-10-01", 1, 100_000), ("2026-11-01", 2, 255_000)]


def test_a_period_is_charted_from_begin_to_end(log: IndexedLog) -> None:
    days = periods(log, DAY, period=log.between("2026-10-30 00:00", "2026-11-02 00:00"))
    assert [begin for begin, *_ in days] == ["2026-10-30", "2026-10-31", "2026-11-01"]
    assert len(periods(log, MONTH, year=2026)) == 11


def test_without_plays(log: IndexedLog) -> None:
    answer = log.answer(course, DAY, year=2020)
    assert data_of(answer)["periods"] == []
    assert "No plays" in "".join(texts(answer))


def test_bars_and_rows(log: IndexedLog) -> None:
    answer = log.answer(course, MONTH)
    assert isinstance(answer.page[0], Table)
    assert answer.page[0].rows == [("2026-10-01", 1), ("2026-11-01", 2)]
    assert answer.page[0].bars == [1, 2]
    assert list(answer.csv_rows) == data_of(answer)["periods"]
    answer = log.answer(course, MONTH, by=TIME)
    assert isinstance(answer.page[0], Table)
    assert answer.page[0].rows == [
        ("2026-10-01", heard(100_000)),
        ("2026-11-01", heard(255_000)),
    ]
    assert texts(answer)[0] == "all time: 3 plays of at least 30 s, 5 min heard"
