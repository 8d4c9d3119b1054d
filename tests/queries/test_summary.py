from __future__ import annotations

from spotify_logger.queries import summary
from tests.indexed_log import IndexedLog, data_of, rows, texts
from tests.queries.items import DUET, EPISODE, LIVE, LOSER, QUO, SEXY


def test_stats(log: IndexedLog) -> None:
    log.to(LOSER, "2025-06-01 12:00", 150)
    log.to(QUO, "2025-06-01 12:05", 20)  # too short to count, but heard
    log.to(QUO, "2026-11-21 23:50", 345)
    log.to(LIVE, "2026-11-22 00:30", 360)
    log.skipped(DUET, "2026-11-22 00:36")
    log.to(DUET, "2026-11-22 10:00", 240)
    log.to(EPISODE, "2026-11-22 10:30", 3600)
    answer = log.answer(summary.stats, year=2026)
    assert rows(answer) == {
        "period": "2026",
        "plays": "4 of at least 30 s, 1 other",
        "heard": "1 h 15 min",
        "tracks": "2, 1 of them new",
        "artists": "3, 1 of them new",
        "albums": "3",
        "shows": "1",
        "skips": "1 (20.0 %)",
        "sessions": "3",
        "longest session": "1 h 30 min from 2026-11-22 10:00",
        "days": "2 with plays",
        "longest streak": "2 days from 2026-11-21",
        "current streak": "2 days from 2026-11-21",
        "busiest day": "2026-11-22, 1 h 10 min, 3 plays",
    }
    values = {str(row["figure"]): row["value"] for row in answer.csv_rows}
    assert values.keys() == data_of(answer).keys()
    assert values["longest_session"] == "2026-11-22T09:00:00.000Z 5400000"
    all_time = rows(log.answer(summary.stats))
    assert (all_time["tracks"], all_time["artists"]) == ("3", "3")


def test_figures_that_do_not_exist_are_left_out(log: IndexedLog) -> None:
    log.to(QUO, "2026-11-01 10:00", 0, "open")
    shown = rows(log.answer(summary.stats))
    assert (shown["skips"], shown["sessions"]) == ("0 (–)", "0")
    assert shown.keys().isdisjoint({"shows", "longest session", "longest streak", "current streak"})


def test_without_plays(log: IndexedLog) -> None:
    answer = log.answer(summary.stats)
    assert texts(answer) == ["Nothing has been logged yet."]
    assert data_of(answer)["busiest_day"] is None
    assert "No plays" in "".join(texts(log.answer(summary.stats, year=2026)))


def test_a_corrected_catalog_entry(log: IndexedLog) -> None:
    """An artist to whom an item was credited by mistake was not heard by that."""
    log.to(LOSER._replace(artists=["Air"]), "2025-06-01 12:00")
    log.to(SEXY, "2026-06-01 12:00")
    assert data_of(log.answer(summary.stats, year=2026))["new_artists"] == 0
    log.now = "2026-11-22 20:00"  # of other days nothing is read again
    log.answer(summary.stats, year=2026)
    log.to(LOSER, "2025-06-01 12:00")
    assert data_of(log.answer(summary.stats, year=2026))["new_artists"] == 1
