from __future__ import annotations

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.transfer.importer import json_stream
from spotify_logger.transfer.importer.json_stream import UnreadableFile, read_elements

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
objects = st.dictionaries(st.text(), values, max_size=2)


def read(content: bytes, chunk_bytes: int = 1 << 18) -> tuple[list[object], str]:
    """Return the elements, and the problem after them."""
    found: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK_BYTES", chunk_bytes)
        try:
            for mark, elements in read_elements(io.BytesIO(content)):
                assert mark.number == len(found)
                found += elements
        except UnreadableFile as error:
            return found, f"{error.number}: {error}"
    return found, ""


@settings(max_examples=20)
@given(st.lists(objects), st.integers(1, 40), st.sampled_from((None, 1)))
def test_array_is_read_in_chunks_of_any_size(
    rows: list[object], chunk_bytes: int, indent: int | None
) -> None:
    content = json.dumps(rows, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert read(content, chunk_bytes)[0] == json.loads(content.decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    ("content", "expected", "problem"),
    [
        (b"", [], ""),
        (b"\xef\xbb\xbf[1, 23]", [1, 23], ""),
        (b'[{"a": 1}, {"b": ', [{"a": 1}], "2: the file is cut off"),
        (b'[{"a": 1}, {b}, {"c": 1}]', [{"a": 1}], "2: the file is cut off"),
        (b"<html>", [], "1: the file is cut off"),
        (b'["\xff\xfe"]', ["\udcff\udcfe"], ""),
        (b"[" + b'{"a":' * 100_000, [], "1: the file is cut off"),
        (b"[" + b"9" * 5000 + b", 1]", [], "1: the file is cut off"),
        (b'["' + b"a" * (1 << 21), [], "1: not JSON, or too long"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_elements_before_a_fault_are_kept(content: bytes, expected: list[object], problem: str) -> None:
    for chunk_bytes in (1, 7, 1 << 18) if len(content) < 1000 else (1 << 18,):
        found, said = read(content, chunk_bytes)
        assert (found, said[: len(problem)]) == (expected, problem)
        assert bool(said) == bool(problem)


@settings(max_examples=20)
@given(st.lists(objects, min_size=1), st.sampled_from(("\n{}\n", "[\n{}\n]")))
def test_reading_continues_at_any_mark(rows: list[object], form: str) -> None:
    content = b"\xef\xbb\xbf" + form.replace("{}", ",\n".join(map(json.dumps, rows))).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK_BYTES", 20)
        marks = [mark for mark, _ in read_elements(io.BytesIO(content))]
    for mark in marks:
        stream = io.BytesIO(content)
        stream.seek(mark.offset)
        assert [row for _, more in read_elements(stream, mark) for row in more] == rows[mark.number :]
