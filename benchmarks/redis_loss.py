"""Does a play stay lost that Redis has lost? Real servers lose data while a listener flips through tracks.

    python benchmarks/redis_loss.py [--seeds 5] [--kind NAME]

The logger runs in virtual time, the servers in real time. After each run the log is compared, hash by hash,
with the one of the same days on a server to which nothing happens.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.redis_keys import NOW_PLAYING, STATUS
from spotify_logger.simulator.habits import Habits
from spotify_logger.storage.bulk import Archive
from tests.conftest import wait_until
from tests.servers import FAILOVER_TIMEOUT, PASSWORD, USER, RedisCluster, RedisServer, SentinelGroup, programs
from tests.testbed.virtual_run import VirtualRun, make_settings
from tests.testbed.virtual_time import make_virtual_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.testbed.virtual_time import VirtualWorld

Hashes = dict[str, dict[str, str]]


class Servers(NamedTuple):
    """Running servers: their URL, what does the damage, and whether they have settled after it."""

    url: str
    damage: Callable[[Callable[[float], None]], None]  # gets what lets the logger run for some seconds
    have_settled: Callable[[], bool] = lambda: True


HASTY = Habits(flip=0.3, early_skip=0.1, session=(3600, 7200))
"""Somebody who seldom lets a track end."""
HOUR = 3600.0


@dataclass
class Disaster:
    """What happens to Redis.

    Attributes:
        days: How long the listener is followed.
        number: How often it happens.
        make: Starts the servers in a folder.
    """

    days: float
    number: int
    make: Callable[[Path, random.Random], Iterator[Servers]]


def url_of(server: RedisServer) -> str:
    """Return the REDIS_URL of a server for the user with no more rights than the logger needs."""
    return f"redis://{USER}:{PASSWORD}@127.0.0.1:{server.port}/0"


@contextmanager
def single(folder: Path, *options: str) -> Iterator[RedisServer]:
    """Run one server."""
    server = RedisServer(programs()[0].values[0], folder / "server", options).start()
    try:
        yield server
    finally:
        server.stop()


def killed_with_file(folder: Path, chance: random.Random) -> Iterator[Servers]:
    """`appendfsync everysec`, and the power fails: the last part of the file was not on the disk."""
    with single(folder, "--appendonly", "yes", "--appendfsync", "everysec") as server:

        def damage(_: Callable[[float], None]) -> None:
            server.kill()
            newest = max((server.folder / "appendonlydir").glob("*.incr.aof"))
            size = newest.stat().st_size
            with newest.open("r+b") as file:
                file.truncate(max(0, size - chance.randrange(64 * 1024)))
            server.start()

        yield Servers(url_of(server), damage)


def killed_with_snapshots(folder: Path, chance: random.Random) -> Iterator[Servers]:
    """Snapshots only: what was written since the last one is lost."""
    with single(folder) as server:

        def damage(run_on: Callable[[float], None]) -> None:
            server.client.save()
            run_on(chance.uniform(0, 2 * HOUR))
            server.kill()
            server.start()

        yield Servers(url_of(server), damage)


def restored(folder: Path, _: random.Random) -> Iterator[Servers]:
    """A backup of a week ago takes the place of the data."""
    with single(folder) as server:
        server.client.save()
        backups = [shutil.copy(server.folder / "dump.rdb", folder / "backup.rdb")]

        def damage(run_on: Callable[[float], None]) -> None:
            server.client.save()
            backups.append(shutil.copy(server.folder / "dump.rdb", folder / f"backup{len(backups)}.rdb"))
            run_on(7 * 24 * HOUR)
            server.kill()
            shutil.copy(backups[-1], server.folder / "dump.rdb")
            server.start()

        yield Servers(url_of(server), damage)


def emptied(folder: Path, _: random.Random) -> Iterator[Servers]:
    """Somebody calls FLUSHALL by mistake."""
    with single(folder) as server:
        yield Servers(url_of(server), lambda _: server.client.flushall())


def failed_over(folder: Path, chance: random.Random) -> Iterator[Servers]:
    """The master dies before its replicas have the last plays."""
    servers = SentinelGroup(programs()[0].values[0], folder)
    try:

        def damage(run_on: Callable[[float], None]) -> None:
            wait_until(servers.is_whole, FAILOVER_TIMEOUT)
            killed = servers.master
            replicas = [server for server in servers.servers if server is not killed]
            for replica in replicas:
                replica.freeze()
            run_on(chance.uniform(60, 1200))
            killed.kill()
            for replica in replicas:
                replica.freeze(frozen=False)
            run_on(chance.uniform(60, 1200))
            servers.wait_for_successor()
            killed.start()

        yield Servers(servers.url, damage, servers.is_whole)
    finally:
        servers.stop()


def node_replaced(folder: Path, chance: random.Random) -> Iterator[Servers]:
    """A node of a cluster dies, and its replica, which lacks the last plays, takes its place."""
    cluster = RedisCluster(programs()[-1].values[0], folder, replicas=1)
    try:

        def damage(run_on: Callable[[float], None]) -> None:
            wait_until(cluster.is_whole, FAILOVER_TIMEOUT)
            masters = [server for server in cluster.servers if server.info("replication")["role"] == "master"]
            killed = chance.choice(masters)
            port = str(killed.port)
            (replica,) = (
                server
                for server in cluster.servers
                if str(server.info("replication").get("master_port")) == port
            )
            replica.freeze()
            run_on(chance.uniform(60, 600))
            killed.kill()
            replica.freeze(frozen=False)
            run_on(chance.uniform(60, 1200))
            wait_until(cluster.is_whole, FAILOVER_TIMEOUT)
            run_on(chance.uniform(60, 1200))
            killed.start()

        yield Servers(cluster.url, damage, cluster.is_whole)
    finally:
        cluster.stop()


DISASTERS = {
    "power cut, append-only file": Disaster(1, 5, killed_with_file),
    "killed, snapshots only": Disaster(1, 3, killed_with_snapshots),
    "backup of a week ago": Disaster(8, 1, restored),
    "FLUSHALL": Disaster(1, 4, emptied),
    "failover with lost seconds": Disaster(1, 2, failed_over),
    "cluster node replaced": Disaster(1, 2, node_replaced),
}


def follow(
    world: VirtualWorld, servers: Servers, folder: Path, disasters: Callable[[VirtualWorld, VirtualRun], None]
) -> Hashes:
    """Log the days of a listener; return all hashes but the status."""
    folder.mkdir()
    run = VirtualRun(world, make_settings(folder, servers.url))
    try:
        disasters(world, run)
        run.run_until(world.record.end)
        # In virtual time the days are over before the servers, in real time, agree who has the last word.
        wait_until(servers.have_settled, FAILOVER_TIMEOUT)
        run.run_until(world.record.end + 3 * HOUR)
        archive = Archive(servers.url)
        names = sorted({name for some in archive.scan("*") for name in some} - {STATUS, NOW_PLAYING})
        return dict(zip(names, archive.hashes(names), strict=True))
    finally:
        run.close()


def strike(
    disaster: Disaster,
    chance: random.Random,
    damage: Callable[..., None],
    world: VirtualWorld,
    run: VirtualRun,
) -> None:
    """Let it happen at random moments of the days."""
    morning, evening = world.record.start + 8 * HOUR, world.record.start + 16 * HOUR
    for moment in sorted(chance.uniform(morning, evening) for _ in range(disaster.number)):
        run.run_until(moment)
        damage(lambda seconds: run.run_until(world.clock.now + seconds))


@cache
def calm(seed: int, days: float) -> Hashes:
    """Log the same days on a server to which nothing happens."""
    with tempfile.TemporaryDirectory() as folder, single(Path(folder)) as server:
        world = make_virtual_world(seed, days, HASTY)
        return follow(world, Servers(url_of(server), lambda _: None), Path(folder) / "state", lambda *_: None)


def compare(name: str, seed: int) -> tuple[int, int, int, int]:
    """Let it happen to a log.

    Returns:
        The number of plays, and of those that are lost, that are too many, and of other hashes that differ.
    """
    disaster = DISASTERS[name]
    chance = random.Random(f"{name} {seed}")  # noqa: S311 - chance that can be repeated
    with (
        tempfile.TemporaryDirectory() as folder,
        contextmanager(disaster.make)(Path(folder) / "servers", chance) as servers,
        redirect_stderr(None),
    ):
        expected = calm(seed, disaster.days)
        world = make_virtual_world(seed, disaster.days, HASTY)
        disasters = partial(strike, disaster, chance, servers.damage)
        found = follow(world, servers, Path(folder) / "state", disasters)
    plays, kept = ({key for key in hashes if key.startswith("listening:")} for hashes in (expected, found))
    different = {key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key)}
    return len(plays), len(plays - kept), len(kept - plays), len(different - (plays ^ kept))


def main() -> int:
    """Run all kinds with several seeds, and print a table; return 1 if a log is not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=5, help="listeners of each kind (default: %(default)s)")
    parser.add_argument("--kind", choices=DISASTERS, action="append", help="only this one")
    options = parser.parse_args()
    print(f"{'':<30}{'times':>8}{'plays':>8}{'lost':>8}{'extra':>8}{'other hashes':>16}{'seconds':>10}")
    is_right = True
    for name in options.kind or DISASTERS:
        begun = time.monotonic()
        plays, *wrong = map(sum, zip(*(compare(name, seed) for seed in range(options.seeds)), strict=True))
        times = DISASTERS[name].number * options.seeds
        lost, extra, other = wrong
        seconds = time.monotonic() - begun
        print(f"{name:<30}{times:>8}{plays:>8}{lost:>8}{extra:>8}{other:>16}{seconds:>10.0f}", flush=True)
        is_right &= not any(wrong)
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
