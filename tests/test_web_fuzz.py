"""Whatever comes over the wire, the page answers, says nothing of its insides, and goes on."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spotify_logger.stretch import Zone
from tests.listened import Item, Listened
from tests.web import PATIENCE, Served, served, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.embedded import EmbeddedServer

PATHS = (
    "/", "/today", "/recent", "/day", "/day/x", "/top", "/top/tracks", "/top/artists", "/chart", "/clock",
    "/calendar", "/calendar/2026", "/calendar/0", "/year/2026", "/year/99999", "/year/2026/image.svg",
    "/track", "/artist", "/album", "/search", "/health", "/health/login", "/sign-in", "/static/x/page.css",
)  # fmt: skip
NAMES = ("q", "year", "month", "since", "until", "by", "min", "n", "all", "per", "day", "to", "x")
VALUES = (
    "", "1", "2026", "2026-11", "2026-11-22", "9999-12-31", "0001-01-01", "today", "time", "half", "finished",
    "track:quo", "spotify:track:quo", "Daft Punk", "<script>", "--help", "-1", "1e9", "\x00", "é", "🌊", "%",
    "a" * 300,
)  # fmt: skip

KINDS = ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data")


@pytest.fixture(scope="module")
def page(redis_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    log = Listened(redis_server.url, Zone(), "2026-11-22 19:00")
    log.to(Item("track:quo", "Veridis Quo", ["Daft Punk"], "Discovery", "d", "X"), "2026-11-22 18:00")
    log.store.close()
    with served(settings_for(redis_server.url, tmp_path_factory.mktemp("page"))) as page:
        yield page


words = st.one_of(st.sampled_from(VALUES), st.text(max_size=30))
queries = st.lists(st.tuples(st.sampled_from(NAMES), words), max_size=4)


@settings(max_examples=80)
@given(path=st.sampled_from(PATHS), query=queries)
@example(path="/year/99999", query=[])
@example(path="/calendar/1970", query=[("by", "time")])
@example(path="/top/tracks", query=[("since", "9999-12-31")])
@example(path="/chart", query=[("all", "1"), ("per", "day")])
def test_any_question(page: Served, path: str, query: list[tuple[str, str]]) -> None:
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in query)
    answer = page.ask(f"{path}?{text}")
    not_well = [503] if path == "/health" else []  # the log has no status
    assert answer.status in (200, 303, 308, 400, 404, *not_well), answer.text
    assert "Traceback" not in answer.text


@settings(max_examples=100)
@given(raw=st.binary(max_size=300), is_http=st.booleans())
@example(raw=b"\r\n\r\n", is_http=False)
@example(raw=b"/%00%ff?%zz=\x80", is_http=True)
@example(raw=b"http://evil.example/", is_http=True)
@example(raw=b"*", is_http=True)
def test_any_bytes(page: Served, raw: bytes, *, is_http: bool) -> None:
    sent = b"GET " + raw + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n" if is_http else raw
    with page.connect() as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(PATIENCE)
        told = b""
        try:
            while piece := connection.recv(65536):
                told += piece
        except ConnectionResetError:
            pass
    assert b" 500 " not in told.partition(b"\r\n")[0]
    assert b"Traceback" not in told
    assert page.ask("/sign-in").status == 303


@settings(max_examples=60)
@given(
    body=st.binary(max_size=200),
    kind=st.sampled_from(["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"]),
)
def test_any_form(page: Served, body: bytes, kind: str) -> None:
    for target in ("/sign-in", "/sign-out"):
        answer = page.ask(target, "POST", body, {"Content-Type": kind})
        assert answer.status in (303, 400)
