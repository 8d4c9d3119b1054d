from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spotify_logger.core.play_rows import PlayRows, read_day, read_days, read_hashes, read_items, read_values
from spotify_logger.core.redis_keys import row_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOON = 1_795_348_800
TRACK, EPISODE, LOCAL = (
    "track:4cOdK2wGLETKBW3PvgPWqT",
    "episode:512ojhOuo1ktJprKbVcKyQ",
    "local:0123456789abcdef",
)
DAY = {str(NOON): f"{TRACK} 215000 trackdone", str(NOON + 215): f"{EPISODE} 0 open"}
ERROR = "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"


def array(texts: Sequence[str | None]) -> str:
    """Return an array of bulk strings in Redis's protocol."""
    bulks = ("$-1\r\n" if text is None else f"${len(text.encode())}\r\n{text}\r\n" for text in texts)
    return f"*{len(texts)}\r\n{''.join(bulks)}"


def hashes(*contents: Mapping[str, str]) -> str:
    """Return the replies to HGETALL."""
    return "".join(array([text for pair in content.items() for text in pair]) for content in contents)


def values(*contents: Mapping[str, str]) -> str:
    """Return the replies to HVALS."""
    return "".join(array(list(content.values())) for content in contents)


SECONDS = st.integers(NOON, NOON + 5).map(str)
ROWS = st.builds(
    row_value,
    st.sampled_from((TRACK, EPISODE, LOCAL, "track:7")),
    st.sampled_from((0, 1, 215_000, 10**12 - 1)),
    st.sampled_from((None, "trackdone", "skipped", "invalid")),
)
DAYS = st.lists(st.dictionaries(SECONDS, ROWS, max_size=6), min_size=1, max_size=4)
FRAGMENTS = ("track:a", "local:", "5", "open", " ", "\r\n", "\n", "*2", "$1", "-1", "٣", "\ufffd")
HOSTILE_TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=6).map("".join)
HOSTILE_DAYS = st.dictionaries(SECONDS | HOSTILE_TEXTS, ROWS | HOSTILE_TEXTS, max_size=4)


@given(DAYS)
@settings(max_examples=50)
def test_rows_of_the_logger_are_read(days: list[dict[str, str]]) -> None:
    expected = [read_day(day) for day in days]
    assert read_days(hashes(*days), len(days)) == expected
    assert read_items(values(*days), len(days)) == {item for day in expected for item in day.items}


@given(st.lists(HOSTILE_DAYS, min_size=1, max_size=3))
@settings(max_examples=50)
@example([{str(NOON): "track:a 1_0 open"}])
@example([{str(NOON): "track:a 5 open\r\n$10\r\n1795348801\r\n$14\r\ntrack:b 5 open"}])
@example([{str(NOON): "track:a 5 open\r\n*0"}, {}])
def test_foreign_rows_are_read_correctly_or_not_at_all(days: list[dict[str, str]]) -> None:
    assert read_days(hashes(*days), len(days)) in (None, [read_day(day) for day in days])
    read = read_hashes(hashes(*days), len(days))
    is_plain = all("\r\n" not in text for day in days for text in (*day, *day.values()))
    assert read == days if is_plain else read in (None, days)


@pytest.mark.parametrize(
    "value",
    [
        f"{TRACK} 215000",  # as version 0.1 wrote it
        f"{TRACK} 215000 invalid",
        f"{TRACK}  215000 trackdone",
        f"{TRACK}\n215000 trackdone",
        f"{TRACK} 215000 trackdone\r\n$4\r\nopen",
        "album:1 215000 trackdone",
        "track:\u00e4 215000 trackdone",
        "",
    ],
)
def test_unexpected_values_are_left_to_the_slow_path(value: str) -> None:
    assert read_days(hashes(DAY, {**DAY, str(NOON): value}), 2) is None
    assert read_items(values(DAY, {"1": value}), 2) is None


@pytest.mark.parametrize(
    ("second", "milliseconds"),
    [
        (10**9 - 1, 1),
        (10**10, 1),
        ("soon", 1),
        ("later.soon", 1),
        ("0001795348", 1),
        (NOON, 10**12),
        (NOON, "+1"),
    ],
)
def test_unexpected_numbers_are_left_to_the_slow_path(second: int | str, milliseconds: int | str) -> None:
    assert read_days(hashes({**DAY, str(second): f"{TRACK} {milliseconds} trackdone"}), 1) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "*",
        "*x\r\n",
        "$-1\r\n",
        ERROR,
        hashes(DAY) + ERROR,
        hashes(DAY)[:-9],
        hashes(DAY).replace("*4", "*6"),
    ],
)
def test_other_replies_are_refused(text: str) -> None:
    assert read_days(text, 1) is None
    assert read_hashes(text, 1) is None
    assert read_items(text, 1) is None
    assert read_values(text, 1, 2) is None


@given(
    st.lists(
        st.tuples(*[st.none() | st.sampled_from(("", "Air", "–", "-1", "*2", "a\nb", "\r"))] * 2), max_size=5
    )
)
@settings(max_examples=50)
def test_values_are_read(rows: list[tuple[str | None, str | None]]) -> None:
    expected = [tuple(value or "" for value in row) for row in rows]
    assert read_values("".join(map(array, rows)), len(rows), 2) == expected


def test_rows_are_sorted_and_lines_that_are_no_rows_left_out() -> None:
    day = DAY | {
        "soon": f"{TRACK} 1 open",
        str(NOON + 1): f"{TRACK} 7",
        str(NOON + 2): "x",
        str(NOON - 1): "",
    }
    assert read_day(day) == PlayRows(
        [NOON, NOON + 1, NOON + 215],
        [TRACK, TRACK, EPISODE],
        [215_000, 7, 0],
        ["trackdone", "unknown", "open"],
    )
    assert read_day({"x": "y"}) == PlayRows()


@pytest.mark.parametrize(
    ("begin", "end", "expected"),
    [(0, 100, [10, 20, 30]), (11, 30, [20]), (20, 21, [20]), (21, 30, []), (31, 100, []), (30, 10, [])],
)
def test_a_part_of_the_rows_excludes_its_end(begin: int, end: int, expected: list[int]) -> None:
    rows = PlayRows([10, 20, 30], [TRACK, EPISODE, LOCAL], [1, 2, 3], ["open", "skipped", "stopped"])
    part = rows.between(begin, end)
    assert part.seconds == expected
    assert part == rows.select([second in expected for second in rows.seconds])
