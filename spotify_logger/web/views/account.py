"""The health of the logger, and its login to Spotify."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, RedirectResponse

from spotify_logger.queries.health import OVERDUE_AFTER
from spotify_logger.web.forms import read_form

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from spotify_logger.web.login import SpotifyLogin
    from spotify_logger.web.views.context import ViewContext


class AccountViews:
    """The health page and the login.

    Args:
        context: What all views need.
        login: Logs in to Spotify.
    """

    def __init__(self, context: ViewContext, login: SpotifyLogin) -> None:
        self._context = context
        self._login = login

    async def health(self, request: Request) -> Response:
        """Show the health of the logger; the status is 503 if it needs attention, for monitoring."""
        data = await self._context.service.query("status")
        code = HTTPStatus.OK if data["well"] else HTTPStatus.SERVICE_UNAVAILABLE
        about = {"data": data, "login": self._login, "now": time.time(), "overdue": OVERDUE_AFTER}
        return self._context.templates.render(request, "health.html", code, **about)

    async def log_in(self, request: Request) -> Response:
        """Begin a Spotify login, or complete it with a pasted URL."""
        form = await read_form(request)
        pasted = form.get("address", "").strip()
        if pasted:
            self._login.paste(pasted)
        else:
            await self._context.service.run(lambda _: self._login.begin())
        return RedirectResponse(f"/health{request.state.listener.query}#login", HTTPStatus.SEE_OTHER)

    async def login_state(self, _: Request) -> Response:
        """Return the state of the login as JSON."""
        return JSONResponse(
            {"waiting": bool(self._login.url), "done": self._login.is_done, "lines": self._login.lines}
        )
