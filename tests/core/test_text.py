# ruff: noqa: RUF001 - letters that look alike are what this is about

from __future__ import annotations

import pytest

from spotify_logger.core.text import fold


class TestFold:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("Veridis Quo", "  vERIDIS\u00a0\tquo "),
            ("Beyonce\u0301", "Beyoncé"),
            ("Sigur Rós – Ágætis byrjun", "sigur ros - agaetis byrjun"),
            ("İstanbul'da ılık", "istanbul'da ilik"),
            ("Don’t Stop “Me” Now", 'don\'t stop "me" now'),
            ("ﾊﾟﾌｭｰﾑ", "パフューム"),
            ("한국", "\u1112\u1161\u11ab\u1100\u116e\u11a8"),
        ],
    )
    def test_alike(self, one: str, other: str) -> None:
        assert fold(one) == fold(other)

    @pytest.mark.parametrize(
        ("one", "other"), [("か", "が"), ("май", "маи"), ("किताब", "कताब"), ("a b", "ab")]
    )
    def test_different(self, one: str, other: str) -> None:
        assert fold(one) != fold(other)
