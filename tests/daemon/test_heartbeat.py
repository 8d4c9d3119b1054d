from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_logger.daemon.main import HeartbeatPipe
from spotify_logger.supervisor.processes import parse_beats
from spotify_logger.supervisor.restart_policy import Beat
from spotify_logger.system import program
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

CHILD = """
import os, time
from spotify_logger.daemon.main import HeartbeatPipe

line = HeartbeatPipe.from_environment(os.environ)
line.beat(5, "ok", "here" if line.is_supervised else "alone")
print(os.environ.get("SPOTIFY_LOGGER_FDS"), flush=True)
time.sleep(60)
"""


def block_sigterm(pid: int) -> list[bool]:
    """Return whether the threads of a process block SIGTERM, one by one."""
    statuses = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    blocked = [int(status.partition("SigBlk:")[2].split()[0], 16) for status in statuses]
    return [bool(mask & 1 << signal.SIGTERM - 1) for mask in blocked]


@pytest.fixture
def pipes() -> Iterator[list[int]]:
    """A beat pipe and a liveness pipe: read, write, read, write."""
    descriptors = [*os.pipe(), *os.pipe()]
    yield descriptors
    for descriptor in descriptors:
        os.close(descriptor)


class TestBeats:
    def test_a_beat_arrives_as_it_was_sent(self, pipes: list[int]) -> None:
        line = HeartbeatPipe(pipes[1])
        line.beat(30, "ok", "Daft Punk – Veridis Quo")
        line.beat(25_200, "trouble", "")
        assert parse_beats(os.read(pipes[0], 4096)) == [
            Beat(30.0, ok=True, status="Daft Punk – Veridis Quo"),
            Beat(25_200.0, ok=False, status=""),
        ]

    def test_a_beat_is_one_line_and_written_at_once(self, pipes: list[int]) -> None:
        HeartbeatPipe(pipes[1]).beat(1, "ok", "first\nsecond \x1b[31m" + "𝄞" * 5000 + "\udcff")
        data = os.read(pipes[0], 65536)
        assert len(data) < select.PIPE_BUF
        assert [beat.seconds for beat in parse_beats(data)] == [1.0]

    def test_a_supervisor_that_does_not_read_does_not_block(self, pipes: list[int]) -> None:
        os.set_blocking(pipes[1], False)
        line = HeartbeatPipe(pipes[1])
        for _ in range(5_000):
            line.beat(1, "ok", "listening")
        beats = parse_beats(os.read(pipes[0], 1 << 20))
        assert {beat.status for beat in beats} == {"listening"}


class TestReader:
    @pytest.mark.parametrize("line", ["", "5", "5 ok-ish words", "soon ok words", "nan ok words", "\x00"])
    def test_an_invalid_line_is_ignored(self, line: str) -> None:
        assert parse_beats(f"{line}\n7 ok yes\n".encode()) == [Beat(7.0, ok=True, status="yes")]

    @given(st.binary(max_size=300))
    def test_any_bytes(self, data: bytes) -> None:
        assert parse_beats(data + b"\n5 ok back\n")[-1] == Beat(5.0, ok=True, status="back")


class TestInheritance:
    def child(self, inherited: list[int]) -> subprocess.Popen[bytes]:
        names = ",".join(map(str, inherited))
        return subprocess.Popen(
            [sys.executable, "-c", CHILD],
            env={**os.environ, program.PIPES_VARIABLE: names},
            pass_fds=inherited,
            stdout=subprocess.PIPE,
        )

    def test_the_loop_leaves_signals_to_its_main_thread(self, pipes: list[int]) -> None:
        with self.child([pipes[1], pipes[2], pipes[3]]) as child:
            assert child.stdout
            assert child.stdout.readline() == b"None\n"
            assert parse_beats(os.read(pipes[0], 4096)) == [Beat(5.0, ok=True, status="here")]
            # Not two threads exactly: under an emulator there is one of its own, which blocks everything.
            wait_until(lambda: sorted(block_sigterm(child.pid))[:2] == [False, True])
            child.kill()

    def test_the_loop_ends_with_its_supervisor(self, pipes: list[int]) -> None:
        liveness_read, liveness_write = os.pipe()
        with self.child([pipes[1], liveness_read, pipes[2]]) as child:
            os.close(liveness_read)
            assert child.stdout
            assert child.stdout.readline().startswith(b"None")
            assert child.poll() is None
            os.close(liveness_write)
            assert child.wait(30) == 1

    @pytest.mark.parametrize("names", ["", "1", "one,two,three"])
    def test_an_invalid_variable_means_no_supervisor(self, names: str) -> None:
        environ = {program.PIPES_VARIABLE: names}
        pipe = HeartbeatPipe.from_environment(environ)
        pipe.beat(1, "ok", "for nobody")
        assert (pipe.is_supervised, environ) == (False, {})
