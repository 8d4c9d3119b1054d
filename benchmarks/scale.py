"""How far does it scale? Many loggers on one machine with one Redis, and the keys of very many plays.

    python benchmarks/scale.py listeners [--for 300] [--supervised] [1 5 50]
    python benchmarks/scale.py keys [--plays 1000000] [--servers 3]

`listeners` runs real poll loops (`log.py`, or with `--supervised` each under its own `run.py`) in real time,
with separate folders and prefixes. They poll one simulated Spotify behind HTTPS, whose listener never stops,
and write to one real Redis.

`keys` writes made-up plays to a cluster of real servers, as the logger writes them. It reports how much
memory they take, how evenly they are distributed, whether answers become slower, and what a hundred million
plays would need. Nothing is written to disk. Both are for Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import platform
import shutil
import signal
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
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
from answers import TRACKS_PER_PLAY, UNTIL, used
from footprint import ROOT, TRUSTED, environment, make_certificate, mapped, start_simulator

from spotify_logger.cli.commands import command_parser
from spotify_logger.cli.main import parse_args
from spotify_logger.config.settings import load
from spotify_logger.core.batched import batched
from spotify_logger.core.redis_keys import STATUS, day_of, index_key, play_key
from spotify_logger.queries import dispatch
from spotify_logger.simulator.demo import start_server
from spotify_logger.simulator.server import HOST
from spotify_logger.simulator.service import PLAYER_PATH
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.embedded_server import NO_SERVER, bound_to_parent, find_server
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError, TryLater
from tests.testbed.synthetic_history import SyntheticHistory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from spotify_logger.storage.client import Command
    from spotify_logger.storage.embedded_server import EmbeddedServer

MEGABYTE = 1_000_000
GIGABYTE = 1_000_000_000
PI_MEMORY = 1_000 * MEGABYTE
"""Bytes of memory of a Raspberry Pi with 1 GB, approximately."""
SYSTEM_MEMORY = 250 * MEGABYTE
"""Bytes of it that the system and an empty Redis are assumed to need."""
PI_SLOWNESS = 10
"""How much slower a Raspberry Pi 3 is; estimated."""
LATER_PLAYS = 100_000
"""Plays of a listener after nine years, with thirty plays a day."""
PLAY_SIZE = 850
"""Bytes per play in Redis 7.0, as measured by `keys`; Valkey 9.1 needs a fifth less."""
APP_LISTENERS = 5
"""Listeners that Spotify allows for an app in development mode."""
PATIENCE = 300.0
"""Seconds that a process may take to start."""
LOOK = 0.05

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


class Counters(NamedTuple):
    """Counters at a moment: seconds of the monotonic clock and of processor time, and counts."""

    at: float
    loggers: float
    server: float
    polls: int
    requests: int
    operations: int


class Cost(NamedTuple):
    """The cost of a number of loggers; memory in bytes, processor time in seconds."""

    loggers: int
    resident: float
    share: float
    hourly: float
    per_poll: float
    requests: float
    operations: float
    server_memory: int
    server_hourly: float


class Crowd:
    """Many running loggers with one Redis.

    Args:
        resources: Stops the processes and removes the files when it is closed.
        number: The number of loggers.
        program: The program to start, "log.py" or "run.py".

    Raises:
        SpotifyLoggerError: A process does not start.
    """

    def __init__(self, resources: ExitStack, number: int, program: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="spotify-logger-scale-"))
        resources.callback(shutil.rmtree, self._folder, ignore_errors=True)
        server, _ = start_server(self._folder / "redis")
        resources.callback(server.stop)
        self._client = redis.Redis.from_url(server.url)
        resources.callback(self._client.close)
        self._service, spotify = start_simulator(resources, make_certificate(self._folder), 1.0)
        for name in ("log.py", "run.py"):
            shutil.copy(ROOT / name, self._folder)  # away from any settings files
        command = [sys.executable, str(self._folder / program)]
        self._loggers = [self._start(resources, each, command, server, spotify) for each in range(number)]
        self._pids = {logger.pid for logger in self._loggers}
        for each in range(number):
            store = Archive(server.url, _prefix(each))
            self._until(lambda store=store: "last_poll" in store.hash(STATUS))  # type: ignore[misc]
            self._pids.add(int(store.hash(STATUS)["pid"]))  # of the loop, if there is a supervisor
            store.close()

    def measure(self, seconds: float) -> Cost:
        """Measure for some seconds."""
        before = self._moment()
        deadline = time.monotonic() + seconds
        self._until(lambda: time.monotonic() > deadline, seconds + PATIENCE)
        after = self._moment()
        passed, number = after.at - before.at, len(self._loggers)
        used_by_loggers = after.loggers - before.loggers
        return Cost(
            number,
            sum(2**20 * mapped(pid, "Rss") for pid in self._pids) / number,
            sum(2**20 * mapped(pid, "Pss") for pid in self._pids) / number,
            used_by_loggers / number / passed * 3600,
            used_by_loggers / max(1, after.polls - before.polls),
            (after.requests - before.requests) / passed,
            (after.operations - before.operations) / passed,
            used(self._client),
            (after.server - before.server) / passed * 3600,
        )

    def _moment(self) -> Counters:
        info = self._client.info()
        requests = dict(self._service.requests)
        return Counters(
            time.monotonic(),
            sum(map(running_seconds, self._pids)),
            info["used_cpu_user"] + info["used_cpu_sys"],
            sum(requests.get((PLAYER_PATH, status), 0) for status in ("200", "204")),
            sum(requests.values()),
            info["total_commands_processed"],
        )

    def _start(
        self, resources: ExitStack, number: int, command: list[str], server: EmbeddedServer, spotify: str
    ) -> subprocess.Popen[bytes]:
        """Start a logger in a folder of its own, without settings files."""
        settings = {
            "STATE_DIR": str(self._folder / f"state-{number}"),
            "REDIS_URL": server.url,
            "REDIS_PREFIX": _prefix(number),
        }
        with (self._folder / f"log-{number}").open("wb") as log:
            logger = subprocess.Popen(
                bound_to_parent(command),
                env=environment(spotify, self._folder / TRUSTED) | settings,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C on the terminal is only for this process
            )
        resources.enter_context(logger)  # waits for the process
        resources.callback(logger.terminate)
        return logger

    def _until(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait for a condition.

        Raises:
            TryLater: It does not become true in time, or a logger exits.
        """
        deadline = time.monotonic() + patience
        while not condition():
            ended = [number for number, logger in enumerate(self._loggers) if logger.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise TryLater(f"a logger makes no progress: {self._last_line(ended[0] if ended else 0)}")
            time.sleep(LOOK)

    def _last_line(self, number: int) -> str:
        lines = (self._folder / f"log-{number}").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it has logged nothing"


def _prefix(number: int) -> str:
    return f"listener-{number}:"


def running_seconds(pid: int) -> float:
    """Return the processor time of a process in seconds; ticks would be too coarse for a logger."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in tasks) / 1e9


def measure_listeners(numbers: list[int], seconds: float, program: str) -> None:
    """Measure, and print the results and the limits."""
    print(f"loggers ({program}), each for {seconds:g} s in real time, while something plays", flush=True)
    print("loggers   memory of one: resident, share   processor of one: hour, poll   requests", end="")
    print("   Redis: operations, memory, processor", flush=True)
    costs = []
    for number in sorted(numbers):
        with ExitStack() as resources:
            cost = Crowd(resources, number, program).measure(seconds)
        costs.append(cost)
        print(
            f"{cost.loggers:>7}{cost.resident / MEGABYTE:>22.1f} MB{cost.share / MEGABYTE:>6.1f} MB"
            f"{cost.hourly:>18.2f} s/h{1000 * cost.per_poll:>6.1f} ms{cost.requests:>9.2f}/s"
            f"{cost.operations:>17.2f}/s{cost.server_memory / MEGABYTE:>6.1f} MB"
            f"{cost.server_hourly:>8.1f} s/h",
            flush=True,
        )
    if len(costs) > 1:
        print(*limits(costs[0], costs[-1]), sep="\n")


def limits(few: Cost, many: Cost) -> Iterator[str]:
    """Yield how many listeners each resource is enough for, by the cost of a further one; smallest first."""

    def further(measure: Callable[[Cost], float]) -> float:
        return (measure(many) - measure(few)) / (many.loggers - few.loggers)

    memory = further(lambda cost: cost.share * cost.loggers + cost.server_memory)
    loggers = further(lambda cost: cost.hourly * cost.loggers)
    server = further(lambda cost: cost.server_hourly)
    requests = further(lambda cost: cost.requests)
    operations = further(lambda cost: cost.operations)
    yield (
        f"each further logger: {memory / MEGABYTE:.1f} MB, {loggers:.2f} s of processor time per hour"
        f" and {server:.2f} s of that of Redis,"
        f" {requests:.3f} requests and {operations:.2f} operations per second"
    )
    free = PI_MEMORY - SYSTEM_MEMORY
    found = {
        "a Spotify app in development mode": float(APP_LISTENERS),
        "the memory of a Pi with 1 GB, without plays": free / memory,
        f"the memory of a Pi with 1 GB, when each has {LATER_PLAYS:,} plays": (
            free / (memory + LATER_PLAYS * PLAY_SIZE)
        ),
        "a processor like this one, for everything": 3600 / (loggers + server),
        f"a processor that takes {PI_SLOWNESS} times as long, for everything": (
            3600 / (loggers + server) / PI_SLOWNESS
        ),
        "a processor like this one, for Redis alone": 3600 / server,
    }
    for place, (name, number) in enumerate(sorted(found.items(), key=lambda limit: limit[1])):
        yield f"{'the first limit' if place == 0 else 'then'}: {name}, enough for {int(number):,} listeners"


# Keys


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
    store = Archive(url, _prefix(number))
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
    environment = {"REDIS_URL": url, "REDIS_PREFIX": _prefix(number)}
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
        command = [sys.executable, __file__, "write", url, str(plays), *map(str, numbers[place::writers])]
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


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parts = parser.add_subparsers(dest="part", required=True, metavar="listeners|keys")
    listeners = parts.add_parser("listeners", help="many loggers with one Redis")
    listeners.add_argument(
        "--for", dest="seconds", type=float, default=300.0, help="seconds to measure each number of loggers"
    )
    listeners.add_argument("--supervised", action="store_true", help="run each under its own run.py")
    listeners.add_argument(
        "numbers", type=int, nargs="*", default=[1, 5, 50], help="numbers of loggers (default: 1 5 50)"
    )
    keys = parts.add_parser("keys", help="very many plays in a cluster")
    keys.add_argument("--plays", type=int, default=10_000_000, help="number of plays (default: ten million)")
    keys.add_argument(
        "--servers", type=int, default=3, help="number of servers: 3 or more, or 1 without a cluster"
    )
    keys.add_argument("--writers", type=int, default=os.cpu_count() or 1, help="number of writing processes")
    writer = parts.add_parser("write")  # one of the processes of `keys`
    writer.add_argument("url")
    writer.add_argument("plays", type=int)
    writer.add_argument("numbers", type=int, nargs="+")
    return parser.parse_args()


def main() -> int:
    """Measure, or run as one of the writing processes."""
    options = _parse()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops what was started, as Ctrl-C does
    try:
        return measure(options)
    except (SpotifyLoggerError, redis.RedisError, OSError) as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def measure(options: argparse.Namespace) -> int:
    """Run the chosen measurement."""
    if options.part == "write":
        write(options.url, options.numbers, options.plays)
        return os.EX_OK
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    print(f"{platform.python_implementation()} {platform.python_version()} on {machine}", flush=True)
    if options.part == "listeners":
        measure_listeners(options.numbers, options.seconds, "run.py" if options.supervised else "log.py")
    else:
        measure_keys(options.plays, options.servers, options.writers)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
