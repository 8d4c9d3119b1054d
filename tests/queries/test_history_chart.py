from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.core.periods import Zone
from spotify_logger.queries.history_chart import DAY, MONTH, WEEK, course
from spotify_logger.queries.question import TIME
from spotify_logger.report.blocks import BarChart
from tests.listened import CatalogItem, IndexedLog, blocks, data_of

if TYPE_CHECKING:
    from collections.abc import Iterator

QUO = CatalogItem("track:quo", "Veridis Quo", ["Daft Punk"])


@pytest.fixture
def log(redis_url: str) -> Iterator[IndexedLog]:
    log = IndexedLog(redis_url, Zone("Europe/Berlin"), "2026-11-22 19:00")
    log.to(QUO, "2026-10-31 23:30", heard=100)
    log.to(QUO, "2026-11-01 00:30", heard=200)
    log.to(QUO, "2026-11-02 00:00", heard=50)
    log.skipped(QUO, "2026-11-02 00:01")
    yield log
    log.store.close()


def periods(log: IndexedLog, per: str, **more: object) -> list[tuple[str, int, int]]:
    intervals: Any = data_of(course(log.archive, log.ask(**more), per))["periods"]
    return [(each["from"], each["plays"], each["heard_ms"]) for each in intervals]


def test_by_day_from_the_first_play_until_today(log: IndexedLog) -> None:
    found = periods(log, DAY)
    assert found[:3] == [("2026-10-31", 1, 100_000), ("2026-11-01", 1, 200_000), ("2026-11-02", 1, 55_000)]
    assert found[3:] == [(f"2026-11-{day:02}", 0, 0) for day in range(3, 23)]


def test_weeks_begin_on_monday(log: IndexedLog) -> None:
    found = periods(log, WEEK)
    assert found[:2] == [("2026-10-26", 2, 300_000), ("2026-11-02", 1, 55_000)]
    assert [begin for begin, *_ in found] == ["2026-10-26", "2026-11-02", "2026-11-09", "2026-11-16"]


def test_by_month(log: IndexedLog) -> None:
    assert periods(log, MONTH) == [("2026-10-01", 1, 100_000), ("2026-11-01", 2, 255_000)]


def test_a_period_is_charted_from_begin_to_end(log: IndexedLog) -> None:
    asked = log.between("2026-10-30 00:00", "2026-11-02 00:00")
    assert [begin for begin, *_ in periods(log, DAY, period=asked)] == [
        "2026-10-30",
        "2026-10-31",
        "2026-11-01",
    ]
    assert len(periods(log, MONTH, year=2026)) == 11


def test_without_plays_there_is_nothing(log: IndexedLog) -> None:
    answer = course(log.archive, log.ask(year=2020), DAY)
    assert data_of(answer)["periods"] == []
    assert answer.page == ["Nothing was played: 2020."]


def test_what_is_seen_on_a_terminal(log: IndexedLog) -> None:
    (bars,) = blocks(course(log.archive, log.ask(), MONTH), BarChart)
    assert isinstance(bars, BarChart)
    assert bars.rows == [("2026-10-01", 1, "1"), ("2026-11-01", 2, "2")]
    answer = course(log.archive, log.ask(by=TIME), MONTH)
    (bars,) = blocks(answer, BarChart)
    assert isinstance(bars, BarChart)
    assert bars.rows == [("2026-10-01", 100_000, "100 s"), ("2026-11-01", 255_000, "4 min")]
    assert answer.page[1] == "all time: 3 plays of at least 30 s, 5 min heard"


def test_a_spreadsheet_gets_a_row_for_each(log: IndexedLog) -> None:
    sheet = course(log.archive, log.ask(), MONTH).csv_rows
    assert list(sheet) == [
        {"from": "2026-10-01", "plays": 1, "heard_ms": 100_000},
        {"from": "2026-11-01", "plays": 2, "heard_ms": 255_000},
    ]
