"""Small files that are whole or not there: a power cut leaves the old one or the new one, never a half."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from spotify_logger.system import ownership
from spotify_logger.system.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_FILE_SIZE = 64 * 1024
"""Bytes of the largest file that `read` takes; everything that is kept this way is far smaller."""


def read(path: Path, inspect: Callable[[os.stat_result], None] | None = None) -> bytes | None:
    """Return what `path` holds, or None where there is no such file.

    Args:
        path: The file.
        inspect: Is given the status of the file once it is open, and may raise to keep it from being read.

    Raises:
        OSError: The file is there and cannot be read, or is larger than `SIZE_LIMIT`.
    """
    try:
        with path.open("rb") as file:
            if inspect:
                inspect(os.fstat(file.fileno()))
            content = file.read(MAX_FILE_SIZE + 1)
    except FileNotFoundError:
        return None
    if len(content) > MAX_FILE_SIZE:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return content


def make_state_dir(folder: Path) -> None:
    """Make a folder for secrets and plays (0700) where it is missing.

    Raises:
        Misconfigured: Users other than this one and root can change what is in it.
        OSError: It cannot be made.
    """
    for missing in (each for each in reversed(folder.parents) if not each.exists()):
        missing.mkdir(mode=0o700)
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.stat()
    doubt = ownership.distrust_reason(folder, status) or ownership.path_distrust_reason(
        str(folder.absolute())
    )
    if doubt:
        raise Misconfigured(
            f"the state folder {folder} is not trusted, because it {doubt}: correct that, or set STATE_DIR to"
            " another one"
        )


def write_refusal(folder: Path) -> str:
    """Return why no file can be written in a folder, "" where one can.

    Only a try tells: permissions say nothing of a disk that failed and was made read-only by the kernel.
    """
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return error.strerror or "no reason given"
    return ""


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` by a file that holds `text` in UTF-8, readable and writable by its owner only (0600).

    Raises:
        OSError: The text could not be made safe on the disk; unless the very last step failed, the old file
            is still there, untouched.
    """
    with replacing(path) as file:
        file.write(text)


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Write a file, in UTF-8, a little at a time: at the end of the block it replaces `path`, see above.

    Where the block raises, the old file stays.

    Raises:
        OSError: It could not be made safe on the disk.
    """
    # 0600 from the start. No name is longer than 255 bytes.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name[:50]}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(temporary).unlink()
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    # The new name is an entry of the folder; without this it may be gone after a power cut.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
