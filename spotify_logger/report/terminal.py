"""Render the blocks of an answer on a terminal of any width.

The density of a shade shows the value. Charts therefore work on dark and light backgrounds, without colors,
for people with color blindness, and when copied as text; the color, one hue of rising saturation, only helps.
"""

from __future__ import annotations

import shutil
import sys
from bisect import bisect_right
from calendar import monthrange
from datetime import date
from itertools import groupby
from typing import TYPE_CHECKING, Literal, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from spotify_logger.core.periods import WEEKDAYS
from spotify_logger.report.blocks import (
    BarChart,
    Block,
    CalendarHeatmap,
    Columns,
    Heading,
    Heatmap,
    Note,
    Sparkline,
    Table,
)
from spotify_logger.report.cells import for_people
from spotify_logger.report.words import MONTHS
from spotify_logger.system.log import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


COLUMN_GAP, TABLE_GAP = 2, 4
"""Spaces between two columns, and between two tables."""
WEEKDAY_WIDTH = 4
"""Width of a weekday label and the space after it."""
MAX_COLUMN_WIDTH = 16
"""Maximum width of every column but the flexible one, in characters."""
MIN_FLEXIBLE_WIDTH = 12
"""Minimum width of the flexible column, however narrow the terminal, in characters."""
MIN_READABLE_WIDTH = 20
"""Width that the flexible column needs (unless its content is shorter) for two tables side by side."""
MAX_CHART_WIDTH = 80
"""Maximum width of a bar chart, in characters: beyond that, the bars only get longer."""
SHADES = "░▒▓█"
COLORS = ("#4fa3c7", "#359dd6", "#1a97e6", "#0091f5")
"""The colors of the shades, of similar lightness: as far from black as from white."""
EMPTY_DAY = "·"
EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
HEIGHTS = "▁▂▃▄▅▆▇█"
MONTHS_PER_ROW = (12, 6, 4, 3, 2, 1)
"""Months per row of a calendar, in order of preference: the first that fits is used."""


