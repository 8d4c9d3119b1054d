"""A Redis that lies, drips, or never ends: one error line each time, and plays wait in the outbox."""

from __future__ import annotations

import socket
import threading
from contextlib import closing, suppress
from datetime import date
from typing import TYPE_CHECKING

import pytest

from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIMEOUT = 0.2
"""Seconds of silence after which the client gives up."""
LIES = {
    "a number": b":1\r\n",
    "a negative number": b":-1\r\n",
    "a number of many digits": b":" + b"9" * 5000 + b"\r\n",
    "no number": b":one\r\n",
    "a status": b"+OK\r\n",
    "a text": b"$2\r\nhi\r\n",
    "an empty text": b"$0\r\n\r\n",
    "a text that is not UTF-8": b"$2\r\n\xff\xfe\r\n",
    "a text that never comes": b"$1000000000\r\n",
    "a text of unknown length": b"$x\r\n",
    "nothing": b"$-1\r\n",
    "no array": b"*-1\r\n",
    "an empty array": b"*0\r\n",
    "an odd array": b"*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n",
    "an array in an array": b"*2\r\n*1\r\n:1\r\n:0\r\n",
    "an array of numbers": b"*2\r\n:1\r\n:2\r\n",
    "an array of errors": b"*2\r\n-ERR no\r\n-ERR no\r\n",
    "an array without end": b"*2147483647\r\n" + b":1\r\n" * 1000,
    "arrays in arrays in arrays": b"*1\r\n" * 100_000,
    "a map of RESP3": b"%1\r\n+a\r\n+b\r\n",
    "an error": b"-ERR no\r\n",
    "an error without a text": b"-\r\n",
    "two replies": b"+OK\r\n+OK\r\n",
    "a page": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "zeros": b"\0" * 64,
}


class LyingServer:
    """Greets like a Redis, and gives the same reply to every other command.

    Args:
        lie: The reply.
        is_slow: Whether it comes a byte at a time.
    """

    def __init__(self, lie: bytes, *, is_slow: bool = False) -> None:
        self._lie = lie
        self._is_slow = is_slow
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/?socket_timeout={TIMEOUT}"

    def close(self) -> None:
        self._closing.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with suppress(OSError), line:
            while commands := line.recv(65536):
                is_greeting = b"PING" in commands or b"CLIENT" in commands
                reply = (b"+PONG\r\n" if b"PING" in commands else b"+OK\r\n") if is_greeting else self._lie
                for _ in range(max(1, commands.count(b"*"))):
                    self._send(line, reply)

    def _send(self, line: socket.socket, reply: bytes) -> None:
        if not self._is_slow:
            line.sendall(reply)
            return
        for position in range(len(reply)):
            line.sendall(reply[position : position + 1])
            self._closing.wait(TIMEOUT / 2)


def write_play(store: Archive) -> None:
    with store.batch() as batch:
        batch.write_play(1_800_000_000, {"uri": "spotify:track:x"}, "track:x 1 open")
        batch.write_status({"state": "ok"})


CALLS: tuple[Callable[[Archive], object], ...] = (
    write_play,
    lambda store: store.claim(1_800_000_000, "2027-01-15T08:00:00Z", "spotify:track:x"),
    lambda store: (store.tombstones(), store.count_tombstones(), store.gaps()),
    lambda store: (store.persistence(), store.version(), store.write_refusal()),
    lambda store: (store.read_status(), store.listeners(), store.standby_machine()),
    lambda store: (store.index(date(2027, 1, 15)), store.recent(3), store.now_playing()),
    lambda store: list(store.catalog(["track:x"], ["name", "uri"])),
    lambda store: list(store.scan("listening:*")),
    lambda store: list(store.rows(1_800_000_000, 1_800_086_400)),
    lambda store: store.mark(1_800_000_000, 1_800_086_400),
)
"""What logger, command and page ask of a store."""


@pytest.fixture
def lie_with() -> Iterator[Callable[..., str]]:
    servers: list[LyingServer] = []

    def start(lie: bytes, *, is_slow: bool = False) -> str:
        servers.append(LyingServer(lie, is_slow=is_slow))
        return servers[-1].url

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_is_taken_for_an_answer_or_is_one_error(lie_with: Callable[..., str], lie: bytes) -> None:
    with closing(Archive(lie_with(lie))) as store:
        for call in CALLS:
            with suppress(StoreError):
                call(store)


@pytest.mark.parametrize("lie", [b"+" + b"a" * 10_000, b"*2147483647\r\n" + b":1\r\n" * 10_000])
def test_a_server_that_drips_is_given_up(lie_with: Callable[..., str], lie: bytes) -> None:
    with (
        closing(Archive(lie_with(lie, is_slow=True))) as store,
        pytest.raises(StoreError, match="in time"),
    ):
        store.read_status()
