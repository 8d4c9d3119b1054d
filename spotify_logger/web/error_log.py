"""Logs the errors of the page: each kind once, then once a minute how often it was repeated."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import Counter
from pathlib import Path

from spotify_logger.system import log

PERIOD = 60.0
"""Seconds between two summaries."""
MAX_KINDS = 20
"""Kinds of errors to distinguish within a minute."""
MAX_FRAMES = 6
"""Innermost frames of a traceback to log."""


class ErrorLog(logging.Handler):
    """Writes the records of uvicorn, asyncio and the page, at most `2 * MAX_KINDS` lines a minute.

    Records are of one kind if their exceptions have the same type and origin; without an exception, if
    their format strings are equal.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: dict[object, str] = {}
        self._repeats: Counter[object] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record in one line, or count it if one of its kind was logged recently."""
        kind, text = _kind_and_text(record)
        if kind in self._seen:
            self._repeats[kind] += 1
        elif len(self._seen) < MAX_KINDS:
            self._seen[kind] = text
            log.error(text)
        else:
            self._repeats[None] += 1

    def flush(self) -> None:
        """Log how often each kind was repeated since the last call; forget those that were not."""
        seen, repeats = self._seen, self._repeats
        self._seen, self._repeats = {kind: text for kind, text in seen.items() if repeats[kind]}, Counter()
        for kind, count in repeats.items():
            text = log.sanitize(seen.get(kind, "other errors"), log.LINE_LIMIT // 2)
            log.error(f"{text} (repeated {count:,} times in the last minute)")

    async def run(self) -> None:
        """Call `flush` once a minute, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            self.flush()


def _kind_and_text(record: logging.LogRecord) -> tuple[object, str]:
    """Return the kind of a record, and its first line with the notes and origin of its exception."""
    text = record.getMessage().partition("\n")[0]
    error = record.exc_info and record.exc_info[1]
    if not error:
        return record.msg, text
    frames = traceback.extract_tb(error.__traceback__)
    notes = "".join(f"{note}: " for note in getattr(error, "__notes__", ()))
    place = " > ".join(f"{Path(each.filename).name}:{each.lineno}" for each in frames[-MAX_FRAMES:])
    origin = [(each.filename, each.lineno) for each in frames[-1:]]
    return (type(error), *origin), f"{text}: {notes}{type(error).__name__}: {error} ({place})"
