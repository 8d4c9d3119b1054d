"""The page of the demo, which draws the covers: `demo_page.py MILLISECONDS`, from which on a play counts."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from spotify_logger.cli.main import main
from spotify_logger.queries.question import DEFAULT_THRESHOLD
from spotify_logger.simulator.demo_covers import draw_cover

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from spotify_logger.web.listeners import ListenerPage


async def _cover(_: ListenerPage, request: Request) -> Response:
    from starlette.responses import Response  # noqa: PLC0415 - an optional extra

    headers = {"cache-control": "private, max-age=3600"}
    return Response(draw_cover(request.path_params["album"]), headers=headers, media_type="image/svg+xml")


if __name__ == "__main__":
    DEFAULT_THRESHOLD.set(int(sys.argv[1]))
    with suppress(ModuleNotFoundError):  # the command says what is not installed
        from spotify_logger.web.app import VIEWS

        VIEWS["/covers/{album}.svg"] = _cover
    sys.exit(main(["web", "--port", "0", "--no-covers"]))
