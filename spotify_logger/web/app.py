"""The web application: routes, middleware and error pages, and the function that serves it."""

import asyncio
import logging
import os
import socket
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterable, Mapping
from functools import partial
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route

from spotify_logger.config.settings import Settings, is_loopback
from spotify_logger.queries.question import DEFAULT_THRESHOLD
from spotify_logger.system import log
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError
from spotify_logger.web import openapi
from spotify_logger.web.api import Api
from spotify_logger.web.auth import (
    OFFLINE,
    SERVICE_WORKER,
    SESSION_COOKIE,
    SIGN_IN,
    SIGN_OUT,
    PasswordAuth,
    SecurityMiddleware,
    set_cookie,
)
from spotify_logger.web.listeners import Listeners, View
from spotify_logger.web.request_params import read_form
from spotify_logger.web.server import UPLOAD, ErrorLog, PageServer, listen
from spotify_logger.web.templating import SCRIPT, TOKEN_PATHS, Assets, Templates, problem
from spotify_logger.web.views import music, periods, personal, pictures, plays

WILDCARD_HOSTS = ("0.0.0.0", "::")  # noqa: S104 - they stand for all addresses of the machine
MIN_PASSWORD_LENGTH = 10  # if other machines can reach the page
STATUSES = {ArgumentTypeError: 400, ClientDisconnect: 400, SpotifyLoggerError: 503, Exception: 500}
TITLES = {400: "Bad request", 404: "Page not found", 500: "Internal error", 503: "Something went wrong"}

VIEWS: dict[str, View] = {
    "/": plays.home,
    "/today": plays.today,
    "/live": plays.live,
    "/recent": plays.recent,
    **dict.fromkeys(("/day", "/day/{day}"), plays.day),
    "/top/{kind}": music.top,
    "/top/{kind}/image.svg": pictures.top,
    "/compare": music.compare,
    **dict.fromkeys(("/track", "/artist", "/album", "/show", "/episode"), music.item),
    "/search": music.search,
    "/suggest": music.suggest,
    "/clock": periods.clock,
    "/stats": periods.stats,
    "/chart": periods.chart,
    **dict.fromkeys(("/calendar", "/calendar/{year:int}"), periods.calendar),
    **dict.fromkeys(("/year", "/year/{year:int}", "/month", "/month/{month}"), periods.review),
    **dict.fromkeys(("/year/{year:int}/image.svg", "/month/{month}/image.svg"), pictures.review),
    "/settings": personal.settings,
    "/health": personal.health,
    "/health/login": personal.login_state,
}
FORMS = {
    "/health/login": personal.log_in,
    "/forget": personal.forget,
    "/export": personal.export,
    UPLOAD: personal.upload,
    "/import/user": personal.choose_user,
    "/hide": personal.hide,
    "/settings": personal.save_settings,
    "/undo": personal.undo,
}


