"""The page as a process: its output, its exit and its requirements."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.web.page import served_url, start_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Starter = Callable[..., subprocess.Popen[str]]

LONG = 60.0


@pytest.fixture
def start(redis_url: str, tmp_path: Path) -> Iterator[Starter]:
    """Starts `spotify-logger web` in the folder of the test."""
    with ExitStack() as running:

        def start(*arguments: str, **more: str) -> subprocess.Popen[str]:
            process = start_page(redis_url, tmp_path, *arguments, stderr=subprocess.PIPE, **more)
            running.enter_context(process)
            running.callback(process.kill)
            return process

        yield start


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=LONG) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_prints_its_url_and_stops_on_a_signal(start: Starter, number: signal.Signals) -> None:
    process = start()
    url = served_url(process)
    assert status(f"{url}/recent") == 200
    with urllib.request.urlopen(f"{url}/live", timeout=LONG) as stream:
        assert stream.readline() == b"retry: 3000\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=LONG)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_missing_extra_names_the_package_to_install(start: Starter, tmp_path: Path) -> None:
    (tmp_path / "jinja2.py").write_text("raise ModuleNotFoundError('gone', name='jinja2')")
    process = start(PYTHONPATH=str(tmp_path))
    err = process.communicate(timeout=LONG)[1]
    assert process.returncode == 78
    assert err.count("\n") == 1
    assert "(jinja2)" in err
    assert "pip install 'spotify-logger[web]'" in err


class TestPassword:
    def test_is_generated_for_other_machines_and_not_logged(self, start: Starter, tmp_path: Path) -> None:
        process = start("--host", "0.0.0.0")
        assert socket.gethostname() in served_url(process)
        process.terminate()
        out, err = process.communicate(timeout=LONG)
        assert out == ""
        assert f"the password of the page is in {tmp_path}/web.json" in err
        assert json.loads((tmp_path / "web.json").read_text())["password"] not in err

    def test_is_printed_on_a_terminal(self, redis_url: str, tmp_path: Path) -> None:
        leader, terminal = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "spotify_logger", "web", "--port", "0", "--host", "0.0.0.0"],
            env={**os.environ, "REDIS_URL": redis_url, "STATE_DIR": str(tmp_path)},
            cwd=tmp_path,
            stdout=terminal,
            stderr=terminal,
        ) as process:
            os.close(terminal)
            output = b""
            while b"The page is at" not in output:
                output += os.read(leader, 1000)
            process.terminate()
        os.close(leader)
        kept = json.loads((tmp_path / "web.json").read_text())
        assert f"The password is {kept['password']}" in output.decode()

    def test_can_be_set_and_is_then_required_locally_too(self, start: Starter) -> None:
        process = start(WEB_PASSWORD="sesame")
        assert status(f"{served_url(process)}/recent") == 401

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (["--behind-proxy", "--host", "0.0.0.0"], "--host"),
            (["--host", "0.0.0.0"], "WEB_PASSWORD needs at least 10"),
            (["--host", "::1", "--behind-proxy"], "WEB_PASSWORD needs at least 10"),
        ],
    )
    def test_has_to_be_long_for_other_machines_which_a_proxy_keeps_out(
        self, start: Starter, arguments: list[str], complaint: str
    ) -> None:
        process = start(*arguments, WEB_PASSWORD="123456789")
        out, err = process.communicate(timeout=LONG)
        assert (process.returncode, out) == (78, "")
        assert complaint in err
        assert "123456789" not in err


def test_the_daemon_does_not_import_the_page() -> None:
    code = (
        "from spotify_logger.daemon import main, preflight\nimport spotify_logger.supervisor.main\n"
        "import spotify_logger.cli.main, sys\n"
        "names = ('starlette', 'uvicorn', 'jinja2', 'chartkick', 'anyio', 'spotify_logger.web')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
