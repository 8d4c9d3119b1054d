"""What `status` and `now` say of a real Redis that rejects writes, asked as the user of the README."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.times import to_iso
from spotify_logger.monitoring import status
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.outbox import OUTBOX_FILE, Outbox
from spotify_logger.system import disk, lock_file
from spotify_logger.system.clock import Clock, boot_id
from tests.conftest import free_port, wait_until
from tests.redis_log import play
from tests.servers import PASSWORD, USER, RedisServer, one_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC).timestamp()
LATER = NOW + 300
WELL = {
    "last_poll": to_iso(round(NOW - 10) * 1000),
    "next_poll": to_iso(round(NOW + 20) * 1000),
    "login": "ok",
    "persistence": "append-only file",
}
NOT_RUNNING = "is not running"


def lose_disk(server: RedisServer) -> None:
    server.client.set("something", "to be saved")
    shutil.rmtree(server.folder)
    wait_until(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "err")


REFUSALS: dict[str, Callable[[RedisServer], object]] = {
    "out of memory": lambda server: server.client.config_set("maxmemory", 1),
    "replica": lambda server: server.client.execute_command("REPLICAOF", "127.0.0.1", free_port()),
    "paused": lambda server: server.client.execute_command("CLIENT", "PAUSE", 600_000, "WRITE"),
    "too few replicas": lambda server: server.client.config_set("min-replicas-to-write", 1),
    "cannot save to disk": lose_disk,
}


@pytest.fixture(params=one_program("redis"))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(request.param, tmp_path / "redis", ("--save", "1 1")).start()
    yield server
    server.stop()


@pytest.fixture
def store(server: RedisServer) -> Iterator[Archive]:
    store = Archive(f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.port}?socket_timeout=1", utc=lambda: NOW)
    with store.batch() as batch:
        batch.write_status(WELL)
    yield store
    store.close()


@pytest.fixture
def ended(tmp_path: Path) -> Path:
    """The state folder of a logger that has ended; two plays wait in its outbox."""
    folder = tmp_path / "state"
    folder.mkdir()
    os.close(lock_file.acquire(folder, "log.py"))
    with closing(Outbox(folder / OUTBOX_FILE, time.monotonic)) as outbox:
        outbox.put([play("a"), play("b", 600)])
    return folder


@pytest.fixture
def running(ended: Path) -> Iterator[Path]:
    """The same folder while a logger runs."""
    descriptor = lock_file.acquire(ended, "log.py")
    yield ended
    os.close(descriptor)


def problems(store: Archive, now: float, folder: Path) -> list[str]:
    return list(status.status(store, now, 60, folder).problems)


@pytest.mark.parametrize("word", REFUSALS)
def test_the_logger_runs(store: Archive, server: RedisServer, running: Path, word: str) -> None:
    REFUSALS[word](server)
    result = status.status(store, LATER, 60, running)
    (problem,) = result.problems
    assert not result.well
    assert word in problem
    assert "outbox: 2" in problem
    assert NOT_RUNNING not in problem
    assert (result.outbox, result.running_here, result.blind_since) == (2, True, None)
    playing = status.now_playing(store, LATER, 60, running)
    assert not playing.well
    assert word in str(playing.problem)
    assert [word in problem for problem in problems(store, NOW, running)] == [True], "before it is late"


def test_a_replica_in_sync_is_fine_to_read_from(
    store: Archive, server: RedisServer, running: Path, tmp_path: Path
) -> None:
    replica = RedisServer(server.program, tmp_path / "replica").start()
    url = f"redis://127.0.0.1:{replica.port}"
    with ExitStack() as stack:
        stack.callback(replica.stop)
        reader = stack.enter_context(closing(Archive(url, utc=lambda: NOW)))
        replica.client.execute_command("REPLICAOF", "127.0.0.1", server.port)
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up")
        assert problems(reader, NOW, running) == []
        assert problems(reader, LATER, running)
        server.stop()
        wait_until(lambda: replica.info("replication")["master_link_status"] == "down")
        assert ["replica" in problem for problem in problems(reader, NOW, running)] == [True]


def test_the_logger_has_ended(store: Archive, server: RedisServer, ended: Path) -> None:
    assert NOT_RUNNING in "".join(problems(store, LATER, ended))
    REFUSALS["out of memory"](server)
    refused, not_running = problems(store, LATER, ended)
    assert "out of memory" in refused
    assert NOT_RUNNING in not_running


def test_nothing_is_written(store: Archive, server: RedisServer, running: Path) -> None:
    changes, size = server.client.info("all")["rdb_changes_since_last_save"], server.client.dbsize()
    assert problems(store, NOW, running) == []
    (problem,) = problems(store, LATER, running)
    assert "writes nothing" in problem
    # A snapshot that ends meanwhile sets the number back to 0.
    assert server.client.info("all")["rdb_changes_since_last_save"] in {0, changes}
    assert server.client.dbsize() == size
    server.client.execute_command("ACL", "SETUSER", USER, "-set")  # this user may only read
    assert problems(store, NOW, running) == []


def test_redis_cannot_be_reached(store: Archive, server: RedisServer, running: Path) -> None:
    server.stop()
    (problem,) = problems(store, LATER, running)
    assert "cannot be reached" in problem
    assert "outbox: 2" in problem


def test_the_disk_is_named_with_what_it_causes(
    store: Archive, server: RedisServer, running: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "trouble", lambda _: "the disk is read-only")
    assert problems(store, NOW, running) == ["the disk is read-only"]
    REFUSALS["cannot save to disk"](server)
    assert [
        word in each for each, word in zip(problems(store, LATER, running), ("disk is", "save"), strict=True)
    ]
    monkeypatch.undo()
    assert len(problems(store, LATER, running)) == 1


def test_a_file_that_redis_cannot_write_is_named_although_it_takes_writes(
    store: Archive, server: RedisServer, running: Path
) -> None:
    server.client.config_set("stop-writes-on-bgsave-error", "no")
    lose_disk(server)
    (problem,) = problems(store, NOW, running)
    assert "cannot save its snapshots" in problem


@pytest.mark.parametrize("ahead", [86_400, -86_400, 1])
def test_a_clock_that_is_wrong_is_not_taken_for_a_dead_logger(
    store: Archive, running: Path, ahead: int
) -> None:
    with store.batch() as batch:
        batch.write_status({"clock": f"{boot_id()} {NOW - Clock().monotonic():.0f}"})
    result = status.status(store, NOW + ahead, 60, running)
    assert result.problems == []
    assert result.clock_offset == pytest.approx(ahead if ahead > 2 or ahead < 0 else 0, abs=2)
    with store.batch() as batch:
        batch.write_status({"clock": "of-another-boot 1795000000"})
    assert bool(problems(store, NOW + ahead, running)) == (ahead > 2)
