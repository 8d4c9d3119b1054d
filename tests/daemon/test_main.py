"""The logger as a real process, alone and under `run.py`: a simulated Spotify over HTTP, a real Redis."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

import pytest
import redis

from spotify_logger.core.times import from_iso
from spotify_logger.daemon.main import HeartbeatPipe, main, run
from spotify_logger.daemon.poller import Turn
from spotify_logger.daemon.preflight import prepare
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.faults import Fault
from spotify_logger.simulator.history import History
from spotify_logger.storage import embedded_server
from spotify_logger.storage.embedded_server import is_listening
from spotify_logger.storage.outbox import OUTBOX_FILE, Outbox
from spotify_logger.supervisor.processes import parse_beats
from spotify_logger.system.clock import Clock
from spotify_logger.system.program import catch_signals
from tests.conftest import free_port, is_there, open_files, wait_until
from tests.stage import LOG, LONG_TRACK_SECONDS, REDIS_PASSWORD, ROOT, Stage
from tests.testbed.virtual_run import VirtualRun, make_settings
from tests.testbed.virtual_time import VirtualClock, VirtualWorld

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.config.settings import Settings
    from spotify_logger.daemon.poller import Poller

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture
def stage(tmp_path: Path, redis_url: str) -> Iterator[Stage]:
    stage = Stage(tmp_path, redis_url)
    yield stage
    stage.close()


@pytest.fixture
def restore_signals() -> Iterator[None]:
    """Undo what `catch_signals` does to this process."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    os.close(signal.set_wakeup_fd(-1))
    for number, handler in before.items():
        signal.signal(number, handler)


def test_log_py_locks_its_folder_and_saves_its_state(stage: Stage) -> None:
    process = stage.start("-X", "importtime", LOG, SPOTIFY_CLIENT_SECRET=None)
    wait_until(lambda: stage.newest()[0] == "Long")
    assert stage.status()["pid"] == str(process.pid)
    assert stage.start(LOG).wait(120) == 1
    assert f"another logger is using {stage.folder}/state: pid {process.pid}" in stage.lines()[-1]
    process.terminate()
    assert process.wait(120) == 0
    first, answered, _, stopped = stage.lines()
    assert first.startswith("polling Spotify every 0.1 to 0.3 s during playback, writing to Redis at ")
    assert answered.startswith("Spotify answers: playing ")
    assert stopped == "stopped"
    assert "rich" not in stage.imported()
    status = stage.status()
    assert (status["state"], status["next_poll"]) == ("stopped", "")
    assert stage.store.send([("EXISTS", "now_playing")]) == [0]
    with closing(Outbox(stage.state_dir / OUTBOX_FILE, time.monotonic)) as outbox:
        assert outbox.note("beat") == str(from_iso(status["last_poll"]))
        assert outbox.note("tracker") == status["tracker"]
        assert outbox.note("requests") == status["requests_by_hour"]


def test_run_py_restarts_a_killed_loop_which_continues_the_play(stage: Stage) -> None:
    for name in ("run.py", "log.py"):
        shutil.copy(ROOT / name, stage.folder)
    stage.plays_now(History(time.time()).gone(LONG_TRACK_SECONDS))
    supervisor = stage.start("run.py")
    stage.wait_for_poll()
    loop = int(stage.status()["pid"])
    history = History(time.time()).play(song("A", 3)).play(song("B", 4))
    stage.plays_now(history.play(song("C", LONG_TRACK_SECONDS)))
    wait_until(lambda: stage.newest()[0] == "B")
    _, second, _ = stage.newest()
    os.kill(loop, signal.SIGKILL)
    wait_until(lambda: stage.newest()[0] == "C")
    for name in ("error_502", "html", "cut", "truncated", "permissions_missing"):
        stage.server._service.faults.add(Fault(name, requests=1), time.time())
    wait_until(lambda: "this login does not allow" in stage.log())
    stage.assert_no_secret_is_logged()
    supervisor.terminate()
    assert supervisor.wait(120) == 0
    newest_first = stage.store.recent(20)
    assert newest_first[1][0] == second
    assert [play["name"] for _, play in newest_first] == ["C", "B", "A"]
    assert not is_there(int(stage.status()["pid"]))
    assert "the loop ended: killed by SIGKILL; restarting in 1 s" in stage.lines()


