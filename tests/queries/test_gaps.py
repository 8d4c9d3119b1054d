from __future__ import annotations

import pytest

from spotify_logger.queries.gaps import Gap, ending_after, gap_data, gap_words, gaps_words, unobserved_seconds

NOON = 1_795_348_800  # 2026-11-22T12:00:00Z
DAY = 86_400
NIGHT: Gap = (NOON - 12 * 3600, NOON - 10 * 3600, "offline")
MORNING: Gap = (NOON - 3000, NOON - 600, "not running")
GAPS = [NIGHT, MORNING]


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of people are local ones."""
    monkeypatch.setattr(
        "spotify_logger.queries.gaps.local_period", lambda begin, end: f"{begin - NOON}..{end - NOON}"
    )


@pytest.mark.parametrize(
    ("moment", "left", "seconds"),
    [
        (NOON - DAY, GAPS, 7200 + 2400),
        (NIGHT[0] + 1800, GAPS, 5400 + 2400),  # of the first one only what came later
        (NIGHT[1], [MORNING], 2400),
        (MORNING[0], [MORNING], 2400),
        (MORNING[1] - 0.5, [MORNING], 0),
        (MORNING[1], [], 0),
        (NOON, [], 0),
    ],
)
def test_since_a_moment(moment: float, left: list[Gap], seconds: int) -> None:
    assert ending_after(GAPS, moment) == left
    assert unobserved_seconds(GAPS, moment) == seconds


def test_for_programs() -> None:
    assert gap_data(MORNING) == {
        "from": "2026-11-22T11:10:00.000Z",
        "to": "2026-11-22T11:50:00.000Z",
        "reason": "not running",
    }


@pytest.mark.parametrize(
    ("gap", "words"),
    [
        (NIGHT, "(offline for 2 h)"),
        (MORNING, "(not running for 40 min)"),
        ((NOON, NOON + 6600, "login dead"), "(login dead for 1 h 50 min)"),
    ],
)
def test_among_plays(gap: Gap, words: str) -> None:
    assert gap_words(gap) == words


class TestLine:
    def test_there_is_none(self) -> None:
        assert gaps_words([], 7, NOON - 7 * DAY) == ""

    def test_one(self) -> None:
        words = "1 in 7 days, 40 min in all; the last -3000..-600, not running"
        assert gaps_words([MORNING], 7, NOON - 7 * DAY) == words

    def test_several(self) -> None:
        words = "2 in 30 days, 2 h 40 min in all; the last -3000..-600, not running"
        assert gaps_words(GAPS, 30, NOON - 30 * DAY) == words

    def test_of_one_that_began_before_only_the_rest_counts(self) -> None:
        words = "2 in 1 days, 1 h 40 min in all; the last -3000..-600, not running"
        assert gaps_words(GAPS, 1, NIGHT[0] + 3600) == words

    def test_thousands(self) -> None:
        gaps = [(NOON - 600 * number, NOON - 600 * number + 301, "offline") for number in range(1234, 0, -1)]
        assert gaps_words(gaps, 30, NOON - 30 * DAY).startswith("1,234 in 30 days, 4 days 7 h in all; ")
