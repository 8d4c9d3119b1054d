from __future__ import annotations

import pytest

from spotify_logger.queries.gaps import Gap, ending_after, gap_data, gap_words, gaps_words, unobserved_seconds

NOON = 1_795_348_800  # 2026-11-22T12:00:00Z
DAY = 86_400
NIGHT: Gap = (NOON - 12 * 3600, NOON - 10 * 3600, "offline")
MORNING: Gap = (NOON - 3000, NOON - 600, "not running")
GAPS = [NIGHT, MORNING]


@pytest.mark.parametrize(
    ("second", "left", "seconds"),
    [
        (NOON - DAY, GAPS, 7200 + 2400),
        (NIGHT[0] + 1800, GAPS, 5400 + 2400),  # only the rest of the first one
        (NIGHT[1], [MORNING], 2400),
        (MORNING[1] - 0.5, [MORNING], 0),
        (MORNING[1], [], 0),
    ],
)
def test_gaps_since_a_second(second: float, left: list[Gap], seconds: int) -> None:
    assert ending_after(GAPS, second) == left
    assert unobserved_seconds(GAPS, second) == seconds


def test_one_gap() -> None:
    assert gap_words(MORNING) == "(not running for 40 min)"
    bounds = {"from": "2026-11-22T11:10:00.000Z", "to": "2026-11-22T11:50:00.000Z"}
    assert gap_data(MORNING) == {**bounds, "reason": "not running"}


@pytest.mark.parametrize(
    ("gaps", "days", "since", "words"),
    [
        ([], 7, NOON - 7 * DAY, ""),
        ([MORNING], 7, NOON - 7 * DAY, "1 in 7 days, 40 min in all; the last -3000..-600, not running"),
        (GAPS, 1, NIGHT[0] + 3600, "2 in 1 days, 1 h 40 min in all; the last -3000..-600, not running"),
        ([MORNING] * 1234, 30, 0, "1,234 in 30 days, 34 days 6 h in all; the last -3000..-600, not running"),
    ],
    ids=["none", "one", "one that began earlier", "thousands"],
)
def test_gaps_in_a_line(
    monkeypatch: pytest.MonkeyPatch, gaps: list[Gap], days: int, since: int, words: str
) -> None:
    monkeypatch.setattr(
        "spotify_logger.queries.gaps.local_period", lambda begin, end: f"{begin - NOON}..{end - NOON}"
    )
    assert gaps_words(gaps, days, since) == words
