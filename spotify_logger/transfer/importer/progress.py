"""Show a progress bar on a terminal, and nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

Progress = Callable[[str, int, int], object]
"""Reports how far a step has come: the step, how much of it is done, and how much there is to do in all."""


@contextmanager
def progress_on(screen: TextIO | None) -> Iterator[Progress]:
    """Show a progress bar during a `with` block, if the screen is a terminal."""
    if screen is None or not screen.isatty():
        yield lambda *_: None
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
