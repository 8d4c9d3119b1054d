from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.report.answers import to_cell, write_csv

if TYPE_CHECKING:
    from spotify_logger.report.answers import CsvRow

SIGNS = "=+-@＝＋－＠"  # noqa: RUF001 - of full width


def written(rows: list[CsvRow]) -> str:
    out = io.StringIO(newline="")
    write_csv(rows, out)
    return out.getvalue()


class TestCell:
    def test_numbers_stay_numbers(self) -> None:
        values = (-7, -1.5, None, True, False)
        assert [to_cell(value) for value in values] == [-7, -1.5, "", "true", "false"]

    @pytest.mark.parametrize(
        ("text", "cell"),
        [
            *((text, text) for text in ("", "坂本龍一", "a=b", "'Round Midnight", " x ")),
            *((f"{before}=A1", f"'{before}=A1") for before in ("", "  ", "' '")),
            ("\r\n@A1", "'  @A1"),
            ("2026-11-22T18:00:00.123Z", "2026-11-22 18:00:00"),
            ("On 2026-11-22T18:00:00.123Z", "On 2026-11-22T18:00:00.123Z"),
            ("a\x1b[31m\x9b\x00\u202e\ud800b", "a\ufffd[31m\ufffd\ufffd\ufffd\ufffdb"),
        ],
    )
    def test_formulas_and_control_characters_are_defused(self, text: str, cell: str) -> None:
        assert to_cell(text) == cell

    @settings(max_examples=50)
    @given(st.text(st.sampled_from(SIGNS + "' a1"), max_size=6))
    def test_defusing_can_be_undone(self, text: str) -> None:
        cell = str(to_cell(text))
        assert re.sub(rf"^'(?=[\s']*[{re.escape(SIGNS)}])", "", cell) == text

    @settings(max_examples=50)
    @given(st.text(), st.sampled_from(["", *SIGNS]))
    def test_no_text_is_a_formula_or_harms_a_terminal(self, text: str, sign: str) -> None:
        cell = str(to_cell(sign + text))
        assert cell.isprintable()
        assert not cell.lstrip().startswith(tuple(SIGNS))


class TestWriteCsv:
    def test_writes_a_header_and_quotes(self) -> None:
        rows: list[CsvRow] = [
            {"track": 'She said "=1"', "plays": 3, "share": 0.5},
            {"track": "a, b", "plays": -1, "share": None},
        ]
        assert written(rows) == 'track,plays,share\r\n"She said ""=1""",3,0.5\r\n"a, b",-1,\r\n'
        assert written([]) == ""

    def test_is_utf_8_in_every_locale(self) -> None:
        raw = io.BytesIO()
        out = io.TextIOWrapper(raw, encoding="ascii", newline="")
        write_csv([{"a": "Łódź"}], out)
        out.flush()
        assert raw.getvalue() == "a\r\nŁódź\r\n".encode()
