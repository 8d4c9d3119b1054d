"""Serves the page for tests on a free port, in a thread or as a process."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from typing import TYPE_CHECKING, NamedTuple
from unittest.mock import patch

from spotify_logger.config.settings import load
from spotify_logger.web import query_service
from spotify_logger.web.app import WebApp
from spotify_logger.web.auth import PasswordAuth
from spotify_logger.web.secrets_file import SecretsFile
from spotify_logger.web.server import PageServer, listen
from spotify_logger.web.sessions import Sessions
from spotify_logger.web.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from spotify_logger.config.settings import Settings

TIMEOUT = 30.0


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
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)) as connection:
            all_headers = {"Accept": "text/html", "Accept-Encoding": "gzip"}
            all_headers |= {
                **(more or {}),
                **{name.replace("_", "-"): value for name, value in headers.items()},
            }
            connection.request(method, target, body, all_headers)
            response = connection.getresponse()
            content = response.read()
            found = {name.lower(): value for name, value in response.getheaders()}
            if found.get("content-encoding") == "gzip":
                content = gzip.decompress(content)
            return HttpResponse(response.status, found, content)

    def post(self, target: str, body: str, **headers: str) -> HttpResponse:
        """Send a form like a client other than a browser; browser tests use real ones."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request(target, "POST", body.encode(), kind, **headers)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT)


def settings_for(url: str, folder: Path, **more: str) -> Settings:
    """Return settings with nothing but these set."""
    return load(folder, {"REDIS_URL": url, "STATE_DIR": str(folder), **more}, need_login=False)


def password_auth(folder: Path, password: str, now: Callable[[], float]) -> PasswordAuth:
    """Return the password check of a page whose state is in `folder`."""
    return PasswordAuth(password, Sessions(SecretsFile(folder), password, now), Throttle(now))


@contextmanager
def page_process(url: str, folder: Path, *arguments: str, **more: str) -> Iterator[str]:
    """Run the page as a process and yield its URL, without a trailing slash."""
    environment = {
        name: os.environ[name] for name in ("PATH", "LANG", "TZ", "PYTHONPATH") if name in os.environ
    }
    environment |= {"REDIS_URL": url, "STATE_DIR": str(folder), "HOME": str(folder), **more}
    command = [sys.executable, "-m", "spotify_logger", "web", "--port", "0", *arguments]
    with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().rpartition(" ")[2].strip().rstrip("/")
        finally:
            process.terminate()
    assert process.returncode == 0


@contextmanager
def serve_page(
    settings: Settings, auth: PasswordAuth | None = None, *, covers: bool = True, behind_proxy: bool = False
) -> Iterator[PageClient]:
    """Serve the page in a thread."""
    sockets = listen("127.0.0.1", 0)
    # The test process is large; do not let that move queries into subprocesses.
    no_limit = patch.object(query_service, "MAX_RESIDENT_BYTES", 1 << 40)
    no_limit.start()
    ready = threading.Event()
    servers: list[_ThreadedServer] = []

    async def serve() -> None:
        page = WebApp(settings, ["music.example"], auth, covers=covers, behind_proxy=behind_proxy)
        servers.append(_ThreadedServer(page.app, ready.set, page.stop))
        await servers[0].serve(sockets)
        page.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(TIMEOUT)
        yield PageClient(sockets[0].getsockname()[1])
    finally:
        no_limit.stop()
        servers[0].should_exit = True
        thread.join(TIMEOUT)
        assert not thread.is_alive()
