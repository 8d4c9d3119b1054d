"""Render the blocks of an answer on a terminal of any width.

The density of a shade shows the value. Charts therefore work on dark and light backgrounds, without colors,
for people with color blindness, and when copied as text; the color, one hue of rising saturation, only helps.
"""

import shutil
from bisect import bisect_right
from calendar import monthrange
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from itertools import groupby
from typing import TextIO

from rich.bar import Bar
from rich.cells import cell_len, set_cell_size
from rich.console import Console, Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from spotify_logger.core.periods import WEEKDAYS
from spotify_logger.queries.charts import DAY_HOURS
from spotify_logger.report import answers
from spotify_logger.report.words import MONTHS, Formatted, formatted
from spotify_logger.system.log import sanitize

COLUMN_GAP, TABLE_GAP = 2, 4  # spaces between two columns, and between two tables
WEEKDAY_WIDTH = 4  # with the space after it
MAX_COLUMN_WIDTH = 16  # of every column but the flexible one
MIN_FLEXIBLE_WIDTH = 12  # of the flexible column, however narrow the terminal
MIN_READABLE_WIDTH = 30  # of a table beside another one, unless its content is shorter
MAX_CHART_WIDTH = 80  # of a bar chart: beyond that, the bars only get longer
SHADES = "░▒▓█"
COLORS = ("#4fa3c7", "#359dd6", "#1a97e6", "#0091f5")  # of the shades: as far from black as from white
EMPTY_DAY = "·"
HEIGHTS = "▁▂▃▄▅▆▇█"
MONTHS_PER_ROW = (12, 6, 4, 3, 2, 1)  # of a calendar: the first that fits is used


