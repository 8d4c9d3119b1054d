"""What does the logger cost? Memory, processor time, wakeups, and the time to recover from a crash.

It runs the real `run.py` with `log.py`, a Redis server, and a simulated Spotify behind HTTPS (with a
certificate made by openssl), in temporary folders and on free ports. It takes about four minutes, on Linux
only:

    python benchmarks/footprint.py [--quick]
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from spotify_logger.config.sources import DEFAULTS
from spotify_logger.core.poll_schedule import MAX_IDLE_FACTOR
from spotify_logger.core.redis_keys import STATUS
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, DEMO_REFRESH_TOKEN
from spotify_logger.simulator.demo import TERMINAL_MODE, start_server
from spotify_logger.simulator.faults import Fault
from spotify_logger.simulator.habits import Habits
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.server import HOST, SimulatorServer
from spotify_logger.simulator.service import PLAYER_PATH, Service
from spotify_logger.storage import embedded_server
from spotify_logger.storage.bulk import Archive
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError, TryLater

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[1]
POLLS = 1000
"""Polls before memory is measured."""
WARM_UP = 100
"""Polls before processor time is measured."""
DEATHS = 5
"""Crashes to measure, each with a new supervisor, since the delay grows with each further one."""
IDLE_STRETCH = 150.0
"""Seconds to measure while nothing plays."""
HEARD = 1.0
"""Seconds after a poll at which the supervisor knows of it, and the next idle poll is still far away."""
QUICKEST = "0.02"
LOOK = 0.02
"""Seconds between two checks of a condition."""
TRUSTED = "trusted.pem"
"""The file name of the certificates that the logger trusts."""
PATIENCE = 300.0
"""Seconds to wait for anything at most."""
COUNT_LINES = """
import sys
from pathlib import Path
import spotify_logger.daemon.main
files = [Path(module.__file__) for name, module in sys.modules.items() if name.startswith("spotify_logger")]
print(len(files), sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files))
"""
"""Prints how many modules of the project the loop loads, and their lines."""
MAPPING = re.compile(r"([0-9a-f]+)-[0-9a-f]+ ")
EMULATOR = 1 << 40
"""The address above which memory belongs to QEMU, which maps the emulated program far below itself."""


class Figure(NamedTuple):
    """A line of the table; the value should not exceed `aim`, if there is one."""

    name: str
    value: float
    unit: str
    aim: float | None = None

    def __str__(self) -> str:
        """Return the line, which says whether the aim is missed."""
        aim = "" if self.aim is None else f"{self.aim:g} {self.unit}"
        missed = self.aim is not None and self.value > self.aim
        return f"{self.name:<52}{self.value:>8.2f} {self.unit:<4}{aim:>8}{'  missed' if missed else ''}"


class RunningLogger:
    """A running logger with a Redis server and a simulated Spotify.

    Args:
        resources: Stops the processes and removes the files when it is closed.
        poll_min: POLL_MIN of the logger.
        poll_max: POLL_MAX of the logger.
        silent: Whether nothing plays.
        pace: The speed of the listener, as a multiple of real time.
        folder: An empty folder for all files; a temporary one by default.
        root: Where `run.py`, `log.py` and the package are.

    Raises:
        SpotifyLoggerError: A process does not start.
    """

    def __init__(  # noqa: PLR0913 - each benchmark needs some of them
        self,
        resources: ExitStack,
        poll_min: str,
        poll_max: str,
        *,
        silent: bool = False,
        pace: float = TERMINAL_MODE.pace,
        folder: Path | None = None,
        root: Path = ROOT,
    ) -> None:
        self._root = root
        self._folder = folder or Path(tempfile.mkdtemp(prefix="spotify-logger-footprint-"))
        resources.callback(shutil.rmtree, self._folder, ignore_errors=True)
        server, _ = start_server(self._folder / "redis")
        self.server = server.process.pid if server.process else None
        resources.callback(server.stop)
        self._store = Archive(server.url)
        resources.callback(self._store.close)
        self._service, spotify = start_simulator(resources, make_certificate(self._folder), pace)
        if silent:
            self._service.faults.add(Fault("nothing"), time.time())
        settings = {"REDIS_URL": server.url, "POLL_MIN": poll_min, "POLL_MAX": poll_max}
        self._supervisor = self._start_logger(resources, spotify, settings)
        self.until(lambda: "last_poll" in self.status())

    @property
    def supervisor(self) -> int:
        """The process ID of `run.py`."""
        return self._supervisor.pid

    @property
    def loop(self) -> int:
        """The process ID of `log.py`."""
        return int(self.status()["pid"])

    def polls(self) -> int:
        """The number of successful polls so far."""
        return sum(self._service.requests[PLAYER_PATH, status] for status in ("200", "204"))

    def status(self) -> dict[str, str]:
        """The status of the logger in Redis."""
        return self._store.hash(STATUS)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition.

        Raises:
            TryLater: It does not become true in time.
        """
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self._supervisor.poll() is not None or time.monotonic() > deadline:
                raise TryLater(f"the logger makes no progress: {self._last_line()}")
            time.sleep(LOOK)

    def until_polls(self, count: int) -> None:
        """Wait for the `count`th successful poll."""
        self.until(lambda: self.polls() >= count)

    def _start_logger(
        self, resources: ExitStack, spotify: str, settings: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        """Start the supervisor in a folder without settings files."""
        for name in ("run.py", "log.py"):
            shutil.copy(self._root / name, self._folder)
        command = embedded_server.bound_to_parent([sys.executable, str(self._folder / "run.py")])
        with (self._folder / "log").open("wb") as log:
            supervisor = subprocess.Popen(
                command,
                env={
                    **environment(spotify, self._folder / TRUSTED),
                    "PYTHONPATH": str(self._root),
                    "STATE_DIR": str(self._folder / "state"),
                    **settings,
                },
                stdin=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        resources.enter_context(supervisor)  # waits for the process
        resources.callback(supervisor.terminate)
        return supervisor

    def _last_line(self) -> str:
        lines = (self._folder / "log").read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it has logged nothing"


def make_certificate(folder: Path) -> Path:
    """Make a key and a certificate for loopback, and a file with it and all usually trusted certificates."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise Misconfigured("there is no openssl on this machine: sudo apt install openssl")
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=simulator"
    files = ["-addext", f"subjectAltName=IP:{HOST}", "-keyout", "key", "-out", "certificate"]
    subprocess.run([openssl, *words.split(), *files], cwd=folder, check=True, capture_output=True)
    key, certificate = (folder / "key").read_bytes(), (folder / "certificate").read_bytes()
    (folder / TRUSTED).write_bytes(Path(DEFAULT_CA_BUNDLE_PATH).read_bytes() + certificate)
    path = folder / "server.pem"
    path.write_bytes(key + certificate)
    return path


def environment(spotify: str, trusted: Path) -> dict[str, str]:
    """Return the environment of a logger that uses the simulated Spotify."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(ROOT),
        "REQUESTS_CA_BUNDLE": str(trusted),
        "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID,
        "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET,
        "SPOTIFY_REFRESH_TOKEN": DEMO_REFRESH_TOKEN,
        "SPOTIFY_API_URL": spotify,
        "SPOTIFY_ACCOUNTS_URL": spotify,
    }


def start_simulator(resources: ExitStack, certificate: Path, pace: float) -> tuple[Service, str]:
    """Serve a simulated Spotify whose listener never stops; return it and its URL."""
    record = listen(1, 1.0, Habits.dense(pace)).moved(time.time(), pace)
    service = Service(record)
    server = SimulatorServer(service)
    resources.callback(server.server_close)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    resources.callback(server.shutdown)
    return service, f"https://{HOST}:{server.server_address[1]}"


def size() -> list[Figure]:
    """Count the modules of the project that log.py loads, and their lines."""
    counted = subprocess.run(
        [sys.executable, "-c", COUNT_LINES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    modules, lines = map(int, counted.stdout.split())
    return [
        Figure("modules of the project that log.py loads", modules, ""),
        Figure("  their lines", lines, ""),
    ]


def busy() -> list[Figure]:
    """Measure memory and processor time after many polls in a short time."""
    with ExitStack() as resources:
        stage = RunningLogger(resources, QUICKEST, QUICKEST)
        stage.until_polls(WARM_UP)
        polls, used = stage.polls(), processor_seconds(stage.loop)
        stage.until_polls(POLLS)
        each = (processor_seconds(stage.loop) - used) / (stage.polls() - polls)
        return [
            *memory("run.py", stage.supervisor, 14),
            *memory("log.py", stage.loop, 42),
            Figure("processor time of log.py per poll", each * 1000, "ms"),
        ]


def memory(name: str, pid: int, aim: float) -> list[Figure]:
    """Measure the resident memory of a process, and its proportional share."""
    return [
        Figure(f"memory of {name} after {POLLS} polls", mapped(pid, "Rss"), "MB", aim),
        Figure("  with pages that others share counted in part", mapped(pid, "Pss"), "MB"),
    ]


def mapped(pid: int, name: str) -> float:
    """Return the total of a size over all mappings of a process, in MiB (proc(5), smaps).

    QEMU in user mode runs in the same process as the emulated program; its own memory is left out.
    """
    lines = Path(f"/proc/{pid}/smaps").read_text(encoding="ascii", errors="replace").splitlines()
    is_emulated = any("/qemu-" in line for line in lines)
    total, counts = 0, True
    for line in lines:
        if mapping := MAPPING.match(line):
            counts = not is_emulated or int(mapping[1], 16) < EMULATOR
        elif counts and line.startswith(f"{name}:"):
            total += int(line.split()[1])
    return total / 1024


def idle() -> list[Figure]:
    """Measure how often the supervisor wakes up while nothing plays.

    Polls become rarer for eight minutes. Each one wakes the supervisor once, when its beat arrives. All other
    wakeups are assumed to be timers, which continue at the same rate when polls are rare.
    """
    with ExitStack() as resources:
        stage = RunningLogger(resources, DEFAULTS["POLL_MIN"], DEFAULTS["POLL_MAX"], silent=True)
        first = after_next_poll(stage)
        stage.until(lambda: time.monotonic() - first.at > IDLE_STRETCH)
        last = after_next_poll(stage)
    minutes = (last.at - first.at) / 60
    polls, wakeups = last.polls - first.polls, last.wakeups - first.wakeups
    settled = 60 / (MAX_IDLE_FACTOR * float(DEFAULTS["POLL_MAX"])) + max(0, wakeups - polls) / minutes
    return [
        Figure(f"wakeups of run.py in {minutes:.1f} idle minutes with {polls} polls", wakeups, ""),
        Figure("wakeups of run.py per minute once idle has settled", settled, "", 2),
    ]


class WakeupCount(NamedTuple):
    """Counts up to a moment, which is in seconds of the monotonic clock."""

    at: float
    polls: int
    wakeups: int


def after_next_poll(stage: RunningLogger) -> WakeupCount:
    """Return the counts after the next poll, while nothing else happens."""
    stage.until_polls(stage.polls() + 1)
    time.sleep(HEARD)
    return WakeupCount(time.monotonic(), stage.polls(), field(stage.supervisor, "voluntary_ctxt_switches"))


def deaths() -> list[Figure]:
    """Measure how long the loop takes to recover from a SIGKILL."""
    seconds = [death() for _ in range(DEATHS)]
    name = f"SIGKILL of log.py to the next poll, {DEATHS} times: "
    return [
        Figure(f"{name}median", statistics.median(seconds), "s", 3),
        Figure(f"{name}longest", max(seconds), "s", 3),
    ]


def death() -> float:
    """Return the seconds from the SIGKILL of a loop until the first poll of the next one is in Redis."""
    with ExitStack() as resources:
        stage = RunningLogger(resources, "0.2", "1")
        victim = stage.loop
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        polled = stage.status()["last_poll"]

        def is_back() -> bool:
            status = stage.status()
            return status["pid"] != str(victim) and status["last_poll"] != polled

        stage.until(is_back)
        return time.monotonic() - killed


def field(pid: int, name: str) -> int:
    """Return a number from the status of a process (proc(5))."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def processor_seconds(pid: int) -> float:
    """Return the user and system time of a process in seconds (proc(5))."""
    _, _, rest = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")
    user, system = rest.split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Run all measurements, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="skip the idle minutes")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # stops what was started, as Ctrl-C does
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    print(f"{platform.python_implementation()} {platform.python_version()} on {machine}", flush=True)
    try:
        for measure in (size, busy, deaths) if options.quick else (size, busy, deaths, idle):
            print(*measure(), sep="\n", flush=True)
    except (SpotifyLoggerError, OSError) as error:
        print(f"cannot measure: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
