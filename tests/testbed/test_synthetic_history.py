from __future__ import annotations

from collections import Counter
from itertools import pairwise

from tests.testbed.synthetic_history import SyntheticHistory

UNTIL = 1_795_737_600


def test_a_history_is_as_long_and_as_varied_as_wanted() -> None:
    plays = list(SyntheticHistory(2000, 2.0, 200, UNTIL).live())
    assert len(plays) == 2000
    assert 150 < len({play.item.key for play in plays}) < 250
    assert UNTIL - 740 * 86_400 < plays[0].second < UNTIL - 720 * 86_400
    assert Counter(play.end_reason for play in plays).keys() == {"trackdone", "skipped", "stopped"}
    for play, following in pairwise(plays):
        assert play.ended_ms < following.started_ms
        assert play.second < following.second
        assert 0 <= play.ms_played <= play.ended_ms - play.started_ms
