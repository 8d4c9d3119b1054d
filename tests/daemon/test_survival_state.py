"""A disk that is full or fails, a token file that is none, two loggers at once: real processes and disks."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spotify_logger.simulator.accounts import DEMO_REFRESH_TOKEN
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.faults import TOKEN_PATH
from spotify_logger.simulator.history import History
from spotify_logger.spotify.oauth import Token, TokenFile
from tests.conftest import free_port, start_again, start_server, wait_until
from tests.stage import LONG_TRACK_SECONDS, LiveRun

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.storage.embedded_server import EmbeddedServer


class Rig:
    """What a test needs, let go of in reverse order: what was started on a disk uses it to the end."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.redis_url = redis_url
        self.resources = ExitStack()

    def disk(self) -> Disk:
        """A small disk in memory."""
        return self._disk("tmpfs", "-t", "tmpfs", "-o", "size=8m,mode=700")

    def card(self) -> Disk:
        """A disk that can fail as an SD card does: the kernel makes it read-only, whatever is open there."""
        image = self.folder / "image"
        image.touch()
        os.truncate(image, 16 * 1024 * 1024)
        run("mkfs.ext4", "-q", str(image))
        return self._disk(str(image), "-o", "loop")

    def _disk(self, device: str, *options: str) -> Disk:
        disk = Disk(self.folder / "disk", device, *options)
        self.resources.callback(disk.close)
        return disk

    def server(self, folder: Path) -> EmbeddedServer:
        """A Redis server of its own."""
        server = start_server(folder / "redis")
        self.resources.callback(server.stop)
        self.redis_url = server.url
        return server

    def life(self, state_dir: Path | None = None) -> LiveRun:
        life = LiveRun(self.folder, self.redis_url)
        self.resources.callback(life.close)
        life.environ["STATE_DIR"] = str(state_dir or self.folder / "state")
        return life


@pytest.fixture
def rig(tmp_path: Path, redis_url: str) -> Iterator[Rig]:
    rig = Rig(tmp_path, redis_url)
    with rig.resources:
        yield rig


class Disk:
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
        run("mount", *options, device, str(folder))

    def fill(self) -> None:
        """Leave no byte."""
        with self._filler.open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(bytes(4096)):
                pass

    def free(self) -> None:
        self._filler.unlink()

    def remount(self, options: str) -> None:
        run("mount", "-o", f"remount,{options}", str(self.folder))

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


def run(*command: str) -> None:
    """Run what only root may do, and not everywhere."""
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"{command[0]} cannot be run: {error}")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no disk can be had here: {error.stderr.partition(chr(10))[0]}")


class TestDisk:
    def test_full_for_a_while(self, rig: Rig) -> None:
        disk, server = rig.disk(), rig.server(rig.folder)
        life = rig.life(disk.folder)
        supervisor = life.begin()
        disk.fill()
        life.wait_for_line("outbox.sqlite cannot be written (database or disk is full): plays wait in memory")
        kill(server)
        life.wait_until_redis_is(away=True)
        start_again(server)
        life.wait_until_redis_is(away=False)
        disk.free()
        life.wait_for_line("outbox.sqlite is writable again and has everything")
        life.end(supervisor)
        life.assert_all_is_logged()
        assert started_on(disk.folder) == {play.started_ms for play in life.logged()}
        assert sum("cannot be written" in line for line in life.lines()) == 1

    def test_full_for_redis(self, rig: Rig) -> None:
        """It heals by itself; and killed while it is full, it has lost what it could not write."""
        disk = rig.disk()
        server = rig.server(disk.folder)
        life = rig.life()
        supervisor = life.begin()
        full = "cannot save to disk and does not accept writes: free disk space"
        for times, is_killed in ((1, False), (2, True)):
            disk.fill()
            life.wait_for_line(full, times)
            time.sleep(1.0)
            if is_killed:
                kill(server)
            disk.free()
            if is_killed:
                start_again(server)
            life.wait_for_line("Redis is back", times)
        life.end(supervisor)
        life.assert_all_is_logged()
        life.assert_outages_are_logged()

    def test_read_only_from_the_start(self, rig: Rig) -> None:
        disk = rig.disk()
        life = rig.life(disk.folder)
        life.tune("lock_file.ORPHAN_TIMEOUT = 0.2")
        life.end(life.begin())
        disk.remount("ro")
        supervisor = life.start("run.py")
        life.wait_for_answers(10)
        assert life.start("log.py").wait(30) == 1
        life.end(supervisor)
        life.assert_all_is_logged()
        says = f"cannot write to the state folder {disk.folder} (Read-only file system): plays are queued in "
        assert sum(line.startswith(says) for line in life.lines()) == 1
        busy = f"another logger works in {disk.folder}: "
        assert sum(line.startswith(busy) for line in life.lines()) == 1

    def test_read_only_and_never_used(self, rig: Rig) -> None:
        disk = rig.disk()
        disk.remount("ro")
        life = rig.life(disk.folder)
        life.plays_now(History(time.time()).play(song("Long", LONG_TRACK_SECONDS)))
        process = life.start("log.py")
        wait_until(lambda: life.newest()[0] == "Long")
        life.tune("lock_file.ORPHAN_TIMEOUT = 0.2")
        assert life.start("log.py").wait(30) == 1
        assert life.lines()[-1] == f"another logger works in {disk.folder}: unknown process"
        process.terminate()
        assert process.wait(30) == 0
        assert "the login cannot be saved (Read-only file system): kept in memory" in life.log()
        assert "Traceback" not in life.log()

    def test_it_fails_in_between(self, rig: Rig) -> None:
        card = rig.card()
        life = rig.life(card.folder)
        supervisor = life.begin()
        card.remount("abort")
        life.wait_for_line("outbox.sqlite cannot be written")
        life.wait_for_answers(10)
        life.send(life.loop_of(supervisor), signal.SIGKILL)
        life.wait_for_line(f"cannot write to the state folder {card.folder} (Read-only file system)")
        life.wait_for_answers(10)
        life.end(supervisor)
        life.assert_all_is_logged()


