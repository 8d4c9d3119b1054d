from __future__ import annotations

import socket
from http import HTTPStatus
from typing import TYPE_CHECKING

import pytest

from spotify_logger.spotify import login
from spotify_logger.spotify.login import CallbackServer
from tests.conftest import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

GET = b"GET /callback?code=1 HTTP/1.1\r\nHost: here\r\n\r\n"


class ThankfulServer(CallbackServer):
    """A callback server that keeps the targets of its requests."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.address = host, free_port()
        self.targets: list[str] = []
        super().__init__(*self.address, self._answer)

    def _answer(self, target: str) -> tuple[HTTPStatus, str]:
        self.targets.append(target)
        return HTTPStatus.OK, "<Thank you> & goodbye"

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
def server() -> Iterator[ThankfulServer]:
    with ThankfulServer() as running:
        yield running


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_page_leaks_nothing_of_its_url(host: str) -> None:
    with ThankfulServer(host) as server:
        assert server.socket.getsockname()[0] == host
        head, _, body = server.exchange(GET).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "HTTP/1.1 200 OK"
    headers = dict(line.split(": ", 1) for line in lines[1:])
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert int(headers["Content-Length"]) == len(body)
    assert b'<h1 class="good">Logged in</h1><p>&lt;Thank you&gt; &amp; goodbye</p>' in body
    assert b"script" not in body
    assert b"http" not in body
    assert server.targets == ["/callback?code=1"]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST /callback?code=1 HTTP/1.1\r\n\r\n", 501),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"GET /" + b"x" * 65532, 414),
    ],
)
def test_other_requests_are_refused(
    server: ThankfulServer, capfd: pytest.CaptureFixture[str], request_bytes: bytes, status: int
) -> None:
    assert server.exchange(request_bytes).startswith(f"HTTP/1.1 {status} ".encode())
    assert server.targets == []
    assert capfd.readouterr() == ("", "")


def test_slow_and_silent_clients_block_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login._CallbackHandler, "timeout", None)
    with ThankfulServer() as server, server.connect() as slow:
        silent = server.connect()
        for byte in GET[:-1]:
            slow.sendall(bytes([byte]))
        assert server.exchange(GET).startswith(b"HTTP/1.1 200 ")
        slow.sendall(GET[-1:])
        assert receive_all(slow).startswith(b"HTTP/1.1 200 ")
    silent.close()


def test_silent_client_is_dropped(monkeypatch: pytest.MonkeyPatch, server: ThankfulServer) -> None:
    monkeypatch.setattr(login._CallbackHandler, "timeout", 0.05)
    with server.connect() as silent:
        assert receive_all(silent) == b""


def test_client_that_resets_the_connection_does_no_harm(capfd: pytest.CaptureFixture[str]) -> None:
    with ThankfulServer() as server:
        for request in (b"", GET[:10], GET):
            client = server.connect()
            client.sendall(request)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        assert server.exchange(GET).startswith(b"HTTP/1.1 200 ")
    assert capfd.readouterr() == ("", "")


def test_port_is_freed() -> None:
    with ThankfulServer() as server, pytest.raises(OSError, match="in use"):
        CallbackServer(*server.address, server.take_request)
    with CallbackServer(*server.address, server.take_request):
        pass