class ShadeScale:
    """Map values to shades by quantile: no shade for zero, denser shades for larger values.

    Each shade covers the same number of distinct values. All shades are therefore used, whether the values
    lie close together or one of them is far above the others.
    """

    def __init__(self, values: Iterable[int]) -> None:
        self._values = sorted({value for value in values if value > 0})
        number, shades = len(self._values), len(SHADES)
        self._begins = [self._values[number * shade // shades] for shade in range(shades)] if number else []

    def shade(self, value: int) -> int:
        """Return the shade of a value: 0 for none, up to the number of shades."""
        return bisect_right(self._begins, value)

    def steps(self) -> list[tuple[int, int, int]]:
        """Return the shades in use, each with its lowest and highest value."""
        groups = [(shade, list(values)) for shade, values in groupby(self._values, self.shade)]
        return [(shade, values[0], values[-1]) for shade, values in groups]


def render(page: Sequence[Block], out: TextIO) -> None:
    """Render blocks, separated by a blank line except below a heading."""
    # rich assumes 80 columns for every dumb terminal.
    width, height = shutil.get_terminal_size()
    console = Console(file=out, width=width, height=height, highlight=False, markup=False, emoji=False)
    blocks = [block.block if isinstance(block, Note) else block for block in page]
    for number, block in enumerate(blocks):
        if number and not isinstance(blocks[number - 1], Heading):
            console.print()
        console.print(_renderable(block, width))


def _renderable(block: Block, width: int) -> RenderableType:
    lines: Iterable[Text]
    match block:
        case Note():
            return _renderable(block.block, width)
        case str():
            return Text(sanitize(block))
        case Heading():
            return Text(sanitize(block.text), "bold")
        case Table():
            return _table(block, width)
        case Columns():
            return _columns(block, width)
        case Heatmap():
            lines = _heatmap(block, width)
        case CalendarHeatmap():
            lines = _calendar(block, width)
        case BarChart():
            lines = _bars(block, min(width, MAX_CHART_WIDTH))
        case Sparkline():
            lines = _sparkline(block, width)
    # A Text on its own would be wrapped.
    return Group(Text("\n", no_wrap=True, overflow="crop").join(lines))


def _table(table: Table, width: int) -> Grid:
    widths = _widths(table)
    others = [own for column, own in enumerate(widths) if column != table.flexible]
    room = width - sum(others) - COLUMN_GAP * len(others)
    grid = Grid(box=None, padding=(0, COLUMN_GAP, 0, 0), pad_edge=False, show_header=False)
    for column, own in enumerate(widths):
        justify: Literal["left", "right"] = "right" if column in table.right_aligned else "left"
        widest = max(MIN_FLEXIBLE_WIDTH, room) if column == table.flexible else own
        # A row below headings is one line; a list of names and values may wrap.
        single_line = table.single_line or bool(table.headings)
        grid.add_column(justify=justify, max_width=widest, no_wrap=single_line, overflow="ellipsis")
    for number, row in enumerate(_cells(table)):
        grid.add_row(*map(Text, row), style="bold" if table.headings and number == 0 else "")
    return grid


def _columns(columns: Columns, width: int) -> RenderableType:
    tables, room = (columns.left, columns.right), width - TABLE_GAP
    left, right = (_total_width(_widths(table)) for table in tables)
    least_left, least_right = (_total_width(_widths(table, MIN_READABLE_WIDTH)) for table in tables)
    # In the middle, unless that truncates one side while the other has space to spare.
    border = sorted((left, room // 2, room - right))[1]
    if border < least_left or room - border < least_right:
        return Group(_table(columns.left, width), "", _table(columns.right, width))
    grid = Grid.grid(padding=(0, TABLE_GAP, 0, 0), pad_edge=False)
    grid.add_column(width=border)
    grid.add_row(_table(columns.left, border), _table(columns.right, room - border))
    return grid


def _cells(table: Table) -> list[list[str]]:
    lines = [table.headings, *table.rows] if table.headings else table.rows
    return [[sanitize(for_people(cell)) for cell in line] for line in lines]


def _widths(table: Table, widest: int = sys.maxsize) -> list[int]:
    """Return the column widths; that of the flexible column is limited to `widest`."""
    columns = enumerate(zip(*_cells(table), strict=True))
    limits = {table.flexible: widest}
    return [min(max(map(cell_len, cells)), limits.get(column, MAX_COLUMN_WIDTH)) for column, cells in columns]


def _total_width(widths: Sequence[int]) -> int:
    return sum(widths) + COLUMN_GAP * (len(widths) - 1)


def _heatmap(heatmap: Heatmap, width: int) -> Iterator[Text]:
    labels = _column(heatmap.rows, MAX_COLUMN_WIDTH)
    edge = labels[0].cell_len + 1
    size = 2 if edge + 2 * len(heatmap.columns) <= width else 1
    scale = ShadeScale(value for values in heatmap.values for value in values)
    yield Text(" " * edge + _ruler([sanitize(name) for name in heatmap.columns], size))
    for label, values in zip(labels, heatmap.values, strict=True):
        yield Text.assemble(label, " ", *(_shaded(scale.shade(value), size) for value in values))
    yield from _legend(scale, heatmap.unit, edge, width)


def _ruler(names: Sequence[str], size: int) -> str:
    """Return the column labels, as many as fit, each above its cells of width `size`."""
    step = max(map(cell_len, names)) // size + 1
    return "".join(set_cell_size(name, step * size) for name in names[::step])


def _calendar(calendar: CalendarHeatmap, width: int) -> list[Text]:
    scale = ShadeScale(calendar.values.values())
    for months in MONTHS_PER_ROW:
        lines = list(_months(calendar, 1, months, scale))
        for first in range(1 + months, 13, months):
            lines += [Text(), *_months(calendar, first, months, scale)]
        if max(line.cell_len for line in lines) <= width:
            break
    return [*lines, *_legend(scale, calendar.unit, WEEKDAY_WIDTH, width, Text(f"{EMPTY_DAY} 0"))]


def _months(calendar: CalendarHeatmap, first: int, months: int, scale: ShadeScale) -> Iterator[Text]:
    """Yield a row of months: their names, then seven lines with one character per week."""
    begins = [date(calendar.year, month, 1).toordinal() for month in range(first, first + months)]
    end = begins[-1] + monthrange(calendar.year, first + months - 1)[1]
    monday = begins[0] - (begins[0] - 1) % 7
    names = ""
    for month, begin in enumerate(begins, first):
        names = names.ljust(WEEKDAY_WIDTH + (begin - monday) // 7) + MONTHS[month - 1]
    yield Text(names)
    for weekday, label in enumerate(WEEKDAYS):
        days = range(monday + weekday, end, 7)
        values = (calendar.values.get(date.fromordinal(day)) if day >= begins[0] else None for day in days)
        yield Text.assemble(label, " ", *(_day(value, scale) for value in values))


def _day(value: int | None, scale: ShadeScale) -> tuple[str, str]:
    if value is None:
        return " ", ""
    return _shaded(scale.shade(value), 1) if value else (EMPTY_DAY, "")


def _bars(bars: BarChart, width: int) -> Iterator[Text]:
    labels = _column([label for label, _, _ in bars.rows], 2 * width // 5)
    texts = _column([for_people(text) for _, _, text in bars.rows], MAX_COLUMN_WIDTH, "right")
    most = max((value for _, value, _ in bars.rows), default=0)
    for label, (_, value, _), text in zip(labels, bars.rows, texts, strict=True):
        room = max(1, width - label.cell_len - text.cell_len - 2 * COLUMN_GAP)
        yield Text.assemble(
            label, " " * COLUMN_GAP, text, " " * COLUMN_GAP, (_bar(value, most, room), COLORS[-1])
        )


def _bar(value: float, most: float, room: int) -> str:
    if value <= 0:
        return ""
    full, rest = divmod(max(1, round(8 * room * value / most)), 8)
    return "█" * full + EIGHTHS[rest]


def _sparkline(sparkline: Sparkline, width: int) -> Iterator[Text]:
    labels = [sanitize(label) for label in sparkline.labels]
    size = max(map(cell_len, labels))
    if (size + 1) * len(labels) > width:
        size = 1
    most = max(sparkline.values)
    heights = (
        HEIGHTS[max(1, round(8 * value / most)) - 1] if value > 0 else " " for value in sparkline.values
    )
    yield Text(" ".join(height * size for height in heights), COLORS[-1])
    yield Text(" ".join(set_cell_size(label, size) for label in labels))
    yield Text(sanitize(f"at most {most:,} {sparkline.unit}" if most else f"no {sparkline.unit}"))


def _column(texts: Iterable[str], widest: int, justify: Literal["left", "right"] = "left") -> list[Text]:
    """Pad texts to the same width; a text that is too long ends in an ellipsis."""
    cells = [Text(sanitize(text)) for text in texts]
    width = min(max((cell.cell_len for cell in cells), default=0), widest)
    for cell in cells:
        cell.truncate(width, overflow="ellipsis")
        cell.align(justify, width)
    return cells


def _shaded(shade: int, size: int) -> tuple[str, str]:
    return (SHADES[shade - 1] * size, COLORS[shade - 1]) if shade else (" " * size, "")


def _legend(scale: ShadeScale, unit: str, edge: int, width: int, *others: Text) -> Iterator[Text]:
    """Yield the legend of the shades, after other entries, in as many lines as needed."""
    shades = (
        Text.assemble(_shaded(shade, 1), f" {low:,}" if low == high else f" {low:,}–{high:,}")
        for shade, low, high in scale.steps()
    )
    line = Text(" " * edge + sanitize(unit))
    for entry in (*others, *shades):
        if line.cell_len + COLUMN_GAP + entry.cell_len > width:
            yield line
            line = Text(" " * edge).append_text(entry)
        else:
            line.append(" " * COLUMN_GAP).append_text(entry)
    yield line
