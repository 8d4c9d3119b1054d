"""Normalize text for comparison. Pure."""

import unicodedata

_ALIKE = str.maketrans(
    dict(zip("øłđðħıŧ", "olddhit", strict=True))
    | {"æ": "ae", "œ": "oe", "þ": "th"}
    | dict.fromkeys("\u2018\u2019\u02bc`", "'")
    | dict.fromkeys("\u201c\u201d\u201e", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
)
"""Letters that Unicode does not decompose, and characters that keyboards lack."""


def fold(text: str) -> str:
    """Normalize case, accents of Latin letters (not of others), widths, quotes, dashes and spaces."""
    folded = unicodedata.normalize("NFKD", text).casefold().translate(_ALIKE)
    if not folded.isascii():
        kept: list[str] = []
        for character in folded:
            if not (unicodedata.combining(character) and kept and kept[-1].isascii()):
                kept.append(character)
        folded = unicodedata.normalize("NFC", "".join(kept))
    return " ".join(folded.split())
