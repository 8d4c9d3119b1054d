"""The blocks that answers are made of, and how they are written: for a terminal, a pipe, as JSON or CSV.

Foreign text never sends a control character to a terminal. Times are local on screen and UTC in JSON and CSV.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, TextIO, TypeAlias

from spotify_logger.core.periods import WEEKDAYS
from spotify_logger.report.words import Formatted, for_programs
from spotify_logger.system.log import JOINERS, sanitize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from spotify_logger.report.words import Cell

CsvValue: TypeAlias = str | int | float | bool | None
CsvRow: TypeAlias = Mapping[str, CsvValue]
"""The values by column name."""

# Excel treats full-width signs (from Japanese keyboards) like the ASCII ones, and skips leading blanks.
_FORMULA = re.compile(r"['\s]*[=+\-@＝＋－＠]")  # noqa: RUF001 - these are meant
_STAMP = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}:[0-9]{2})\.[0-9]{3}Z")


class Heading(NamedTuple):
    """A heading above the next block."""

    text: str


class Table(NamedTuple):
    """A table, with or without headings, which only a terminal shows."""

    rows: Sequence[Sequence[Cell]]
    headings: Sequence[str] = ()
    right_aligned: Sequence[int] = ()  # columns
    flexible: int = 1  # the column that takes the width the others leave
    single_line: bool = False  # truncate cells that are too long, as if there were headings, not wrap them
    bars: Sequence[float] = ()  # the length of a bar behind each row, not negative, on a terminal


class Columns(NamedTuple):
    """Two tables, side by side if the terminal is wide enough, otherwise one below the other."""

    left: Table
    right: Table


class Heatmap(NamedTuple):
    """A shaded cell for each hour of the week, from Monday."""

    values: Sequence[Sequence[int]]  # not negative, by weekday
    unit: str  # what is counted, such as "plays"


class YearHeatmap(NamedTuple):
    """A shaded cell for each day of a year; days without a value stay blank."""

    year: int
    values: Mapping[date, int]
    unit: str


class Sparkline(NamedTuple):
    """A row of non-negative values shown as heights; on a narrow terminal labels are one letter."""

    labels: Sequence[str]
    values: Sequence[int]
    unit: str


class Note(NamedTuple):
    """What is no part of the table that a pipe gets: it goes to standard error there."""

    block: Block


Block: TypeAlias = str | Formatted | Heading | Table | Columns | Heatmap | YearHeatmap | Sparkline | Note
"""A part of an answer; text is a paragraph."""


class Answer(NamedTuple):
    """The result of a command, in every output format."""

    data: object  # for JSON
    page: Sequence[Block]  # for people
    code: int = 0  # the exit code
    csv_rows: Sequence[CsvRow] = ()  # all with the same columns


def write_answer(answer: Answer, out: TextIO, form: Literal["page", "json", "csv"] = "page") -> None:
    """Write an answer in the given format; as text, laid out for a terminal or tab-separated for a pipe.

    In a pipe, notes go to standard error.
    """
    if form == "json":
        # ASCII output escapes everything that could change the state of a terminal or the text direction.
        print(json.dumps(answer.data, indent=2), file=out)
    elif form == "csv":
        write_csv(answer.csv_rows, out)
    elif out.isatty():
        from spotify_logger.report.terminal import render  # noqa: PLC0415 - rich is slow to import

        render(answer.page, out)
    else:
        for block in answer.page:
            target = sys.stderr if isinstance(block, Note) else out
            for line in _lines(block):
                print(*(sanitize(for_programs(cell)) for cell in line), sep="\t", file=target)


def _lines(block: Block) -> Iterator[Sequence[Cell]]:
    """Yield the lines of a block for a pipe, as cells, without the headings of a table."""
    match block:
        case str() | Formatted():
            yield [block]
        case Heading(text):
            yield [text]
        case Note(noted):
            yield from _lines(noted)
        case Table(rows):
            yield from rows
        case Columns(left, right):
            yield from (*left.rows, *right.rows)
        case Heatmap(values):
            for label, row in zip(WEEKDAYS, values, strict=True):
                yield [label, *row]
        case YearHeatmap(_, values):
            yield from ((day.isoformat(), value) for day, value in sorted(values.items()))
        case Sparkline(labels, values):
            yield from zip(labels, values, strict=True)


def to_cell(value: CsvValue) -> str | int | float:
    """Return a value as a cell that no spreadsheet evaluates as a formula and that is safe on a terminal.

    Control characters become "�", or a space if they are white space. A text that starts with a sign like
    "=" gets an apostrophe in front; so does one with only blanks and apostrophes before the sign. So this can
    be reversed: remove one from a cell that starts with one and has such a sign after all of them.
    A time becomes "2026-11-22 18:00:00", which LibreOffice and Excel take for a date, in any language.
    """
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    if not isinstance(value, str):
        return value
    if stamp := _STAMP.fullmatch(value):
        return " ".join(stamp.groups())
    if not value.isprintable():
        shown = (c if c.isprintable() or c in JOINERS else " " if c.isspace() else "�" for c in value)
        value = "".join(shown)
    return f"'{value}" if _FORMULA.match(value) else value


def write_csv(rows: Iterable[CsvRow], out: TextIO) -> None:
    """Stream rows as CSV (RFC 4180) in UTF-8, with a header line; without any row, nothing is written.

    A row with a column that the first row does not have raises ValueError.
    """
    if isinstance(out, io.TextIOWrapper):
        out.reconfigure(encoding="utf-8")
    writer = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(out, list(row))
            writer.writeheader()
        writer.writerow({name: to_cell(value) for name, value in row.items()})
