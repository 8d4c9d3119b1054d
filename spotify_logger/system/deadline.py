"""A deadline for what blocks on a socket, however slowly the other side answers."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def deadline(seconds: float, interrupt: Callable[[], None]) -> Iterator[None]:
    """After `seconds` in the block, let `interrupt`, in a thread, shut down what the block waits for."""
    timer = Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
