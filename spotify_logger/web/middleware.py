"""ASGI middleware: which requests are refused, what a proxy says about them, and security headers."""

from __future__ import annotations

import ipaddress
import socket
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from spotify_logger.config.settings import is_loopback
from spotify_logger.web.templating import TOKEN_PATHS, problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from spotify_logger.web.auth import PasswordAuth

SESSION_COOKIE = "spotify_logger"
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
SERVICE_WORKER, OFFLINE = "/service-worker.js", "/offline"
# Need no password: they reveal nothing of the log, or `Api` says who may read it.
PUBLIC_PATHS = ("/static/", SERVICE_WORKER, OFFLINE, SIGN_IN, SIGN_OUT, "/healthz", *TOKEN_PATHS)
LOCAL_SUFFIXES = ("local", "lan", "home", "home.arpa", "internal")  # nobody can register these domains
FORWARDED_HEADERS = ("forwarded", "via", "x-real-ip", "x-forwarded-")  # the beginnings of what proxies add


class Checks:
    """Refuses requests that may not reach the page.

    `names` are host names to answer to, besides those of this machine; without a password, `auth` is None.
    """

    def __init__(
        self, app: ASGIApp, names: Iterable[str], auth: PasswordAuth | None, *, behind_proxy: bool
    ) -> None:
        self._app, self._auth, self._behind_proxy = app, auth, behind_proxy
        host = socket.gethostname().lower().partition(".")[0]
        own = ("localhost", host, socket.getfqdn(), *(f"{host}.{suffix}" for suffix in LOCAL_SUFFIXES))
        self._names = {name.lower().rstrip(".") for name in (*own, *names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI call."""
        scope = forwarded(scope) if self._behind_proxy else scope
        request = Request(scope)
        refusal = self._refusal(request)
        if refusal and request.scope["path"].startswith(TOKEN_PATHS):
            refusal = problem(refusal.status_code, "Refused", bytes(refusal.body).decode().strip())
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        if self._auth is None and is_forwarded(request):
            return PlainTextResponse(
                "This page has no password, and a proxy would expose it to everybody. Start it with "
                "`spotify-logger web --behind-proxy` to require one; see docs/behind-a-proxy.md.\n",
                403,
            )
        if not self._is_known_host(request):
            return PlainTextResponse(
                "Unknown host name. Use the IP address of the machine, or start the page with "
                "`spotify-logger web --name NAME`.\n",
                421,
            )
        if request.method not in ("GET", "HEAD") and _is_cross_site(request):
            return PlainTextResponse("Cross-site requests are not allowed.\n", 403)
        return _require_sign_in(request, self._auth) if self._auth else None

    def _is_known_host(self, request: Request) -> bool:
        """Return whether a request is for this machine, by an IP address or a name that it has.

        This prevents DNS rebinding: another site could point its own name to this machine and read the page.
        IP addresses are safe: what a browser loads from one really comes from there.
        """
        try:
            (host,) = request.headers.getlist("host")
            name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
            return name in self._names or bool(ipaddress.ip_address(name))
        except ValueError:  # several hosts or none, malformed brackets, no IP address
            return False


def is_forwarded(request: Request) -> bool:
    """Return whether a proxy sent a request: it would expose a page that has no password.

    nginx adds no header unless configured to, but speaks HTTP/1.0 by default up to version 1.29, which no
    browser does.
    """
    is_named = any(name.startswith(FORWARDED_HEADERS) for name in request.headers)
    return is_named or request.scope["http_version"] == "1.0"


def _is_cross_site(request: Request) -> bool:
    """Return whether a page of another site sent a request (CSRF).

    Browsers send `Sec-Fetch-Site` only over https and to loopback, and `Origin` with every form (all of them
    since 2020). A request with neither does not come from a browser, so no other site can have sent it.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site != "same-origin"
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")


def _require_sign_in(request: Request, auth: PasswordAuth) -> Response | None:
    """Redirect a browser without a valid session to the sign-in page."""
    token = request.cookies.get(SESSION_COOKIE, "")
    request.state.is_signed_in = partial(auth.is_signed_in, token)  # long-lived responses check it again
    if request.scope["path"].startswith(PUBLIC_PATHS) or auth.is_signed_in(token):
        return None
    if request.method != "GET" or "text/html" not in request.headers.get("accept", ""):
        return PlainTextResponse("Sign in first.\n", 401)
    query = request.scope["query_string"].decode("latin-1")
    target = request.scope["path"] + (query and f"?{query}")
    return RedirectResponse(f"{SIGN_IN}?to={quote(target, safe='/')}", 303)


def forwarded(scope: Scope) -> Scope:
    """Return a request with the scheme and the client's address that a proxy on this machine names.

    Only the last value of each header counts: the proxy wrote it, while the others may come from the client.
    """
    if not scope["client"] or not is_loopback(scope["client"][0]):
        return scope
    scheme, address = (
        ",".join(Headers(scope=scope).getlist(name)).rpartition(",")[2].strip()
        for name in ("x-forwarded-proto", "x-forwarded-for")
    )
    return {
        **scope,
        "scheme": scheme if scheme in ("http", "https") else scope["scheme"],
        "client": (address, 0) if address else scope["client"],
    }


class SecurityHeaders:
    """Adds a content security policy and other security headers; `covers` allows Spotify's image host."""

    def __init__(self, app: ASGIApp, *, covers: bool) -> None:
        self._app = app
        images = "'self' https://i.scdn.co" if covers else "'self'"
        self._headers = {
            "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
            f"img-src {images}; connect-src 'self'; manifest-src 'self'; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'",
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            # Not "no-referrer": under it browsers send "Origin: null" with the page's own forms.
            "referrer-policy": "same-origin",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": "camera=(), geolocation=(), microphone=()",
            "cache-control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an ASGI call."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)
