"""What is said of real disks; tests/daemon/test_survival_state.py has one that fails under a logger."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from spotify_logger.system import disk

if TYPE_CHECKING:
    from pathlib import Path


def test_one_that_is_well_and_one_that_is_unknown(tmp_path: Path) -> None:
    assert disk.trouble(tmp_path) == ""
    assert disk.trouble(tmp_path / "missing") == ""


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"f_flag": os.ST_RDONLY}, "read-only"),
        ({"f_bavail": 0}, "full"),
        ({"f_favail": 0}, "full"),
        ({"f_files": 0, "f_favail": 0}, ""),  # as btrfs says, which has no limit
    ],
)
def test_the_cause_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, int], word: str
) -> None:
    names = [name for name in dir(os.statvfs_result) if name.startswith("f_")]
    real = os.statvfs(tmp_path)
    values = {name: getattr(real, name) for name in names} | changes
    monkeypatch.setattr(os, "statvfs", lambda _: type("Result", (), values))
    found = disk.trouble(tmp_path)
    assert word in found
    assert bool(found) == bool(word)


def test_what_the_disk_has_is_compared_with_what_was_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, swallowed = tmp_path / "written", tmp_path / "on the disk"
    path.write_bytes(b"new" * 50_000)
    swallowed.write_bytes(b"old" * 50_000)
    assert not disk.has_lost(path)
    assert not disk.has_lost(tmp_path / "missing")
    really_open = os.open
    try:
        os.close(really_open(path, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("this file system has no way past the cache")
    monkeypatch.setattr(os, "open", lambda _, flags: really_open(swallowed, flags))
    assert disk.has_lost(path)
