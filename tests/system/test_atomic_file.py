from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from spotify_logger.system import atomic_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "token.json"


def test_a_file_is_replaced_and_private(path: Path) -> None:
    assert atomic_file.read(path) is None
    path.touch(mode=0o666)
    before = os.umask(0)
    try:
        atomic_file.write_atomically(path, "secret ✓\n")
    finally:
        os.umask(before)
    assert atomic_file.read(path) == "secret ✓\n".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_content_is_synced_before_the_rename_and_the_folder_after_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    real_sync, real_replace = os.fsync, os.replace

    def sync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        events.append("folder" if stat.S_ISDIR(status.st_mode) else f"{status.st_size} bytes")
        real_sync(descriptor)

    def replace(source: str, target: str) -> None:
        events.append("rename")
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", replace)
    atomic_file.write_atomically(path, "12345")
    assert events == ["5 bytes", "rename", "folder"]


def test_a_failed_write_leaves_only_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path.mkdir()
    with pytest.raises(IsADirectoryError):
        atomic_file.write_atomically(path, "new")
    assert list(path.parent.iterdir()) == [path]
    path.rmdir()
    atomic_file.write_atomically(path, "old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_file.write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_over_the_limit_is_not_read(path: Path) -> None:
    path.write_bytes(b"x" * atomic_file.MAX_FILE_SIZE)
    assert atomic_file.read(path) == b"x" * atomic_file.MAX_FILE_SIZE
    path.write_bytes(b"x" * (atomic_file.MAX_FILE_SIZE + 1))
    with pytest.raises(OSError, match="large"):
        atomic_file.read(path)
