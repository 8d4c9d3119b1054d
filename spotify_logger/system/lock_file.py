"""The lock on a state folder, which only one logger at a time may use. Standard library only.

It is held by every process that has the file open, including a poll loop that inherited it, and is released
with the last of them, however it ended. If the file cannot be created, the folder itself is locked.
"""

import contextlib
import errno
import fcntl
import os
import time

from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError, TryLater

TIMEOUT = 10.0  # seconds to wait for another logger: it may be ending, as the children of a killed one do


def acquire(state_dir: os.PathLike[str] | str, what: str, timeout: float = TIMEOUT) -> int:
    """Acquire the lock, note in its file that `what` ("run.py") holds it, and return its file descriptor."""
    deadline = time.monotonic() + timeout
    try:
        descriptor = _open(state_dir)
        while _is_locked(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                said = b""
                with contextlib.suppress(IsADirectoryError):
                    said = os.pread(descriptor, 200, 0)
                os.close(descriptor)
                holder = said.decode(errors="replace").strip() or "unknown process"
                raise SpotifyLoggerError(f"another logger is using {state_dir}: {holder}")
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


def is_held(state_dir: os.PathLike[str] | str) -> bool | None:
    """Return whether a logger uses a state folder; None if unknown."""
    try:
        descriptor = os.open(f"{state_dir}/lock", os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        # A shared lock, so that two such checks do not mistake each other for a logger.
        return _is_locked(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _open(state_dir: os.PathLike[str] | str) -> int:
    """Open what is to be locked: the file for writing, else for reading, else the folder."""
    path = f"{state_dir}/lock"
    with contextlib.suppress(OSError):  # read-only, full, or owned by another user
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with contextlib.suppress(FileNotFoundError):
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    return os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)


def _is_locked(descriptor: int, kind: int) -> bool:
    """Return whether another process has the lock; otherwise this one gets it."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        return False
    return True
