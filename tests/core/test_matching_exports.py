from __future__ import annotations

import pytest

from spotify_logger.core.matching import AccountRank
from spotify_logger.core.matching_exports import PlayEvidence, cost
from spotify_logger.core.play import Play
from spotify_logger.core.player_state import Item

ITEM = Item("track:a", "spotify:track:a", None, {"name": "a"})


def evidence(kind: AccountRank, begin: float, end: float, played: float, reason: str) -> PlayEvidence:
    """Return what a source reports; times are in seconds."""
    begin_ms, end_ms, ms_played = (round(1000 * each) for each in (begin, end, played))
    return PlayEvidence(Play(0, ITEM, begin_ms, end_ms, ms_played, reason), kind, end_ms)


@pytest.mark.parametrize(
    ("polled", "row"),
    [
        ((13.1, 636.3, 6.0, "skipped"), (12, 682, 23.6, "trackdone")),  # resumed and over between two answers
        ((602.0, 602.0, 0.0, "stopped"), (601, 608, 4.4, "stopped")),  # its end was not seen
        ((18.1, 27.3, 9.2, "stopped"), (12, 824, 34.5, "trackdone")),  # noticed late, and resumed unobserved
    ],
)
def test_a_row_that_has_a_play_in_it_is_that_play(
    polled: tuple[float, float, float, str], row: tuple[float, float, float, str]
) -> None:
    known, later = evidence(AccountRank.LIVE, *polled), (row[0] + 60, row[1] + 60, *row[2:])
    assert cost(evidence(AccountRank.EXTENDED, *row), known) is not None
    assert cost(evidence(AccountRank.EXTENDED, *later), known) is None


def test_a_play_that_was_resumed_before_the_player_was_left_is_the_row() -> None:
    row = evidence(AccountRank.EXTENDED, 10, 123, 113, "stopped")
    row.reported_end_ms = 9_000_000
    assert cost(row, evidence(AccountRank.LIVE, 257, 369.8, 112.7, "stopped")) is not None
    assert cost(row, evidence(AccountRank.LIVE, 257, 387, 130, "stopped")) is None
    assert cost(row, evidence(AccountRank.LIVE, 9257, 9369, 112, "stopped")) is None


def test_a_neighbor_that_was_noticed_late_is_not_the_row() -> None:
    row = evidence(AccountRank.EXTENDED, 12, 824, 34.5, "trackdone")
    assert cost(row, evidence(AccountRank.LIVE, 13.5, 16.5, 3, "skipped")) is not None  # begins with it
    assert cost(row, evidence(AccountRank.LIVE, 14.5, 16.5, 2, "skipped")) is None


def test_the_end_of_a_long_play_at_another_speed_may_be_off_by_a_hundredth() -> None:
    row = evidence(AccountRank.EXTENDED, 12, 1515.2, 1503.2, "trackdone")
    assert cost(row, evidence(AccountRank.LIVE, 94, 1523, 1429, "trackdone")) is not None
    assert cost(row, evidence(AccountRank.LIVE, 494, 1923, 1429, "trackdone")) is None
