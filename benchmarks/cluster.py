"""How far does it scale? The keys of very many plays in a cluster; `scale.py` is about many loggers.

    python benchmarks/cluster.py [--plays 10000000] [--servers 3]

It writes made-up plays to a cluster of real servers, as the logger writes them. It reports how much memory
they take, how evenly they are distributed, whether answers become slower, and what a hundred million plays
would need. Nothing is written to disk. On Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING, Any

import redis
from answers import TRACKS_PER_PLAY, UNTIL, used
from footprint import ROOT
from scale import LOOK, PATIENCE, prefix, print_machine, run

from spotify_logger.cli.commands import command_parser
from spotify_logger.cli.main import parse_args
from spotify_logger.config.settings import load
from spotify_logger.core.batched import batched
from spotify_logger.core.redis_keys import day_of, index_key, play_key
from spotify_logger.queries import dispatch
from spotify_logger.simulator.server import HOST
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.embedded_server import NO_SERVER, bound_to_parent, find_server
from spotify_logger.system.errors import Misconfigured, TryLater
from tests.testbed.synthetic_history import SyntheticHistory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from spotify_logger.storage.client import Command

GIGABYTE = 1_000_000_000
SLOTS = 16384
"""Hash slots of a cluster."""
LISTENER_PLAYS = 200_000
"""Plays of one listener: thirty a day for eighteen years."""
YEARS = 18.0
TOGETHER = 500
STEPS = 10
"""How often memory is measured while writing."""
LARGE = 100_000_000
"""Plays to extrapolate to."""
SERVER_SIZES = (8, 16, 32)
"""Gigabytes of memory of common servers."""
FILLED = 0.6
"""The share of a server's memory for its data; rewriting the append-only file needs some, too."""
NEEDED = 950
"""Bytes of free memory per play that this machine needs."""
RUNS = 3
"""Runs of each question; the fastest one counts, since the others had to wait for other processes."""
QUESTIONS = ("top tracks", "day 2025-06-01")
OPTIONS = (
    "--save  --appendonly no --loglevel warning --hash-max-ziplist-value 1024 --hash-max-ziplist-entries 1024"
)
"""The sizes of hashes are those of the embedded server; nothing is written to disk."""


