"""The health of the logger, and its login to Spotify."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, RedirectResponse

from spotify_logger.monitoring.notice import days_of_login
from spotify_logger.monitoring.status import OVERDUE_AFTER, status
from spotify_logger.web.request_params import read_form

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from spotify_logger.web.listeners import ListenerPage


async def health(page: ListenerPage, request: Request) -> Response:
    """Show the health of the logger; the status is 503 if it needs attention, for monitoring."""
    data = await page.observe(status)
    now = time.time() - (data.clock_offset or 0)
    about = {"data": data, "login": page.login, "now": now, "overdue": OVERDUE_AFTER}
    about["days_of_login"] = days_of_login(data, now)
    return page.render(request, "health.html", 200 if data.well else 503, **about)


async def log_in(page: ListenerPage, request: Request) -> Response:
    """Begin a Spotify login, or complete it with a pasted URL."""
    pasted = (await read_form(request)).get("address", "").strip()
    if not pasted:
        await page.run(page.begin_login)
    elif page.login:
        page.login.paste(pasted)
    return RedirectResponse(f"/health{request.state.listener.query}#login", 303)


async def login_state(page: ListenerPage, _: Request) -> Response:
    """Return the state of the login as JSON."""
    login = page.login
    waiting, done = bool(login and login.url), bool(login and login.is_done)
    return JSONResponse({"waiting": waiting, "done": done, "lines": login.lines if login else []})
