"""Write an answer as text, JSON or CSV."""

from __future__ import annotations

import json
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
    Sparkline,
    Table,
)
from spotify_logger.system.log import sanitize

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


Format = Literal["page", "json", "csv"]
"""The output format: text for people, JSON, or CSV."""


def write_answer(answer: Answer, out: TextIO, form: Format = "page") -> None:
    """Write an answer in the given format; as text, laid out for a terminal or tab-separated for a pipe."""
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
            for line in _lines(block):
                print("\t".join(map(sanitize, line)), file=out)


def _lines(block: Block) -> Iterator[Sequence[str]]:
    """Yield the lines of a block for a pipe, as cells, without the headings of a table."""
    match block:
        case str(text) | Heading(text):
            yield [text]
        case Table(rows):
            yield from rows
        case Columns(left, right):
            yield from (*left.rows, *right.rows)
        case Heatmap(labels, _, values):
            yield from ((label, *map(str, row)) for label, row in zip(labels, values, strict=True))
        case CalendarHeatmap(_, values):
            yield from ((day.isoformat(), str(value)) for day, value in sorted(values.items()))
        case BarChart(rows):
            yield from ((label, text) for label, _, text in rows)
        case Sparkline(labels, values):
            yield from zip(labels, map(str, values), strict=True)
