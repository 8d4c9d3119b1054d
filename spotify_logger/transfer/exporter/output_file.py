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
    """What is written in the block becomes a file at its end, readable and writable by its owner only (0600).

    Until then it is one beside it, and what was there before stays. So it does where the block raises.

    Args:
        path: The file; a link leads to the one that is meant.

    Raises:
        SpotifyLoggerError: It cannot be written.
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
