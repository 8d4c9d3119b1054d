from __future__ import annotations

import select
import socket
import threading
import time
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


class Waiting:
    """A listener whose loop runs in a thread, as somebody who waits would run it."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host, self.port = host, free_port()
        self.targets: list[str] = []
        self._over = False
        self._listener = CallbackServer(host, self.port, self._answer)
        self._thread = threading.Thread(target=self._wait)

    def _answer(self, target: str) -> tuple[HTTPStatus, str]:
        self.targets.append(target)
        return HTTPStatus.OK, "<Thank you> & goodbye"

    def _wait(self) -> None:
        with self._listener as listener:
            while not self._over:
                timeout = listener.timeout
                readable, _, _ = select.select(
                    listener.sources, [], [], 0.05 if timeout is None else min(timeout, 0.05)
                )
                listener.serve(readable)

    @contextmanager
    def running(self) -> Iterator[Waiting]:
        self._thread.start()
        try:
            yield self
        finally:
            self._over = True
            self._thread.join(10)

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=10)

    def exchange(self, *pieces: bytes) -> bytes:
        """Send the pieces, and return everything up to the end of the connection."""
        with self.connect() as client:
            for piece in pieces:
                client.sendall(piece)
            return everything(client)


def everything(client: socket.socket) -> bytes:
    chunks = []
    while chunk := client.recv(4096):
        chunks.append(chunk)
    return b"".join(chunks)


def send_for_ever(client: socket.socket) -> None:
    while True:
        client.sendall(b"more")
        time.sleep(0.01)


def serve_once(listener: CallbackServer) -> None:
    readable, _, _ = select.select(listener.sources, [], [], 10)
    listener.serve(readable)


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    with Waiting().running() as running:
        yield running


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_browser_gets_a_page_that_gives_nothing_away(host: str) -> None:
    with Waiting(host).running() as waiting:
        head, _, body = waiting.exchange(GET).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert headers["Connection"] == "close"
    assert int(headers["Content-Length"]) == len(body)
    assert b"&lt;Thank you&gt; &amp; goodbye" in body
    assert b"script" not in body
    assert b"http" not in body
    assert waiting.targets == ["/callback?code=1"]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.0\n\n", 200),
        (b"POST /callback?code=1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 405),
        (b"HEAD /callback?code=1 HTTP/1.1\r\n\r\n", 405),
        (b"PRI * HTTP/2.0\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET /call back HTTP/1.1\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /" + b"x" * callback_server.MAX_REQUEST_HEAD_BYTES, 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 50_000, 431),
    ],
)
def test_everything_else_gets_its_status_and_the_end(
    waiting: Waiting, request_bytes: bytes, status: int
) -> None:
    assert waiting.exchange(request_bytes).startswith(f"HTTP/1.1 {status} ".encode())
    assert waiting.targets == (["/"] if status == 200 else [])
    assert waiting.exchange(GET).startswith(b"HTTP/1.1 200 ")


def test_a_request_may_come_in_pieces(waiting: Waiting) -> None:
    with waiting.connect() as slow:
        for byte in GET[:-1]:
            slow.sendall(bytes([byte]))
        assert waiting.exchange(GET).startswith(b"HTTP/1.1 200 ")
        slow.sendall(GET[-1:])
        assert everything(slow).startswith(b"HTTP/1.1 200 ")
    assert len(waiting.targets) == 2


class Clock:
    """Time that stands still until the test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(callback_server, "monotonic", clock)
    return clock


def test_who_says_nothing_blocks_nobody_and_is_dropped(clock: Clock, waiting: Waiting) -> None:
    with waiting.connect() as silent, waiting.connect() as half:
        half.sendall(GET[:10])
        assert waiting.exchange(GET).startswith(b"HTTP/1.1 200 ")
        clock.now += callback_server.CONNECTION_TIMEOUT
        assert everything(silent) == b""
        assert everything(half) == b""
    assert waiting.exchange(GET).startswith(b"HTTP/1.1 200 ")


def test_who_never_hangs_up_after_the_answer_is_dropped(clock: Clock, waiting: Waiting) -> None:
    with waiting.connect() as client:
        client.sendall(GET)
        assert everything(client)
        clock.now += callback_server.CONNECTION_TIMEOUT
        with pytest.raises(ConnectionError):
            send_for_ever(client)


def test_who_still_talks_after_the_answer_is_listened_to(clock: Clock, waiting: Waiting) -> None:
    # Closing on bytes that nobody read makes some systems throw the answer away.
    with waiting.connect() as client:
        client.sendall(GET)
        assert everything(client)
        for _ in range(5):
            client.sendall(b"more")
            time.sleep(0.01)


def test_many_connections_make_room_for_the_newest(clock: Clock, waiting: Waiting) -> None:
    silent = [waiting.connect() for _ in range(callback_server.MAX_CONNECTIONS + 5)]
    assert waiting.exchange(GET).startswith(b"HTTP/1.1 200 ")
    assert everything(silent[0]) == b""
    for client in silent:
        client.close()


def test_who_leaves_at_once_is_no_trouble(waiting: Waiting) -> None:
    for piece in (b"", GET[:10], GET):
        client = waiting.connect()
        client.sendall(piece)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
    assert waiting.exchange(GET).startswith(b"HTTP/1.1 200 ")


def test_there_is_no_hurry_without_connections_and_a_deadline_with_them(clock: Clock) -> None:
    port = free_port()
    timeouts = []
    with CallbackServer("127.0.0.1", port, lambda _: (HTTPStatus.OK, "")) as listener:
        timeouts.append(listener.timeout)
        with socket.create_connection(("127.0.0.1", port)):
            serve_once(listener)
            timeouts.append(listener.timeout)
        serve_once(listener)
        timeouts.append(listener.timeout)
    assert timeouts == [None, callback_server.CONNECTION_TIMEOUT, None]


def test_only_this_machine_is_listened_to_and_the_port_is_free_again() -> None:
    port = free_port()
    for _ in range(2):
        with CallbackServer("127.0.0.1", port, lambda _: (HTTPStatus.OK, "")) as listener:
            assert listener.sources[0].getsockname() == ("127.0.0.1", port)
            with pytest.raises(OSError, match="in use"):
                CallbackServer("127.0.0.1", port, lambda _: (HTTPStatus.OK, ""))
