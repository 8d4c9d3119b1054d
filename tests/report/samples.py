"""A text that would harm a terminal, what is shown of it, and a stream that is a terminal."""

from __future__ import annotations

import io

NASTY = "a\x1b[31m\u202eb\tc\nd\x9b [bold]e[/bold] :smile:"
HARMLESS = "a\ufffd[31m\ufffdb c d\ufffd [bold]e[/bold] :smile:"


class TerminalStream(io.StringIO):
    def isatty(self) -> bool:
        return True
