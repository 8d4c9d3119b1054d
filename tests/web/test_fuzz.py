"""Whatever it receives, the page answers with a reason, reveals no internals, and keeps running."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import cycle
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spotify_logger.web.app import WebApp
from tests.conftest import free_port
from tests.nonsense import write_good, write_nonsense
from tests.web.page import TIMEOUT, HttpResponse, PageClient, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.routing import Route

    from spotify_logger.storage.embedded_server import EmbeddedServer

PASSWORD = "a-long-password-of-the-page"
NAMES = (
    "q",
    "year",
    "month",
    "since",
    "until",
    "by",
    "min",
    "n",
    "all",
    "per",
    "day",
    "to",
    "with",
    "listener",
)
VALUES = (
    "--", "", "-1", "9" * 30, "1e9", "0001-01-01", "9999-12-31T23:59:59-14:00", "2026-13", "\x00", "\x1b[2J",
    "<script>", "%s{0}", "a" * 300, "٣", "//evil.example", "track:odd", "-", "time",
)  # fmt: skip
RAW = ("%", "%zz", "%ff%fe", "%00", "min=%", "&&&=&", "min=--&min=half", ";", "=" * 100)
"""Queries that no browser sends."""
PLACES = ("--", "0", "-1", "9" * 30, "%00", "%ff", "..", "tracks", "2026-11-22", "99999", "a" * 300)
"""Parts of a path."""
FORM = "application/x-www-form-urlencoded"
FORMS: tuple[tuple[str, bytes], ...] = (
    (FORM, b""),
    (FORM, b"&".join(b"f%d=1" % number for number in range(11))),
    (FORM, b"password=" + b"x" * 20_000),
    (FORM, b"password=%zz&listener=%ff%00&address=%"),
    (FORM, b"\xff\xfe\x00listener=\xff"),
    (FORM, b"listener=nobody&address=x%3Fcode%3D1%26state%3D2"),
    (f"{FORM}; charset=utf-32", b"listener=-"),
    ("application/json", b'{"listener": []}'),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n--x--"),
    ("", b"password=x"),
    ("\xff", b"password=x"),
)
ANSWERED = (200, 303, 304, 308, 400, 401, 403, 404, 405, 414, 429)
AWAY = 503


def routes(folder: Path) -> list[Route]:
    """The route table of the page."""
    page = WebApp(settings_for("redis://127.0.0.1:1/0", folder), [], None, covers=False)
    app: Any = page.app
    while not hasattr(app, "routes"):
        app = app._app
    found: list[Route] = app.routes
    page.close()
    return sorted(found, key=lambda route: route.path == "/sign-out")  # which is the end of the session


@contextmanager
def running(url: str, folder: Path) -> Iterator[tuple[PageClient, Path]]:
    """The page as a process that asks for a password, and its log."""
    log = folder / "page.log"
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = {**kept, "REDIS_URL": url, "STATE_DIR": str(folder), "WEB_PASSWORD": PASSWORD}
    command = [sys.executable, "-P", "-m", "spotify_logger", "web", "--host", "0.0.0.0", "--port", "0"]
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            command, env=environment, cwd=folder, stdout=subprocess.PIPE, stderr=stderr, text=True
        ) as process,
    ):
        try:
            assert process.stdout is not None
            found = re.search(r":(\d+)/", process.stdout.readline())
            assert found, log.read_text()
            yield PageClient(int(found[1])), log
        finally:
            process.terminate()


class Visitor:
    """Asks for one thing after the other, and looks whether each answer is sound."""

    def __init__(self, page: PageClient, cookie: str, may: tuple[int, ...]) -> None:
        self.page = page
        self.cookie = cookie
        self.may = may

    def get(self, target: str) -> None:
        self._take(f"GET {target}", self._ask("GET", target))

    def post(self, target: str, kind: str, body: bytes) -> None:
        self._take(f"POST {target} {kind} {body[:50]!r}", self._ask("POST", target, kind, body))

    def _ask(self, method: str, target: str, kind: str = "", body: bytes | None = None) -> HttpResponse:
        host = f"127.0.0.1:{self.page.port}"
        headers = {"Accept": "text/html", "Cookie": self.cookie}
        if method == "POST":
            headers |= {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
            headers |= {"Content-Type": kind} if kind else {}
        connection = HTTPConnection("127.0.0.1", self.page.port, timeout=TIMEOUT)
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            is_stream = response.getheader("content-type", "").startswith("text/event-stream")
            return HttpResponse(
                response.status, dict(response.getheaders()), b"" if is_stream else response.read()
            )
        finally:
            connection.close()

    def _take(self, what: str, answer: HttpResponse) -> None:
        assert answer.status in self.may, (what, answer.text[:2000])
        assert "Traceback" not in answer.text, what
        if answer.status == AWAY:
            assert re.search(r"Redis|SPOTIFY_CLIENT_ID|too many", answer.text), (what, answer.text)


def walk(visitor: Visitor, folder: Path) -> None:
    values, raws, forms = cycle(VALUES), cycle(RAW), cycle(FORMS)
    for route in routes(folder):
        places = PLACES if "{" in route.path else PLACES[:1]
        paths = [re.sub(r"{\w+(:\w+)?}", place, route.path) for place in places]
        if "POST" in (route.methods or ()):
            for kind, body in FORMS:
                visitor.post(paths[0], kind, body)
            continue
        for path in paths:
            visitor.get(path)
            visitor.get(f"{path}?{next(raws)}")
            visitor.post(path, *next(forms))
        usual = re.sub(r"{\w+(:\w+)?}", "2026" if "year" in route.path else "tracks", route.path)
        for name in NAMES:
            visitor.get(f"{usual}?{name}={quote(next(values), safe='')}")
        visitor.get(f"{usual}?min=--")


@pytest.mark.parametrize("state", ["good", "nonsense", "away"])
def test_every_route(state: str, redis_url: str, tmp_path: Path) -> None:
    with redis.Redis.from_url(redis_url) as client:
        write_good(client, int(time.time()))
        if state == "nonsense":
            write_nonsense(client, int(time.time()))
    url = f"redis://127.0.0.1:{free_port()}/0" if state == "away" else redis_url
    with running(url, tmp_path) as (page, log):
        cookie = page.post("/sign-in", f"password={PASSWORD}").headers["set-cookie"].partition(";")[0]
        walk(Visitor(page, "", ANSWERED), tmp_path)
        walk(Visitor(page, cookie, (*ANSWERED, AWAY)), tmp_path)
    assert log.read_text() == ""


@pytest.fixture(scope="module")
def page(redis_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageClient]:
    with serve_page(settings_for(redis_server.url, tmp_path_factory.mktemp("page"))) as page:
        yield page


@settings(max_examples=100)
@given(raw=st.binary(max_size=300), is_http=st.booleans())
@example(raw=b"\r\n\r\n", is_http=False)
@example(raw=b"/%00%ff?%zz=\x80", is_http=True)
@example(raw=b"http://evil.example/", is_http=True)
@example(raw=b"*", is_http=True)
def test_any_bytes(page: PageClient, raw: bytes, *, is_http: bool) -> None:
    sent = b"GET " + raw + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" if is_http else raw
    with page.connect() as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(TIMEOUT)
        received = b""
        try:
            while piece := connection.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
    assert b" 500 " not in received.partition(b"\r\n")[0]
    assert b"Traceback" not in received
    assert page.request("/sign-in").status == 303


@settings(max_examples=60)
@given(
    body=st.binary(max_size=200),
    kind=st.sampled_from([FORM, "text/plain", "multipart/form-data"]),
)
def test_any_form(page: PageClient, body: bytes, kind: str) -> None:
    for target in ("/sign-in", "/sign-out"):
        answer = page.request(target, "POST", body, {"Content-Type": kind})
        assert answer.status in (303, 400)
