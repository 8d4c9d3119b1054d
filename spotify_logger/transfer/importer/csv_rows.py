"""Read the rows of a CSV file of any length, one by one, as the tools for Last.fm write them."""

from __future__ import annotations

import csv
import re
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, TextIO

from spotify_logger.transfer.importer.json_rows import (
    MAX_ROW_CHARS,
    READ_ERRORS,
    UnreadableFile,
    describe_error,
    is_damaged,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHOUT_HEADER = ["artist", "album", "track", "date"]
"""The columns of files without a header, as lastfm-to-csv writes them."""
_DATE = re.compile(r"([0-9]{1,2} [A-Z][a-z]{2} [0-9]{4},? [0-9:]+)?")
"""What the last of them looks like; it is empty for what was playing at the time."""


def read_csv(text: TextIO) -> Iterator[object]:
    """Yield the rows of a file by the names of the columns; one that is not UTF-8 is yielded as text.

    Raises:
        UnreadableFile: It cannot be read any further; the rows before that have been yielded.
    """
    try:
        lines = iter(partial(text.readline, MAX_ROW_CHARS), "")
        first = next(lines, "")
        rows = csv.reader(chain([first], lines), delimiter=max(",;\t", key=first.count))
        header = next(rows, [])
        # lastfmstats.com appends the user to the name of the last column.
        names = [name.strip().lower().partition("#")[0] for name in header]
        has_header = len(names) != len(WITHOUT_HEADER) or not _DATE.fullmatch(header[-1])
        for values in rows if has_header else chain([header], rows):
            line = ", ".join(values)
            if line:
                known = zip(names if has_header else WITHOUT_HEADER, values, strict=False)
                yield line if is_damaged(line) else dict(known)
    except (csv.Error, *READ_ERRORS) as error:
        raise UnreadableFile(f"cannot be read any further: {describe_error(error)}") from None
