"""Serves the page for tests on a free port, in a thread or as a process."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import IO, TYPE_CHECKING, NamedTuple

from spotify_logger.config.settings import load
from spotify_logger.web.app import WebApp
from spotify_logger.web.auth import PasswordAuth
from spotify_logger.web.server import PageServer, listen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from spotify_logger.config.settings import Settings

TIMEOUT = 30.0


class ManualClock:
    """A clock that is advanced by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class _ThreadedServer(PageServer):
    """A server without signal handlers, which only the main thread may set."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpResponse(NamedTuple):
    """A response, decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def cookie(self) -> str:
        """The cookies that it sets, as a browser sends them back."""
        return "; ".join(each.partition(";")[0] for each in self.headers["set-cookie"].split("\n"))


FORM_HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}


def exchange(
    connection: HTTPConnection, method: str, target: str, body: bytes | str | None, headers: Mapping[str, str]
) -> HttpResponse:
    """Send a request and return the response."""
    connection.request(method, target, body, headers)
    response = connection.getresponse()
    content = response.read()
    found: dict[str, str] = {}
    for name, value in response.getheaders():
        found[name.lower()] = f"{found[name.lower()]}\n{value}" if name.lower() in found else value
    is_compressed = found.get("content-encoding") == "gzip"
    return HttpResponse(response.status, found, gzip.decompress(content) if is_compressed else content)


class PageClient:
    """A client of a served page.

    Attributes:
        port: Its port of 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self.port = port

    def request(
        self,
        target: str,
        method: str = "GET",
        body: bytes | None = None,
        more: Mapping[str, str] | None = None,
        **headers: str,
    ) -> HttpResponse:
        """Send a request like a browser; `_` in a header name stands for `-`."""
        all_headers = {"Accept": "text/html", "Accept-Encoding": "gzip", **(more or {})}
        all_headers |= {name.replace("_", "-"): value for name, value in headers.items()}
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)) as connection:
            return exchange(connection, method, target, body, all_headers)

    def post(self, target: str, body: str, **headers: str) -> HttpResponse:
        """Send a form like a client other than a browser; browser tests use real ones."""
        return self.request(target, "POST", body.encode(), FORM_HEADERS, **headers)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT)


def settings_for(url: str, folder: Path, **more: str) -> Settings:
    """Return settings with nothing but these set."""
    return load(folder, {"REDIS_URL": url, "STATE_DIR": str(folder), **more}, need_login=False)


def password_auth(folder: Path, password: str, now: Callable[[], float]) -> PasswordAuth:
    """Return the password check of a page whose state is in `folder`."""
    return PasswordAuth(folder, password, now, now)


def start_page(
    url: str, folder: Path, *arguments: str, stderr: int | IO[str] | None = None, **more: str
) -> subprocess.Popen[str]:
    """Start the page as a process, on a free port unless the arguments name another one."""
    environment = {
        name: os.environ[name] for name in ("PATH", "LANG", "TZ", "PYTHONPATH") if name in os.environ
    }
    environment |= {"REDIS_URL": url, "STATE_DIR": str(folder), "HOME": str(folder), **more}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "spotify_logger", "web", "--port", "0", *arguments],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


def served_url(process: subprocess.Popen[str]) -> str:
    """Wait until a process serves the page, and return its URL, without a trailing slash."""
    assert process.stdout is not None
    found = re.fullmatch(r"The page is at (http://\S+)/\n", process.stdout.readline())
    assert found
    return found[1]


@contextmanager
def page_process(url: str, folder: Path, *arguments: str, **more: str) -> Iterator[str]:
    """Run the page as a process and yield its URL, without a trailing slash."""
    with start_page(url, folder, *arguments, stderr=None, **more) as process:
        try:
            yield served_url(process)
        finally:
            process.terminate()
    assert process.returncode == 0


@contextmanager
def serve_page(
    settings: Settings, auth: PasswordAuth | None = None, *, covers: bool = True, behind_proxy: bool = False
) -> Iterator[PageClient]:
    """Serve the page in a thread."""
    sockets = listen("127.0.0.1", 0)
    ready = threading.Event()
    servers: list[_ThreadedServer] = []

    async def serve() -> None:
        page = WebApp(settings, ["music.example"], auth, covers=covers)
        servers.append(_ThreadedServer(page.app, page.listeners.stop, behind_proxy=behind_proxy))
        ready.set()
        await servers[0].serve(sockets)
        page.listeners.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(TIMEOUT)
        yield PageClient(sockets[0].getsockname()[1])
    finally:
        servers[0].should_exit = True
        thread.join(TIMEOUT)
        assert not thread.is_alive()
