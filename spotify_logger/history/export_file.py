"""A file that is written a little at a time, and whole or not there."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from spotify_logger.errors import SpotifyLoggerError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """What is written in the block becomes a file at its end, readable and writable by its owner only (0600).

    Until then it is one beside it, and what was there before stays. So it does where the block raises.

    Args:
        path: The file; a link leads to the one that is meant.

    Raises:
        SpotifyLoggerError: It cannot be written.
    """
    real = Path(os.path.realpath(path))
    if real.exists() and not real.is_file():
        raise SpotifyLoggerError(f"{path} is no file: name one to be written, or leave it out and redirect")
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{real.name[:100]}.", dir=real.parent)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        Path(temporary).replace(real)
        _sync(real.parent)
    except OSError as error:
        raise _unwritable(path, error) from None
    finally:
        with suppress(OSError):
            Path(temporary).unlink()


def _sync(folder: Path) -> None:
    # The new name is an entry of the folder; without this it may be gone after a power cut.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(path: Path, error: OSError) -> SpotifyLoggerError:
    return SpotifyLoggerError(f"{path} cannot be written: {error.strerror or error}")
