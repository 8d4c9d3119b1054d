from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger import outbox as outbox_room
from spotify_logger import recorder as recorder_room
from spotify_logger.link import Link, RedisLink, StoreError
from spotify_logger.outbox import Outbox
from spotify_logger.pacing import Backoff
from spotify_logger.persistence import ONE_DAY, SETTLED
from spotify_logger.playback import Item
from spotify_logger.plays import Play
from spotify_logger.recorder import (
    LONGEST_CATCH_UP,
    NOW_PLAYING_GRACE,
    REFUSED_RETRY,
    SERVER_LOOK,
    TOGETHER,
    Recorder,
)
from spotify_logger.simulator.standin import SAVE_SECONDS, SNAPSHOT_SECONDS, StandIn
from spotify_logger.simulator.virtual import VirtualClock
from spotify_logger.store import Store
from tests.conftest import start_again, start_server, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from spotify_logger.embedded import EmbeddedServer
    from spotify_logger.link import Command, Reply

SECOND = 1_795_370_400  # 2026-11-22T18:00:00Z
INDEX = "plays:2026-11-22"
STATUS = "spotify_logger:status"
PATIENCE = "?socket_timeout=0.3&socket_connect_timeout=0.3"
OUTAGE = {"from": "2026-11-22T18:00:00.000Z", "to": "2026-11-22T19:00:00.000Z", "reason": "offline"}
IS_BACK = "Redis is there again and takes what waited for it"


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
    known = None if about is None else [about.second, about.heard_ms]
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


@pytest.fixture(autouse=True)
def _young_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked for before this year: that takes a while where there are only a few plays."""
    monkeypatch.setattr("spotify_logger.store.FIRST_DAY", date(2026, 1, 1))


@pytest.fixture
def rig(redis_url: str, tmp_path: Path) -> Iterator[RealRig]:
    """A recorder in front of a server that syncs at once, so that a proof is there at the next turn."""
    rig = RealRig(tmp_path / "outbox.sqlite", redis_url)
    rig.raw.config_set("appendfsync", "always")
    yield rig
    rig.raw.config_set("appendfsync", "everysec")
    rig.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server to break."""
    server = start_server(tmp_path / "redis")
    yield server
    if server.process is not None and server.alive:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def fragile(server: EmbeddedServer, tmp_path: Path) -> Iterator[RealRig]:
    rig = RealRig(tmp_path / "outbox.sqlite", server.url, PATIENCE)
    yield rig
    rig.close()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was logged since the last time somebody asked, without the time."""
    return [line[20:] for line in capsys.readouterr().err.splitlines()]


def kill(server: EmbeddedServer) -> None:
    assert server.process is not None
    server.process.kill()
    server.process.wait()


class TestWriting:
    def test_a_play_its_index_its_item_and_the_status(self, rig: RealRig) -> None:
        assert rig.write(play("A"))
        assert rig.kept() == {name: str(value) for name, value in play("A").to_hash().items()}
        assert rig.heard() == {0: "track:A 30000"}
        assert rig.raw.hgetall("track:A") == {"name": "A", "album": "Discovery"}
        assert rig.raw.hgetall(STATUS) == {
            "state": "well",
            "tracker": memory(0, play("A")),
            "last_play": f"listening:{SECOND}",
            "outbox": "0",
            "outbox_trouble": "",
            "redis_trouble": "",
            "persistence": "append-only file",
        }

    def test_newer_states_of_a_play_take_the_place_of_older_ones(self, rig: RealRig) -> None:
        rig.write(play("A", heard=30))
        rig.add(play("A", heard=60))
        rig.add(play("A", heard=90), play("B", 90))
        assert rig.write(play("A", heard=90, reason="skipped"))
        assert rig.heard() == {0: "track:A 90000", 90: "track:B 30000"}
        assert rig.kept()["end_reason"] == "skipped"
        assert "end_reason" not in rig.kept(90)

    def test_a_correction_counts_though_it_ends_earlier(self, rig: RealRig) -> None:
        rig.write(over("A", heard=60))
        rig.write(over("A", heard=40))
        assert rig.heard() == {0: "track:A 40000"}

    def test_the_last_play_is_the_one_that_started_last(self, rig: RealRig) -> None:
        rig.write(play("C", 300), over("A"), over("B", 200))
        assert rig.raw.hget(STATUS, "last_play") == f"listening:{SECOND + 300}"

    def test_it_still_is_after_a_restart_though_an_older_one_is_found_late(self, rig: RealRig) -> None:
        rig.write(over("C", 300), at=330)
        rig.write()
        rig.restart()
        rig.recorder.load()
        rig.write(over("A"), at=400)
        assert rig.raw.hget(STATUS, "last_play") == f"listening:{SECOND + 300}"

    def test_where_nothing_waits_only_the_status_is_written(self, rig: RealRig) -> None:
        assert rig.write()
        assert rig.raw.keys() == [STATUS]

    def test_a_play_that_is_safe_is_written_once_and_no_more(self, rig: RealRig) -> None:
        rig.write(over("A"))
        assert rig.write()
        rig.raw.flushall()
        for _ in range(3):
            assert rig.later(60)
        assert rig.kept() == {}

    def test_the_status_says_what_waits_and_what_is_wrong_with_the_disk(
        self, fragile: RealRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fragile.raw.config_set("appendfsync", "no")
        fragile.write(over("A"), over("B", 30), play("C", 60))
        fragile.write()
        assert fragile.raw.hget(STATUS, "outbox") == "2"
        fragile.outbox.trouble = "the disk is full"
        fragile.write()
        assert fragile.raw.hget(STATUS, "outbox_trouble") == "the disk is full"
        assert fragile.raw.hget(STATUS, "persistence") == "append-only file"
        fragile.outbox.trouble = ""

    def test_it_takes_what_the_tracker_makes_of_local_files(self, rig: RealRig) -> None:
        uri = "spotify:local:Me::Demo:200"
        item = Item("local:0123456789abcdef", uri, 200_000, {"name": "Demo", "uri": uri})
        local = replace(over("A"), item=item, fields={"uri": uri, "type": "track", "name": "Demo"})
        assert rig.write(local)
        (row,) = rig.heard().values()
        assert row.endswith(" 30000")
        assert rig.raw.hget(row.split()[0], "uri") == uri


class TestDiskFirst:
    """A play is on the disk before Redis hears of it, when it begins and when it ends."""

    def test_at_every_write_that_goes_to_redis(self, rig: RealRig) -> None:
        checked = []

        def check(commands: Sequence[Command]) -> None:
            for command in commands:
                if command[0] == "HSET" and str(command[1]).startswith("listening:"):
                    fields = dict(zip(command[2::2], command[3::2], strict=True))
                    key = int(str(command[1]).removeprefix("listening:"))
                    (closed,) = on_disk(rig.path, key)
                    assert closed == ("end_reason" in fields)
                    checked.append((key - SECOND, closed))

        rig.line.before = check
        rig.write(play("A"))
        rig.write(play("A", heard=40))
        rig.write(over("A", heard=60), play("B", 60))
        rig.write(over("B", 60), over("C", 90), play("D", 90.5))
        rig.write(replace(over("X", 45), source="backfill"))
        assert checked == [
            *[(0, 0), (0, 0)],
            *[(0, 1), (60, 0)],
            *[(60, 1), (90, 1), (91, 0)],
            *[(45, 1)],
        ]

    def test_while_redis_is_there_the_open_play_is_not_written_again_and_again(self, rig: RealRig) -> None:
        for second in range(0, 600, 30):
            rig.write(play("A", heard=second))
            rig.clock.sleep(30)
        assert [row.play.heard_ms for row in rig.outbox.waiting(9)] == [0]

    def test_while_it_is_away_at_most_every_thirty_seconds(
        self, fragile: RealRig, server: EmbeddedServer
    ) -> None:
        fragile.write(play("A", heard=0))
        server.stop()
        kept = []
        for second in range(5, 125, 5):
            fragile.clock.sleep(5)
            assert not fragile.write(play("A", heard=second), at=second)
            ((row,), told) = fragile.outbox.waiting(9), json.loads(fragile.outbox.note("tracker"))
            assert told["play"][1] == row.play.heard_ms
            kept.append(row.play.heard_ms // 1000)
        assert kept == [second // 30 * 30 for second in range(5, 125, 5)]

    def test_notes_go_to_the_disk_with_the_open_play(self, rig: RealRig) -> None:
        rig.write(play("A", heard=0))
        rig.add(play("A", heard=45), at=45)
        rig.recorder.keep({"beat": "7"})
        rig.restart()
        assert rig.outbox.note("beat") == "7"
        assert rig.outbox.note("tracker") == memory(45, play("A", heard=45))
        assert rig.outbox.newest() == play("A", heard=45)

    def test_without_a_disk_redis_is_told_nevertheless_and_the_disk_later(
        self, fragile: RealRig, server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        disk = FullDisk()
        fragile.restart(disk.connect)
        disk.is_full = True
        assert fragile.write(over("A"), play("B", 30))
        assert "is full" in (fragile.raw.hget(STATUS, "outbox_trouble") or "")
        kill(server)
        assert not fragile.write(over("B", 30, 60), play("C", 90))
        assert on_disk(fragile.path, SECOND) == ()
        disk.is_full = False
        fragile.clock.sleep(60)
        assert not fragile.write(play("C", 90, 60))
        fragile.restart()
        start_again(server)
        assert fragile.later(60)
        assert fragile.heard() == {0: "track:A 30000", 30: "track:B 60000", 90: "track:C 60000"}
        assert len([line for line in lines(capsys) if "outbox.sqlite can" in line]) == 2


class FullDisk:
    """A disk that is full while somebody says so."""

    def __init__(self) -> None:
        self.is_full = False
        disk = self

        class Connection(sqlite3.Connection):
            def commit(self) -> None:
                if disk.is_full:
                    raise sqlite3.OperationalError("database or disk is full")
                super().commit()

        self.kind = Connection

    def connect(self, name: str) -> sqlite3.Connection:
        return sqlite3.connect(name, isolation_level=None, factory=self.kind)


def on_disk(path: Path, key: int) -> tuple[int, ...]:
    """Whether a play is over, as another process reads it in the file; empty if it is not there."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    found = database.execute("SELECT closed FROM plays WHERE key = ?", (key,)).fetchall()
    database.close()
    return tuple(closed for (closed,) in found)


