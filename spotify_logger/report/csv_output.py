"""Write rows as CSV that is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TextIO, TypeAlias

from spotify_logger.system.log import JOINERS

CsvValue: TypeAlias = str | int | float | bool | None
CsvRow: TypeAlias = Mapping[str, CsvValue]
"""The values by column name."""

# Excel treats full-width signs (from Japanese keyboards) like the ASCII ones, and skips leading blanks.
_FORMULA = re.compile(r"['\s]*[=+\-@＝＋－＠]")  # noqa: RUF001 - these are meant


def to_cell(value: CsvValue) -> str | int | float:
    """Return a value as a cell that no spreadsheet evaluates as a formula and that is safe on a terminal.

    Numbers stay numbers, even negative ones; booleans become "true" and "false", None becomes "".

    Control characters in a text become "�", or a space if they are white space (tabs, line ends). A text that
    starts with "=", "+", "-" or "@", or the full-width form of one of them, gets an apostrophe in front; so
    does a text with only blanks and apostrophes before such a sign. This can be reversed: if a cell starts
    with an apostrophe, and its first character other than blanks and apostrophes is such a sign, remove one.
    """
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    if not isinstance(value, str):
        return value
    text = value if value.isprintable() else "".join(map(_printable, value))
    return f"'{text}" if _FORMULA.match(text) else text


def write_csv(rows: Iterable[CsvRow], out: TextIO) -> None:
    """Stream rows as CSV (RFC 4180) in UTF-8, with a header line; without any row, nothing is written.

    A row with a column that the first row does not have raises ValueError.
    """
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(encoding="utf-8")
    remaining = iter(rows)
    first = next(remaining, None)
    if first is None:
        return
    writer = csv.DictWriter(out, list(first))
    writer.writeheader()
    for row in chain([first], remaining):
        writer.writerow({name: to_cell(value) for name, value in row.items()})


def _printable(character: str) -> str:
    if character.isprintable() or character in JOINERS:
        return character
    return " " if character.isspace() else "�"
