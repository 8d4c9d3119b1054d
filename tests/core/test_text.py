# ruff: noqa: RUF001 - letters that look alike are what this is about

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_logger.core.text import fold
from spotify_logger.core.text_search import MatchQuality, TextMatcher, words_of


def slow_match(wanted: str, title: str, artists: str, album: str) -> MatchQuality:
    """Return how a text matches, word by word."""
    wanted, everything = fold(wanted), fold(f"{artists} {title} {album}")
    if wanted and wanted in everything:
        return (
            MatchQuality.EXACT
            if wanted in (fold(title), fold(artists), fold(album))
            else MatchQuality.SUBSTRING
        )
    found = [has_word(word, everything) for word in words_of(wanted)]
    return MatchQuality.WORDS if found and all(found) else MatchQuality.NONE


def has_word(word: str, text: str) -> bool:
    """Return whether the text has the word, not directly after a Latin letter or a digit."""
    before = [text[at - 1 : at] for at in range(len(text)) if text.startswith(word, at)]
    return any(not character.isascii() or not character.isalnum() for character in before)


class TestTextMatcher:
    @pytest.mark.parametrize(
        ("text", "quality"),
        [
            ("veridis quo", MatchQuality.EXACT),
            ("daft punk", MatchQuality.SUBSTRING),
            ("daft punk, tyler, the creator véridis", MatchQuality.SUBSTRING),
            ("veridis quo daft punk", MatchQuality.WORDS),
            ("quo-veri: (disco)!", MatchQuality.WORDS),
            ("quo veridis aerodynamic", MatchQuality.NONE),
            ("", MatchQuality.NONE),
        ],
    )
    def test_match(self, text: str, quality: MatchQuality) -> None:
        matcher = TextMatcher(text)
        assert matcher.match("Veridis Quo", "Daft Punk, Tyler, The Creator", "Discovery") is quality

    @pytest.mark.parametrize(
        ("text", "title", "artists"),
        [
            ("jay z problems", "99 Problems", "JAY-Z"),
            ("funeral beyonce", "Funeral", "Beyoncé"),
            ("初恋 ヒカル", "初恋", "宇多田ヒカル"),
        ],
    )
    def test_words_of_every_script(self, text: str, title: str, artists: str) -> None:
        assert TextMatcher(text).match(title, artists, "") is MatchQuality.WORDS

    @given(
        wanted=st.text("aAbé' `1-ﬁか\u0301", max_size=5),
        title=st.text("aAbBé' `1ﬁか\u0301\n", max_size=5),
        artists=st.text("aAbB, `1", max_size=5),
        album=st.text("aAb1\x1c\u00a0", max_size=3),
    )
    def test_the_fast_path_matches_like_the_slow_one(
        self, wanted: str, title: str, artists: str, album: str
    ) -> None:
        assert TextMatcher(wanted).match(title, artists, album) is slow_match(wanted, title, artists, album)

    def test_one_of_several_names(self) -> None:
        names = ["Daft Punk", "Tyler, The Creator"]
        assert TextMatcher("tyler, the creator").matches_any(names)
        assert not TextMatcher("tyler").matches_any(names)


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
