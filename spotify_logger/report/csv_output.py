"""Rows as CSV, for spreadsheets and programs alike."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TextIO, TypeAlias

CsvValue: TypeAlias = str | int | float | bool | None
CsvRow: TypeAlias = Mapping[str, CsvValue]
"""The cells by the names of their columns."""

# Excel takes signs of full width (from Japanese keyboards) for the others, and skips blanks before them.
_FORMULA = re.compile(r"['\s]*[=+\-@＝＋－＠]")  # noqa: RUF001 - these are meant


def to_cell(value: CsvValue) -> str | int | float:
    """A cell that no spreadsheet takes for a formula, and that harms no terminal.

    Control characters in a text become "�", or a blank where they are white space (tabs, ends of lines). Then
    a text that begins with "=", "+", "-" or "@", or one of these in full width, gets an apostrophe in front.
    So does one with only blanks and apostrophes before such a sign. Hence it can be undone: where a cell
    begins with an apostrophe, and such a sign comes first but for blanks and apostrophes, take one away.

    Args:
        value: Numbers stay numbers, negative ones too; flags become "true" and "false", None an empty text.
    """
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    if not isinstance(value, str):
        return value
    text = value if value.isprintable() else "".join(map(_printable, value))
    return f"'{text}" if _FORMULA.match(text) else text


def write_csv(rows: Iterable[CsvRow], out: TextIO) -> None:
    """Write rows as CSV (RFC 4180) in UTF-8: a line with the names, and one for each row, as they come.

    Args:
        rows: With the same names in each; where there is no row, nothing is written.
        out: Where to.

    Raises:
        ValueError: A row has a name that the first one has not.
    """
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(encoding="utf-8")
    remaining = iter(rows)
    first = next(remaining, None)
    if first is None:
        return
    writer = csv.DictWriter(out, list(first))
    writer.writeheader()
    writer.writerows(
        {name: to_cell(value) for name, value in row.items()} for row in chain([first], remaining)
    )


def _printable(character: str) -> str:
    return character if character.isprintable() else " " if character.isspace() else "�"