class WebApp:
    """The ASGI application `app`, and the `listeners` that it shows; see `SecurityMiddleware`."""

    def __init__(
        self, settings: Settings, names: Iterable[str], auth: PasswordAuth | None, *, covers: bool
    ) -> None:
        assets = Assets()
        self._auth = auth
        counts_after = f"{DEFAULT_THRESHOLD.get() / 1000:g}"
        self._templates = Templates(assets, {"protected": auth is not None, "counts_after": counts_after})
        render = self._templates.render
        self.listeners = Listeners(settings, self._templates, covers=covers)
        self._app = Starlette(
            routes=[
                *(Route(path, self.listeners.view(view)) for path, view in VIEWS.items()),
                *(Route(path, self.listeners.view(view), methods=["POST"]) for path, view in FORMS.items()),
                *Api(self.listeners).routes,
                Route("/listener", self.listeners.choose, methods=["POST"]),
                Route("/top", RedirectResponse("/top/tracks", 308)),
                Route(SIGN_IN, self._sign_in, methods=["GET", "POST"]),
                Route(SIGN_OUT, self._sign_out, methods=["POST"]),
                openapi.ROUTE,
                Route(SERVICE_WORKER, lambda request: render(request, "service_worker.js", 200, SCRIPT)),
                Route(OFFLINE, lambda request: render(request, "offline.html")),
                Mount(assets.path, assets),
            ],
            exception_handlers=dict.fromkeys((HTTPException, *STATUSES), self._show_error),
        )
        zipped = GZipMiddleware(self._app, compresslevel=6)
        self.app = SecurityMiddleware(zipped, names, auth, covers=covers)

    async def _sign_in(self, request: Request) -> Response:
        target = request.query_params.get("to", "/")
        # `//` and `/\\` begin a host name; browsers drop unprintable characters.
        if not target.startswith("/") or target[1:2] in ("/", "\\") or not target.isprintable():
            target = "/"
        answer, status, message = RedirectResponse(target, 303), 200, ""
        if self._auth is None:
            return answer
        if request.method == "POST":
            password = (await read_form(request)).get("password", "")
            address = request.client.host if request.client else ""
            if wait := self._auth.throttle.retry_after(address):
                status, message = 429, f"Too many attempts. Try again in {wait:.0f} s."
            elif token := self._auth.sign_in(password, address):
                set_cookie(request, answer, SESSION_COOKIE, token)
                return answer
            else:
                status, message = 403, "Wrong password."
        return self._templates.render(request, "sign_in.html", status, target=target, message=message)

    async def _sign_out(self, request: Request) -> Response:
        if self._auth:
            self._auth.sign_out(request.cookies.get(SESSION_COOKIE, ""))
        answer = RedirectResponse(SIGN_IN, 303)
        answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict")
        return answer

    async def _show_error(self, request: Request, error: Exception) -> Response:
        path = request.scope["path"]
        error.add_note(f"{request.method} {path}")  # uvicorn logs it with internal errors
        status = next(status for kind, status in STATUSES.items() if isinstance(error, kind))
        text = log.sanitize(f"{error}")
        headers: Mapping[str, str] = {}
        if isinstance(error, HTTPException):
            status, text, headers = error.status_code, error.detail, error.headers or {}
        elif status == HTTPStatus.INTERNAL_SERVER_ERROR:
            text = "See the log of the page for details."
        name = HTTPStatus(status).phrase
        title, text = TITLES.get(status, name), text if text != name else ""
        if path.startswith(TOKEN_PATHS):
            answer = problem(status, title, text)
        else:
            can_retry = request.method in ("GET", "HEAD") and status != HTTPStatus.METHOD_NOT_ALLOWED
            about = {"title": title, "message": text, "can_retry": can_retry}
            answer = self._templates.render(request, "error.html", status, **about)
        answer.headers.update(headers)
        return answer


def serve(options: Namespace, settings: Settings) -> int:
    """Serve the page until the process is told to stop, and return the exit code."""
    host = options.host
    is_local = is_loopback(host) or host == "localhost"
    if options.behind_proxy and not is_local:
        raise Misconfigured("--behind-proxy is for a proxy on this machine: leave out --host")
    is_exposed = options.behind_proxy or not is_local
    password = settings.web_password
    if is_exposed and 0 < len(password) < MIN_PASSWORD_LENGTH:
        least = f"at least {MIN_PASSWORD_LENGTH} characters for a page that others can reach"
        raise Misconfigured(f"WEB_PASSWORD needs {least}: choose a longer one, or unset it to get one")
    auth = PasswordAuth(settings.state_dir, password) if is_exposed or password else None
    sockets = listen(host, options.port)
    if auth and not password and sys.stdout.isatty():
        print(f"The password is {auth.password}", flush=True)  # noqa: T201 - a command prints
    elif auth and not password:  # stdout is a log, which is no place for a password
        log.info(f"the password of the page is in {auth.path}; set WEB_PASSWORD to choose another one")
    page = WebApp(settings, [*options.names, host], auth, covers=options.covers)
    server = PageServer(page.app, page.listeners.stop, behind_proxy=options.behind_proxy)
    name = socket.gethostname() if host in WILDCARD_HOSTS else f"[{host}]" if ":" in host else host
    ready = f"The page is at http://{name}:{sockets[0].getsockname()[1]}/"
    logging.getLogger().addHandler(ErrorLog())
    asyncio.run(_serve(page, server, sockets, ready))
    return os.EX_OK


async def _serve(page: WebApp, server: PageServer, sockets: list[socket.socket], ready: str) -> None:
    # Once the server waits for requests, and handles signals.
    asyncio.get_running_loop().call_soon(partial(print, ready, flush=True))
    warming = asyncio.create_task(page.listeners.warm())
    await server.serve(sockets)
    warming.cancel()
    page.listeners.close()