def kill(server: EmbeddedServer) -> None:
    assert server.process is not None
    server.process.kill()
    server.process.wait()


def started_on(folder: Path) -> set[int]:
    """When the plays started that are in the outbox."""
    with closing(sqlite3.connect(folder / "outbox.sqlite")) as database:
        return {started_ms for (started_ms,) in database.execute("SELECT started_ms FROM plays")}


TOKEN = json.dumps({"refresh_token": DEMO_REFRESH_TOKEN, "access_token": "", "expires_at": 0.0})


class TestToken:
    @pytest.mark.parametrize(
        "content", [TOKEN[:40], "\0\xff garbage", "", None], ids=["half", "garbage", "empty", "a folder"]
    )
    def test_none_is_waited_for(self, rig: Rig, content: str | None) -> None:
        life = rig.life()
        life.environ.pop("SPOTIFY_REFRESH_TOKEN")
        life.plays_now(History(time.time()).play(song("Long", LONG_TRACK_SECONDS)))
        life.state_dir.mkdir()
        path = life.state_dir / "token.json"
        if content is None:
            path.mkdir()
        else:
            path.write_text(content, encoding="latin-1")
        process = life.start("log.py")
        wait_until(lambda: life.status().get("login") == "needed")
        assert "nobody is logged in: run `spotify-logger login`" in life.lines()
        TokenFile(path).save(Token(DEMO_REFRESH_TOKEN))
        wait_until(lambda: life.newest()[0] == "Long")
        process.terminate()
        assert process.wait(30) == 0
        life.assert_no_secret_is_logged()
        assert "Traceback" not in life.log()
        kept = path.with_name("token.json.bad")
        assert kept.is_dir() if content is None else kept.read_text(encoding="latin-1") == content

    def test_one_that_is_spoilt_meanwhile_is_written_anew(self, rig: Rig) -> None:
        life = rig.life()
        supervisor = life.begin()
        path = life.state_dir / "token.json"
        path.write_text(TOKEN[:40])
        life.wait_for_line("token.json holds no token")
        life.fault("expired", requests=1)
        wait_until(path.with_name("token.json.bad").exists)
        assert path.with_name("token.json.bad").read_text() == TOKEN[:40]
        life.end(supervisor)
        life.assert_all_is_logged()
        assert Path(path).stat().st_mode & 0o777 == 0o600

    def test_a_login_while_it_runs_is_taken_at_once(self, rig: Rig) -> None:
        """By the real command, and a browser that follows where it is sent."""
        life = rig.life()
        life.environ["SPOTIFY_REDIRECT_URI"] = f"http://127.0.0.1:{free_port()}/callback"
        life.environ["SPOTIFY_REFRESH_TOKEN"] = "AQ-a-login-that-is-dead"
        life.plays_now(History(time.time()).play(song("Long", LONG_TRACK_SECONDS)))
        supervisor = life.start("run.py")
        life.wait_for_line("run `spotify-logger login`")
        asked = life.server._service.requests[TOKEN_PATH, "400"]
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
                assert "The answer has arrived" in page.read().decode()
            assert "Logged in." in command.stdout.read()
        assert command.returncode == 0
        wait_until(lambda: life.newest()[0] == "Long")
        assert life.server._service.requests[TOKEN_PATH, "400"] == asked == 1
        life.end(supervisor)
        assert len({shown.pid for shown in life.server.shown}) == 1
        life.assert_no_secret_is_logged()


class TestTwo:
    def test_on_one_state_folder_only_one_asks(self, rig: Rig) -> None:
        life = rig.life()
        supervisor = life.begin()
        busy = f"another logger works in {life.state_dir}: pid "
        for times, name in enumerate(("run.py", "log.py"), 1):
            assert life.start(name).wait(30) == 1
            assert sum(line.startswith(busy) for line in life.lines()) == times
        life.end(supervisor)
        life.assert_all_is_logged()
        # A slow machine is in time too rarely for this hasty supervisor, which starts the loop again then.
        starts = 1 + sum("it starts again" in line for line in life.lines())
        assert len({shown.pid for shown in life.server.shown}) <= starts

    def test_on_two_one_stands_by_until_the_other_one_ends(self, rig: Rig) -> None:
        life = rig.life()
        supervisor = life.begin()
        other = life.start("run.py", STATE_DIR=str(rig.folder / "other"))
        life.wait_for_line("is active; this one stands by")
        assert len({shown.pid for shown in life.server.shown}) == 1
        supervisor.terminate()
        assert supervisor.wait(30) == 0
        life.wait_for_line("taking over from the logger on")
        wait_until(lambda: len({shown.pid for shown in life.server.shown}) == 2)
        life.end(other)
        assert "Traceback" not in life.log()
        life.assert_all_is_logged()
