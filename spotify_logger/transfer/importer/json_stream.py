"""Read the elements of a large JSON file in chunks, so that it never has to fit in memory.

The file holds an array of any length, several arrays, or one element per line. Reading can start again at the
beginning of any chunk.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO
from zipfile import BadZipFile

from spotify_logger.system.errors import SpotifyLoggerError

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = 1 << 18
"""Bytes that are read at a time."""
MAX_ELEMENT_CHARS = 1 << 20
"""Characters of an element at most; no row of any export is longer."""

_SEPARATORS = re.compile(r"[\s,\[\]\ufeff]*")
_DECODE = json.JSONDecoder().raw_decode
READ_ERRORS = (OSError, EOFError, BadZipFile, zlib.error, NotImplementedError, RuntimeError)
"""The errors that reading a file or a member of a zip can raise."""


class UnreadableFile(SpotifyLoggerError):  # noqa: N818 - the state of a file
    """A file cannot be read, or is not JSON, from some element on.

    Attributes:
        number: The number of that element, counted from 1.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """A position between two elements.

    Attributes:
        offset: The number of bytes before it.
        number: The number of elements before it.
        is_in_array: Whether it is inside an array.
    """

    offset: int = 0
    number: int = 0
    is_in_array: bool = False


START = StreamPosition()


def read_elements(
    stream: BinaryIO, position: StreamPosition = START
) -> Iterator[tuple[StreamPosition, list[object]]]:
    """Read a file in chunks.

    Args:
        stream: The file, positioned at `position`.
        position: Where to begin.

    Yields:
        The position of a chunk, and its complete elements, possibly none.

    Raises:
        UnreadableFile: The file cannot be read any further; the elements before that have been yielded.
    """
    return _Reader(stream, position).chunks()


def describe_error(error: Exception) -> str:
    """Return why something cannot be read."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or "the file ends too early"


class _Reader:
    def __init__(self, stream: BinaryIO, position: StreamPosition) -> None:
        self._stream = stream
        self._position = position
        # Invalid UTF-8 can be counted in bytes this way; it is replaced when a text is stored.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = ""
        self._is_last = False

    def chunks(self) -> Iterator[tuple[StreamPosition, list[object]]]:
        while not self._is_last:
            self._refill()
            begin = self._position
            elements, fault = self._complete_elements()
            yield begin, elements
            if fault:
                raise UnreadableFile(fault, self._position.number + 1)

    def _refill(self) -> None:
        try:
            read = self._stream.read(CHUNK_BYTES)
        except READ_ERRORS as error:
            words = f"cannot be read any further: {describe_error(error)}"
            raise UnreadableFile(words, self._position.number + 1) from None
        self._is_last = not read
        self._text += self._decoder.decode(read, final=self._is_last)

    def _complete_elements(self) -> tuple[list[object], str]:
        """Remove and return the complete elements of the text, and what is wrong with the rest, or ""."""
        text, elements, fault = self._text, [], ""
        end, is_in_array = 0, self._position.is_in_array
        while True:
            separator, place = self._separator(text, end)
            if "[" in separator or "]" in separator:
                is_in_array = separator.rfind("[") > separator.rfind("]")
            if place == len(text):
                end = place
                fault = "the file is cut off" if self._is_last and is_in_array else ""
                break
            try:
                element, after = _DECODE(text, place)
            except (ValueError, RecursionError):
                fault = self._fault(len(text) - place)
                break
            if after == len(text) and not self._is_last:
                break  # a number may go on in the next chunk
            elements.append(element)
            end = after
        self._advance(end, len(elements), is_in_array=is_in_array)
        return elements, fault

    def _separator(self, text: str, end: int) -> tuple[str, int]:
        found = _SEPARATORS.match(text, end)
        separator = "" if found is None else found[0]
        return separator, end + len(separator)

    def _fault(self, length: int) -> str:
        """Return why the rest of the text is not an element; "" if it may only be incomplete."""
        if length > MAX_ELEMENT_CHARS:
            return "not JSON, or too long"
        return "the file is cut off, or not JSON from there on" if self._is_last else ""

    def _advance(self, end: int, elements: int, *, is_in_array: bool) -> None:
        offset = self._position.offset + len(self._text[:end].encode("utf-8", "surrogateescape"))
        self._position = StreamPosition(offset, self._position.number + elements, is_in_array)
        self._text = self._text[end:]
