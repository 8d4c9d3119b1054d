"""The HTTP server: uvicorn with timeouts and connection limits, and a log of its errors that stays short."""

import asyncio
import errno
import logging
import os
import signal
import socket
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from spotify_logger.system import log
from spotify_logger.system.errors import SpotifyLoggerError

REQUEST_TIMEOUT = 10.0  # seconds within which a whole request has to arrive
UPLOAD = "/import"  # the path to which files are uploaded: that may take long
UPLOAD_TIMEOUT = 60.0  # seconds within which a further piece of an upload has to arrive
SEND_TIMEOUT = 20.0  # seconds that a client may take to read buffered data
KEEP_ALIVE_TIMEOUT = 30  # seconds that an idle connection stays open
MAX_CONNECTIONS = 128  # open ones, idle ones included; further ones are closed at once
MAX_CONNECTIONS_PER_ADDRESS = MAX_CONNECTIONS // 2  # a proxy is one address for all its clients
LOOPBACK = ["127.0.0.1", "::1"]  # the addresses that a proxy on this machine connects from
MAX_HEAD_BYTES = 16 * 1024  # of the request line and headers
LOG_PERIOD = 60.0  # seconds for which a kind is not logged again
MAX_KINDS = 20  # of errors to log within a period
MAX_FRAMES = 6  # the innermost ones of a traceback, which are logged
SHUTDOWN_TIMEOUT = 2  # seconds that responses in progress get at shutdown


class TimeoutProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with timeouts: slow clients are disconnected."""

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **more)
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        clients = [getattr(each, "client", None) for each in self.connections]
        same = [each for each in clients if each and self.client and each[0] == self.client[0]]
        if len(clients) > MAX_CONNECTIONS or len(same) > MAX_CONNECTIONS_PER_ADDRESS:
            self.connections.discard(self)  # at once: others may connect before `connection_lost`
            transport.abort()
        else:
            self._begin("request", REQUEST_TIMEOUT)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._begin("request", REQUEST_TIMEOUT)
        super().data_received(data)
        is_open = self.conn.their_state is h11.SEND_BODY and not self.cycle.response_complete
        is_upload = is_open and self.scope["path"] == UPLOAD  # that has not been refused
        if is_upload or self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._end("request")
        if is_upload:
            self._begin("request", UPLOAD_TIMEOUT)

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().pause_writing()
        self._begin("send", SEND_TIMEOUT)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        self._end("send")

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._end("request")
        self._end("send")
        super().connection_lost(exc)

    def _begin(self, timer: str, seconds: float) -> None:
        if timer not in self._timers:
            self._timers[timer] = self.loop.call_later(seconds, self.transport.abort)

    def _end(self, timer: str) -> None:
        if timer in self._timers:
            self._timers.pop(timer).cancel()


class PageServer(uvicorn.Server):
    """A uvicorn server that calls `on_shutdown` when it is told to stop.

    `behind_proxy` trusts what a proxy on this machine says of its clients.
    """

    def __init__(
        self, app: ASGIApp, on_shutdown: Callable[[], Awaitable[None]], *, behind_proxy: bool
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=TimeoutProtocol,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                log_level="error",  # not malformed requests
                access_log=False,
                proxy_headers=behind_proxy,
                forwarded_allow_ips=LOOPBACK,
                server_header=False,
                # asyncio accepts this many at once before it hands over the first one.
                backlog=MAX_CONNECTIONS,
                timeout_keep_alive=KEEP_ALIVE_TIMEOUT,
                timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            )
        )
        self._on_shutdown = on_shutdown

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM without raising them again: a requested stop is not a failure."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.handle_exit)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down without logging responses that are cut off as errors."""
        await self._on_shutdown()
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


def listen(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets for an address, or for all that a name has; port 0 is any free one."""
    found: list[socket.socket] = []
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, (address, *_) in addresses:
            found.append(socket.create_server((address, port), family=family, backlog=MAX_CONNECTIONS))
            port = found[0].getsockname()[1]
    except (socket.gaierror, UnicodeError):
        raise SpotifyLoggerError(f"cannot resolve {host!r}: use --host with another name") from None
    except OSError as error:
        for each in found:
            each.close()
        trouble = f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0).lower()}"
        advice = "Is the page already running? --port picks another one"
        if error.errno == errno.EADDRNOTAVAIL:
            advice = "--host takes an address of this machine, or 0.0.0.0 for all that it has"
        raise SpotifyLoggerError(f"{trouble}. {advice}") from None
    return found


class ErrorLog(logging.Handler):
    """Writes the records of uvicorn, asyncio and the page, at most `MAX_KINDS` lines a minute.

    Records are of one kind if their format strings and the origins of their exceptions are equal.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._logged_at: dict[object, float] = {}
        self._omitted = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record in one line, and how many were not logged since the last one."""
        text, origin = record.getMessage().partition("\n")[0], ""
        if error := record.exc_info and record.exc_info[1]:
            frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
            origin = " > ".join(f"{Path(each.filename).name}:{each.lineno}" for each in frames)
            notes = "".join(f"{note}: " for note in getattr(error, "__notes__", ()))
            text = f"{text}: {notes}{type(error).__name__}: {error} ({origin})"
        kind, now = (record.msg, origin), time.monotonic()
        self._logged_at = {each: at for each, at in self._logged_at.items() if now - at < LOG_PERIOD}
        if kind in self._logged_at or len(self._logged_at) >= MAX_KINDS:
            self._omitted += 1
            return
        more = f" ({self._omitted:,} more errors were not logged)" if self._omitted else ""
        self._logged_at[kind], self._omitted = now, 0
        log.error(f"{log.sanitize(text, log.LINE_LIMIT // 2)}{more}")
