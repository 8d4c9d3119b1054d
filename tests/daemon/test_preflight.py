from __future__ import annotations

import getpass
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
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from spotify_logger.daemon import preflight
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.server import SimulatorServer
from spotify_logger.simulator.service import Service
from spotify_logger.spotify import oauth
from spotify_logger.spotify.oauth import Token, TokenFile
from tests.conftest import free_port, wait_until
from tests.spotify.test_login import sent_to

if TYPE_CHECKING:
    from collections.abc import Iterator

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

    def answer(self, prompt: str, text: str) -> None:
        self.wait_for(prompt)
        os.write(self._master, f"{text}\n".encode())

    def log_in(self) -> None:
        """Open the address, agree, and paste the address where that ends."""
        self.answer(LOGIN_PROMPT, sent_to(self.wait_for(r"\n(http\S+/authorize\?\S+)\n")))

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


class Outcome(NamedTuple):
    code: int
    shown: str
    errors: str
    report: str


class PreflightInProcess:
    """Runs the preflight in this process: without a terminal, or with answers for its questions."""

    def __init__(
        self, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._environ = environ
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, **settings: str) -> Outcome:
        self._monkeypatch.setattr(os, "environ", {**self._environ, **settings})
        read, write = os.pipe()
        with os.fdopen(read) as report:
            code = preflight.main(["--report-fd", str(write)])
            os.close(write)
            shown = self._capsys.readouterr()
            return Outcome(code, shown.out, shown.err, report.read())

    def answer(self, *answers: str | BaseException) -> None:
        """Give answers, or raise exceptions, and skip the login."""
        left = list(answers)

        def ask(prompt: str) -> str:
            sys.stdout.write(prompt)
            answer = left.pop(0)
            if isinstance(answer, str):
                return answer
            raise answer

        self._monkeypatch.setattr("builtins.input", ask)
        self._monkeypatch.setattr(getpass, "getpass", ask)
        self._monkeypatch.setattr(preflight, "_on_terminal", lambda: True)
        self._monkeypatch.setattr(preflight, "login_on_terminal", lambda *_: None)


