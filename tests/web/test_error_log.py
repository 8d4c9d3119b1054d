"""However many errors occur, the log of the page stays short."""

from __future__ import annotations

import logging
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from spotify_logger.web import error_log
from spotify_logger.web.error_log import ErrorLog
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FLOOD, DESCRIPTORS = 700, 320
LONG = 60.0


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    """A logger whose records go nowhere else."""
    log = logging.getLogger("tests.error_log")
    log.propagate = False
    log.addHandler(ErrorLog())
    yield log
    log.handlers.clear()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def flush(log: logging.Logger) -> None:
    for handler in log.handlers:
        handler.flush()


def fail(what: str) -> None:
    raise ValueError(what)


def test_counts_repeated_errors(log: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(1235):
        log.error("no room for %d", number)
    (line,) = lines(capsys)
    assert line.endswith("no room for 0")
    flush(log)
    (line,) = lines(capsys)
    assert line.endswith("no room for 0 (again 1,234 times in the last minute)")
    log.error("no room for %d", 1)  # it has not stopped
    flush(log)
    assert "(again 1 times" in lines(capsys)[0]
    flush(log)
    assert lines(capsys) == []
    log.error("no room for %d", 2)
    assert lines(capsys)[0].endswith("no room for 2")


def test_an_exception_is_one_line_whatever_its_message(
    log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(100):
        try:
            fail(f"nonsense {number}\n  File")
        except ValueError as error:
            error.add_note("GET /clock")
            log.exception("it broke\nand more")
    (line,) = lines(capsys)
    assert "it broke: GET /clock: ValueError: nonsense 0 File (test_error_log.py:" in line


def test_many_kinds_are_counted_together(log: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(1000):
        log.error(f"kind {number}")  # noqa: G004 - what is being tested
    assert len(lines(capsys)) == error_log.MAX_KINDS
    flush(log)
    assert "(again 980 times" in "".join(lines(capsys))


@pytest.fixture
def page(redis_url: str, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int, Path]]:
    """The page as a process that may have few descriptors, its port, and its log."""
    path = tmp_path / "log"
    command = [sys.executable, "-P", "-m", "spotify_logger", "web", "--port", "0"]
    environment = {**os.environ, "REDIS_URL": redis_url, "STATE_DIR": str(tmp_path)}
    with (
        path.open("w") as log,
        subprocess.Popen(
            command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        assert process.stdout is not None
        found = re.search(r":(\d+)/", process.stdout.readline())
        assert found
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        yield process, int(found[1]), path
        process.kill()


def test_a_flood_of_silent_connections(page: tuple[subprocess.Popen[str], int, Path]) -> None:
    process, port, log = page
    flood = []
    for _ in range(FLOOD):
        silent = socket.socket()
        silent.setblocking(False)  # noqa: FBT003 - the standard library's own way
        silent.connect_ex(("127.0.0.1", port))
        flood.append(silent)
    with socket.create_connection(("127.0.0.1", port), LONG, ("127.0.0.3", 0)) as other:
        other.sendall(b"GET /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert other.recv(65536).startswith(b"HTTP/1.1 303")
    for silent in flood:
        silent.close()
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: process.poll() is not None)
    assert log.stat().st_size < 2000, log.read_text()[:2000]
