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

from tests.web.page import served_url, start_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = 60.0


class PageStarter:
    """Starts `spotify-logger web` in a folder."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.running: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **more: str) -> subprocess.Popen[str]:
        process = start_page(self.url, self.folder, *arguments, stderr=subprocess.PIPE, **more)
        self.running.append(process)
        return process

    def serve(self, *arguments: str, **more: str) -> tuple[subprocess.Popen[str], str]:
        """Start the page and return its process and URL."""
        process = self.start(*arguments, **more)
        return process, served_url(process)

    def fail(self, *arguments: str, **more: str) -> tuple[int, str]:
        """Start the page in vain and return its exit code and its one line of error."""
        process = self.start(*arguments, **more)
        out, err = process.communicate(timeout=LONG)
        assert out == ""
        assert re.fullmatch(r"spotify-logger: .*\n", err)
        return process.returncode, err


@pytest.fixture
def page(redis_url: str, tmp_path: Path) -> Iterator[PageStarter]:
    page = PageStarter(redis_url, tmp_path)
    yield page
    for process in page.running:
        process.kill()
        process.communicate()


def stop(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Stop a process and return what else it printed."""
    process.terminate()
    return process.communicate(timeout=LONG)


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=LONG) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_prints_its_url_and_stops_on_a_signal(page: PageStarter, number: signal.Signals) -> None:
    process, url = page.serve()
    assert status(f"{url}/recent") == 200
    with urllib.request.urlopen(f"{url}/live", timeout=LONG) as stream:
        assert stream.readline() == b"retry: 3000\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=LONG)
    assert (process.returncode, out, err) == (0, "", "")


def test_serves_while_redis_is_unreachable(page: PageStarter) -> None:
    page.url = "redis://127.0.0.1:1/0"
    process, url = page.serve()
    assert status(url) == 503
    assert stop(process) == ("", "")


def test_a_port_that_is_taken(page: PageStarter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, err = page.fail("--port", str(other.getsockname()[1]))
    assert code == 1
    assert "cannot listen on" in err


@pytest.mark.parametrize("name", ["uvicorn", "jinja2"])
def test_a_missing_extra_names_the_package_to_install(page: PageStarter, name: str) -> None:
    (page.folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('gone', name={name!r})")
    code, err = page.fail(PYTHONPATH=str(page.folder))
    assert code == 78
    assert f"({name})" in err
    assert "pip install 'spotify-logger[web]'" in err


class TestPassword:
    def test_is_generated_for_other_machines_and_not_logged(self, page: PageStarter) -> None:
        process, url = page.serve("--host", "0.0.0.0")
        assert socket.gethostname() in url
        kept = json.loads((page.folder / "web.json").read_text())
        out, err = stop(process)
        assert out == ""
        assert f"the password of the page is in {page.folder}/web.json" in err
        assert kept["password"] not in err

    def test_is_printed_on_a_terminal(self, page: PageStarter) -> None:
        leader, terminal = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "spotify_logger", "web", "--port", "0", "--host", "0.0.0.0"],
            env={**os.environ, "REDIS_URL": page.url, "STATE_DIR": str(page.folder)},
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
        kept = json.loads((page.folder / "web.json").read_text())
        assert f"The password is {kept['password']}" in output.decode()

    def test_can_be_set_and_is_then_required_locally_too(self, page: PageStarter) -> None:
        process, url = page.serve(WEB_PASSWORD="sesame")
        assert status(f"{url}/recent") == 401
        assert stop(process) == ("", "")

    def test_is_generated_behind_a_proxy(self, page: PageStarter) -> None:
        process, url = page.serve("--behind-proxy")
        assert url.startswith("http://127.0.0.1:")
        assert status(f"{url}/recent") == 401
        assert "the password of the page is in" in stop(process)[1]

    @pytest.mark.parametrize(
        ("arguments", "complaint"),
        [
            (["--behind-proxy", "--host", "0.0.0.0"], "--host"),
            (["--host", "0.0.0.0"], "WEB_PASSWORD needs at least 10"),
            (["--host", "::1", "--behind-proxy"], "WEB_PASSWORD needs at least 10"),
        ],
    )
    def test_has_to_be_long_for_other_machines_which_a_proxy_keeps_out(
        self, page: PageStarter, arguments: list[str], complaint: str
    ) -> None:
        code, err = page.fail(*arguments, WEB_PASSWORD="123456789")
        assert code == 78
        assert complaint in err
        assert "123456789" not in err

    def test_is_not_needed_on_loopback(self, page: PageStarter) -> None:
        for process, _ in [page.serve("--host", host) for host in ("::1", "localhost")]:
            assert stop(process) == ("", "")
        assert not (page.folder / "web.json").exists()


def test_the_daemon_does_not_import_the_page() -> None:
    code = (
        "from spotify_logger.daemon import main, preflight\nimport spotify_logger.supervisor.main\n"
        "import spotify_logger.cli.main, sys\n"
        "names = ('starlette', 'uvicorn', 'jinja2', 'chartkick', 'anyio', 'spotify_logger.web')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
