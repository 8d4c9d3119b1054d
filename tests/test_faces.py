from __future__ import annotations

import io
import json
import time
from typing import TYPE_CHECKING

import pytest

from spotify_logger.faces import (
    Answer,
    Table,
    counted,
    length,
    local_period,
    local_time,
    show,
    span,
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


def on_terminal(page: list[str | Table], monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    out = Terminal()
    show(Answer({}, page), out, as_json=False)
    text = out.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert "\x1b" not in text
    return [line.rstrip() for line in text.splitlines()]


def in_pipe(page: list[str | Table]) -> str:
    out = io.StringIO()
    show(Answer({}, page), out, as_json=False)
    return out.getvalue()


class TestInAPipe:
    def test_rows_are_lines_and_cells_are_parted_by_tabs(self) -> None:
        page: list[str | Table] = [Table([["a", "b c"], ["d", ""]], headings=["x", "y"]), "The end."]
        assert in_pipe(page) == "a\tb c\nd\t\nThe end.\n"

    def test_nothing_in_a_title_gets_through(self) -> None:
        assert in_pipe([Table([[NASTY, "b"]]), NASTY]) == f"{HARMLESS}\tb\n{HARMLESS}\n"


class TestOnATerminal:
    def test_columns_are_aligned_under_headings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table = Table([["1", "x", "9"], ["22", "日本", "10"]], headings=["n", "name", "plays"], numbers=[2])
        assert on_terminal([table, "The end."], monkeypatch) == [
            "n   name  plays",
            "1   x         9",
            "22  日本     10",
            "",
            "The end.",
        ]

    def test_the_wide_column_gets_the_room_that_is_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        table = Table([["2026-11-22 19:00", "x" * 60, "y" * 30]], headings=["when", "what", "where"])
        line = on_terminal([table], monkeypatch, columns=60)[1]
        assert line == "2026-11-22 19:00  " + "x" * 23 + "…  " + "y" * 15 + "…"

    def test_names_and_values_are_wrapped_and_not_cut(self, monkeypatch: pytest.MonkeyPatch) -> None:
        lines = on_terminal([Table([["health", "one two three four"]])], monkeypatch, columns=20)
        assert lines == ["health  one two", "        three four"]

    def test_the_narrowest_terminal_breaks_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert on_terminal([Table([["when", "what" * 9, "how"]], headings=["a", "b", "c"])], monkeypatch, 10)

    def test_nothing_in_a_title_gets_through(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert on_terminal([Table([["x", NASTY]]), NASTY], monkeypatch) == [f"x  {HARMLESS}", "", HARMLESS]


class TestAsJson:
    def test_it_is_all_ascii(self) -> None:
        out = Terminal()
        show(Answer({"name": NASTY, "n": 1, "none": None}, ["not this"]), out, as_json=True)
        assert out.getvalue().isascii()
        assert "\x1b" not in out.getvalue()
        assert json.loads(out.getvalue()) == {"name": NASTY, "n": 1, "none": None}


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
    assert span(seconds) == words


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
    assert length(seconds) == words


def test_periods(zone: str) -> None:
    begin, hour = 1767265200, 3600
    first = local_time(begin)
    assert local_period(begin, begin + hour) == f"{first} to {local_time(begin + hour)[-5:]}"
    assert local_period(begin, begin + 24 * hour) == f"{first} to {local_time(begin + 24 * hour)}"


def test_counted() -> None:
    assert [counted(number, "play") for number in (0, 1, 12345)] == ["0 plays", "1 play", "12,345 plays"]
