"""What goes wrong in the page, in its log: once for each kind, and once a minute how often it came again."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import Counter
from pathlib import Path

from spotify_logger.system import log

PERIOD = 60.0
"""Seconds between two counts."""
MAX_KINDS = 20
"""Kinds that are told apart within a minute."""
MAX_FRAMES = 6
"""Innermost calls of an exception that are named."""


class ErrorLog(logging.Handler):
    """Writes the records of uvicorn, asyncio and the page, at most `2 * MOST_KINDS` lines a minute.

    Records are of one kind if their exceptions are of one type and from one place; without an exception, if
    their text is the same before anything is filled in.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._seen: dict[object, str] = {}
        self._repeats: Counter[object] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record in one line, or count it if one of its kind has been written lately."""
        kind = _kind(record)
        if kind in self._seen:
            self._repeats[kind] += 1
        elif len(self._seen) < MAX_KINDS:
            self._seen[kind] = _describe(record)
            log.error(self._seen[kind])
        else:
            self._repeats[None] += 1

    def flush(self) -> None:
        """Write how often each kind came again since the last call; forget those that did not."""
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
    """Return the first line of a record's text and, of its exception, type, message, notes and place."""
    text = record.getMessage().partition("\n")[0]
    error = record.exc_info and record.exc_info[1]
    if not error:
        return text
    notes = "".join(f"{note}: " for note in getattr(error, "__notes__", ()))
    place = " > ".join(f"{Path(each.filename).name}:{each.lineno}" for each in _frames(error)[-MAX_FRAMES:])
    return f"{text}: {notes}{type(error).__name__}: {error} ({place})"


def _frames(error: BaseException) -> traceback.StackSummary:
    return traceback.extract_tb(error.__traceback__)
