from __future__ import annotations

import getpass
import json
import os
import pty
import re
import select
import stat
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import pytest

from spotify_logger.config.sources import TOKEN_FILE
from spotify_logger.daemon import preflight
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET
from spotify_logger.spotify import login
from spotify_logger.storage.outbox import LOG_ID_NOTE, OUTBOX_FILE, Outbox
from tests.conftest import free_port
from tests.simulated_login import redirect_of
from tests.stage import ROOT, Stage

if TYPE_CHECKING:
    from pathlib import Path

GENEROUS = 60.0


class PreflightTerminal:
    """A pseudoterminal that the preflight runs on."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        self.shown = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "spotify_logger.daemon.preflight"],
            cwd=folder,
            env=environ,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        self._slave = slave

    def wait_for(self, pattern: str, times: int = 1) -> str:
        """Read until a pattern is shown so many times; return its last match, or its group."""
        while len(found := list(re.finditer(pattern, self.shown))) < times:
            readable, _, _ = select.select([self._master], [], [], GENEROUS)
            assert readable, f"nothing more came after: {self.shown!r}"
            self.shown += os.read(self._master, 4096).decode().replace("\r\n", "\n")
        return found[times - 1][re.compile(pattern).groups]

    def answer(self, prompt: str, text: str, times: int = 1) -> None:
        self.wait_for(prompt, times)
        os.write(self._master, f"{text}\n".encode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._slave)
        os.close(self._master)


class Outcome(NamedTuple):
    code: int
    shown: str
    errors: str
    report: str


class PreflightInProcess:
    """Runs the preflight in this process: without a terminal, or with answers for its questions."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, **settings: str) -> Outcome:
        environ = {"HOME": str(self._folder), "STATE_DIR": str(self._folder / "state"), **settings}
        self._monkeypatch.setattr(os, "environ", environ)
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
            answer = left.pop(0)
            if isinstance(answer, str):
                return answer
            raise answer

        self._monkeypatch.setattr("builtins.input", ask)
        self._monkeypatch.setattr(getpass, "getpass", ask)
        self._monkeypatch.setattr(preflight, "_on_terminal", lambda: True)
        self._monkeypatch.setattr(login, "check_client", lambda _: None)
        self._monkeypatch.setattr(login, "login", lambda *_: None)


@pytest.fixture
def in_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> PreflightInProcess:
    monkeypatch.chdir(tmp_path)
    return PreflightInProcess(tmp_path, monkeypatch, capsys)


def test_first_run_asks_for_app_and_login_and_saves_them(
    tmp_path: Path, in_process: PreflightInProcess
) -> None:
    (tmp_path / "auth.example.py").write_bytes((ROOT / "auth.example.py").read_bytes())
    redirect_uri = f"http://127.0.0.1:{free_port()}/callback"
    with closing(Stage(tmp_path, "redis://127.0.0.1:1")) as stage:
        environ = {name: value for name, value in stage.environ.items() if not name.startswith("SPOTIFY_")}
        environ |= {"SPOTIFY_ACCOUNTS_URL": stage.server.url, "SPOTIFY_REDIRECT_URI": redirect_uri}
        with closing(PreflightTerminal(tmp_path, environ)) as terminal:
            for number, client_id in enumerate(("another-id", DEMO_CLIENT_ID), 1):
                terminal.answer("Client ID: ", client_id, number)
                terminal.answer("Client secret .*: ", "another-secret", number)
                terminal.wait_for("does not know this client", number)
                assert not (tmp_path / "auth.py").exists()
            terminal.answer("Client ID: ", f"\n not an id\n '{DEMO_CLIENT_ID}'", 3)
            terminal.answer("Client secret .*: ", DEMO_CLIENT_SECRET, 3)
            terminal.wait_for(f"redirect URI: {redirect_uri}")
            address = terminal.wait_for(r"\n(http\S+/authorize\?\S+)\n")
            assert not (tmp_path / "auth.py").exists()
            terminal.answer("Invalid redirect URI", redirect_of(address))
            terminal.wait_for("Saved in")
            assert terminal.process.wait(GENEROUS) == 0
    assert terminal.shown.count("That does not look right") == 2
    assert DEMO_CLIENT_SECRET not in terminal.shown
    assert stat.S_IMODE((tmp_path / "auth.py").stat().st_mode) == 0o600
    saved = (tmp_path / "auth.py").read_text()
    assert f"client_id = '{DEMO_CLIENT_ID}'\n" in saved
    assert f"client_secret = '{DEMO_CLIENT_SECRET}'\n" in saved
    assert saved.count("\n") == (tmp_path / "auth.example.py").read_text().count("\n")
    again = in_process.run()
    assert again[:3] == (0, "", "")
    assert json.loads(again.report) == {
        "state_dir": str(tmp_path / "state"),
        "redis": ["127.0.0.1", 6379],
    }


