"""What is said of a real Redis that can be read from and takes no writes, as the user of the README."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.core.play import Play
from spotify_logger.core.player_state import Item
from spotify_logger.core.times import to_iso
from spotify_logger.queries import status
from spotify_logger.storage.outbox import OUTBOX_FILE, Outbox
from spotify_logger.storage.store import Store
from spotify_logger.system import lock_file
from tests.conftest import free_port, wait_until
from tests.servers import PASSWORD, USER, RedisServer, one_program
from tests.stage import LOG, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from spotify_logger.report.blocks import Answer

    Refuse = Callable[[RedisServer], object]

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
    client = server.client
    client.set("something", "to be saved")
    shutil.rmtree(server.folder)
    wait_until(lambda: server.info("persistence")["rdb_last_bgsave_status"] == "err")


def follow_nobody(server: RedisServer) -> None:
    server.client.execute_command("REPLICAOF", "127.0.0.1", free_port())


REFUSING: dict[str, tuple[Refuse, str]] = {
    "full": (lambda server: server.client.config_set("maxmemory", 1), "out of memory"),
    "replica": (follow_nobody, "replica"),
    "paused": (lambda server: server.client.execute_command("CLIENT", "PAUSE", 600_000, "WRITE"), "paused"),
    "alone": (lambda server: server.client.config_set("min-replicas-to-write", 1), "too few replicas"),
    "cannot save": (lose_disk, "cannot save to disk"),
}
EACH = pytest.mark.parametrize(("refuse", "word"), REFUSING.values(), ids=REFUSING)


@pytest.fixture(params=one_program("redis"))
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(request.param, tmp_path / "redis", ("--save", "1 1")).start()
    yield server
    server.stop()


@pytest.fixture
def store(server: RedisServer) -> Iterator[Store]:
    store = Store(f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.port}?socket_timeout=2", utc=lambda: NOW)
    with store.batch() as batch:
        batch.write_status(WELL)
    yield store
    store.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The state folder of a logger that ended; two plays wait in it."""
    folder = tmp_path / "state"
    folder.mkdir()
    os.close(lock_file.acquire(folder, "log.py"))
    with closing(Outbox(folder / OUTBOX_FILE, time.monotonic)) as outbox:
        outbox.put([play(0), play(600)])
    return folder


@pytest.fixture
def running(folder: Path) -> Iterator[Path]:
    """The same while a logger runs."""
    descriptor = lock_file.acquire(folder, "log.py")
    yield folder
    os.close(descriptor)


def play(after: int) -> Play:
    started = round(NOW + after) * 1000
    item = Item("track:v", "spotify:track:v", 345_000, {"name": "Veridis Quo"})
    return Play(started // 1000, item, started, started + 300_000, 300_000, "trackdone", "live", {})


def data_of(answer: Answer) -> dict[str, Any]:
    assert isinstance(answer.data, dict)
    return answer.data


@EACH
def test_the_logger_runs(store: Store, server: RedisServer, running: Path, refuse: Refuse, word: str) -> None:
    refuse(server)
    result = data_of(answer := status.status(store, LATER, 60, running))
    assert answer.code == 1
    (problem,) = result["problems"]
    assert word in problem
    assert "outbox: 2" in problem
    assert NOT_RUNNING not in problem
    assert (result["outbox"], result["running_here"], result["blind_since"]) == (2, True, None)
    playing = status.now_playing(store, LATER, 60, running)
    assert playing.code == 1
    assert word in data_of(playing)["problem"]


@EACH
def test_the_logger_does_not_run(
    store: Store, server: RedisServer, folder: Path, refuse: Refuse, word: str
) -> None:
    refuse(server)
    refused, not_running = data_of(status.status(store, LATER, 60, folder))["problems"]
    assert word in refused
    assert NOT_RUNNING in not_running


@EACH
def test_who_cannot_see_the_folder(
    store: Store, server: RedisServer, tmp_path: Path, refuse: Refuse, word: str
) -> None:
    refuse(server)
    result = data_of(status.status(store, LATER, 60, tmp_path / "none"))
    (problem,) = result["problems"]
    assert word in problem
    assert NOT_RUNNING not in problem
    assert result["running_here"] is None


@EACH
def test_it_is_seen_before_the_logger_is_late(
    store: Store, server: RedisServer, running: Path, refuse: Refuse, word: str
) -> None:
    """But that a replica is read which has it all from elsewhere is nothing to complain of."""
    refuse(server)
    answer = status.status(store, NOW, 60, running)
    assert answer.code == (word != "replica")
    assert [problem for problem in data_of(answer)["problems"] if word not in problem] == []


def test_a_redis_that_takes_writes_gets_none(store: Store, server: RedisServer, running: Path) -> None:
    changes, size = server.client.info("all")["rdb_changes_since_last_save"], server.client.dbsize()
    assert status.status(store, NOW, 60, running).code == 0
    # A snapshot that ends meanwhile sets the number back to 0.
    assert server.client.info("all")["rdb_changes_since_last_save"] in {0, changes}
    assert server.client.dbsize() == size


def test_a_user_who_may_only_read(store: Store, server: RedisServer, running: Path) -> None:
    server.client.execute_command("ACL", "SETUSER", USER, "-set")
    assert status.status(store, NOW, 60, running).code == 0


@pytest.mark.parametrize(
    ("name", "word"), [("running", "is running but writes nothing"), ("folder", NOT_RUNNING)]
)
def test_redis_is_well_and_the_logger_silent(
    store: Store, request: pytest.FixtureRequest, name: str, word: str
) -> None:
    (problem,) = data_of(status.status(store, LATER, 60, request.getfixturevalue(name)))["problems"]
    assert word in problem


def test_redis_is_away(running: Path, store: Store, server: RedisServer) -> None:
    server.stop()
    (problem,) = data_of(status.status(store, LATER, 60, running))["problems"]
    assert "cannot be reached" in problem
    assert "outbox: 2" in problem


def test_a_real_logger_and_a_full_redis(server: RedisServer, tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    stage = Stage(folder, f"redis://127.0.0.1:{server.port}")
    url = f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.port}"

    def ask(code: int) -> str:
        before = len(stage.log())
        assert stage.start("-m", "spotify_logger", "status", REDIS_URL=url).wait(60) == code
        return stage.log()[before:]

    try:
        logger = stage.start(LOG, REDIS_URL=url)
        stage.wait_for_poll()
        ask(0)
        server.client.config_set("maxmemory", 1)
        result = ask(1)
        assert "out of memory" in result
        assert NOT_RUNNING not in result
        server.client.config_set("maxmemory", 0)
        wait_until(lambda: "Redis is back" in stage.log(), 90)
        ask(0)
        logger.terminate()
        assert logger.wait(30) == 0
    finally:
        stage.close()
