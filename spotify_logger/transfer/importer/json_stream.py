"""The elements of a large JSON file, one after the other: never more of it in memory than a piece.

An array of any length, several of them, or one element a line. A file may be read again from any place at
which a piece began.
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

PIECE = 1 << 18
"""Bytes that are read at once."""
LONGEST = 1 << 20
"""Characters of an element; what is longer is no row of any export."""

_BETWEEN = re.compile(r"[\s,\[\]\ufeff]*")
_DECODE = json.JSONDecoder().raw_decode
UNREADABLE = (OSError, EOFError, BadZipFile, zlib.error, NotImplementedError, RuntimeError)
"""What files, and members of a zip, raise when they cannot be read."""


class Broken(SpotifyLoggerError):  # noqa: N818 - what the file is
    """A file is no JSON from here on, or cannot be read any further.

    Attributes:
        number: Of the element that could not be read, the first one being 1.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.number = number


@dataclass(frozen=True, slots=True)
class Mark:
    """A place between two elements.

    Attributes:
        offset: Bytes before it.
        number: Elements before it.
        is_inside: Whether it is inside of an array.
    """

    offset: int = 0
    number: int = 0
    is_inside: bool = False


BEGINNING = Mark()


def read_elements(stream: BinaryIO, mark: Mark = BEGINNING) -> Iterator[tuple[Mark, list[object]]]:
    """Read a file, piece by piece.

    Args:
        stream: The file, standing at the mark.
        mark: Where that is.

    Yields:
        Where a piece begins, and the elements that are whole in it, of which there may be none.

    Raises:
        Broken: What came before has been given.
    """
    return _Reader(stream, mark).pieces()


def words_of(error: Exception) -> str:
    """Why something cannot be read."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or "it ends too early"


class _Reader:
    def __init__(self, stream: BinaryIO, mark: Mark) -> None:
        self._stream = stream
        self._mark = mark
        # Bytes that are no UTF-8 can be counted this way; they are replaced when a text is stored.
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = ""
        self._is_last = False

    def pieces(self) -> Iterator[tuple[Mark, list[object]]]:
        while not self._is_last:
            self._refill()
            begin = self._mark
            elements, fault = self._whole()
            yield begin, elements
            if fault:
                raise Broken(fault, self._mark.number + 1)

    def _refill(self) -> None:
        try:
            read = self._stream.read(PIECE)
        except UNREADABLE as error:
            words = f"it cannot be read any further: {words_of(error)}"
            raise Broken(words, self._mark.number + 1) from None
        self._is_last = not read
        self._text += self._decoder.decode(read, final=self._is_last)

    def _whole(self) -> tuple[list[object], str]:
        """Take the elements that are whole from the text, and tell what is wrong with what follows them."""
        text, elements, fault = self._text, [], ""
        end, is_inside = 0, self._mark.is_inside
        while True:
            between, place = self._between(text, end)
            if "[" in between or "]" in between:
                is_inside = between.rfind("[") > between.rfind("]")
            if place == len(text):
                end = place
                fault = "it is cut off" if self._is_last and is_inside else ""
                break
            try:
                element, after = _DECODE(text, place)
            except (ValueError, RecursionError):
                fault = self._fault(len(text) - place)
                break
            if after == len(text) and not self._is_last:
                break  # a number may have more digits
            elements.append(element)
            end = after
        self._advance(end, len(elements), is_inside=is_inside)
        return elements, fault

    def _between(self, text: str, end: int) -> tuple[str, int]:
        found = _BETWEEN.match(text, end)
        between = "" if found is None else found[0]
        return between, end + len(between)

    def _fault(self, length: int) -> str:
        """What is wrong where no element can be made of what is left; nothing if more of it is to come."""
        if length > LONGEST:
            return "what stands there is no JSON, or too long"
        return "it is cut off, or no JSON from there on" if self._is_last else ""

    def _advance(self, end: int, elements: int, *, is_inside: bool) -> None:
        offset = self._mark.offset + len(self._text[:end].encode("utf-8", "surrogateescape"))
        self._mark = Mark(offset, self._mark.number + elements, is_inside)
        self._text = self._text[end:]
