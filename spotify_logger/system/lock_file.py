"""The lock on a state folder: one logger at a time works there.

It is held by whoever has the file open, a loop that inherited it included, and gone with the last of them,
however they ended. Where the file cannot be made, the folder itself is locked. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING

from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError, TryLater

if TYPE_CHECKING:
    from pathlib import Path

ORPHAN_TIMEOUT = 10.0
"""Seconds to wait for what a killed supervisor leaves: a loop, and a server that syncs before it ends."""


class AlreadyRunning(SpotifyLoggerError):  # noqa: N818 - the name is the state
    """Another logger works in this state folder. The message names it."""


def acquire(state_dir: Path | str, what: str) -> int:
    """Take the lock, and leave a note about who has it.

    Args:
        state_dir: The state folder, which has to exist.
        what: The name of the program that takes it, e.g. "run.py".

    Returns:
        A file descriptor; the lock is held as long as it, or a copy inherited by a child, stays open.

    Raises:
        Busy: Somebody else has it.
        Misconfigured: It is a symbolic link, and would be written elsewhere.
        TryLater: The folder cannot be used.
    """
    try:
        return _take(state_dir, what)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Misconfigured(f"{state_dir}/lock is a symbolic link: remove it") from error
        raise TryLater(f"cannot lock the state folder: {error}") from error


def is_held(state_dir: Path | str) -> bool | None:
    """Return whether a logger works in a state folder; None where that cannot be seen."""
    try:
        # Whatever else may be called so, such as a pipe, is not waited for.
        descriptor = os.open(f"{state_dir}/lock", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        # Shared, so that two who look do not take each other for a logger.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _take(state_dir: Path | str, what: str) -> int:
    descriptor = _open(state_dir)
    deadline = time.monotonic() + ORPHAN_TIMEOUT
    while not _try(descriptor):
        note = _note(descriptor)
        if _is_alive(note) or time.monotonic() > deadline:
            os.close(descriptor)
            raise AlreadyRunning(f"another logger works in {state_dir}: {note or 'it left no name'}")
        time.sleep(0.05)
    _leave_note(descriptor, what)
    return descriptor


def _open(state_dir: Path | str) -> int:
    """Open what is locked: the file, one that is there already, or the folder, whichever can be."""
    path = f"{state_dir}/lock"
    with contextlib.suppress(OSError):  # read-only, full, or somebody else's
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    return os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _note(descriptor: int) -> str:
    try:
        return os.pread(descriptor, 200, 0).decode(errors="replace").strip()
    except IsADirectoryError:
        return ""


def _is_alive(note: str) -> bool:
    # The note begins with "pid 123,". Where that process is gone, its loop holds the lock, and ends soon.
    try:
        pid = int(note.partition(",")[0].removeprefix("pid "))
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ValueError, OverflowError, OSError):
        return False
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """Tell whether a process has ended and its parent has not noticed yet (proc(5))."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 - the supervisor does without pathlib
            return stat.read().rpartition(b")")[2].split()[:1] == [b"Z"]
    except OSError:
        return False


def _leave_note(descriptor: int, what: str) -> None:
    note = f"pid {os.getpid()}, {what}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
    # The lock is what counts: a full disk, which cannot take the note, stops nobody.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note.encode(), 0)
