"""Pictures to share, as SVG: only numbers and names, with their font, Inter SemiBold, embedded."""

import unicodedata
from base64 import b64encode
from functools import cache
from hashlib import sha256
from itertools import accumulate

from starlette.requests import Request
from starlette.responses import Response

from spotify_logger.queries import summary
from spotify_logger.system.log import sanitize
from spotify_logger.web.listeners import ListenerPage
from spotify_logger.web.templating import STATIC_FILES
from spotify_logger.web.views.music import ask_top
from spotify_logger.web.views.periods import about_period

SECURITY = "default-src 'none'; style-src 'sha256-{}'; font-src data:; frame-ancestors 'none'"
ADVANCES = bytes.fromhex(
    "191f284141554316282837441e2f1e2643313f424340413b41411e1e444444376449424b493d3b4c4b1c3944395b4b4e414e424142"
    "4a4965464742282628312f323a403a403c263f3e1b1b391b5a3d3d3f3f2837263d3a54393a3928242844"
)
"""The widths of the ASCII characters from the space on, in hundredths of the font size, rounded up."""
# Of others; those that the font lacks are shown in whatever font a machine has.
CAPITAL, SMALL, IDEOGRAPH, PICTOGRAPH = 1.12, 0.95, 1.0, 1.4
ELLIPSIS = "…"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


async def review(page: ListenerPage, request: Request) -> Response:
    """Draw a year or a month in review."""
    question, about = about_period(page, request)
    data = await page.ask(request, summary.review, question)
    return _picture(page, request, about["text"], data=data, **about)


async def top(page: ListenerPage, request: Request) -> Response:
    """Draw the first rows of a ranking."""
    data, params = await ask_top(page, request)
    return _picture(page, request, f"top-{data.kind}", data=data, noun="", title=params.label)


def _picture(page: ListenerPage, request: Request, name: str, **about: object) -> Response:
    style, digest = _style()
    about |= {"style": style, "fit_text": fit_text, "largest_font_size": largest_font_size}
    answer = page.render(request, "picture.svg", 200, "image/svg+xml", **about)
    answer.headers["content-security-policy"] = SECURITY.format(digest)
    answer.headers["content-disposition"] = f'inline; filename="spotify-{name}.svg"'
    return answer


@cache
def _style() -> tuple[str, str]:
    """Return the style sheet of a picture, with its font, and what allows it in a content security policy."""
    font = b64encode((STATIC_FILES / "inter-semibold.woff2").read_bytes()).decode()
    style = f"@font-face {{ font-family: Inter; font-weight: 600; src: url(data:font/woff2;base64,{font}); }}"
    return style, b64encode(sha256(style.encode()).digest()).decode()


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
