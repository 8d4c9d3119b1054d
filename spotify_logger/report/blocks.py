"""How answers look: drawn on a terminal, tab-separated lines in a pipe, JSON and CSV for programs.

Text of others never brings a control character to a terminal. Times are local on the screen and UTC in JSON.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from spotify_logger.report.csv_output import CsvRow


Cells: TypeAlias = "Sequence[str]"
"""The cells of a line in a pipe."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A line above the block that comes next.

    Attributes:
        text: What it says.
    """

    text: str

    def lines(self) -> Iterator[Cells]:
        """The line for a pipe."""
        yield (self.text,)


@dataclass(frozen=True, slots=True)
class Table:
    """A table, with or without headings.

    Attributes:
        rows: The cells; every row has the same number of them.
        headings: Column headings, shown on a terminal only.
        right_aligned: Indexes of the right-aligned columns.
        flexible: Index of the column that takes the width the others leave.
        single_line: Truncate cells that are too long, as tables with headings do, instead of wrapping them.
    """

    rows: Sequence[Sequence[str]]
    headings: Sequence[str] = ()
    right_aligned: Sequence[int] = ()
    flexible: int = 1
    single_line: bool = False

    def lines(self) -> Iterator[Cells]:
        """The lines for a pipe: the rows, without the headings."""
        yield from self.rows


@dataclass(frozen=True, slots=True)
class Columns:
    """Two tables, beside each other where there is room, else below each other.

    Attributes:
        left: The first one.
        right: The second one.
    """

    left: Table
    right: Table

    def lines(self) -> Iterator[Cells]:
        """The lines for a pipe: those of the first table, then those of the second."""
        yield from self.left.lines()
        yield from self.right.lines()


@dataclass(frozen=True, slots=True)
class Heatmap:
    """A number for each pair of two kinds of things, such as weekdays and hours, as shades.

    Attributes:
        rows: What each row is called.
        columns: What each column is called; on a terminal, as many are named as there is room for.
        values: From 0 up, row by row.
        unit: What is counted: "plays".
    """

    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[int]]
    unit: str

    def lines(self) -> Iterator[Cells]:
        """The lines for a pipe: what the row is called, and its numbers."""
        for label, values in zip(self.rows, self.values, strict=True):
            yield (label, *map(str, values))


@dataclass(frozen=True, slots=True)
class CalendarHeatmap:
    """A number for each day of a year, as shades.

    Attributes:
        year: Which one.
        values: From 0 up, by day. A day that is missing stays blank: nobody asked for it, or it is to come.
        unit: What is counted: "plays".
    """

    year: int
    values: Mapping[date, int]
    unit: str

    def lines(self) -> Iterator[Cells]:
        """The lines for a pipe: day and number, in the order of time."""
        for day, value in sorted(self.values.items()):
            yield (day.isoformat(), str(value))


@dataclass(frozen=True, slots=True)
class BarChart:
    """A bar for each thing.

    Attributes:
        rows: What it is called, how long its bar is (from 0 up, in any unit), and the number in words.
    """

    rows: Sequence[tuple[str, float, str]]

    def lines(self) -> Iterator[Cells]:
        """The lines for a pipe: what it is called, and the number in words."""
        for label, _, text in self.rows:
            yield (label, text)


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A row of numbers, such as those of twelve months, as heights.

    Attributes:
        labels: What each is called; where room is scarce, its first letter has to do.
        values: From 0 up.
        unit: What is counted: "plays".
    """

    labels: Sequence[str]
    values: Sequence[int]
    unit: str

    def lines(self) -> Iterator[Cells]:
        """The lines for a pipe: what each is called, and its number."""
        for label, value in zip(self.labels, self.values, strict=True):
            yield (label, str(value))


Block: TypeAlias = str | Heading | Table | Columns | Heatmap | CalendarHeatmap | BarChart | Sparkline
"""A part of a page; text is a paragraph."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has to say.

    Attributes:
        data: For programs: what JSON can hold, times in UTC.
        page: For people.
        code: The exit code.
        csv_rows: For spreadsheets: rows with the same names in each.
    """

    data: object
    page: Sequence[Block]
    code: int = 0
    csv_rows: Sequence[CsvRow] = ()
