from __future__ import annotations

import pytest

from spotify_logger.queries import top
from spotify_logger.report.blocks import Answer, Table
from tests.indexed_log import IndexedLog, data_of, table_rows, texts
from tests.queries.items import DUET, EPISODE, LIVE, LOSER, QUO


@pytest.fixture
def history(log: IndexedLog) -> IndexedLog:
    log.to(LOSER, "2025-06-01 12:00", 150)
    log.to(QUO, "2025-06-01 12:05", 20)  # too short to count
    log.to(QUO, "2026-11-21 23:50", 345)
    log.to(LIVE, "2026-11-21 23:56", 300)
    log.to(LIVE, "2026-11-22 00:30", 360)
    log.skipped(DUET, "2026-11-22 00:36")
    log.to(DUET, "2026-11-22 10:00", 240)
    log.to(LOSER, "2026-11-22 10:04", 60)
    log.to(EPISODE, "2026-11-22 10:30", 3600)
    return log


def best(log: IndexedLog, kind: str, **more: object) -> Answer:
    return top.top(log.store, log.ask(**more), kind)


def headings(answer: Answer) -> list[str]:
    (table,) = [block for block in answer.page if isinstance(block, Table)]
    return list(table.headings)


def test_tracks_of_a_year(history: IndexedLog) -> None:
    history.gap("2025-12-31 23:00", "2026-01-01 02:00")
    answer = best(history, "tracks", year=2026)
    assert headings(answer) == ["", "track", "plays", "heard", "share", "2025"]
    assert table_rows(answer) == [
        ["1", "Daft Punk – Veridis Quo (Live)", "3", "16 min", "50.0 %", "new"],
        ["2", "Air, Beck – Duet", "1", "4 min", "16.7 %", "new"],
        ["3", "Beck – Loser", "1", "60 s", "16.7 %", "="],
    ]
    summary = "2026: 6 plays of at least 30 s, of 3 tracks; 1 h 21 min heard in all"
    assert texts(answer) == [summary, "At least: 1 gap (2 h) was not observed."]
    assert answer.csv_rows == data_of(answer)["top"]


def test_by_time(history: IndexedLog) -> None:
    assert [row[1:] for row in table_rows(best(history, "tracks", year=2026, by="time"))] == [
        ["Daft Punk – Veridis Quo (Live)", "3", "16 min", "20.5 %", "+16 min"],
        ["Air, Beck – Duet", "1", "4 min", "5.0 %", "new"],
        ["Beck – Loser", "1", "60 s", "1.2 %", "-1 min"],
    ]


def test_all_time_is_compared_with_nothing(history: IndexedLog) -> None:
    answer = best(history, "artists", limit=1)
    assert headings(answer) == ["", "artist", "plays", "heard", "share"]
    assert table_rows(answer) == [["1", "Daft Punk", "3", "17 min", "42.9 %"]]
    assert texts(answer) == ["all time: 7 plays of at least 30 s, of 3 artists; 1 h 24 min heard in all"]


def test_nothing_of_the_kind(log: IndexedLog) -> None:
    assert texts(best(log, "tracks")) == ["Nothing has been logged yet."]
    log.to(QUO, "2026-11-22 10:00", 20)
    answer = best(log, "shows", year=2026)
    assert texts(answer) == ["No show has plays of at least 30 s: 2026."]
    assert (data_of(answer)["plays"], data_of(answer)["heard_ms"]) == (0, 20_000)
    assert texts(best(log, "shows", year=2025)) == ["Nothing was played: 2025."]
