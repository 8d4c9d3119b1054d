"""Ask on a terminal before anything is deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:
    from spotify_logger.core.periods import Zone

NO_TERMINAL = "there is no terminal to ask on; --yes skips the question"


class Confirmation(NamedTuple):
    """The terminals to ask on and to read the answer from, and the time zone in which times are shown."""

    keyboard: TextIO
    screen: TextIO
    zone: Zone

    @property
    def is_possible(self) -> bool:
        """Whether there is a terminal to ask on."""
        return self.keyboard.isatty() and self.screen.isatty()

    def is_given(self, question: str) -> bool:
        """Ask a question, and return whether the user agrees."""
        self.screen.write(f"{question} [y/N] ")
        self.screen.flush()
        return self.keyboard.readline().strip().casefold() in {"y", "yes"}
