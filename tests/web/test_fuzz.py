"""Whatever it receives, the page answers with a reason, reveals no internals, and keeps running."""

from __future__ import annotations

import re
import socket
import time
from itertools import cycle, islice
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from spotify_logger.web.app import WebApp
from tests.conftest import free_port
from tests.nonsense import write_good, write_nonsense
from tests.web.page import TIMEOUT, PageClient, password_auth, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.storage.embedded_server import EmbeddedServer

PASSWORD = "a-long-password-of-the-page"
NAMES = (
    "q", "year", "month", "since", "until", "by", "min", "n", "all", "per", "day", "to", "with", "listener",
)  # fmt: skip
VALUES = (
    "--", "", "-1", "9" * 30, "1e9", "0001-01-01", "9999-12-31T23:59:59-14:00", "2026-13", "\x00", "\x1b[2J",
    "<script>", "%s{0}", "a" * 300, "٣", "//evil.example", "track:odd", "-", "time",
)  # fmt: skip
RAW_QUERIES = ("%", "%zz", "%ff%fe", "%00", "min=%", "&&&=&", "min=--&min=half", ";", "=" * 100)
PATH_PARTS = ("--", "0", "-1", "9" * 30, "%00", "%ff", "..", "tracks", "2026-11-22", "99999", "a" * 300)
FORM = "application/x-www-form-urlencoded"
FORMS: tuple[tuple[str, bytes], ...] = (
    (FORM, b""),
    (FORM, b"&".join(b"f%d=1" % number for number in range(11))),
    (FORM, b"password=" + b"x" * 20_000),
    (FORM, b"password=%zz&listener=%ff%00&address=%\xff\xfe\x00"),
    (FORM, b"listener=nobody&address=x%3Fcode%3D1%26state%3D2"),
    (f"{FORM}; charset=utf-32", b"listener=-"),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n--x--"),
    ("\xff", b"password=x"),
)
EXPECTED = (200, 303, 304, 308, 400, 401, 403, 404, 405, 429)


def routes(folder: Path) -> list[Route]:
    """Return the routes of the page that end, signing out last."""
    page = WebApp(settings_for("redis://127.0.0.1:1/0", folder), [], None, covers=False)
    page.listeners.close()
    found: list[Route] = [
        route for route in page._app.routes if isinstance(route, Route) and route.path != "/live"
    ]
    return sorted(found, key=lambda route: route.path == "/sign-out")


def hostile_requests(folder: Path) -> Iterator[tuple[str, str, str, bytes | None]]:
    """Yield method, target, content type and body."""
    names, values, raws, forms = cycle(NAMES), cycle(VALUES), cycle(RAW_QUERIES), cycle(FORMS)
    for route in routes(folder):
        parts = PATH_PARTS if "{" in route.path else PATH_PARTS[:1]
        paths = [re.sub(r"{\w+(:\w+)?}", part, route.path) for part in parts]
        if "POST" in (route.methods or ()):
            yield from (("POST", paths[0], *form) for form in FORMS)
            continue
        yield from (("GET", path, "", None) for path in paths)
        usual = re.sub(r"{\w+(:\w+)?}", "2026" if "year" in route.path else "tracks", route.path)
        yield "GET", f"{usual}?{next(raws)}", "", None
        yield "POST", usual, *next(forms)
        for name, value in islice(zip(names, values, strict=False), 5):
            yield "GET", f"{usual}?{name}={quote(value, safe='')}", "", None


@pytest.mark.parametrize("state", ["nonsense", "away"])
def test_every_route(state: str, redis_url: str, tmp_path: Path) -> None:
    with redis.Redis.from_url(redis_url) as client:
        write_good(client, int(time.time()))
        write_nonsense(client, int(time.time()))
    url = f"redis://127.0.0.1:{free_port()}/0" if state == "away" else redis_url
    auth = password_auth(tmp_path, PASSWORD, time.time)
    with serve_page(settings_for(url, tmp_path), auth) as page:
        cookie = page.post("/sign-in", f"password={PASSWORD}").cookie
        for method, target, kind, body in hostile_requests(tmp_path):
            headers = {"Content-Type": kind} if kind else {}
            answer = page.request(target, method, body, headers, Cookie=cookie)
            assert "Traceback" not in answer.text, target
            if answer.status == 503:
                assert re.search(r"Redis|SPOTIFY_CLIENT_ID|too many|^(redis|stopped)$", answer.text), (
                    target,
                    answer.text,
                )
            else:
                assert answer.status in EXPECTED, (target, answer.text[:2000])


@pytest.fixture(scope="module")
def page(redis_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageClient]:
    with serve_page(settings_for(redis_server.url, tmp_path_factory.mktemp("page"))) as page:
        yield page


@settings(max_examples=40)
@given(raw=st.binary(max_size=300), is_http=st.booleans())
@example(raw=b"/%00%ff?%zz=\x80", is_http=True)
@example(raw=b"http://evil.example/", is_http=True)
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
