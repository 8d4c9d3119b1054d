"""How far does it scale? Many loggers on one machine with one Redis; `cluster.py` is about very many plays.

    python benchmarks/scale.py [--for 300] [--supervised] [1 5 50]

It runs real poll loops (`log.py`, or with `--supervised` each under its own `run.py`) in real time, with
separate folders and prefixes. They poll one simulated Spotify behind HTTPS, whose listener never stops, and
write to one real Redis. On Linux only.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import redis
from answers import used
from footprint import ROOT, TRUSTED, environment, make_certificate, mapped, start_simulator

from spotify_logger.core.redis_keys import STATUS
from spotify_logger.simulator.demo import start_server
from spotify_logger.simulator.service import PLAYER_PATH
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.embedded_server import bound_to_parent
from spotify_logger.system.errors import SpotifyLoggerError, TryLater

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spotify_logger.storage.embedded_server import EmbeddedServer

MEGABYTE = 1_000_000
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
            store = Archive(server.url, prefix(each))
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
            "REDIS_PREFIX": prefix(number),
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


def prefix(number: int) -> str:
    """Return the prefix of the keys of a listener, by number."""
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


def run(measure: Callable[[], None]) -> int:
    """Measure, and return the exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops what was started, as Ctrl-C does
    try:
        measure()
    except (SpotifyLoggerError, redis.RedisError, OSError) as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return os.EX_OK


def print_machine() -> None:
    """Print on what is measured."""
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    print(f"{platform.python_implementation()} {platform.python_version()} on {machine}", flush=True)


def main() -> None:
    """Measure each number of loggers."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--for", dest="seconds", type=float, default=300.0, help="seconds to measure each number of loggers"
    )
    parser.add_argument("--supervised", action="store_true", help="run each under its own run.py")
    parser.add_argument(
        "numbers", type=int, nargs="*", default=[1, 5, 50], help="numbers of loggers (default: 1 5 50)"
    )
    options = parser.parse_args()
    print_machine()
    measure_listeners(options.numbers, options.seconds, "run.py" if options.supervised else "log.py")


if __name__ == "__main__":
    sys.exit(run(main))
