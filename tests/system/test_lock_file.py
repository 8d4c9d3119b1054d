from __future__ import annotations

import errno
import fcntl
import os
import re
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from spotify_logger.system import lock_file
from spotify_logger.system.errors import Misconfigured, TryLater
from tests.conftest import is_there, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOLDER = """
import subprocess, sys
from spotify_logger.system import lock_file

descriptor = lock_file.acquire(sys.argv[1], "run.py")
child = subprocess.Popen([sys.executable, "-c", "input()"], pass_fds=[descriptor])
print("taken", flush=True)
child.wait()
"""


def test_it_is_acquired_and_names_its_holder(tmp_path: Path) -> None:
    descriptor = lock_file.acquire(tmp_path, "run.py")
    note = (tmp_path / "lock").read_text()
    assert re.fullmatch(rf"pid {os.getpid()}, run\.py, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\n", note)
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600
    os.close(descriptor)


def test_a_second_logger_learns_the_holder_at_once(tmp_path: Path) -> None:
    descriptor = lock_file.acquire(tmp_path, "run.py")
    began = time.monotonic()
    with pytest.raises(
        lock_file.AlreadyRunning, match=rf"works in {tmp_path}: pid {os.getpid()}, run\.py, since 20"
    ):
        lock_file.acquire(tmp_path, "log.py")
    assert time.monotonic() - began < lock_file.ORPHAN_TIMEOUT
    os.close(descriptor)


def test_a_released_lock_can_be_acquired_again(tmp_path: Path) -> None:
    os.close(lock_file.acquire(tmp_path, "a much longer name than the one that follows"))
    descriptor = lock_file.acquire(tmp_path, "run.py")
    assert (tmp_path / "lock").read_text().count("\n") == 1
    os.close(descriptor)


def test_it_waits_for_an_orphan(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == b"taken\n"
        holder.kill()
        holder.wait()
        with pytest.raises(lock_file.AlreadyRunning, match=f"pid {holder.pid}, run.py"):
            lock_file.acquire(tmp_path, "run.py", orphan_timeout=0.2)
        holder.stdin.close()  # lets the orphan end
        os.close(lock_file.acquire(tmp_path, "run.py"))


def test_a_zombie_counts_as_ended(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdin
        holder.stdout.readline()
        holder.kill()
        wait_until(lambda: not is_there(holder.pid))  # a zombie from here on; its child holds the lock
        threading.Timer(0.3, holder.stdin.close).start()
        descriptor = lock_file.acquire(tmp_path, "run.py")
    os.close(descriptor)


@pytest.mark.parametrize(
    "note", ["", "\n", "garbage", "pid x, run.py", f"pid {2**70}, run.py", "pid -7, \udcff"]
)
def test_a_holder_without_a_name(tmp_path: Path, note: str) -> None:
    (tmp_path / "lock").write_bytes(note.encode(errors="surrogateescape"))
    with (tmp_path / "lock").open() as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(lock_file.AlreadyRunning):
            lock_file.acquire(tmp_path, "run.py", orphan_timeout=0.0)


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be written any more, as on a card that the kernel has given up."""
    opened = os.open

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)


def test_a_read_only_folder_is_locked_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    os.close(lock_file.acquire(tmp_path, "run.py"))
    before = (tmp_path / "lock").read_text()
    request.getfixturevalue("read_only")
    descriptor = lock_file.acquire(tmp_path, "log.py")
    assert (tmp_path / "lock").read_text() == before
    with pytest.raises(lock_file.AlreadyRunning, match=r"pid \d+, run\.py"):
        lock_file.acquire(tmp_path, "log.py")
    os.close(descriptor)
    os.close(lock_file.acquire(tmp_path, "log.py"))


@pytest.mark.usefixtures("read_only")
def test_a_read_only_folder_that_was_never_used(tmp_path: Path) -> None:
    descriptor = lock_file.acquire(tmp_path, "run.py")
    with pytest.raises(lock_file.AlreadyRunning, match=r"works in .*: unknown process"):
        lock_file.acquire(tmp_path, "log.py", orphan_timeout=0.0)
    os.close(descriptor)
    os.close(lock_file.acquire(tmp_path, "log.py"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_another_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder must not be locked instead: that one holds the file."""

    def refuse(path: str, flags: int, mode: int = 0o777) -> int:
        assert path.endswith("/lock")
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(TryLater, match=r"cannot lock the state folder: .*Permission denied"):
        lock_file.acquire(tmp_path, "run.py")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "lock").symlink_to(precious)
    with pytest.raises(Misconfigured, match=r"state/lock is a symbolic link"):
        lock_file.acquire(tmp_path / "state", "log.py")
    assert precious.read_text() == "precious"


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(TryLater, match=r"cannot lock the state folder: .*No such file"):
        lock_file.acquire(tmp_path / "gone", "run.py")


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(TryLater, match=r"cannot lock the state folder: .*No locks available"):
        lock_file.acquire(tmp_path, "run.py")


def test_a_full_disk_is_locked_without_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", refuse)
    os.close(lock_file.acquire(tmp_path, "run.py"))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_it_does_not_wait_for_other_files(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "lock")
    assert lock_file.is_held(tmp_path) is None
