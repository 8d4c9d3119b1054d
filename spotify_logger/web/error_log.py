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
    """Writes the records of uvicorn, asyncio and the page, at most `2 * MOST_KINDS` lines a minute.

    Records are of one kind if their exceptions have the same type and origin; without an exception, if
    their format strings are equal.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: dict[object, str] = {}
        self._repeats: Counter[object] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record in one line, or count it if one of its kind was logged recently."""
        kind = _kind(record)
        if kind in self._seen:
            self._repeats[kind] += 1
        elif len(self._seen) < MAX_KINDS:
            self._seen[kind] = _describe(record)
            log.error(self._seen[kind])
        else:
            self._repeats[None] += 1

    def flush(self) -> None:
        """Log how often each kind was repeated since the last call; forget those that were not."""
        seen, repeats = self._seen, self._repeats
        self._seen, self._repeats = {kind: text for kind, text in seen.items() if repeats[kind]}, Counter()
        for kind, count in repeats.items():
            text = log.sanitize(seen.get(kind, "other errors"), log.LINE_LIMIT // 2)
            log.error(f"{text} (again {count:,} times in the last minute)")

    async def run(self) -> None:
        """Call `flush` once a minute, until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            self.flush()


def _kind(record: logging.LogRecord) -> object:
    error = record.exc_info and record.exc_info[1]
    if not error:
        return record.msg
    return type(error), *((frame.filename, frame.lineno) for frame in _frames(error)[-1:])


def _describe(record: logging.LogRecord) -> str:
    """Return the first line of a record and the type, message, notes and origin of its exception."""
    text = record.getMessage().partition("\n")[0]
    error = record.exc_info and record.exc_info[1]
    if not error:
        return text
    notes = "".join(f"{note}: " for note in getattr(error, "__notes__", ()))
    place = " > ".join(f"{Path(each.filename).name}:{each.lineno}" for each in _frames(error)[-MAX_FRAMES:])
    return f"{text}: {notes}{type(error).__name__}: {error} ({place})"


def _frames(error: BaseException) -> traceback.StackSummary:
    return traceback.extract_tb(error.__traceback__)
