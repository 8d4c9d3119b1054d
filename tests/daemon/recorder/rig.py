"""A recorder with its clock, its disk and its Redis, and plays for it."""

from __future__ import annotations

import json
import os
import signal
from datetime import date
from typing import TYPE_CHECKING

import redis

from spotify_logger.core.backoff import Backoff
from spotify_logger.core.play import Play
from spotify_logger.core.player_state import Item
from spotify_logger.daemon.recorder import Recorder
from spotify_logger.storage.connection import Link, RedisLink, StoreError
from spotify_logger.storage.outbox import Outbox
from spotify_logger.storage.store import Store
from tests.conftest import start_again, wait_until
from tests.testbed.fake_redis import FakeRedis
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import pytest

    from spotify_logger.storage.connection import Command, Reply
    from spotify_logger.storage.embedded_server import EmbeddedServer

SECOND = 1_795_370_400  # 2026-11-22T18:00:00Z
INDEX = "plays:2026-11-22"
STATUS = "spotify_logger:status"
OUTAGE = {"from": "2026-11-22T18:00:00.000Z", "to": "2026-11-22T19:00:00.000Z", "reason": "offline"}


def play(
    name: str,
    start: float = 0,
    heard: int = 30,
    *,
    reason: str | None = None,
    second: int | None = None,
    source: str = "live",
) -> Play:
    """A play that starts so many seconds after six o'clock."""
    item = Item(f"track:{name}", f"spotify:track:{name}", 200_000, {"name": name, "album": "Discovery"})
    begun = round((SECOND + start) * 1000)
    fields = {"uri": item.uri, "type": "track", "id": name, "name": name}
    return Play(
        int(SECOND + start) if second is None else second,
        item,
        begun,
        begun + heard * 1000,
        heard * 1000,
        reason,
        source,
        {**fields, "duration_ms": 200_000},
    )


def over(name: str, start: float = 0, heard: int = 30) -> Play:
    return play(name, start, heard, reason="skipped")


def memory(answered: int, about: Play | None = None) -> str:
    """What the tracker remembers: when the last answer came, in seconds after six o'clock, and its play."""
    known = None if about is None else [about.second, about.ms_played]
    return json.dumps({"play": known, "answered": (SECOND + answered) * 1000})


class Line(RedisLink):
    """The real link; it tells how often somebody wanted it, and what was sent.

    Attributes:
        before: Called with the commands before they are sent; it may raise.
        after: The same, with the replies.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.wanted = 0
        self.trips: list[list[Command]] = []
        self.before: Callable[[Sequence[Command]], object] = lambda _: None
        self.after: Callable[[Sequence[Command]], object] = lambda _: None

    def connect(self) -> int:
        self.wanted += 1
        return super().connect()

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        self.trips.append(list(commands))
        self.before(commands)
        replies = super().send(commands)
        self.after(commands)
        return replies

    def written(self) -> list[int]:
        """The plays whose hashes were written since somebody asked: seconds after six o'clock, in order."""
        found = [key for commands in self.trips for key in written(commands)]
        self.trips.clear()
        return found


def written(commands: Sequence[Command]) -> list[int]:
    """The plays whose hashes a batch writes."""
    keys = [str(command[1]) for command in commands if command[0] == "HSET"]
    return [
        int(key.removeprefix("listening:")) - SECOND
        for key in dict.fromkeys(keys)
        if key[:10] == "listening:"
    ]


class Rig:
    """A recorder, its clock and its disk."""

    def __init__(self, path: Path, line: Link, clock: VirtualClock | None = None) -> None:
        self.path = path
        self.line = line
        self.clock = clock or VirtualClock(SECOND)
        self._outboxes: list[Outbox] = []
        self.restart()

    def restart(self, connect: Callable[[str], sqlite3.Connection] | None = None) -> None:
        """Let another process take over, after this one died without a word."""
        self.line.close()
        self.store = Store("", utc=self.clock.utc, connect=lambda _: self.line)
        self.outbox = Outbox(self.path, self.clock.monotonic, connect)
        self._outboxes.append(self.outbox)
        self.recorder = Recorder(self.store, self.outbox, self.clock, Backoff(1.0, 60.0, lambda: 1.0))
        self.memory = ""

    def add(self, *plays: Play, at: int = 0) -> None:
        self.memory = memory(at, plays[-1] if plays else None)
        self.recorder.add(plays, self.memory)

    def write(self, *plays: Play, shown: Play | None = None, due: float = 30.0, at: int = 0) -> bool:
        if plays:
            self.add(*plays, at=at)
        return self.recorder.write(shown, due, {"state": "well", "tracker": self.memory})

    def later(self, seconds: float) -> bool:
        """Write what waits, so many seconds later."""
        self.clock.sleep(seconds)
        return self.write()

    def waiting(self) -> list[int]:
        """The keys of the plays that Redis may not have: seconds after six o'clock."""
        return [row.key - SECOND for row in self.outbox.waiting(9999)]

    def close(self) -> None:
        self.line.close()
        for outbox in self._outboxes:
            outbox.close()