class Node:
    """A server of a cluster, or a single one; it ends with this process.

    Args:
        folder: The folder for its log.
        is_alone: Whether it is a single server.

    Raises:
        SpotifyLoggerError: It does not start.
    """

    def __init__(self, folder: Path, *, is_alone: bool) -> None:
        program = find_server()
        if program is None:
            raise Misconfigured(NO_SERVER)
        self.port, self.bus = free_port(), free_port()
        folder.mkdir()
        options = [*f"--port {self.port} --bind {HOST} --dir {folder} --logfile log".split(" ")]
        if not is_alone:
            options += f"--cluster-enabled yes --cluster-port {self.bus}".split()
        self.process = subprocess.Popen(
            bound_to_parent([program, *options, *OPTIONS.split(" ")]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C on the terminal is only for this process
        )
        # redis-py's type annotations are of little use
        self.client: Any = redis.Redis(host=HOST, port=self.port, decode_responses=True)

    def stop(self) -> None:
        """Kill it; it has nothing to save."""
        self.client.close()
        self.process.kill()
        self.process.wait()

    def answers(self) -> bool:
        """Return whether it has started."""
        if self.process.poll() is not None:
            raise TryLater("a server exited at once")
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def is_whole(self, number: int) -> bool:
        """Return whether it knows this number of nodes, and all slots are served."""
        info = self.client.cluster("info")
        return info["cluster_state"] == "ok" and int(info["cluster_known_nodes"]) == number


class Servers:
    """A cluster of masters without replicas, or a single server.

    Args:
        resources: Stops the processes and removes the files when it is closed.
        number: The number of servers.

    Attributes:
        nodes: The servers.
        url: Their REDIS_URL.

    Raises:
        SpotifyLoggerError: They do not start, or do not form a cluster.
    """

    def __init__(self, resources: ExitStack, number: int) -> None:
        folder = Path(tempfile.mkdtemp(prefix="spotify-logger-scale-"))
        resources.callback(shutil.rmtree, folder, ignore_errors=True)
        self.nodes: list[Node] = []
        for place in range(number):
            node = Node(folder / f"{place}", is_alone=number == 1)
            resources.callback(node.stop)
            self.nodes.append(node)
        for node in self.nodes:
            until(node.answers)
        self.url = f"redis://{HOST}:{self.nodes[0].port}/0"
        if number > 1:
            self._join()
            self.url = "redis+cluster://" + ",".join(f"{HOST}:{node.port}" for node in self.nodes)

    def _join(self) -> None:
        """Assign the slots, and form the cluster."""
        number = len(self.nodes)
        bounds = [SLOTS * place // number for place in range(number + 1)]
        for node, (first, end) in zip(self.nodes, pairwise(bounds), strict=True):
            node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        for node in self.nodes[1:]:
            node.client.execute_command("CLUSTER", "MEET", HOST, self.nodes[0].port, self.nodes[0].bus)
        until(lambda: all(node.is_whole(number) for node in self.nodes))

    def memory(self) -> list[int]:
        """Return the bytes of data of each server."""
        return [used(node.client) for node in self.nodes]

    def resident(self) -> list[int]:
        """Return the resident memory of each server in bytes."""
        return [int(node.client.info("memory")["used_memory_rss"]) for node in self.nodes]

    def keys(self) -> list[int]:
        """Return the number of keys of each server."""
        return [int(node.client.dbsize()) for node in self.nodes]


def free_port() -> int:
    """Return a free port; another process may take it first."""
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition.

    Raises:
        TryLater: It does not become true in time.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TryLater("the servers do not form a cluster")
        time.sleep(LOOK)


def write_history(url: str, number: int, plays: int) -> Iterator[int]:
    """Write the whole history of one listener, including the catalog, as the logger writes it.

    Yields:
        The number of plays of each batch, after it is written.
    """
    store = Archive(url, prefix(number))
    archive = store
    past = SyntheticHistory(plays, YEARS, int(plays * TRACKS_PER_PLAY), UNTIL, seed=number)
    known: set[str] = set()
    for portion in batched(past.live(), TOGETHER):
        written: list[Command] = []
        for play in portion:
            if play.item.key not in known:
                known.add(play.item.key)
                written.append(_hash(archive, play.item.key, play.item.catalog))
            written.append(_hash(archive, play_key(play.second), play.to_hash()))
            written.append(_hash(archive, index_key(day_of(play.second)), {str(play.second): play.index}))
        archive.write(written)
        yield len(portion)
    store.close()


def _hash(archive: Archive, key: str, fields: Mapping[str, str | int]) -> Command:
    return ("HSET", archive.key(key), *(part for pair in fields.items() for part in pair))


def write(url: str, numbers: list[int], plays: int) -> None:
    """Write the histories of several listeners, and print the number of plays: one of several processes."""
    for number in numbers:
        for written in write_history(url, number, plays):
            print(written, flush=True)


def answer_seconds(question: str, url: str, number: int) -> float:
    """Return the seconds of an answer about one listener, over an open connection."""
    environment = {"REDIS_URL": url, "REDIS_PREFIX": prefix(number)}
    with tempfile.TemporaryDirectory() as nothing:
        settings = load(Path(nothing), environment, need_login=False)
    options = parse_args(command_parser(), question.split())
    store = Archive(settings.redis_url, settings.redis_prefix)
    fastest = math.inf
    for _ in range(RUNS):
        begun = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            dispatch.answer(options, store, settings)
        fastest = min(fastest, time.perf_counter() - begun)
    store.close()
    return fastest


def print_answers(url: str, plays: int) -> None:
    """Print how long answers about the first listener take with this number of plays."""
    times = (f"{question}: {answer_seconds(question, url, 0):.3f} s" for question in QUESTIONS)
    print(f"answers about one listener among {plays:,} plays: {', '.join(times)}", flush=True)


def measure_keys(plays: int, servers: int, writers: int) -> None:
    """Write the plays, and print the measurements.

    Raises:
        SpotifyLoggerError: There is not enough memory, or a process does not start, or exits.
    """
    free = 1024 * _memory_available()
    if plays * NEEDED > free:
        raise Misconfigured(f"{plays:,} plays need {plays * NEEDED / GIGABYTE:.1f} GB of free memory")
    each = min(plays, LISTENER_PLAYS)
    listeners = plays // each
    plays = listeners * each
    with ExitStack() as resources:
        cluster = Servers(resources, servers)
        version = cluster.nodes[0].client.info("server")
        name = "Valkey" if "valkey_version" in version else "Redis"
        number = version.get("valkey_version", version["redis_version"])
        print(f"{plays:,} plays of {listeners} listeners; {servers} of {name} {number}", flush=True)
        nothing = cluster.memory()
        done = sum(write_history(cluster.url, 0, each))
        print_answers(cluster.url, done)
        begun, first = time.perf_counter(), done
        for written in _write_others(resources, cluster.url, range(1, listeners), each, writers):
            done += written
            if done * STEPS // plays > (done - written) * STEPS // plays:
                taken = sum(cluster.memory()) - sum(nothing)
                speed = (done - first) / (time.perf_counter() - begun)
                print(
                    f"{done:>13,} plays, {taken / done:.0f} bytes per play, {speed:,.0f} plays/s", flush=True
                )
        print_answers(cluster.url, plays)
        print_cluster(cluster, nothing, plays)


def _write_others(resources: ExitStack, url: str, numbers: range, plays: int, writers: int) -> Iterator[int]:
    """Write the histories of listeners with several processes; yield the number of plays of each batch.

    Raises:
        TryLater: A process fails.
    """
    heard: Queue[str] = Queue()
    running = []
    for place in range(min(writers, len(numbers))):
        options = f"--write={url}", f"--plays={plays}"
        command = [sys.executable, __file__, *options, *map(str, numbers[place::writers])]
        process = subprocess.Popen(
            bound_to_parent(command),
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C on the terminal is only for this process
        )
        resources.enter_context(process)  # waits for the process
        resources.callback(process.kill)
        threading.Thread(target=_listen, args=[process, heard], daemon=True).start()
        running.append(process)
    ended = 0
    while ended < len(running):
        line = heard.get()
        if line:
            yield int(line)
        else:
            ended += 1
    if any(process.wait() for process in running):
        raise TryLater("a writing process has failed")


def _listen(process: subprocess.Popen[str], heard: Queue[str]) -> None:
    """Forward the output of a process, and an empty line at its end."""
    for line in process.stdout or ():
        heard.put(line)
    heard.put("")


def print_cluster(cluster: Servers, nothing: list[int], plays: int) -> None:
    """Print what each server holds, and what very many plays would need."""
    memory, resident, keys = cluster.memory(), cluster.resident(), cluster.keys()
    for place, (taken, held, number) in enumerate(zip(memory, resident, keys, strict=True)):
        print(
            f"server {place + 1}: {number:,} keys, {number / sum(keys):.2%} of all; "
            f"{taken / GIGABYTE:.3f} GB used, {held / GIGABYTE:.3f} GB resident"
        )
    average = sum(keys) / len(keys)
    print(f"the fullest server has {max(keys) / average - 1:.2%} more keys than the average", end=", ")
    print(f"and {max(memory) / (sum(memory) / len(memory)) - 1:.2%} more memory")
    each = (sum(memory) - sum(nothing)) / plays
    whole = each * LARGE
    print(f"{each:.0f} bytes and {sum(keys) / plays:.3f} keys per play", end="; ")
    print(f"{LARGE:,} plays take {whole / GIGABYTE:.0f} GB", end=": ")
    options = (
        f"{math.ceil(whole / (size * GIGABYTE * FILLED))} servers of {size} GB" for size in SERVER_SIZES
    )
    print(", or ".join(options) + f", filled to {FILLED:.0%}, and as many replicas")


def _memory_available() -> int:
    """Return the available memory of this machine in KiB."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))


def main() -> None:
    """Measure, or run as one of the writing processes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    what = "number of plays (default: ten million)"
    parser.add_argument("--plays", type=int, default=10_000_000, help=what)
    what = "number of servers: 3 or more, or 1 without a cluster"
    parser.add_argument("--servers", type=int, default=3, help=what)
    what = "number of writing processes"
    parser.add_argument("--writers", type=int, default=os.cpu_count() or 1, help=what)
    parser.add_argument("--write", metavar="URL", help=argparse.SUPPRESS)  # as one of these, for listeners
    parser.add_argument("numbers", type=int, nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        write(options.write, options.numbers, options.plays)
    else:
        print_machine()
        measure_keys(options.plays, options.servers, options.writers)


if __name__ == "__main__":
    sys.exit(run(main))
