"""Search titles, artists and albums by words, compared as `search_words` returns them. Pure."""

import re
import unicodedata
from collections.abc import Iterable
from difflib import SequenceMatcher
from enum import IntEnum
from functools import lru_cache
from heapq import nlargest
from itertools import pairwise

from spotify_logger.core.text import fold

_IGNORED = dict.fromkeys(map(ord, "'\"\u200c\u200d"))  # quotes, and the joiners of Persian and Hindi
_SEPARATORS = re.compile("[ !-/:-@[-`{-~]+")  # spaces and ASCII punctuation
_EDITION = re.compile(
    r"""\s*(?:\s[-–—]\s|[(\[])[^()\[\]]*?\b(?:
        remaster(?:ed)? | mono | stereo | explicit | bonus\ track | edit
        | (?:single|album|original)\ version | deluxe | edition | anniversary
        | feat\. | ft\. | featuring | with
    )(?![a-z])[^()\[\]]*[)\]]?\s*$""",
    re.IGNORECASE | re.VERBOSE,
)
"""What follows a title without making it another song: " - 2021 Remaster", " (feat. Beck)"."""
MIN_SIMILARITY = 0.6  # of two words, for one to be a misspelling of the other
MAX_SPELLINGS = 8  # of a word
LENGTHS_APART = 2  # characters that a misspelling may be longer or shorter


class Match(IntEnum):
    """How well a text matches, from not at all to by its key."""

    NONE = 0
    WITHIN = 1  # all of its words begin words of the name, its artists or its album, in any order
    BEGINNING = 2  # the name begins with it
    NAMED = 3  # it is the artist or the album of a track
    EDITION = 4  # it is the name without "- 2021 Remaster", with or without the artist
    WHOLE = 5  # it is the name, with or without the artist
    EXACT = 6  # character by character
    KEY = 7


@lru_cache(maxsize=4096)
def search_words(text: str) -> str:
    """Return the words of a text, folded and without punctuation; all of it if it has none, as "!!!"."""
    folded = fold(text)
    words = folded.translate(_IGNORED)
    if not words.isascii():
        words = "".join(" " if unicodedata.category(each)[0] in "PZC" else each for each in words)
    return " ".join(_SEPARATORS.split(words)).strip() or folded


def bare_title(title: str) -> str:
    """Return a title without what only names its edition: "Veridis Quo - 2021 Remaster" is "Veridis Quo"."""
    bare = _EDITION.sub("", title)
    return title if bare == title or not bare else bare_title(bare)


def indexed_words(*names: str) -> str:
    """Return the words of names for the index, in a line for each name, with a space before each word."""
    return "\n".join(f" {search_words(name)}" for name in names)


def beginning(word: str) -> str:
    """Return what `indexed_words` has if a word begins with `word`; in scripts without spaces, anywhere."""
    return f" {word}" if word[0].isascii() else word


class TextSearch:
    """Tells how well names match one text."""

    def __init__(self, text: str) -> None:
        self.text = text.encode(errors="replace").decode()  # arguments may have lone surrogates
        self.whole = search_words(self.text)
        self.words = list(dict.fromkeys(self.whole.split()))
        self._needed = list(map(beginning, self.words))

    def match(self, name: str, others: str = "") -> Match:
        """Return how well the text matches the words of a name; some may be in `others`, such as artists."""
        everything = f" {name} {others}"
        if not self.whole or not all(word in everything for word in self._needed):
            return Match.NONE
        if name and set(self.words).issuperset(name.split()):
            return Match.WHOLE
        return Match.BEGINNING if name.startswith(self.whole) else Match.WITHIN

    def match_title(self, title: str, others: str = "") -> Match:
        """Return how well the text matches a title, with or without what names its edition."""
        found = self.match(search_words(title), others)
        if found in (Match.NONE, Match.WHOLE):
            return found
        bare = self.match(search_words(bare_title(title)), others)
        return Match.EDITION if bare is Match.WHOLE else found

    def match_item(self, title: str, artists: str, album: str) -> Match:
        """Return how well the text matches a track by any of its names; only the title is not folded yet."""
        found = self.match_title(title, f"{artists} {album}")
        is_named = self.whole == artists or self.match(album, artists) is Match.WHOLE
        return max(found, Match.NAMED) if found and is_named else found


def spellings(word: str, vocabulary: Iterable[str]) -> dict[str, float]:
    """Return the words of a vocabulary that `word` may be a misspelling of, with their similarity up to 1."""
    pairs = set(pairwise(f" {word} "))
    # Comparing all of a large vocabulary would take long: those that share most pairs of characters are it.
    near = (
        (len(pairs.intersection(pairwise(f" {other} "))) / (len(other) + 1), other)
        for other in vocabulary
        if abs(len(other) - len(word)) <= LENGTHS_APART
    )
    likely = nlargest(10 * MAX_SPELLINGS, near)
    ratios = {other: SequenceMatcher(None, word, other).ratio() for _, other in likely}
    best = nlargest(MAX_SPELLINGS, ratios, key=lambda other: ratios[other])
    return {other: ratios[other] for other in best if ratios[other] >= MIN_SIMILARITY}
