"""Write an answer as a page, JSON or CSV."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal, TextIO

from spotify_logger.report import csv_output
from spotify_logger.system.log import sanitize

if TYPE_CHECKING:
    from spotify_logger.report.blocks import Answer

Format = Literal["page", "json", "csv"]
"""What an answer is shown as: for people, for programs, for spreadsheets."""


def write_answer(answer: Answer, out: TextIO, form: Format = "page") -> None:
    """Print an answer in the way that suits who reads it."""
    if form == "json":
        # ASCII escapes all that could change a terminal's state or a text's direction.
        print(json.dumps(answer.data, indent=2), file=out)
    elif form == "csv":
        csv_output.write_csv(answer.csv_rows, out)
    elif out.isatty():
        # rich takes longer to import than everything else; who reads from a pipe need not wait for it.
        from spotify_logger.report.terminal import render  # noqa: PLC0415

        render(answer.page, out)
    else:
        for block in answer.page:
            for line in [[block]] if isinstance(block, str) else block.lines():
                print("\t".join(map(sanitize, line)), file=out)
