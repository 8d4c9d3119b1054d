"""A recorder with its clock, its disk and its Redis, and plays for it."""

from __future__ import annotations

import json
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import redis

from spotify_logger.core.backoff import Backoff
from spotify_logger.core.play import Play
from spotify_logger.core.player_state import Item
from spotify_logger.daemon.recorder import Recorder
from spotify_logger.storage.client import RedisClient, StoreError
from spotify_logger.storage.outbox import Outbox
from spotify_logger.storage.store import Store
from tests.conftest import start_again
from tests.testbed.fake_redis import plain
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import pytest

    from spotify_logger.storage.client import Command, Reply
    from spotify_logger.storage.embedded_server import EmbeddedServer

SECOND = 1_795_370_400  # 2026-11-22T18:00:00Z; seconds in these tests are counted from here
INDEX = "plays:2026-11-22"
STATUS = "spotify_logger:status"
OUTAGE = {"from": "2026-11-22T18:00:00.000Z", "to": "2026-11-22T19:00:00.000Z", "reason": "offline"}


def play(name: str, start: float = 0, played: int = 30, *, reason: str | None = None) -> Play:
    """Return a play by its start and length in seconds; it is open without a reason."""
    item = Item(f"track:{name}", f"spotify:track:{name}", 200_000, {"name": name, "album": "Discovery"})
    begun = round((SECOND + start) * 1000)
    fields: dict[str, str | int] = {"uri": item.uri, "type": "track", "id": name, "name": name}
    fields["duration_ms"] = 200_000
    return Play(
        int(SECOND + start), item, begun, begun + played * 1000, played * 1000, reason, "live", fields
    )


def ended(name: str, start: float = 0, played: int = 30) -> Play:
    return play(name, start, played, reason="skipped")


def tracker_state(answered: int, newest: Play | None = None) -> str:
    """Return the state of a tracker by the second of the last answer and its play."""
    known = None if newest is None else [newest.second, newest.ms_played]
    return json.dumps({"play": known, "answered": (SECOND + answered) * 1000})


