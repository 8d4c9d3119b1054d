"""Who answers what the page asks: the command's own answers, one at a time, and again without work.

All that Redis is asked for goes through one thread and one connection. An answer is kept for as long as
nothing has changed of what it was made of. What would make this process large is asked of the command in one
of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from spotify_logger.queries import arguments, dispatch
from spotify_logger.queries.reader import first_second
from spotify_logger.system import program
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.web.request_params import QueryParser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from spotify_logger.config.settings import Settings
    from spotify_logger.storage.store import Store

T = TypeVar("T")

_log = logging.getLogger(__name__)

MAX_CACHED_ANSWERS = 64
"""Answers that are kept."""
MAX_CACHE_AGE = 600.0
"""Seconds that an answer is kept at most: the catalogue, and what is rewritten in place, change unseen."""
MAX_RESIDENT_BYTES, BYTES_PER_PLAY = 60_000_000, 100
"""Bytes that this process may hold, and those that it takes, of each play that is gone through, for good."""
MAX_WAITING = 16
"""Questions that wait for their turn."""
COMMAND_TIMEOUT = 180.0
"""Seconds that the command gets: on a Pi it takes twenty for a million plays."""
USER_ERROR_CODES = (1, 2, os.EX_CONFIG)
"""Exit codes with which the command says in one line what is wrong."""
UNCACHED_COMMANDS = frozenset(("status", "now", "recent", "day"))
"""Commands whose answers are not kept: they read little, and tell of this moment."""
FULL_HISTORY_COMMANDS = frozenset(("year", "stats", "compare"))
"""Commands that look through all that was played before their stretch as well."""


class TooManyQueries(SpotifyLoggerError):  # noqa: N818 - the name is the advice
    """Too many questions wait already."""


@dataclass(frozen=True, slots=True)
class _CachedAnswer:
    """An answer.

    Attributes:
        mark: What it was made of, see `Archive.mark`.
        until: The moment of the monotonic clock up to which it is good.
        data: What it says.
    """

    mark: str
    until: float
    data: Any


class QueryService:
    """Answers questions, one after the other.

    Args:
        settings: Where Redis is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = dispatch.open_store(settings)
        self._thread = ThreadPoolExecutor(1, "desk")
        self._cache: OrderedDict[tuple[str, ...], _CachedAnswer] = OrderedDict()
        self._waiting = 0
        self._large = asyncio.Semaphore(1)

    async def query(self, *words: str) -> Any:  # noqa: ANN401 - what JSON can hold
        """What the command answers to these words, for programs.

        Raises:
            Odd: They make no sense.
            Busy: Too many others wait.
            StoreError: Redis gives no answer.
        """
        options = arguments.parse(words, QueryParser)
        if options.command in UNCACHED_COMMANDS:
            return await self.run(lambda store: self._query_here(options, store))
        day = str(options.question.today)
        key = (*words, day)
        mark, plays = await self.run(lambda store: self._mark(options, store))
        kept = self._cache.get(key)
        if kept and kept.mark == mark and time.monotonic() < kept.until:
            self._cache.move_to_end(key)
            return kept.data
        if _resident() + plays * BYTES_PER_PLAY > MAX_RESIDENT_BYTES:
            data = await self._query_in_subprocess(words)
        else:
            data = await self.run(lambda store: self._query_here(options, store))
        self._cache[key] = _CachedAnswer(mark, time.monotonic() + MAX_CACHE_AGE, data)
        if len(self._cache) > MAX_CACHED_ANSWERS:
            self._cache.popitem(last=False)
        return data

    async def run(self, work: Callable[[Store], T]) -> T:
        """Do something with the log when it is its turn.

        Raises:
            Busy: Too many others wait.
        """
        if self._waiting >= MAX_WAITING:
            raise TooManyQueries("too many questions wait already; ask again in a moment")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._store)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the thread, and close the connection."""
        self._thread.submit(self._store.close)
        self._thread.shutdown(wait=False, cancel_futures=False)

    def _query_here(self, options: argparse.Namespace, store: Store) -> Any:  # noqa: ANN401 - see `ask`
        return dispatch.answer(options, store, self._settings).data

    def _environment(self) -> dict[str, str]:
        """That of the command: it asks the same Redis, wherever this process has learned of it."""
        told = ("REDIS_URL_FILE", "REDIS_PREFIX_FILE")
        kept = {name: value for name, value in os.environ.items() if name not in told}
        return kept | {
            "REDIS_URL": self._settings.redis_url,
            "REDIS_PREFIX": self._settings.shared_prefix,
        }

    def _mark(self, options: argparse.Namespace, store: Store) -> tuple[str, int]:
        """What tells whether something has changed since, and how many plays the question is about."""
        mark, plays = _mark(options, store)
        if options.command == "compare":
            name = dispatch.resolve_listener(options.other, store)
            with closing(dispatch.open_store(self._settings.for_listener(name))) as other:
                others_mark, others_plays = _mark(options, other)
            return mark + others_mark, plays + others_plays
        return mark, plays

    async def _query_in_subprocess(self, words: Sequence[str]) -> Any:  # noqa: ANN401 - see `ask`
        async with self._large:
            process = await asyncio.create_subprocess_exec(
                *program.module_command("spotify_logger"),
                # Not in the environment, where none at all would leave it to what `.env` says.
                f"--listener={self._settings.listener}",
                *words[:1],
                "--json",
                *words[1:],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=self._environment(),
            )
            try:
                told, complaint = await asyncio.wait_for(process.communicate(), COMMAND_TIMEOUT)
            except TimeoutError:
                raise SpotifyLoggerError("that takes too long; a shorter stretch takes less") from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode:
            stderr = complaint.decode(errors="replace")
            raise SpotifyLoggerError(_error_message(words, process.returncode, stderr))
        return json.loads(told)


def _error_message(words: Sequence[str], code: int, stderr: str) -> str:
    """Return what a browser is told of a command that failed: its own line, or that the log says more.

    Anything else that it wrote, such as a traceback, goes into the log.
    """
    name, _, line = stderr.strip().partition(": ")
    if code in USER_ERROR_CODES and name == "spotify-logger" and "\n" not in line:
        return line
    last = stderr.strip().rpartition("\n")[2] or "nothing"
    _log.error("spotify-logger %s ended with exit code %d and said: %s", words[0], code, last)
    return "the answer could not be computed; the log of the page says why"


def _resident() -> int:
    """Bytes of memory that this process holds; 0 where nobody knows."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:  # no Linux
        return 0


def _mark(options: argparse.Namespace, store: Store) -> tuple[str, int]:
    """The same for one log."""
    asked = options.question.period
    begin = first_second(asked)
    archive = store.archive()
    if options.command in FULL_HISTORY_COMMANDS:
        return archive.mark(end=asked.end)
    previous = asked.previous
    if options.command == "top" and previous is not None and previous.begin is not None:
        begin = previous.begin
    return archive.mark(begin, asked.end)
