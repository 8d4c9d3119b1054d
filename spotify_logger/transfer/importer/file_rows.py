"""Read the rows of a file of any length, one by one: an array, as Spotify's are, or a row per line, or CSV.

Other loggers put the array into an object, or one for each page of their answers into objects in an array.
The tools for Last.fm write CSV.
"""

import csv
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import TextIO
from zipfile import BadZipFile

from spotify_logger.system.errors import SpotifyLoggerError, bounded_nesting

MAX_ROW_CHARS = 1 << 20  # maximum length of a row, in characters; no record is longer
CHARS_PER_READ = 1 << 13
CUT_OFF = "the file is cut off, or not JSON from there on"
READ_ERRORS = (OSError, EOFError, BadZipFile, zlib.error, NotImplementedError, RuntimeError, UnicodeError)
"""The errors that reading a file or a member of a zip can raise."""

_DECODER = json.JSONDecoder(parse_constant=lambda _: None)  # NaN, of a file that pandas wrote
_BETWEEN_ROWS = re.compile(r"[\s,\[\]]*")
_BETWEEN_ENTRIES = re.compile(r"[\s,]*")
_LIST = r'"(?:listens|scrobbles|track)"\s*:\s*\['
_NEXT_LIST = re.compile(_LIST)
_FIRST_LIST = re.compile(
    r'\s*+\[?\s*+\{(?:\s*"(?:recenttracks|payload)"\s*:\s*\{)?(?:[^\[\]{}]|\{[^\[\]{}]*\})*?' + _LIST
)
"""The beginning of a file whose rows are in a list inside an object."""
_CSV_COLUMNS = ["artist", "album", "track", "date"]  # without a header, as lastfm-to-csv writes them
_CSV_DATE = re.compile(r"([0-9]{1,2} [A-Z][a-z]{2} [0-9]{4},? [0-9:]+)?")
"""What the last of them looks like; it is empty for what was playing at the time."""


class UnreadableFile(SpotifyLoggerError):  # noqa: N818 - the state of a file
    """A file cannot be read, or is not JSON, from the next row on."""


def read_rows(text: TextIO, *, is_csv: bool = False) -> Iterator[object]:
    """Yield the rows of a file until it ends or raises UnreadableFile.

    A line that is not JSON and a row that is not UTF-8 are yielded as text.
    """
    try:
        yield from _csv_rows(text) if is_csv else _json_rows(text)
    except (csv.Error, *READ_ERRORS) as error:
        raise UnreadableFile(f"cannot be read any further: {describe_error(error)}") from None


def _json_rows(text: TextIO) -> Iterator[object]:
    rest = first = last = ""
    more, between = True, _BETWEEN_ROWS
    while more or rest:
        read = text.read(CHARS_PER_READ)
        rest, more = rest + read, bool(read)
        if not first and (beginning := _FIRST_LIST.match(rest)):
            rest, between = rest[beginning.end() :], _BETWEEN_ENTRIES
        first, last = first or read.strip()[:1], read.strip()[-1:] or last
        may_be_damaged = is_damaged(rest)
        place = _skip(between, rest, 0)
        with suppress(ValueError), bounded_nesting():
            while place < len(rest):
                row, end = _DECODER.raw_decode(rest, place)
                if end == len(rest) and more:
                    break  # a number may have more digits
                yield rest[place:end] if may_be_damaged and is_damaged(rest[place:end]) else row
                place = _skip(between, rest, end)
        rest = rest[place:]
        if between is _BETWEEN_ENTRIES and rest.startswith("]"):
            following = _NEXT_LIST.search(rest)
            if following is None and (not more or len(rest) > MAX_ROW_CHARS):
                break
            rest = rest if following is None else rest[following.end() :]
        elif rest and (not more or len(rest) > MAX_ROW_CHARS):
            line, newline, rest = rest.partition("\n")
            if first != "{" or between is _BETWEEN_ENTRIES or not newline:
                raise UnreadableFile(CUT_OFF)
            yield line
    is_in_list = between is _BETWEEN_ENTRIES and not rest.startswith("]")
    if is_in_list or (first == "[" and last != "]"):
        raise UnreadableFile(CUT_OFF)


def _skip(between: re.Pattern[str], text: str, place: int) -> int:
    found = between.match(text, place)
    return place if found is None else found.end()


def _csv_rows(text: TextIO) -> Iterator[object]:
    lines = iter(partial(text.readline, MAX_ROW_CHARS), "")
    first = next(lines, "")
    rows = csv.reader(chain([first], lines), delimiter=max(",;\t", key=first.count))
    header = next(rows, [])
    # lastfmstats.com appends the user to the name of the last column.
    names = [name.strip().lower().partition("#")[0] for name in header]
    has_header = len(names) != len(_CSV_COLUMNS) or not _CSV_DATE.fullmatch(header[-1])
    for values in rows if has_header else chain([header], rows):
        line = ", ".join(values)
        if line:
            known = zip(names if has_header else _CSV_COLUMNS, values, strict=False)
            yield line if is_damaged(line) else dict(known)


def is_damaged(text: str) -> bool:
    """Return whether text was read from bytes that are not UTF-8: they have become lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def describe_error(error: Exception) -> str:
    """Return why something cannot be read."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or "the file ends too early"
