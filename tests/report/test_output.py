from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from spotify_logger.report import words
from spotify_logger.report.answers import Answer, Chart, Columns, Note, Table, write_answer
from tests.report.samples import HARMLESS, NASTY, TerminalStream

if TYPE_CHECKING:
    from spotify_logger.report.answers import Block
    from spotify_logger.report.words import Cell

LEFT, RIGHT = Table([["a", "b"]], headings=["x", "y"]), Table([["c", "d"], ["e", "f"]])


def in_pipe(*page: Block) -> str:
    out = io.StringIO()
    write_answer(Answer({}, page), out)
    return out.getvalue()


class TestPipe:
    @pytest.mark.parametrize(
        ("block", "lines"),
        [
            ("The end.", "The end."),
            (Table([["a", "b c"], ["d", ""]], headings=["x", "y"]), "a\tb c\nd\t"),
            (Columns(LEFT, RIGHT), "a\tb\nc\td\ne\tf"),
            (Chart("week", [("Mon", 1, 12345), ("Tue", 2, 0)], "plays"), "Mon\t1\t12345\nTue\t2\t0"),
            (Table([("Air", "1 play"), ("No\tbody", "none")], bars=[1, 0]), "Air\t1 play\nNo body\tnone"),
            (Chart("heights", [("Jan", 3), ("Feb", 1000)], "plays"), "Jan\t3\nFeb\t1000"),
        ],
    )
    def test_cells_are_separated_by_tabs(self, block: Block, lines: str) -> None:
        assert in_pipe(block, "And more.") == f"{lines}\nAnd more.\n"

    @pytest.mark.parametrize("block", [NASTY, Table([[NASTY]])])
    def test_control_characters_are_replaced(self, block: Block) -> None:
        assert in_pipe(block) == f"{HARMLESS}\n"


def test_json_is_ascii_also_on_a_terminal() -> None:
    out = TerminalStream()
    write_answer(Answer({"name": NASTY, "n": 1, "none": None}, ["not this"]), out, "json")
    assert out.getvalue().isascii()
    assert "\x1b" not in out.getvalue()
    assert json.loads(out.getvalue()) == {"name": NASTY, "n": 1, "none": None}


def test_csv_is_safe_also_on_a_terminal() -> None:
    out = TerminalStream()
    write_answer(Answer({}, ["not this"], csv_rows=[{"track": "=1\x1b", "plays": -3}]), out, "csv")
    assert out.getvalue() == "track,plays\r\n'=1\ufffd,-3\r\n"


def test_a_pipe_gets_one_table_with_plain_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    people = "می‌خواهم 👩‍🚀"
    row: list[Cell] = [
        1234, people, words.heard(12_000_000), words.share(1, 8),
        words.change(1, 2000, is_time=False), words.change(1, 0, is_time=False),
        words.change(60_000, 120_000, is_time=True), words.phrase(1234, "plays"), None,
    ]  # fmt: skip
    written = in_pipe(Note(Table([[5, "x"]])), Table([row]), Note("At least: 1 gap"))
    assert written == f"1234\t{people}\t3:20:00\t12.5\t-1999\t1\t-0:01:00\t1234 plays\t\n"
    assert capsys.readouterr().err == "5\tx\nAt least: 1 gap\n"
    assert [words.formatted(cell).for_people for cell in row] == [
        "1,234", people, "3 h 20 min", "12.5 %", "-1,999", "new", "-1 min", "1,234 plays", "",
    ]  # fmt: skip


def test_joiners_survive_on_a_terminal_and_in_csv() -> None:
    people = "می‌خواهم 👩‍🚀"
    out = TerminalStream()
    write_answer(Answer({}, [Table([["1", people]])]), out)
    write_answer(Answer({}, [], csv_rows=[{"track": people}]), out, "csv")
    assert out.getvalue().count(people) == 2
