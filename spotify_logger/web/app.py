"""The page as a whole: its addresses, what guards them, and what comes of errors."""

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
from spotify_logger.web.auth import Door
from spotify_logger.web.covers import Covers
from spotify_logger.web.error_log import ErrorLog
from spotify_logger.web.listeners import People
from spotify_logger.web.middleware import (
    COOKIE,
    SIGN_IN,
    SIGN_OUT,
    Hosts,
    Manners,
    SameOrigin,
    SignIn,
    own_names,
)
from spotify_logger.web.proxy import BehindProxy, Unforwarded
from spotify_logger.web.query_service import Busy
from spotify_logger.web.request_params import Odd
from spotify_logger.web.secrets_file import Keep
from spotify_logger.web.server import Server, listen
from spotify_logger.web.sessions import VALID, Sessions
from spotify_logger.web.static_files import Assets
from spotify_logger.web.templating import Pages
from spotify_logger.web.throttle import Throttle
from spotify_logger.web.views import form_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.requests import Request
    from starlette.types import ASGIApp

    from spotify_logger.config.settings import Settings

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - to tell them from others
"""Not one address, but all that the machine has."""
SMALLEST_PACKED = 500
"""Bytes from which on an answer is compressed."""
MIN_PASSWORD = 10
"""Characters of a password, where others than this machine can try one."""


class Page:
    """Everything that the page is made of.

    Args:
        settings: Where Redis is, and the app to log in with.
        names: Those that the machine goes by beside its own.
        door: Knows the password; None where none is asked for.
        covers: Whether images may come from Spotify's host.
        behind_proxy: Whether a proxy on this machine says who asks, and how.

    Attributes:
        app: What answers requests.
        warm: Does beforehand what would else be done while somebody waits.
    """

    def __init__(
        self,
        settings: Settings,
        names: Iterable[str],
        door: Door | None,
        *,
        covers: bool,
        behind_proxy: bool = False,
    ) -> None:
        zone = Zone()
        self._door = door
        assets = Assets()
        self._pages = Pages(assets, zone, {"protected": door is not None})
        self._people = People(settings, self._pages, Covers(shown=covers), zone)
        self.warm = self._people.warm
        view = self._people.view
        guards = [
            *([Middleware(BehindProxy)] if behind_proxy else []),
            *([] if door else [Middleware(Unforwarded)]),
            Middleware(Hosts, names=own_names(names)),
            Middleware(SameOrigin),
            *([Middleware(SignIn, door=door)] if door else []),
            Middleware(GZipMiddleware, minimum_size=SMALLEST_PACKED, compresslevel=6),
        ]
        app = Starlette(
            routes=[
                Route("/", view("home")),
                Route("/today", view("today")),
                Route("/live", view("live")),
                Route("/recent", view("recent")),
                Route("/day", view("some_day")),
                Route("/day/{day}", view("day")),
                Route("/top/{kind}", view("top")),
                Route("/top", _to("/top/tracks")),
                Route("/compare", view("compare")),
                Route("/listener", self._people.choose, methods=["POST"]),
                Route("/clock", view("clock")),
                Route("/chart", view("chart")),
                Route("/calendar", view("calendar")),
                Route("/calendar/{year:int}", view("calendar")),
                Route("/year", view("review")),
                Route("/year/{year:int}", view("review")),
                Route("/year/{year:int}/image.svg", view("review_image")),
                Route("/track", view("track")),
                Route("/artist", view("artist")),
                Route("/album", view("album")),
                Route("/search", view("search")),
                Route("/health", view("health")),
                Route("/health/login", view("log_in"), methods=["POST"]),
                Route("/health/login", view("log_in_state")),
                Route(SIGN_IN, self._ask_password),
                Route(SIGN_IN, self._take_password, methods=["POST"]),
                Route(SIGN_OUT, self._sign_out, methods=["POST"]),
                Route("/static/{digest}/{name}", assets.answer),
            ],
            middleware=guards,
            exception_handlers={
                Odd: self._odd,
                Busy: self._busy,
                SpotifyLoggerError: self._trouble,
                ClientDisconnect: self._gone,
                404: self._not_found,
                500: self._broken,
            },
        )
        # Around everything, so that even of what is broken a browser knows how to take it.
        self.app: ASGIApp = Manners(app, covers=covers)

    async def end(self) -> None:
        """End what would not end by itself."""
        await self._people.end()

    def close(self) -> None:
        """Let go of Redis, when nothing is answered any more."""
        self._people.close()

    # The password

    async def _ask_password(self, request: Request, told: str = "", status: int = 200) -> Response:
        to = _inside(request.query_params.get("to", "/"))
        if self._door is None:
            return RedirectResponse(to, HTTPStatus.SEE_OTHER)
        return self._pages.show(request, "sign_in.html", status, to=to, told=told)

    async def _take_password(self, request: Request) -> Response:
        form = await form_of(request)
        to = _inside(request.query_params.get("to", "/"))
        if self._door is None:
            return RedirectResponse(to, HTTPStatus.SEE_OTHER)
        address = request.client.host if request.client else ""
        if wait := self._door.wait(address):
            told = f"Too many wrong passwords: try again in {wait:.0f} s."
            return await self._ask_password(request, told, HTTPStatus.TOO_MANY_REQUESTS)
        token = self._door.open(form.get("password", ""), address)
        if token is None:
            return await self._ask_password(request, "That is not the password.", HTTPStatus.FORBIDDEN)
        answer = RedirectResponse(to, HTTPStatus.SEE_OTHER)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, token, max_age=VALID, secure=secure, httponly=True, samesite="strict")
        return answer

    async def _sign_out(self, request: Request) -> Response:
        if self._door:
            self._door.sign_out(request.cookies.get(COOKIE, ""))
            await self._people.recheck()
        answer = RedirectResponse(SIGN_IN, HTTPStatus.SEE_OTHER)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer

    # Errors

    async def _odd(self, request: Request, error: Exception) -> Response:
        return self._say(request, HTTPStatus.BAD_REQUEST, "That cannot be asked", f"{error}")

    async def _busy(self, request: Request, error: Exception) -> Response:
        return self._say(request, HTTPStatus.SERVICE_UNAVAILABLE, "One moment", f"{error}")

    async def _trouble(self, request: Request, error: Exception) -> Response:
        return self._say(
            request, HTTPStatus.SERVICE_UNAVAILABLE, "That did not work", log.sanitize(f"{error}")
        )

    async def _gone(self, _request: Request, _: Exception) -> Response:
        return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it

    async def _not_found(self, request: Request, _: Exception) -> Response:
        return self._say(request, HTTPStatus.NOT_FOUND, "There is no such page", "")

    async def _broken(self, request: Request, error: Exception) -> Response:
        error.add_note(f"{request.method} {request.url.path}")  # uvicorn logs it
        return self._say(
            request, HTTPStatus.INTERNAL_SERVER_ERROR, "Something is broken", "The page's log says more."
        )

    def _say(self, request: Request, status: int, title: str, told: str) -> Response:
        return self._pages.show(request, "error.html", status, title=title, told=told)


