"""The HTTP server: uvicorn with timeouts and connection limits."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from spotify_logger.system.errors import SpotifyLoggerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.types import ASGIApp

REQUEST_TIMEOUT = 10.0
"""Seconds within which a whole request has to arrive."""
SEND_TIMEOUT = 20.0
"""Seconds that a client may take to read buffered data."""
KEEP_ALIVE_TIMEOUT = 30
"""Seconds that an idle connection stays open."""
MAX_CONNECTIONS = 128
"""Maximum number of open connections, idle ones included; further ones are closed at once."""
MAX_CONNECTIONS_PER_ADDRESS = MAX_CONNECTIONS // 2
"""Maximum number of connections per client address. A proxy is one address for all its clients."""
MAX_HEAD_BYTES = 16 * 1024
"""Maximum size of the request line and headers, in bytes."""
SHUTDOWN_TIMEOUT = 2
"""Seconds that responses in progress get at shutdown."""


class _Deadline:
    """A timer that aborts the connection when it expires."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, transport.abort)

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class TimeoutProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with timeouts: slow clients are disconnected."""

    request_timeout = REQUEST_TIMEOUT
    send_timeout = SEND_TIMEOUT

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **more)
        self._request_deadline = _Deadline(self.request_timeout)
        self._send_deadline = _Deadline(self.send_timeout)

    @property
    def peer(self) -> str | None:
        """The IP address of the client."""
        return self.client and self.client[0]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        same = [each for each in self.connections if getattr(each, "peer", None) == self.peer]
        if len(self.connections) > MAX_CONNECTIONS or len(same) > MAX_CONNECTIONS_PER_ADDRESS:
            self.connections.discard(self)  # at once: others may connect before `connection_lost`
            transport.abort()
        else:
            self._request_deadline.begin(transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._request_deadline.begin(self.transport)
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._request_deadline.end()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().pause_writing()
        self._send_deadline.begin(self.transport)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        self._send_deadline.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._request_deadline.end()
        self._send_deadline.end()
        super().connection_lost(exc)


# Malformed requests are not logged; exceptions in the application are.
_log = logging.getLogger("uvicorn.error")
_log.setLevel(logging.ERROR)


class PageServer(uvicorn.Server):
    """A uvicorn server that calls `on_ready` once it accepts requests, and `on_shutdown` when it stops."""

    def __init__(
        self, app: ASGIApp, on_ready: Callable[[], None], on_shutdown: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=TimeoutProtocol,
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                # asyncio accepts this many at once before it hands over the first one.
                backlog=MAX_CONNECTIONS,
                timeout_keep_alive=KEEP_ALIVE_TIMEOUT,
                timeout_graceful_shutdown=SHUTDOWN_TIMEOUT,
                h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            )
        )
        self._on_ready = on_ready
        self._on_shutdown = on_shutdown

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM without raising them again: a requested stop is not a failure."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stop)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start serving, then call `on_ready`."""
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down without logging responses that are cut off as errors."""
        await self._on_shutdown()
        _log.setLevel(logging.CRITICAL)
        await super().shutdown(sockets)
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)
        _log.setLevel(logging.ERROR)

    def _stop(self) -> None:
        self.should_exit = True


def listen(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets for a name, which may have several, or an IP address; port 0 is any free one.

    Raises:
        SpotifyLoggerError: The name cannot be resolved, or the address is not available.
    """
    found: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            place = (address[0], found[0].getsockname()[1]) if found and not port else address[:2]
            found.append(socket.create_server(place, family=family, backlog=MAX_CONNECTIONS))
    except (socket.gaierror, UnicodeError):
        raise SpotifyLoggerError(f"cannot resolve {host!r}: use --host with another name") from None
    except OSError as error:
        for each in found:
            each.close()
        raise SpotifyLoggerError(
            f"cannot listen on {host}:{port}: {(error.strerror or '').lower()}. Is the page already running? "
            "--port picks another one"
        ) from None
    return found
