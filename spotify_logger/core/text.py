"""Text made comparable, and how well one text fits another. Pure."""

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
"""Letters that Unicode does not take apart, and signs that keyboards lack."""


_SEPARATORS = re.compile("[ !-/:-@[-`{-~]+")
"""Blanks and the punctuation of ASCII, which is all that folded text has of quotes and dashes."""


class MatchQuality(IntEnum):
    """How well a text fits.

    Attributes:
        NOT: Not at all.
        WORDS: Each of its words, or one that begins with it, is somewhere.
        IN_PART: It is somewhere as it stands.
        WHOLE: It is the whole title, album or artists.
    """

    NONE = 0
    WORDS = 1
    SUBSTRING = 2
    EXACT = 3


def fold(text: str) -> str:
    """Make text comparable: case, accents of Latin letters, widths, quotes, dashes and blanks aside.

    Marks on letters of other scripts stay, because there they make another letter.
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
    """Return the different words of folded text: what stands between blanks and punctuation."""
    return set(_SEPARATORS.split(folded)) - {""}


class TextMatcher:
    """Looks for one text in many items, quickly where they do not have it.

    Args:
        text: What is looked for; where nothing is left of it when folded, it fits nothing.
    """

    def __init__(self, text: str) -> None:
        self.wanted = fold(text)
        words = words_of(self.wanted)
        # "one" is no word of "alone". Other scripts are searched anywhere: not all have blanks between words.
        each = (f"(?=(?:.*[^a-z0-9])?{re.escape(word)})" for word in words)
        self._has_words = re.compile("".join(each) or "(?!)").match
        # Plain text without this one cannot fit, whatever else folding does.
        self._longest = max(words, key=len, default="")

    def match(self, title: str, artists: str, album: str) -> MatchQuality:
        """Return how well the text fits a track.

        Args:
            title: As in the catalogue, as are the others.
            artists: All of them in one.
            album: A show's name for an episode.
        """
        plain = f"{artists}\n{title}\n{album}"
        if plain.isascii() and self._longest not in plain.lower():
            return MatchQuality.NONE
        everything = fold(plain)
        if self.wanted and self.wanted in everything:
            is_whole = self.wanted in map(fold, (title, album, artists))
            return MatchQuality.EXACT if is_whole else MatchQuality.SUBSTRING
        return MatchQuality.WORDS if self._has_words(everything) else MatchQuality.NONE

    def matches_any(self, names: Iterable[str]) -> bool:
        """Whether it is one of these names, as a whole."""
        return self.wanted in map(fold, names)
