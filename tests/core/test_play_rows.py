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
GOOD = {str(NOON): f"{TRACK} 215000 trackdone", str(NOON + 215): f"{EPISODE} 0 open"}


def bulk(text: str | None) -> str:
    return "$-1\r\n" if text is None else f"${len(text.encode())}\r\n{text}\r\n"


def array(texts: Sequence[str | None]) -> str:
    """What a server says, in the words of its protocol."""
    return f"*{len(texts)}\r\n" + "".join(map(bulk, texts))


def hashes(*days: Mapping[str, str]) -> str:
    return "".join(array([text for line in day.items() for text in line]) for day in days)


def values(*days: Mapping[str, str]) -> str:
    return "".join(array(list(day.values())) for day in days)


SECONDS = st.integers(NOON, NOON + 5) | st.sampled_from((10**9, 10**10 - 1))
ITEMS = st.sampled_from((TRACK, EPISODE, LOCAL, "track:7"))
ROWS = st.builds(
    row_value,
    ITEMS,
    st.sampled_from((0, 1, 215_000, 10**12 - 1)),
    st.sampled_from((None, "trackdone", "skipped", "stopped", "unknown", "eaten")),
)
DAYS = st.lists(st.dictionaries(SECONDS.map(str), ROWS, max_size=6), min_size=1, max_size=4)

PARTS = (
    "track:a",
    "local:",
    "5",
    "open",
    "skipped",
    " ",
    "\r\n",
    "\n",
    "*2",
    "$1",
    "-1",
    "_",
    "٣",
    "\ufffd",
    "+",
    "\t",
)
HOSTILE_TEXTS = st.lists(st.sampled_from(PARTS), max_size=6).map("".join)
HOSTILE_LINES = st.dictionaries(SECONDS.map(str) | HOSTILE_TEXTS, ROWS | HOSTILE_TEXTS, max_size=4)


class TestDays:
    @given(days=DAYS)
    def test_rows_of_the_logger_are_read(self, days: list[dict[str, str]]) -> None:
        assert read_days(hashes(*days), len(days)) == [read_day(day) for day in days]

    @settings(max_examples=150)
    @given(days=st.lists(HOSTILE_LINES, min_size=1, max_size=3))
    @example(days=[{"5": "track:a 5 open"}])
    @example(days=[{str(NOON): "track:a 1_0 open"}])
    @example(days=[{str(NOON): "track:a 5 open\r\n$10\r\n1795348801\r\n$14\r\ntrack:b 5 open"}])
    @example(days=[{str(NOON): "track:a\r\n5 open"}])
    @example(days=[{str(NOON): "track:a 5 open\r\n*0"}, {}])
    def test_foreign_rows_are_read_alike_or_not_at_all(self, days: list[dict[str, str]]) -> None:
        assert read_days(hashes(*days), len(days)) in (None, [read_day(day) for day in days])

    @pytest.mark.parametrize(
        ("second", "value"),
        [
            (NOON, f"{TRACK} 215000"),  # of the first version
            (NOON, f"{TRACK} 215000 eaten"),
            (NOON, f"{TRACK} 215000 trackdone "),
            (NOON, f"{TRACK}  215000 trackdone"),
            (NOON, f"{TRACK}\t215000 trackdone"),
            (NOON, f"{TRACK} 215000 trackdone\r\n$4\r\nopen"),
            (NOON, f"{TRACK}\n215000 trackdone"),
            (NOON, f"{TRACK} -1 trackdone"),
            (NOON, f"{TRACK} +1 trackdone"),
            (NOON, f"{TRACK} 1_000 trackdone"),
            (NOON, f"{TRACK} \u0663 trackdone"),
            (NOON, f"{TRACK} 1000000000000 trackdone"),
            (NOON, f"{TRACK} {'9' * 5000} trackdone"),
            (NOON, f"{TRACK} 1.5 trackdone"),
            (NOON, "album:1 215000 trackdone"),
            (NOON, "track:\u00e4 215000 trackdone"),
            (NOON, ""),
            (NOON, "*"),
            (10**9 - 1, f"{TRACK} 215000 trackdone"),
            (10**10, f"{TRACK} 215000 trackdone"),
            ("soon", f"{TRACK} 215000 trackdone"),
            ("0001795348", f"{TRACK} 215000 trackdone"),
            ("", f"{TRACK} 215000 trackdone"),
        ],
    )
    def test_unexpected_text(self, second: int | str, value: str) -> None:
        day = GOOD | {str(second): value}
        assert read_days(hashes(GOOD, day), 2) is None

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "*",
            "*\r\n",
            "*0",
            "*0\r\n*0\r\n",
            "*x\r\n",
            "*-1\r\n",
            "$-1\r\n",
            "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
            hashes(GOOD) + "-WRONGTYPE Operation against a key\r\n",
            hashes(GOOD)[:-2],
            hashes(GOOD)[:-9],
            hashes(GOOD).replace("*4", "*6"),
        ],
    )
    def test_other_replies(self, text: str) -> None:
        assert read_days(text, 1) is None

    def test_errors_and_values_that_look_like_replies(self) -> None:
        refusal = "-WRONGTYPE Operation\r\n"
        assert read_days(hashes({str(NOON): f"{TRACK} 1 open\r\n*\r\n*"}) + refusal + refusal, 3) is None
        assert read_days(hashes(GOOD) + refusal + hashes(GOOD), 3) is None

    def test_rows_are_sorted_by_time(self) -> None:
        lines = {str(NOON + after): f"{TRACK} {after} skipped" for after in (5, 1, 3)}
        assert read_days(hashes(lines), 1) == [read_day(lines)] == [
            PlayRows([NOON + 1, NOON + 3, NOON + 5], [TRACK] * 3, [1, 3, 5], ["skipped"] * 3)
        ]  # fmt: skip


