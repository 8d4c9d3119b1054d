from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from spotify_logger.core.statistics import ItemCounts
from spotify_logger.queries.question import PLAYS, TIME
from spotify_logger.queries.ranking import ranked, top_ranked

if TYPE_CHECKING:
    from collections.abc import Hashable

keys = st.sampled_from([f"track:{letter}" for letter in "abcdefgh"])
amounts = st.integers(0, 3)


@given(
    played=st.dictionaries(keys, st.tuples(amounts, amounts)),
    groups=st.dictionaries(keys, st.lists(st.sampled_from(["one", "two", ("three", ""), "4"]), unique=True)),
    by=st.sampled_from([PLAYS, TIME]),
    number=st.integers(1, 6),
)
def test_the_best_are_the_first_ones_of_all(
    played: dict[str, tuple[int, int]], groups: dict[str, list[Hashable]], by: str, number: int
) -> None:
    tallies = ItemCounts()
    for key, (plays, ms_played) in played.items():
        tallies.plays[key] = plays
        tallies.ms_played[key] = ms_played
    everything = ranked(tallies, groups, by)
    assert top_ranked(tallies, groups, by, number) == (everything[:number], len(everything))
