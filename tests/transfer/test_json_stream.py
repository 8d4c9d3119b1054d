from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.transfer.importer import json_stream
from spotify_logger.transfer.importer.json_stream import UnreadableFile, read_elements

if TYPE_CHECKING:
    from collections.abc import Iterator

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.text(), values, max_size=4)


def read(content: bytes, piece: int = 1 << 18) -> tuple[list[object], str]:
    """The elements, and what is wrong after them; so many bytes are read at once."""
    found: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK_BYTES", piece)
        try:
            for mark, more in read_elements(io.BytesIO(content)):
                assert mark.number == len(found)
                found += more
        except UnreadableFile as error:
            return found, f"{error.number}: {error}"
    return found, ""


@settings(max_examples=50)
@given(st.lists(objects), st.integers(1, 40), st.sampled_from((None, 1)))
def test_an_array_is_read_whatever_is_read_at_once(
    rows: list[object], piece: int, indent: int | None
) -> None:
    content = json.dumps(rows, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert read(content, piece)[0] == json.loads(content.decode("utf-8", "surrogateescape"))


@settings(max_examples=50)
@given(st.lists(objects, min_size=1), st.integers(1, 40))
def test_one_element_a_line_is_read_too(rows: list[object], piece: int) -> None:
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    assert read(content, piece) == (rows, "")


@pytest.mark.parametrize(
    ("content", "expected", "fault"),
    [
        (b"", [], ""),
        (b"[]", [], ""),
        (b"\xef\xbb\xbf[1, 23]", [1, 23], ""),
        (b"[1][2]", [1, 2], ""),
        (b"[1, 2", [1, 2], "3: the file is cut off"),
        (b"[1,", [1], "2: the file is cut off"),
        (b'[{"a": 1}, {"b": ', [{"a": 1}], "2: the file is cut off, or not JSON from there on"),
        (b'[{"a": 1}, {b}, {"c": 1}]', [{"a": 1}], "2: the file is cut off, or not JSON from there on"),
        (b"<html>", [], "1: the file is cut off, or not JSON from there on"),
        (b'["\xff\xfe"]', ["\udcff\udcfe"], ""),
        (b"[" + b'{"a":' * 100_000, [], "1: the file is cut off, or not JSON from there on"),
        (b"[" + b"9" * 5000 + b", 1]", [], "1: the file is cut off, or not JSON from there on"),
        (b'["' + b"a" * (1 << 21), [], "1: not JSON, or too long"),
    ],
    ids=repr,
)
def test_what_came_before_a_fault_is_kept(content: bytes, expected: list[object], fault: str) -> None:
    for piece in (1, 7, 1 << 18) if len(content) < 1000 else (1 << 18,):
        assert read(content, piece) == (expected, fault)


class Failing(io.BytesIO):
    """A disk that fails at some point."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise OSError(5, "Input/output error")
        return super().read(4)


def pieces(stream: Failing) -> Iterator[list[object]]:
    return (more for _, more in read_elements(stream))


def test_a_disk_that_fails_is_named() -> None:
    found = pieces(Failing(b"[1, 2, 3]"))
    assert next(found) == [1]
    with pytest.raises(UnreadableFile, match="cannot be read any further: Input/output error") as error:
        next(found)
    assert error.value.number == 2


@settings(max_examples=50)
@given(st.lists(objects, min_size=1), st.sampled_from(("\n{}\n", "[\n{}\n]")))
def test_it_is_read_again_from_where_any_piece_began(rows: list[object], form: str) -> None:
    content = b"\xef\xbb\xbf" + form.replace("{}", ",\n".join(map(json.dumps, rows))).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK_BYTES", 20)
        marks = [mark for mark, _ in read_elements(io.BytesIO(content))]
    for mark in marks:
        stream = io.BytesIO(content)
        stream.seek(mark.offset)
        assert [row for _, more in read_elements(stream, mark) for row in more] == rows[mark.number :]


def test_memory_does_not_grow_with_the_file() -> None:
    long = io.BytesIO(b"[" + b'{"a": 1},' * 100_000 + b"1]")
    assert max(len(more) for _, more in read_elements(long)) < 40_000
