"""A progress bar for what takes long."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich import progress

    Progress = Callable[[str, int, int], object]
    """Gets the step, how much of it is done, and how much there is to do in all."""


@contextmanager
def progress_bar(screen: TextIO | None) -> Iterator[Progress]:
    """Show how far each step has come if the screen is a terminal, from the first report on."""
    if screen is None or not screen.isatty():
        yield lambda *_: None
        return
    with ExitStack() as stack:
        bars: list[progress.Progress] = []
        tasks: dict[str, progress.TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if not bars:
                bars.append(stack.enter_context(_bars(screen)))
            if step not in tasks:
                tasks[step] = bars[0].add_task(step)
            bars[0].update(tasks[step], completed=done, total=total)

        yield show


def _bars(screen: TextIO) -> progress.Progress:
    from rich import console, progress  # noqa: PLC0415 - slow to import, and only for a terminal

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TextColumn("{task.percentage:>3.0f} %"),
        progress.TimeRemainingColumn(),
    )
    return progress.Progress(*columns, console=console.Console(file=screen))
