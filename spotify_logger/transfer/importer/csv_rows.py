"""Read the rows of a CSV file of any length, one by one, as the tools for Last.fm write them."""

from __future__ import annotations

import csv
from itertools import chain
from typing import TYPE_CHECKING, TextIO

from spotify_logger.transfer.importer.json_rows import MAX_ROW_CHARS, UnreadableFile, is_damaged, read_text

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHOUT_HEADER = ("artist", "album", "track", "date")
"""The columns of files without a header, as lastfm-to-csv writes them."""


def read_csv(text: TextIO) -> Iterator[object]:
    """Yield the rows of a file by the names of the columns; one that is not UTF-8 is yielded as text.

    Raises:
        UnreadableFile: It cannot be read any further; the rows before that have been yielded.
    """
    lines = iter(lambda: _line(text), "")
    first = next(lines, "")
    lines = chain([first], lines)
    rows: Iterator[list[str]] = csv.reader(lines, delimiter=max(",;\t", key=first.count))
    try:
        header = next(rows, [])
        # lastfmstats.com appends the user to the name of the last column.
        names = [name.strip().lower().partition("#")[0] for name in header]
        if "artist" not in names and len(names) == len(WITHOUT_HEADER):
            rows, names = chain([header], rows), list(WITHOUT_HEADER)
        for values in filter(None, rows):
            line = ", ".join(values)
            yield line if is_damaged(line) else dict(zip(names, values, strict=False))
    except csv.Error as error:
        raise UnreadableFile(f"not CSV from there on: {error}") from None


def _line(text: TextIO) -> str:
    line = read_text(text, MAX_ROW_CHARS, line=True)
    if len(line) == MAX_ROW_CHARS:
        raise UnreadableFile("not CSV: a line has no end")
    return line
