"""ASGI middleware: allowed hosts, same origin, sign-in and security headers."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from spotify_logger.web.auth import PasswordAuth

SESSION_COOKIE = "spotify_logger"
SIGN_IN = "/sign-in"
SIGN_OUT = "/sign-out"
PUBLIC_PATHS = ("/static/", SIGN_IN, SIGN_OUT)
"""Paths that need no password: they reveal nothing of the log."""
MAX_TARGET_BYTES = 2048
"""Maximum length of a path with its query, in bytes."""
IMAGE_HOST = "https://i.scdn.co"
"""Host of Spotify's cover images."""
LOCAL_SUFFIXES = ("local", "lan", "home", "home.arpa", "internal")
"""Domains that nobody can register on the public Internet."""


def local_host_names(more: Iterable[str] = ()) -> frozenset[str]:
    """Return the names of this machine on its local network.

    Args:
        more: Additional names to include.
    """
    host = socket.gethostname().lower().partition(".")[0]
    names = {"localhost", host, socket.getfqdn().lower(), *(f"{host}.{suffix}" for suffix in LOCAL_SUFFIXES)}
    return frozenset({*names, *(name.lower().rstrip(".") for name in more)})


class AllowedHosts:
    """Rejects requests for unknown host names.

    This prevents DNS rebinding: another site could point its own name to this machine and read the page.
    IP addresses are safe: what a browser loads from one really comes from there.

    Args:
        app: The wrapped application.
        names: The allowed host names.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            response = PlainTextResponse(
                "Unknown host name. Use the IP address of the machine, or start the page with "
                "`spotify-logger web --name NAME`.\n",
                status_code=421,
            )
            await response(scope, receive, send)
            return
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
            await PlainTextResponse("URL too long.\n", status_code=414)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:  # malformed brackets
            return False
        return name in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class SecurityHeaders:
    """Adds a content security policy and other security headers to every response.

    Args:
        app: The wrapped application.
        covers: Whether images may come from Spotify's image host.
    """

    def __init__(self, app: ASGIApp, *, covers: bool) -> None:
        self._app = app
        images = f"'self' {IMAGE_HOST}" if covers else "'self'"
        self._headers = {
            "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
            f"img-src {images}; connect-src 'self'; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'",
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            # Not "no-referrer": under it browsers send "Origin: null" with the page's own forms.
            "referrer-policy": "same-origin",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": "camera=(), geolocation=(), microphone=()",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI call."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)


class SameOrigin:
    """Rejects requests from other sites that would change something (CSRF).

    Args:
        app: The wrapped application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI call."""
        changes = scope["type"] == "http" and scope["method"] not in ("GET", "HEAD")
        if changes and not _is_same_origin(Headers(scope=scope)):
            response = PlainTextResponse("Cross-site requests are not allowed.\n", status_code=403)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_same_origin(headers: Headers) -> bool:
    """Return whether a request comes from the page itself, or from a program other than a browser.

    Browsers send `Sec-Fetch-Site` only over https and to loopback, and `Origin` with every form (all of them
    since 2020). A request with neither does not come from a browser, so no other site can have sent it.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site == "same-origin"
    return origin is None or origin.partition("://")[2] == headers.get("host")


class RequireSignIn:
    """Redirects browsers without a valid session to the sign-in page.

    Args:
        app: The wrapped application.
        auth: Checks the session.
    """

    def __init__(self, app: ASGIApp, auth: PasswordAuth) -> None:
        self._app = app
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI call."""
        if scope["type"] != "http" or scope["path"].startswith(PUBLIC_PATHS) or self._is_known(scope):
            await self._app(scope, receive, send)
            return
        if scope["method"] != "GET" or "text/html" not in Headers(scope=scope).get("accept", ""):
            response = PlainTextResponse("Sign in first.\n", status_code=401)
            await response(scope, receive, send)
            return
        target = scope["path"] + (
            f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
        )
        await RedirectResponse(f"{SIGN_IN}?to={quote(target, safe='/')}", 303)(scope, receive, send)

    def _is_known(self, scope: Scope) -> bool:
        token = cookie_parser(Headers(scope=scope).get("cookie", "")).get(SESSION_COOKIE, "")
        # Long-lived responses check it again.
        scope.setdefault("state", {})["is_signed_in"] = lambda: self._auth.is_signed_in(token)
        return self._auth.is_signed_in(token)
