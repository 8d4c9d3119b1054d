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


_PLAIN = re.compile("[a-z0-9]+")


class Fit(IntEnum):
    """How well a text fits."""

    NOT = 0
    IN_PART = 1
    WHOLE = 2


def fit(wanted: str, title: str, artists: str, album: str) -> Fit:
    """How a text fits a track: as the whole of its title, album or artists; somewhere in all of it; or not.

    Args:
        wanted: Folded; what is empty fits nothing.
        title: As in the catalogue, as are the others.
        artists: All of them in one.
        album: A show's name for an episode.
    """
    everything = fold(f"{artists} {title} {album}")
    if not wanted or wanted not in everything:
        return Fit.NOT
    is_whole = wanted in map(fold, (title, album, artists))
    return Fit.WHOLE if is_whole else Fit.IN_PART


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


class Finder:
    """Looks for one text in many items, quickly where they do not have it.

    Args:
        text: What is looked for.
    """

    def __init__(self, text: str) -> None:
        self.wanted = fold(text)
        # A run of plain letters and digits that plain text has in it whatever else folding does.
        self._run = max(_PLAIN.findall(self.wanted), key=len, default="")

    def fit(self, title: str, artists: str, album: str) -> Fit:
        """See `fit`."""
        plain = f"{artists}\n{title}\n{album}"
        if plain.isascii() and self._run not in plain.lower():
            return Fit.NOT
        return fit(self.wanted, title, artists, album)

    def is_any(self, names: Iterable[str]) -> bool:
        """Whether it is one of these names, as a whole."""
        return self.wanted in map(fold, names)
