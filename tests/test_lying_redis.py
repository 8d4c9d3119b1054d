"""A Redis that lies, drips, or never ends: one error line each time, and plays wait in the outbox."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import date
from itertools import cycle, repeat
from select import select
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from spotify_logger.core.redis_keys import STATUS
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.history import History
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.client import StoreError
from spotify_logger.storage.outbox import COUNT_WAITING, OUTBOX_FILE, look_up
from tests.conftest import wait_until
from tests.stage import LONG_TRACK_SECONDS, Stage
from tests.web.page import serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TIMEOUT = 0.05
"""Seconds of silence after which the client gives up."""
COMMAND = re.compile(rb"\*\d+\r\n\$\d+\r\n(\w+)")
GREETINGS = {b"AUTH", b"CLIENT"}


class Drip(bytes):
    """A reply that comes a byte at a time."""


Lie = bytes | Mapping[bytes, bytes]
"""A reply to every command, or replies by command."""
LIES: dict[str, Lie] = {
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
    "a line that drips": Drip(b"+" + b"a" * 10_000),
    "an array that drips": Drip(b"*2147483647\r\n" + b":1\r\n" * 10_000),
    "a setting among what it says of itself": {b"INFO": b"$6\r\nsave:1\r\n", b"CONFIG": b"*0\r\n"},
    "right types": {
        **dict.fromkeys((b"GET", b"HGET"), b"$2\r\nhi\r\n"),
        **dict.fromkeys((b"HGETALL", b"HKEYS"), b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        b"HMGET": b"*0\r\n",
        b"SET": b"+OK\r\n",
    },
}


class LyingServer:
    """A Redis that greets like the real one behind it, and then lies to each batch of commands.

    Args:
        url: The real one.

    Attributes:
        lies: The lie for each batch; None, as well as the end, stands for the truth.
        told: How many lies were told.
    """

    def __init__(self, url: str) -> None:
        self.lies: Iterator[Lie | None] = iter(())
        self.told = 0
        self._real = ("127.0.0.1", urlsplit(url).port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, timeout: float = TIMEOUT) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}/?socket_timeout={timeout}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with suppress(OSError), line, socket.create_connection(self._real) as real:
            while True:
                for ready in select([line, real], [], [])[0]:
                    if not (said := ready.recv(65536)):
                        return
                    if ready is real:
                        line.sendall(said)
                    else:
                        self._answer(said, line, real)

    def _answer(self, commands: bytes, line: socket.socket, real: socket.socket) -> None:
        names = COMMAND.findall(commands)
        lie = None if GREETINGS.issuperset(names) else next(self.lies, None)
        if lie is None:
            real.sendall(commands)
            return
        self.told += 1
        for name in names:
            reply = lie if isinstance(lie, bytes) else lie.get(name, b":0\r\n")
            if not isinstance(reply, Drip):
                line.sendall(reply)
                continue
            for number in reply:
                line.sendall(bytes([number]))
                time.sleep(TIMEOUT / 2)


@pytest.fixture
def liar(redis_url: str) -> Iterator[LyingServer]:
    with closing(LyingServer(redis_url)) as liar:
        yield liar


def write_play(store: Archive) -> None:
    with store.batch() as batch:
        batch.write_play(1_800_000_000, {"uri": "spotify:track:x"}, "track:x 1 open")
        batch.write_status({"state": "ok"})


CALLS: tuple[Callable[[Archive], object], ...] = (
    write_play,
    lambda store: store.claim(
        1_800_000_000, "2027-01-15T08:00:00Z", "spotify:track:x", set[int]().__contains__
    ),
    lambda store: (store.tombstones(), store.gaps()),
    lambda store: (store.client.persistence(), store.version(), store.write_refusal()),
    lambda store: (store.hash(STATUS), store.listeners(), store.standby_machine()),
    lambda store: (store.index(date(2027, 1, 15)), store.recent(3), store.now_playing()),
    lambda store: list(store.catalog(["track:x"], ["name", "uri"])),
    lambda store: list(store.scan("listening:*")),
    lambda store: list(store.rows(1_800_000_000, 1_800_086_400)),
)
"""What logger, command and page ask of a store."""


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_the_store_takes_a_lie_for_an_answer_or_for_one_error(liar: LyingServer, lie: Lie) -> None:
    liar.lies = repeat(lie)
    with closing(Archive(liar.url())) as store:
        for call in CALLS[: 2 if isinstance(lie, Drip) else None]:
            with suppress(StoreError):
                call(store)
        if isinstance(lie, Drip):
            with pytest.raises(StoreError, match="in time"):
                store.hash(STATUS)


def test_the_loop_goes_on_and_the_plays_wait(liar: LyingServer, redis_url: str, tmp_path: Path) -> None:
    with closing(Stage(tmp_path, redis_url)) as stage:
        hurry = {"POLL_MIN": "0.02", "POLL_MAX": "0.05", "HASTY_TIMINGS": '{"max_wait": 0.02}'}
        liar.lies = repeat(LIES["right types"], 3)
        loop = stage.start("-m", "tests.hasty_loop", REDIS_URL=liar.url(0.15), **hurry)
        wait_until(lambda: stage.newest()[0] == "Long" or loop.poll() is not None)
        liar.lies = iter(
            [told for n, lie in enumerate(LIES.values()) for told in (*repeat(None, n % 5), lie)]
        )
        wait_until(lambda: liar.told == len(LIES) + 3 or loop.poll() is not None)
        polled = stage.status()["last_poll"]
        wait_until(lambda: stage.status()["last_poll"] > polled)
        liar.lies = repeat(LIES["zeros"])
        stage.plays_now(History(time.time()).play(song("Next", LONG_TRACK_SECONDS)))
        wait_until(lambda: look_up(stage.state_dir / OUTBOX_FILE, COUNT_WAITING) == "1")
        liar.lies = iter(())
        wait_until(lambda: stage.newest()[0] == "Next")
        assert [play["name"] for _, play in stage.store.recent(9)] == ["Next", "Long"]
        told, liar.lies = liar.told, repeat(LIES["an array that drips"])
        wait_until(lambda: liar.told > told)
        loop.terminate()
        assert loop.wait(60) == 0
        assert "Traceback" not in stage.log()
        assert len(stage.lines()) < 5 * len(LIES)


def test_the_page_answers_with_a_reason(
    liar: LyingServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve_page(settings_for(liar.url(), tmp_path)) as page:
        for lie, target in zip(
            LIES.values(), cycle(("/", "/health", "/top/tracks", "/chart", "/search?q=a"))
        ):
            liar.lies = repeat(lie)
            answer = page.request(target)
            assert answer.status == 200 or (answer.status == 503 and "Redis at" in answer.text)
        liar.lies = iter(())
        # A connection of another thread may still have a lie to read.
        wait_until(lambda: page.request("/recent").status == 200)
    assert capsys.readouterr().err == ""
