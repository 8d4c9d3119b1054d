from __future__ import annotations

import errno
import fcntl
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from spotify_logger.system import lock_file
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError, TryLater

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOLDER = """
import subprocess, sys
from spotify_logger.system import lock_file

descriptor = lock_file.acquire(sys.argv[1], "run.py")
child = subprocess.Popen([sys.executable, "-c", "input()"], pass_fds=[descriptor])
print("taken", flush=True)
child.wait()
"""


def test_a_second_logger_learns_who_holds_it(tmp_path: Path) -> None:
    os.close(lock_file.acquire(tmp_path, "a much longer name than the next one"))
    descriptor = lock_file.acquire(tmp_path, "run.py")
    note = (tmp_path / "lock").read_text()
    assert re.fullmatch(rf"pid {os.getpid()}, run\.py, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\n", note)
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    with pytest.raises(SpotifyLoggerError, match=f"pid {os.getpid()}, run.py, since 20"):
        lock_file.acquire(tmp_path, "log.py", timeout=0.2)
    os.close(descriptor)


@pytest.fixture
def killed_holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A holder that was killed; its child still has the lock, until the pipe to it is closed."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"taken\n"
        holder.kill()
        yield holder


def test_it_waits_for_the_child_of_a_killed_holder(
    tmp_path: Path, killed_holder: subprocess.Popen[bytes]
) -> None:
    killed_holder.wait()
    with pytest.raises(SpotifyLoggerError, match=f"pid {killed_holder.pid}, run.py"):
        lock_file.acquire(tmp_path, "run.py", timeout=0.2)
    assert killed_holder.stdin
    killed_holder.stdin.close()
    os.close(lock_file.acquire(tmp_path, "run.py", timeout=60.0))


def test_a_note_is_not_needed(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert lock_file.is_held(tmp_path)
        with pytest.raises(SpotifyLoggerError, match="unknown process"):
            lock_file.acquire(tmp_path, "run.py", timeout=0.0)
    assert lock_file.is_held(tmp_path) is False


def test_a_read_only_folder_can_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = os.open

    def refuse_writing(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse_writing)
    descriptor = lock_file.acquire(tmp_path, "log.py")
    with pytest.raises(SpotifyLoggerError, match="unknown process"):
        lock_file.acquire(tmp_path, "log.py", timeout=0.0)
    os.close(descriptor)
    os.close(lock_file.acquire(tmp_path, "log.py"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("call", "code"), [("os.open", errno.EACCES), ("fcntl.flock", errno.ENOLCK)])
def test_a_folder_that_cannot_be_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    def refuse(what: str | int, *_: int) -> int:
        assert not isinstance(what, str) or what.endswith("/lock"), "the folder of another user is not locked"
        raise OSError(code, os.strerror(code))

    with pytest.raises(TryLater, match="No such file"):
        lock_file.acquire(tmp_path / "missing", "run.py")
    monkeypatch.setattr(call, refuse)
    with pytest.raises(TryLater, match=f"cannot lock the state folder: .*{os.strerror(code)}"):
        lock_file.acquire(tmp_path, "run.py")


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with pytest.raises(Misconfigured, match="symbolic link"):
        lock_file.acquire(tmp_path, "log.py")
    assert (tmp_path / "precious").read_text() == "precious"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_the_check_does_not_wait_for_other_kinds_of_files(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "lock")
    assert not lock_file.is_held(tmp_path)
