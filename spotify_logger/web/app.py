"""The web application: routes, middleware and error pages, and the function that serves it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from spotify_logger.config.settings import is_loopback
from spotify_logger.core.periods import Zone
from spotify_logger.system import log
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError
from spotify_logger.web.auth import PasswordAuth
from spotify_logger.web.covers import Covers
from spotify_logger.web.error_log import ErrorLog
from spotify_logger.web.forms import read_form
from spotify_logger.web.listeners import Listeners
from spotify_logger.web.middleware import (
    SESSION_COOKIE,
    SIGN_IN,
    SIGN_OUT,
    AllowedHosts,
    RequireSignIn,
    SameOrigin,
    SecurityHeaders,
    local_host_names,
)
from spotify_logger.web.proxy import BehindProxy, RefuseForwarded
from spotify_logger.web.query_service import TooManyQueries
from spotify_logger.web.request_params import BadRequest
from spotify_logger.web.secrets_file import SecretsFile
from spotify_logger.web.server import PageServer, listen
from spotify_logger.web.sessions import SESSION_LIFETIME, Sessions
from spotify_logger.web.static_files import Assets
from spotify_logger.web.templating import Templates
from spotify_logger.web.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from spotify_logger.config.settings import Settings

WILDCARD_HOSTS = ("0.0.0.0", "::")  # noqa: S104 - to tell them from others
"""Hosts that stand for all addresses of the machine."""
GZIP_MINIMUM_BYTES = 500
"""Responses of at least this many bytes are compressed."""
MIN_PASSWORD_LENGTH = 10
"""Minimum length of a password if other machines can reach the page."""


class WebApp:
    """The ASGI application and what it needs.

    Args:
        settings: Where Redis is, and the app to log in with.
        names: Additional host names to answer to.
        auth: Checks the password; None if there is none.
        covers: Whether to load covers from Spotify's image host.
        behind_proxy: Whether to trust the forwarding headers of a proxy on this machine.

    Attributes:
        app: The ASGI application.
        warm: Fills the caches before the first visitor comes.
    """

    def __init__(
        self,
        settings: Settings,
        names: Iterable[str],
        auth: PasswordAuth | None,
        *,
        covers: bool,
        behind_proxy: bool = False,
    ) -> None:
        zone = Zone()
        self._auth = auth
        assets = Assets()
        self._templates = Templates(assets, zone, {"protected": auth is not None})
        self._listeners = Listeners(settings, self._templates, Covers(enabled=covers), zone)
        self.warm = self._listeners.warm
        view = self._listeners.view
        middleware = [
            *([Middleware(BehindProxy)] if behind_proxy else []),
            *([] if auth else [Middleware(RefuseForwarded)]),
            Middleware(AllowedHosts, names=local_host_names(names)),
            Middleware(SameOrigin),
            *([Middleware(RequireSignIn, auth=auth)] if auth else []),
            Middleware(GZipMiddleware, minimum_size=GZIP_MINIMUM_BYTES, compresslevel=6),
        ]
        app = Starlette(
            routes=[
                Route("/", view(lambda pages: pages.plays.home)),
                Route("/today", view(lambda pages: pages.plays.today)),
                Route("/live", view(lambda pages: pages.plays.live)),
                Route("/recent", view(lambda pages: pages.plays.recent)),
                Route("/day", view(lambda pages: pages.plays.pick_day)),
                Route("/day/{day}", view(lambda pages: pages.plays.day)),
                Route("/top/{kind}", view(lambda pages: pages.music.top)),
                Route("/top", _redirect("/top/tracks")),
                Route("/compare", view(lambda pages: pages.music.compare)),
                Route("/listener", self._listeners.choose, methods=["POST"]),
                Route("/clock", view(lambda pages: pages.periods.clock)),
                Route("/chart", view(lambda pages: pages.periods.chart)),
                Route("/calendar", view(lambda pages: pages.periods.calendar)),
                Route("/calendar/{year:int}", view(lambda pages: pages.periods.calendar)),
                Route("/year", view(lambda pages: pages.periods.review)),
                Route("/year/{year:int}", view(lambda pages: pages.periods.review)),
                Route("/year/{year:int}/image.svg", view(lambda pages: pages.periods.review_image)),
                Route("/track", view(lambda pages: pages.music.track)),
                Route("/artist", view(lambda pages: pages.music.artist)),
                Route("/album", view(lambda pages: pages.music.album)),
                Route("/search", view(lambda pages: pages.music.search)),
                Route("/health", view(lambda pages: pages.account.health)),
                Route("/health/login", view(lambda pages: pages.account.log_in), methods=["POST"]),
                Route("/health/login", view(lambda pages: pages.account.login_state)),
                Route(SIGN_IN, self._show_sign_in),
                Route(SIGN_IN, self._sign_in, methods=["POST"]),
                Route(SIGN_OUT, self._sign_out, methods=["POST"]),
                Route("/static/{digest}/{name}", assets.serve),
            ],
            middleware=middleware,
            exception_handlers={
                BadRequest: self._bad_request,
                TooManyQueries: self._too_many_queries,
                SpotifyLoggerError: self._service_error,
                ClientDisconnect: self._client_disconnected,
                404: self._not_found,
                500: self._internal_error,
            },
        )
        # Outermost, so that error pages get the headers, too.
        self.app: ASGIApp = SecurityHeaders(app, covers=covers)

    async def stop(self) -> None:
        """End the streams and logins that are open."""
        await self._listeners.stop()

    def close(self) -> None:
        """Close the connections to Redis."""
        self._listeners.close()

    # Signing in

    async def _show_sign_in(self, request: Request, message: str = "", status: int = 200) -> Response:
        target = _local_path(request.query_params.get("to", "/"))
        if self._auth is None:
            return RedirectResponse(target, HTTPStatus.SEE_OTHER)
        return self._templates.render(request, "sign_in.html", status, target=target, message=message)

    async def _sign_in(self, request: Request) -> Response:
        form = await read_form(request)
        target = _local_path(request.query_params.get("to", "/"))
        if self._auth is None:
            return RedirectResponse(target, HTTPStatus.SEE_OTHER)
        address = request.client.host if request.client else ""
        if wait := self._auth.retry_after(address):
            message = f"Too many attempts. Try again in {wait:.0f} s."
            return await self._show_sign_in(request, message, HTTPStatus.TOO_MANY_REQUESTS)
        token = self._auth.sign_in(form.get("password", ""), address)
        if token is None:
            return await self._show_sign_in(request, "Wrong password.", HTTPStatus.FORBIDDEN)
        answer = RedirectResponse(target, HTTPStatus.SEE_OTHER)
        secure = request.url.scheme == "https"
        answer.set_cookie(
            SESSION_COOKIE, token, max_age=SESSION_LIFETIME, secure=secure, httponly=True, samesite="strict"
        )
        return answer

    async def _sign_out(self, request: Request) -> Response:
        if self._auth:
            self._auth.sign_out(request.cookies.get(SESSION_COOKIE, ""))
            await self._listeners.recheck()
        answer = RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER)
        answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
        return answer

    # Errors

    async def _bad_request(self, request: Request, error: Exception) -> Response:
        return self._error_page(request, HTTPStatus.BAD_REQUEST, "Bad request", f"{error}")

    async def _too_many_queries(self, request: Request, error: Exception) -> Response:
        return self._error_page(request, HTTPStatus.SERVICE_UNAVAILABLE, "Too busy", f"{error}")

    async def _service_error(self, request: Request, error: Exception) -> Response:
        return self._error_page(
            request, HTTPStatus.SERVICE_UNAVAILABLE, "Something went wrong", log.sanitize(f"{error}")
        )

    async def _client_disconnected(self, _request: Request, _: Exception) -> Response:
        return Response(status_code=HTTPStatus.BAD_REQUEST)  # the client is gone

    async def _not_found(self, request: Request, _: Exception) -> Response:
        return self._error_page(request, HTTPStatus.NOT_FOUND, "Page not found", "")

    async def _internal_error(self, request: Request, error: Exception) -> Response:
        error.add_note(f"{request.method} {request.url.path}")  # uvicorn logs it
        return self._error_page(
            request,
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "Internal error",
            "See the log of the page for details.",
        )

    def _error_page(self, request: Request, status: int, title: str, message: str) -> Response:
        return self._templates.render(request, "error.html", status, title=title, message=message)


def serve(  # noqa: PLR0913 - as many as the command has options
    host: str, port: int, names: Iterable[str], settings: Settings, *, covers: bool, behind_proxy: bool
) -> int:
    """Serve the page until the process is asked to end, and return the exit code.

    Args:
        host: Name or IP address to listen on.
        port: 0 for any free port.
        names: Additional host names to answer to.
        settings: Where Redis is, the password, the app to log in with.
        covers: Whether to load covers from Spotify's image host.
        behind_proxy: Whether to trust the forwarding headers of a proxy on this machine.

    Raises:
        Misconfigured: A setting is wrong.
        SpotifyLoggerError: It cannot listen on that address.
    """
    is_local = is_loopback(host) or host == "localhost"
    if behind_proxy and not is_local:
        raise Misconfigured("--behind-proxy is for a proxy on this machine: leave out --host")
    is_exposed = behind_proxy or not is_local
    if is_exposed and 0 < len(settings.web_password) < MIN_PASSWORD_LENGTH:
        raise Misconfigured(
            f"WEB_PASSWORD needs at least {MIN_PASSWORD_LENGTH} characters for a page that others can reach: "
            "choose a longer one, or leave it empty to have one generated"
        )
    secrets_file = SecretsFile(settings.state_dir) if is_exposed or settings.web_password else None
    sockets = listen(host, port)
    if secrets_file and not settings.web_password:
        _announce_password(secrets_file)
    auth = (
        _password_auth(settings.web_password or secrets_file.password, secrets_file) if secrets_file else None
    )
    page = WebApp(settings, [*names, host], auth, covers=covers, behind_proxy=behind_proxy)
    address = _url(host, sockets[0].getsockname()[1])
    error_log = ErrorLog()
    logging.getLogger().addHandler(error_log)
    asyncio.run(_serve(page, sockets, f"The page is at {address}", error_log))
    return os.EX_OK


def _password_auth(password: str, secrets_file: SecretsFile) -> PasswordAuth:
    return PasswordAuth(password, Sessions(secrets_file, password), Throttle())


async def _serve(page: WebApp, sockets: list[socket.socket], ready: str, error_log: ErrorLog) -> None:
    tasks: list[asyncio.Task[None]] = []  # keeps a reference: the event loop holds only weak ones

    def on_ready() -> None:
        _print_line(ready)
        tasks.extend((asyncio.create_task(page.warm()), asyncio.create_task(error_log.run())))

    await PageServer(page.app, on_ready, page.stop).serve(sockets)
    page.close()


def _announce_password(secrets_file: SecretsFile) -> None:
    # Without a terminal, stdout is a log, which is no place for a password.
    if sys.stdout.isatty():
        _print_line(f"The password is {secrets_file.password}")
    else:
        log.info(
            f"the password of the page is in {secrets_file.path}; set WEB_PASSWORD to choose another one"
        )


def _print_line(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _url(host: str, port: int) -> str:
    """Return the URL to open in a browser."""
    name = socket.gethostname() if host in WILDCARD_HOSTS else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def _local_path(target: str) -> str:
    """Return `target` if it is a path on this site, else "/"."""
    # `//` and `/\\` begin a host name; browsers drop unprintable characters.
    is_path = target.startswith("/") and target[1:2] not in ("/", "\\") and target.isprintable()
    return target if is_path else "/"


def _redirect(target: str) -> Callable[[Request], Awaitable[Response]]:
    async def go(_: Request) -> Response:
        return RedirectResponse(target, HTTPStatus.PERMANENT_REDIRECT)

    return go
