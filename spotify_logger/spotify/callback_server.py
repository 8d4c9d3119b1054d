"""The OAuth callback server: answers GET requests on a loopback address, each in a thread of its own."""

from __future__ import annotations

import html
import socket
import threading
from collections import deque
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable

READ_TIMEOUT = 10.0  # seconds to wait for the next bytes of a request
MAX_CONNECTIONS = 32  # connections at a time; a further one closes the oldest
_POLL_SECONDS = 0.1

# The URL of this page contains the code, so it must not be cached, and the page must not load anything.
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; img-src data:",
    "Connection": "close",
}
_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Spotify Logger</title>
<link rel="icon" href="data:,">
<p>{text}</p>
</html>
"""
_TOO_LONG = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "This request is too long."
_ERRORS: dict[int, tuple[HTTPStatus, str]] = {
    HTTPStatus.REQUEST_URI_TOO_LONG: _TOO_LONG,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: _TOO_LONG,
    HTTPStatus.NOT_IMPLEMENTED: (HTTPStatus.METHOD_NOT_ALLOWED, "Only GET is supported."),
}
"""Status and text in place of the statuses of `http.server`."""


class CallbackServer(ThreadingTCPServer):
    """An HTTP server on a loopback address that answers only `GET`, within a `with` block.

    `take_request` takes the target of a request ("/callback?code=...") in another thread, and returns status
    and text of the page. Not a `ThreadingHTTPServer`, which looks up the name of the address when it starts.
    """

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, host: str, port: int, take_request: Callable[[str], tuple[HTTPStatus, str]]) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.take_request = take_request
        self._connections: deque[Any] = deque()
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL_SECONDS,), daemon=True)
        super().__init__((host, port), _CallbackHandler)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in the base class
        """Read and answer a request in a thread."""
        self._connections.append(request)
        if len(self._connections) > MAX_CONNECTIONS:
            with suppress(OSError):  # it was closed long ago
                self._connections.popleft().shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)


class _CallbackHandler(BaseHTTPRequestHandler):
    protocol_version = default_request_version = "HTTP/1.1"  # what is not HTTP gets headers, too
    timeout = READ_TIMEOUT
    server: CallbackServer

    def handle(self) -> None:
        with suppress(OSError):  # the client has disconnected
            super().handle()

    def do_GET(self) -> None:
        self._respond(*self.server.take_request(self.path))

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - the texts are ours
        self._respond(*_ERRORS.get(code, (HTTPStatus.BAD_REQUEST, "This is not an HTTP request.")))

    def log_message(self, *_: object) -> None:
        pass

    def _respond(self, status: HTTPStatus, text: str) -> None:
        page = _PAGE.format(text=html.escape(text)).encode()
        self.send_response_only(status)
        for name, value in {**_HEADERS, "Content-Length": str(len(page))}.items():
            self.send_header(name, value)
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.end_headers()
        self.wfile.write(page)
