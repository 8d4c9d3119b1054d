"""The HTTP server of the simulator, on loopback only, with connection faults and control endpoints.

`POST /control/faults` switches a fault on (a JSON object with the fields of `faults.Fault`, where `name` is
called "fault"; "none" switches all of them off), `GET /control/truth` returns the true plays so far, and
`GET /control/requests` the number of requests by path and outcome.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from spotify_logger.simulator.bodies import text
from spotify_logger.simulator.faults import Fault, WireFault, respond
from spotify_logger.spotify.http import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from spotify_logger.simulator.service import Service
    from spotify_logger.spotify.http import Response

HOST = "127.0.0.1"
MAX_BODY_BYTES = 65536
"""Maximum size of a request body, in bytes."""


class SimulatorServer(ThreadingHTTPServer):
    """Serves a simulated service on a port.

    Args:
        service: The service that answers.
        port: The port, or 0 for any free one.
        now: Returns the true time in seconds since the epoch.
    """

    daemon_threads = True

    def __init__(self, service: Service, port: int = 0, now: Callable[[], float] = time.time) -> None:
        super().__init__((HOST, port), _Handler)
        self._service = service
        self._now = now
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The base URL of the server, without a trailing slash."""
        return f"http://{HOST}:{self.server_address[1]}"

    def respond(self, request: Request, body: bytes) -> Response:
        """Answer a request with this body."""
        with self._lock:
            if request.url.startswith("/control/"):
                return self._control(request, body)
            return self._service.handle(request, self._now())

    def _control(self, request: Request, body: bytes) -> Response:
        if (request.method, request.url) == ("POST", "/control/faults"):
            return self._switch(body)
        if (request.method, request.url) == ("GET", "/control/truth"):
            plays = self._service.record.heard_by(self._now())
            return respond(200, text({"plays": [asdict(play) for play in plays]}))
        if (request.method, request.url) == ("GET", "/control/requests"):
            return respond(200, text(self._counts()))
        return respond(404, text({"error": "no such endpoint"}))

    def _switch(self, body: bytes) -> Response:
        faults = self._service.faults
        try:
            fields = json.loads(body)
            name = fields.pop("fault")
            if name == "none":
                faults.clear()
            else:
                faults.add(Fault(name, **fields), self._now())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return respond(400, text({"error": f"invalid fault: {error}"}))
        return respond(200, text({"faults": faults.names}))

    def _counts(self) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {}
        for (path, outcome), count in self._service.requests.items():
            counts.setdefault(path, {})[outcome] = count
        return counts


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SimulatorServer

    def handle(self) -> None:
        # A client that has gone away is not an error.
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Log nothing: `/control/requests` counts the requests."""

    def _serve(self) -> None:
        body = self._body()
        is_form = self.headers.get_content_type() == "application/x-www-form-urlencoded"
        form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True)) if is_form else None
        request = Request(self.command, self.path, dict(self.headers.items()), form)
        try:
            response = self.server.respond(request, body)
        except WireFault as fault:
            self._carry_out(fault)
        else:
            self._send(self._head(response) + response.body)

    def _body(self) -> bytes:
        try:
            length = int(self.headers.get("Content-Length", "0"))
        except ValueError:
            length = 0
        if not 0 <= length <= MAX_BODY_BYTES:
            self.close_connection = True
            return b""
        return self.rfile.read(length)

    def _head(self, response: Response) -> bytes:
        lines = [f"HTTP/1.1 {response.status} {self.responses[response.status][0]}"]
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        if response.status != 204:  # noqa: PLR2004 - a 204 has no body and no length
            lines.append(f"content-length: {len(response.body)}")
        if self.close_connection:
            lines.append("connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _send(self, data: bytes) -> None:
        self.wfile.write(data)

    def _carry_out(self, fault: WireFault) -> None:
        """Carry out a connection fault; only a slow answer leaves the connection usable."""
        response = fault.response
        if response is None or fault.name == "hang":
            if fault.name == "hang":
                self._wait(fault.seconds)
            self._reset()
        elif fault.name == "slow":
            self._wait(fault.seconds)
            self._send(self._head(response) + response.body)
        else:
            self.close_connection = True
            self._send_broken(fault, self._head(response), response.body)

    def _send_broken(self, fault: WireFault, head: bytes, body: bytes) -> None:
        if fault.name == "cut":
            self._send(head + body[: len(body) // 2])
        elif fault.name == "drip":
            self._send(head)
            self._drip(body, fault.seconds)
        else:
            self._drip(head + body, fault.seconds)

    def _drip(self, data: bytes, seconds: float) -> None:
        for byte in data:
            self._send(bytes([byte]))
            if self._wait(seconds):
                return

    def _wait(self, seconds: float) -> bool:
        """Wait; return True early if the client has closed the connection."""
        readable, _, _ = select.select([self.connection], [], [], seconds)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _reset(self) -> None:
        """Close the connection with a reset."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
