from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import termios
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.server import SimulatorServer
from spotify_logger.simulator.service import Service
from spotify_logger.spotify import oauth
from spotify_logger.spotify.oauth import Token, TokenFile
from tests.conftest import free_port
from tests.spotify.test_login import sent_to

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PREFLIGHT = [sys.executable, "-m", "spotify_logger.daemon.preflight"]
# Makes the terminal on descriptor 0 the controlling one, as a login does, and becomes the rest of the line.
ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
GENEROUS = 60.0


class Terminal:
    """A terminal of its own, with the preflight in it."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        report, report_write = os.pipe()
        self.report = os.fdopen(report)
        self.shown = ""
        self.process = subprocess.Popen(
            [sys.executable, "-c", ON_TERMINAL, *PREFLIGHT, "--report-fd", str(report_write)],
            cwd=folder,
            env=environ,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            pass_fds=[report_write],
        )
        os.close(report_write)
        self._slave = slave

    def wait_for(self, pattern: str) -> str:
        """Read what is shown until the pattern is there; return its match, or its group."""
        deadline = time.monotonic() + GENEROUS
        while (found := re.search(pattern, self.shown)) is None:
            self._read(deadline)
        return found[found.re.groups]

    def wait_for_question(self, prompt: str) -> None:
        """Read until the prompt is there, and the process sleeps in the read behind it.

        Python does not notice a signal that comes between the two before the next key is pressed.
        """
        self.wait_for(prompt)
        status = Path(f"/proc/{self.process.pid}/stat")
        deadline = time.monotonic() + GENEROUS
        while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def ends(self) -> int:
        """Read to the end; return the exit code."""
        code = self.process.wait(GENEROUS)
        while select.select([self._master], [], [], 0)[0]:
            self._read(time.monotonic() + GENEROUS)
        return code

    def agree(self) -> None:
        """Open the address, agree, and paste where that ends."""
        self.wait_for("Invalid redirect URI")
        self.type(sent_to(self.wait_for(r"\n(http\S+/authorize\?\S+)\n")) + "\n")

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self._slave)[3] & termios.ECHO)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.report.close()
        os.close(self._slave)
        os.close(self._master)

    def _read(self, deadline: float) -> None:
        readable, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        assert readable, f"nothing more came after: {self.shown!r}"
        self.shown += os.read(self._master, 4096).decode(errors="replace").replace("\r\n", "\n")


@contextmanager
def on_terminal(folder: Path, environ: dict[str, str]) -> Iterator[Terminal]:
    terminal = Terminal(folder, environ)
    try:
        yield terminal
    finally:
        terminal.close()


@pytest.fixture(scope="module")
def accounts() -> Iterator[str]:
    server = SimulatorServer(Service(listen(1, 0.1)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.url
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def environ(tmp_path: Path, accounts: str) -> dict[str, str]:
    """What the preflight is told, besides the id and the secret."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "TERM": "xterm",
        "STATE_DIR": str(tmp_path / "state"),
        "SPOTIFY_ACCOUNTS_URL": accounts,
        "SPOTIFY_REDIRECT_URI": f"http://127.0.0.1:{free_port()}/callback",
    }


def without_terminal(folder: Path, environ: dict[str, str]) -> tuple[int, str, str]:
    """Exit code, standard error, and the report."""
    read, write = os.pipe()
    with os.fdopen(read) as report:
        done = subprocess.run(
            [*PREFLIGHT, "--report-fd", str(write)],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            pass_fds=[write],
            check=False,
        )
        os.close(write)
        assert done.stdout == ""
        return done.returncode, done.stderr, report.read()


def test_a_first_run_asks_for_three_things_and_keeps_them(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "auth.example.py").write_bytes((ROOT / "auth.example.py").read_bytes())
    with on_terminal(tmp_path, environ) as terminal:
        terminal.wait_for("Client ID: ")
        assert f"redirect URI: {environ['SPOTIFY_REDIRECT_URI']}" in terminal.shown
        terminal.type(f"\n not an id\n '{DEMO_CLIENT_ID}'\n")
        terminal.wait_for("Client secret .*: ")
        assert not terminal.echoes
        terminal.type(f"{DEMO_CLIENT_SECRET}\n")
        terminal.agree()
        terminal.wait_for("Logged in")
        assert terminal.ends() == 0
        report = json.loads(terminal.report.read())
    assert report == {"state_dir": str(tmp_path / "state"), "redis": {"host": "127.0.0.1", "port": 6379}}
    assert terminal.shown.count("That does not look right") == 2
    assert DEMO_CLIENT_SECRET not in terminal.shown
    assert stat.S_IMODE((tmp_path / "auth.py").stat().st_mode) == 0o600
    kept = (tmp_path / "auth.py").read_text()
    assert f"client_id = '{DEMO_CLIENT_ID}'\n" in kept
    assert f"client_secret = '{DEMO_CLIENT_SECRET}'\n" in kept
    assert kept.count("\n") == (tmp_path / "auth.example.py").read_text().count("\n")
    token = TokenFile(tmp_path / "state" / oauth.TOKEN_FILE).load()
    assert token
    assert time.time() - 600 < (token.authorized_at or 0) <= time.time()

    code, said, again = without_terminal(tmp_path, environ)
    assert (code, said, json.loads(again)) == (0, "", report)


