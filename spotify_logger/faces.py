"""How answers look: drawn on a terminal, tab-separated lines in a pipe, JSON and CSV for programs.

Text of others never brings a control character to a terminal. Times are local on the screen and UTC in JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TextIO, TypeAlias

from spotify_logger import sheets
from spotify_logger.journal import clean
from spotify_logger.plays import local, to_iso

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from spotify_logger.sheets import Row

MINUTE, HOUR, DAY = 60, 3600, 86_400
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Form = Literal["page", "json", "csv"]
"""What an answer is shown as: for people, for programs, for spreadsheets."""
Line: TypeAlias = "Sequence[str]"
"""The cells of a line in a pipe."""


@dataclass(frozen=True, slots=True)
class Heading:
    """A line above the block that comes next.

    Attributes:
        text: What it says.
    """

    text: str

    def lines(self) -> Iterator[Line]:
        """The line for a pipe."""
        yield (self.text,)


@dataclass(frozen=True, slots=True)
class Table:
    """Lines of cells.

    Attributes:
        rows: The cells, as many in each row.
        headings: What is above the columns, on a terminal.
        numbers: Columns that are flush right.
        wide: The column that gets the room that the others leave.
        one_line: Cut what is too long for it, as below headings; else a row takes as many lines as it needs.
    """

    rows: Sequence[Sequence[str]]
    headings: Sequence[str] = ()
    numbers: Sequence[int] = ()
    wide: int = 1
    one_line: bool = False

    def lines(self) -> Iterator[Line]:
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

    def lines(self) -> Iterator[Line]:
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

    def lines(self) -> Iterator[Line]:
        """The lines for a pipe: what the row is called, and its numbers."""
        for label, values in zip(self.rows, self.values, strict=True):
            yield (label, *map(str, values))


@dataclass(frozen=True, slots=True)
class Calendar:
    """A number for each day of a year, as shades.

    Attributes:
        year: Which one.
        values: From 0 up, by day. A day that is missing stays blank: nobody asked for it, or it is to come.
        unit: What is counted: "plays".
    """

    year: int
    values: Mapping[date, int]
    unit: str

    def lines(self) -> Iterator[Line]:
        """The lines for a pipe: day and number, in the order of time."""
        for day, value in sorted(self.values.items()):
            yield (day.isoformat(), str(value))


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar for each thing.

    Attributes:
        rows: What it is called, how long its bar is (from 0 up, in any unit), and the number in words.
    """

    rows: Sequence[tuple[str, float, str]]

    def lines(self) -> Iterator[Line]:
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

    def lines(self) -> Iterator[Line]:
        """The lines for a pipe: what each is called, and its number."""
        for label, value in zip(self.labels, self.values, strict=True):
            yield (label, str(value))


Block: TypeAlias = str | Heading | Table | Columns | Heatmap | Calendar | Bars | Sparkline
"""A part of a page; text is a paragraph."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has to say.

    Attributes:
        data: For programs: what JSON can hold, times in UTC.
        page: For people.
        code: The exit code.
        sheet: For spreadsheets: rows with the same names in each.
    """

    data: object
    page: Sequence[Block]
    code: int = 0
    sheet: Sequence[Row] = ()


def show(answer: Answer, out: TextIO, form: Form = "page") -> None:
    """Print an answer in the way that suits who reads it."""
    if form == "json":
        # ASCII escapes all that could change a terminal's state or a text's direction.
        print(json.dumps(answer.data, indent=2), file=out)
    elif form == "csv":
        sheets.write(answer.sheet, out)
    elif out.isatty():
        # rich takes longer to import than everything else; who reads from a pipe need not wait for it.
        from spotify_logger.drawing import draw  # noqa: PLC0415

        draw(answer.page, out)
    else:
        for block in answer.page:
            for line in [[block]] if isinstance(block, str) else block.lines():
                print("\t".join(map(clean, line)), file=out)


def local_time(second: float) -> str:
    """A moment in the local time zone: "2026-11-22 19:00"."""
    return f"{local(second):%Y-%m-%d %H:%M}"


def local_period(begin: float, end: float) -> str:
    """A stretch of time in the local time zone: "2026-11-22 19:00 to 21:10", or with both days."""
    first, last = local_time(begin), local_time(end)
    same_day = first.split()[0] == last.split()[0]
    return f"{first} to {last.split()[1] if same_day else last}"


def utc_time(second: float | None) -> str | None:
    """The same for programs: "2026-11-22T18:00:00.000Z"."""
    return None if second is None else to_iso(round(second * 1000))


def span(seconds: float) -> str:
    """A rough length of time: "40 s", "12 min", "5 h", "3 days"."""
    whole = int(seconds)
    if whole < 2 * MINUTE:
        return f"{whole} s"
    if whole < 2 * HOUR:
        return f"{whole // MINUTE} min"
    return f"{whole // HOUR} h" if whole < 2 * DAY else f"{whole // DAY} days"


def length(seconds: float) -> str:
    """A length of time that is given in full: "40 s", "50 min", "3 h 20 min", "12 days 4 h"."""
    whole = int(seconds)
    if whole < HOUR:
        return span(whole)
    if whole < 2 * DAY:
        large, rest = f"{whole // HOUR} h", f"{whole % HOUR // MINUTE} min"
    else:
        large, rest = f"{whole // DAY} days", f"{whole % DAY // HOUR} h"
    return large if rest.startswith("0 ") else f"{large} {rest}"


def counted(number: int, noun: str) -> str:
    """A number and its noun: "1 play", "12,345 plays"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listened(milliseconds: int) -> str:
    """How long something was heard, in full: "40 s", "50 min", "3 h 20 min", "1,234 h 5 min"."""
    whole = milliseconds // 1000
    if whole < HOUR:
        return span(whole)
    hours, rest = f"{whole // HOUR:,} h", whole % HOUR // MINUTE
    return f"{hours} {rest} min" if rest else hours


def percentage(part: float, whole: float) -> str:
    """A part of something: "12.3 %"; a dash where there is nothing to have a part of."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def change(number: int, before: int) -> str:
    """A number against an earlier one: "+12", "-3", "new" where there was none, "=" where nothing changed."""
    if number == before:
        return "="
    return f"{number - before:+,}" if before else "new"
