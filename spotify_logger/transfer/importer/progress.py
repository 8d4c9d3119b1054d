"""Show a progress bar on a terminal, and nothing elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator


class Progress(Protocol):
    """A callback that reports progress."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """Report how far a step has come.

        Args:
            step: What is being done; a new step begins when the previous one has ended.
            done: How much of the step is done.
            total: How much there is to do in this step, in the same unit.
        """


def _nothing(step: str, done: int, total: int) -> None:
    """Ignore the progress, where there is no terminal."""


@contextmanager
def progress_on(screen: TextIO | None) -> Iterator[Progress]:
    """Show a progress bar during a `with` block, if the screen is a terminal."""
    if screen is None or not screen.isatty():
        yield _nothing
        return
    from rich import console, progress  # noqa: PLC0415 - slow to import, and only for a terminal

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TextColumn("{task.percentage:>3.0f} %"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console.Console(file=screen)) as bars:
        tasks: dict[str, progress.TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step)
            bars.update(tasks[step], completed=done, total=total)

        yield show
