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

from spotify_logger.daemon import preflight
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.server import SimulatorServer
from spotify_logger.simulator.service import Service
from spotify_logger.spotify import oauth
from spotify_logger.spotify.oauth import Token, TokenFile
from tests.conftest import free_port
from tests.spotify.test_login import sent_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Preflight = Callable[..., tuple[int, str, str]]

ROOT = Path(__file__).parents[2]
PREFLIGHT = [sys.executable, "-m", "spotify_logger.daemon.preflight"]
# Makes the terminal on descriptor 0 the controlling one, as a login does, and runs the remaining arguments.
ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
GENEROUS = 60.0
LOGGED_IN = {"SPOTIFY_CLIENT_ID": "x", "SPOTIFY_REFRESH_TOKEN": "refresh-1"}
ID_PROMPT, SECRET_PROMPT, LOGIN_PROMPT = "Client ID: ", "Client secret .*: ", "Invalid redirect URI"


class PreflightTerminal:
    """A pseudoterminal that the preflight runs on."""

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
        """Read until a pattern is shown; return its match, or its group."""
        deadline = time.monotonic() + GENEROUS
        while (found := re.search(pattern, self.shown)) is None:
            self._read(deadline)
        return found[found.re.groups]

    def wait_for_question(self, prompt: str) -> None:
        """Read until a prompt is shown, and the process sleeps in the read behind it.

        Python does not notice a signal that comes between the two before the next key is pressed.
        """
        self.wait_for(prompt)
        status = Path(f"/proc/{self.process.pid}/stat")
        deadline = time.monotonic() + GENEROUS
        while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def type(self, text: str | bytes) -> None:
        os.write(self._master, text if isinstance(text, bytes) else text.encode())

    def answer(self, prompt: str, text: str) -> None:
        self.wait_for(prompt)
        self.type(f"{text}\n")

    def log_in(self) -> None:
        """Open the address, agree, and paste the address where that ends."""
        self.wait_for(LOGIN_PROMPT)
        self.type(sent_to(self.wait_for(r"\n(http\S+/authorize\?\S+)\n")) + "\n")

    def wait(self) -> int:
        """Read to the end; return the exit code."""
        code = self.process.wait(GENEROUS)
        while select.select([self._master], [], [], 0)[0]:
            self._read(time.monotonic() + GENEROUS)
        assert "Traceback" not in self.shown
        return code

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
def on_terminal(folder: Path, environ: dict[str, str]) -> Iterator[PreflightTerminal]:
    terminal = PreflightTerminal(folder, environ)
    try:
        yield terminal
    finally:
        terminal.close()