@pytest.fixture
def in_process(
    environ: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> PreflightInProcess:
    monkeypatch.chdir(tmp_path)
    return PreflightInProcess(environ, monkeypatch, capsys)


def test_first_run_asks_for_app_and_login_and_saves_them(
    tmp_path: Path, environ: dict[str, str], in_process: PreflightInProcess
) -> None:
    (tmp_path / "auth.example.py").write_bytes((ROOT / "auth.example.py").read_bytes())
    with closing(PreflightTerminal(tmp_path, environ)) as terminal:
        terminal.answer(ID_PROMPT, f"\n not an id\n '{DEMO_CLIENT_ID}'")
        assert f"redirect URI: {environ['SPOTIFY_REDIRECT_URI']}" in terminal.shown
        terminal.wait_for(SECRET_PROMPT)
        assert not terminal.echoes
        terminal.answer(SECRET_PROMPT, DEMO_CLIENT_SECRET)
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

    again = in_process.run()
    assert (again.code, again.shown, again.errors, json.loads(again.report)) == (0, "", "", report)


def test_an_interrupted_question_leaves_the_terminal_as_it_was(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    with closing(PreflightTerminal(tmp_path, environ)) as terminal:
        terminal.answer(ID_PROMPT, DEMO_CLIENT_ID)
        terminal.wait_for(SECRET_PROMPT)
        # Python does not notice a signal between the prompt and the read before the next key is pressed.
        status = Path(f"/proc/{terminal.process.pid}/stat")
        wait_until(lambda: status.read_text().rpartition(")")[2].split()[0] == "S", GENEROUS)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait() == 130
        assert terminal.echoes
        assert terminal.report.read() == ""
    assert terminal.shown.endswith("\nInterrupted.\n")


def test_a_known_secret_is_not_asked_for_and_the_rest_of_auth_py_stays(
    tmp_path: Path, in_process: PreflightInProcess
) -> None:
    (tmp_path / "auth.py").write_text('client_id = ""\nmine = 1  # kept\n')
    (tmp_path / "auth.py").chmod(0o644)
    in_process.answer("x-id")
    assert in_process.run(SPOTIFY_CLIENT_SECRET="x-secret").code == 0
    assert (tmp_path / "auth.py").read_text() == "client_id = 'x-id'\nmine = 1  # kept\n"
    assert stat.S_IMODE((tmp_path / "auth.py").stat().st_mode) == 0o600


def test_garbage_is_asked_for_again_and_the_secret_is_optional(
    tmp_path: Path, in_process: PreflightInProcess
) -> None:
    garbage = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    in_process.answer(garbage, "", "x-id", garbage, "")
    outcome = in_process.run()
    assert outcome.code == 0
    assert outcome.shown.count("That does not look right") == 3
    assert (tmp_path / "auth.py").read_text() == "client_id = 'x-id'\nclient_secret = ''\n"


@pytest.mark.parametrize(
    ("answers", "code", "words"),
    [
        ([KeyboardInterrupt()], 130, "Interrupted."),
        (["x-id", EOFError()], 78, "SPOTIFY_CLIENT_ID is not set"),
        (["x-id", ""], 78, "cannot write /proc/auth.py"),
    ],
    ids=["Ctrl-C", "end of input", "folder that cannot be written"],
)
def test_questions_that_lead_nowhere_end_with_one_line(
    in_process: PreflightInProcess,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[str | BaseException],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir("/proc")
    in_process.answer(*answers)
    outcome = in_process.run()
    assert (outcome.code, outcome.report) == (code, "")
    (line,) = outcome.errors.strip().splitlines()
    assert words in line


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "SPOTIFY_CLIENT_ID is missing: copy auth.example.py to"),
        ({"SPOTIFY_CLIENT_ID": "x"}, "run `spotify-logger login`"),
        ({"SPOTIFY_CLIENT_ID": "x", "POLL_MAX": "no"}, "POLL_MAX in the environment"),
        ({"SPOTIFY_CLIENT_ID": "x", "STATE_DIR": "/dev/null/x"}, "set STATE_DIR to another one"),
    ],
)
def test_without_a_terminal_one_line_names_what_is_missing(
    in_process: PreflightInProcess, settings: dict[str, str], words: str
) -> None:
    outcome = in_process.run(**settings)
    assert (outcome.code, outcome.shown, outcome.report) == (78, "", "")
    (line,) = outcome.errors.splitlines()
    assert words in line


@pytest.mark.parametrize(
    ("settings", "folder"), [({"REDIS_URL": "redis://127.0.0.1:6379/0"}, ""), ({"LISTENER": "anna"}, "anna")]
)
def test_no_redis_is_reported_where_one_is_set_or_shared(
    in_process: PreflightInProcess, tmp_path: Path, settings: dict[str, str], folder: str
) -> None:
    outcome = in_process.run(**LOGGED_IN, **settings)
    assert outcome[:3] == (0, "", "")
    assert json.loads(outcome.report) == {"state_dir": str(tmp_path / "state" / folder), "redis": None}


def test_a_supervisor_that_is_gone_is_no_error(
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
    in_process: PreflightInProcess, tmp_path: Path, *, damaged: bool
) -> None:
    path = tmp_path / "state" / oauth.TOKEN_FILE
    path.parent.mkdir()
    TokenFile(path).save(Token("refresh-1", dead_at=1.0, dead_reason="revoked"))
    if damaged:
        path.write_bytes(path.read_bytes()[:20])
    outcome = in_process.run(SPOTIFY_CLIENT_ID="x")
    assert outcome.code == 0
    assert outcome.report
    assert outcome.errors.count("\n") == int(damaged)


def test_an_auth_py_that_others_can_read_is_reported(in_process: PreflightInProcess, tmp_path: Path) -> None:
    (tmp_path / "auth.py").write_text("client_id = 'x'\n")
    (tmp_path / "auth.py").chmod(0o644)
    outcome = in_process.run(SPOTIFY_REFRESH_TOKEN="refresh-1")
    assert outcome.code == 0
    assert outcome.errors.rstrip().endswith(f"chmod 600 {tmp_path / 'auth.py'}")