class RealRig(Rig):
    """A recorder in front of a real server, and a second look at that."""

    line: Line

    def __init__(self, path: Path, url: str, options: str = "") -> None:
        super().__init__(path, Line(url + options))
        self.raw = redis.Redis.from_url(url, decode_responses=True)

    def tries(self, act: Callable[[], object]) -> bool:
        """Whether Redis is asked at all."""
        before = self.line.wanted
        act()
        return self.line.wanted > before

    def kept(self, second: int = 0) -> dict[str, str]:
        """The hash of the play that so many seconds after six o'clock name."""
        fields = self.raw.hgetall(f"listening:{SECOND + second}")
        return {str(name): str(value) for name, value in fields.items()}

    def heard(self) -> dict[int, str]:
        """What the index of the day says: seconds after six o'clock, and what was heard, but for its end."""
        lines = self.raw.hgetall(INDEX).items()
        rows = {int(second) - SECOND: str(row).rpartition(" ")[0] for second, row in lines}
        return dict(sorted(rows.items()))

    def close(self) -> None:
        super().close()
        self.raw.close()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was logged since the last time somebody asked, without the time."""
    return [line[20:] for line in capsys.readouterr().err.splitlines()]


def kill(server: EmbeddedServer) -> None:
    assert server.process is not None
    server.process.kill()
    server.process.wait()


def snapshot(raw: redis.Redis) -> None:
    """Let the server make a snapshot, and wait for it."""
    raw.bgsave()
    wait_until(lambda: not raw.info("persistence")["rdb_bgsave_in_progress"])
    assert raw.info("persistence")["rdb_last_bgsave_status"] == "ok"


def failing_at(name: str) -> Callable[[Sequence[Command]], None]:
    """Breaks the connection when a command is to be sent."""

    def fail(commands: Sequence[Command]) -> None:
        if any(command[0] == name for command in commands):
            raise StoreError("Redis is away")

    return fail


def standing_in(tmp_path: Path, persistence: str = "aof", *, waitaof: bool = True) -> tuple[Rig, FakeRedis]:
    clock = VirtualClock(SECOND)
    standin = FakeRedis(clock.utc, clock.sleep, persistence, waitaof=waitaof)  # type: ignore[arg-type]
    return Rig(tmp_path / "outbox.sqlite", standin.link(), clock), standin


def day() -> date:
    return date(2026, 11, 22)


class Sick:
    """A server with something wrong with it, and how that is put right."""

    def __init__(self, server: EmbeddedServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.raw = redis.Redis.from_url(server.url, decode_responses=True)

    def fall(self, ill: str) -> None:
        raw = self.raw
        if ill == "down":
            self.server.stop()
        elif ill == "killed":
            kill(self.server)
        elif ill == "hanging":
            os.kill(self.server.pid or 0, signal.SIGSTOP)
        elif ill == "READONLY":
            raw.replicaof("127.0.0.1", "1")
        elif ill == "OOM":
            raw.config_set("maxmemory", "1")
        elif ill == "MISCONF":
            (self.folder / "dump.rdb").mkdir()  # no snapshot can take its place
            raw.config_set("save", "900 1")
            raw.bgsave()
            wait_until(lambda: raw.info("persistence")["rdb_last_bgsave_status"] == "err")
        elif ill == "NOPERM":
            raw.acl_setuser(
                "default", enabled=True, nopass=True, keys=["x:*"], categories=["+@all"], reset=True
            )
        elif ill == "NOAUTH":
            raw.ping()
            raw.config_set("requirepass", "hunter2")
            raw.client_kill_filter(_type="normal", skipme=True)

    def recover(self, ill: str) -> None:
        raw = self.raw
        if ill in {"down", "killed"}:
            start_again(self.server)
        elif ill == "hanging":
            os.kill(self.server.pid or 0, signal.SIGCONT)
        elif ill == "READONLY":
            raw.replicaof("NO", "ONE")
        elif ill == "OOM":
            raw.config_set("maxmemory", "0")
        elif ill == "MISCONF":
            raw.config_set("save", "")
        elif ill == "NOPERM":
            raw.acl_setuser("default", enabled=True, nopass=True, keys=["*"], categories=["+@all"])
        elif ill == "NOAUTH":
            raw.config_set("requirepass", "")

    def close(self) -> None:
        self.raw.close()


class Died(BaseException):
    """The process is gone; nothing of it may catch this."""
