from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spotify_logger.cli.commands import command_parser
from spotify_logger.cli.main import parse_args
from spotify_logger.queries import charts
from spotify_logger.report.answers import Chart
from tests.indexed_log import IndexedLog, blocks, data_of, rows, table_rows, texts
from tests.queries.items import QUO

if TYPE_CHECKING:
    from spotify_logger.report.answers import Answer


class TestClockHeatmap:
    def clock(self, log: IndexedLog, **more: object) -> Answer:
        return log.answer(charts.clock, **more)

    def parts(self, answer: Answer) -> tuple[Chart, Chart]:
        heatmap, hours, *_ = blocks(answer)
        assert isinstance(heatmap, Chart)
        assert isinstance(hours, Chart)
        return heatmap, hours

    def test_figures(self, log: IndexedLog) -> None:
        for moment in ("2026-11-16 08:00", "2026-11-17 08:10", "2026-11-17 08:20", "2026-11-22 20:00"):
            log.to(QUO, moment, 3600)
        log.skipped(QUO, "2026-11-22 20:00:01")
        log.gap("2026-11-16 09:00", "2026-11-16 10:00")
        answer = self.clock(log)
        assert answer.csv_rows == data_of(answer)["week"]
        heatmap, hours = self.parts(answer)
        assert [sum(values) for _, *values in heatmap.rows] == [1, 2, 0, 0, 0, 0, 1]
        assert [row for row in hours.rows if any(row[1:])] == [("8", 3), ("20", 1)]
        assert table_rows(answer)[:2] == [
            ["plays", "1", "2", "0", "0", "0", "0", "1", "4"],
            ["share", "25.0 %", "50.0 %", "0.0 %", "0.0 %", "0.0 %", "0.0 %", "25.0 %", ""],
        ]
        assert rows(answer) == {
            "period": "all time",
            "plays": "4 of at least 30 s",
            "heard": "4 h",
            "busiest hour": "Tue 8:00, 2 plays",
        }
        assert texts(answer)[-1] == "At least: 1 gap (1 h) was not observed."

    def test_by_time(self, log: IndexedLog) -> None:
        log.to(QUO, "2026-11-16 08:00", 7199)
        log.to(QUO, "2026-11-17 09:00", 60)
        log.to(QUO, "2026-11-17 09:01", 60)
        answer = self.clock(log, by="time")
        heatmap, _ = self.parts(answer)
        assert (heatmap.unit, heatmap.rows[0][1 + 8], heatmap.rows[1][1 + 9]) == ("minutes", 119, 2)
        assert table_rows(answer)[0] == ["hours", "1", "0", "0", "0", "0", "0", "0", "2"]
        assert table_rows(answer)[1][1] == "98.4 %"
        assert rows(answer)["busiest hour"] == "Mon 8:00, 119 minutes"

    def test_only_plays_that_do_not_count(self, log: IndexedLog) -> None:
        log.to(QUO, "2025-12-31 23:59:59")
        assert "No plays" in "".join(texts(self.clock(log, year=2026)))
        log.to(QUO, "2026-01-01 00:00", 29)
        answer = self.clock(log, year=2026)
        assert (rows(answer)["plays"], "busiest hour" in rows(answer)) == ("0 of at least 30 s", False)


class TestCalendarHeatmap:
    def calendar(self, log: IndexedLog, year: int = 2026, **more: object) -> Answer:
        return log.answer(charts.calendar, year=year, **more)

    def test_figures(self, log: IndexedLog) -> None:
        for day in ("2026-02-27", "2026-02-28", "2026-03-01", "2026-11-21", "2026-11-22"):
            log.to(QUO, f"{day} 12:00")
        log.to(QUO, "2026-05-05 12:00", 3 * 3600)
        log.skipped(QUO, "2026-03-02 12:00")
        answer = self.calendar(log)
        assert rows(answer) == {
            "period": "2026",
            "plays": "6 of at least 30 s",
            "heard": "3 h 16 min",
            "days": "6 of 326 with plays",
            "longest streak": "3 days from 2026-02-27",
            "current streak": "2 days from 2026-11-21",
            "busiest day": "2026-05-05, 3 h, 1 play",
        }
        assert answer.csv_rows == data_of(answer)["calendar"]

    def test_heatmap(self, log: IndexedLog) -> None:
        log.to(QUO, "2026-02-27 12:00", 130)
        log.to(QUO, "2026-02-27 13:00", 130)
        heatmap = self.calendar(log, by="time").page[0]
        assert isinstance(heatmap, Chart)
        assert (heatmap.rows[0], heatmap.unit) == (("2026-01-01", 0), "minutes")
        assert [row for row in heatmap.rows if any(row[1:])] == [("2026-02-27", 4)]
        assert "No plays" in "".join(texts(self.calendar(log, 2025)))


@pytest.mark.parametrize(
    "words", [["calendar", "--year", "2024"], ["year", "2024"], ["clock", "--year", "2024"]]
)
def test_the_year_of_a_command(words: list[str]) -> None:
    period = parse_args(command_parser(), [*words, "--tz", "UTC"]).question.period
    assert (period.begin, period.end) == (1_704_067_200, 1_735_689_600)
    question = parse_args(command_parser(), words[:1]).question
    expected = "all time" if words[0] == "clock" else f"{question.today.year}"
    assert question.period.words == expected