def test_what_else_is_in_auth_py_stays_and_a_secret_that_is_known_is_not_asked_for(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / "auth.py").write_text('client_id = ""\nmine = 1  # kept\n')
    (tmp_path / "auth.py").chmod(0o644)
    with on_terminal(tmp_path, {**environ, "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET}) as terminal:
        terminal.wait_for("Client ID: ")
        terminal.type(f"{DEMO_CLIENT_ID}\n")
        terminal.wait_for("Invalid redirect URI")
    assert "Client secret" not in terminal.shown
    assert (tmp_path / "auth.py").read_text() == f"client_id = '{DEMO_CLIENT_ID}'\nmine = 1  # kept\n"
    assert stat.S_IMODE((tmp_path / "auth.py").stat().st_mode) == 0o600


def test_without_a_secret_the_login_works_too(tmp_path: Path, environ: dict[str, str]) -> None:
    with on_terminal(tmp_path, environ) as terminal:
        terminal.wait_for("Client ID: ")
        terminal.type(f"{DEMO_CLIENT_ID}\n")
        terminal.wait_for("Client secret .*: ")
        terminal.type("\n")
        terminal.agree()
        assert terminal.ends() == 0
    assert (tmp_path / "auth.py").read_text() == f"client_id = '{DEMO_CLIENT_ID}'\nclient_secret = ''\n"


@pytest.mark.parametrize("at", ["Client ID: ", "Client secret .*: ", "Invalid redirect URI"])
def test_ctrl_c_ends_every_question_with_one_line(tmp_path: Path, environ: dict[str, str], at: str) -> None:
    with on_terminal(tmp_path, environ) as terminal:
        terminal.wait_for("Client ID: ")
        for prompt, answer in (("Client ID: ", DEMO_CLIENT_ID), ("Client secret .*: ", DEMO_CLIENT_SECRET)):
            if at == prompt:
                break
            terminal.wait_for(prompt)
            terminal.type(f"{answer}\n")
        terminal.wait_for_question(at)
        terminal.type("\x03")
        assert terminal.ends() == 130
        assert terminal.echoes
        assert terminal.report.read() == ""
    assert terminal.shown.endswith("\nInterrupted.\n")
    assert "Traceback" not in terminal.shown


@pytest.mark.parametrize("prompt", ["Client ID: ", "Client secret .*: "])
def test_an_end_of_the_input_is_one_line(tmp_path: Path, environ: dict[str, str], prompt: str) -> None:
    with on_terminal(tmp_path, environ) as terminal:
        terminal.wait_for("Client ID: ")
        if prompt != "Client ID: ":
            terminal.type(f"{DEMO_CLIENT_ID}\n")
        terminal.wait_for(prompt)
        terminal.type("\x04")
        assert terminal.ends() == 78
    assert "SPOTIFY_CLIENT_ID is not set" in terminal.shown
    assert "Traceback" not in terminal.shown


def test_garbage_typed_for_an_id_is_asked_for_again(tmp_path: Path, environ: dict[str, str]) -> None:
    with on_terminal(tmp_path, {**environ, "PYTHONUTF8": "1"}) as terminal:
        terminal.wait_for("Client ID: ")
        os.write(terminal._master, b"\xff\xfe\x1b[2J\n")
        terminal.wait_for("That does not look right")
        terminal.type(f"{DEMO_CLIENT_ID}\n")
        terminal.wait_for("Client secret .*: ")
        os.write(terminal._master, b"\xff\xfe\n")
        terminal.wait_for("That does not look right[^$]*That does not look right")


def test_a_wrong_secret_names_the_setting(tmp_path: Path, environ: dict[str, str]) -> None:
    credentials = {"SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID, "SPOTIFY_CLIENT_SECRET": "wrong-secret"}
    with on_terminal(tmp_path, {**environ, **credentials}) as terminal:
        terminal.agree()
        assert terminal.ends() == 78
    assert "Invalid client secret): correct SPOTIFY_CLIENT_ID and SPOTIFY_CLIENT_SECRET" in terminal.shown
    assert "Traceback" not in terminal.shown


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "SPOTIFY_CLIENT_ID is missing: copy auth.example.py to"),
        ({"SPOTIFY_CLIENT_ID": "x"}, "not logged in to Spotify yet: run `spotify-logger login`"),
        ({"SPOTIFY_CLIENT_ID": "x", "POLL_MAX": "no"}, "POLL_MAX in the environment must be"),
        ({"SPOTIFY_CLIENT_ID": "x", "STATE_DIR": "/dev/null/x"}, "set STATE_DIR to another one"),
    ],
)
def test_without_a_terminal_nobody_is_asked(
    tmp_path: Path, environ: dict[str, str], more: dict[str, str], message: str
) -> None:
    code, said, report = without_terminal(tmp_path, {**environ, **more})
    assert (code, report) == (78, "")
    assert message in said
    assert said.count("\n") == 1