class TestProof:
    """When Redis has made a play safe; until then it waits, but is not sent again."""

    def test_with_an_append_only_file_when_it_is_synced(self, fragile: RealRig) -> None:
        assert fragile.write(over("A"), over("B", 30))
        assert fragile.line.written() == [0, 30]
        assert fragile.waiting() == [0, 30]
        wait_until(lambda: fragile.write() and not fragile.waiting())
        assert fragile.line.written() == []
        assert len(fragile.outbox) == 0
        assert [kept.item.key for kept in fragile.outbox.kept()] == ["track:A", "track:B"]

    def test_where_syncing_is_left_to_the_kernel_after_a_day(self, fragile: RealRig) -> None:
        fragile.raw.config_set("appendfsync", "no")
        fragile.write(over("A"))
        for wait in (1, 3600, ONE_DAY - 3602):
            fragile.later(wait)
            assert len(fragile.outbox) == 1
        fragile.later(1)
        assert len(fragile.outbox) == 0
        assert fragile.line.written() == [0]

    def test_without_waitaof_two_seconds_after_the_write(self, rig: RealRig, redis_url: str) -> None:
        rig.raw.acl_setuser(
            "old", enabled=True, passwords=["+x"], keys=["*"], categories=["+@all"], commands=["-waitaof"]
        )
        old = RealRig(rig.path.with_name("old.sqlite"), redis_url.replace("//", "//old:x@"))
        old.write(over("A"))
        old.later(SETTLED - 0.1)
        assert len(old.outbox) == 1
        old.later(0.1)
        assert len(old.outbox) == 0
        old.close()
        rig.raw.acl_deluser("old")

    def test_but_not_while_the_file_cannot_be_written(self, tmp_path: Path) -> None:
        """Stand-in: no real server's append-only file fails on demand."""
        rig, standin = standing_in(tmp_path, waitaof=False)
        rig.write(over("A"))
        standin.refusing = "MISCONF"
        for _ in range(5):
            rig.later(60)
            assert len(rig.outbox) == 1
        standin.refusing = ""
        rig.later(60)
        rig.later(60)
        assert len(rig.outbox) == 0
        rig.close()

    def test_one_that_keeps_nothing_says_so_and_rows_stay_for_a_day(self, fragile: RealRig) -> None:
        fragile.raw.config_set("appendonly", "no")
        fragile.write(over("A"))
        assert fragile.raw.hget(STATUS, "persistence") == "none: it forgets with its next restart"
        for wait in (1, 3600, ONE_DAY - 3602):
            fragile.later(wait)
            assert len(fragile.outbox) == 1
        fragile.later(SERVER_LOOK)
        assert len(fragile.outbox) == 0
        assert fragile.line.written() == [0]

    def test_with_snapshots_when_one_was_begun_after_the_write(self, fragile: RealRig) -> None:
        fragile.raw.config_set("appendonly", "no")
        fragile.raw.config_set("save", "3600 1")
        snapshot(fragile.raw)
        fragile.write(over("A"))
        assert fragile.raw.hget(STATUS, "persistence") == "snapshots"
        fragile.later(ONE_DAY)
        assert len(fragile.outbox) == 1
        let_seconds_pass(fragile.raw)
        snapshot(fragile.raw)
        fragile.later(SERVER_LOOK - 1)
        fragile.later(1)
        assert len(fragile.outbox) == 0
        assert fragile.line.written() == [0]

    @pytest.mark.parametrize(
        ("at", "failing", "length"),
        [
            pytest.param(SAVE_SECONDS - 5, False, 1, id="before the snapshot"),
            pytest.param(SAVE_SECONDS + SNAPSHOT_SECONDS + SERVER_LOOK, False, 0, id="after it"),
            pytest.param(3 * SAVE_SECONDS, True, 1, id="after one that failed"),
        ],
    )
    def test_snapshots_in_the_course_of_time(
        self, tmp_path: Path, at: float, *, failing: bool, length: int
    ) -> None:
        rig, standin = standing_in(tmp_path, "rdb")
        rig.write(over("A"))
        standin.refusing = "MISCONF" if failing else ""
        while rig.clock.monotonic() < at:
            rig.later(min(30, at - rig.clock.monotonic()))
        assert len(rig.outbox) == length
        rig.close()

    def test_what_was_written_while_a_snapshot_was_made_waits_for_the_next(self, tmp_path: Path) -> None:
        rig, _ = standing_in(tmp_path, "rdb")
        rig.write(over("A"))
        rig.clock.sleep(SAVE_SECONDS + SNAPSHOT_SECONDS / 2)
        rig.write(over("B", 30))
        for _ in range(int((SAVE_SECONDS - 60) // 30)):
            rig.later(30)
        assert rig.waiting() == [30]
        for _ in range(5):
            rig.later(30)
        assert rig.waiting() == []
        rig.close()

    def test_a_newer_state_needs_a_proof_of_its_own(self, fragile: RealRig) -> None:
        fragile.raw.config_set("appendfsync", "no")
        fragile.write(over("A"))
        fragile.add(over("A", heard=60))
        fragile.raw.config_set("appendfsync", "always")
        fragile.line.before = failing_at("HSET")
        assert not fragile.write()
        fragile.line.before = lambda _: None
        assert fragile.waiting() == [0]
        fragile.later(60)
        fragile.later(1)
        assert fragile.waiting() == []
        assert fragile.heard() == {0: "track:A 60000"}

    def test_a_broken_connection_proves_nothing(self, fragile: RealRig) -> None:
        """Over the new one, the server would say that all is synced that came over it: nothing."""
        fragile.raw.config_set("appendfsync", "no")
        fragile.write(over("A"))
        fragile.raw.client_kill_filter(_type="normal", skipme=True)
        fragile.line.before = failing_at("HSET")
        fragile.raw.config_set("appendfsync", "always")
        assert not fragile.write(over("B", 30))
        assert not fragile.later(60)
        assert fragile.waiting() == [0, 30]
        fragile.line.before = lambda _: None
        fragile.line.written()
        assert fragile.later(60)
        assert fragile.line.written() == [0, 30]
        fragile.later(1)
        assert fragile.waiting() == []

    def test_one_that_is_set_to_snapshots_meanwhile(self, fragile: RealRig) -> None:
        fragile.raw.config_set("appendfsync", "no")
        fragile.write(over("A"))
        fragile.raw.config_set("appendonly", "no")
        fragile.raw.config_set("save", "3600 1")
        fragile.write()
        let_seconds_pass(fragile.raw)
        snapshot(fragile.raw)
        fragile.later(SERVER_LOOK)
        assert len(fragile.outbox) == 0


def let_seconds_pass(raw: redis.Redis) -> None:
    """Wait until a snapshot begins two seconds later, by a clock that may be a little late."""
    second, _ = raw.time()
    wait_until(lambda: raw.time() > (second + 2, 50_000))


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


def standing_in(tmp_path: Path, persistence: str = "aof", *, waitaof: bool = True) -> tuple[Rig, StandIn]:
    clock = VirtualClock(SECOND)
    standin = StandIn(clock.utc, clock.sleep, persistence, waitaof=waitaof)  # type: ignore[arg-type]
    return Rig(tmp_path / "outbox.sqlite", standin.link(), clock), standin


class TestGaps:
    LONGER: Mapping[str, str] = {**OUTAGE, "to": "2026-11-22T20:00:00.000Z"}

    def gap(self, rig: RealRig) -> dict[str, str]:
        return {str(name): str(value) for name, value in rig.raw.hgetall(f"gap:{SECOND}").items()}

    def test_one_waits_for_its_proof(self, rig: RealRig) -> None:
        rig.outbox.put_gap(SECOND, OUTAGE)
        assert rig.write()
        assert self.gap(rig) == OUTAGE
        assert rig.raw.hgetall("gaps") == {str(SECOND): f"{SECOND + 3600} offline"}
        assert len(rig.outbox.waiting_gaps()) == 1
        rig.write()
        assert rig.outbox.waiting_gaps() == []

    @pytest.mark.parametrize("turns", [0, 1])
    def test_one_that_has_grown_is_written_again_whenever_it_grew(self, rig: RealRig, turns: int) -> None:
        rig.outbox.put_gap(SECOND, OUTAGE)
        rig.write()
        for _ in range(turns):
            rig.write()
        rig.outbox.put_gap(SECOND, self.LONGER)
        for _ in range(3):
            rig.write()
        assert self.gap(rig) == self.LONGER
        assert rig.outbox.waiting_gaps() == []

    def test_also_where_a_proof_takes_its_time(self, fragile: RealRig) -> None:
        fragile.raw.config_set("appendfsync", "no")
        fragile.outbox.put_gap(SECOND, OUTAGE)
        fragile.write()
        fragile.outbox.put_gap(SECOND, self.LONGER)
        fragile.write()
        assert self.gap(fragile) == self.LONGER
        assert len(fragile.outbox.waiting_gaps()) == 1

    def test_it_waits_for_redis_as_plays_do(self, fragile: RealRig, server: EmbeddedServer) -> None:
        server.stop()
        fragile.outbox.put_gap(SECOND, OUTAGE)
        assert not fragile.write()
        fragile.restart()
        start_again(server)
        assert fragile.later(60)
        assert self.gap(fragile) == OUTAGE

    @pytest.mark.parametrize("key", ["gaps", f"gap:{SECOND}"])
    def test_one_that_is_refused_holds_nothing_up(self, rig: RealRig, key: str) -> None:
        rig.raw.set(key, "somebody was here")
        rig.outbox.put_gap(SECOND, OUTAGE)
        assert not rig.write(over("A"))
        assert rig.heard() == {0: "track:A 30000"}
        rig.raw.delete(key)
        assert rig.later(REFUSED_RETRY)
        assert self.gap(rig) == OUTAGE
        assert rig.raw.exists("gaps")


class TestForgetful:
    """A server that comes back with less than it had is given what it lacks."""

    def test_killed_before_the_proof_it_is_given_again_what_it_lost(
        self, fragile: RealRig, server: EmbeddedServer, tmp_path: Path
    ) -> None:
        fragile.raw.config_set("appendfsync", "no")
        fragile.write(over("A"))
        with lost_since(server, tmp_path):
            fragile.write(over("B", 30), play("C", 60), shown=play("C", 60))
        assert fragile.heard() == {0: "track:A 30000"}
        assert fragile.write(play("C", 60, 40), shown=play("C", 60))
        assert fragile.heard() == {0: "track:A 30000", 30: "track:B 30000", 60: "track:C 40000"}
        assert fragile.kept(30)["end_reason"] == "skipped"
        assert fragile.raw.hget("track:B", "name") == "B"
        assert fragile.raw.get("now_playing") == f"listening:{SECOND + 60}"

    @pytest.mark.parametrize("restarted", [False, True])
    def test_restored_from_an_old_copy_it_is_given_again_what_was_safe(
        self, fragile: RealRig, server: EmbeddedServer, tmp_path: Path, *, restarted: bool
    ) -> None:
        fragile.raw.config_set("appendfsync", "always")
        fragile.write(over("A"), play("B", 30))
        fragile.write()
        with lost_since(server, tmp_path):
            fragile.write(over("B", 30, 60), over("C", 90), over("D", 90.5))
            fragile.write()
            assert len(fragile.outbox) == 0
        assert fragile.heard() == {0: "track:A 30000", 30: "track:B 30000"}
        if restarted:
            fragile.restart()
            fragile.recorder.load()
        fragile.line.written()
        assert fragile.later(60)
        assert fragile.heard() == {
            0: "track:A 30000",
            30: "track:B 60000",
            90: "track:C 30000",
            91: "track:D 30000",
        }
        assert fragile.kept(30)["end_reason"] == "skipped"
        assert fragile.line.written() == [30, 90, 91]

    def test_one_that_has_forgotten_all_is_given_the_newest_five_hundred(
        self, fragile: RealRig, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outbox_room, "KEPT", 50)
        fragile.raw.config_set("appendfsync", "always")
        fragile.write(*[over(f"P{number}", number) for number in range(60)])
        fragile.write()
        fragile.raw.flushall()
        server.stop()
        start_again(server)
        assert fragile.later(60)
        assert list(fragile.heard()) == list(range(10, 60))

    def test_one_that_has_all_is_given_nothing(self, fragile: RealRig, server: EmbeddedServer) -> None:
        fragile.raw.config_set("appendfsync", "always")
        fragile.write(over("A"), over("B", 30))
        fragile.write()
        server.stop()
        start_again(server)
        fragile.line.written()
        assert fragile.later(60)
        assert fragile.line.written() == []

    def test_flushed_without_a_restart_it_is_left_as_it_is(self, rig: RealRig) -> None:
        rig.write(over("A"))
        rig.write()
        rig.raw.flushall()
        rig.raw.client_kill_filter(_type="normal", skipme=True)
        assert rig.later(60)
        assert rig.heard() == {}

    def test_it_is_given_the_gaps_again_too(
        self, fragile: RealRig, server: EmbeddedServer, tmp_path: Path
    ) -> None:
        fragile.raw.config_set("appendfsync", "always")
        fragile.write(over("A"))
        with lost_since(server, tmp_path):
            fragile.outbox.put_gap(SECOND, OUTAGE)
            fragile.write()
            fragile.write()
            assert fragile.outbox.waiting_gaps() == []
        assert fragile.store.gaps() == []
        assert fragile.later(60)
        assert len(fragile.store.gaps()) == 1

    def test_what_it_lacks_is_remembered_though_this_process_dies_before_it_is_given(
        self, fragile: RealRig, server: EmbeddedServer
    ) -> None:
        fragile.raw.config_set("appendfsync", "always")
        fragile.write(over("A"))
        fragile.write()
        fragile.raw.flushall()
        server.stop()
        start_again(server)
        fragile.line.before = failing_at("HSET")
        assert not fragile.later(60)
        fragile.restart()
        fragile.line.before = lambda _: None
        assert fragile.later(60)
        assert fragile.heard() == {0: "track:A 30000"}

    def test_a_power_failure_takes_the_last_second(self, tmp_path: Path) -> None:
        rig, standin = standing_in(tmp_path)
        rig.write(over("A"))
        rig.later(1.5)
        rig.write(over("B", 30))
        standin.crash()
        assert not rig.later(5)
        standin.restart()
        assert rig.later(60)
        assert list(rig.store.index(day())) == [SECOND, SECOND + 30]
        rig.close()

    def test_what_is_given_again_comes_after_the_power_failed_once_more(self, tmp_path: Path) -> None:
        rig, standin = standing_in(tmp_path, "none")
        for number in range(3):
            rig.write(over(f"P{number}", 30 * number))
            rig.later(1)
            standin.restart()
        assert rig.later(60)
        assert list(rig.store.index(day())) == [SECOND, SECOND + 30, SECOND + 60]
        rig.close()


class TestImported:
    def test_what_others_brought_is_known_while_redis_is_there(
        self, fragile: RealRig, server: EmbeddedServer
    ) -> None:
        fragile.write(over("A"))
        brought = replace(over("B", 30), source="import")
        early = replace(over("C", -90_000), source="import")
        with fragile.store.batch() as batch:
            for play in (brought, early):
                batch.write_play(play.second, play.to_hash(), play.index)
        assert [play.item.uri for play in fragile.recorder.imported(SECOND * 1000)] == ["spotify:track:B"]
        server.stop()
        assert fragile.recorder.imported(SECOND * 1000) == []
        start_again(server)


class TestForgotten:
    """What somebody wanted to be forgotten stays away, whatever the outbox still has of it."""

    def forget(self, rig: RealRig, *seconds: int) -> None:
        """As the command does it."""
        rig.raw.hset("forgotten", mapping={str(SECOND + each): SECOND + each + 30 for each in seconds})
        rig.raw.delete(*(f"listening:{SECOND + each}" for each in seconds))
        rig.raw.hdel(INDEX, *(str(SECOND + each) for each in seconds))

    @pytest.mark.parametrize("restarted", [False, True])
    def test_a_server_that_lost_something_is_not_given_it_again(
        self, fragile: RealRig, server: EmbeddedServer, *, restarted: bool
    ) -> None:
        fragile.raw.config_set("appendfsync", "always")
        fragile.write(over("A"), over("B", 30), over("C", 60))
        fragile.write()
        self.forget(fragile, 0, 60)
        fragile.raw.delete(f"listening:{SECOND + 30}", INDEX)
        server.stop()
        start_again(server)
        if restarted:
            fragile.restart()
            fragile.recorder.load()
        assert fragile.later(60)
        assert fragile.heard() == {30: "track:B 30000"}
        assert fragile.raw.keys("listening:*") == [f"listening:{SECOND + 30}"]

    def test_nor_one_that_has_lost_what_was_forgotten_too(
        self, fragile: RealRig, server: EmbeddedServer
    ) -> None:
        fragile.raw.config_set("appendfsync", "always")
        fragile.write(over("A"), over("B", 30))
        fragile.write()
        self.forget(fragile, 0)
        assert fragile.recorder.forgotten() == {SECOND: SECOND + 30}
        fragile.raw.flushall()
        server.stop()
        start_again(server)
        fragile.restart()
        assert fragile.later(60)
        assert fragile.heard() == {30: "track:B 30000"}
        assert fragile.raw.hgetall("forgotten") == {str(SECOND): str(SECOND + 30)}

    def test_what_was_not_yet_safe_is_not_sent_over_the_next_connection(self, rig: RealRig) -> None:
        rig.raw.config_set("appendfsync", "no")
        rig.write(over("A"), over("B", 30))
        self.forget(rig, 0)
        rig.raw.client_kill_filter(_type="normal", skipme=True)
        assert rig.later(60)
        assert rig.heard() == {30: "track:B 30000"}
        assert rig.waiting() == [30]

    def test_a_newer_state_is_not_sent_though_nothing_broke(self, rig: RealRig) -> None:
        rig.write(over("A"))
        rig.write()
        self.forget(rig, 0)
        assert rig.write(over("A", heard=60), over("B", 90))
        assert rig.heard() == {90: "track:B 30000"}
        assert rig.kept() == {}

    def test_another_process_does_not_go_on_with_it(self, rig: RealRig) -> None:
        rig.write(over("A"), over("B", 30), at=60)
        rig.write()
        self.forget(rig, 30)
        rig.restart()
        assert (rig.recorder.load() or [None])[0] == over("A")

    def test_nor_does_one_with_a_new_state_folder(self, rig: RealRig) -> None:
        """The command was ended between its writes."""
        rig.write(over("A"), over("B", 30), at=60)
        rig.raw.hset("forgotten", str(SECOND + 30), SECOND + 60)
        rig.path = rig.path.with_name("new.sqlite")
        rig.restart()
        newest, *_ = rig.recorder.load() or [None]
        assert newest is not None
        assert newest.second == SECOND
        assert rig.outbox.is_forgotten(over("B", 30))

    def test_its_second_is_given_to_no_other(self, rig: RealRig) -> None:
        rig.write(over("A"))
        rig.write()
        self.forget(rig, 0)
        rig.path = rig.path.with_name("new.sqlite")
        rig.restart()
        rig.recorder.load()
        assert rig.write(over("B", 0.5))
        assert rig.heard() == {1: "track:B 30000"}

    def test_what_the_catalogue_knew_comes_again_with_the_next_play_of_it(self, rig: RealRig) -> None:
        rig.write(over("A"))
        rig.write()
        self.forget(rig, 0)
        rig.raw.delete("track:A")
        rig.write(play("A", 300), shown=play("A", 300))
        assert rig.raw.hgetall("track:A") == {"name": "A", "album": "Discovery"}
        assert rig.kept(300)["name"] == "A"

    def test_while_redis_is_away_what_was_known_counts(
        self, fragile: RealRig, server: EmbeddedServer
    ) -> None:
        fragile.write(over("A"))
        self.forget(fragile, 0)
        fragile.recorder.forgotten()
        server.stop()
        assert fragile.recorder.forgotten() == {SECOND: SECOND + 30}
        assert "Redis at" in fragile.recorder.trouble
        fragile.restart()
        assert fragile.recorder.forgotten() == {SECOND: SECOND + 30}

    def test_nothing_is_read_again_while_nothing_changes(self, rig: RealRig) -> None:
        rig.write(over("A"))
        self.forget(rig, 0)
        rig.write(over("B", 30))
        rig.line.trips.clear()
        for number in range(3):
            rig.write(over("C", 60 + 30 * number))
        asked = [command for trip in rig.line.trips for command in trip if command[1:2] == ("forgotten",)]
        assert set(asked) == {("HLEN", "forgotten")}


def day() -> date:
    return date(2026, 11, 22)


@contextmanager
def lost_since(server: EmbeddedServer, tmp_path: Path) -> Iterator[None]:
    """The server is killed at the end of the block, and comes back with what it had before it."""
    folder, copy = tmp_path / "redis" / "appendonlydir", tmp_path / "copy"
    shutil.copytree(folder, copy)
    yield
    kill(server)
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    start_again(server)


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


@pytest.fixture
def sick(server: EmbeddedServer, tmp_path: Path) -> Iterator[Sick]:
    sick = Sick(server, tmp_path / "redis")
    yield sick
    with suppress(ProcessLookupError):
        os.kill(server.pid or 0, signal.SIGCONT)
    sick.close()


class TestRefusing:
    @pytest.mark.parametrize(
        ("ill", "words"),
        [
            ("down", "cannot be reached (Connection refused): is it running, and REDIS_URL right?"),
            ("killed", "cannot be reached (Connection refused): is it running, and REDIS_URL right?"),
            ("hanging", "does not answer in time: it hangs, is overloaded, or REDIS_URL is wrong"),
            ("READONLY", "is a read-only replica: let REDIS_URL point to the primary"),
            ("OOM", "has no memory left (maxmemory): raise it, or free some"),
            (
                "MISCONF",
                "cannot save to its disk and takes no writes: free disk space, and look into its log",
            ),
            ("NOPERM", "refuses this user: its ACL has to allow the command, on keys that begin with"),
            ("NOAUTH", "wants a password: put it into REDIS_URL, redis://:password@host"),
        ],
    )
    def test_polling_goes_on_nothing_is_lost_and_two_lines_are_said(
        self, fragile: RealRig, sick: Sick, capsys: pytest.CaptureFixture[str], ill: str, words: str
    ) -> None:
        fragile.write(play("A"), shown=play("A"))
        fragile.write(play("A", heard=40), shown=play("A"))
        sick.fall(ill)
        fragile.line.written()
        results = [fragile.write(play("A", heard=45), shown=play("A"))]
        fragile.clock.sleep(1)
        results.append(fragile.write(over("A", heard=60), play("B", 60), shown=play("B", 60)))
        fragile.clock.sleep(30)
        results.append(fragile.write(over("B", 60, 5), over("C", 65), over("D", 95), play("E", 125)))
        fragile.clock.sleep(60)
        results.append(fragile.write(play("E", 125, 60), shown=play("E", 125)))
        assert results == [False] * 4
        assert words in fragile.recorder.trouble
        assert fragile.waiting() == [0, 60, 65, 95, 125]
        assert len(fragile.outbox) == 4
        sick.recover(ill)
        fragile.line.written()
        assert fragile.later(60)
        assert fragile.line.written() == [0, 60, 65, 95, 125]
        assert fragile.heard() == {
            0: "track:A 60000",
            60: "track:B 5000",
            65: "track:C 30000",
            95: "track:D 30000",
            125: "track:E 60000",
        }
        assert [fragile.kept(key).get("end_reason") for key in fragile.heard()] == [*["skipped"] * 4, None]
        assert fragile.recorder.trouble == ""
        gone, back = lines(capsys)
        assert words in gone
        assert gone.endswith("(plays wait in the outbox, the next try is in 1 s)")
        assert back == IS_BACK

    def test_while_it_is_loading(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Stand-in: a real server is done with so little at once; the words are a real one's (test_link)."""
        rig, standin = standing_in(tmp_path)
        rig.write(play("A"))
        standin.refusing = "LOADING"
        for second in range(1, 60):
            rig.clock.sleep(1)
            assert not rig.write(play("A", heard=30 + second))
        assert not rig.write(over("A", heard=90), over("B", 90))
        standin.refusing = ""
        assert rig.later(60)
        assert [heard for _, heard in rig.store.index(day()).values()] == [90_000, 30_000]
        gone, back = lines(capsys)
        assert "is still loading its data: it answers when that is done" in gone
        assert back == IS_BACK
        rig.close()

    def test_what_it_says_changes_with_what_is_wrong(
        self, fragile: RealRig, sick: Sick, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sick.fall("OOM")
        for second in range(0, 300, 60):
            assert not fragile.write(over(f"P{second}", second), at=second)
            fragile.clock.sleep(60)
        sick.fall("READONLY")
        assert not fragile.write()
        sick.recover("READONLY")
        sick.recover("OOM")
        assert fragile.later(60)
        out_of_memory, replica, back = lines(capsys)
        assert "has no memory left" in out_of_memory
        assert "is a read-only replica" in replica
        assert back == IS_BACK

    def test_it_is_asked_more_and_more_seldom(self, fragile: RealRig, sick: Sick) -> None:
        fragile.write(play("A"))
        sick.fall("hanging")
        tried = []
        for second in range(12):
            if fragile.tries(lambda: fragile.write(play("A", heard=60))):
                tried.append(second)
            fragile.clock.sleep(1)
        assert tried == [0, 1, 3, 7]
        sick.recover("hanging")
        assert fragile.later(60)
        assert fragile.heard() == {0: "track:A 60000"}

    def test_once_it_was_there_again_the_waits_begin_anew(
        self, fragile: RealRig, server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for _ in range(2):
            server.stop()
            assert not fragile.write(play("A"))
            fragile.clock.sleep(1)
            assert not fragile.write()
            start_again(server)
            fragile.clock.sleep(2)
            assert fragile.write()
        gone = [line for line in lines(capsys) if "plays wait" in line]
        assert [line.partition("the next try is in ")[2] for line in gone] == ["1 s)", "1 s)"]

    def test_it_may_die_at_any_moment_of_a_turn(self, fragile: RealRig, server: EmbeddedServer) -> None:
        """A server that is killed between two questions of a turn, or after it took what was written."""
        fragile.raw.config_set("appendfsync", "always")
        deaths = 0
        expected = {}
        for moment in range(99):
            fragile.line.trips.clear()
            name, start = f"P{moment}", 30 * moment
            expected[start] = f"track:{name} 30000"
            after = kill_at(fragile, server, moment // 2)
            setattr(fragile.line, "after" if moment % 2 else "before", after)
            fragile.write(over(name, start))
            if server.alive:
                break
            deaths += 1
            fragile.line.before = fragile.line.after = lambda _: None
            start_again(server)
            assert fragile.later(60)
            assert fragile.heard() == expected
        assert deaths >= 6

    def test_a_server_that_takes_the_write_and_does_not_say_so(self, tmp_path: Path) -> None:
        """Stand-in: a real server answers, or is dead."""
        rig, standin = standing_in(tmp_path)
        rig.write(play("A"))
        standin.deaf_after_write = 2
        assert not rig.write(over("A", heard=60), play("B", 60))
        assert not rig.later(60)
        assert rig.later(60)
        assert [heard for _, heard in rig.store.index(day()).values()] == [60_000, 30_000]
        rig.close()


def kill_at(rig: RealRig, server: EmbeddedServer, trip: int) -> Callable[[Sequence[Command]], None]:
    """Kills the server at a round trip of a turn."""

    def act(_: Sequence[Command]) -> None:
        if len(rig.line.trips) == trip + 1:
            kill(server)

    return act


class TestWrongType:
    """A key that holds something else keeps nothing but what belongs there from being written."""

    @pytest.mark.parametrize("key", ["track:A", INDEX])
    def test_the_others_are_written_meanwhile(
        self, rig: RealRig, capsys: pytest.CaptureFixture[str], key: str
    ) -> None:
        rig.raw.set(key, "somebody was here")
        assert not rig.write(over("A"), over("B", 86_400), play("C", 86_430))
        assert key in rig.recorder.trouble
        assert rig.kept()["name"] == "A"
        assert rig.kept(86_400)["name"] == "B"
        assert rig.kept(86_430)["name"] == "C"
        assert not rig.write(over("C", 86_430), over("D", 86_460))
        assert rig.kept(86_460)["name"] == "D"
        for _ in range(3):
            assert not rig.later(REFUSED_RETRY)
        assert len(rig.outbox) == 1
        rig.raw.delete(key)
        assert rig.later(REFUSED_RETRY)
        assert rig.heard() == {0: "track:A 30000"}
        assert rig.raw.hget("track:A", "name") == "A"
        assert rig.later(1)
        assert len(rig.outbox) == 0
        gone, back = lines(capsys)
        assert gone.endswith(f"or set REDIS_PREFIX ({key}) (the rest is written)")
        assert back == IS_BACK

    def test_it_is_not_tried_again_at_every_turn(self, rig: RealRig) -> None:
        rig.raw.set("track:A", "somebody was here")
        rig.write(over("A"))
        rig.line.written()
        rig.later(REFUSED_RETRY - 1)
        assert rig.line.written() == []
        rig.later(1)
        assert rig.line.written() == [0]

    def test_the_open_play_whose_key_somebody_took_moves_on_when_it_is_over(self, rig: RealRig) -> None:
        rig.write(play("A"))
        rig.raw.delete(f"listening:{SECOND}")
        rig.raw.set(f"listening:{SECOND}", "somebody was here")
        assert not rig.write(play("A", heard=40), shown=play("A"))
        assert f"listening:{SECOND}" in rig.recorder.trouble
        assert rig.write(over("A", heard=60), play("B", 60))
        assert rig.kept(1)["ms_played"] == "60000"
        assert rig.kept(60)["name"] == "B"
        assert rig.recorder.trouble == ""

    def test_one_that_moved_on_after_a_refusal_is_no_trouble_any_more(self, rig: RealRig) -> None:
        rig.raw.set("track:A", "somebody was here")
        assert not rig.write(over("A"))
        rig.raw.delete("track:A", f"listening:{SECOND}")
        rig.raw.set(f"listening:{SECOND}", "somebody was here, too")
        assert rig.later(REFUSED_RETRY)
        assert rig.recorder.trouble == ""
        assert rig.kept(1)["name"] == "A"

    def test_the_status_itself(self, rig: RealRig, capsys: pytest.CaptureFixture[str]) -> None:
        rig.raw.set(STATUS, "somebody was here")
        assert not rig.write(over("A"), play("B", 30))
        for second in range(1, 10):
            assert not rig.write(play("B", 30, 30 + second))
            rig.clock.sleep(1)
        assert rig.heard() == {0: "track:A 30000", 30: "track:B 39000"}
        assert len(rig.outbox) == 0
        rig.raw.delete(STATUS)
        assert rig.write(play("B", 30, 40))
        assert len(lines(capsys)) == 2

    def test_now_playing(self, rig: RealRig) -> None:
        rig.raw.lpush("now_playing", "somebody was here")
        assert rig.write(play("A"), shown=play("A"))
        assert rig.raw.get("now_playing") == f"listening:{SECOND}"


class TestCatchUp:
    COUNT = 5000

    def test_after_a_long_outage_in_portions_and_in_order(self, rig: RealRig, server: EmbeddedServer) -> None:
        rig.outbox.put([over(f"P{number:04}", number) for number in range(self.COUNT)])
        rig.restart()
        assert rig.write(play("now", self.COUNT), shown=play("now", self.COUNT))
        portions = [found for commands in rig.line.trips if (found := written(commands))]
        assert [len(portion) for portion in portions] == [*[TOGETHER] * 25, 1]
        assert [key for portion in portions for key in portion] == list(range(self.COUNT + 1))
        assert list(rig.heard()) == list(range(self.COUNT + 1))
        assert rig.raw.hget(STATUS, "outbox") == str(self.COUNT)
        assert rig.write()
        assert len(rig.outbox) == 0

    def test_what_does_not_fit_into_a_turn_goes_with_the_next(self, rig: RealRig) -> None:
        rig.outbox.put([over(f"P{number:04}", number) for number in range(4 * TOGETHER)])
        rig.line.after = lambda commands: rig.clock.sleep(0.6 * LONGEST_CATCH_UP if written(commands) else 0)
        assert rig.write(play("now", 9000))
        assert list(rig.heard()) == [*range(3 * TOGETHER), 9000]
        assert rig.write(play("now", 9000, 60))
        assert list(rig.heard()) == [*range(4 * TOGETHER), 9000]

    def test_one_that_breaks_off_goes_on_where_it_was(self, fragile: RealRig) -> None:
        fragile.raw.config_set("appendfsync", "always")
        fragile.outbox.put([over(f"P{number:04}", number) for number in range(3 * TOGETHER)])
        fragile.line.before = lambda commands: (
            failing_at("HSET")(commands) if TOGETHER in written(commands) else None
        )
        assert not fragile.write()
        assert list(fragile.heard()) == list(range(TOGETHER))
        fragile.line.before = lambda _: None
        assert fragile.later(60)
        assert list(fragile.heard()) == list(range(3 * TOGETHER))

    def test_a_server_that_refuses_all_is_not_given_all(
        self, fragile: RealRig, sick: Sick, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fragile.outbox.put([over(f"P{number:04}", number) for number in range(3 * TOGETHER)])
        sick.fall("OOM")
        for _ in range(3):
            assert not fragile.later(60)
        assert fragile.line.written() == [*range(TOGETHER)] * 3
        sick.recover("OOM")
        assert fragile.later(60)
        assert fragile.line.written() == list(range(3 * TOGETHER))
        assert len(lines(capsys)) == 2

    def test_what_waits_for_its_proof_is_not_read_again_and_again(
        self, fragile: RealRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fragile.raw.config_set("appendonly", "no")
        fragile.outbox.put([over(f"P{number:04}", number) for number in range(3 * TOGETHER)])
        fragile.write()
        read = []
        row = outbox_room._row
        monkeypatch.setattr(outbox_room, "_row", lambda *of: read.append(of) or row(*of))  # type: ignore[func-returns-value]
        fragile.write(play("now", 9000))
        assert len(read) <= 1


class TestKeys:
    def test_plays_whose_seconds_are_taken_go_to_the_next_free_ones_and_stay_there(
        self, rig: RealRig
    ) -> None:
        rig.raw.hset(f"listening:{SECOND}", mapping={"started_at": "2026-11-22T18:00:00.500Z", "uri": "x"})
        rig.raw.set(f"listening:{SECOND + 2}", "no play at all")
        rig.write(play("A", 0, 1))
        rig.write(over("A", 0, 1), play("B", 1, 1))
        assert rig.write(play("B", 1, 7))
        assert rig.heard() == {1: "track:A 1000", 3: "track:B 7000"}
        assert rig.kept()["uri"] == "x"
        assert rig.kept(1)["name"] == "A"
        assert rig.kept(3)["name"] == "B"

    @pytest.mark.parametrize("dies", ["before", "after"])
    def test_another_process_knows_them_whether_redis_heard_of_them_or_not(
        self, rig: RealRig, dies: str
    ) -> None:
        rig.raw.hset(f"listening:{SECOND}", mapping={"started_at": "2026-11-22T18:00:00.500Z", "uri": "x"})
        setattr(rig.line, dies, failing_at("HSET"))
        assert not rig.write(over("A", 0, 30), over("B", 0.5, 1))
        assert rig.waiting() == [1, 2]
        rig.restart()
        rig.line.before = rig.line.after = lambda _: None
        assert rig.waiting() == [1, 2]
        assert rig.later(60)
        assert rig.heard() == {1: "track:B 1000", 2: "track:A 30000"}

    def test_a_second_that_waits_on_the_disk_is_taken_too(self, rig: RealRig) -> None:
        rig.raw.set(f"listening:{SECOND}", "no play at all")
        rig.write(over("A"), over("B", 1), over("C", 2))
        assert rig.heard() == {1: "track:B 30000", 2: "track:C 30000", 3: "track:A 30000"}

    def test_a_play_of_redis_that_is_not_here_is_not_written_over(self, rig: RealRig) -> None:
        rig.write(over("A"))
        rig.write()
        other = RealRig(rig.path.with_name("other.sqlite"), f"redis://{rig.line.where}/0")
        other.write(over("B", 0.5))
        assert other.heard() == {0: "track:A 30000", 1: "track:B 30000"}
        other.close()


class TestNowPlaying:
    def test_it_names_the_open_play_until_a_while_after_the_next_answer_is_due(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"), due=5)
        assert rig.raw.get("now_playing") == f"listening:{SECOND}"
        assert 0 < int(rig.raw.pttl("now_playing")) <= (5 + NOW_PLAYING_GRACE) * 1000

    def test_it_is_refreshed_even_where_the_play_did_not_change(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"), due=5)
        rig.write(shown=play("A"), due=600)
        assert int(rig.raw.pttl("now_playing")) > 600_000

    def test_it_expires(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"), due=0.05 - NOW_PLAYING_GRACE)
        wait_until(lambda: rig.raw.get("now_playing") is None)

    def test_it_names_the_key_that_the_play_really_has(self, rig: RealRig) -> None:
        rig.raw.set(f"listening:{SECOND}", "no play at all")
        rig.write(play("A"), shown=play("A"))
        assert rig.raw.get("now_playing") == f"listening:{SECOND + 1}"

    def test_it_is_cleared_when_the_play_is_over(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"))
        rig.write(play("A", reason="stopped"))
        assert rig.raw.get("now_playing") is None

    def test_it_is_cleared_once_and_then_left_alone(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"))
        rig.write(play("A", reason="stopped"))
        rig.raw.set("now_playing", "somebody else's")
        rig.write()
        assert rig.raw.get("now_playing") == "somebody else's"

    def test_also_when_the_play_was_another_process_s(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"), due=600)
        rig.restart()
        rig.recorder.load()
        rig.write(play("A", reason="stopped"))
        assert rig.raw.get("now_playing") is None

    def test_also_when_redis_was_away_just_then(self, fragile: RealRig) -> None:
        fragile.write(play("A"), shown=play("A"), due=600)
        fragile.line.before = failing_at("HSET")
        assert not fragile.write(play("A", reason="stopped"))
        fragile.line.before = lambda _: None
        assert fragile.later(60)
        assert fragile.raw.get("now_playing") is None

    def test_the_next_play_takes_over(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"))
        rig.write(over("A"), play("B", 30), shown=play("B", 30))
        assert rig.raw.get("now_playing") == f"listening:{SECOND + 30}"

    def test_an_answer_that_says_nothing_leaves_it_to_expire(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"))
        rig.write()
        assert rig.raw.get("now_playing") == f"listening:{SECOND}"


class TestLoading:
    """Where another process stopped, as the disk and Redis know it, whoever knows it better."""

    def other(self, rig: RealRig) -> RealRig:
        """A process with a state folder of its own, in front of the same server."""
        return RealRig(rig.path.with_name("other.sqlite"), f"redis://{rig.line.where}/0")

    def test_nothing_is_there(self, rig: RealRig) -> None:
        assert not rig.recorder.knows_past
        assert rig.recorder.load() == (None, "", {})
        assert rig.recorder.knows_past

    def test_the_newest_play_what_the_tracker_knew_and_the_status(self, rig: RealRig) -> None:
        rig.write(over("A"), play("B", 30), at=60)
        rig.restart()
        loaded = rig.recorder.load()
        assert loaded is not None
        newest, told, status = loaded
        assert newest == play("B", 30)
        assert told == memory(60, play("B", 30))
        assert status["state"] == "well"

    def test_it_is_away_and_nothing_is_on_the_disk(
        self, fragile: RealRig, server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.stop()
        assert fragile.recorder.load() is None
        assert not fragile.recorder.knows_past
        assert not fragile.tries(fragile.recorder.load)
        assert not fragile.tries(fragile.write)
        start_again(server)
        fragile.clock.sleep(1)
        assert fragile.recorder.load() == (None, "", {})
        assert len(lines(capsys)) == 2

    def test_it_is_away_and_the_disk_knows(self, fragile: RealRig, server: EmbeddedServer) -> None:
        fragile.write(play("A", heard=0), at=0)
        server.stop()
        fragile.clock.sleep(40)
        assert not fragile.write(play("A", heard=40), at=40)
        fragile.restart()
        assert fragile.recorder.knows_past
        assert fragile.recorder.load() == (play("A", heard=40), memory(40, play("A", heard=40)), {})
        assert not fragile.write(over("A", heard=60), play("B", 60))
        start_again(server)
        assert fragile.later(60)
        assert fragile.heard() == {0: "track:A 60000", 60: "track:B 30000"}

    def test_redis_knows_more_of_the_open_play(self, rig: RealRig) -> None:
        rig.write(play("A", heard=0), at=0)
        rig.write(play("A", heard=50), at=50)
        rig.restart()
        loaded = rig.recorder.load()
        assert loaded is not None
        assert loaded[:2] == (play("A", heard=50), memory(50, play("A", heard=50)))

    def test_the_disk_knows_more_than_redis(self, fragile: RealRig) -> None:
        fragile.write(play("A", heard=0), at=0)
        fragile.line.before = failing_at("HSET")
        assert not fragile.write(over("A", heard=60), play("B", 60), at=60)
        fragile.restart()
        fragile.line.before = lambda _: None
        loaded = fragile.recorder.load()
        assert loaded is not None
        assert loaded[:2] == (play("B", 60), memory(60, play("B", 60)))
        assert fragile.write()
        assert fragile.heard() == {0: "track:A 60000", 60: "track:B 30000"}

    def test_redis_has_lost_everything(self, rig: RealRig) -> None:
        rig.write(over("A"), play("B", 30), at=60)
        rig.raw.flushall()
        rig.restart()
        loaded = rig.recorder.load()
        assert loaded == (play("B", 30), memory(60, play("B", 30)), {})

    def test_the_disk_has_lost_everything(self, rig: RealRig) -> None:
        rig.raw.set(f"listening:{SECOND}", "somebody was here")
        rig.write(over("A"), play("B", 30), at=60)
        rig.write(play("B", 30, 60), at=90)
        other = self.other(rig)
        loaded = other.recorder.load()
        assert loaded is not None
        newest, told, _ = loaded
        assert newest is not None
        assert (newest.second, newest.heard_ms, told) == (SECOND + 30, 60_000, memory(90, play("B", 30, 60)))
        assert [kept.item.key for kept in other.outbox.kept()] == ["track:A", "track:B"]
        assert other.outbox.key(over("A")) == SECOND + 1
        other.line.written()
        assert other.write(replace(newest, ended_ms=newest.ended_ms + 9000, end_reason="skipped"))
        assert other.line.written() == [30]
        assert rig.kept(30)["end_reason"] == "skipped"
        assert rig.kept(30)["name"] == "B"
        assert rig.raw.hget("track:B", "album") == "Discovery"
        other.close()

    @pytest.mark.parametrize("told", ["", "{", "7", '{"answered": "soon"}', '{"answered": null}'])
    def test_what_makes_no_sense_is_not_newer(self, rig: RealRig, told: str) -> None:
        rig.write(play("A", heard=0), at=0)
        rig.write(play("A", heard=50), at=50)
        rig.raw.hset(STATUS, "tracker", told)
        rig.restart()
        loaded = rig.recorder.load()
        assert loaded is not None
        assert loaded[:2] == (play("A", heard=0), memory(0, play("A", heard=0)))

    def test_a_repaired_play_is_not_the_one_to_go_on_with(self, rig: RealRig) -> None:
        repaired = replace(play("X", 20, 5, reason="unknown"), source="backfill")
        rig.write(play("A", heard=10), at=10)
        rig.write(repaired, at=40)
        rig.write(play("A", heard=60), at=60)
        for process in (rig, self.other(rig)):
            process.restart()
            loaded = process.recorder.load()
            assert loaded is not None
            assert loaded[0] is not None
            assert (loaded[0].item.key, loaded[0].heard_ms) == ("track:A", 60_000)
        process.close()

    @pytest.mark.parametrize("is_latest", [True, False])
    def test_an_older_state_of_another_process_does_not_write_over_a_newer_one(
        self, rig: RealRig, *, is_latest: bool
    ) -> None:
        """The disk failed while Redis was told: what it has of the play is its beginning."""
        rig.write(play("A", heard=0), at=0)
        other = self.other(rig)
        other.recorder.load()
        other.write(over("A", heard=60), at=60)
        if not is_latest:
            rig.outbox.put([play("B", 60)], {"tracker": memory(90, play("B", 60))})
        rig.restart()
        assert rig.recorder.load()
        for _ in range(3):
            rig.write()
        assert rig.heard()[0] == "track:A 60000"
        assert rig.kept()["end_reason"] == "skipped"
        assert over("A", heard=60) in rig.outbox.kept()
        assert len(rig.outbox) == 0
        other.close()

    def test_nor_does_one_that_was_heard_for_less(self, rig: RealRig) -> None:
        rig.write(play("A", heard=0), at=0)
        rig.write(play("A", heard=50), at=50)
        rig.outbox.put([play("B", 60)], {"tracker": memory(90, play("B", 60))})
        rig.restart()
        rig.recorder.load()
        for _ in range(2):
            rig.write()
        assert rig.heard() == {0: "track:A 50000", 60: "track:B 30000"}

    def test_one_that_is_over_on_the_disk_is_newer_than_an_open_one(self, rig: RealRig) -> None:
        rig.write(play("A", heard=50), at=50)
        rig.line.before = failing_at("HSET")
        assert not rig.write(over("A", heard=40), at=60)
        rig.restart()
        rig.line.before = lambda _: None
        rig.recorder.load()
        assert rig.write()
        assert rig.heard() == {0: "track:A 40000"}
        assert rig.kept()["end_reason"] == "skipped"

    def test_what_is_remembered_of_this_process_is_bounded(
        self, rig: RealRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recorder_room, "REMEMBERED", 10)
        for number in range(30):
            rig.add(over(f"P{number}", number))
        assert len(rig.recorder._own) == 10
        assert rig.write()
        assert len(rig.heard()) == 30


class Died(BaseException):
    """The process is gone; nothing of it may catch this."""


class Fate:
    """Lets a process die at one of the moments before and after each write, be it to the disk or to Redis."""

    def __init__(self, moment: int) -> None:
        self.left = moment
        fate = self

        class Connection(sqlite3.Connection):
            def commit(self) -> None:
                fate.pass_by()
                super().commit()
                fate.pass_by()

        self.kind = Connection

    def connect(self, name: str) -> sqlite3.Connection:
        return sqlite3.connect(name, isolation_level=None, factory=self.kind)

    def look(self, commands: Sequence[Command]) -> None:
        if any(command[0] == "HSET" for command in commands):
            self.pass_by()

    def pass_by(self) -> None:
        self.left -= 1
        if self.left == -1:
            raise Died


class TestRestart:
    """Whenever the process dies, the next one makes the same plays of it."""

    STEPS: tuple[tuple[Play, ...], ...] = (
        (play("A", 0, 0),),
        (play("A", 0, 30),),
        (over("A", 0, 60), play("B", 60, 0)),
        (over("B", 60, 45), over("C", 105, 1), play("D", 105.5, 0)),
        (play("D", 105.5, 30, reason="trackdone"),),
    )
    """Plays as the tracker finds them, one answer after the other."""
    EXPECTED: Mapping[int, str] = {
        0: "track:A 60000 skipped",
        60: "track:B 45000 skipped",
        105: "track:C 1000 skipped",
        106: "track:D 30000 trackdone",
    }

    def live(self, rig: RealRig) -> None:
        """Go on where the process before stopped, as its memory tells."""
        loaded = rig.recorder.load()
        assert loaded is not None
        told = loaded[1]
        answered = json.loads(told)["answered"] // 1000 - SECOND if told else -1
        for at, plays in enumerate(self.STEPS):
            if at > answered:
                rig.write(*plays, at=at)

    @pytest.mark.parametrize("part", [0, 1])
    def test_it_may_die_at_any_write(self, rig: RealRig, part: int) -> None:
        for moment in range(part, 200, 2):
            rig.raw.flushall()
            rig.path = rig.path.with_name(f"{moment}.sqlite")
            fate = Fate(moment)
            rig.restart(fate.connect)
            rig.line.before = rig.line.after = fate.look
            with suppress(Died):
                self.live(rig)
            rig.line.before = rig.line.after = lambda _: None
            rig.restart()
            self.live(rig)
            rig.write()
            found = {key: f"{row} {rig.kept(key).get('end_reason')}" for key, row in rig.heard().items()}
            assert (moment, found) == (moment, self.EXPECTED)
            assert rig.outbox.kept()[-1].end_reason == "trackdone"
            if fate.left >= 0:  # it lived to the end
                break
        assert 20 < moment < 100
