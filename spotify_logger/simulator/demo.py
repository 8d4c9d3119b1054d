"""`run.py --demo`: the real supervisor and logger with a simulated Spotify, in a temporary folder.

It uses a Redis server of its own, and neither the settings nor the token of the listener.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __name__ == "__main__":
    from spotify_logger.config import requirements

    requirements.check(
        "run.py --demo --web" if "--web" in sys.argv else "run.py --demo",
        alert=False,
        imports=("redis", "requests"),
    )

import requests

from spotify_logger.cli.own_redis import RunningDemo, note_path
from spotify_logger.core.play import Play
from spotify_logger.core.redis_keys import STATUS, play_key
from spotify_logger.core.times import from_iso
from spotify_logger.queries.question import MIN_LISTENED_MS
from spotify_logger.report.plays import ending
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, DEMO_REFRESH_TOKEN
from spotify_logger.simulator.comparison import compare
from spotify_logger.simulator.logged_history import make_logged_history
from spotify_logger.simulator.timeline import TruePlay
from spotify_logger.storage import embedded_server
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.client import StoreError
from spotify_logger.storage.embedded_server import EmbeddedServer
from spotify_logger.system import atomic_file, program, state
from spotify_logger.system.clock import Clock
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError, TryLater

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOST = "127.0.0.1"
SEED = 4
"""The seed of a listener whose first plays are long enough for a busy or slow machine to log."""
HISTORY_DAYS, HISTORY_AGE_SECONDS = 400, 900.0
"""Days of made-up history that the page shows, and how many seconds ago it ended."""
REFRESH_SECONDS = 0.2
"""Seconds between two checks for new plays in Redis."""
STOP_TIMEOUT = 15.0
"""Seconds that a process gets to exit."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Show the logger at work until Ctrl-C or for a given time, and return the exit code."""
    parser = argparse.ArgumentParser(prog="run.py --demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--web", action="store_true", help="also serve the web page, with a made-up year")
    parser.add_argument("--for", dest="seconds", type=float, default=math.inf, help="stop after SECONDS")
    options = parser.parse_args(arguments)
    if not options.seconds > 0:
        parser.error("SECONDS must be greater than 0")
    clock = Clock(program.catch_signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    try:
        with ExitStack() as resources:
            demo = Demo(resources, WEB_MODE if options.web else TERMINAL_MODE)
            demo.watch(time.monotonic() + options.seconds, clock)
            demo.finish()
    except SpotifyLoggerError as error:
        _print(f"The demo cannot run: {error}")
        return os.EX_CONFIG if isinstance(error, Misconfigured) else 1
    except BrokenPipeError:
        # Python flushes standard output again at exit: give it a file descriptor that accepts the data.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return os.EX_OK


@dataclass(frozen=True, slots=True)
class DemoMode:
    """How the demo runs.

    Attributes:
        pace: The speed of the listener, as a multiple of real time.
        poll_min: POLL_MIN of the logger.
        poll_max: POLL_MAX of the logger.
        simulator: More arguments for the simulator.
        page: Whether to start the web page, with a made-up history.
    """

    pace: int
    poll_min: str
    poll_max: str
    simulator: tuple[str, ...] = ()
    page: bool = False


TERMINAL_MODE = DemoMode(40, "0.2", "1")
"""A track of four minutes takes six seconds."""
WEB_MODE = DemoMode(4, "1", "5", ("--favourites",), page=True)
"""A track of four minutes takes one minute, so that the page can show its progress."""


class Demo:
    """The processes of a demo.

    Args:
        resources: Stops the processes and removes the files when it is closed.
        mode: How the demo runs.

    Raises:
        Misconfigured: There is no Redis server on this machine.
        TryLater: A process does not start.
    """

    def __init__(self, resources: ExitStack, mode: DemoMode = TERMINAL_MODE) -> None:
        self._mode = mode
        self._folder = Path(tempfile.mkdtemp(prefix="spotify-logger-demo-"))
        resources.callback(shutil.rmtree, self._folder, ignore_errors=True)
        self._server, self._port = start_server(self._folder / "redis")
        resources.callback(self._server.stop)
        self._store = Archive(self._server.url)
        resources.callback(self._store.close)
        if mode.page:
            make_logged_history(SEED, HISTORY_DAYS, time.time() - HISTORY_AGE_SECONDS).write(self._store)
        threshold = round(MIN_LISTENED_MS / mode.pace)
        self._note = RunningDemo(os.getpid(), str(self._folder), self._server.url, threshold)
        self._begun = int(time.time())
        self._simulator, self._spotify = _start_simulator(mode)
        resources.callback(_terminate, self._simulator)
        self._logger = self._start(*program.module_command("spotify_logger.supervisor"))
        resources.callback(_terminate, self._logger)
        self._running = {"the logger": self._logger}
        self._address = self._start_page(resources) if mode.page else ""
        resources.enter_context(noted(self._note))
        self._shown: set[int] = set()
        self._question = ""

    def watch(self, until: float, clock: Clock) -> None:
        """Show each play once it is in Redis, until a moment of the monotonic clock or Ctrl-C.

        Raises:
            TryLater: The logger exited unexpectedly, and its log says why; or Redis does not start again.
        """
        if self._address:
            _print(f"The page is at {self._address} - open it in a browser. It shows a made-up year.")
        _print(
            f"A simulated listener plays music at {self._mode.pace} times real time; the logger writes to "
            f"Redis at {HOST}:{self._port}. A play counts after {self._note.threshold / 1000:g} s, "
            "which is 30 s of music. Press Ctrl-C to stop; nothing is left behind."
        )
        while not clock.is_woken() and time.monotonic() < until:
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise TryLater(f"{name} exited unexpectedly")
            if not self._server.is_alive:
                self._server.start()
            self._show()
            clock.sleep(min(REFRESH_SECONDS, until - time.monotonic()))

    def finish(self) -> None:
        """Stop the logger, and compare what it has logged with what the listener heard."""
        _terminate(self._logger)
        self._show()
        truth = [TruePlay(**play) for play in self._control("truth")["plays"]]
        kept = (Play.from_hash(*play) for play in self._store.recent(len(truth) + 100))
        logged = [play for play in kept if play is not None and play.second >= self._begun]
        comparison = compare(truth, logged)
        heard = len(comparison.pairs) + len(self._visible(comparison.missed, logged))
        still_open = sum(play.end_reason is None for play in logged)
        asked = sum(sum(counts.values()) for counts in self._control("requests").values())
        _print(
            f"Plays heard: {heard}, plays logged: {len(logged)}"
            f" ({still_open} of them still open), requests made: {asked}."
        )

    def _visible(self, plays: list[TruePlay], logged: list[Play]) -> list[TruePlay]:
        """Return those of the plays that the running logger could have seen."""
        # The play before the first logged one is excluded, although it ended when that one began.
        begin = min((play.started_ms for play in logged), default=0) / 1000 + REFRESH_SECONDS
        last_poll = (from_iso(self._store.hash(STATUS).get("last_poll", "")) or 0) / 1000
        return [
            play for play in plays if begin < play.ended_at and play.started_at < last_poll - REFRESH_SECONDS
        ]

    def _show(self) -> None:
        """Print the plays that have ended since the last call, and once a question about one of them."""
        try:
            plays = self._store.recent(20)
        except StoreError:
            return  # the log of the logger says why, and what happens next
        for second, fields in reversed(plays):
            if "end_reason" in fields and second not in self._shown and second >= self._begun:
                self._shown.add(second)
                heard_ms = int(fields["ms_played"])
                how = f"{ending(fields, is_now=False)} after {heard_ms / 1000:.1f} s"
                _print(f"    {play_key(second)} is in Redis: {fields['name']}, {how}")
                if heard_ms >= self._note.threshold and not self._question:
                    self._question = _command_line("--demo", "count", fields["name"])
                    _print(f"Ask about it in another terminal: {self._question}")

    def _start(self, *command: str, **more: Any) -> subprocess.Popen[Any]:  # noqa: ANN401 - as Popen takes them
        """Start one of our programs in the temporary folder, with these settings only."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
        environment = kept | {
            "HOME": str(self._folder),
            "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID,
            "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET,
            "SPOTIFY_REFRESH_TOKEN": DEMO_REFRESH_TOKEN,
            "SPOTIFY_API_URL": self._spotify,
            "SPOTIFY_ACCOUNTS_URL": self._spotify,
            "REDIS_URL": self._server.url,
            "STATE_DIR": str(self._folder / "state"),
            "POLL_MIN": self._mode.poll_min,
            "POLL_MAX": self._mode.poll_max,
            "CACHE_DIRECTORY": str(self._folder / "cache"),
        }
        return subprocess.Popen(  # noqa: S603 - our own program
            embedded_server.bound_to_parent(command),
            env=environment,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **more,
        )

    def _start_page(self, resources: ExitStack) -> str:
        """Start the web page, and return its URL from the line that says it is ready."""
        command = program.module_command("spotify_logger.simulator.demo_page", str(self._note.threshold))
        page = self._start(*command, stdout=subprocess.PIPE, text=True)
        resources.callback(_terminate, page)
        ready = page.stdout.readline() if page.stdout else ""
        if not ready.startswith("The page is at "):
            raise Misconfigured("the page did not start; the line above says why")
        self._running["the page"] = page
        return str(ready.removeprefix("The page is at ").strip())

    def _control(self, what: str) -> Any:  # noqa: ANN401 - the simulator's JSON, whose shape is known
        with requests.Session() as session:
            session.trust_env = False  # a proxy would not reach loopback
            try:
                return session.get(f"{self._spotify}/control/{what}", timeout=STOP_TIMEOUT).json()
            except requests.RequestException:
                raise TryLater("the simulator stopped answering") from None


@contextmanager
def noted(demo: RunningDemo) -> Iterator[None]:
    """Keep a note (mode 0600) of a demo during the block, if it can be written; the latest demo wins."""
    note = state.to_json(demo)
    with suppress(OSError, RuntimeError):  # no home, or one without permission
        note_path().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.write_atomically(note_path(), note)
    try:
        yield
    finally:
        with suppress(OSError, RuntimeError):
            if atomic_file.read(note_path()) == note.encode():
                note_path().unlink()


def start_server(directory: Path) -> tuple[EmbeddedServer, int]:
    """Start a Redis server on a free port, and try again if another process takes it first."""
    for _ in range(5):
        with socket.create_server((HOST, 0)) as probe:
            port: int = probe.getsockname()[1]
        server = EmbeddedServer(directory, HOST, port)
        try:
            server.start()
        except TryLater as error:
            problem = error
        else:
            return server, port
    raise problem


def _start_simulator(mode: DemoMode) -> tuple[subprocess.Popen[str], str]:
    """Start the simulator, and return its URL from the line that says it is ready."""
    command = program.module_command("spotify_logger.simulator", "--seed", str(SEED))
    command += ["--pace", str(mode.pace), *mode.simulator]
    simulator = subprocess.Popen(  # noqa: S603 - our own program
        embedded_server.bound_to_parent(command), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    ready = simulator.stdout.readline() if simulator.stdout else ""
    if not ready.startswith("listening on "):
        _terminate(simulator)
        raise TryLater("the simulator did not start")
    return simulator, ready.removeprefix("listening on ").strip()


def _command_line(*arguments: str) -> str:
    """Return our command with these arguments, as it can be pasted into a shell."""
    installed = Path(sys.executable).with_name("spotify-logger")
    command = [str(installed)] if installed.exists() else [sys.executable, "-m", "spotify_logger"]
    on_path = shutil.which(installed.name) == str(installed)
    return shlex.join([*([installed.name] if on_path else command), *arguments])


def _terminate(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
