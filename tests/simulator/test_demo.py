"""The demonstration as a real process, with everything that it starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from spotify_logger.core.play import Play
from spotify_logger.core.player_state import Item
from spotify_logger.core.times import from_iso
from spotify_logger.simulator import demo
from spotify_logger.simulator.habits import Habits
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.timeline import TruePlay
from spotify_logger.storage.embedded_server import NO_SERVER
from spotify_logger.system.errors import Misconfigured, TryLater
from tests.conftest import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
LONG = 60.0
"""Seconds in which a demonstration has surely ended."""


class Stage:
    """A folder for temporary files, and a demonstration that leaves its traces nowhere else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "tmp"
        self.folder.mkdir()
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start it as a shell does that sits at a terminal: as a process group of its own."""
        command = [sys.executable, str(ROOT / "run.py"), "--demo", *arguments]
        environ = {**os.environ, "TMPDIR": str(self.folder)}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=environ, stdout=subprocess.PIPE, stderr=log, process_group=0
            )
        return self.process

    def read(self) -> str:
        """What it says until it ends."""
        assert self.process is not None
        return self.process.communicate(timeout=LONG)[0].decode()

    def running(self) -> dict[int, str]:
        """The command lines of everything that it has started and that still runs, itself not among it."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                # The server writes its title over its environment; it works in its folder.
                traces = (folder / "environ").read_text(errors="replace") + str((folder / "cwd").readlink())
                if str(self.folder) in traces:
                    found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
        return {pid: command for pid, command in found.items() if self.process and pid != self.process.pid}

    def pid_of(self, name: str) -> int:
        return next(pid for pid, command in self.running().items() if name in command)

    def wait_for_all(self) -> None:
        """Wait until server, simulator, supervisor and loop are there."""
        names = ("valkey-server|redis-server", "simulator", "run.py", "log.py")

        def are_there() -> bool:
            return all(any(re.search(name, each) for each in self.running().values()) for name in names)

        wait_until(are_there)

    def assert_nothing_is_left(self) -> None:
        assert self.running() == {}
        assert list(self.folder.iterdir()) == []
        assert "Traceback" not in self.log.read_text()

    def close(self) -> None:
        if self.process and self.process.stdout:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            for pid in self.running():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not self.running())


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.close()


def test_it_ends_after_a_given_time_with_everything_that_was_heard(stage: Stage) -> None:
    process = stage.start("--for", "8")
    banner, *commands, summary = stage.read().splitlines()
    assert process.returncode == 0
    assert banner.startswith("A simulated listener plays 40 times as fast as in life")
    counts = r"Plays heard: (\d+), plays logged: (\d+) \((\d) of them still open\), requests made: (\d+)\."
    found = re.fullmatch(counts, summary)
    assert found, summary
    heard, logged, still_open, requests = map(int, found.groups())
    assert heard == logged >= 1
    assert len(commands) == logged - still_open
    assert all(re.fullmatch(r"    redis-cli -p \d+ hgetall listening:\d{10}", each) for each in commands)
    assert len(re.findall(r" – .*, \d:\d\d of \d:\d\d, ", stage.log.read_text())) == len(commands)
    assert requests >= logged
    stage.assert_nothing_is_left()


def test_what_ended_before_the_logger_was_there_is_not_counted() -> None:
    """A slow machine begins with the second play, whose first second has the end of the first one in it."""
    shown = demo.Demo.__new__(demo.Demo)
    shown._store = Mock(read_status=lambda: {"last_poll": "2026-11-22T18:01:00.000Z"})
    started_ms = from_iso("2026-11-22T18:00:10.700Z") or 0
    item = Item("track:x", "spotify:track:x", 5000, {})
    truth = [
        TruePlay(began, ended, 3000, item.key, item.uri, "Loser", ("Beck",), "", 5000, "skipped", "track")
        for began, ended in pairwise([started_ms / 1000 - 5, started_ms / 1000, started_ms / 1000 + 3])
    ]
    logged = Play(started_ms // 1000, item, started_ms + 40, started_ms + 2900, 2860)
    assert shown._visible(truth, [logged]) == truth[1:]


def test_with_the_page_there_is_a_year_to_look_at(stage: Stage) -> None:
    process = stage.start("--web", "--for", "5")
    assert process.stdout is not None
    words = process.stdout.readline().decode()
    address = re.match(r"The page is at (http://127\.0\.0\.1:\d+/) - open it in a browser", words)
    assert address, words
    with urllib.request.urlopen(f"{address[1]}top/tracks", timeout=LONG) as answer:
        assert answer.status == 200
        assert b"Top tracks" in answer.read()
    *_, summary = stage.read().splitlines()
    assert process.returncode == 0
    found = re.fullmatch(r"Plays heard: (\d+), plays logged: (\d+) .*", summary)
    assert found, summary
    assert found[1] == found[2]  # of now alone, without the year before
    stage.assert_nothing_is_left()


def test_ctrl_c_leaves_no_process_and_no_file_behind(stage: Stage) -> None:
    process = stage.start()
    stage.wait_for_all()
    os.killpg(process.pid, signal.SIGINT)
    assert "Plays heard: " in stage.read()
    assert process.returncode == 0
    stage.assert_nothing_is_left()


def test_killed_it_takes_everything_with_it(stage: Stage) -> None:
    process = stage.start()
    stage.wait_for_all()
    process.kill()
    process.wait()
    wait_until(lambda: not stage.running())


def test_nobody_reads_any_more(stage: Stage) -> None:
    process = stage.start()
    stage.wait_for_all()
    assert process.stdout is not None
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(LONG) == 0
    stage.assert_nothing_is_left()


def test_a_logger_that_ends_by_itself_is_no_demonstration(stage: Stage) -> None:
    process = stage.start()
    stage.wait_for_all()
    os.kill(stage.pid_of("run.py"), signal.SIGTERM)
    assert stage.read().splitlines()[-1] == "The demo cannot run: the logger exited unexpectedly"
    assert process.returncode == 1
    stage.assert_nothing_is_left()


def test_its_first_plays_can_be_seen_by_a_busy_machine() -> None:
    """If this fails, people have other habits now, and the demonstration wants another seed."""
    record = listen(demo.SEED, 0.1, Habits.dense(demo.TERMINAL_MODE.pace)).moved(0, demo.TERMINAL_MODE.pace)
    first_minute = [play for play in record.plays if play.started_at < 60]
    assert first_minute[0].ended_at > 4
    assert min(play.ended_at - play.started_at for play in first_minute) > 1


@pytest.mark.parametrize(
    ("problem", "code"), [(Misconfigured(NO_SERVER), 78), (TryLater("the simulator did not start"), 1)]
)
def test_what_it_needs_is_not_there(
    problem: Exception, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise problem

    monkeypatch.setattr(demo, "Demo", fail)
    monkeypatch.setattr(demo, "StopSignal", object)
    assert demo.main([]) == code
    assert capsys.readouterr().out == f"The demo cannot run: {problem}\n"


def test_a_simulator_that_is_gone_is_a_line() -> None:
    stranded = demo.Demo.__new__(demo.Demo)
    stranded._spotify = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(TryLater, match="the simulator stopped answering"):
        stranded._control("truth")


@pytest.mark.parametrize(
    "arguments", [["--for"], ["--for", "long"], ["--for", "0"], ["--for", "nan"], ["--fast"]]
)
def test_wrong_arguments_start_nothing(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        demo.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: run.py --demo [-h] [--web] [--for SECONDS]\n")
