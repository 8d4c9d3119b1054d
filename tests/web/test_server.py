"""Slow clients are disconnected; idle ones are not."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.web import server
from spotify_logger.web.server import listen
from tests.conftest import wait_until
from tests.web.page import TIMEOUT, PageClient, serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEAD = b"GET /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@pytest.fixture
def page(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PageClient]:
    monkeypatch.setattr(server, "REQUEST_TIMEOUT", 0.3)
    monkeypatch.setattr(server, "SEND_TIMEOUT", 0.3)
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        yield page


def read(connection: socket.socket) -> bytes:
    """Return all that arrives until the connection ends."""
    found = b""
    try:
        while piece := connection.recv(65536):
            found += piece
    except ConnectionResetError:
        pass
    return found


def send_slowly(connection: socket.socket, text: bytes) -> int:
    """Send byte by byte, and return how many could be sent before the server disconnected."""
    connection.settimeout(0.02)
    for number in range(len(text)):
        try:
            connection.sendall(text[number : number + 1])
            if not connection.recv(100):
                return number
        except TimeoutError:
            pass
        except OSError:
            return number
    return len(text)


@pytest.mark.parametrize("sent", [b"", b"GET", HEAD, HEAD + b"Accept: text/"])
def test_disconnects_after_half_a_request(page: PageClient, sent: bytes) -> None:
    with page.connect() as connection:
        connection.sendall(sent)
        assert read(connection) == b""
    with page.connect() as connection:
        connection.sendall(HEAD.replace(b"GET", b"POST") + b"Content-Length: 100\r\n\r\npassword=")
        assert b"HTTP/1.1 200" not in read(connection)


def test_disconnects_after_a_second_request_that_comes_byte_by_byte(page: PageClient) -> None:
    with page.connect() as connection:
        connection.sendall(HEAD + b"\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 303")
        text = HEAD + b"X-Padding: " + b"x" * 2000
        assert send_slowly(connection, text) < len(text)


def test_disconnects_a_client_that_does_not_read(page: PageClient) -> None:
    (folder,) = set(re.findall(r"/static/\w+/", page.request("/").text))
    request = (
        f"GET {folder}Chart.bundle.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    )  # some hundred kilobytes
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", page.port))
        connection.settimeout(0.2)

        def is_reset() -> bool:
            try:
                connection.sendall(request)
            except TimeoutError:  # the server has stopped reading
                return False
            except ConnectionError:
                return True
            return False

        wait_until(is_reset)


def test_keeps_an_idle_connection_and_an_event_stream(page: PageClient) -> None:
    with page.connect() as connection:
        for _ in range(2):
            connection.sendall(HEAD + b"\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 303")
            threading.Event().wait(0.5)  # longer than a request may take
        connection.sendall(b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        threading.Event().wait(0.7)
        found = b""
        while b"event: now" not in found:
            found += connection.recv(65536) or pytest.fail("disconnected")


@pytest.mark.parametrize("limit", ["MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_ADDRESS"])
def test_limits_connections(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(server, limit, 3)
    with serve_page(settings_for(redis_url, tmp_path)) as page:
        silent = [page.connect() for _ in range(3)]
        with page.connect() as refused:
            assert read(refused) == b""
        with socket.create_connection(("127.0.0.1", page.port), TIMEOUT, ("127.0.0.2", 0)) as elsewhere:
            answer = b""
            with suppress(ConnectionError):
                elsewhere.sendall(HEAD + b"\r\n")
                answer = elsewhere.recv(65536)
            assert answer.startswith(b"HTTP/1.1 303") is (limit != "MAX_CONNECTIONS")
        for other in silent:
            other.sendall(HEAD + b"\r\n")
            assert other.recv(65536).startswith(b"HTTP/1.1 303")
            other.close()

        def answers() -> bool:
            with suppress(OSError):
                return page.request("/sign-in").status == 303
            return False

        wait_until(answers)


def test_reports_an_address_that_is_taken_or_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(SpotifyLoggerError, match=f"cannot listen on 127.0.0.1:{port}"):
            listen("127.0.0.1", port)
    with pytest.raises(SpotifyLoggerError, match=r"cannot listen.*an address of this machine"):
        listen("192.0.2.1", 0)
    with pytest.raises(SpotifyLoggerError, match="cannot resolve"):
        listen("no.such.name.invalid", 0)
