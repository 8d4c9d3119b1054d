"""Match search terms with titles, artists and albums. Pure."""

import re
from collections.abc import Iterable
from enum import IntEnum

from spotify_logger.core.text import fold

_SEPARATORS = re.compile("[ !-/:-@[-`{-~]+")
"""Spaces and ASCII punctuation; folding turns quotes and dashes into ASCII."""


class MatchQuality(IntEnum):
    """How well a text matches."""

    NONE = 0
    WORDS = 1
    """Each of its words occurs, at least as the beginning of another word."""
    SUBSTRING = 2
    """It occurs verbatim."""
    EXACT = 3
    """It is the whole title, album or artists."""


def words_of(folded: str) -> set[str]:
    """Return the distinct words of folded text: whatever is between spaces and punctuation."""
    return set(_SEPARATORS.split(folded)) - {""}


class TextMatcher:
    """Searches many items for one text, quickly rejecting those that lack it.

    If nothing is left of the text after folding, it matches nothing.
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
        """Return how well the text matches a catalog item: artists joined, and the show as album."""
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
