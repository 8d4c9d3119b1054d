"""Pictures to share, as SVG: they have only numbers and names, and their font comes with them."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING

from spotify_logger.queries import summary
from spotify_logger.web.static_files import FOLDER
from spotify_logger.web.templating import cacheable
from spotify_logger.web.views.music import ask_top
from spotify_logger.web.views.periods import about_period

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from spotify_logger.web.listeners import ListenerPage

SECURITY = "default-src 'none'; style-src 'sha256-{}'; font-src data:; frame-ancestors 'none'"


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
    answer = cacheable(request, page.render_text("picture.svg", style=style, **about), "image/svg+xml")
    answer.headers["content-security-policy"] = SECURITY.format(digest)
    answer.headers["content-disposition"] = f'inline; filename="spotify-{name}.svg"'
    return answer


@cache
def _style() -> tuple[str, str]:
    """Return the style sheet of a picture, with its font, and what allows it in a content security policy."""
    font = b64encode((FOLDER / "inter-semibold.woff2").read_bytes()).decode()
    style = f"@font-face {{ font-family: Inter; font-weight: 600; src: url(data:font/woff2;base64,{font}); }}"
    return style, b64encode(sha256(style.encode()).digest()).decode()
