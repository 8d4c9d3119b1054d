"""Measure and shorten text for pictures, whose font is Inter SemiBold, embedded."""

from __future__ import annotations

import unicodedata
from itertools import accumulate

from spotify_logger.system.log import sanitize

ADVANCES = bytes.fromhex(
    "191f284141554316282837441e2f1e2643313f424340413b41411e1e444444376449424b493d3b4c4b1c3944395b4b4e414e424142"
    "4a4965464742282628312f323a403a403c263f3e1b1b391b5a3d3d3f3f2837263d3a54393a3928242844"
)
"""The widths of the ASCII characters from the space on, in hundredths of the font size, rounded up."""
# Of others; those that the font lacks are shown in whatever font a machine has.
CAPITAL, SMALL, IDEOGRAPH, PICTOGRAPH = 1.12, 0.95, 1.0, 1.4
ELLIPSIS = "…"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def text_width(text: str) -> float:
    """Return how wide a text is at most, relative to the font size."""
    return sum(map(_width, unicodedata.normalize("NFKD", text)))


def _width(character: str) -> float:
    if " " <= character <= "~":
        return ADVANCES[ord(character) - ord(" ")] / 100
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0.0
    if unicodedata.category(character) in ("So", "Sk"):
        return PICTOGRAPH
    if unicodedata.east_asian_width(character) in "WF":
        return IDEOGRAPH
    return CAPITAL if character.isupper() else SMALL


def fit_text(text: str, width: float, font_size: float) -> str:
    """Return `text` without control characters, shortened to fit into `width`, in the unit of `font_size`."""
    whole, room = sanitize(text).replace(REPLACEMENT, ""), width / font_size
    if text_width(whole) <= room:
        return whole
    widths = accumulate(map(text_width, whole), initial=text_width(ELLIPSIS))
    return whole[: max(0, sum(each <= room for each in widths) - 1)].rstrip() + ELLIPSIS


def largest_font_size(text: str, width: float, maximum: float) -> float:
    """Return the font size, up to a maximum, at which a text fits into `width`."""
    return round(min(maximum, width / (text_width(text) or 1)), 1)
