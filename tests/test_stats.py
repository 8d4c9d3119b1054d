from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spotify_logger.stats import LISTENED_MS, Tally, tally

ROWS = st.lists(
    st.tuples(st.integers(0, 2**32), st.sampled_from(["track:a", "track:b"]), st.integers(0, 10**7))
)


class TestTally:
    def test_plays_skips_time_and_ends(self) -> None:
        rows = [
            (300, "track:a", 30_000),
            (100, "track:a", 200_000),
            (50, "track:a", 29_999),
            (400, "track:a", 0),
            (200, "episode:b", 29_999),
        ]
        assert tally(rows) == {
            "track:a": Tally(plays=2, skips=2, heard_ms=259_999, first=100, last=300),
            "episode:b": Tally(plays=0, skips=1, heard_ms=29_999, first=None, last=None),
        }

    def test_nothing(self) -> None:
        assert tally([]) == {}

    @given(rows=ROWS)
    def test_it_is_what_the_plain_way_gives(self, rows: list[tuple[int, str, int]]) -> None:
        found = tally(rows)
        assert found.keys() == {item for _, item, _ in rows}
        for item, sums in found.items():
            mine = [(second, heard) for second, name, heard in rows if name == item]
            counted = [second for second, heard in mine if heard >= LISTENED_MS]
            assert sums.plays == len(counted)
            assert sums.skips == len(mine) - len(counted)
            assert sums.heard_ms == sum(heard for _, heard in mine)
            assert (sums.first, sums.last) == (min(counted, default=None), max(counted, default=None))

    @given(rows=ROWS, cut=st.integers(0, 20))
    def test_two_halves_make_the_whole(self, rows: list[tuple[int, str, int]], cut: int) -> None:
        whole, halves = Tally(), Tally()
        for second, _, heard_ms in rows:
            whole.add(second, heard_ms)
        for half in (rows[:cut], rows[cut:]):
            for sums in tally(half).values():
                halves.merge(sums)
        assert halves == whole
