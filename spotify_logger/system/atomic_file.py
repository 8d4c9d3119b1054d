"""Replace small files atomically: a power cut leaves the old version or the new one, never a mix."""

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from spotify_logger.system import ownership
from spotify_logger.system.errors import Misconfigured

MAX_FILE_SIZE = 64 * 1024  # bytes of the largest file that `read` accepts; all state files are far smaller


def read(path: Path, inspect: Callable[[os.stat_result], None] | None = None) -> bytes | None:
    """Return the content of a file, None if it does not exist; `inspect` may refuse its status by raising."""
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
    """Create a folder (mode 0700) if it is missing; Misconfigured if others but root can change it."""
    for each in (*reversed(folder.parents), folder):
        each.mkdir(mode=0o700, exist_ok=True)
    trust = ownership.distrust_reason(folder, folder.stat())
    if reason := trust or ownership.path_distrust_reason(str(folder.absolute())):
        why = f"the state folder {folder} is not trusted, because it {reason}"
        raise Misconfigured(f"{why}: fix that, or set STATE_DIR to another folder")


def write_atomically(path: Path, text: str) -> None:
    """Replace `path` with a file of mode 0600 that contains `text`; raises OSError, see `replacing`."""
    with replacing(path) as file:
        file.write(text)


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Yield a UTF-8 text file (0600) that replaces `path` after the block, if that and the sync succeed."""
    # Mode 0600 from the start. File names are limited to 255 bytes.
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
    # Without this, the directory entry of the new file may be lost in a power cut.
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
