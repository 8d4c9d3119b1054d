from __future__ import annotations

import select
import socket
import threading
from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from spotify_logger.spotify import callback_server
from spotify_logger.spotify.callback_server import CallbackServer
from tests.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

GET = b"GET /callback?code=1 HTTP/1.1\r\nHost: here\r\n\r\n"


class RunningCallbackServer:
    """A callback server whose loop runs in a thread."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.address = host, free_port()
        self.targets: list[str] = []
        self._is_over = False
        self._server = CallbackServer(*self.address, self._answer)
        self._thread = threading.Thread(target=self._serve)

    def _answer(self, target: str) -> tuple[HTTPStatus, str]:
        self.targets.append(target)
        return HTTPStatus.OK, "<Thank you> & goodbye"

    def _serve(self) -> None:
        with self._server as server:
            while not self._is_over:
                timeout = 0.05 if server.timeout is None else min(server.timeout, 0.05)
                server.serve(select.select(server.sources, [], [], timeout)[0])

    @contextmanager
    def running(self) -> Iterator[RunningCallbackServer]:
        self._thread.start()
        try:
            yield self
        finally:
            self._is_over = True
            self._thread.join(10)

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=10)

    def exchange(self, request: bytes) -> bytes:
        """Send a request, and return everything up to the end of the connection."""
        with self.connect() as client:
            client.sendall(request)
            return receive_all(client)


def receive_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(4096), b""))


@pytest.fixture
def server() -> Iterator[RunningCallbackServer]:
    with RunningCallbackServer().running() as running:
        yield running


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_page_leaks_nothing_of_its_url(host: str) -> None:
    with RunningCallbackServer(host).running() as server:
        head, _, body = server.exchange(GET).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert int(headers["Content-Length"]) == len(body)
    assert b"&lt;Thank you&gt; &amp; goodbye" in body
    assert b"script" not in body
    assert b"http" not in body
    assert server.targets == ["/callback?code=1"]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.0\n\n", 200),
        (b"POST /callback?code=1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET /" + b"x" * callback_server.MAX_REQUEST_HEAD_BYTES, 431),
    ],
)
def test_other_requests_get_their_status(
    server: RunningCallbackServer, request_bytes: bytes, status: int
) -> None:
    assert server.exchange(request_bytes).startswith(f"HTTP/1.1 {status} ".encode())
    assert server.targets == (["/"] if status == 200 else [])
    assert server.exchange(GET).startswith(b"HTTP/1.1 200 ")


def test_slow_client_blocks_nobody(server: RunningCallbackServer) -> None:
    with server.connect() as slow:
        for byte in GET[:-1]:
            slow.sendall(bytes([byte]))
        assert server.exchange(GET).startswith(b"HTTP/1.1 200 ")
        slow.sendall(GET[-1:])
        assert receive_all(slow).startswith(b"HTTP/1.1 200 ")
    assert len(server.targets) == 2


def test_silent_clients_are_dropped(monkeypatch: pytest.MonkeyPatch, server: RunningCallbackServer) -> None:
    now = 0.0
    monkeypatch.setattr(callback_server, "monotonic", lambda: now)
    with server.connect() as silent, server.connect() as half:
        half.sendall(GET[:10])
        assert server.exchange(GET).startswith(b"HTTP/1.1 200 ")
        now += callback_server.CONNECTION_TIMEOUT
        assert receive_all(silent) == receive_all(half) == b""
    assert server.exchange(GET).startswith(b"HTTP/1.1 200 ")


def test_newest_of_too_many_clients_is_answered(server: RunningCallbackServer) -> None:
    silent = [server.connect() for _ in range(callback_server.MAX_CONNECTIONS + 5)]
    assert server.exchange(GET).startswith(b"HTTP/1.1 200 ")
    assert receive_all(silent[0]) == b""
    for client in silent:
        client.close()


def test_client_that_resets_the_connection_does_no_harm(server: RunningCallbackServer) -> None:
    for request in (b"", GET[:10], GET):
        client = server.connect()
        client.sendall(request)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    assert server.exchange(GET).startswith(b"HTTP/1.1 200 ")


def test_only_loopback_is_listened_to_and_the_port_is_freed() -> None:
    address = "127.0.0.1", free_port()
    for _ in range(2):
        with CallbackServer(*address, lambda _: (HTTPStatus.OK, "")) as server:
            assert server.sources[0].getsockname() == address
            with pytest.raises(OSError, match="in use"):
                CallbackServer(*address, lambda _: (HTTPStatus.OK, ""))
