"""Middleware for requests that a reverse proxy forwards."""

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

    Only the last value of each header counts: the proxy wrote it, while the others may come from the client.

    Args:
        app: The wrapped application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI call."""
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
    """Rejects forwarded requests, for a page without a password.

    Such a page relies on being reachable from this machine only; a proxy would expose it. nginx adds no
    header unless configured to, but speaks HTTP/1.0 by default up to version 1.29, which no browser does.

    Args:
        app: The wrapped application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI call."""
        if scope["type"] == "http" and _is_forwarded(scope):
            refusal = PlainTextResponse(
                "This page has no password, and a proxy would expose it to everybody. Start it with "
                "`spotify-logger web --behind-proxy` to require one; see docs/behind-a-proxy.md.\n",
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
