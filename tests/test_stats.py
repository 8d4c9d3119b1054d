# ruff: noqa: RUF001 - letters that look alike are what this is about
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_logger.stats import LISTENED_MS, Fit, Tally, fit, fold, tally

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


class TestFit:
    @pytest.mark.parametrize(
        ("text", "how"),
        [
            ("veridis quo", Fit.WHOLE),
            ("DISCOVERY", Fit.WHOLE),
            ("daft punk", Fit.WHOLE),
            ("tyler, the creator", Fit.IN_PART),
            ("daft punk, tyler, the creator", Fit.WHOLE),
            ("quo", Fit.IN_PART),
            ("punk, tyler", Fit.IN_PART),
            ("daft punk, tyler, the creator véridis", Fit.IN_PART),
            ("veridis quo disco", Fit.IN_PART),
            ("veridis quod", Fit.NOT),
            ("quo veridis", Fit.NOT),
            ("\u0301 ", Fit.NOT),
            ("\u00b4", Fit.NOT),
        ],
    )
    def test_how_a_text_fits(self, text: str, how: Fit) -> None:
        assert fit(fold(text), "Veridis Quo", "Daft Punk, Tyler, The Creator", "Discovery") is how

    def test_what_has_no_name_fits_nothing(self) -> None:
        assert fit("a", "", "", "") is Fit.NOT


class TestFold:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("Veridis Quo", "  vERIDIS\u00a0\tquo "),
            ("Beyoncé", "BEYONCE"),
            ("Beyonce\u0301", "Beyoncé"),
            ("Motörhead", "motorhead"),
            ("Björk Guðmundsdóttir", "bjork gudmundsdottir"),
            ("Sigur Rós – Ágætis byrjun", "sigur ros - agaetis byrjun"),
            ("Łódź", "lodz"),
            ("Mø", "MO"),
            ("Strauß", "STRAUSS"),
            ("Cœur de pirate", "coeur de pirate"),
            ("İstanbul'da ılık", "istanbul'da ilik"),
            ("Đặng", "dang"),
            ("Don’t Stop “Me” Now", 'don\'t stop "me" now'),
            ("Ｐｅｒｆｕｍｅ　１２", "perfume 12"),
            ("ﾊﾟﾌｭｰﾑ", "パフューム"),
            ("ﬁre", "fire"),
            ("Ⅷ", "viii"),
            ("ΣΊΣΥΦΟΣ", "σίσυφος"),
            ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),
        ],
    )
    def test_alike(self, one: str, other: str) -> None:
        assert fold(one) == fold(other)

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("か", "が"),
            ("ハ", "パ"),
            ("май", "маи"),
            ("ё", "е"),
            ("किताब", "कताब"),
            ("Variation 9", "Variation 10"),
            ("a b", "ab"),
        ],
    )
    def test_different(self, one: str, other: str) -> None:
        assert fold(one) != fold(other)

    @given(text=st.text())
    def test_once_is_enough(self, text: str) -> None:
        assert fold(fold(text)) == fold(text)
