"""A disk that is full or fails, a token file that is none, two loggers at once: real processes and disks."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING

import pytest

from spotify_logger.simulator.accounts import DEMO_REFRESH_TOKEN
from spotify_logger.simulator.faults import TOKEN_PATH
from spotify_logger.spotify.oauth import Token, TokenFile
from tests.conftest import free_port, start_again, start_server, wait_until
from tests.stage import LiveRun

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.storage.embedded_server import EmbeddedServer


class SmallDisk:
    """A small disk of its own, which can be filled, and made read-only.

    Args:
        folder: Where it is mounted.
        device: What is mounted there.
        options: For `mount`.
    """

    def __init__(self, folder: Path, device: str, *options: str) -> None:
        self.folder = folder
        self._filler = folder / "filler"
        folder.mkdir()
        run_as_root("mount", *options, device, str(folder))

    def fill(self) -> None:
        """Leave no byte."""
        with self._filler.open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(bytes(4096)):
                pass

    def free(self) -> None:
        self._filler.unlink()

    def remount(self, options: str) -> None:
        run_as_root("mount", "-o", f"remount,{options}", str(self.folder))

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


def run_as_root(*command: str) -> None:
    """Run what only root may do, and not everywhere."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"{command[0]} cannot be run: {error}")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no disk can be had here: {error.stderr.partition(chr(10))[0]}")


