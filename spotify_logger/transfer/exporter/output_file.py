"""Write a file atomically while streaming into it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from spotify_logger.system.atomic_file import replacing
from spotify_logger.system.errors import SpotifyLoggerError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def atomic_output(path: Path) -> Iterator[TextIO]:
    """Yield a stream whose content replaces a file at the end of the block, with mode 0600.

    Until then it is written to a temporary file beside it. If the block raises, the old file stays.

    Args:
        path: The file; symbolic links are followed.

    Raises:
        SpotifyLoggerError: The file cannot be written.
    """
    real = Path(os.path.realpath(path))
    if os.path.exists(real) and not real.is_file():  # noqa: PTH110 - `Path.exists` raises for a name that is too long
        raise SpotifyLoggerError(
            f"{path} is not a regular file: name a file to write, or omit it and redirect the output"
        )
    try:
        with replacing(real) as out:
            yield out
    except OSError as error:
        raise SpotifyLoggerError(f"cannot write {path}: {error.strerror or error}") from None