@pytest.fixture(scope="module")
def accounts_url() -> Iterator[str]:
    server = SimulatorServer(Service(listen(1, 0.1)))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.url
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def environ(tmp_path: Path, accounts_url: str) -> dict[str, str]:
    """All settings but the client ID and secret."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "TERM": "xterm",
        "STATE_DIR": str(tmp_path / "state"),
        "SPOTIFY_ACCOUNTS_URL": accounts_url,
        "SPOTIFY_REDIRECT_URI": f"http://127.0.0.1:{free_port()}/callback",
    }


@pytest.fixture
def run_without_terminal(
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Preflight:
    """Run the preflight in this process; return exit code, standard error and report."""
    monkeypatch.chdir(tmp_path)

    def run(**settings: str) -> tuple[int, str, str]:
        monkeypatch.setattr(os, "environ", {**environ, **settings})
        read, write = os.pipe()
        with os.fdopen(read) as report:
            code = preflight.main(["--report-fd", str(write)])
            os.close(write)
            shown = capsys.readouterr()
            assert shown.out == ""
            return code, shown.err, report.read()

    return run


def test_first_run_asks_for_app_and_login_and_saves_them(
    tmp_path: Path, environ: dict[str, str], run_without_terminal: Preflight
) -> None:
    (tmp_path / "auth.example.py").write_bytes((ROOT / "auth.example.py").read_bytes())
    with on_terminal(tmp_path, environ) as terminal:
        terminal.answer(ID_PROMPT, f"\n not an id\n '{DEMO_CLIENT_ID}'")
        assert f"redirect URI: {environ['SPOTIFY_REDIRECT_URI']}" in terminal.shown
        terminal.wait_for(SECRET_PROMPT)
        assert not terminal.echoes
        terminal.type(f"{DEMO_CLIENT_SECRET}\n")
        terminal.log_in()
        terminal.wait_for("Logged in")
        assert terminal.wait() == 0
        report = json.loads(terminal.report.read())
    assert report == {"state_dir": str(tmp_path / "state"), "redis": {"host": "127.0.0.1", "port": 6379}}
    assert terminal.shown.count("That does not look right") == 2
    assert DEMO_CLIENT_SECRET not in terminal.shown
    assert stat.S_IMODE((tmp_path / "auth.py").stat().st_mode) == 0o600
    saved = (tmp_path / "auth.py").read_text()
    assert f"client_id = '{DEMO_CLIENT_ID}'\n" in saved
    assert f"client_secret = '{DEMO_CLIENT_SECRET}'\n" in saved
    assert saved.count("\n") == (tmp_path / "auth.example.py").read_text().count("\n")
    assert TokenFile(tmp_path / "state" / oauth.TOKEN_FILE).load()

    code, errors, again = run_without_terminal()
    assert (code, errors, json.loads(again)) == (0, "", report)


def test_a_known_secret_is_not_asked_for_and_the_rest_of_auth_py_stays(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / "auth.py").write_text('client_id = ""\nmine = 1  # kept\n')
    (tmp_path / "auth.py").chmod(0o644)
    with on_terminal(tmp_path, {**environ, "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET}) as terminal:
        terminal.answer(ID_PROMPT, DEMO_CLIENT_ID)
        terminal.wait_for(LOGIN_PROMPT)
    assert "Client secret" not in terminal.shown
    assert (tmp_path / "auth.py").read_text() == f"client_id = '{DEMO_CLIENT_ID}'\nmine = 1  # kept\n"
    assert stat.S_IMODE((tmp_path / "auth.py").stat().st_mode) == 0o600


def test_garbage_is_asked_for_again_and_the_secret_is_optional(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    with on_terminal(tmp_path, {**environ, "PYTHONUTF8": "1"}) as terminal:
        terminal.wait_for(ID_PROMPT)
        terminal.type(b"\xff\xfe\x1b[2J\n")
        terminal.answer("That does not look right", DEMO_CLIENT_ID)
        terminal.wait_for(SECRET_PROMPT)
        terminal.type(b"\xff\xfe\n")
        terminal.answer(rf"right[^$]*right[^$]*{SECRET_PROMPT}", "")  # what comes before a prompt is dropped
        terminal.log_in()
        assert terminal.wait() == 0
    assert (tmp_path / "auth.py").read_text() == f"client_id = '{DEMO_CLIENT_ID}'\nclient_secret = ''\n"


@pytest.mark.parametrize(
    ("prompt", "key", "code"),
    [
        (SECRET_PROMPT, "\x03", 130),
        (LOGIN_PROMPT, "\x03", 130),
        (SECRET_PROMPT, "", 130),
        (SECRET_PROMPT, "\x04", 78),
    ],
    ids=["Ctrl-C", "Ctrl-C at login", "interrupted by the supervisor", "Ctrl-D"],
)
def test_questions_can_be_interrupted(
    tmp_path: Path, environ: dict[str, str], prompt: str, key: str, code: int
) -> None:
    with on_terminal(tmp_path, environ) as terminal:
        terminal.answer(ID_PROMPT, DEMO_CLIENT_ID)
        if prompt == LOGIN_PROMPT:
            terminal.answer(SECRET_PROMPT, DEMO_CLIENT_SECRET)
        terminal.wait_for_question(prompt)
        if key:
            terminal.type(key)
        else:
            terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == code
        assert terminal.echoes
        assert terminal.report.read() == ""
    assert ("\nInterrupted.\n" if code == 130 else "SPOTIFY_CLIENT_ID is not set") in terminal.shown


def test_a_folder_that_cannot_be_written_is_an_error(environ: dict[str, str]) -> None:
    with on_terminal(Path("/proc"), environ) as terminal:
        terminal.answer(ID_PROMPT, DEMO_CLIENT_ID)
        terminal.answer(SECRET_PROMPT, "")
        assert terminal.wait() == 78
    assert "cannot write /proc/auth.py" in terminal.shown


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "SPOTIFY_CLIENT_ID is missing: copy auth.example.py to"),
        ({"SPOTIFY_CLIENT_ID": "x"}, "run `spotify-logger login`"),
        ({"SPOTIFY_CLIENT_ID": "x", "POLL_MAX": "no"}, "POLL_MAX in the environment"),
        ({"SPOTIFY_CLIENT_ID": "x", "STATE_DIR": "/dev/null/x"}, "set STATE_DIR to another one"),
    ],
)
def test_without_a_terminal_what_is_missing_is_named_in_one_line(
    run_without_terminal: Preflight, settings: dict[str, str], message: str
) -> None:
    code, errors, report = run_without_terminal(**settings)
    assert (code, report) == (78, "")
    assert message in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("settings", "state_dir"),
    [({"REDIS_URL": "redis://127.0.0.1:6379/0"}, ""), ({"LISTENER": "anna"}, "anna")],
)
def test_no_redis_is_reported_where_one_is_set_or_shared(
    run_without_terminal: Preflight, tmp_path: Path, settings: dict[str, str], state_dir: str
) -> None:
    code, errors, report = run_without_terminal(**LOGGED_IN, **settings)
    assert (code, errors) == (0, "")
    assert json.loads(report) == {"state_dir": str(tmp_path / "state" / state_dir), "redis": None}


def test_a_supervisor_that_is_gone_gets_no_report(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "environ", {**environ, **LOGGED_IN})
    read, write = os.pipe()
    os.close(read)
    assert preflight.main(["--report-fd", str(write)]) == 0
    os.close(write)


@pytest.mark.parametrize("damaged", [False, True])
def test_an_expired_or_damaged_login_is_left_to_the_loop(
    run_without_terminal: Preflight, tmp_path: Path, *, damaged: bool
) -> None:
    path = tmp_path / "state" / oauth.TOKEN_FILE
    path.parent.mkdir()
    TokenFile(path).save(Token("refresh-1", dead_at=1.0, dead_reason="revoked"))
    if damaged:
        path.write_bytes(path.read_bytes()[:20])
    code, errors, report = run_without_terminal(SPOTIFY_CLIENT_ID="x")
    assert code == 0
    assert report
    assert errors.count("\n") == int(damaged)


def test_an_auth_py_that_others_can_read_is_reported(run_without_terminal: Preflight, tmp_path: Path) -> None:
    (tmp_path / "auth.py").write_text("client_id = 'x'\n")
    (tmp_path / "auth.py").chmod(0o644)
    code, errors, _ = run_without_terminal(SPOTIFY_REFRESH_TOKEN="refresh-1")
    assert code == 0
    assert errors.rstrip().endswith(f"chmod 600 {tmp_path / 'auth.py'}")
