"""What listeners change in their logs from the page, as the commands do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse

from spotify_logger.core.redis_keys import play_key, second_of_key
from spotify_logger.transfer import delete
from spotify_logger.transfer import undo as undoing
from spotify_logger.web.request_params import BadRequest, read_form

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from spotify_logger.web.listeners import ListenerPage


async def forget(page: ListenerPage, request: Request) -> Response:
    """Delete a play."""
    second = await _second(request)
    selection = delete.Selection(play_key(second))
    await page.run(lambda store: delete.forget(store, selection, time.time(), None))
    return _to_day(page, second)


async def undo(page: ListenerPage, request: Request) -> Response:
    """Bring a deleted play back."""
    second = await _second(request)
    await page.run(lambda store: undoing.undo(store, second))
    return _to_day(page, second)


async def _second(request: Request) -> int:
    """Return the second of the play that a form names."""
    second = second_of_key((await read_form(request)).get("play", ""))
    if second is None:
        raise BadRequest("the form names no play")
    return second


def _to_day(page: ListenerPage, second: int) -> Response:
    return RedirectResponse(f"/day/{page.zone.day(second)}#deleted", 303)