@pytest.mark.usefixtures("restore_signals")
def test_arguments_and_wrong_settings_are_refused_without_showing_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    url = f"redis://:{REDIS_PASSWORD}@x/0?port=no"
    monkeypatch.setattr(os, "environ", {"SPOTIFY_CLIENT_ID": "x", "REDIS_URL": url})
    assert main([]) == os.EX_CONFIG
    for argument, code in (("--demo", 2), ("--help", 0)):
        with pytest.raises(SystemExit) as ended:
            main([argument])
        assert ended.value.code == code
    error = capsys.readouterr().err
    assert "a query option that redis-py does not know" in error
    assert "usage: log.py" in error
    assert REDIS_PASSWORD not in error


@pytest.mark.usefixtures("restore_signals")
@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_signals_ask_it_to_stop(number: signal.Signals) -> None:
    clock = Clock(wake_fd := catch_signals(number))
    assert not clock.is_woken()
    os.kill(os.getpid(), number)
    assert clock.is_woken()
    assert os.read(wake_fd, 9) == bytes([number])
    os.close(wake_fd)


def default_redis(folder: Path, port: int) -> Settings:
    """Return settings without REDIS_URL, as if the default port were another one."""
    return replace(make_settings(folder, f"redis://127.0.0.1:{port}/0"), redis_is_default=True)


class TestOwnRedis:
    def test_it_is_started_with_the_lock_and_stopped_in_the_end(self, tmp_path: Path) -> None:
        settings = default_redis(tmp_path, free_port())
        with ExitStack() as resources:
            prepare(settings, 0.0, resources)
            with redis.Redis.from_url(settings.redis_url) as client:
                pid = int(client.info("server")["process_id"])
            assert str(tmp_path / "lock") in list(open_files(pid))
            assert (tmp_path / "redis").is_dir()
        assert not is_there(pid)

    def test_it_is_not_started_where_one_is_set_or_running(self, tmp_path: Path, redis_url: str) -> None:
        running = urlsplit(redis_url).port or 0
        is_set = make_settings(tmp_path, f"redis://127.0.0.1:{free_port()}/0")
        for settings in (is_set, default_redis(tmp_path, running)):
            with ExitStack() as resources:
                prepare(settings, 0.0, resources)
        assert list(tmp_path.iterdir()) == [tmp_path / "lock"]
        assert is_listening("127.0.0.1", running)

    def test_named_listeners_get_advice_instead(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        port = free_port()
        anna = default_redis(tmp_path, port).for_listener("anna")
        anna.state_dir.mkdir()
        with ExitStack() as resources:
            prepare(anna, 0.0, resources)
            assert not is_listening("127.0.0.1", port)
        (line,) = capsys.readouterr().err.splitlines()
        assert f"nothing is listening on 127.0.0.1:{port}" in line
        assert "sudo apt install redis-server" in line

    def test_without_a_server_program_there_is_advice(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(embedded_server, "find_server", lambda _: None)
        with ExitStack() as resources:
            prepare(default_redis(tmp_path, free_port()), 0.0, resources)
        assert "sudo apt install redis-server" in capsys.readouterr().err


class EarlyWaker(VirtualClock):
    """A clock whose sleep always ends early, and that is woken for good after two turns."""

    def __init__(self, start: float) -> None:
        super().__init__(start)
        self.turns: list[float] = []

    def is_woken(self) -> bool:
        return len(self.turns) == 2

    def sleep(self, seconds: float) -> None:
        super().sleep(min(seconds, 7.0))


def test_each_turn_tells_the_supervisor_how_long_the_next_may_take() -> None:
    clock = EarlyWaker(1_795_348_800.0)
    turns = clock.turns

    class FakePoller:
        def turn(self) -> Turn:
            turns.append(clock.monotonic())
            return Turn(clock.monotonic() + 30, len(turns) == 1, f"turn {len(turns)}")

    read_fd, write_fd = os.pipe()
    run(cast("Poller", FakePoller()), clock, HeartbeatPipe(write_fd), max_turn=90)
    beats = parse_beats(os.read(read_fd, 65536))
    for descriptor in (read_fd, write_fd):
        os.close(descriptor)
    waiting = "waiting for the first answer from Spotify"
    assert beats == [(90, False, waiting), (120, True, "turn 1"), (120, False, "turn 2")]
    assert turns[1] - turns[0] == 30


def test_a_logger_that_knows_nothing_yet_saves_no_state(tmp_path: Path) -> None:
    world = VirtualWorld.of(History(1_795_348_800.0).play(song("A", 500)).finish())
    virtual_run = VirtualRun(world, make_settings(tmp_path, f"redis://127.0.0.1:{free_port()}/0"))
    virtual_run.poller.turn()
    virtual_run.poller.flush()
    assert virtual_run.outbox.note("tracker") == ""
    virtual_run.close()
