"""A server on a raw socket that runs one script per connection."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Script = Callable[["ServerConnection"], None]


class ServerConnection:
    """The server side of a connection."""

    def __init__(self, server: ScriptedServer, line: socket.socket) -> None:
        self._server = server
        self._socket = line

    def read_request(self) -> bytes:
        """Wait for a complete request, and record it; b"" if the client has disconnected."""
        heard = b""
        while b"\r\n\r\n" not in heard:
            if not (piece := self._socket.recv(65536)):
                return b""
            heard += piece
        head, _, body = heard.partition(b"\r\n\r\n")
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                while len(body) < int(line.split(b":")[1]):
                    body += self._socket.recv(65536)
        self._server.requests.append(head + b"\r\n\r\n" + body)
        return heard

    def start_tls(self, tls: ssl.SSLContext) -> None:
        """Speak TLS from now on, as a server that a proxy has connected to."""
        self._socket = tls.wrap_socket(self._socket, server_side=True)

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self._socket.sendall(piece)
            self._server.sent += len(piece)

    def send_slowly(self, text: bytes, pause: float = 0.05) -> None:
        """Send a byte at a time, until the client disconnects."""
        for position in range(len(text)):
            self.send(text[position : position + 1])
            if self._server.closing.wait(pause):
                return

    def wait_for_close(self) -> None:
        """Send nothing until the client disconnects or the test ends."""
        while self._socket.recv(65536):
            pass

    def reset(self) -> None:
        """Close so that the client gets a reset, not an end."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self._socket.close()


class ScriptedServer:
    """Runs one script for each connection, in their order; further connections are closed at once.

    Attributes:
        requests: The raw requests.
        connections: The number of connections.
        sent: The number of bytes sent.
    """

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.sent = 0
        self.closing = threading.Event()
        self._tls = tls
        self._scripts = list(scripts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def close(self) -> None:
        """End everything, and wait for it."""
        if self.closing.is_set():
            return
        self.closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for line in self._sockets:
            with suppress(OSError):
                socket.socket.shutdown(line, socket.SHUT_RDWR)  # wakes whoever waits; TLS's own would not
        for thread in self._threads[1:]:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if not self._scripts:
                line.close()
                continue
            if self._tls:
                line = self._tls.wrap_socket(line, server_side=True, do_handshake_on_connect=False)
            self._sockets.append(line)
            thread = threading.Thread(target=self._run, args=(self._scripts.pop(0), line))
            self._threads.append(thread)
            thread.start()

    def _run(self, script: Script, line: socket.socket) -> None:
        with suppress(OSError):
            if isinstance(line, ssl.SSLSocket):
                line.do_handshake()
            script(ServerConnection(self, line))
        line.close()


def http_response(body: bytes = b"{}", *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Return an HTTP response with a Content-Length."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def respond_with(*answers: bytes) -> Script:
    """Return a script that sends these responses, one per request, and then waits for the client to close."""

    def script(line: ServerConnection) -> None:
        for text in answers:
            if not line.read_request():
                return
            line.send(text)
        line.wait_for_close()

    return script
