from __future__ import annotations

from collections import Counter
from itertools import pairwise

from tests.testbed.synthetic_history import SyntheticHistory

UNTIL = 1_795_737_600


def test_a_past_is_as_long_and_as_varied_as_it_was_asked_for() -> None:
    plays = list(SyntheticHistory(2000, 2.0, 200, UNTIL).live())
    assert len(plays) == 2000
    assert 150 < len({play.item.key for play in plays}) < 250
    assert UNTIL - 740 * 86_400 < plays[0].second < UNTIL - 720 * 86_400
    assert Counter(play.end_reason for play in plays).keys() == {"trackdone", "skipped", "stopped"}


def test_one_thing_is_heard_after_the_other() -> None:
    plays = list(SyntheticHistory(5000, 0.2, 300, UNTIL, seed=2).live())
    assert all(
        one.ended_ms < other.started_ms and one.second < other.second for one, other in pairwise(plays)
    )
    assert all(0 <= play.ms_played <= play.ended_ms - play.started_ms for play in plays)


def test_the_same_seed_gives_the_same_past() -> None:
    one, same, other = (list(SyntheticHistory(50, 1.0, 9, UNTIL, seed).live()) for seed in (1, 1, 2))
    assert one == same != other
    again = SyntheticHistory(50, 1.0, 9, UNTIL)
    assert list(again.live()) == list(again.live()) == one
