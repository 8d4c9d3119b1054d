from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from spotify_logger.core.periods import WEEKDAYS
from spotify_logger.report import terminal
from spotify_logger.report.answers import Answer, Block, Chart, Columns, Table, write_answer
from spotify_logger.report.terminal import SHADES, ShadeScale
from spotify_logger.report.words import MONTHS
from tests.report.samples import HARMLESS, NASTY, TerminalStream

if TYPE_CHECKING:
    from collections.abc import Callable

    Drawn = Callable[..., list[str]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """Draws blocks on a terminal of so many columns; returns its lines without trailing blanks."""

    def draw(*page: Block, columns: int = 80, term: str = "dumb") -> list[str]:
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", term)
        out = TerminalStream()
        write_answer(Answer({}, page), out)
        lines = out.getvalue().splitlines()
        texts = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
        assert all(text.isprintable() and cell_len(text) <= columns for text in texts)
        return [line.rstrip() for line in lines]

    return draw


class TestPage:
    def test_blank_lines_separate_blocks_but_not_a_chart_from_the_text_above(self, drawn: Drawn) -> None:
        page = ("One.", Table([["a", "b"]]), "One two", Chart("heights", [("a", 1)], "x"))
        assert drawn(*page, columns=6) == ["One.", "", "a  b", "", "One", "two", "█", "a", "at mos"]

    @pytest.mark.parametrize(
        "block",
        [
            NASTY,
            Table([["x", NASTY]]),
            Columns(Table([["x", NASTY]]), Table([["x", NASTY]])),
            Chart("week", [("Mon", 1)], NASTY),
            Chart("year", [("2026-01-01", 1)], NASTY),
            Table([(NASTY, NASTY), ("b", "c")], bars=[1, 2]),
            Chart("heights", [(NASTY, 1), (NASTY, 0)], NASTY),
        ],
    )
    def test_control_characters_are_replaced_in_every_block(self, drawn: Drawn, block: Block) -> None:
        drawn(block, columns=10)
        assert HARMLESS[:15] in " ".join(" ".join(drawn(block, columns=200)).split())


class TestTable:
    def test_columns_are_aligned_under_headings(self, drawn: Drawn) -> None:
        table = Table(
            [["1", "x", "9"], ["22", "日本", "10"]], headings=["n", "name", "plays"], right_aligned=[2]
        )
        assert drawn(table) == ["n   name  plays", "1   x         9", "22  日本     10"]

    def test_the_flexible_column_gets_the_room_that_is_left(self, drawn: Drawn) -> None:
        table = Table([["2026-11-22 19:00", "x" * 60, "y" * 30]], headings=["when", "what", "where"])
        assert drawn(table, columns=60)[1] == f"2026-11-22 19:00  {'x' * 23}…  {'y' * 15}…"
        assert drawn(table, columns=20)[1] == "2026-1…  x…  yyyyyy…"


def ranking(*names: str) -> Table:
    rows = [(str(place), name, "99") for place, name in enumerate(names, 1)]
    return Table(rows, ("", "what", "plays"), [2])


class TestColumns:
    @pytest.mark.parametrize(
        ("left", "right", "line"),
        [
            (5, 5, f"1  xxxxx     99{' ' * 27}1  yyyyy     99"),
            (40, 5, f"1  {'x' * 40}     99    1  yyyyy     99"),
            (70, 5, f"1  {'x' * 50}…     99    1  yyyyy     99"),
            (70, 70, f"1  {'x' * 27}…     99    1  {'y' * 27}…     99"),
        ],
    )
    def test_a_long_table_takes_what_the_other_does_not_need(
        self, drawn: Drawn, left: int, right: int, line: str
    ) -> None:
        assert drawn(Columns(ranking("x" * left), ranking("y" * right)))[1] == line


def number(text: str) -> int:
    return int(text.replace(",", ""))


class TestShadeScale:
    @settings(max_examples=50)
    @given(st.lists(st.integers(0, 60) | st.integers(0, 10**6)))
    def test_larger_values_are_darker_and_the_legend_names_the_shade_of_each(self, values: list[int]) -> None:
        scale = ShadeScale(values)
        shades = [scale.shade(value) for value in sorted(values)]
        assert shades == sorted(shades)
        assert not any(values) or shades[-1] == len(SHADES)
        entries = re.findall(
            r"([░▒▓█]) ([0-9,]+)(?:–([0-9,]+))?", " ".join(map(str, scale.legend("", 10**6)))
        )
        for value in values:
            named = [shade for shade, low, high in entries if number(low) <= value <= number(high or low)]
            assert named == [scale.cell(value)[0]] * (value > 0)


WEEK = Chart(
    "week", [(day, *(row * hour for hour in range(24))) for row, day in enumerate(WEEKDAYS, 1)], "plays"
)


class TestHeatmap:
    def test_two_characters_a_cell(self, drawn: Drawn) -> None:
        lines = drawn(WEEK, columns=52)
        assert lines[:2] == [
            "    0   2   4   6   8   10  12  14  16  18  20  22",
            "Mon   " + "░" * 44 + "▒" * 2,
        ]
        assert lines[8:] == ["    plays  ░ 1–22  ▒ 23–51  ▓ 52–90  █ 91–161"]

    def test_one_character_a_cell_on_a_narrow_terminal(self, drawn: Drawn) -> None:
        lines = drawn(WEEK, columns=40)
        assert lines[:2] == ["    0  3  6  9  12 15 18 21", "Mon  " + "░" * 22 + "▒"]
        assert lines[8:] == ["    plays  ░ 1–22  ▒ 23–51  ▓ 52–90", "    █ 91–161"]


def calendar_lines(values: dict[date, int], columns: int) -> list[str]:
    chart = Chart("year", [(day.isoformat(), value) for day, value in values.items()], "plays")
    return [line.plain for line in terminal._year(chart, columns)]


class TestDrawnCalendar:
    def test_a_year_that_does_not_fit_is_drawn_in_two_rows(self, drawn: Drawn) -> None:
        chart = Chart("year", [("2026-06-30", 1), ("2026-07-01", 9)], "plays")
        assert drawn(chart, columns=40) == [
            "    Jan Feb Mar  Apr May  Jun",
            "Mon",
            "Tue" + " " * 27 + "▒",
            *("Wed", "Thu", "Fri", "Sat", "Sun"),
            "",
            "    Jul Aug  Sep Oct Nov  Dec",
            *("Mon", "Tue", "Wed █", "Thu", "Fri", "Sat", "Sun"),
            "    plays  · 0  ▒ 1  █ 9",
        ]

    @settings(max_examples=30)
    @given(st.integers(1, 9999), st.integers(10, 100), st.integers(0, 11))
    def test_days_are_beside_their_weekday_and_below_their_month(
        self, year: int, columns: int, month: int
    ) -> None:
        days = [date(year, 1, 1) + timedelta(number) for number in range(364)]
        lines = calendar_lines(dict.fromkeys(days, 1), columns)
        assert max(map(cell_len, lines)) <= max(columns, 60 if columns >= 60 else 0)
        for weekday, name in enumerate(WEEKDAYS):
            shown = sum(line.count("█") for line in lines if line.startswith(name))
            assert shown == sum(day.weekday() == weekday for day in days)
        first = date(year, month + 1, 1)
        lines = calendar_lines({first: 1}, columns)
        (names,) = (number for number, line in enumerate(lines) if MONTHS[month] in line)
        assert lines[names + 1 + first.weekday()].index("█") == lines[names].index(MONTHS[month])


class TestBarChart:
    def test_lengths_follow_the_values(self, drawn: Drawn) -> None:
        bars = Table(
            [("Daft Punk", "80 plays"), ("日本", "41 plays"), ("No", "0")], (), [1], bars=[80, 41, 0]
        )
        assert drawn(bars, columns=41) == [
            f"Daft Punk  80 plays  {'█' * 20}",
            f"日本       41 plays  {'█' * 10}▎",
            "No                0",
        ]


class TestSparkline:
    def test_labels_by_their_first_letter_on_a_narrow_terminal(self, drawn: Drawn) -> None:
        values = (8, 7, 6, 5, 4, 3, 2, 1, 0, 8, 8, 8)
        lines = drawn(Chart("heights", [*zip(MONTHS, values, strict=True)], "plays"), columns=40)
        assert lines[:2] == ["█ ▇ ▆ ▅ ▄ ▃ ▂ ▁   █ █ █", "J F M A M J J A S O N D"]
        assert drawn(Chart("heights", [("Jan", 0), ("Feb", 0)], "plays")) == ["", "Jan Feb", "no plays"]


@pytest.mark.parametrize(
    ("term", "no_color", "styles"),
    [
        ("dumb", "", set()),
        ("xterm-256color", "1", {"1", "0"}),
        ("xterm-256color", "", {"1", "0", "38;5;74", "38;5;32", "38;5;33", "38;5;33;49"}),
    ],
)
def test_uses_colors_if_the_terminal_has_them(
    drawn: Drawn, monkeypatch: pytest.MonkeyPatch, term: str, no_color: str, styles: set[str]
) -> None:
    monkeypatch.delenv("COLORTERM", raising=False)
    monkeypatch.setenv("NO_COLOR", no_color)
    lines = drawn(Table([("x",)], ("A heading",)), WEEK, Table([("x", "two")], bars=[2]), term=term)
    assert set(re.findall(r"\x1b\[([0-9;]*)m", "".join(lines))) == styles
