from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from itertools import islice, repeat
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_logger.report import csv_output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.report.csv_output import CsvRow

SIGNS = "=+-@＝＋－＠"  # noqa: RUF001 - of full width
formulas = st.text(st.sampled_from(SIGNS + "' a1"), max_size=6)


def written(rows: list[CsvRow]) -> str:
    out = io.StringIO(newline="")
    csv_output.write_csv(rows, out)
    return out.getvalue()


def undone(cell: str) -> str:
    """What the docstring says of how to undo it."""
    return re.sub(rf"^'(?=[\s']*[{re.escape(SIGNS)}])", "", cell)


class TestCell:
    @pytest.mark.parametrize("value", [0, 7, -7, 1.5, -1.5])
    def test_numbers_stay_numbers(self, value: float) -> None:
        assert csv_output.to_cell(value) is value

    @pytest.mark.parametrize(("value", "shown"), [(None, ""), (True, "true"), (False, "false")])
    def test_what_csv_has_no_word_for(self, value: bool | None, shown: str) -> None:  # noqa: FBT001 - a cell
        assert csv_output.to_cell(value) == shown

    @pytest.mark.parametrize(
        "text", ["", "Veridis Quo", "Łódź", "坂本龍一", "a=b", "1-2", "'Round Midnight", " x ", "a  b"]
    )
    def test_harmless_text_is_as_it_was(self, text: str) -> None:
        assert csv_output.to_cell(text) == text

    @pytest.mark.parametrize("sign", SIGNS)
    @pytest.mark.parametrize("before", ["", "  ", "\u3000", "\t", "\r", "\n", "\r\n ", "'", "' '"])
    def test_formulas_are_defused(self, sign: str, before: str) -> None:
        shown = csv_output.to_cell(f"{before}{sign}HYPERLINK(A1)")
        assert isinstance(shown, str)
        assert shown[0] == "'"
        assert shown.endswith(f"{sign}HYPERLINK(A1)")

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("a\tb\r\nc", "a b  c"),
            ("a\x1b[31m\x9b\x00\u202eb", "a\ufffd[31m\ufffd\ufffd\ufffdb"),
            ("a\ud800", "a\ufffd"),
            ("\x1b=1", "\ufffd=1"),
        ],
    )
    def test_control_characters_are_gone(self, text: str, shown: str) -> None:
        assert csv_output.to_cell(text) == shown

    @given(formulas)
    def test_defusing_can_be_undone(self, text: str) -> None:
        assert undone(str(csv_output.to_cell(text))) == text

    @given(st.text())
    def test_no_text_is_a_formula_or_harms_a_terminal(self, text: str) -> None:
        shown = str(csv_output.to_cell(text))
        assert shown.isprintable()
        assert not shown.lstrip().startswith(tuple(SIGNS))


class TestWrite:
    def test_rows(self) -> None:
        rows: list[CsvRow] = [
            {"track": 'She said "=1"', "plays": 3, "share": 0.5},
            {"track": "a, b", "plays": -1, "share": None},
        ]
        assert written(rows) == 'track,plays,share\r\n"She said ""=1""",3,0.5\r\n"a, b",-1,\r\n'

    def test_no_rows(self) -> None:
        assert written([]) == ""

    def test_a_name_that_comes_too_late(self) -> None:
        with pytest.raises(ValueError, match="album"):
            written([{"track": "x"}, {"track": "y", "album": "z"}])

    def test_rows_are_written_as_they_come(self) -> None:
        out = io.StringIO()
        seen: list[int] = []

        def rows() -> Iterator[CsvRow]:
            for row in islice(repeat({"n": 1}), 3):
                seen.append(out.getvalue().count("\n"))
                yield row

        csv_output.write_csv(rows(), out)
        assert seen == [0, 2, 3]

    @given(st.lists(st.fixed_dictionaries({"a": st.text(), "b": st.text()}), min_size=1))
    def test_readers_find_the_same_cells(self, rows: list[dict[str, str]]) -> None:
        found = list(csv.DictReader(io.StringIO(written(list(rows)), newline=""), strict=True))
        assert found == [{name: csv_output.to_cell(text) for name, text in row.items()} for row in rows]

    def test_it_is_utf_8_in_every_locale(self) -> None:
        code = (
            "import sys\nfrom spotify_logger.report.csv_output import write_csv\n"
            "write_csv([{'a': 'Łódź'}], sys.stdout)"
        )
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        ended = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
        assert ended.stdout == "a\r\nŁódź\r\n".encode()
