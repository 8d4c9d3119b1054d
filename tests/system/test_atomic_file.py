from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from spotify_logger.system import atomic_file

if TYPE_CHECKING:
    from pathlib import Path

WRITER = """
import itertools, sys
from pathlib import Path
from spotify_logger.system.atomic_file import write_atomically

path = Path(sys.argv[1])
for number in itertools.count():
    write_atomically(path, str(number % 10) * 50_000)
    if number == 3:
        print("at work", flush=True)
"""


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "token.json"
    assert atomic_file.read(path) is None
    atomic_file.write_atomically(path, "first ✓\n")
    atomic_file.write_atomically(path, "second ✓\n")
    assert atomic_file.read(path) == "second ✓\n".encode()
    assert list(tmp_path.iterdir()) == [path]


def test_only_the_owner_may_read_whatever_the_umask_and_the_old_mode(tmp_path: Path) -> None:
    path = tmp_path / "auth.py"
    path.touch(mode=0o666)
    before = os.umask(0)
    try:
        atomic_file.write_atomically(path, "secret")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_content_reaches_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    really_sync, really_replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content"
        events.append(f"{kind} of {os.fstat(descriptor).st_size if kind == 'content' else 'any'} bytes")
        really_sync(descriptor)

    def replace(source: str, target: str) -> None:
        events.append("rename")
        really_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    atomic_file.write_atomically(tmp_path / "token.json", "12345")
    assert events == ["content of 5 bytes", "rename", "folder of any bytes"]


def test_a_failing_disk_leaves_only_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token.json"
    atomic_file.write_atomically(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_file.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way_is_an_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "token.json"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        atomic_file.write_atomically(path, "new")
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_over_the_limit_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "token.json"
    path.write_bytes(b"x" * atomic_file.MAX_FILE_SIZE)
    assert atomic_file.read(path) == b"x" * atomic_file.MAX_FILE_SIZE
    path.write_bytes(b"x" * (atomic_file.MAX_FILE_SIZE + 1))
    with pytest.raises(OSError, match="large"):
        atomic_file.read(path)


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "token.json"
    for _ in range(4):
        with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as writer:
            assert writer.stdout
            assert writer.stdout.readline() == b"at work\n"
            writer.kill()
        content = path.read_text()
        assert len(content) == 50_000
        assert len(set(content)) == 1


def test_a_writable_folder_is_left_unchanged(tmp_path: Path) -> None:
    assert atomic_file.write_refusal(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []


def test_why_a_folder_is_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert atomic_file.write_refusal(tmp_path / "gone") == "No such file or directory"
    monkeypatch.setattr(os, "access", lambda *_: True)  # as it says of a disk that failed
    monkeypatch.setattr(os, "open", refuse)
    assert atomic_file.write_refusal(tmp_path) == "Read-only file system"


def refuse(*_: object) -> int:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
