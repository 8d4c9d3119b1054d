"""Truncates text to a width in SVG, which does not wrap. Pure."""

from __future__ import annotations

import re
import unicodedata

# Characters that XML forbids, and bidirectional control characters.
_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_JOINER = "\u200d"
_NARROW, _WIDE = frozenset(" .,:;'\u2019|!()[]/ijlftrI1-"), frozenset("mwMWOQ@%&—…")
ELLIPSIS = "…"


def fit_text(text: str, width: float, font_size: float) -> str:
    """Return `text`, truncated with an ellipsis to fit into `width`.

    The font is unknown; widths are those of a wide one, so that text is cut too early rather than too late.

    Args:
        text: May contain anything.
        width: The maximum width.
        font_size: In the unit of `width`.
    """
    whole = " ".join(_UNSAFE.sub(" ", text).split())
    left = width / font_size - _character_width(ELLIPSIS)
    fits = 0
    for number, character in enumerate(whole, 1):
        left -= _character_width(character)
        if left >= 0:
            fits = number
        elif left + _character_width(ELLIPSIS) < 0:
            return whole[:fits].rstrip(f" {_JOINER}") + ELLIPSIS
    return whole


def _character_width(character: str) -> float:
    """Return the maximum width of a character in common fonts, as a fraction of the font size."""
    if character == _JOINER or unicodedata.combining(character) or unicodedata.category(character) == "Mn":
        return 0.0
    if unicodedata.east_asian_width(character) in "WF":
        return 1.25 if ord(character) > 0xFFFF else 1.0  # noqa: PLR2004 - emoji
    if character in _NARROW:
        return 0.38
    return 0.92 if character in _WIDE else 0.72 if character.isupper() else 0.6
