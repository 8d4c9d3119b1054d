"""How answers look: tables on a terminal, tab-separated lines in a pipe, JSON for programs.

Text of others never brings a control character to a terminal. Times are local on the screen and UTC in JSON.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TextIO

from spotify_logger.journal import clean
from spotify_logger.plays import to_iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

MINUTE, HOUR, DAY = 60, 3600, 86_400
GAP = 2
"""Blanks between two columns."""
WIDEST = 16
"""Characters of a column on a terminal, but for the one that gets all the room that is left."""
NARROWEST = 12
"""Characters that are left for that one on the narrowest of terminals."""


@dataclass(frozen=True, slots=True)
class Table:
    """Lines of cells.

    Attributes:
        rows: The cells, as many in each row.
        headings: What is above the columns, on a terminal.
        numbers: Columns that are flush right.
        wide: The column that gets the room that the others leave.
    """

    rows: Sequence[Sequence[str]]
    headings: Sequence[str] = ()
    numbers: Sequence[int] = ()
    wide: int = 1


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command has to say.

    Attributes:
        data: For programs: what JSON can hold, times in UTC.
        page: For people: lines of text, and tables.
        code: The exit code.
    """

    data: object
    page: Sequence[str | Table]
    code: int = 0


def show(answer: Answer, out: TextIO, *, as_json: bool) -> None:
    """Print an answer in the way that suits who reads it."""
    if as_json:
        # ASCII escapes all that could change a terminal's state or a text's direction.
        print(json.dumps(answer.data, indent=2), file=out)
    elif out.isatty():
        _show_on_terminal(answer.page, out)
    else:
        for block in answer.page:
            _show_in_pipe(block, out)


def local_time(second: float) -> str:
    """A moment in the local time zone: "2026-11-22 19:00"."""
    return datetime.fromtimestamp(second).astimezone().strftime("%Y-%m-%d %H:%M")


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


def _show_in_pipe(block: str | Table, out: TextIO) -> None:
    rows = [[block]] if isinstance(block, str) else block.rows
    for row in rows:
        print("\t".join(map(clean, row)), file=out)


def _show_on_terminal(page: Sequence[str | Table], out: TextIO) -> None:
    # rich takes longer to import than everything else; who reads from a pipe need not wait for it.
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=out, highlight=False, markup=False, emoji=False)
    for number, block in enumerate(page):
        if number:
            console.print()
        if isinstance(block, Table):
            _print_table(block, console)
        else:
            console.print(Text(clean(block)))


def _print_table(table: Table, console: Console) -> None:
    from rich.cells import cell_len  # noqa: PLC0415 - see above
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    lines = [table.headings, *table.rows] if table.headings else table.rows
    cells = [[clean(cell) for cell in line] for line in lines]
    widths = [min(max(map(cell_len, column)), WIDEST) for column in zip(*cells, strict=True)]
    room = console.width - sum(widths) + widths[table.wide] - GAP * (len(widths) - 1)
    grid = RichTable(box=None, padding=(0, GAP, 0, 0), pad_edge=False, show_header=False)
    for column, width in enumerate(widths):
        justify: Literal["left", "right"] = "right" if column in table.numbers else "left"
        widest = max(NARROWEST, room) if column == table.wide else width
        # Under headings a row is a line; a list of names and values may need more.
        one_line = bool(table.headings)
        grid.add_column(justify=justify, max_width=widest, no_wrap=one_line, overflow="ellipsis")
    for number, row in enumerate(cells):
        grid.add_row(*map(Text, row), style="bold" if table.headings and number == 0 else "")
    console.print(grid)
