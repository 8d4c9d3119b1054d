"""Servers under Sentinel and in a cluster are killed and moved while a listener flips through tracks."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from redis.crc import key_slot

from spotify_logger.core.redis_keys import NOW_PLAYING, STATUS
from spotify_logger.simulator.habits import Habits
from spotify_logger.storage.bulk import Archive
from tests.conftest import start_server, wait_until
from tests.servers import FAILOVER_TIMEOUT, RedisCluster, SentinelGroup, one_program
from tests.testbed.virtual_run import VirtualRun, make_settings
from tests.testbed.virtual_time import make_virtual_world

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HASTY = Habits(flip=0.3, early_skip=0.1, session=(3600, 7200))
"""Somebody who seldom lets a track end."""
BEGIN, END = 455, 545
"""Minutes of the day that are followed; this listener starts listening at minute 460."""
Hashes = dict[str, dict[str, str]]


class RunOnRealServers:
    """A logger in virtual time that writes to real servers, which know nothing of that time."""

    def __init__(self, url: str, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.world = make_virtual_world(11, 1, HASTY)
        self.world.clock.sleep((BEGIN - 1) * 60)
        self.archive = Archive(url)
        self.run = VirtualRun(self.world, make_settings(folder, url))

    def until(self, minute: float) -> None:
        self.run.run_until(self.world.record.start + minute * 60)

    def finish(self) -> Hashes:
        """Run to the end; return all hashes but the status."""
        self.until(END)
        assert len(self.run.outbox) == 0
        names = sorted({name for some in self.archive.scan("*") for name in some} - {STATUS, NOW_PLAYING})
        return dict(zip(names, self.archive.hashes(names), strict=True))


@contextmanager
def running(url: str, folder: Path) -> Iterator[RunOnRealServers]:
    logger = RunOnRealServers(url, folder)
    try:
        yield logger
    finally:
        logger.run.close()
        logger.archive.close()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Hashes:
    """What the same day leaves on one server that is always up."""
    folder = tmp_path_factory.mktemp("expected")
    server = start_server(folder / "redis")
    try:
        with running(server.url, folder / "state") as logger:
            hashes = logger.finish()
    finally:
        server.stop()
    assert len([name for name in hashes if name.startswith("listening:")]) > 40
    return hashes


@pytest.mark.parametrize("program", one_program("valkey"))
def test_a_failover_loses_nothing_even_if_no_replica_had_the_last_plays(
    program: str, tmp_path: Path, expected: Hashes
) -> None:
    servers = SentinelGroup(program, tmp_path / "servers")
    try:
        with running(servers.url, tmp_path / "state") as logger:
            logger.until(475)
            killed = servers.master
            replicas = [server for server in servers.servers if server is not killed]
            for replica in replicas:
                replica.freeze()
            logger.until(484)
            killed.kill()
            for replica in replicas:
                replica.freeze(frozen=False)
            logger.until(495)
            servers.wait_for_successor()
            logger.until(520)
            assert logger.archive.version()  # connects before there is a second one
            killed.start()  # it still takes itself for the master
            assert logger.finish() == expected
    finally:
        servers.stop()


@pytest.mark.parametrize("program", one_program("redis"))
def test_a_cluster_loses_nothing_when_a_node_dies_or_slots_move(
    program: str, tmp_path: Path, expected: Hashes
) -> None:
    cluster = RedisCluster(program, tmp_path / "servers", replicas=1)
    try:
        with running(cluster.url, tmp_path / "state") as logger:
            logger.until(470)
            killed, source, target = cluster.masters
            cluster.masters.remove(killed)
            killed.kill()
            logger.until(477)
            wait_until(cluster.is_whole, FAILOVER_TIMEOUT)
            logger.until(490)
            killed.start()
            wait_until(cluster.is_whole, FAILOVER_TIMEOUT)
            used = sorted({key_slot(key.encode()) for key in source.client.scan_iter()})
            assert len(used) > 10
            for step, _ in enumerate(cluster.move(used[:12], source, target)):
                logger.until(490 + step)
            assert logger.finish() == expected
    finally:
        cluster.stop()
