from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spotify_logger.transfer.importer import files
from spotify_logger.transfer.importer.files import SourceFile, UnreadableFile

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)
objects = st.dictionaries(st.text(), values, max_size=2)


def read(content: bytes) -> tuple[list[object], str]:
    """Return the rows, and the problem after them."""
    rows: list[object] = []
    with io.TextIOWrapper(io.BytesIO(content), "utf-8-sig", "surrogateescape") as text:
        try:
            rows.extend(SourceFile("", Path()).rows(text))
        except UnreadableFile as error:
            return rows, str(error)
    return rows, ""


@settings(max_examples=20)
@given(st.lists(objects), st.sampled_from(("[{}]", "[\n{}\n]\n", "{}\n")), st.booleans())
def test_arrays_and_lines_are_read(rows: list[object], form: str, has_mark: bool) -> None:  # noqa: FBT001
    text = form.replace("{}", ("\n" if form == "{}\n" else ",\n").join(map(json.dumps, rows)))
    assert read(text.encode("utf-8-sig" if has_mark else "utf-8")) == (rows, "")


@pytest.mark.parametrize(
    ("content", "expected", "problem"),
    [
        (b"", [], ""),
        (b"{}", [{}], ""),
        (b'[\n  {\n    "a": 1\n  }\n]', [{"a": 1}], ""),
        (b'{\n"a": 1}', [{"a": 1}], ""),
        (b'["\xff\xfe", "a", {"a": "\xc3\xa4"}]', ['"\udcff\udcfe"', "a", {"a": "\xe4"}], ""),
        (b'[{"a": NaN, "b": -Infinity}]', [{"a": None, "b": None}], ""),
        (b'[{"a": 1}, {"b": ', [{"a": 1}], "cut off"),
        (b'[{"a": 1}, {b}, {"c": 1}]', [{"a": 1}], "cut off"),
        (b'{"a": 1}\n{"b": ', [{"a": 1}], "cut off"),
        (b'[\n{"a": 1},\n', [{"a": 1}], "cut off"),
        (b'{"a": 1}\n{"b\x00": 1}\n{"c": 1}\n', [{"a": 1}, '{"b\x00": 1}', {"c": 1}], ""),
        (b"<html>\n</html>\n", [], "cut off"),
        (b"[1, " + b'{"a":' * 100_000, [1], "cut off"),
        (b"[1, " + b"[" * 100_000, [1], "cut off"),
        (b'{"a": 1}\n' + b'{"a":' * 100_000, [{"a": 1}], "cut off"),
        (b"[" + b"9" * 5000 + b", 1]", [], "cut off"),
        (b'{"a": 1}\n{"b": "' + b"b" * (1 << 21) + b'"}', [{"a": 1}], "cut off"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_rows_before_a_fault_are_kept(content: bytes, expected: list[object], problem: str) -> None:
    rows, found = read(content)
    assert rows == expected
    assert problem in found
    assert bool(problem) == bool(found)


@pytest.mark.parametrize("form", ["[%s]", "%s"])
def test_numbers_may_be_read_in_pieces(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[object] = [12345, {"a": 1}, -1.5, 2e21, {"a": 2}]
    text = form % "\n".join(map(json.dumps, rows))
    for size in range(1, 9):
        monkeypatch.setattr(files, "CHARS_PER_READ", size)
        assert read(text.encode()) == (rows, "")


PAGES = (
    '{"version": "1", "about": {"a": 1}, "listens": [{}, {}]}',
    '{\n"scrobbles": [{},\n{}\n]\n}\n',
    '{"recenttracks": {"@attr": {"page": "1"}, "track": [{}, {}], "more": [1]}}',
    '{"payload": {"count": 2, "listens": [{}, {}]}}',
    '[{"@attr": {"page": "1"}, "track": [{}]}, {"track": [{}], "@attr": {"page": "2"}}]',
    '{"recenttracks": {"track": [{}]}}\n{"recenttracks": {"track": [{}]}}\n',
)


@pytest.mark.parametrize("form", PAGES, ids=range(len(PAGES)))
def test_lists_in_objects_are_read(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[object] = [{"name": number, "tags": [{"track": [number]}] * number} for number in range(2)]
    text = form.replace("{}", "%s") % tuple(map(json.dumps, rows))
    for size in (1, 70, files.CHARS_PER_READ):
        monkeypatch.setattr(files, "CHARS_PER_READ", max(size, text.index("name")))
        assert read(text.encode()) == (rows, "")
    for end in (text.index("tags"), text.rindex("tags")):
        assert "cut off" in read(text[:end].encode())[1]
