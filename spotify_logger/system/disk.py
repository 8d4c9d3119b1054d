"""Whether a disk keeps what is written to it: it can fail without any program hearing of it."""

import errno
import mmap
import os
from contextlib import suppress
from pathlib import Path

BLOCK_SIZE = 16 * 1024  # bytes that are compared at a time
MIN_FREE = 2 * 1024 * 1024  # bytes below which a disk counts as full


def trouble(folder: Path) -> str:
    """Return why the disk of a state folder takes no files, and what to do; "" if it does, or if unknown."""
    read_only = f"the disk with {folder} is read-only: back it up, check `dmesg`, replace a failing card"
    try:
        disk = os.statvfs(folder)
        if disk.f_flag & os.ST_RDONLY:  # as the kernel makes it after an error; open files seem to work
            return read_only
        if disk.f_bavail * disk.f_frsize < MIN_FREE or (disk.f_files and not disk.f_favail):
            return f"the disk with {folder} is full: free some space"
        os.close(os.open(folder / "lock", os.O_RDWR))  # the only hint after an error, from Linux 6.15 on
    except OSError as error:
        return read_only if error.errno == errno.EROFS else ""
    return ""


def has_lost(path: Path) -> bool:
    """Return whether the disk has something else than was written to a file, if it can be read uncached."""
    with (
        suppress(OSError),
        os.fdopen(os.open(path, os.O_RDONLY | os.O_DIRECT), "rb", 0) as disk,
        path.open("rb") as cached,
    ):
        block = mmap.mmap(-1, BLOCK_SIZE)  # its address is aligned, as it has to be
        while size := disk.readinto(block):
            if block[:size] != cached.read(size):
                return True
    return False
