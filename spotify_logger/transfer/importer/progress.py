"""Show a progress bar on a terminal, and nothing elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress(Protocol):
    """A callback that reports progress."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """Take note.

        Args:
            step: What is being done; another one begins when the one before is over.
            done: How much of it is done.
            total: How much there is to do.
        """


def _nothing(step: str, done: int, total: int) -> None:
    """Where nobody watches."""


@contextmanager
def progress_on(screen: TextIO | None) -> Iterator[Progress]:
    """Show progress while the block lasts, if the screen is a terminal."""
    if screen is None or not screen.isatty():
        yield _nothing
        return
    # rich takes longer to import than everything else.
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Bars  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Bars(*columns, TimeRemainingColumn(), console=Console(file=screen)) as bars:
        tasks: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step)
            bars.update(tasks[step], completed=done, total=total)

        yield show
