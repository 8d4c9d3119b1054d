# ruff: noqa: RUF001 - letters that look alike are what this is about

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import permutations
from unittest.mock import patch

import pytest

from spotify_logger.core.search_text import Match, TextSearch, bare_title, search_words, spellings


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don’t Stop “Me” Now!", "dont stop me now"),
        ("AC/DC – T.N.T.", "ac dc t n t"),
        ("Sigur Rós – Ágætis byrjun", "sigur ros agaetis byrjun"),
        ("「君の名は。」", "君の名は"),
        ("می‌خواهم", "میخواهم"),
        ("किताब", "किताब"),
        ("!!!", "!!!"),
        ("÷", "÷"),
        (" ", ""),
    ],
)
def test_words(text: str, words: str) -> None:
    assert search_words(text) == words


@pytest.mark.parametrize(
    ("title", "bare"),
    [
        ("Veridis Quo - 2021 Remaster", "Veridis Quo"),
        ("Here Comes The Sun - Remastered 2009", "Here Comes The Sun"),
        ("Time (2011 Remastered Version) [Explicit]", "Time"),
        ("Get Lucky - Radio Edit (feat. Pharrell Williams)", "Get Lucky"),
        ("Discovery (Deluxe Edition)", "Discovery"),
        ("Veridis Quo (Live)", "Veridis Quo (Live)"),
        ("Love Story (Taylor’s Version)", "Love Story (Taylor’s Version)"),
        ("Dancing with Myself", "Dancing with Myself"),
        ("(Remastered)", "(Remastered)"),
    ],
)
def test_bare_titles(title: str, bare: str) -> None:
    assert bare_title(title) == bare


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("veridis quo", Match.EDITION),
        ("QUO véridis daft punk", Match.EDITION),
        ("veridis quo remaster 2021", Match.WHOLE),
        ("veridis", Match.BEGINNING),
        ("punk quo", Match.WITHIN),
        ("da pu ver", Match.WITHIN),
        ("aft punk", Match.NONE),
        ("veridis quo nothing", Match.NONE),
        ("", Match.NONE),
    ],
)
def test_match(text: str, match: Match) -> None:
    assert TextSearch(text).match_title("Veridis Quo - 2021 Remaster", "daft punk") is match


def test_scripts_without_spaces_match_anywhere() -> None:
    assert TextSearch("初恋 ヒカル").match("初恋", search_words("宇多田ヒカル")) is Match.WHOLE


@pytest.mark.parametrize(("word", "meant"), [("dfat", "daft"), ("veridid", "veridis"), ("pnk", "punk")])
def test_misspelled_words(word: str, meant: str) -> None:
    assert meant in spellings(word, ["daft", "veridis", "quo", "punk", "discovery", "fat"])
    assert spellings("nirvana", ["daft", "quo"]) == {}


def test_few_words_of_a_large_vocabulary_are_compared_letter_by_letter() -> None:
    vocabulary = map("".join, permutations("versidi"))
    with patch.object(SequenceMatcher, "ratio", autospec=True, side_effect=SequenceMatcher.ratio) as ratio:
        assert "veridis" in spellings("veridis", vocabulary)
    assert ratio.call_count < 200