class SpyClient(RedisClient):
    """A real client that counts connections and keeps what was sent.

    Attributes:
        before: Called with the commands before they are sent; it may raise.
        after: The same, with the replies read.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.connects = 0
        self.trips: list[list[Command]] = []
        self.listen()

    def listen(
        self,
        before: Callable[[Sequence[Command]], object] = lambda _: None,
        after: Callable[[Sequence[Command]], object] = lambda _: None,
    ) -> None:
        self.before, self.after = before, after

    def connect(self) -> int:
        self.connects += 1
        return super().connect()

    def send(self, commands: Sequence[Command], server: object = None) -> list[Reply]:
        if server is not None:  # a question about the server
            return super().send(commands, server)
        self.trips.append(list(commands))
        try:
            self.before(commands)
        except StoreError:
            self.close()  # as after a real failure
            raise
        replies = super().send(commands)
        self.after(commands)
        return replies

    def take_batches(self) -> list[list[int]]:
        """Return and forget the batches sent so far: the seconds of the plays written in each."""
        batches = [seconds for commands in self.trips if (seconds := written_seconds(commands))]
        self.trips.clear()
        return batches

    def take_written(self) -> list[int]:
        """Return and forget the plays written so far, in order."""
        return [second for batch in self.take_batches() for second in batch]


def written_seconds(commands: Sequence[Command]) -> list[int]:
    """Return the seconds of the plays whose hashes a batch writes."""
    keys = dict.fromkeys(str(command[1]) for command in map(plain, commands) if command[0] == "HSET")
    return [int(key.removeprefix("listening:")) - SECOND for key in keys if key.startswith("listening:")]


class RecorderRig:
    """A recorder, its clock and its disk, in front of a real server, and a second connection to that."""

    def __init__(self, path: Path, url: str, options: str = "") -> None:
        self.path = path
        self.client = SpyClient(url + options)
        self.raw = redis.Redis.from_url(url, decode_responses=True)
        self.clock = VirtualClock(SECOND)
        self._outboxes: list[Outbox] = []
        self.restart()

    def restart(self, connect: Callable[[str], sqlite3.Connection] | None = None) -> None:
        """Replace the process by another one, as after a crash."""
        self.client.close()
        self.store = Store("", utc=self.clock.utc, connect=lambda _: self.client)
        self.outbox = Outbox(self.path, self.clock.monotonic, connect)
        self._outboxes.append(self.outbox)
        self.recorder = Recorder(self.store, self.outbox, self.clock, Backoff(1.0, 60.0, lambda: 1.0))

    def other_logger(self) -> RecorderRig:
        """Return a recorder with a state folder of its own, in front of the same server."""
        return RecorderRig(self.path.with_name("other.sqlite"), f"redis://{self.client.where}/0")

    def add(self, *plays: Play, at: int = 0) -> None:
        self.recorder.add(plays, tracker_state(at, plays[-1] if plays else None))

    def write(self, *plays: Play, shown: Play | None = None, due: float = 30.0, at: int = 0) -> bool:
        """Run a turn whose answer brought plays."""
        if plays:
            self.add(*plays, at=at)
        return self.recorder.write(shown, due, {"state": "well"})

    def write_after(self, seconds: float) -> bool:
        self.clock.sleep(seconds)
        return self.write()

    def load(self) -> tuple[Play | None, str, dict[str, str]]:
        loaded = self.recorder.load()
        assert loaded is not None
        return loaded

    def waiting(self) -> list[int]:
        """Return the seconds of the plays that Redis may not have."""
        return [row.key - SECOND for row in self.outbox.waiting(9999)]

    def fields(self, second: int = 0) -> dict[str, str]:
        """Return the hash of a play."""
        fields = self.raw.hgetall(f"listening:{SECOND + second}")
        return {str(name): str(value) for name, value in fields.items()}

    def index(self) -> dict[int, str]:
        """Return item and milliseconds played of the plays in the index of the day."""
        entries = self.raw.hgetall(INDEX).items()
        rows = {int(second) - SECOND: str(row).rpartition(" ")[0] for second, row in entries}
        return dict(sorted(rows.items()))

    def close(self) -> None:
        self.client.close()
        self.raw.close()
        for outbox in self._outboxes:
            outbox.close()


class BreakableRig(RecorderRig):
    """A recorder in front of a server of its own, to break."""

    def __init__(self, path: Path, server: EmbeddedServer) -> None:
        super().__init__(path, server.url, "?socket_timeout=1&socket_connect_timeout=1")
        self.server = server

    def kill_server(self) -> None:
        if self.server.process is not None:
            self.server.process.kill()
            self.server.process.wait()

    def restart_server(self) -> None:
        self.server.stop()
        start_again(self.server)

    @contextmanager
    def broken(self, how: str) -> Iterator[None]:
        """Break the server, and repair it at the end of the block."""
        if how == "down":
            self.server.stop()
            yield
            start_again(self.server)
        elif how == "hanging":
            assert self.server.process
            self.server.process.send_signal(signal.SIGSTOP)
            yield
            self.server.process.send_signal(signal.SIGCONT)
        elif how == "READONLY":
            self.raw.replicaof("127.0.0.1", "1")
            yield
            self.raw.replicaof("NO", "ONE")
        elif how == "OOM":
            self.raw.config_set("maxmemory", "1")
            yield
            self.raw.config_set("maxmemory", "0")
        elif how == "NOPERM":
            self._allow("x:*")
            yield
            self._allow("*")

    def _allow(self, keys: str) -> None:
        self.raw.acl_setuser(
            "default", enabled=True, nopass=True, keys=[keys], categories=["+@all"], reset=True
        )


def log_lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the new log lines, without the time."""
    return [line[20:] for line in capsys.readouterr().err.splitlines()]


def fail_at(name: str) -> Callable[[Sequence[Command]], None]:
    """Return a hook that breaks the connection at a command."""

    def fail(commands: Sequence[Command]) -> None:
        if any(command[0] == name for command in commands):
            raise StoreError("Redis is away")

    return fail
