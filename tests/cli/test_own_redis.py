"""The logger's own Redis, which a command opens while nothing runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from spotify_logger.cli.own_redis import own_redis
from spotify_logger.config import settings as settings_module
from spotify_logger.config import sources
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.embedded_server import EmbeddedServer, is_listening
from spotify_logger.system import lock_file
from tests.cli.conftest import play, run_main, write
from tests.conftest import free_port

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def port(here: pytest.MonkeyPatch) -> int:
    """The port of the default address, at which nothing listens."""
    port = free_port()
    here.delenv("REDIS_URL")
    here.setitem(sources.DEFAULTS, "REDIS_URL", f"redis://127.0.0.1:{port}/0")
    return port


@pytest.fixture
def years(port: int, tmp_path: Path) -> Path:
    """A state folder with the plays that a logger has left, which does not run any more."""
    server = EmbeddedServer(tmp_path / "state" / "redis", "127.0.0.1", port)
    server.start()
    for prefix in ("", "anna:"):
        with closing(Archive(server.url, prefix)) as store:
            write(store, play("Veridis Quo"))
    server.stop()
    return tmp_path / "state"


@pytest.mark.parametrize("words", [["recent"], ["--listener", "anna", "recent"]])
def test_a_command_reads_it_while_nothing_runs(
    years: Path, port: int, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_main(words, capsys)
    assert (code, err) == (0, "")
    assert "Veridis Quo" in out
    assert not is_listening("127.0.0.1", port)
    os.close(lock_file.acquire(years, "run.py", timeout=0))


def test_what_a_command_writes_stays(years: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_main(["forget", "veridis", "--yes"], capsys)[0] == 0
    assert "Veridis Quo" not in run_main(["recent"], capsys)[1]


def test_a_logger_that_starts_meanwhile_waits_for_the_command(years: Path) -> None:
    settings = settings_module.load(years.parent, os.environ, need_login=False)
    starter = (
        "import sys; from spotify_logger.system import lock_file; lock_file.acquire(sys.argv[1], 'run.py')"
    )
    with own_redis(settings):
        logger = subprocess.Popen([sys.executable, "-c", starter, str(years)])
        time.sleep(0.5)  # it fails at once if it does not wait
    assert logger.wait(30) == 0


def test_it_ends_with_a_command_that_is_killed(years: Path, port: int) -> None:
    settings = settings_module.load(years.parent, os.environ, need_login=False)
    child = os.fork()
    if not child:
        with own_redis(settings):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    os.close(lock_file.acquire(years, "run.py"))
    assert not is_listening("127.0.0.1", port)


def test_nothing_is_playing_now_while_nothing_runs(
    years: Path, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run_main(["now"], capsys)
    assert code == 1
    assert f"nothing is listening on 127.0.0.1:{port}: start the logger" in err


@pytest.mark.parametrize("has_data", [False, True])
def test_without_data_or_with_those_of_another_user_it_says_to_start_the_logger(
    years: Path, port: int, here: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, has_data: bool
) -> None:
    if has_data:
        uid = os.geteuid() + 1
        here.setattr(os, "geteuid", lambda: uid)
    else:
        shutil.rmtree(years / "redis")
    before = time.time_ns()
    code, out, err = run_main(["recent"], capsys)
    assert (code, out) == (1, "")
    assert f"nothing is listening on 127.0.0.1:{port}: start the logger" in err
    assert all(path.stat().st_mtime_ns < before for path in years.rglob("*"))
