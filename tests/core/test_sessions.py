from __future__ import annotations

import pytest

from spotify_logger.core.sessions import Session, sessions


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