def test_a_known_secret_is_not_asked_for_and_the_rest_of_auth_py_stays(
    tmp_path: Path, in_process: PreflightInProcess
) -> None:
    (tmp_path / "auth.py").write_text('client_id = ""\nmine = 1  # kept\n')
    (tmp_path / "auth.py").chmod(0o644)
    in_process.answer(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "x-id")
    assert in_process.run(SPOTIFY_CLIENT_SECRET="x-secret").code == 0
    assert (tmp_path / "auth.py").read_text() == "client_id = 'x-id'\nmine = 1  # kept\n"
    assert stat.S_IMODE((tmp_path / "auth.py").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("answers", "code", "words"),
    [
        ([KeyboardInterrupt()], 130, "Interrupted."),
        (["x-id", EOFError()], 78, "SPOTIFY_CLIENT_ID is not set"),
    ],
)
def test_questions_that_lead_nowhere_end_with_one_line(
    in_process: PreflightInProcess,
    answers: list[str | BaseException],
    code: int,
    words: str,
) -> None:
    in_process.answer(*answers)
    outcome = in_process.run()
    assert (outcome.code, outcome.report) == (code, "")
    (line,) = outcome.errors.strip().splitlines()
    assert words in line


def test_nothing_is_asked_that_could_not_be_saved(
    in_process: PreflightInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/proc")
    in_process.answer()
    assert "cannot write /proc/auth.py" in in_process.run().errors


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "SPOTIFY_CLIENT_ID is missing: start the logger"),
        ({"SPOTIFY_CLIENT_ID": "x"}, "run `spotify-logger login`"),
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
    "settings",
    [
        {"REDIS_URL": "redis://127.0.0.1:6379/0"},
        {"REDIS_URL": "redis+sentinel://10.0.0.1:26379,10.0.0.2:26379/log"},
        {"LISTENER": "anna"},
    ],
)
def test_no_redis_is_reported_where_one_is_set_or_shared(
    in_process: PreflightInProcess, settings: dict[str, str]
) -> None:
    outcome = in_process.run(SPOTIFY_CLIENT_ID="x", SPOTIFY_REFRESH_TOKEN="refresh-1", **settings)
    assert outcome[:2] == (0, "")
    assert ("sudo apt install redis-server" in outcome.errors) == ("LISTENER" in settings)
    assert json.loads(outcome.report)["redis"] is None


def test_no_redis_is_reported_where_the_log_is_in_one_that_is_down(
    in_process: PreflightInProcess, tmp_path: Path
) -> None:
    login = {"SPOTIFY_CLIENT_ID": "x", "SPOTIFY_REFRESH_TOKEN": "refresh-1"}
    assert json.loads(in_process.run(**login).report)["redis"] is not None, "a new log may be in our own"
    outbox = Outbox(tmp_path / "state" / OUTBOX_FILE, time.monotonic)
    outbox.set_note(LOG_ID_NOTE, "0123456789abcdef")
    outbox.close()
    assert json.loads(in_process.run(**login).report)["redis"] is None
    (tmp_path / "state" / "redis").mkdir()
    assert json.loads(in_process.run(**login).report)["redis"] is not None, "it is in our own"


def test_a_service_starts_without_what_only_a_login_needs() -> None:
    code = "import sys, spotify_logger.daemon.preflight; print('requests' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n", "it would take a third of the time"


def test_a_damaged_login_is_left_to_the_loop(in_process: PreflightInProcess, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / TOKEN_FILE).write_text("{")
    outcome = in_process.run(SPOTIFY_CLIENT_ID="x")
    assert outcome.code == 0
    assert outcome.report


def test_files_that_others_can_read_are_reported(in_process: PreflightInProcess, tmp_path: Path) -> None:
    for name, mode in (("auth.py", 0o600), (".env", 0o640)):
        (tmp_path / name).write_text("client_id = 'x'\n")
        (tmp_path / name).chmod(mode)
    outcome = in_process.run(SPOTIFY_REFRESH_TOKEN="refresh-1")
    assert outcome.code == 0
    (warning,) = outcome.errors.splitlines()
    assert warning.endswith(f"chmod 600 {tmp_path / '.env'}")
