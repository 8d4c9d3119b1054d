"""Pictures to share, as SVG: they have only numbers and names, and their font comes with them."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
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

SECURITY = "default-src 'none'; style-src 'unsafe-inline'; font-src data:"


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
    answer = cacheable(request, page.render_text("picture.svg", font=_font(), **about), "image/svg+xml")
    answer.headers["content-security-policy"] = SECURITY
    answer.headers["content-disposition"] = f'inline; filename="spotify-{name}.svg"'
    return answer


@cache
def _font() -> str:
    return b64encode((FOLDER / "inter-semibold.woff2").read_bytes()).decode()
