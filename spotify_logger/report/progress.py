"""A progress bar for what takes long."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich import progress

Progress = Callable[[str, int, int], object]  # gets the step, how much of it is done, and how much in all
SHOWN_AFTER = 1.0  # seconds; what is done sooner shows no bar


@contextmanager
def progress_bar(screen: TextIO | Progress | None) -> Iterator[Progress]:
    """Show the progress, if it takes long, on a screen that is a terminal; or yield the given function."""
    if callable(screen):
        yield screen
        return
    is_shown, shown_from = screen is not None and screen.isatty(), time.monotonic() + SHOWN_AFTER
    with ExitStack() as stack:

        @cache
        def bars() -> "progress.Progress":
            from rich import console, progress  # noqa: PLC0415 - slow to import, and only for a terminal

            return stack.enter_context(progress.Progress(console=console.Console(file=screen)))

        task = cache(lambda step: bars().add_task(step))

        def show(step: str, done: int, total: int) -> None:
            if is_shown and time.monotonic() >= shown_from:
                bars().update(task(step), completed=done, total=total)

        yield show