class ShadeScale:
    """Map values to shades, each for the same number of distinct values; zero has none.

    All are therefore used, whether the values lie close together or one of them is far above the others.
    """

    def __init__(self, values: Iterable[int]) -> None:
        known = self._values = sorted({value for value in values if value > 0})
        self._begins = [known[len(known) * shade // len(SHADES)] for shade in range(len(SHADES)) if known]

    def shade(self, value: int) -> int:
        """Return the shade of a value: 0 for none, up to the number of shades."""
        return bisect_right(self._begins, value)

    def cell(self, value: int, size: int = 1, empty: str = " ") -> tuple[str, str]:
        """Return a cell of a heatmap, and its color."""
        shade = self.shade(value)
        return (SHADES[shade - 1] * size, COLORS[shade - 1]) if shade else (empty * size, "")

    def legend(self, unit: str, width: int, *others: Text) -> Iterator[Text]:
        """Yield the legend of the shades, after other entries, in as many lines as needed."""
        groups = [list(values) for _, values in groupby(self._values, self.shade)]
        shades = (
            Text.assemble(self.cell(low), f" {low:,}" if low == high else f" {low:,}–{high:,}")
            for low, high in ((values[0], values[-1]) for values in groups)
        )
        line = Text(" " * WEEKDAY_WIDTH + sanitize(unit))
        for entry in (*others, *shades):
            if line.cell_len + COLUMN_GAP + entry.cell_len > width:
                yield line
                line = Text(" " * WEEKDAY_WIDTH).append_text(entry)
            else:
                line.append(" " * COLUMN_GAP).append_text(entry)
        yield line


def render(page: Sequence[answers.Block], out: TextIO) -> None:
    """Render blocks, separated by a blank line except between a text and the chart below it."""
    # rich assumes 80 columns for every dumb terminal.
    width, height = shutil.get_terminal_size()
    console = Console(file=out, width=width, height=height, highlight=False, markup=False, emoji=False)
    above: answers.Block = ""
    for block in page:
        shown = block.block if isinstance(block, answers.Note) else block
        if above and not (isinstance(above, str) and isinstance(shown, answers.Chart)):
            console.print()
        console.print(_renderable(shown, width))
        above = shown


def _renderable(block: answers.Block, width: int) -> RenderableType:
    match block:
        case answers.Table():
            return _table(block, width)
        case answers.Columns():
            return _columns(block, width)
        case answers.Chart(form):  # in a group: a Text on its own would be wrapped
            draw = {"week": _week, "year": _year, "heights": _heights}[form]
            return Group(Text("\n", no_wrap=True, overflow="crop").join(draw(block, width)))
        case answers.Note(noted):
            return _renderable(noted, width)
        case str() | Formatted():
            return Text(sanitize(formatted(block).for_people))


def _table(table: answers.Table, width: int) -> Grid:
    rows = [table.headings, *table.rows] if table.headings else table.rows
    texts = [[sanitize(formatted(cell).for_people) for cell in row] for row in rows]
    widths = [min(MAX_COLUMN_WIDTH, max(map(cell_len, column))) for column in zip(*texts, strict=True)]
    others = [own + COLUMN_GAP for column, own in enumerate(widths) if column != table.flexible]
    room = max(MIN_FLEXIBLE_WIDTH, width - sum(others))
    # A row below headings or beside a bar is one line; a list of names and values may wrap.
    single_line = table.single_line or bool(table.headings or table.bars)
    grid = Grid(box=None, padding=(0, COLUMN_GAP, 0, 0), pad_edge=False, show_header=False)
    for column in range(len(widths)):
        grid.add_column(
            justify="right" if column in table.right_aligned else "left",
            max_width=room if column == table.flexible else MAX_COLUMN_WIDTH,
            no_wrap=single_line,
            overflow="ellipsis",
        )
    bars = [Bar(max(table.bars) or 1, 0, length, color=COLORS[-1]) for length in table.bars]
    if bars:
        grid.add_column(ratio=1)
        grid.width = min(width, MAX_CHART_WIDTH)
    for number, row in enumerate(texts):
        grid.add_row(*map(Text, row), *bars[number : number + 1])
    if table.headings:
        grid.rows[0].style = "bold"
    return grid


def _columns(columns: answers.Columns, width: int) -> RenderableType:
    room, console = width - TABLE_GAP, Console(width=2 * width)
    left, right = (console.measure(_table(table, 2 * width)).maximum for table in columns)
    # In the middle, unless that truncates one side while the other has space to spare.
    border = sorted((left, room // 2, room - right))[1]
    if border < min(left, MIN_READABLE_WIDTH) or room - border < min(right, MIN_READABLE_WIDTH):
        return Group(_table(columns.left, width), "", _table(columns.right, width))
    grid = Grid.grid(padding=(0, TABLE_GAP, 0, 0), pad_edge=False)
    grid.add_column(width=border)
    grid.add_row(_table(columns.left, border), _table(columns.right, room - border))
    return grid


def _week(chart: answers.Chart, width: int) -> Iterator[Text]:
    size = 2 if width >= WEEKDAY_WIDTH + 2 * DAY_HOURS else 1
    scale = ShadeScale(value for _, *values in chart.rows for value in values)
    step = 2 if size > 1 else 3  # hours from one label to the next
    hours = (str(hour).ljust(step * size) for hour in range(0, DAY_HOURS, step))
    yield Text(" " * WEEKDAY_WIDTH + "".join(hours).rstrip())
    for label, *values in chart.rows:
        yield Text.assemble(label, " ", *(scale.cell(value, size) for value in values))
    yield from scale.legend(chart.unit, width)


def _year(chart: answers.Chart, width: int) -> list[Text]:
    days = {date.fromisoformat(day): values[0] for day, *values in chart.rows}
    scale = ShadeScale(days.values())
    for months in MONTHS_PER_ROW:
        lines = [line for first in range(1, 13, months) for line in _months(days, first, months, scale)]
        if max(line.cell_len for line in lines) <= width:
            break
    return [*lines[1:], *scale.legend(chart.unit, width, Text(f"{EMPTY_DAY} 0"))]


def _months(days: Mapping[date, int], first: int, months: int, scale: ShadeScale) -> Iterator[Text]:
    """Yield a row of months: a blank line, their names, and seven lines with one character per week."""
    year = min(days).year
    begins = [date(year, month, 1).toordinal() for month in range(first, first + months)]
    end = begins[-1] + monthrange(year, first + months - 1)[1]
    monday = begins[0] - (begins[0] - 1) % 7
    names = ""
    for month, begin in enumerate(begins, first):
        names = names.ljust(WEEKDAY_WIDTH + (begin - monday) // 7) + MONTHS[month - 1]
    yield from (Text(), Text(names))
    for weekday, label in enumerate(WEEKDAYS):
        week = range(monday + weekday, end, 7)
        values = (days.get(date.fromordinal(day)) if day >= begins[0] else None for day in week)
        cells = (" " if value is None else scale.cell(value, empty=EMPTY_DAY) for value in values)
        yield Text.assemble(label, " ", *cells)


def _heights(chart: answers.Chart, width: int) -> Iterator[Text]:
    labels, values = [sanitize(label) for label, *_ in chart.rows], [each[0] for _, *each in chart.rows]
    size = max(map(cell_len, labels))
    if (size + 1) * len(labels) > width:
        size = 1
    most = max(values)
    heights = (HEIGHTS[max(1, round(8 * value / most)) - 1] if value > 0 else " " for value in values)
    yield Text(" ".join(height * size for height in heights), COLORS[-1])
    yield Text(" ".join(set_cell_size(label, size) for label in labels))
    yield Text(sanitize(f"at most {most:,} {chart.unit}" if most else f"no {chart.unit}"))
