"""Read the rows of a file of an export.

Spotify's files are arrays, which are decoded as a whole: the largest has 13 MB, and takes up to 80 MB of
memory. Ours have a record per line, and may have any length.
"""

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

MAX_ARRAY_BYTES = 1 << 25
"""Bytes of a file that is decoded as a whole, at most."""
MAX_LINE_CHARS = 1 << 20
"""Characters of a line at most; no record is longer."""
CHARS_PER_READ = 1 << 13
"""Characters of a damaged file that are read at a time."""
READ_ERRORS = (OSError, EOFError, BadZipFile, zlib.error, NotImplementedError, RuntimeError)
"""The errors that reading a file or a member of a zip can raise."""
CUT_OFF = "the file is cut off, or not JSON from there on"

_DECODER = json.JSONDecoder()
_BETWEEN_ROWS = re.compile(r"[\s,\[\]]*")
_FIRST_ROW = re.compile(r'[\s\[]*\{[^{}]*"(ts|endTime|kind)"\s*:')
"""The beginning of a file with rows of a known format, each of which is recognized by a field."""
_HEAD_CHARS = 4096


class UnreadableFile(SpotifyLoggerError):  # noqa: N818 - the state of a file
    """A file cannot be read, or is not JSON, from the next row on."""


def read_rows(text: TextIO, size: int) -> Iterator[object]:
    """Yield the rows of a file, decoded from JSON.

    Args:
        text: The file.
        size: Its size in bytes.

    Raises:
        UnreadableFile: It cannot be read any further; the rows before that have been yielded.
    """
    try:
        if _has_row_per_line(text):
            yield from _lines(text)
        elif size > MAX_ARRAY_BYTES:
            limit = f"larger than {MAX_ARRAY_BYTES >> 20} MB"
            raise UnreadableFile(f"{limit}: import Spotify's files as they come, with at most 13 MB each")
        else:
            yield from _array(text)
    except READ_ERRORS as error:
        raise UnreadableFile(f"cannot be read any further: {describe_error(error)}") from None
    except ValueError:
        raise UnreadableFile(CUT_OFF) from None


def holds_rows(text: TextIO) -> bool:
    """Return whether a file seems to begin with a row of a known format."""
    try:
        return _FIRST_ROW.match(text.read(_HEAD_CHARS)) is not None
    except READ_ERRORS:
        return False


def describe_error(error: Exception) -> str:
    """Return why something cannot be read."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or "the file ends too early"


def _has_row_per_line(text: TextIO) -> bool:
    """Return whether the first line that is more than a bracket is an object; go back to the beginning."""
    line = ""
    while line in {"", "["} and (read := text.readline(MAX_LINE_CHARS)):
        line = read.strip()
    text.seek(0)
    try:
        return isinstance(_decode_line(line or "{}"), dict)  # an empty file has no rows
    except ValueError:
        return False


def _decode_line(line: str) -> object:
    with bounded_nesting():
        return json.loads(line.removesuffix(","))


def _lines(text: TextIO) -> Iterator[object]:
    """Yield the rows of a file that has one per line, in an array or not."""
    first = last = ""
    while read := text.readline(MAX_LINE_CHARS):
        last = read.strip() or last
        first = first or last
        if read.strip() not in {"", "[", "]"}:
            yield _decode_line(last)
    if first == "[" and last != "]":
        raise UnreadableFile(CUT_OFF)


def _array(text: TextIO) -> Iterator[object]:
    try:
        with bounded_nesting():
            rows = json.load(text)
    except (*READ_ERRORS, ValueError):
        text.seek(0)
        yield from _rows_before_damage(text)
    else:
        yield from rows if isinstance(rows, list) else [rows]


def _rows_before_damage(text: TextIO) -> Iterator[object]:
    read, damage = "", CUT_OFF
    try:
        while more := text.read(CHARS_PER_READ):
            read += more
    except READ_ERRORS as error:
        damage = f"cannot be read any further: {describe_error(error)}"
    place = _next_row(read, 0)
    with suppress(ValueError), bounded_nesting():
        while place < len(read):
            row, end = _DECODER.raw_decode(read, place)
            yield row
            place = _next_row(read, end)
    raise UnreadableFile(damage)


def _next_row(text: str, place: int) -> int:
    between = _BETWEEN_ROWS.match(text, place)
    return place if between is None else between.end()
