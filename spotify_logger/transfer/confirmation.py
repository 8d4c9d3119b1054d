"""Ask on a terminal before anything is deleted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from spotify_logger.core.periods import Zone


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Asks for confirmation on a terminal.

    Attributes:
        keyboard: The terminal to read the answer from.
        screen: The terminal to ask on.
        zone: The time zone in which times are shown.
    """

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
