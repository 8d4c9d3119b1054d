"""Sentinels and clusters, of real servers that are killed and moved while a listener flips through tracks."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.redis_keys import NOW_PLAYING, STATUS
from spotify_logger.simulator.habits import Habits
from tests.conftest import start_server, wait_until
from tests.servers import FAILOVER_TIMEOUT, SLOTS, RedisCluster, SentinelGroup, one_program
from tests.testbed.virtual_run import VirtualRun, make_settings
from tests.testbed.virtual_time import make_virtual_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.storage.store import Store
    from tests.servers import RedisServer

HASTY = Habits(flip=0.3, early_skip=0.1, session=(3600, 7200))
"""Somebody who seldom lets a track end."""
BEGIN, END = 455, 600
"""Minutes between which the day is followed. This listener hears something from 460 to 580."""
Kept = dict[str, dict[str, str]]
"""All hashes of a log, but the status, by the names of their keys."""


class Life:
    """A day in virtual time of a logger that writes to real servers, which know nothing of that time."""

    def __init__(self, url: str, folder: Path) -> None:
        self.world = make_virtual_world(11, 1, HASTY)
        self.world.clock.sleep((BEGIN - 1) * 60)
        folder.mkdir(parents=True)
        self.run = VirtualRun(self.world, make_settings(folder, url))
        self.store: Store = self.run.store

    def until(self, minute: float) -> None:
        self.run.run_until(self.world.record.start + minute * 60)

    def ends(self) -> Kept:
        """Live until the end of the day, and see what is kept of it then."""
        self.until(END)
        assert len(self.run.outbox) == 0
        archive = self.store.archive()
        names = sorted({name for some in archive.scan("*") for name in some} - {STATUS, NOW_PLAYING})
        return dict(zip(names, archive.hashes(names), strict=True))


@contextmanager
def life(url: str, folder: Path) -> Iterator[Life]:
    alive = Life(url, folder)
    try:
        yield alive
    finally:
        alive.run.close()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """What the same day leaves on one server that always runs."""
    folder = tmp_path_factory.mktemp("expected")
    server = start_server(folder / "redis")
    try:
        with life(server.url, folder / "state") as alive:
            kept = alive.ends()
    finally:
        server.stop()
    assert len([name for name in kept if name.startswith("listening:")]) > 80
    return kept


class TestSentinel:
    @pytest.fixture
    def servers(self, program: str, tmp_path: Path) -> Iterator[SentinelGroup]:
        servers = SentinelGroup(program, tmp_path / "servers")
        yield servers
        servers.stop()

    @pytest.mark.parametrize("program", one_program("redis"))
    def test_a_master_is_killed_and_replaced(
        self, servers: SentinelGroup, tmp_path: Path, expected: Kept
    ) -> None:
        with life(servers.url, tmp_path / "state") as alive:
            alive.until(475.2)
            killed = servers.master
            killed.kill()
            alive.until(482)
            servers.wait_for_successor()
            alive.until(548)
            killed.start()  # it still takes itself for the master
            assert alive.ends() == expected

    @pytest.mark.parametrize("program", one_program("valkey"))
    def test_what_no_replica_has_yet_is_not_lost_with_the_master(
        self, servers: SentinelGroup, tmp_path: Path, expected: Kept
    ) -> None:
        with life(servers.url, tmp_path / "state") as alive:
            alive.until(480)
            before = len(alive.run.outbox)
            replicas = [server for server in servers.servers if server is not servers.master]
            for replica in replicas:
                replica.freeze()
            alive.until(500)
            assert len(alive.run.outbox) > before + 5
            servers.master.kill()
            for replica in replicas:
                replica.freeze(frozen=False)
            servers.wait_for_successor()
            assert alive.ends() == expected


class TestCluster:
    @pytest.mark.parametrize("program", one_program("valkey"))
    def test_a_node_is_killed_and_replaced(self, program: str, tmp_path: Path, expected: Kept) -> None:
        cluster = RedisCluster(program, tmp_path / "servers", replicas=1)
        try:
            with life(cluster.url, tmp_path / "state") as alive:
                for minute, master in zip((475.2, 548), cluster.masters, strict=False):
                    alive.until(minute)
                    master.kill()
                    alive.until(minute + 7)
                    wait_until(cluster.is_whole, FAILOVER_TIMEOUT)
                    alive.until(minute + 20)
                    master.start()
                    wait_until(cluster.is_whole, FAILOVER_TIMEOUT)
                assert alive.ends() == expected
        finally:
            cluster.stop()

    @pytest.mark.parametrize("program", one_program("redis"))
    def test_slots_move_to_a_new_node(self, program: str, tmp_path: Path, expected: Kept) -> None:
        cluster = RedisCluster(program, tmp_path / "servers")
        try:
            with life(cluster.url, tmp_path / "state") as alive:
                alive.until(500)
                source, target = cluster.masters[0], cluster.add_master()
                used = [slot for slot in range(SLOTS // 3) if has_keys(source, slot)]
                assert len(used) > 10
                for step, _ in enumerate(cluster.move(used, source, target)):
                    alive.until(500 + step)
                assert alive.ends() == expected
                assert target.client.dbsize() > 10
        finally:
            cluster.stop()


def has_keys(server: RedisServer, slot: int) -> bool:
    return bool(server.client.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot))
