"""Runs real processes against a simulated Spotify, which records its answers, and a real Redis."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import redis

from spotify_logger.core.play import Play
from spotify_logger.core.redis_keys import STATUS
from spotify_logger.core.times import from_iso
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, DEMO_REFRESH_TOKEN
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.comparison import compare
from spotify_logger.simulator.faults import Fault
from spotify_logger.simulator.habits import Habits
from spotify_logger.simulator.history import History
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.server import SimulatorServer
from spotify_logger.simulator.service import PLAYER_PATH, Service
from spotify_logger.storage.store import Store
from spotify_logger.system import program
from tests.conftest import SLOWNESS, wait_until

if TYPE_CHECKING:
    from spotify_logger.simulator.comparison import Comparison
    from spotify_logger.simulator.timeline import ListeningHistory, TruePlay
    from spotify_logger.spotify.http import Request, Response

ROOT = Path(__file__).parent.parent
LOG = str(ROOT / "log.py")
REDIS_PASSWORD = "a-password-of-redis"
LONG_TRACK_SECONDS = 36_000.0
"""Length in seconds of a track that outlasts every test."""
IMPORT = re.compile(r"import time:\s+\d+ \|\s+\d+ \| +(\S+)")
"""A line of `python -X importtime`."""

PACE = 60
"""Speed-up over real time: a track of four minutes takes four seconds."""
HABITS = replace(
    Habits.dense(PACE),
    flip=0.25,
    # Left out: what the tracker recognizes by thresholds in seconds, which do not shrink with the pace.
    podcast=0.0,
    audiobook=0.0,
    private=0.0,
    private_moment=0.0,
    repeat_one=0.0,
    replay=0.0,
    restart=0.0,
    seek=0.0,
)
UNOBSERVED_AFTER = 0.6
"""Seconds between two answers from which the time counts as unobserved; normally it polls faster."""
OUTAGE, RECOVERY = r"Redis at .*\(plays are queued", "Redis is back"
"""Patterns of the log lines for an outage of Redis, and for its end."""
SLACK_MS = 750 * SLOWNESS
"""Milliseconds by which a play that was observed throughout may be off."""


@dataclass(frozen=True, slots=True)
class ShownState:
    """An answer about the player: when and to which process it was given, and the item's uri, if any."""

    at: float
    pid: int
    uri: str

    def is_of(self, play: TruePlay) -> bool:
        return self.uri == play.uri and play.started_at <= self.at <= play.ended_at


class RecordingServer(SimulatorServer):
    """A simulated Spotify that records which process it gave which answer."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.shown: list[ShownState] = []

    def respond(self, request: Request, body: bytes) -> Response:
        response = super().respond(request, body)
        if request.url.partition("?")[0] == PLAYER_PATH and response.status in {200, 204}:
            with suppress(ValueError):  # a body damaged by a fault shows nothing
                item = (json.loads(response.body) if response.body else {}).get("item") or {}
                # `hasty_loop.py` gives its process id as its version.
                pid = request.headers.get("User-Agent", "").rpartition("/")[2]
                uri = item.get("uri", "")
                self.shown.append(ShownState(time.time(), int(pid) if pid.isdigit() else 0, uri))
        return response

    def pids(self) -> set[int]:
        """Return the processes that were given an answer."""
        return {shown.pid for shown in self.shown}

    def processed(self) -> list[ShownState]:
        """Return the answers that were certainly processed: their process lived to ask for the next one."""
        last = {shown.pid: shown for shown in self.shown}
        return [shown for shown in self.shown if shown is not last[shown.pid]]


class Stage:
    """A folder to run in, a simulated Spotify on a real port, a real Redis, and the processes of a test."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.raw = redis.Redis.from_url(redis_url, decode_responses=True)
        self.store = Store(redis_url)
        self.server = RecordingServer(Service(self.long_track().finish()))
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "PYTHONPATH": str(ROOT),
            "STATE_DIR": str(folder / "state"),
            "REDIS_URL": redis_url.replace("//", f"//default:{REDIS_PASSWORD}@"),
            "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID,
            "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET,
            "SPOTIFY_REFRESH_TOKEN": DEMO_REFRESH_TOKEN,
            "SPOTIFY_API_URL": self.server.url,
            "SPOTIFY_ACCOUNTS_URL": self.server.url,
            "POLL_MIN": "0.1",
            "POLL_MAX": "0.3",
        }

    @property
    def state_dir(self) -> Path:
        return Path(self.environ["STATE_DIR"])

    @staticmethod
    def long_track() -> History:
        """Return the history of a listener who plays one track that outlasts the test."""
        return History(time.time()).play(song("Long", LONG_TRACK_SECONDS))

    def plays_now(self, history: History) -> None:
        """Switch the listener to another history; earlier access tokens become invalid, the login stays."""
        self.server._service = Service(history.finish())

    def start(self, *arguments: str, **environ: str | None) -> subprocess.Popen[bytes]:
        """Start Python with these arguments; None takes a variable out of the environment."""
        wanted = {**self.environ, **environ}
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env={name: value for name, value in wanted.items() if value is not None},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def lines(self) -> list[str]:
        """Return the log lines, without times and without Python's import times."""
        return [line[20:] for line in self.log().splitlines() if not line.startswith("import time:")]

    def imported(self) -> set[str]:
        """The packages that a process with `-X importtime` has imported."""
        return {name.partition(".")[0] for name in IMPORT.findall(self.log())}

    def status(self) -> dict[str, str]:
        return self.store.hash(STATUS)

    def wait_for_poll(self) -> None:
        wait_until(lambda: self.status().get("last_poll"))

    def newest(self) -> tuple[str, int, bool]:
        """The name, the second, and whether it is open, of the play that started last."""
        ((second, fields),) = self.store.recent(1) or [(0, {})]
        return fields.get("name", ""), second, "end_reason" not in fields

    def ask(self, what: str) -> object:
        with urllib.request.urlopen(f"{self.server.url}/control/{what}", timeout=20) as answer:
            return json.load(answer)

    def assert_no_secret_is_logged(self) -> None:
        """Assert that no secret is in the log, nor in the command line of a process."""
        secrets = [REDIS_PASSWORD, DEMO_CLIENT_SECRET, DEMO_REFRESH_TOKEN]
        secrets += [json.loads((self.state_dir / "token.json").read_text())["access_token"]]
        assert all(secrets)
        command_lines = [Path(f"/proc/{process.pid}/cmdline") for process in self.processes]
        public = [self.log(), *(path.read_text() for path in command_lines if path.exists())]
        assert [secret for secret in secrets if any(secret in text for text in public)] == []

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
        self.store.close()
        self.raw.close()


