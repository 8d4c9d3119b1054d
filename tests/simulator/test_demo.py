"""The demo as a real process, with everything that it starts."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from spotify_logger.cli.main import main
from spotify_logger.cli.own_redis import RunningDemo, enter_demo, note_path
from spotify_logger.queries.index import cache_folder
from spotify_logger.simulator import demo
from spotify_logger.simulator.habits import Habits
from spotify_logger.simulator.listener import listen
from spotify_logger.storage.embedded_server import NO_SERVER
from spotify_logger.system import program
from spotify_logger.system.clock import Clock
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError, TryLater
from spotify_logger.system.state import to_json
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TIMEOUT = 60.0
PLAY = r"    listening:\d{10} is in Redis: .+, (?:finished|skipped) after \d\.\d s\n"
QUESTION = "Ask about it in another terminal: "
SUMMARY = r"Plays heard: (\d+), plays logged: (\d+) \((\d) of them still open\), requests made: (\d+)\."


class DemoProcess:
    """A demo whose temporary files are in a folder of the test."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder / "tmp"
        self.folder.mkdir()
        self.log = folder / "log"
        environ = {**os.environ, "TMPDIR": str(self.folder)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "run.py"), "--demo", *arguments],
                env=environ,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                process_group=0,  # as a shell starts it
            )

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def children(self) -> dict[int, str]:
        """Return the command lines of everything it has started that still runs."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                # The server writes its title over its environment; it works in its folder.
                traces = (folder / "environ").read_text(errors="replace") + str((folder / "cwd").readlink())
                if str(self.folder) in traces:
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
        found.pop(self.process.pid, None)
        return found

    def wait_for_children(self) -> None:
        """Wait for server, simulator, supervisor and loop."""
        names = (
            "valkey-server|redis-server",
            "simulator",
            "spotify_logger.supervisor",
            "spotify_logger.daemon",
        )
        wait_until(
            lambda: all(any(re.search(name, each) for each in self.children().values()) for name in names),
            TIMEOUT,
        )

    def assert_nothing_is_left(self) -> None:
        assert self.children() == {}
        assert list(self.folder.iterdir()) == []

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        for pid in self.children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def started(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[DemoProcess]:
    process = DemoProcess(tmp_path, *getattr(request, "param", ()))
    yield process
    process.close()


def test_it_outlives_its_redis_and_ctrl_c_ends_it_with_a_summary(
    started: DemoProcess,
) -> None:
    assert started.read_line().startswith("A simulated listener plays ")
    assert re.fullmatch(PLAY, started.read_line())
    assert started.read_line().startswith(QUESTION)
    (server,) = (
        pid for pid, line in started.children().items() if re.search("valkey-server|redis-server", line)
    )
    os.kill(server, signal.SIGKILL)
    assert re.fullmatch(PLAY, started.read_line())
    os.killpg(started.process.pid, signal.SIGINT)
    *plays, summary = started.process.communicate(timeout=TIMEOUT)[0].splitlines()
    assert started.process.returncode == 0
    found = re.fullmatch(SUMMARY, summary)
    assert found, summary
    heard, logged, still_open, requests = map(int, found.groups())
    assert heard == logged >= 1
    assert 2 + len(plays) == logged - still_open
    log = started.log.read_text()
    assert len(re.findall(r" – .*, \d:\d\d of \d:\d\d, ", log)) == 2 + len(plays)
    assert "Traceback" not in log
    assert requests >= logged
    started.assert_nothing_is_left()


@pytest.mark.parametrize("started", [["--for", "0.5"]], indirect=True)
def test_it_ends_after_its_time_even_if_nobody_reads_its_output(started: DemoProcess) -> None:
    started.read_line()
    assert started.process.stdout is not None
    started.process.stdout.close()
    assert started.process.wait(TIMEOUT) == 0
    started.assert_nothing_is_left()


def ask(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "spotify_logger", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=TIMEOUT)


def test_the_question_that_it_prints_is_answered_until_it_is_killed(
    started: DemoProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_PREFIX", "mine:")
    line = next(line for line in iter(started.read_line, "") if line.startswith(QUESTION))
    words = shlex.split(line.removeprefix(QUESTION))
    found = ask(*words[words.index("--demo") :], "--json")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["plays"] >= 1  # at 40 times real time, none would be half a minute long
    assert ask("--demo", "status").returncode == 0
    assert [path.name for path in cache_folder().iterdir()] == ["demo.json"]
    assert note_path().stat().st_mode & 0o777 == 0o600
    started.wait_for_children()
    started.process.kill()
    started.process.wait()
    wait_until(lambda: not started.children())
    refused = ask("--demo", "count", "anything")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no demo is running" in refused.stderr


@pytest.mark.parametrize(
    "note", [None, "{", '{"pid": 0}', '{"pid": 99999999, "folder": "", "redis_url": ""}']
)
def test_without_a_demo_that_runs_the_command_says_so(note: str | None) -> None:
    if note is not None:
        note_path().parent.mkdir(parents=True)
        note_path().write_text(note)
    with pytest.raises(SpotifyLoggerError, match="no demo"):
        enter_demo()


@pytest.mark.parametrize("command", ["run", "login"])
def test_what_asks_nothing_is_refused(command: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--demo", command])
    assert caught.value.code == 2


def test_the_note_of_a_later_demo_stays() -> None:
    demos = [RunningDemo(os.getpid(), "/tmp", "redis://127.0.0.1:1", n) for n in (1, 2)]
    with demo.noted(demos[1]):
        with demo.noted(demos[0]):
            note_path().write_text(to_json(demos[1]))
        assert note_path().exists()
    assert not note_path().exists()


def test_the_page_shows_a_history_until_the_logger_exits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "HISTORY_DAYS", 3)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(ROOT)
    with ExitStack() as resources:
        running = demo.Demo(resources, demo.WEB_MODE)
        running.watch(0, Clock())
        address = re.match(r"The page is at (http://127\.0\.0\.1:\d+/) ", capsys.readouterr().out)
        assert address
        with urllib.request.urlopen(f"{address[1]}top/tracks", timeout=TIMEOUT) as answer:
            page = answer.read().decode()
        assert "Top tracks" in page
        assert "at least 7.5 s count" in page
        cover = re.search(r'src="(/covers/\w+\.svg)"', page)
        assert cover
        with urllib.request.urlopen(address[1].rstrip("/") + cover[1], timeout=TIMEOUT) as answer:
            assert answer.headers["content-type"].startswith("image/svg+xml")
            assert "https:" not in answer.headers["content-security-policy"]
            assert answer.read().startswith(b"<svg ")
        wait_until(lambda: running._store.recent(1)[0][0] >= running._begun, TIMEOUT)
        running.finish()
        found = re.search(SUMMARY, capsys.readouterr().out)
        assert found
        assert found[1] == found[2]  # without the history
        with pytest.raises(TryLater, match="the logger exited"):
            running.watch(float("inf"), Clock())
    assert not list(tmp_path.glob("spotify-logger-demo-*"))


def test_its_first_plays_are_long_enough_for_a_busy_machine() -> None:
    """If this fails, habits have changed, and the demo needs another seed."""
    record = listen(demo.SEED, 0.1, Habits.dense(demo.TERMINAL_MODE.pace)).moved(0, demo.TERMINAL_MODE.pace)
    first_minute = [play for play in record.plays if play.started_at < 60]
    assert first_minute[0].ended_at > 4
    assert min(play.ended_at - play.started_at for play in first_minute) > 1


@pytest.mark.parametrize(
    ("problem", "code"), [(Misconfigured(NO_SERVER), 78), (TryLater("the simulator did not start"), 1)]
)
def test_it_says_why_it_cannot_run(
    problem: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "Demo", Mock(side_effect=problem))
    monkeypatch.setattr(program, "catch_signals", lambda *_: None)
    assert demo.main([]) == code
    assert capsys.readouterr().out == f"The demo cannot run: {problem}\n"


@pytest.mark.parametrize("arguments", [["--for"], ["--for", "0"], ["--for", "nan"], ["--fast"]])
def test_invalid_arguments_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        demo.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: run.py --demo [-h] [--web] [--for SECONDS]\n")
