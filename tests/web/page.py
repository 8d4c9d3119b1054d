"""The page as it is, on a free port: in a thread of the test, or as a process."""

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
    """A server that is told to end, and not by a signal: these belong to the main thread."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class HttpResponse(NamedTuple):
    """What came of a request, uncompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class PageClient:
    """A page that is served.

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
        """Ask as a browser does; `_` in the name of a header stands for `-`."""
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)) as connection:
            told = {"Accept": "text/html", "Accept-Encoding": "gzip"}
            told |= {**(more or {}), **{name.replace("_", "-"): value for name, value in headers.items()}}
            connection.request(method, target, body, told)
            response = connection.getresponse()
            content = response.read()
            found = {name.lower(): value for name, value in response.getheaders()}
            if found.get("content-encoding") == "gzip":
                content = gzip.decompress(content)
            return HttpResponse(response.status, found, content)

    def post(self, target: str, body: str, **headers: str) -> HttpResponse:
        """Send a form as a program does that is no browser; what browsers send, real ones are asked for."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request(target, "POST", body.encode(), kind, **headers)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT)


def settings_for(url: str, folder: Path, **more: str) -> Settings:
    """The settings of somebody who has told no more than this."""
    return load(folder, {"REDIS_URL": url, "STATE_DIR": str(folder), **more}, need_login=False)


def password_auth(folder: Path, password: str, now: Callable[[], float]) -> PasswordAuth:
    """What a page asks for that keeps its sessions in a folder."""
    return PasswordAuth(password, Sessions(SecretsFile(folder), password, now), Throttle(now))


@contextmanager
def page_process(url: str, folder: Path, *arguments: str, **more: str) -> Iterator[str]:
    """The page as a process of its own; its address, without a slash at the end."""
    environment = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
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
    """The page, for as long as the block lasts."""
    sockets = listen("127.0.0.1", 0)
    # This process has all tests in it, and is as large as they are: that is no reason to ask another one.
    room = patch.object(query_service, "MAX_RESIDENT_BYTES", 1 << 40)
    room.start()
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
        room.stop()
        servers[0].should_exit = True
        thread.join(TIMEOUT)
        assert not thread.is_alive()
