"""The lists of plays and gaps: `recent`, `day` and `on-this-day`."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from spotify_logger.core.redis_keys import OPEN
from spotify_logger.queries import timeline
from tests.indexed_log import IndexedLog, data_of, table_rows, texts
from tests.queries.items import DUET, EPISODE, LIVE, LOSER, QUO

if TYPE_CHECKING:
    from spotify_logger.report.answers import Answer


def recent(log: IndexedLog, limit: int = 9, **more: object) -> Answer:
    return log.answer(timeline.recent, limit=limit, **more)


def play_now(log: IndexedLog, **fields: str | int) -> None:
    second = log.play(QUO, "2026-11-22 19:00", 200, OPEN, **fields)
    with log.store.batch() as batch:
        batch.set_now_playing(second, 90)


class TestRecent:
    def test_newest_first_with_how_they_ended(self, log: IndexedLog) -> None:
        play_now(log)
        log.play(DUET, "2026-11-22 18:55", 12, "skipped")
        log.play(QUO, "2026-11-22 18:48", 345, device_name="")
        log.play(QUO, "2026-11-22 18:40", 345, "unknown", source="backfill")
        log.play(QUO, "2026-11-21 19:00", 1, "stopped")
        log.play(EPISODE, "2026-11-21 18:00", 3700, OPEN, duration_ms="?")
        assert table_rows(recent(log)) == [
            ["2026-11-22 19:00", "Daft Punk – Veridis Quo", "3:20/5:45", "playing", "Kitchen"],
            ["2026-11-22 18:55", "Air, Beck – Duet", "0:12/5:45", "skipped", "Kitchen"],
            ["2026-11-22 18:48", "Daft Punk – Veridis Quo", "5:45/5:45", "finished", ""],
            ["2026-11-22 18:40", "Daft Punk – Veridis Quo", "5:45/5:45", "found later", "Kitchen"],
            ["2026-11-21 19:00", "Daft Punk – Veridis Quo", "0:01/5:45", "stopped", "Kitchen"],
            ["2026-11-21 18:00", "A Show – On Daft Punk", "1:01:40", "open", "Kitchen"],
        ]
        play_now(log, playing=0)
        assert [row[3] for row in table_rows(recent(log, 2))] == ["paused", "skipped"]

    def test_json(self, log: IndexedLog) -> None:
        second = log.play(QUO, "2026-11-22 19:00", device_volume="loud", shuffle_state=1, source="backfill")
        data: Any = recent(log).data
        expected = {"key": f"listening:{second}", "ms_played": 200_000, "source": "backfill"}
        assert data[0].items() >= {**expected, "shuffle_state": True, "device_volume": None}.items()

    def test_gaps_between_the_plays(self, log: IndexedLog) -> None:
        play_now(log)
        log.gap("2026-11-22 18:00", "2026-11-22 18:58:20")
        log.play(DUET, "2026-11-22 17:00", 212)
        log.gap("2026-11-22 16:00", "2026-11-22 17:00:01", "rate limited")
        log.gap("2026-11-22 15:00", "2026-11-22 17:00", "before the oldest play shown")
        log.play(QUO, "2026-11-22 14:00", 345)
        answer = recent(log, 2)
        assert [row[:4] for row in table_rows(answer)] == [
            ["2026-11-22 19:00", "Daft Punk – Veridis Quo", "3:20/5:45", "playing"],
            ["2026-11-22 18:00", "(offline for 58 min)", "", "gap"],
            ["2026-11-22 17:00", "Air, Beck – Duet", "3:32/5:45", "finished"],
            ["2026-11-22 16:00", "(rate limited for 1 h)", "", "gap"],
        ]
        bounds = {"from": "2026-11-22T17:00:00.000Z", "to": "2026-11-22T17:58:20.000Z"}
        assert answer.data[1] == {"gap": {**bounds, "reason": "offline"}}  # type: ignore[index]

    def test_a_current_gap_comes_first(self, log: IndexedLog) -> None:
        log.play(QUO, "2026-11-22 19:00", 200, "unknown")
        log.gap("2026-11-22 19:00", "2026-11-22 20:00", "login dead")
        assert [row[3] for row in table_rows(recent(log))] == ["gap", "unknown"]

    def test_an_empty_log(self, log: IndexedLog) -> None:
        log.gap("2026-11-22 18:00", "2026-11-22 19:00")
        answer = recent(log)
        assert (answer.code, answer.data, texts(answer)) == (0, [], ["Nothing has been logged yet."])

    def test_a_period(self, log: IndexedLog) -> None:
        for hour in (10, 12, 14, 18):
            log.play(QUO, f"2026-11-22 {hour}:00", 345)
        log.gap("2026-11-22 13:00", "2026-11-22 13:30")
        log.gap("2026-11-22 16:00", "2026-11-22 16:30")
        answer = recent(log, 2, period=log.between("2026-11-22 09:00", "2026-11-22 15:00"))
        assert [row[0][-5:] for row in table_rows(answer)] == ["14:00", "13:00", "12:00"]


class TestDayTimeline:
    def test_a_day_with_its_gaps(self, log: IndexedLog) -> None:
        log.play(QUO, "2026-10-24 23:59:59", 345)
        log.play(QUO, "2026-10-25 00:00:00", 345)
        log.play(LOSER, "2026-10-25 23:59:59", 12, "skipped")
        log.play(QUO, "2026-10-26 00:00:00", 345)
        log.gap("2026-10-24 22:00", "2026-10-25 00:00")
        log.gap("2026-10-25 12:00", "2026-10-25 13:00")
        answer = log.answer(timeline.day, date(2026, 10, 25))
        assert table_rows(answer) == [
            ["2026-10-25 00:00", "Daft Punk – Veridis Quo", "5:45/5:45", "finished", "Kitchen"],
            ["2026-10-25 12:00", "(offline for 1 h)", "", "gap", ""],
            ["2026-10-25 23:59", "Beck – Loser", "0:12/5:45", "skipped", "Kitchen"],
        ]
        assert texts(answer) == ["Sunday, 2026-10-25: 1 play of at least 30 s, 5 min heard"]
        starts = [row["started"] for row in answer.csv_rows]
        assert starts == ["2026-10-24T22:00:00.000Z", "2026-10-25T22:59:59.000Z"]

    def test_a_day_without_plays(self, log: IndexedLog) -> None:
        log.gap("2026-11-22 20:00", "2026-11-22 21:00")  # after now
        answer = log.answer(timeline.day, date(2026, 11, 22))
        assert "No plays" in "".join(texts(answer))
        assert data_of(answer) == {"day": "2026-11-22", "plays": 0, "heard_ms": 0, "timeline": []}


class TestOnThisDay:
    def test_the_same_day_of_earlier_years(self, log: IndexedLog) -> None:
        log.to(DUET, "2026-11-22 10:00")  # today
        log.to(DUET, "2025-11-21 23:59:59")
        log.to(LOSER, "2025-11-22 00:00")
        log.to(QUO, "2025-11-22 09:00")
        log.to(LIVE, "2025-11-22 10:00", 201)
        log.to(LIVE, "2025-11-22 23:59:59", 201)
        log.skipped(DUET, "2023-11-22 12:00")
        answer = log.answer(timeline.on_this_day, date(2026, 11, 22))
        assert table_rows(answer) == [
            ["2025-11-22", "Daft Punk – Veridis Quo (Live)", "4", "13 min"],
            ["2023-11-22", "Air, Beck – Duet", "0", "5 s"],
        ]
        assert [row["day"] for row in answer.csv_rows] == ["2025-11-22", "2023-11-22"]
        answer = log.answer(timeline.on_this_day, date(2026, 3, 1))
        assert texts(answer) == ["Nothing was logged on 1 March in earlier years."]
