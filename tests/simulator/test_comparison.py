from __future__ import annotations

from dataclasses import dataclass

import pytest

from spotify_logger.core.play import Play
from spotify_logger.core.player_state import Item
from spotify_logger.simulator.comparison import compare
from spotify_logger.simulator.timeline import TruePlay

NOON = 1_790_000_000


def true(name: str, start: float, end: float, heard: float | None = None) -> TruePlay:
    """Return a true play; seconds after noon."""
    return TruePlay(
        started_at=NOON + start,
        ended_at=NOON + end,
        ms_played=round((end - start if heard is None else heard) * 1000),
        item=f"track:{name}",
        uri=f"spotify:track:{name}",
        name=name,
        artists=("Somebody",),
        album="Something",
        duration_ms=200_000,
        end_reason="trackdone",
        kind="track",
    )


def logged(name: str, start: float, end: float, heard: float | None = None) -> Play:
    """Return a logged play; seconds after noon."""
    return Play(
        second=NOON + int(start),
        item=Item(f"track:{name}", f"spotify:track:{name}", 200_000, {}),
        started_ms=round((NOON + start) * 1000),
        ended_ms=round((NOON + end) * 1000),
        ms_played=round((end - start if heard is None else heard) * 1000),
    )


@dataclass(frozen=True)
class VerdictCounts:
    """The number of each."""

    found: int = 0
    missed: int = 0
    duplicates: int = 0
    phantoms: int = 0


A = true("A", 0, 200)
AGAIN = true("A", 200, 400)

CASES: dict[str, tuple[list[TruePlay], list[Play], VerdictCounts]] = {
    "all logged": (
        [A, true("B", 200, 300)],
        [logged("A", 0, 200), logged("B", 200, 300)],
        VerdictCounts(found=2),
    ),
    "not logged": ([A, true("B", 200, 300)], [logged("A", 0, 200)], VerdictCounts(found=1, missed=1)),
    "not a true play": (
        [A],
        [logged("A", 0, 200), logged("B", 200, 300)],
        VerdictCounts(found=1, phantoms=1),
    ),
    "the same item at another time": ([A], [logged("A", 300, 500)], VerdictCounts(missed=1, phantoms=1)),
    "split": ([A], [logged("A", 0, 90), logged("A", 90, 200)], VerdictCounts(found=1, duplicates=1)),
    "logged twice": ([A], [logged("A", 0, 200), logged("A", 1, 200)], VerdictCounts(found=1, duplicates=1)),
    "two repeats as one": ([A, AGAIN], [logged("A", 0, 400)], VerdictCounts(found=1, missed=1)),
    "a skip, stamped a little off": ([true("A", 10, 12)], [logged("A", 14, 15)], VerdictCounts(found=1)),
    "logged twice, and once more much later": (
        [A],
        [logged("A", 0, 200), logged("A", 203, 204), logged("A", 900, 901)],
        VerdictCounts(found=1, duplicates=1, phantoms=1),
    ),
}


@pytest.mark.parametrize(("truth", "plays", "expected"), CASES.values(), ids=CASES.keys())
def test_verdict(truth: list[TruePlay], plays: list[Play], expected: VerdictCounts) -> None:
    verdict = compare(truth, plays)
    counts = [len(part) for part in (verdict.pairs, verdict.missed, verdict.duplicates, verdict.phantoms)]
    assert VerdictCounts(*counts) == expected


def test_the_play_with_the_largest_overlap_is_chosen() -> None:
    """A play logged late must not be matched with the one after it."""
    first, second = logged("A", 2, 205), logged("A", 205, 400)
    for plays in ([first, second], [second, first]):
        verdict = compare([A, AGAIN], iter(plays))
        assert {(pair.truth.started_at, pair.logged.second) for pair in verdict.pairs} == {
            (A.started_at, first.second),
            (AGAIN.started_at, second.second),
        }


def test_the_better_part_of_a_split_play_counts_as_found() -> None:
    verdict = compare([A], [logged("A", 0, 60), logged("A", 60, 200)])
    assert [pair.logged.second for pair in verdict.pairs] == [NOON + 60]
    assert [play.second for play in verdict.duplicates] == [NOON]


def test_errors_of_start_and_time_played() -> None:
    for first, second in ((0.25, 90), (0.75, 91.5)), ((0.75, 91.5), (0.25, 90)):
        truth, play = true("A", first[0], 100, first[1]), logged("A", second[0], 100, second[1])
        (pair,) = compare([truth], [play]).pairs
        assert (pair.start_error_ms, pair.played_error_ms) == (500, 1500)