def serve(  # noqa: PLR0913 - as many as the command has options
    host: str, port: int, names: Iterable[str], settings: Settings, *, covers: bool, behind_proxy: bool
) -> int:
    """Serve the page until the process is asked to end, and return the exit code.

    Args:
        host: Where to listen: a name, or an address in figures.
        port: 0 for any that is free.
        names: Names of this machine beside its own.
        settings: Where Redis is, the password, the app to log in with.
        covers: Whether images may come from Spotify's host.
        behind_proxy: Whether a proxy on this machine says who asks, and how.

    Raises:
        Misconfigured: A setting is wrong.
        SpotifyLoggerError: The address cannot be had.
    """
    is_exposed = behind_proxy or not (is_loopback(host) or host == "localhost")
    if is_exposed and 0 < len(settings.web_password) < MIN_PASSWORD:
        raise Misconfigured(
            f"WEB_PASSWORD is too short for a page that others can open: it needs at least {MIN_PASSWORD} "
            "characters; without it, the page makes a password"
        )
    keep = Keep(settings.state_dir) if is_exposed or settings.web_password else None
    sockets = listen(host, port)
    if keep and not settings.web_password:
        _tell_password(keep)
    door = _door(settings.web_password or keep.password, keep) if keep else None
    page = Page(settings, [*names, host], door, covers=covers, behind_proxy=behind_proxy)
    address = _address(host, sockets[0].getsockname()[1])
    error_log = ErrorLog()
    logging.getLogger().addHandler(error_log)
    asyncio.run(_serve(page, sockets, f"The page is at {address}", error_log))
    return os.EX_OK


def _door(password: str, keep: Keep) -> Door:
    return Door(password, Sessions(keep, password), Throttle())


async def _serve(page: Page, sockets: list[socket.socket], ready: str, error_log: ErrorLog) -> None:
    tasks: list[asyncio.Task[None]] = []  # a loop alone would let go of them

    def be_ready() -> None:
        _say(ready)
        tasks.extend((asyncio.create_task(page.warm()), asyncio.create_task(error_log.count())))

    await Server(page.app, be_ready, page.end).serve(sockets)
    page.close()


def _tell_password(keep: Keep) -> None:
    # A log is no place for it, and without a terminal this is one.
    if sys.stdout.isatty():
        _say(f"Its password is {keep.password}")
    else:
        log.info(f"the password of the page is in {keep.path}; WEB_PASSWORD sets another one")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _address(host: str, port: int) -> str:
    """What to open in a browser."""
    name = socket.gethostname() if host in EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def _inside(target: str) -> str:
    """Where to go on: a path of the page itself, whatever was asked for."""
    # Two of them begin the name of another machine; what cannot be printed, browsers leave out.
    is_path = target.startswith("/") and target[1:2] not in ("/", "\\") and target.isprintable()
    return target if is_path else "/"


def _to(target: str) -> Callable[[Request], Awaitable[Response]]:
    async def go(_: Request) -> Response:
        return RedirectResponse(target, HTTPStatus.PERMANENT_REDIRECT)

    return go
