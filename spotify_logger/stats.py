"""Figures over rows of the index, and text made comparable. Pure."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

LISTENED_MS = 30_000
"""What counts as a play unless told otherwise: half a minute, as Spotify counts."""

_ALIKE = str.maketrans(
    dict(zip("øłđðħıŧ", "olddhit", strict=True))
    | {"æ": "ae", "œ": "oe", "þ": "th"}
    | dict.fromkeys("\u2018\u2019\u02bc`", "'")
    | dict.fromkeys("\u201c\u201d\u201e", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
)
"""Letters that Unicode does not take apart, and signs that keyboards lack."""


@dataclass(slots=True)
class Tally:
    """What is added up over plays.

    Attributes:
        plays: Those of at least `LISTENED_MS`.
        skips: Those left before.
        heard_ms: Milliseconds heard in all, skips included.
        first: Second of the first play that counts; None if there is none.
        last: Second of the last one that counts.
    """

    plays: int = 0
    skips: int = 0
    heard_ms: int = 0
    first: int | None = None
    last: int | None = None

    def add(self, second: int, heard_ms: int) -> None:
        """Count one play."""
        self.heard_ms += heard_ms
        if heard_ms < LISTENED_MS:
            self.skips += 1
        else:
            self.plays += 1
            self._stretch(second, second)

    def merge(self, other: Tally) -> None:
        """Count everything that another tally has counted."""
        self.plays += other.plays
        self.skips += other.skips
        self.heard_ms += other.heard_ms
        if other.first is not None and other.last is not None:
            self._stretch(other.first, other.last)

    def _stretch(self, first: int, last: int) -> None:
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)


def tally(rows: Iterable[tuple[int, str, int]]) -> dict[str, Tally]:
    """Add up, item by item, rows of second, catalogue key and milliseconds heard."""
    tallies: dict[str, Tally] = {}
    for second, item, heard_ms in rows:
        found = tallies.get(item)
        if found is None:
            found = tallies[item] = Tally()
        found.add(second, heard_ms)
    return tallies


class Fit(IntEnum):
    """How well a text fits."""

    NOT = 0
    IN_PART = 1
    WHOLE = 2


def fit(wanted: str, title: str, artists: str, album: str) -> Fit:
    """How a text fits a track: as the whole of its title, album or an artist; somewhere in all of it; or not.

    Args:
        wanted: Folded; what is empty fits nothing.
        title: As in the catalogue, as are the others.
        artists: Parted by ", ".
        album: A show's name for an episode.
    """
    everything = fold(f"{artists} {title} {album}")
    if not wanted or wanted not in everything:
        return Fit.NOT
    names = (title, album, artists, *artists.split(", "))
    return Fit.WHOLE if any(fold(name) == wanted for name in names) else Fit.IN_PART


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
