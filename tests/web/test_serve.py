"""The page as a process: its output, its exit and its requirements."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = 60.0
READY = re.compile(r"The page is at (http://\S+/)\n")


class Process:
    """`spotify-logger web`, in a folder of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.folder = folder
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
        self.environment = {**kept, "REDIS_URL": url, "STATE_DIR": str(folder / "state"), "HOME": str(folder)}
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "spotify_logger", "web", *arguments],
            env={**self.environment, **more},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def ready(self, *arguments: str, **more: str) -> tuple[subprocess.Popen[str], str]:
        process = self.start("--port", "0", *arguments, **more)
        assert process.stdout is not None
        found = READY.fullmatch(process.stdout.readline())
        assert found
        return process, found[1]

    def ended(self, *arguments: str, **more: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **more)
        out, err = process.communicate(timeout=LONG)
        return process.returncode, out, err


@pytest.fixture
def page(redis_url: str, tmp_path: Path) -> Iterator[Process]:
    page = Process(redis_url, tmp_path)
    yield page
    for process in page.running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_prints_its_url_and_stops_on_a_signal(page: Process, number: signal.Signals) -> None:
    process, address = page.ready()
    with urllib.request.urlopen(f"{address}recent", timeout=LONG) as answer:
        assert answer.status == 200
    with urllib.request.urlopen(f"{address}live", timeout=LONG) as stream:
        assert stream.readline() == b"retry: 3000\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=LONG)
    assert (process.returncode, out, err) == (0, "", "")


def test_reports_an_unreachable_redis(page: Process) -> None:
    page.environment["REDIS_URL"] = "redis://127.0.0.1:1/0"
    process, address = page.ready()
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(address, timeout=LONG)
    assert caught.value.code == 503
    assert b"cannot be reached" in caught.value.read()
    caught.value.close()
    process.terminate()
    assert process.communicate(timeout=LONG) == ("", "")


def test_a_port_that_is_taken(page: Process) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, out, err = page.ended("--port", str(other.getsockname()[1]))
    assert (code, out) == (1, "")
    assert re.fullmatch(r"spotify-logger: cannot listen on .*\n", err)


@pytest.mark.parametrize(
    "arguments", [["--port", "x"], ["--port", "65536"], ["--port", "-1"], ["--json"], ["x"]]
)
def test_wrong_arguments(page: Process, arguments: list[str]) -> None:
    code, out, err = page.ended(*arguments)
    assert (code, out) == (2, "")
    assert "Traceback" not in err


def test_a_missing_extra_names_the_package_to_install(page: Process) -> None:
    for name in ("uvicorn", "starlette", "jinja2"):
        hiding = page.folder / name
        hiding.mkdir()
        (hiding / f"{name}.py").write_text(f"raise ModuleNotFoundError('gone', name={name!r})")
        code, out, err = page.ended("--port", "0", PYTHONPATH=str(hiding))
        assert (code, out) == (78, "")
        assert err.startswith("spotify-logger: ")
        assert f"({name})" in err
        assert "pip install 'spotify-logger[web]'" in err


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=LONG) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


class TestPassword:
    def test_generates_one_for_other_machines_and_does_not_log_it(self, page: Process) -> None:
        process, address = page.ready("--host", "0.0.0.0")
        assert socket.gethostname() in address
        kept = json.loads((page.folder / "state" / "web.json").read_text())
        process.terminate()
        out, err = process.communicate(timeout=LONG)
        assert out == ""
        assert f"the password of the page is in {page.folder}/state/web.json" in err
        assert kept["password"] not in err

    def test_prints_it_on_a_terminal(self, page: Process) -> None:
        leader, terminal = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "spotify_logger", "web", "--port", "0", "--host", "0.0.0.0"],
            env=page.environment,
            cwd=page.folder,
            stdout=terminal,
            stderr=terminal,
        ) as process:
            os.close(terminal)
            output = b""
            while b"The page is at" not in output:
                output += os.read(leader, 1000)
            process.terminate()
        os.close(leader)
        kept = json.loads((page.folder / "state" / "web.json").read_text())
        assert f"The password is {kept['password']}" in output.decode()

    def test_can_be_set(self, page: Process) -> None:
        process, _ = page.ready("--host", "0.0.0.0", WEB_PASSWORD="open, sesame")
        process.terminate()
        assert process.communicate(timeout=LONG) == ("", "")

    def test_a_set_password_is_required_locally_too(self, page: Process) -> None:
        _, address = page.ready(WEB_PASSWORD="sesame")
        assert status(f"{address}recent") == 401

    def test_generates_one_behind_a_proxy(self, page: Process) -> None:
        process, address = page.ready("--behind-proxy")
        assert address.startswith("http://127.0.0.1:")
        assert status(f"{address}recent") == 401
        process.terminate()
        assert "the password of the page is in" in process.communicate(timeout=LONG)[1]

    def test_behind_a_proxy_nobody_else_may_reach_it(self, page: Process) -> None:
        code, _, err = page.ended("--port", "0", "--behind-proxy", "--host", "0.0.0.0")
        assert code == 78
        assert err.count("\n") == 1
        assert "--host" in err

    @pytest.mark.parametrize("how", [["--host", "0.0.0.0"], ["--host", "::1", "--behind-proxy"]])
    def test_rejects_a_short_one_for_other_machines(self, page: Process, how: list[str]) -> None:
        code, out, err = page.ended("--port", "0", *how, WEB_PASSWORD="123456789")
        assert (code, out) == (78, "")
        assert re.fullmatch(r"spotify-logger: WEB_PASSWORD needs at least 10 .*\n", err)
        assert "123456789" not in err

    def test_none_is_needed_on_loopback(self, page: Process) -> None:
        for host in ("127.0.0.1", "::1", "localhost"):
            process, _ = page.ready("--host", host)
            process.terminate()
            process.communicate(timeout=LONG)
        assert not (page.folder / "state").exists()


def test_the_daemon_does_not_import_the_page() -> None:
    program = (
        "from spotify_logger.daemon import main, preflight\nimport spotify_logger.supervisor.main\n"
        "import spotify_logger.cli.main, sys\n"
        "names = ('starlette', 'uvicorn', 'jinja2', 'chartkick', 'anyio', 'spotify_logger.web')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
