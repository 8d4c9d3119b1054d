"""The listener that a browser is sent to after the login: this machine only, one answer, nobody can block it.

It owns no loop: who waits puts `sources` into a select of theirs and calls `serve` with what became readable.
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
"""Seconds that one connection may take, from connecting to having read its answer."""
MAX_REQUEST_HEAD_BYTES = 16 * 1024
"""Bytes of a request's head; what is longer is no login."""
MAX_CONNECTIONS = 32
"""Connections at a time; the oldest makes room for a new one."""

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) ([!-~]+) HTTP/1\.[01]\r?\n")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_CHUNK_BYTES = 4096

# The address of the page holds the code: nothing may keep it, and nothing may be asked for from there.
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
    """A socket on a loopback address that answers `GET` and nothing else.

    Args:
        host: A loopback address in figures.
        port: The port.
        answer: Takes a request's target ("/callback?code=..."), returns a status and a sentence for the page.

    Raises:
        OSError: The port cannot be had.
    """

    def __init__(self, host: str, port: int, handler: Callable[[str], tuple[HTTPStatus, str]]) -> None:
        self._handler = handler
        self._connections: list[_CallbackConnection] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=MAX_CONNECTIONS)
        self._socket.setblocking(False)  # noqa: FBT003 - the standard library's own way

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for source in self.sources:
            source.close()

    @property
    def sources(self) -> list[socket.socket]:
        """What to wait for."""
        return [self._socket, *(connection.socket for connection in self._connections)]

    @property
    def timeout(self) -> float | None:
        """How many seconds to wait at most; None for as long as it takes."""
        if not self._connections:
            return None
        return max(0.0, min(connection.deadline for connection in self._connections) - monotonic())

    def serve(self, readable: Collection[object]) -> None:
        """Do what can be done at once: accept, read, answer, and drop who takes too long."""
        now = monotonic()
        if self._socket in readable:
            self._accept(now)
        for connection in [*self._connections]:
            going_on = connection.deadline > now
            if going_on and connection.socket in readable:
                going_on = connection.read(self._handler)
            if not going_on:
                self._drop(connection)

    def _accept(self, now: float) -> None:
        with suppress(OSError):  # whoever connected is gone already
            connected, _ = self._socket.accept()
            connected.setblocking(False)  # noqa: FBT003 - the standard library's own way
            self._connections.append(_CallbackConnection(connected, now + CONNECTION_TIMEOUT))
        if len(self._connections) > MAX_CONNECTIONS:
            self._drop(self._connections[0])

    def _drop(self, connection: _CallbackConnection) -> None:
        self._connections.remove(connection)
        connection.socket.close()


class _CallbackConnection:
    """One client. After the answer it is read until it hangs up: closing on unread bytes loses the answer."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self.socket = connected
        self.deadline = deadline
        self._received = b""
        self._answered = False

    def read(self, handler: Callable[[str], tuple[HTTPStatus, str]]) -> bool:
        """Take what has arrived, answer when a request is whole, and return whether to go on reading."""
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
        self.socket.sendall(_response(status, text))  # far less than a socket's buffer: never blocks
        self.socket.shutdown(socket.SHUT_WR)


def _dispatch(request: bytes, handler: Callable[[str], tuple[HTTPStatus, str]]) -> tuple[HTTPStatus, str]:
    line = _REQUEST_LINE.match(request)
    if line is None:
        return HTTPStatus.BAD_REQUEST, "This is no request."
    if line[1] != b"GET":
        return HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is answered here."
    return handler(line[2].decode("ascii"))


def _response(status: HTTPStatus, text: str) -> bytes:
    page = _PAGE.format(text=html.escape(text)).encode()
    more = "Allow: GET\r\n" if status == HTTPStatus.METHOD_NOT_ALLOWED else ""
    return (
        _HEAD.format(status=status.value, phrase=status.phrase, length=len(page), more=more).encode() + page
    )