def test_a_refresh_token_starts_a_machine_without_a_login(tmp_path: Path, environ: dict[str, str]) -> None:
    said = {
        "SPOTIFY_CLIENT_ID": "x",
        "SPOTIFY_REFRESH_TOKEN": "refresh-1",
        "REDIS_URL": "redis://127.0.0.1:6379/0",
    }
    code, words, report = without_terminal(tmp_path, {**environ, **said})
    assert (code, words) == (0, "")
    assert json.loads(report) == {"state_dir": str(tmp_path / "state"), "redis": None}


def test_a_listeners_supervisor_starts_no_redis(tmp_path: Path, environ: dict[str, str]) -> None:
    said = {"SPOTIFY_CLIENT_ID": "x", "SPOTIFY_REFRESH_TOKEN": "refresh-1", "LISTENER": "anna"}
    code, _, report = without_terminal(tmp_path, {**environ, **said})
    assert code == 0
    assert json.loads(report) == {"state_dir": str(tmp_path / "state" / "anna"), "redis": None}


def test_a_supervisor_that_is_gone_is_told_nothing(tmp_path: Path, environ: dict[str, str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*PREFLIGHT, "--report-fd", str(write)],
        cwd=tmp_path,
        env={**environ, "SPOTIFY_CLIENT_ID": "x", "SPOTIFY_REFRESH_TOKEN": "refresh-1"},
        capture_output=True,
        pass_fds=[write],
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("damaged", [False, True])
def test_a_dead_or_damaged_login_is_left_to_the_loop(
    tmp_path: Path, environ: dict[str, str], *, damaged: bool
) -> None:
    path = tmp_path / "state" / oauth.TOKEN_FILE
    path.parent.mkdir()
    TokenFile(path).save(Token("refresh-1", dead_at=1.0, dead_reason="revoked"))
    if damaged:
        path.write_bytes(path.read_bytes()[:20])
    code, said, report = without_terminal(tmp_path, {**environ, "SPOTIFY_CLIENT_ID": "x"})
    assert code == 0
    assert report
    assert said.count("\n") == int(damaged)


def test_an_auth_py_that_others_can_read_is_warned_about(tmp_path: Path, environ: dict[str, str]) -> None:
    (tmp_path / "auth.py").write_text("client_id = 'x'\n")
    (tmp_path / "auth.py").chmod(0o644)
    code, said, _ = without_terminal(tmp_path, {**environ, "SPOTIFY_REFRESH_TOKEN": "refresh-1"})
    assert code == 0
    assert said.rstrip().endswith(f"chmod 600 {tmp_path / 'auth.py'}")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, environ: dict[str, str]) -> None:
    with on_terminal(Path("/proc"), environ) as terminal:
        terminal.wait_for("Client ID: ")
        terminal.type(f"{DEMO_CLIENT_ID}\n")
        terminal.wait_for("Client secret .*: ")
        terminal.type("\n")
        assert terminal.ends() == 78
    assert "cannot write /proc/auth.py" in terminal.shown


def test_the_supervisors_interrupt_is_as_good_as_ctrl_c(tmp_path: Path, environ: dict[str, str]) -> None:
    with on_terminal(tmp_path, environ) as terminal:
        terminal.wait_for("Client ID: ")
        terminal.type(f"{DEMO_CLIENT_ID}\n")
        terminal.wait_for_question("Client secret .*: ")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.ends() == 130
        assert terminal.echoes
