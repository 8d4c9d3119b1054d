"""The blocks that answers are made of: rendered on a terminal, tab-separated lines in a pipe.

Foreign text never sends a control character to a terminal. Times are local on screen and UTC in JSON and CSV.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from spotify_logger.report.cells import Cell
    from spotify_logger.report.csv_output import CsvRow


class Heading(NamedTuple):
    """A heading above the next block."""

    text: str


class Table(NamedTuple):
    """A table, with or without headings.

    Attributes:
        rows: The cells; every row has the same number of them. A terminal shows numbers as people write them.
        headings: Column headings, shown on a terminal only.
        right_aligned: Indexes of the right-aligned columns.
        flexible: Index of the column that takes the width the others leave.
        single_line: Truncate cells that are too long, as tables with headings do, instead of wrapping them.
    """

    rows: Sequence[Sequence[Cell]]
    headings: Sequence[str] = ()
    right_aligned: Sequence[int] = ()
    flexible: int = 1
    single_line: bool = False


class Columns(NamedTuple):
    """Two tables, side by side if the terminal is wide enough, otherwise one below the other."""

    left: Table
    right: Table


class Heatmap(NamedTuple):
    """A grid of shaded cells, such as weekdays by hours.

    Attributes:
        rows: The row labels.
        columns: The column labels; a terminal shows as many as fit.
        values: The non-negative values, row by row.
        unit: What is counted, such as "plays".
    """

    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[int]]
    unit: str


class CalendarHeatmap(NamedTuple):
    """A shaded cell for each day of a year; days without a value stay blank."""

    year: int
    values: Mapping[date, int]
    unit: str


class BarChart(NamedTuple):
    """Horizontal bars, each with its label, its non-negative length, and the formatted value."""

    rows: Sequence[tuple[str, float, Cell]]


class Sparkline(NamedTuple):
    """A row of non-negative values shown as heights; on a narrow terminal labels are one letter."""

    labels: Sequence[str]
    values: Sequence[int]
    unit: str


class Note(NamedTuple):
    """What is no part of the table that a pipe gets: it goes to standard error there."""

    block: Block


Block: TypeAlias = str | Heading | Table | Columns | Heatmap | CalendarHeatmap | BarChart | Sparkline | Note
"""A part of an answer; a plain string is a paragraph."""


class Answer(NamedTuple):
    """The result of a command, in every output format.

    Attributes:
        data: The JSON output; times are in UTC.
        page: The output for people.
        code: The exit code.
        csv_rows: The CSV output; every row has the same columns.
    """

    data: object
    page: Sequence[Block]
    code: int = 0
    csv_rows: Sequence[CsvRow] = ()
