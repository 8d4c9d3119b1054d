"""The HTTP face of the simulator, on the loopback only, with faults of the wire and control endpoints.

`POST /control/faults` switches a fault on (a JSON object with the fields of `faults.Fault`, `name` called
"fault"; the name "none" switches all off), `GET /control/truth` tells the plays so far, and
`GET /control/requests` how often each path was asked, by what came of it.
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
"""Bytes of a request's body; whoever sends more is not a client of this."""


class SimulatorServer(ThreadingHTTPServer):
    """A simulated service behind a real port.

    Args:
        service: What answers.
        port: The port, 0 for any.
        now: Tells the true time, in seconds since the epoch.
    """

    daemon_threads = True

    def __init__(self, service: Service, port: int = 0, now: Callable[[], float] = time.time) -> None:
        super().__init__((HOST, port), _Handler)
        self._service = service
        self._now = now
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The address of the server, without a slash at its end."""
        return f"http://{HOST}:{self.server_address[1]}"

    def respond(self, request: Request, body: bytes) -> Response:
        """Answer a request; `body` is what came with it."""
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
            wish = json.loads(body)
            name = wish.pop("fault")
            if name == "none":
                faults.clear()
            else:
                faults.add(Fault(name, **wish), self._now())
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return respond(400, text({"error": f"no fault: {error}"}))
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
        # A client that is gone is no concern of a server's.
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is given
        """Say nothing: who wants to know asks `/control/requests`."""

    def _serve(self) -> None:
        body = self._body()
        is_form = self.headers.get_content_type() == "application/x-www-form-urlencoded"
        form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True)) if is_form else None
        request = Request(self.command, self.path, dict(self.headers.items()), form)
        try:
            response = self.server.respond(request, body)
        except WireFault as fault:
            self._suffer(fault)
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
        if response.status != 204:  # noqa: PLR2004 - which has neither body nor length
            lines.append(f"content-length: {len(response.body)}")
        if self.close_connection:
            lines.append("connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _send(self, data: bytes) -> None:
        self.wfile.write(data)

    def _suffer(self, fault: WireFault) -> None:
        """Do to the connection what the fault says; only a slow answer leaves it of use."""
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
            self._send_badly(fault, self._head(response), response.body)

    def _send_badly(self, fault: WireFault, head: bytes, body: bytes) -> None:
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
        """Wait, or return True early because the client has gone."""
        readable, _, _ = select.select([self.connection], [], [], seconds)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _reset(self) -> None:
        """Close the connection so that the client sees a reset, not an end."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
