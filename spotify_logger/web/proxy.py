"""Requests that a reverse proxy has forwarded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse

from spotify_logger.config.settings import is_loopback

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

FORWARDED_HEADERS = ("forwarded", "via", "x-real-ip")
FORWARDED_PREFIX = "x-forwarded-"


class BehindProxy:
    """Takes the scheme and the client's address from the headers of a proxy on this machine.

    Of each header only the last value counts: the proxy has written it, while the others may be the client's.

    Args:
        app: What is guarded.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and scope["client"] and is_loopback(scope["client"][0]):
            headers = Headers(scope=scope)
            scheme = _last_value(headers, "x-forwarded-proto")
            address = _last_value(headers, "x-forwarded-for")
            scope = {
                **scope,
                "scheme": scheme if scheme in ("http", "https") else scope["scheme"],
                "client": (address, 0) if address else scope["client"],
            }
        await self._app(scope, receive, send)


def _last_value(headers: Headers, name: str) -> str:
    return ",".join(headers.getlist(name)).rpartition(",")[2].strip()


class RefuseForwarded:
    """Refuses what a proxy has forwarded, for a page that has no password.

    Such a page relies on only this machine being able to reach it; a proxy would publish it. nginx adds no
    header unless it is told to, but until 1.29 speaks HTTP/1.0 by default, which no browser does.

    Args:
        app: What is guarded.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and _is_forwarded(scope):
            refusal = PlainTextResponse(
                "This page has no password, and the request came through a proxy, which would open it to "
                "everybody. Start it with `spotify-logger web --behind-proxy`, so that it asks for one; see "
                "docs/behind-a-proxy.md.\n",
                status_code=403,
            )
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_forwarded(scope: Scope) -> bool:
    names = Headers(scope=scope).keys()
    return scope["http_version"] == "1.0" or any(
        name in FORWARDED_HEADERS or name.startswith(FORWARDED_PREFIX) for name in names
    )
