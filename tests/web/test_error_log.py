"""However many errors occur, the log of the page stays short."""

from __future__ import annotations

import logging
import resource
import socket
from typing import TYPE_CHECKING

from spotify_logger.web.server import MAX_KINDS, ErrorLog
from tests.web.page import served_url, start_page

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CONNECTIONS, DESCRIPTORS = 500, 320
LONG = 60.0


def test_an_exception_is_one_line_and_many_kinds_are_counted_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = logging.Logger("records that go nowhere else")  # noqa: LOG001 - unlike those of `getLogger`
    log.addHandler(ErrorLog())
    for number in range(100):
        error = ValueError(f"nonsense {number}\n  File")
        error.add_note("GET /clock")
        try:
            raise error
        except ValueError:
            log.exception("it broke\nand more")
    (line,) = capsys.readouterr().err.splitlines()
    assert "it broke: GET /clock: ValueError: nonsense 0 File (test_error_log.py:" in line
    for number in range(1000):
        log.error(f"kind {number}")  # noqa: G004 - what is being tested
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) < MAX_KINDS
    assert "(99 more errors were not logged)" in lines[0]


def test_a_flood_of_silent_connections_is_logged_in_a_few_lines(redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("w") as log, start_page(redis_url, tmp_path, stderr=log) as process:
        port = int(served_url(process).rpartition(":")[2])
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        flood = []
        for _ in range(CONNECTIONS):
            silent = socket.socket()
            silent.setblocking(False)  # noqa: FBT003 - the standard library's own way
            silent.connect_ex(("127.0.0.1", port))
            flood.append(silent)
        with socket.create_connection(("127.0.0.1", port), LONG, ("127.0.0.3", 0)) as other:
            other.sendall(b"GET /sign-in HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert other.recv(65536).startswith(b"HTTP/1.1 303")
        for silent in flood:
            silent.close()
        process.terminate()
    assert path.stat().st_size < 2000, path.read_text()[:2000]