class Resources(ExitStack):
    """What a test needs, closed in reverse order: what was started on a disk uses it to the end."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        super().__init__()
        self.folder = folder
        self.redis_url = redis_url

    def memory_disk(self) -> SmallDisk:
        return self._disk("tmpfs", "-t", "tmpfs", "-o", "size=8m,mode=700")

    def failing_disk(self) -> SmallDisk:
        """A disk that can fail as an SD card does: the kernel makes it read-only, whatever is open there."""
        image = self.folder / "image"
        image.touch()
        os.truncate(image, 16 * 1024 * 1024)
        run_as_root("mkfs.ext4", "-q", str(image))
        return self._disk(str(image), "-o", "loop")

    def _disk(self, device: str, *options: str) -> SmallDisk:
        return self.enter_context(closing(SmallDisk(self.folder / "disk", device, *options)))

    def server(self, folder: Path) -> EmbeddedServer:
        """A Redis server of its own."""
        server = start_server(folder / "redis")
        self.callback(server.stop)
        self.redis_url = server.url
        return server

    def life(self, state_dir: Path | None = None) -> LiveRun:
        life = self.enter_context(closing(LiveRun(self.folder, self.redis_url)))
        life.environ["STATE_DIR"] = str(state_dir or self.folder / "state")
        return life


@pytest.fixture
def resources(tmp_path: Path, redis_url: str) -> Iterator[Resources]:
    with Resources(tmp_path, redis_url) as resources:
        yield resources


def kill(server: EmbeddedServer) -> None:
    assert server.process is not None
    server.process.kill()
    server.process.wait()


class TestDiskOfTheLogger:
    def test_plays_wait_in_memory_while_it_is_full(self, resources: Resources) -> None:
        disk, server = resources.memory_disk(), resources.server(resources.folder)
        life = resources.life(disk.folder)
        disk.fill()
        supervisor = life.begin()
        life.wait_for_line("outbox.sqlite cannot be written: database or disk is full;")
        kill(server)
        life.wait_until_redis_is(away=True)
        start_again(server)
        life.wait_until_redis_is(away=False)
        disk.free()
        life.wait_for_line("outbox.sqlite is writable again and has everything")
        life.end(supervisor)
        with closing(sqlite3.connect(disk.folder / "outbox.sqlite")) as database:
            rows = database.execute("SELECT started_ms FROM plays").fetchall()
        assert {started_ms for (started_ms,) in rows} == {play.started_ms for play in life.logged()}
        assert sum("cannot be written" in line for line in life.lines()) == 1

    def test_what_redis_loses_with_a_full_disk_is_written_again(self, resources: Resources) -> None:
        disk = resources.memory_disk()
        server = resources.server(disk.folder)
        life = resources.life()
        supervisor = life.begin()
        for outage, is_killed in enumerate((False, True), 1):
            disk.fill()
            life.wait_for_line("plays are queued", outage)
            life.wait_for_answers(3)
            if is_killed:
                kill(server)
            disk.free()
            if is_killed:
                start_again(server)
            life.wait_for_line("Redis is back", outage)
        life.end(supervisor)
        assert "cannot save to disk and does not accept writes: is the disk full or read-only?" in life.log()
        life.assert_outages_are_logged()

    def test_a_read_only_one_is_locked_and_used(self, resources: Resources) -> None:
        disk = resources.memory_disk()
        disk.remount("ro")
        life = resources.life(disk.folder)
        life.change_timings(orphan_timeout=0.2)
        life.plays_now(life.long_track())
        process = life.start_loop()
        wait_until(lambda: life.newest()[0] == "Long")
        assert life.start_loop().wait(30) == 1
        assert life.lines()[-1] == f"another logger is using {disk.folder}: unknown process"
        process.terminate()
        assert process.wait(30) == 0
        assert "the login cannot be saved (Read-only file system): kept in memory" in life.log()
        assert "Traceback" not in life.log()

    def test_one_that_fails_while_it_is_used(self, resources: Resources) -> None:
        disk = resources.failing_disk()
        life = resources.life(disk.folder)
        supervisor = life.begin()
        disk.remount("abort")
        life.wait_for_line("outbox.sqlite cannot be written")
        life.wait_for_answers(5)
        life.send(life.loop_of(supervisor), signal.SIGKILL)
        life.wait_for_line(f"the disk with {disk.folder} is read-only")
        life.wait_for_answers(5)
        life.end(supervisor)


class TestToken:
    def test_an_invalid_one_is_set_aside_and_a_new_one_waited_for(self, resources: Resources) -> None:
        life = resources.life()
        life.environ.pop("SPOTIFY_REFRESH_TOKEN")
        life.plays_now(life.long_track())
        life.state_dir.mkdir()
        path = life.state_dir / "token.json"
        path.write_text("garbage")
        process = life.start_loop()
        wait_until(lambda: life.status().get("login") == "needed")
        assert "nobody is logged in: run `spotify-logger login`" in life.lines()
        TokenFile(path).save(Token(DEMO_REFRESH_TOKEN))
        wait_until(lambda: life.newest()[0] == "Long")
        process.terminate()
        assert process.wait(30) == 0
        life.assert_no_secret_is_logged()
        assert "Traceback" not in life.log()
        assert path.with_name("token.json.bad").read_text() == "garbage"

    def test_a_login_while_it_runs_is_used_at_once(self, resources: Resources) -> None:
        """By the real command, and a browser that follows where it is sent."""
        life = resources.life()
        life.environ["SPOTIFY_REDIRECT_URI"] = f"http://127.0.0.1:{free_port()}/callback"
        life.environ["SPOTIFY_REFRESH_TOKEN"] = "AQ-a-login-that-is-dead"
        life.plays_now(life.long_track())
        supervisor = life.start_supervisor()
        life.wait_for_line("run `spotify-logger login`")
        command = subprocess.Popen(
            [sys.executable, "-m", "spotify_logger", "login"],
            cwd=life.folder,
            env=life.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with command:
            assert command.stdout is not None
            url = next(line for line in command.stdout if "/authorize?" in line)
            with urllib.request.urlopen(url.strip(), timeout=20) as page:
                assert "You can close this page" in page.read().decode()
            assert "Logged in." in command.stdout.read()
        assert command.returncode == 0
        wait_until(lambda: life.newest()[0] == "Long")
        assert life.server._service.requests[TOKEN_PATH, "400"] == 1
        supervisor.terminate()
        assert supervisor.wait(30) == 0
        assert len(life.server.pids()) == 1
        life.assert_no_secret_is_logged()


def test_of_two_loggers_one_is_standby_until_the_other_ends(resources: Resources) -> None:
    life = resources.life()
    life.plays_now(life.long_track())
    supervisor = life.start_supervisor()
    wait_until(lambda: life.newest()[0] == "Long")
    before = life.newest()
    standby = life.start_supervisor(STATE_DIR=str(resources.folder / "other"))
    life.wait_for_line("is active; this one stands by")
    active = life.server.pids()
    supervisor.terminate()
    assert supervisor.wait(30) == 0
    life.wait_for_line("taking over from the logger on")
    wait_until(lambda: life.server.pids() > active)
    life.wait_for_answers(3)
    standby.terminate()
    assert standby.wait(30) == 0
    assert life.newest() == before
    assert len(life.logged()) == 1
    assert "Traceback" not in life.log()