class LiveRun(Stage):
    """A fast listener, a logger with short timings under its supervisor, and faults."""

    def __init__(self, folder: Path, redis_url: str, seed: int | None = None) -> None:
        super().__init__(folder, redis_url)
        self.seed = int.from_bytes(os.urandom(4)) if seed is None else seed
        self.chance = random.Random(self.seed)
        self.plays_now(History(time.time()).gone(LONG_TRACK_SECONDS))
        self.record = self.server._service.record
        sys.stdout.write(f"seed {self.seed}\n")  # to be seen when the test fails
        self.environ["REDIS_URL"] += "?socket_timeout=0.5&socket_connect_timeout=0.5"

    def change_timings(self, **timings: float) -> None:
        """Change timings of the loops that are started from now on, see `DaemonTimings`."""
        self.environ["HASTY_TIMINGS"] = json.dumps(timings)

    def start_supervisor(self, **environ: str) -> subprocess.Popen[bytes]:
        check = program.module_command("spotify_logger.daemon.preflight")
        commands = json.dumps([check, [sys.executable, "-m", "tests.hasty_loop"], {}, None, None])
        return self.start("-m", "tests.hasty_supervisor", commands, **environ)

    def start_loop(self) -> subprocess.Popen[bytes]:
        """Start the loop without a supervisor."""
        return self.start("-m", "tests.hasty_loop")

    def begin(self) -> subprocess.Popen[bytes]:
        """Start the logger, and then the listener."""
        supervisor = self.start_supervisor()
        self.wait_for_answers(1)
        self.record = make_record(self.seed).moved(time.time(), PACE)
        self.server._service = Service(self.record, seed=self.seed)
        self.wait_for_answers(3)
        return supervisor

    def loop_of(self, supervisor: subprocess.Popen[bytes]) -> int | None:
        """The process that the supervisor looks after at this moment, if there is one."""
        children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def wait_for_answers(self, count: int) -> None:
        """Wait until one process has been given so many answers in a row from now on."""
        before = len(self.server.shown)

        def are_given() -> bool:
            pids = [shown.pid for shown in self.server.shown[before:]]
            return len(pids) >= count and len(set(pids[-count:])) == 1

        wait_until(are_given, 30)

    def fault(self, name: str, **how: object) -> None:
        """Switch a fault of the simulator on, see `Fault`."""
        self.server._service.faults.add(Fault(name, **how), time.time())  # type: ignore[arg-type]

    def send(self, pid: int | None, number: signal.Signals) -> None:
        """Send a signal to a process, which may have ended."""
        with suppress(ProcessLookupError):
            if pid is not None:
                os.kill(pid, number)

    def stop_for(self, seconds: float, pid: int | None) -> None:
        """Let a process stand still for a while."""
        self.send(pid, signal.SIGSTOP)
        time.sleep(seconds)
        self.send(pid, signal.SIGCONT)

    def wait_for_line(self, words: str, count: int = 1) -> None:
        """Wait until so many lines were logged that hold these words."""
        wait_until(lambda: sum(words in line for line in self.lines()) >= count)

    def wait_until_redis_is(self, *, away: bool) -> None:
        """Wait until the last that was logged of Redis is that it is away, or that it is there again."""
        wait_until(lambda: [not line.startswith(RECOVERY) for line in self.outage_lines()][-1:] == [away])

    def outage_lines(self) -> list[str]:
        """Return the log lines about the start or end of an outage of Redis."""
        return [line for line in self.lines() if re.match(f"{OUTAGE}|{RECOVERY}", line)]

    def end(self, supervisor: subprocess.Popen[bytes]) -> None:
        """Let the logger bring to Redis what is queued, end it, and assert that every play is logged."""
        self.wait_for_answers(4)
        from_ms = time.time() * 1000
        wait_until(lambda: (from_iso(self.status().get("last_poll", "")) or 0) > from_ms, 30)
        self.assert_no_secret_is_logged()  # while there are command lines to look at
        supervisor.terminate()
        assert supervisor.wait(30) == 0
        self.assert_all_is_logged()

    def logged(self) -> list[Play]:
        """The plays that Redis has, every hash of which the index knows."""
        kept = self.store.recent(1000)
        keys = set(self.raw.keys("listening:*"))
        assert keys == {f"listening:{second}" for second, _ in kept}
        plays = [Play.from_hash(*play) for play in kept]
        assert None not in plays
        return [play for play in plays if play is not None]

    def assert_all_is_logged(self) -> None:
        """Assert that every processed play is logged exactly once and in full length, and nothing else."""
        assert "Traceback" not in self.log()
        pids = [pid for pid, _ in groupby(shown.pid for shown in self.server.shown)]
        assert len(pids) == len(set(pids)), "two loops polled at the same time"
        until = self.server.shown[-1].at
        truth = self.record.heard_by(until)
        processed = self.server.processed()
        shown = [play for play in truth if any(answer.is_of(play) for answer in processed)]
        assert shown
        # On a busy machine, `recently-played` may show a play that began after the last answer.
        verdict = compare(truth, (play for play in self.logged() if play.started_ms <= until * 1000))
        missed = [play for play in verdict.missed if play in shown]
        assert [missed, verdict.duplicates, verdict.phantoms] == [[], [], []]
        seen = [answer.at for answer in processed if answer.uri]
        assert_precise(verdict, [span for span in pairwise(seen) if span[1] - span[0] > UNOBSERVED_AFTER])

    def assert_outages_are_logged(self) -> None:
        """Assert that each outage of Redis has one line per problem, and one when it is over."""
        lines = self.outage_lines()
        outages = [list(group) for is_back, group in groupby(lines, lambda line: line.startswith(RECOVERY))]
        assert len(outages) % 2 == 0, lines
        for problems, recoveries in zip(outages[::2], outages[1::2], strict=True):
            assert len({line.partition("(plays")[0] for line in problems}) == len(problems), lines
            assert len(recoveries) == 1, lines


def make_record(seed: int) -> ListeningHistory:
    """Two minutes of a listener who is quick in the beginning, and hears nothing twice within four items.

    At this pace an item that is heard twice looks like a seek. The record is one at the pace of life.
    """
    while True:
        record = listen(seed, 120 * PACE / 86400, HABITS)
        uris = [play.uri for play in record.plays]
        again = any(uri in uris[index + 1 : index + 4] for index, uri in enumerate(uris))
        if not again and record.plays[9].started_at - record.plays[0].started_at < 10 * PACE:
            return record
        seed += 1


def assert_precise(verdict: Comparison, unobserved: list[tuple[float, float]]) -> None:
    """Assert that starts and lengths are right, except for unobserved starts and ends."""
    for pair in verdict.pairs:
        ends = (pair.truth.started_at, pair.truth.ended_at)
        unseen = sum(
            until - since for since, until in unobserved if any(since <= end <= until for end in ends)
        )
        within = SLACK_MS + 1000 * unseen
        assert max(pair.start_error_ms, pair.played_error_ms) <= within, (pair, unseen)
