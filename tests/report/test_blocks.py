from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from datetime import date
from typing import TYPE_CHECKING

import pytest

from spotify_logger.report.blocks import (
    Answer,
    BarChart,
    Block,
    CalendarHeatmap,
    Columns,
    Heading,
    Heatmap,
    Sparkline,
    Table,
)
from spotify_logger.report.output import write_answer
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
    from collections.abc import Iterator

NASTY = "a\x1b[31m\u202eb\tc\nd\x9b [bold]e[/bold] :smile:"
HARMLESS = "a\ufffd[31m\ufffdb c d\ufffd [bold]e[/bold] :smile:"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


ZONES = {
    "CET-1CEST,M3.5.0,M10.5.0/3": ("2026-01-01 00:30", "2026-07-01 01:30"),
    "NST3:30NDT,M3.2.0,M11.1.0": ("2025-12-31 20:00", "2026-06-30 21:00"),
}
"""Of Berlin and of St. John's, as POSIX writes them: every machine knows these. Winter and summer there."""


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def in_pipe(page: list[Block]) -> str:
    out = io.StringIO()
    write_answer(Answer({}, page), out)
    return out.getvalue()


LEFT, RIGHT = Table([["a", "b"]], headings=["x", "y"]), Table([["c", "d"], ["e", "f"]])


class TestInAPipe:
    @pytest.mark.parametrize(
        ("block", "lines"),
        [
            ("The end.", "The end."),
            (Heading("Artists"), "Artists"),
            (Table([["a", "b c"], ["d", ""]], headings=["x", "y"]), "a\tb c\nd\t"),
            (Columns(LEFT, RIGHT), "a\tb\nc\td\ne\tf"),
            (Heatmap(["Mon", "Tue"], ["0", "1"], [[0, 12345], [2, 3]], "plays"), "Mon\t0\t12345\nTue\t2\t3"),
            (
                CalendarHeatmap(2026, {date(2026, 11, 22): 1234, date(2026, 1, 9): 0}, "plays"),
                "2026-01-09\t0\n2026-11-22\t1234",
            ),
            (BarChart([("Air", 1, "1 play"), ("No\tbody", 0, "none")]), "Air\t1 play\nNo body\tnone"),
            (Sparkline(["Jan", "Feb"], [3, 1000], "plays"), "Jan\t3\nFeb\t1000"),
        ],
    )
    def test_a_block_is_lines_of_cells_parted_by_tabs(self, block: Block, lines: str) -> None:
        assert in_pipe([block, "And more."]) == f"{lines}\nAnd more.\n"

    @pytest.mark.parametrize(
        "block",
        [
            NASTY,
            Heading(NASTY),
            Table([[NASTY]]),
            Heatmap([NASTY], [], [[]], "plays"),
            Sparkline([NASTY], [1], "plays"),
            BarChart([(NASTY, 1, NASTY)]),
        ],
    )
    def test_nothing_in_a_title_gets_through(self, block: Block) -> None:
        shown = in_pipe([block])
        assert HARMLESS in shown
        assert shown.replace("\t", "").removesuffix("\n").isprintable()

    def test_rich_is_not_even_imported(self) -> None:
        code = (
            "import sys\nfrom spotify_logger.report.blocks import Answer\n"
            "from spotify_logger.report.output import write_answer\n"
            "write_answer(Answer(1, ['x']), sys.stdout)\nprint('rich' in sys.modules)"
        )
        command = [sys.executable, "-c", code]
        ended = subprocess.run(command, capture_output=True, check=True)
        assert ended.stdout == b"x\nFalse\n"


class TestForPrograms:
    def test_json_is_all_ascii(self) -> None:
        out = Terminal()
        write_answer(Answer({"name": NASTY, "n": 1, "none": None}, ["not this"]), out, "json")
        assert out.getvalue().isascii()
        assert "\x1b" not in out.getvalue()
        assert json.loads(out.getvalue()) == {"name": NASTY, "n": 1, "none": None}

    def test_csv_is_the_sheet(self) -> None:
        out = Terminal()
        write_answer(Answer({}, ["not this"], csv_rows=[{"track": "=1\x1b", "plays": -3}]), out, "csv")
        assert out.getvalue() == "track,plays\r\n'=1\ufffd,-3\r\n"


def test_local_time(zone: str) -> None:
    assert (local_time(1767223800.9), local_time(1782862200)) == ZONES[zone]


def test_utc_time() -> None:
    assert utc_time(1767223800.9) == "2025-12-31T23:30:00.900Z"
    assert utc_time(None) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (119.9, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (172_799, "47 h"),
        (172_800, "2 days"),
        (10**8, "1157 days"),
    ],
)
def test_spans(seconds: float, words: str) -> None:
    assert rough_duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (40.9, "40 s"),
        (3599, "59 min"),
        (3600, "1 h"),
        (6600, "1 h 50 min"),
        (7259, "2 h"),
        (172_799, "47 h 59 min"),
        (172_800, "2 days"),
        (10**6, "11 days 13 h"),
    ],
)
def test_lengths(seconds: float, words: str) -> None:
    assert exact_duration(seconds) == words


def test_periods(zone: str) -> None:
    begin, hour = 1767265200, 3600
    first = local_time(begin)
    assert local_period(begin, begin + hour) == f"{first} to {local_time(begin + hour)[-5:]}"
    assert local_period(begin, begin + 24 * hour) == f"{first} to {local_time(begin + 24 * hour)}"


def test_counted() -> None:
    assert [counted(number, "play") for number in (0, 1, 12345)] == ["0 plays", "1 play", "12,345 plays"]


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [
        (0, "0 s"),
        (40_999, "40 s"),
        (3_599_999, "59 min"),
        (3_600_000, "1 h"),
        (3_659_999, "1 h"),
        (12_000_000, "3 h 20 min"),
        (4_442_700_000, "1,234 h 5 min"),
    ],
)
def test_how_long_something_was_heard(milliseconds: int, words: str) -> None:
    assert listening_time(milliseconds) == words


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(0, 7, "0.0 %"), (123, 1000, "12.3 %"), (2, 3, "66.7 %"), (7, 7, "100.0 %"), (0, 0, "–")],
)
def test_percentages(part: int, whole: int, words: str) -> None:
    assert percentage(part, whole) == words


@pytest.mark.parametrize(
    ("number", "before", "words"),
    [
        (13, 1, "+12"),
        (1, 4, "-3"),
        (0, 4, "-4"),
        (5, 0, "new"),
        (5, 5, "="),
        (0, 0, "="),
        (2001, 1, "+2,000"),
    ],
)
def test_changes(number: int, before: int, words: str) -> None:
    assert change(number, before) == words
