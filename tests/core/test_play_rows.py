from __future__ import annotations

import pytest

from spotify_logger.core.play_rows import PlayRows, Session, read_day, sessions

NOON = 1_795_348_800
TRACK, EPISODE, LOCAL = (
    "track:4cOdK2wGLETKBW3PvgPWqT",
    "episode:512ojhOuo1ktJprKbVcKyQ",
    "local:0123456789abcdef",
)
DAY = {str(NOON): f"{TRACK} 215000 trackdone", str(NOON + 215): f"{EPISODE} 0 open"}


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
    assert len(part.items) == len(part.ms_played) == len(part.ends) == len(expected)


@pytest.mark.parametrize(
    ("plays", "expected"),
    [
        ([], []),
        ([(0, 60_000), (60 + 1799, 1)], [(0, 1_859_001)]),
        ([(0, 60_000), (60 + 1800, 1)], [(0, 60_000), (1860, 1_860_001)]),
        ([(0, 7_200_000), (10, 1), (8000, 1)], [(0, 8_000_001)]),  # one within another
        ([(86_300, 200_000), (86_500, 200_000)], [(86_300, 86_700_000)]),  # over midnight
    ],
)
def test_half_an_hour_of_silence_ends_a_session(
    plays: list[tuple[int, int]], expected: list[Session]
) -> None:
    assert [*sessions(plays)] == expected
