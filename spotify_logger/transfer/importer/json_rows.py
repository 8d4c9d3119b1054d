"""Read the rows of a file of any length, one by one: an array, as Spotify's are, or a row per line."""

from __future__ import annotations

import json
import re
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO
from zipfile import BadZipFile

from spotify_logger.system.errors import SpotifyLoggerError, bounded_nesting

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ROW_CHARS = 1 << 20
"""Maximum length of a row, in characters; no record is longer."""
CHARS_PER_READ = 1 << 13
"""Characters that are read at a time."""
CUT_OFF = "the file is cut off, or not JSON from there on"
READ_ERRORS = (OSError, EOFError, BadZipFile, zlib.error, NotImplementedError, RuntimeError)
"""The errors that reading a file or a member of a zip can raise."""

_DECODER = json.JSONDecoder()
_BETWEEN_ROWS = re.compile(r"[\s,\[\]]*")


class UnreadableFile(SpotifyLoggerError):  # noqa: N818 - the state of a file
    """A file cannot be read, or is not JSON, from the next row on."""


def read_rows(text: TextIO) -> Iterator[object]:
    """Yield the rows of a file; a line between others that is not JSON is yielded as it is.

    Raises:
        UnreadableFile: It cannot be read any further; the rows before that have been yielded.
    """
    rest = first = last = ""
    more = True
    while more or rest:
        try:
            read = text.read(CHARS_PER_READ)
        except READ_ERRORS as error:
            raise UnreadableFile(f"cannot be read any further: {describe_error(error)}") from None
        rest, more = rest + read, bool(read)
        first, last = first or read.strip()[:1], read.strip()[-1:] or last
        place = _next_row(rest, 0)
        with suppress(ValueError), bounded_nesting():
            while place < len(rest):
                row, end = _DECODER.raw_decode(rest, place)
                if end == len(rest) and more:
                    break  # a number may have more digits
                yield row
                place = _next_row(rest, end)
        rest = rest[place:]
        if rest and (not more or len(rest) > MAX_ROW_CHARS):
            line, newline, rest = rest.partition("\n")
            if first != "{" or not newline:
                raise UnreadableFile(CUT_OFF)
            yield line
    if first == "[" and last != "]":
        raise UnreadableFile(CUT_OFF)


def describe_error(error: Exception) -> str:
    """Return why something cannot be read."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or "the file ends too early"


def _next_row(text: str, place: int) -> int:
    between = _BETWEEN_ROWS.match(text, place)
    return place if between is None else between.end()
