"""The server, and how long it waits for whom."""

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
"""Seconds in which a request has to be here as a whole."""
SEND_TIMEOUT = 20.0
"""Seconds in which a browser has to have read what waits for it."""
KEEP_ALIVE_TIMEOUT = 30
"""Seconds for which a connection without a request stays open."""
MAX_CONNECTIONS = 128
"""Open connections, idle ones included; beyond them, each further one is closed as soon as it is there."""
MAX_CONNECTIONS_PER_ADDRESS = MAX_CONNECTIONS // 2
"""Of these, those of one address. A proxy on this machine is one address for all its browsers."""
MAX_HEAD_BYTES = 16 * 1024
"""Bytes of a request's head."""
SHUTDOWN_TIMEOUT = 2
"""Seconds in which answers that are under way may end when the server has to."""


class _Deadline:
    """A wait for a client, at whose end the connection is cut off."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, transport: asyncio.Transport) -> None:
        """Wait from now on, unless that is so already."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, transport.abort)

    def end(self) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class TimeoutProtocol(H11Protocol):
    """HTTP/1.1 as uvicorn speaks it, with an end to the patience: slow clients are cut off."""

    request_timeout = REQUEST_TIMEOUT
    send_timeout = SEND_TIMEOUT

    def __init__(self, *arguments: Any, **more: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **more)
        self._request_deadline = _Deadline(self.request_timeout)
        self._send_deadline = _Deadline(self.send_timeout)

    @property
    def peer(self) -> str | None:
        """The address of the other side."""
        return self.client and self.client[0]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        if self._is_too_many():
            self.connections.discard(self)  # already: others may come before it is lost
            transport.abort()
        else:
            self._request_deadline.begin(transport)

    def _is_too_many(self) -> bool:
        same = [each for each in self.connections if getattr(each, "peer", None) == self.peer]
        return len(self.connections) > MAX_CONNECTIONS or len(same) > MAX_CONNECTIONS_PER_ADDRESS

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


# Nonsense that comes over the wire makes no lines; what is broken in the page itself has its traceback.
_log = logging.getLogger("uvicorn.error")
_log.setLevel(logging.ERROR)


class PageServer(uvicorn.Server):
    """uvicorn's server, which tells when it is ready and when it has to end.

    Args:
        app: What answers.
        ready: Called when requests are taken.
        ending: Called when the process has been asked to end.
    """

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
                # asyncio accepts so many at once before it hands over the first of them.
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
        """See uvicorn, which would let the signal end the process once more: it is no failure to be asked."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn, which would call it a failure that an answer is cut off in the end."""
        await self._on_shutdown()
        _log.setLevel(logging.CRITICAL)
        await super().shutdown(sockets)
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)
        _log.setLevel(logging.ERROR)

    def _stop(self) -> None:
        self.should_exit = True


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets for an address; a name may have several.

    Args:
        host: A name or an address in figures.
        port: 0 for any that is free.

    Raises:
        SpotifyLoggerError: It cannot be had; the message says why.
    """
    found: list[socket.socket] = []
    try:
        for family, _, _, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            place = (address[0], found[0].getsockname()[1]) if found and not port else address[:2]
            each = socket.create_server(place, family=family, backlog=MAX_CONNECTIONS)
            found.append(each)
    except (socket.gaierror, UnicodeError):
        raise SpotifyLoggerError(f"no address is known of {host!r}; --host takes another name") from None
    except OSError as error:
        for each in found:
            each.close()
        raise SpotifyLoggerError(
            f"{host}, port {port}, cannot be had ({error.strerror}): is the page there already? "
            "--port takes another one"
        ) from None
    return found
