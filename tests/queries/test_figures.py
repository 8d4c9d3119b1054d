"""What people see of top, stats, day and on-this-day, and what spreadsheets get."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.periods import Zone, last
from spotify_logger.core.redis_keys import play_key
from spotify_logger.queries import arguments, summary, timeline, top
from spotify_logger.report.blocks import Answer, Table
from tests.listened import CatalogItem, IndexedLog, data_of, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

QUO = CatalogItem("track:quo", "Veridis Quo", ["Daft Punk"], "Discovery", "d1", "GBDUW0000061")
LIVE = CatalogItem("track:live", "Veridis Quo (Live)", ["Daft Punk"], "Alive", "d2", "gbduw0000061")
SEXY = CatalogItem("track:sexy", "Sexy Boy", ["Air", "Beck"], "Hits", "h1")
LOSER = CatalogItem("track:loser", "Loser", ["Beck"], "Hits", "h1")
SHOW = CatalogItem("episode:e", "On Daft Punk", [], "A Show")


@pytest.fixture
def log(redis_url: str) -> Iterator[IndexedLog]:
    log = IndexedLog(redis_url, Zone("Europe/Berlin"), "2026-11-22 19:00")
    yield log
    log.store.close()


@pytest.fixture
def history(log: IndexedLog) -> IndexedLog:
    log.to(LOSER, "2025-06-01 12:00", 150)
    log.to(QUO, "2025-06-01 12:05", 20)  # too short to count
    log.to(QUO, "2026-11-21 23:50", 345)
    log.to(LIVE, "2026-11-21 23:56", 300)
    log.to(LIVE, "2026-11-22 00:30", 360)
    log.skipped(SEXY, "2026-11-22 00:36")
    log.to(SEXY, "2026-11-22 10:00", 240)
    log.to(LOSER, "2026-11-22 10:04", 60)
    log.to(SHOW, "2026-11-22 10:30", 3600)
    return log


def table(answer: Answer) -> Table:
    (found,) = [block for block in answer.page if isinstance(block, Table)]
    return found


def texts(answer: Answer) -> list[str]:
    return [block for block in answer.page if isinstance(block, str)]


class TestTop:
    def test_the_command_knows_all_kinds(self) -> None:
        assert arguments.TOP_KINDS == top.CHOICES

    def test_tracks_of_a_year(self, history: IndexedLog) -> None:
        answer = top.top(history.archive, history.ask(year=2026), "tracks")
        assert list(table(answer).headings) == ["", "track", "plays", "heard", "share", "2025"]
        assert [list(row) for row in table(answer).rows] == [
            ["1", "Daft Punk – Veridis Quo (Live)", "3", "16 min", "50.0 %", "new"],
            ["2", "Air, Beck – Sexy Boy", "1", "4 min", "16.7 %", "new"],
            ["3", "Beck – Loser", "1", "60 s", "16.7 %", "="],
        ]
        assert texts(answer) == ["2026: 6 plays of at least 30 s, of 3 tracks; 1 h 21 min heard in all"]

    def test_by_time(self, history: IndexedLog) -> None:
        answer = top.top(history.archive, history.ask(year=2026, by="time"), "tracks")
        assert [row[1:] for row in map(list, table(answer).rows)] == [
            ["Daft Punk – Veridis Quo (Live)", "3", "16 min", "20.5 %", "+16 min"],
            ["Air, Beck – Sexy Boy", "1", "4 min", "5.0 %", "new"],
            ["Beck – Loser", "1", "60 s", "1.2 %", "-1 min"],
        ]

    def test_all_time_has_nothing_to_be_compared_with(self, history: IndexedLog) -> None:
        answer = top.top(history.archive, history.ask(limit=1), "artists")
        assert list(table(answer).headings) == ["", "artist", "plays", "heard", "share"]
        assert [list(row) for row in table(answer).rows] == [["1", "Daft Punk", "3", "17 min", "42.9 %"]]
        assert texts(answer) == ["all time: 7 plays of at least 30 s, of 3 artists; 1 h 24 min heard in all"]

    def test_an_album_of_many_artists_is_one_in_both_years(self, history: IndexedLog) -> None:
        found = data_of(top.top(history.archive, history.ask(year=2026), "albums"))
        lines = found["top"]
        assert isinstance(lines, list)
        values = {line["name"]: (line["artists"], line["plays"], line["plays_before"]) for line in lines}
        assert values == {
            "Alive": ("Daft Punk", 2, 0),
            "Hits": ("various artists", 2, 1),
            "Discovery": ("Daft Punk", 1, 0),
        }

    def test_for_spreadsheets(self, history: IndexedLog) -> None:
        answer = top.top(history.archive, history.ask(year=2026), "shows")
        assert answer.csv_rows == data_of(answer)["top"]
        assert [dict(row) for row in answer.csv_rows] == [
            {
                "rank": 1,
                "name": "A Show",
                "artists": "",
                "plays": 1,
                "heard_ms": 3_600_000,
                "share": 0.166667,
                "plays_before": 0,
                "heard_ms_before": 0,
                "key": "episode:e",
            }
        ]

    def test_nothing_of_the_kind(self, log: IndexedLog) -> None:
        assert texts(top.top(log.archive, log.ask(), "tracks")) == ["Nothing has been logged yet."]
        log.to(QUO, "2026-11-22 10:00", 20)
        answer = top.top(log.archive, log.ask(year=2026), "shows")
        assert texts(answer) == ["No show has plays of at least 30 s: 2026."]
        assert (data_of(answer)["plays"], data_of(answer)["heard_ms"]) == (0, 20_000)
        assert texts(top.top(log.archive, log.ask(year=2025), "shows")) == ["Nothing was played: 2025."]

    def test_gaps(self, history: IndexedLog) -> None:
        history.gap("2025-12-31 23:00", "2026-01-01 02:00")
        history.gap("2025-07-01 00:00", "2025-07-02 00:00")
        answer = top.top(history.archive, history.ask(year=2026), "tracks")
        assert texts(answer)[1:] == ["At least: 1 gap (2 h) was not observed."]


@pytest.mark.parametrize(
    ("before_ms", "now_ms", "words"),
    [
        (0, 300_000, "new"),
        (30_000, 300_000, "+5 min"),  # half a minute is not nothing
        (300_000, 300_000, "="),
        (300_000, 359_999, "="),
        (300_000, 0, "-5 min"),
        (0, 0, "="),
    ],
)
def test_a_change_of_time_is_one_of_minutes(log: IndexedLog, before_ms: int, now_ms: int, words: str) -> None:
    log.to(QUO, "2026-11-22 10:00", now_ms / 1000)
    log.to(LOSER, "2026-11-22 10:30", 100)
    log.to(QUO, "2025-11-22 10:00", before_ms / 1000)
    answer = top.top(log.archive, log.ask(year=2026, by="time", threshold=0), "tracks")
    assert {row[1]: row[5] for row in table(answer).rows}["Daft Punk – Veridis Quo"] == words


class TestStats:
    def test_a_year(self, history: IndexedLog) -> None:
        assert rows(summary.stats(history.archive, history.ask(year=2026))) == {
            "stretch": "2026",
            "plays": "6 of at least 30 s, 1 others",
            "heard": "1 h 21 min",
            "tracks": "3, 1 of them new",  # the one that had been skipped before is not
            "artists": "3, 1 of them new",
            "albums": "3",
            "shows": "1",
            "skips": "1, 14.3 %",
            "sessions": "2; the longest 1 h 30 min, from 2026-11-22 10:00",
            "days": "2 with plays",
            "longest streak": "2 days, from 2026-11-21",
            "current streak": "2 days, from 2026-11-21",
            "busiest day": "2026-11-22, 1 h 11 min, 4 plays",
        }

    def test_all_time_has_nothing_new(self, history: IndexedLog) -> None:
        shown = rows(summary.stats(history.archive, history.ask()))
        assert (shown["tracks"], shown["artists"]) == ("3", "3")

    def test_what_there_is_none_of_is_left_out(self, log: IndexedLog) -> None:
        log.to(QUO, "2026-11-01 10:00", 0, "open")
        shown = rows(summary.stats(log.archive, log.ask()))
        assert shown["skips"] == "0, –"
        assert shown["sessions"] == "0"
        assert shown.keys().isdisjoint({"shows", "longest streak", "current streak"})

    def test_for_spreadsheets(self, history: IndexedLog) -> None:
        answer = summary.stats(history.archive, history.ask(year=2026))
        values = {str(row["figure"]): row["value"] for row in answer.csv_rows}
        assert values.keys() == data_of(answer).keys()
        assert values["longest_session"] == "2026-11-22T09:00:00.000Z 5400000"
        assert values["busiest_day"] == "2026-11-22 4 4265000"
        assert values["skip_rate"] == pytest.approx(1 / 7, abs=1e-6)

    def test_nothing(self, log: IndexedLog) -> None:
        answer = summary.stats(log.archive, log.ask())
        assert texts(answer) == ["Nothing has been logged yet."]
        assert data_of(answer)["busiest_day"] is None
        assert texts(summary.stats(log.archive, log.ask(year=2026))) == ["Nothing was played: 2026."]


class TestDays:
    def play(
        self, log: IndexedLog, item: CatalogItem, moment: str, heard: int, end: str = "trackdone"
    ) -> None:
        log.to(item, moment, heard, end)
        values = {"name": item.name, "artists": ", ".join(item.artists), "album": item.album}
        hashed = {**values, "ms_played": str(heard * 1000), "duration_ms": "345000", "end_reason": end}
        flat = [part for pair in hashed.items() for part in pair]
        log.archive.write([("HSET", play_key(log.second(moment)), *flat)])

    def test_a_day_with_its_gaps(self, log: IndexedLog) -> None:
        self.play(log, QUO, "2026-10-24 23:59:59", 345)
        self.play(log, QUO, "2026-10-25 00:00:00", 345)
        self.play(log, LOSER, "2026-10-25 23:59:59", 12, "skipped")
        self.play(log, QUO, "2026-10-26 00:00:00", 345)
        log.gap("2026-10-24 22:00", "2026-10-25 00:00")
        log.gap("2026-10-25 12:00", "2026-10-25 13:00")
        answer = timeline.day(log.store, log.ask(), date(2026, 10, 25))
        assert [list(row) for row in table(answer).rows] == [
            ["2026-10-25 00:00", "Daft Punk – Veridis Quo", "5:45/5:45", "finished", ""],
            ["2026-10-25 12:00", "(offline for 1 h)", "", "gap", ""],
            ["2026-10-25 23:59", "Beck – Loser", "0:12/5:45", "skipped", ""],
        ]
        assert texts(answer) == ["Sunday, 2026-10-25: 1 play of at least 30 s, 5 min heard"]
        assert [row["started"] for row in answer.csv_rows] == [
            "2026-10-24T22:00:00.000Z",
            "2026-10-25T22:59:59.000Z",
        ]

    def test_a_day_without_anything(self, log: IndexedLog) -> None:
        answer = timeline.day(log.store, log.ask(), date(2026, 10, 25))
        assert texts(answer) == ["Nothing was played: 2026-10-25."]
        assert data_of(answer) == {"day": "2026-10-25", "plays": 0, "heard_ms": 0, "timeline": []}

    def test_a_gap_that_begins_after_now_is_none_of_today(self, log: IndexedLog) -> None:
        log.gap("2026-11-22 20:00", "2026-11-22 21:00")
        assert data_of(timeline.day(log.store, log.ask(), date(2026, 11, 22)))["timeline"] == []

    def test_recent_of_a_stretch(self, log: IndexedLog) -> None:
        for hour in (10, 12, 14, 18):
            self.play(log, QUO, f"2026-11-22 {hour}:00", 345)
        log.gap("2026-11-22 13:00", "2026-11-22 13:30")
        log.gap("2026-11-22 16:00", "2026-11-22 16:30")
        question = log.ask(period=log.between("2026-11-22 09:00", "2026-11-22 15:00"), limit=2)
        assert [row[0] for row in table(timeline.recent(log.store, question)).rows] == [
            "2026-11-22 14:00",
            "2026-11-22 13:00",
            "2026-11-22 12:00",
        ]
        question = log.ask(period=last(log.zone, log.second("2026-11-22 09:00"), 1, "h"))
        assert texts(timeline.recent(log.store, question)) == ["Nothing was played: the last hour."]

    def test_this_day_of_other_years(self, log: IndexedLog) -> None:
        log.to(SEXY, "2026-11-22 10:00")  # today
        log.to(SEXY, "2025-11-21 23:59:59")
        log.to(LOSER, "2025-11-22 00:00")
        log.to(LOSER, "2025-11-22 08:00")
        log.to(QUO, "2025-11-22 09:00")
        log.to(LIVE, "2025-11-22 10:00", 201)
        log.to(LIVE, "2025-11-22 23:59:59", 201)
        log.skipped(SEXY, "2016-11-22 12:00")
        answer = timeline.on_this_day(log.store, log.ask())
        assert [list(row) for row in table(answer).rows] == [
            ["2025-11-22", "Daft Punk – Veridis Quo (Live)", "5", "16 min"],
            ["2016-11-22", "Air, Beck – Sexy Boy", "0", "5 s"],
        ]
        assert [row["day"] for row in answer.csv_rows] == ["2025-11-22", "2016-11-22"]

    def test_a_leap_day(self, log: IndexedLog) -> None:
        log.now = "2028-02-29 12:00"
        log.to(QUO, "2024-02-29 12:00")
        log.to(QUO, "2027-02-28 12:00")
        answer = timeline.on_this_day(log.store, log.ask())
        assert [row[0] for row in table(answer).rows] == ["2024-02-29"]
        log.now = "2028-03-01 12:00"
        assert texts(timeline.on_this_day(log.store, log.ask())) == [
            "Nothing was logged on 1 March in earlier years."
        ]