class TestItems:
    @given(days=DAYS)
    def test_rows_of_the_logger_are_read(self, days: list[dict[str, str]]) -> None:
        items = {item for day in days for item in read_day(day).items}
        assert read_items(values(*days), len(days)) == items

    @pytest.mark.parametrize(
        "value",
        [
            f"{TRACK} 215000",
            f"{TRACK} 215000 eaten",
            f"{TRACK} 215000 open\r\n$1",
            f"{TRACK}\n215000 open",
            "album:1 215000 open",
            "track:\u00e4 215000 open",
            "",
        ],
    )
    def test_unexpected_text(self, value: str) -> None:
        assert read_items(values(GOOD, {"1": value}), 2) is None

    @pytest.mark.parametrize("text", ["", "*\r\n", "*1\r\n", "-WRONGTYPE Operation\r\n", "*0\r\n*0\r\n"])
    def test_other_replies(self, text: str) -> None:
        assert read_items(text, 1) is None


NAMED = st.none() | st.sampled_from(("", "Air", "–", "-1", "$-1", "*2", "$0", "a\nb", "\r", "\n"))


class TestValues:
    @settings(max_examples=150)
    @given(data=st.data(), width=st.integers(1, 3))
    def test_as_they_are(self, data: st.DataObject, width: int) -> None:
        rows = data.draw(st.lists(st.lists(NAMED, min_size=width, max_size=width), max_size=5))
        found = read_values("".join(map(array, rows)), len(rows), width)
        assert found in ([tuple(value or "" for value in row) for row in rows], None)
        if not any(value and value.endswith("$-1") for row in rows for value in row):
            assert found is not None

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "-WRONGTYPE Operation\r\n",
            "-WRONGTYPE Operation\r\n" + array(["a", "b"]),
            array(["a", "b"]) + "-WRONGTYPE Operation\r\n",
            array(["a\r\nb", "c"]) + array(["d", "e"]),
            array(["a\r\n$1\r\nb", "c"]) + "-WRONGTYPE Operation\r\n",
            array(["a"]) + array(["b", "c", "d"]),
            array(["a", "b"]) + array(["c", "d"])[:-2],
            array(["a", "b"]) * 3,
            array(["a", "b"]) + "*2\r\n:1\r\n:2\r\n",
            array(["a", "b"]) + "$1\r\nc\r\n+OK\r\n+OK\r\n",
        ],
    )
    def test_unexpected_text(self, text: str) -> None:
        assert read_values(text, 2, 2) is None


NAMES = st.sampled_from(("name", "uri", "", "ü", "*2", "$1"))
WORDS = st.sampled_from(("", "Air", "Łódź", "-1", "*2", "a\nb", "\r", "x\r\n$1\r\ny")) | HOSTILE_TEXTS


class TestHashes:
    @given(kept=st.lists(st.dictionaries(NAMES, WORDS, max_size=4), max_size=4))
    def test_it_reads_them_or_says_that_it_cannot(self, kept: list[dict[str, str]]) -> None:
        read = read_hashes(hashes(*kept), len(kept))
        is_plain = all("\r\n" not in text for each in kept for text in (*each, *each.values()))
        assert read == kept if is_plain else read in (None, kept)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "*0\r\n*0\r\n",
            "-WRONGTYPE a key of another kind\r\n",
            "*2\r\n$4\r\nname\r\n$4\r\nAir\r\n",
            "*2\r\n$4\r\nname\r\n",
            "*2\r\n$4\r\nname\r\n$3\r\nAir",
            "*x\r\n",
            "*99\r\n$4\r\nname\r\n",
        ],
    )
    def test_anything_else_is_none(self, text: str) -> None:
        assert read_hashes(text, 1) is None


class TestCut:
    ROWS = PlayRows([10, 20, 30], [TRACK, EPISODE, LOCAL], [1, 2, 3], ["open", "skipped", "stopped"])

    @pytest.mark.parametrize(
        ("begin", "end", "left"),
        [
            (0, 100, [10, 20, 30]),
            (10, 31, [10, 20, 30]),
            (11, 31, [20, 30]),
            (10, 30, [10, 20]),
            (20, 21, [20]),
            (21, 30, []),
            (31, 100, []),
            (0, 10, []),
            (30, 10, []),
        ],
    )
    def test_the_end_is_outside(self, begin: int, end: int, left: list[int]) -> None:
        cut = self.ROWS.between(begin, end)
        assert cut.seconds == left
        assert len(cut) == len(left)
        assert cut == self.ROWS.select([second in left for second in self.ROWS.seconds])

    def test_the_columns_stay_together(self) -> None:
        assert self.ROWS.between(20, 99) == PlayRows(
            [20, 30], [EPISODE, LOCAL], [2, 3], ["skipped", "stopped"]
        )

    def test_nothing_stays_nothing(self) -> None:
        assert PlayRows().between(0, 100) == PlayRows()


def test_lines_that_cannot_be_ours_are_left_out() -> None:
    lines = GOOD | {
        "soon": f"{TRACK} 1 open",
        str(NOON + 1): f"{TRACK} 7",
        str(NOON + 2): "x",
        str(NOON + 3): "",
    }
    assert read_day(lines) == PlayRows(
        [NOON, NOON + 1, NOON + 215],
        [TRACK, TRACK, EPISODE],
        [215_000, 7, 0],
        ["trackdone", "unknown", "open"],
    )
    assert read_day({"x": "y"}) == PlayRows()
