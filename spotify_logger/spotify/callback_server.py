"""The OAuth callback server: a minimal HTTP server on a loopback address that no client can block.

It has no loop: the caller waits for `sources` with `select`, and passes the readable ones to `serve`.
"""

from __future__ import annotations

import html
import re
import socket
from contextlib import suppress
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

CONNECTION_TIMEOUT = 10.0
"""Seconds that one connection may take in all."""
MAX_REQUEST_HEAD_BYTES = 16 * 1024
"""Bytes of the head of a request; longer ones are rejected."""
MAX_CONNECTIONS = 32
"""Open connections; a further one closes the oldest."""

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) ([!-~]+) HTTP/1\.[01]\r?\n")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_CHUNK_BYTES = 4096

# The URL of this page contains the code, so it must not be cached, and the page must not load anything.
_HEAD = """\
HTTP/1.1 {status} {phrase}\r
Content-Type: text/html; charset=utf-8\r
Content-Length: {length}\r
Cache-Control: no-store\r
Referrer-Policy: no-referrer\r
Content-Security-Policy: default-src 'none'; img-src data:\r
Connection: close\r
{more}\r
"""
_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Spotify Logger</title>
<link rel="icon" href="data:,">
<p>{text}</p>
</html>
"""


class CallbackServer:
    """An HTTP server on a loopback address that answers only `GET`.

    Args:
        host: A loopback IP address.
        port: The port.
        handler: Takes the target of a request ("/callback?code=..."), returns status and text of the page.

    Raises:
        OSError: It cannot listen on that port.
    """

    def __init__(self, host: str, port: int, handler: Callable[[str], tuple[HTTPStatus, str]]) -> None:
        self._handler = handler
        self._connections: list[_CallbackConnection] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=MAX_CONNECTIONS)
        self._socket.setblocking(False)  # noqa: FBT003 - positional-only

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for source in self.sources:
            source.close()

    @property
    def sources(self) -> list[socket.socket]:
        """The sockets to wait for."""
        return [self._socket, *(connection.socket for connection in self._connections)]

    @property
    def timeout(self) -> float | None:
        """The longest time to wait, in seconds; None for no limit."""
        if not self._connections:
            return None
        return max(0.0, min(connection.deadline for connection in self._connections) - monotonic())

    def serve(self, readable: Collection[object]) -> None:
        """Accept, read and answer without blocking, and close connections that take too long."""
        now = monotonic()
        if self._socket in readable:
            self._accept(now)
        for connection in [*self._connections]:
            is_open = connection.deadline > now
            if is_open and connection.socket in readable:
                is_open = connection.read(self._handler)
            if not is_open:
                self._drop(connection)

    def _accept(self, now: float) -> None:
        with suppress(OSError):  # the client has disconnected already
            connected, _ = self._socket.accept()
            connected.setblocking(False)  # noqa: FBT003 - positional-only
            self._connections.append(_CallbackConnection(connected, now + CONNECTION_TIMEOUT))
        if len(self._connections) > MAX_CONNECTIONS:
            self._drop(self._connections[0])

    def _drop(self, connection: _CallbackConnection) -> None:
        self._connections.remove(connection)
        connection.socket.close()


class _CallbackConnection:
    """One client; read until it disconnects, since closing with unread bytes would lose the response."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self.socket = connected
        self.deadline = deadline
        self._received = b""
        self._answered = False

    def read(self, handler: Callable[[str], tuple[HTTPStatus, str]]) -> bool:
        """Read what has arrived, respond to a complete request, and return whether to go on reading."""
        try:
            chunk = self.socket.recv(_CHUNK_BYTES)
            if chunk and not self._answered:
                self._received += chunk
                self._respond(handler)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return bool(chunk)

    def _respond(self, handler: Callable[[str], tuple[HTTPStatus, str]]) -> None:
        if len(self._received) > MAX_REQUEST_HEAD_BYTES:
            status, text = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "This request is too long."
        elif not _END_OF_HEAD.search(self._received):
            return
        else:
            status, text = _dispatch(self._received, handler)
        self._answered = True
        self.socket.sendall(_response(status, text))  # much less than the buffer of a socket: never blocks
        self.socket.shutdown(socket.SHUT_WR)


def _dispatch(request: bytes, handler: Callable[[str], tuple[HTTPStatus, str]]) -> tuple[HTTPStatus, str]:
    line = _REQUEST_LINE.match(request)
    if line is None:
        return HTTPStatus.BAD_REQUEST, "This is not an HTTP request."
    if line[1] != b"GET":
        return HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is supported."
    return handler(line[2].decode("ascii"))


def _response(status: HTTPStatus, text: str) -> bytes:
    page = _PAGE.format(text=html.escape(text)).encode()
    more = "Allow: GET\r\n" if status == HTTPStatus.METHOD_NOT_ALLOWED else ""
    return (
        _HEAD.format(status=status.value, phrase=status.phrase, length=len(page), more=more).encode() + page
    )
