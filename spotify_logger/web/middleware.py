"""Who may ask the page for what, and what a browser may do with the answer."""

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
"""What needs no password: nothing of the listener's is in it."""
MAX_TARGET_BYTES = 2048
"""Bytes of a path and its query."""
IMAGE_HOST = "https://i.scdn.co"
"""Where Spotify keeps the covers."""
LOCAL_SUFFIXES = ("local", "lan", "home", "home.arpa", "internal")
"""Under these, nobody on the Internet can have a name."""


def local_host_names(more: Iterable[str] = ()) -> frozenset[str]:
    """The names that this machine goes by on its own network.

    Args:
        more: Others.
    """
    host = socket.gethostname().lower().partition(".")[0]
    names = {"localhost", host, socket.getfqdn().lower(), *(f"{host}.{suffix}" for suffix in LOCAL_SUFFIXES)}
    return frozenset({*names, *(name.lower().rstrip(".") for name in more)})


class AllowedHosts:
    """Answers to its own names alone.

    Otherwise a page elsewhere could have its own name point to this machine (DNS rebinding), and read along.
    An address in figures is safe: what a browser shows under it comes from there.

    Args:
        app: What is guarded.
        names: Those that are its own.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hosts = Headers(scope=scope).getlist("host")
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            response = PlainTextResponse(
                "This page does not go by that name. Use the machine's address in figures, or start it with "
                "`spotify-logger web --name NAME`.\n",
                status_code=421,
            )
            await response(scope, receive, send)
            return
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_TARGET_BYTES:
            await PlainTextResponse("That address is too long.\n", status_code=414)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        except ValueError:  # brackets that make no sense
            return False
        return name in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class SecurityHeaders:
    """Tells browsers what the page needs, and that it needs nothing else.

    Args:
        app: What is guarded.
        covers: Whether images may come from Spotify's host.
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
        """See ASGI."""

        async def send_with_manners(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_manners)


class SameOrigin:
    """Lets only the page itself change something: what another page sends is refused.

    Args:
        app: What is guarded.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        changes = scope["type"] == "http" and scope["method"] not in ("GET", "HEAD")
        if changes and not _is_same_origin(Headers(scope=scope)):
            response = PlainTextResponse("This has to come from the page itself.\n", status_code=403)
            await response(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_same_origin(headers: Headers) -> bool:
    """Return whether a form was sent by the page itself, or by a program that is no browser.

    Browsers send `Sec-Fetch-Site` only over https and to loopback, and `Origin` with every form (all of them
    since 2020). A request that has neither comes from no browser, so no other page can be behind it.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return site == "same-origin"
    return origin is None or origin.partition("://")[2] == headers.get("host")


class RequireSignIn:
    """Asks who comes without the right cookie for the password.

    Args:
        app: What is guarded.
        door: Knows the password.
    """

    def __init__(self, app: ASGIApp, auth: PasswordAuth) -> None:
        self._app = app
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
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
        # What takes long asks again.
        scope.setdefault("state", {})["is_signed_in"] = lambda: self._auth.is_signed_in(token)
        return self._auth.is_signed_in(token)
