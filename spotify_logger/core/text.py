"""Normalize text for comparison, and match search terms. Pure."""

from __future__ import annotations

import re
import unicodedata
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ALIKE = str.maketrans(
    dict(zip("øłđðħıŧ", "olddhit", strict=True))
    | {"æ": "ae", "œ": "oe", "þ": "th"}
    | dict.fromkeys("\u2018\u2019\u02bc`", "'")
    | dict.fromkeys("\u201c\u201d\u201e", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
)
"""Letters that Unicode does not decompose, and characters that keyboards lack."""


_SEPARATORS = re.compile("[ !-/:-@[-`{-~]+")
"""Spaces and ASCII punctuation; folding turns quotes and dashes into ASCII."""


class MatchQuality(IntEnum):
    """How well a text matches.

    Attributes:
        NONE: It does not match.
        WORDS: Each of its words occurs, at least as the beginning of another word.
        SUBSTRING: It occurs verbatim.
        EXACT: It is the whole title, album or artists.
    """

    NONE = 0
    WORDS = 1
    SUBSTRING = 2
    EXACT = 3


def fold(text: str) -> str:
    """Normalize case, accents of Latin letters, widths, quotes, dashes and spaces.

    Marks on letters of other scripts are kept, because there they make another letter.
    """
    folded = unicodedata.normalize("NFKD", text).casefold().translate(_ALIKE)
    if not folded.isascii():
        folded = unicodedata.normalize("NFC", _without_accents(folded))
    return " ".join(folded.split())


def _without_accents(decomposed: str) -> str:
    kept: list[str] = []
    for character in decomposed:
        if not (unicodedata.combining(character) and kept and kept[-1].isascii()):
            kept.append(character)
    return "".join(kept)


def words_of(folded: str) -> set[str]:
    """Return the distinct words of folded text: whatever is between spaces and punctuation."""
    return set(_SEPARATORS.split(folded)) - {""}


class TextMatcher:
    """Searches many items for one text, quickly rejecting those that lack it.

    Args:
        text: The search term; if nothing is left of it after folding, it matches nothing.
    """

    def __init__(self, text: str) -> None:
        self.folded = fold(text)
        words = words_of(self.folded)
        # "one" is not a word of "alone". Other scripts match anywhere: not all have spaces between words.
        each = (f"(?=(?:.*[^a-z0-9])?{re.escape(word)})" for word in words)
        self._has_words = re.compile("".join(each) or "(?!)").match
        # ASCII text without this word cannot match.
        self._longest = max(words, key=len, default="")

    def match(self, title: str, artists: str, album: str) -> MatchQuality:
        """Return how well the text matches a catalog item.

        Args:
            title: The title.
            artists: The joined names of all artists.
            album: The album; for an episode, the show.
        """
        plain = f"{artists}\n{title}\n{album}"
        if plain.isascii() and self._longest not in plain.lower():
            return MatchQuality.NONE
        everything = fold(plain)
        if self.folded and self.folded in everything:
            is_whole = self.folded in map(fold, (title, album, artists))
            return MatchQuality.EXACT if is_whole else MatchQuality.SUBSTRING
        return MatchQuality.WORDS if self._has_words(everything) else MatchQuality.NONE

    def matches_any(self, names: Iterable[str]) -> bool:
        """Return whether the text is one of these names."""
        return self.folded in map(fold, names)
