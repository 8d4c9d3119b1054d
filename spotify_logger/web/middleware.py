"""ASGI middleware: which requests are refused, what a proxy says about them, and security headers."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from spotify_logger.config.settings import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from spotify_logger.web.auth import PasswordAuth

Check: TypeAlias = "Callable[[Request], Response | None]"
"""Returns the refusal of a request; None if it may pass."""

SESSION_COOKIE = "spotify_logger"
SIGN_IN = "/sign-in"
SIGN_OUT = "/sign-out"
PUBLIC_PATHS = ("/static/", SIGN_IN, SIGN_OUT)
"""Paths that need no password: they reveal nothing of the log."""
MAX_TARGET_BYTES = 2048
"""Maximum length of a path with its query, in bytes."""
LOCAL_SUFFIXES = ("local", "lan", "home", "home.arpa", "internal")
"""Domains that nobody can register on the public Internet."""
FORWARDED_HEADERS = ("forwarded", "via", "x-real-ip", "x-forwarded-")
"""Names of the headers that proxies add, or their prefixes."""


class Checks:
    """Answers a request with the first refusal, and passes on what no check refuses.

    `names` are host names to answer to, besides those of this machine; without a password, `auth` is None.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str], auth: PasswordAuth | None) -> None:
        self._app = app
        checks: list[Check] = [_refuse_unknown_hosts(names), _refuse_long_urls, _refuse_cross_site]
        self._checks = [*checks, _require_sign_in(auth)] if auth else [_refuse_forwarded, *checks]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI call."""
        request = Request(scope)
        refusals = (check(request) for check in self._checks)
        answer: ASGIApp = next(filter(None, refusals), self._app)
        await answer(scope, receive, send)


def _refuse_forwarded(request: Request) -> Response | None:
    """Refuse forwarded requests, for a page without a password.

    Such a page relies on being reachable from this machine only; a proxy would expose it. nginx adds no
    header unless configured to, but speaks HTTP/1.0 by default up to version 1.29, which no browser does.
    """
    is_forwarded = any(name.startswith(FORWARDED_HEADERS) for name in request.headers)
    if not is_forwarded and request.scope["http_version"] != "1.0":
        return None
    return PlainTextResponse(
        "This page has no password, and a proxy would expose it to everybody. Start it with "
        "`spotify-logger web --behind-proxy` to require one; see docs/behind-a-proxy.md.\n",
        403,
    )


def _refuse_unknown_hosts(names: Iterable[str]) -> Check:
    """Return a check that refuses requests for host names other than `names` and those of this machine.

    This prevents DNS rebinding: another site could point its own name to this machine and read the page.
    IP addresses are safe: what a browser loads from one really comes from there.
    """
    host = socket.gethostname().lower().partition(".")[0]
    own = ("localhost", host, socket.getfqdn(), *(f"{host}.{suffix}" for suffix in LOCAL_SUFFIXES))
    allowed = {name.lower().rstrip(".") for name in (*own, *names)}

    def check(request: Request) -> Response | None:
        hosts = request.headers.getlist("host")
        if len(hosts) == 1 and _is_allowed(hosts[0], allowed):
            return None
        return PlainTextResponse(
            "Unknown host name. Use the IP address of the machine, or start the page with "
            "`spotify-logger web --name NAME`.\n",
            421,
        )

    return check


def _is_allowed(host: str, allowed: set[str]) -> bool:
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        return name in allowed or bool(ipaddress.ip_address(name))
    except ValueError:  # malformed brackets, or no IP address
        return False


def _refuse_long_urls(request: Request) -> Response | None:
    """Refuse requests whose path and query are longer than `MAX_TARGET_BYTES`."""
    is_long = len(request.scope["raw_path"]) + len(request.scope["query_string"]) > MAX_TARGET_BYTES
    return PlainTextResponse("URL too long.\n", 414) if is_long else None


def _refuse_cross_site(request: Request) -> Response | None:
    """Refuse requests from other sites that would change something (CSRF).

    Browsers send `Sec-Fetch-Site` only over https and to loopback, and `Origin` with every form (all of them
    since 2020). A request with neither does not come from a browser, so no other site can have sent it.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        is_own = site == "same-origin"
    else:
        is_own = origin is None or origin.partition("://")[2] == request.headers.get("host")
    if is_own or request.method in ("GET", "HEAD"):
        return None
    return PlainTextResponse("Cross-site requests are not allowed.\n", 403)


def _require_sign_in(auth: PasswordAuth) -> Check:
    """Return a check that redirects browsers without a valid session to the sign-in page."""

    def check(request: Request) -> Response | None:
        token = request.cookies.get(SESSION_COOKIE, "")
        # Long-lived responses check it again.
        request.state.is_signed_in = lambda: auth.is_signed_in(token)
        if request.scope["path"].startswith(PUBLIC_PATHS) or auth.is_signed_in(token):
            return None
        if request.method != "GET" or "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse("Sign in first.\n", 401)
        query = request.scope["query_string"].decode("latin-1")
        target = request.scope["path"] + (query and f"?{query}")
        return RedirectResponse(f"{SIGN_IN}?to={quote(target, safe='/')}", 303)

    return check


class BehindProxy:
    """Takes the scheme and the client's address from the headers of a proxy on this machine.

    Only the last value of each header counts: the proxy wrote it, while the others may come from the client.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI call."""
        if scope["client"] and is_loopback(scope["client"][0]):
            scheme, address = (
                ",".join(Headers(scope=scope).getlist(name)).rpartition(",")[2].strip()
                for name in ("x-forwarded-proto", "x-forwarded-for")
            )
            scope = {
                **scope,
                "scheme": scheme if scheme in ("http", "https") else scope["scheme"],
                "client": (address, 0) if address else scope["client"],
            }
        await self._app(scope, receive, send)


class SecurityHeaders:
    """Adds a content security policy and other security headers; `covers` allows Spotify's image host."""

    def __init__(self, app: ASGIApp, *, covers: bool) -> None:
        self._app = app
        images = "'self' https://i.scdn.co" if covers else "'self'"
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
                headers.update(self._headers)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)
