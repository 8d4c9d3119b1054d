"""The lock on a state folder, which only one logger at a time may use. Standard library only.

It is held by every process that has the file open, including a poll loop that inherited it, and is released
with the last of them, however it ended. If the file cannot be created, the folder itself is locked.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING

from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError, TryLater

if TYPE_CHECKING:
    from pathlib import Path

ORPHAN_TIMEOUT = 10.0  # seconds to wait for the children of a killed supervisor


class AlreadyRunning(SpotifyLoggerError):  # noqa: N818 - the name is the state
    """Another logger uses this state folder. The message names it."""


def acquire(state_dir: Path | str, what: str, orphan_timeout: float = ORPHAN_TIMEOUT) -> int:
    """Acquire the lock, and note `what` holds it, e.g. "run.py", in the file.

    It is held as long as the returned file descriptor, or a copy inherited by a child, is open. Raises
    AlreadyRunning, Misconfigured for a symbolic link, whose target would be written, or else TryLater.
    """
    deadline = time.monotonic() + orphan_timeout
    try:
        descriptor = _open(state_dir)
        while not _try_lock(descriptor, fcntl.LOCK_EX):
            note = _note(descriptor)
            if _is_alive(note) or time.monotonic() > deadline:
                os.close(descriptor)
                raise AlreadyRunning(f"another logger is using {state_dir}: {note or 'unknown process'}")
            time.sleep(0.05)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Misconfigured(f"{state_dir}/lock is a symbolic link: remove it") from error
        raise TryLater(f"cannot lock the state folder: {error}") from error
    note = f"pid {os.getpid()}, {what}, since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
    with contextlib.suppress(OSError):  # only the lock matters; the disk may be full
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note.encode(), 0)
    return descriptor


def is_held(state_dir: Path | str) -> bool | None:
    """Return whether a logger uses a state folder; None if unknown."""
    try:
        descriptor = os.open(f"{state_dir}/lock", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        # A shared lock, so that two such checks do not mistake each other for a logger.
        return not _try_lock(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _open(state_dir: Path | str) -> int:
    """Open what is to be locked: the file for writing, else for reading, else the folder."""
    path = f"{state_dir}/lock"
    with contextlib.suppress(OSError):  # read-only, full, or owned by another user
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    return os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _note(descriptor: int) -> str:
    try:
        return os.pread(descriptor, 200, 0).decode(errors="replace").strip()
    except IsADirectoryError:
        return ""


def _is_alive(note: str) -> bool:
    """Return whether the process of a note, "pid 123, …", runs; if not, its children hold the lock, and end.

    A zombie has ended, too (proc(5)). Where there is no /proc, the children are waited for in any case.
    """
    try:
        pid = int(note.partition(",")[0].removeprefix("pid "))
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - the supervisor avoids pathlib
            return file.read().rpartition(b")")[2].split()[:1] != [b"Z"]
    except (ValueError, OSError):
        return False
