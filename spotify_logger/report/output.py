"""Write an answer as text, JSON or CSV."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Literal, TextIO

from spotify_logger.report import csv_output
from spotify_logger.report.blocks import (
    Answer,
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
from spotify_logger.report.cells import for_programs
from spotify_logger.system.log import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spotify_logger.report.cells import Cell


Format = Literal["page", "json", "csv"]
"""The output format: text for people, JSON, or CSV."""


def write_answer(answer: Answer, out: TextIO, form: Format = "page") -> None:
    """Write an answer in the given format; as text, laid out for a terminal or tab-separated for a pipe.

    In a pipe, notes go to standard error.
    """
    if form == "json":
        # ASCII output escapes everything that could change the state of a terminal or the text direction.
        print(json.dumps(answer.data, indent=2), file=out)
    elif form == "csv":
        csv_output.write_csv(answer.csv_rows, out)
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
        case str(text) | Heading(text):
            yield [text]
        case Note(noted):
            yield from _lines(noted)
        case Table(rows):
            yield from rows
        case Columns(left, right):
            yield from (*left.rows, *right.rows)
        case Heatmap(labels, _, values):
            for label, row in zip(labels, values, strict=True):
                yield [label, *row]
        case CalendarHeatmap(_, values):
            yield from ((day.isoformat(), value) for day, value in sorted(values.items()))
        case BarChart(rows):
            yield from ((label, text) for label, _, text in rows)
        case Sparkline(labels, values):
            yield from zip(labels, values, strict=True)
