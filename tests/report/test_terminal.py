from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from spotify_logger.report import terminal
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
from spotify_logger.report.terminal import SHADES, ShadeScale
from spotify_logger.report.words import MONTHS, WEEKDAYS

if TYPE_CHECKING:
    from collections.abc import Callable

    Drawn = Callable[..., list[str]]

NASTY = "a\x1b[31m\u202eb\tc\nd\x9b [bold]e[/bold] :smile:"
HARMLESS = "a\ufffd[31m\ufffdb c d\ufffd [bold]e[/bold] :smile:"
HOURS = [str(hour) for hour in range(24)]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Draws blocks on a terminal that is so many columns broad; its lines, without blanks at their ends."""

    def draw(*page: Block, columns: int = 80) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "dumb")
        out = Terminal()
        write_answer(Answer({}, page), out)
        lines = out.getvalue().splitlines()
        assert all(line.isprintable() and cell_len(line) <= columns for line in lines)
        return [line.rstrip() for line in lines]

    return draw


class TestPage:
    def test_blank_lines_are_between_blocks_but_not_below_headings(self, drawn: Drawn) -> None:
        page = ("One.", Heading("Two"), Table([["a", "b"]]), Heading("Three"), Heading("Four"), "Five.")
        assert drawn(*page) == ["One.", "", "Two", "a  b", "", "Three", "Four", "Five."]

    def test_text_is_wrapped(self, drawn: Drawn) -> None:
        assert drawn("one two three", columns=9) == ["one two", "three"]

    @pytest.mark.parametrize(
        "block",
        [
            NASTY,
            Heading(NASTY),
            Table([["x", NASTY]]),
            Columns(Table([["x", NASTY]]), Table([["x", NASTY]])),
            Heatmap([NASTY, "b"], [NASTY], [[1], [2]], NASTY),
            CalendarHeatmap(2026, {date(2026, 1, 1): 1}, NASTY),
            BarChart([(NASTY, 1, NASTY), ("b", 2, "c")]),
            Sparkline([NASTY, NASTY], [1, 0], NASTY),
        ],
    )
    @pytest.mark.parametrize("columns", [10, 40, 80, 200])
    def test_nothing_in_a_title_gets_through(self, drawn: Drawn, block: Block, columns: int) -> None:
        text = " ".join(" ".join(drawn(block, columns=columns)).split())
        assert columns < 200 or HARMLESS[:15] in text


class TestTable:
    def test_columns_are_aligned_under_headings(self, drawn: Drawn) -> None:
        table = Table(
            [["1", "x", "9"], ["22", "日本", "10"]], headings=["n", "name", "plays"], right_aligned=[2]
        )
        assert drawn(table) == ["n   name  plays", "1   x         9", "22  日本     10"]

    def test_the_wide_column_gets_the_room_that_is_left(self, drawn: Drawn) -> None:
        table = Table([["2026-11-22 19:00", "x" * 60, "y" * 30]], headings=["when", "what", "where"])
        line = drawn(table, columns=60)[1]
        assert line == "2026-11-22 19:00  " + "x" * 23 + "…  " + "y" * 15 + "…"

    def test_names_and_values_are_wrapped_and_not_cut(self, drawn: Drawn) -> None:
        lines = drawn(Table([["health", "one two three four"]]), columns=20)
        assert lines == ["health  one two", "        three four"]

    def test_in_one_line_they_are_cut_and_not_wrapped(self, drawn: Drawn) -> None:
        table = Table([["health", "one two three four"]], single_line=True)
        assert drawn(table, columns=20) == ["health  one two thr…"]

    def test_without_rows(self, drawn: Drawn) -> None:
        assert drawn(Table([], headings=["what", "plays"]), Table([])) == ["what  plays", "", ""]

    @pytest.mark.parametrize("columns", [10, 20, 26])
    def test_the_narrowest_terminal_leaves_something_of_the_wide_column(
        self, drawn: Drawn, columns: int
    ) -> None:
        table = Table([["2026-11-22 19:00", "x" * 30, "Kitchen"]], headings=["when", "what", "where"])
        assert "x…" in drawn(table, columns=columns)[1]


def ranking(*names: str) -> Table:
    return Table(
        [(str(place), name, "99") for place, name in enumerate(names, 1)], ("", "what", "plays"), [2]
    )


class TestColumns:
    def test_short_ones_begin_at_the_edge_and_in_the_middle(self, drawn: Drawn) -> None:
        columns = Columns(ranking("日本", "Air"), ranking("Discovery"))
        assert drawn(columns, columns=60) == [
            "   what  plays                     what       plays",
            "1  日本     99                  1  Discovery     99",
            "2  Air      99",
        ]

    @pytest.mark.parametrize(
        ("left", "right", "shown"),
        [
            (40, 5, "1  " + "x" * 40 + "     99    1  yyyyy     99"),
            (5, 40, "1  xxxxx     99" + " " * 15 + "1  " + "y" * 40 + "     99"),
            (70, 5, "1  " + "x" * 50 + "…     99    1  yyyyy     99"),
            (70, 70, "1  " + "x" * 27 + "…     99    1  " + "y" * 27 + "…     99"),
        ],
    )
    def test_a_long_one_takes_what_the_other_does_not_need(
        self, drawn: Drawn, left: int, right: int, shown: str
    ) -> None:
        columns = Columns(ranking("x" * left), ranking("y" * right))
        assert drawn(columns, columns=80)[1] == shown

    def test_below_each_other_where_room_is_scarce(self, drawn: Drawn) -> None:
        columns = Columns(ranking("x" * 30), ranking("y" * 30))
        assert drawn(columns, columns=60) == [
            f"   what{' ' * 26}  plays",
            f"1  {'x' * 30}     99",
            "",
            f"   what{' ' * 26}  plays",
            f"1  {'y' * 30}     99",
        ]


numbers = st.lists(st.integers(0, 60) | st.integers(0, 10**6))


class TestScale:
    @pytest.mark.parametrize(
        ("values", "steps"),
        [
            ([], []),
            ([0, 0], []),
            ([7, 7, 7], [(4, 7, 7)]),
            ([1, 0, 9], [(2, 1, 1), (4, 9, 9)]),
            ([3, 2, 1], [(2, 1, 1), (3, 2, 2), (4, 3, 3)]),
            (range(100), [(1, 1, 24), (2, 25, 49), (3, 50, 74), (4, 75, 99)]),
            ([*range(8), 10**6], [(1, 1, 2), (2, 3, 4), (3, 5, 6), (4, 7, 10**6)]),
        ],
    )
    def test_steps(self, values: list[int], steps: list[tuple[int, int, int]]) -> None:
        assert ShadeScale(values).steps() == steps

    @given(numbers)
    def test_more_is_never_lighter_and_only_nothing_is_empty(self, values: list[int]) -> None:
        scale = ShadeScale(values)
        shades = [scale.shade(value) for value in sorted(values)]
        assert shades == sorted(shades)
        assert all((scale.shade(value) == 0) == (value == 0) for value in values)
        assert not any(values) or shades[-1] == len(SHADES)

    @given(numbers)
    def test_the_legend_says_which_shade_a_number_has(self, values: list[int]) -> None:
        scale = ShadeScale(values)
        steps = scale.steps()
        for value in filter(None, values):
            assert [shade for shade, low, high in steps if low <= value <= high] == [scale.shade(value)]


WEEK = Heatmap(WEEKDAYS, HOURS, [[(day + 1) * hour for hour in range(24)] for day in range(7)], "plays")


class TestHeatmap:
    @pytest.mark.parametrize("columns", [80, 60, 52])
    def test_two_characters_a_cell(self, drawn: Drawn, columns: int) -> None:
        lines = drawn(WEEK, columns=columns)
        assert lines[:2] == [
            "    0   2   4   6   8   10  12  14  16  18  20  22",
            "Mon   " + "░" * 44 + "▒" * 2,
        ]
        assert lines[7:] == [
            "Sun   ░░░░░░▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓" + "█" * 22,
            "    plays  ░ 1–22  ▒ 23–51  ▓ 52–90  █ 91–161",
        ]

    def test_one_character_a_cell(self, drawn: Drawn) -> None:
        lines = drawn(WEEK, columns=40)
        assert lines[:2] == ["    0  3  6  9  12 15 18 21", "Mon  " + "░" * 22 + "▒"]
        assert lines[8:] == ["    plays  ░ 1–22  ▒ 23–51  ▓ 52–90", "    █ 91–161"]

    def test_what_does_not_fit_is_cut_and_not_wrapped(self, drawn: Drawn) -> None:
        lines = drawn(WEEK, columns=14)
        assert lines[1:3] == ["Mon  ░░░░░░░░░", "Tue  ░░░░░░░░░"]
        assert len(lines) == 13

    def test_wide_characters(self, drawn: Drawn) -> None:
        heatmap = Heatmap(["月曜", "b"], ["朝", "昼", "夜"], [[0, 1, 1], [1, 1, 0]], "plays")
        assert drawn(heatmap) == ["     朝  夜", "月曜   ████", "b    ████", "     plays  █ 1"]

    def test_nothing_at_all(self, drawn: Drawn) -> None:
        assert drawn(Heatmap(["Mon"], HOURS, [[0] * 24], "plays"))[1:] == ["Mon", "    plays"]


def a_year(year: int) -> dict[date, int]:
    days = (date(year, 12, 31) - date(year, 1, 1)).days + 1
    return {date(year, 1, 1) + timedelta(days=number): 1 for number in range(days)}


class TestCalendar:
    def test_a_year(self, drawn: Drawn) -> None:
        values = {day: value for value, day in enumerate(a_year(2026)) if value < 325}
        lines = drawn(CalendarHeatmap(2026, values, "plays"))
        assert lines == [
            "    Jan Feb Mar  Apr May  Jun Jul Aug  Sep Oct Nov  Dec",
            "Mon  ░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓███████████",
            "Tue  ░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓███████████",
            "Wed  ░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓████████████",
            "Thu ·░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓████████████",
            "Fri ░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓████████████",
            "Sat ░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓████████████",
            "Sun ░░░░░░░░░░░░▒▒▒▒▒▒▒▒▒▒▒▓▓▓▓▓▓▓▓▓▓▓▓███████████",
            "    plays  · 0  ░ 1–81  ▒ 82–162  ▓ 163–243  █ 244–324",
        ]

    def test_it_is_cut_in_two_where_it_does_not_fit(self, drawn: Drawn) -> None:
        values = {date(2026, 6, 30): 1, date(2026, 7, 1): 9}
        assert drawn(CalendarHeatmap(2026, values, "plays"), columns=40) == [
            "    Jan Feb Mar  Apr May  Jun",
            "Mon",
            "Tue" + " " * 27 + "▒",
            *("Wed", "Thu", "Fri", "Sat", "Sun"),
            "",
            "    Jul Aug  Sep Oct Nov  Dec",
            *("Mon", "Tue", "Wed █", "Thu", "Fri", "Sat", "Sun"),
            "    plays  · 0  ▒ 1  █ 9",
        ]

    @given(st.integers(1, 9999), st.integers(10, 100))
    def test_every_day_is_in_the_line_of_its_weekday(self, year: int, columns: int) -> None:
        lines = [
            line.plain for line in terminal._calendar(CalendarHeatmap(year, a_year(year), "plays"), columns)
        ]
        assert max(map(cell_len, lines)) <= max(columns, 60 if columns >= 60 else 0)
        for weekday, name in enumerate(WEEKDAYS):
            shown = sum(line.count("█") for line in lines if line.startswith(name))
            assert shown == sum(day.weekday() == weekday for day in a_year(year))

    @given(st.integers(1, 9999), st.integers(10, 100), st.integers(0, 11))
    def test_a_month_is_named_above_its_first_day(self, year: int, columns: int, month: int) -> None:
        first = date(year, month + 1, 1)
        lines = [
            line.plain for line in terminal._calendar(CalendarHeatmap(year, {first: 1}, "plays"), columns)
        ]
        (names,) = (number for number, line in enumerate(lines) if MONTHS[month] in line)
        assert lines[names + 1 + first.weekday()].index("█") == lines[names].index(MONTHS[month])


class TestBars:
    def test_bars(self, drawn: Drawn) -> None:
        bars = BarChart(
            [("Daft Punk", 80, "80 plays"), ("日本", 41, "41 plays"), ("Air", 1, "1 play"), ("No", 0, "0")]
        )
        assert drawn(bars, columns=41) == [
            "Daft Punk  80 plays  " + "█" * 20,
            "日本       41 plays  " + "█" * 10 + "▎",
            "Air          1 play  ▎",
            "No                0",
        ]

    def test_a_little_is_not_nothing_and_a_long_name_is_cut(self, drawn: Drawn) -> None:
        lines = drawn(BarChart([("x" * 60, 10**6, "many"), ("y", 0.5, "few")]), columns=40)
        assert lines == ["x" * 15 + "…  many  " + "█" * 16, "y" + " " * 18 + "few  ▏"]

    def test_they_stay_within_a_page(self, drawn: Drawn) -> None:
        assert [len(line) for line in drawn(BarChart([("x", 1, "y")]), columns=200)] == [80]

    def test_no_bars(self, drawn: Drawn) -> None:
        assert drawn(BarChart([]), "The end.")[-1] == "The end."


class TestSparkline:
    def test_named_in_full(self, drawn: Drawn) -> None:
        sparkline = Sparkline(MONTHS, [800, 700, 600, 500, 400, 300, 200, 100, 1, 0, 650, 1234], "plays")
        assert drawn(sparkline, columns=48) == [
            "▅▅▅ ▅▅▅ ▄▄▄ ▃▃▃ ▃▃▃ ▂▂▂ ▁▁▁ ▁▁▁ ▁▁▁     ▄▄▄ ███",
            "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
            "at most 1,234 plays",
        ]

    def test_named_by_a_letter(self, drawn: Drawn) -> None:
        sparkline = Sparkline(MONTHS, [8, 7, 6, 5, 4, 3, 2, 1, 0, 8, 8, 8], "plays")
        assert drawn(sparkline, columns=40) == [
            "█ ▇ ▆ ▅ ▄ ▃ ▂ ▁   █ █ █",
            "J F M A M J J A S O N D",
            "at most 8 plays",
        ]

    def test_nothing_at_all(self, drawn: Drawn) -> None:
        assert drawn(Sparkline(["Jan", "Feb"], [0, 0], "plays")) == ["", "Jan Feb", "no plays"]


ALL_BLOCKS = """
import sys
from datetime import date
from spotify_logger.report.blocks import *
from spotify_logger.report.output import write_answer
from spotify_logger.report.words import MONTHS, WEEKDAYS
table = Table([("1", "Daft Punk", "99")], ("", "artist", "plays"), right_aligned=[2])
heatmap = Heatmap(WEEKDAYS, [str(hour) for hour in range(24)], [[*range(24)]] * 7, "plays")
calendar = CalendarHeatmap(2026, {date(2026, 1, day): day for day in range(1, 32)}, "plays")
bars, sparkline = BarChart([("x", 2, "two"), ("y" * 50, 1, "one")]), Sparkline(MONTHS, [*range(12)], "plays")
page = [Heading("A heading"), heatmap, calendar, bars, Columns(table, table), sparkline]
write_answer(Answer({}, page), sys.stdout)
"""


def on_a_pty(columns: int, **environment: str) -> str:
    """What all kinds of blocks look like on a terminal of the kernel's."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(terminal.__file__).parents[2]),
        **environment,
    }
    printed = b""
    with subprocess.Popen(
        [sys.executable, "-c", ALL_BLOCKS], env=environ, stdin=follower, stdout=follower
    ) as process:
        os.close(follower)
        with os.fdopen(leader, "rb", buffering=0) as screen:
            try:
                while chunk := screen.read(65536):
                    printed += chunk
            except OSError:  # how a Linux terminal says that nobody is on the other side any more
                pass
    assert process.returncode == 0
    return printed.decode()


@pytest.mark.parametrize("columns", [80, 60, 40])
@pytest.mark.parametrize(
    ("environment", "styles"),
    [
        ({"TERM": "dumb"}, set()),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, {"1", "0"}),
        ({"TERM": "xterm"}, {"1", "0", "36"}),
        ({"TERM": "xterm-256color"}, {"1", "0", "38;5;74", "38;5;32", "38;5;33"}),
    ],
)
def test_on_a_real_terminal(columns: int, environment: dict[str, str], styles: set[str]) -> None:
    shown = on_a_pty(columns, **environment)
    assert set(re.findall(r"\x1b\[([0-9;]*)m", shown)) == styles
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert lines[0] == "A heading"
    assert max(map(cell_len, lines)) <= columns
    assert set(SHADES) <= set("".join(lines))
    assert all(line.isprintable() for line in lines)
