"""Runs the queries of the page, one at a time, and caches the answers.

All queries share one thread and one connection to Redis. An answer stays cached until the data that it was
computed from changes. Queries that would need much memory run as a command in a process of their own.
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
    from spotify_logger.storage.bulk import Archive

T = TypeVar("T")

_log = logging.getLogger(__name__)

MAX_CACHED_ANSWERS = 64
"""Answers in the cache."""
MAX_CACHE_AGE = 600.0
"""Seconds that an answer is cached at most, as changes of the catalog go unnoticed."""
MAX_RESIDENT_BYTES, BYTES_PER_PLAY = 60_000_000, 100
"""Memory limit of this process in bytes, and the bytes that it keeps for each play that a query reads."""
MAX_WAITING = 16
"""Queries that may wait for the thread."""
COMMAND_TIMEOUT = 180.0
"""Seconds that a command may take; on a Pi it takes 20 for a million plays."""
USER_ERROR_CODES = (1, 2, os.EX_CONFIG)
"""Exit codes with which the command prints a one-line error."""
UNCACHED_COMMANDS = frozenset(("status", "now", "recent", "day"))
"""Commands that read little and answer about this moment."""
FULL_HISTORY_COMMANDS = frozenset(("year", "stats", "compare"))
"""Commands that also read all plays before their period."""


class TooManyQueries(SpotifyLoggerError):  # noqa: N818 - named after the state
    """Too many queries are waiting."""


@dataclass(frozen=True, slots=True)
class _CachedAnswer:
    """A cached answer.

    Attributes:
        mark: Version of the data it was computed from (`Archive.mark`).
        until: Monotonic time at which it expires.
        data: The answer as JSON data.
    """

    mark: str
    until: float
    data: Any


class QueryService:
    """Runs queries one after the other.

    Args:
        settings: Where Redis is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = dispatch.open_store(settings)
        self._thread = ThreadPoolExecutor(1, "queries")
        self._cache: OrderedDict[tuple[str, ...], _CachedAnswer] = OrderedDict()
        self._waiting = 0
        self._large = asyncio.Semaphore(1)

    async def query(self, *words: str) -> Any:  # noqa: ANN401 - what JSON can hold
        """Return the JSON answer of a command, given as its arguments.

        Raises:
            BadRequest: The arguments are invalid.
            TooManyQueries: Too many queries are waiting.
            StoreError: Redis does not answer.
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

    async def run(self, work: Callable[[Archive], T]) -> T:
        """Run `work` on the store in the query thread.

        Raises:
            TooManyQueries: Too many queries are waiting.
        """
        if self._waiting >= MAX_WAITING:
            raise TooManyQueries("too many queries are waiting: try again in a moment")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, self._store)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the thread, and close the connection."""
        self._thread.submit(self._store.close)
        self._thread.shutdown(wait=False, cancel_futures=False)

    def _query_here(self, options: argparse.Namespace, store: Archive) -> Any:  # noqa: ANN401 - as in `query`
        return dispatch.answer(options, store, self._settings).data

    def _environment(self) -> dict[str, str]:
        """Return the environment for the command, which uses the same Redis as this process."""
        overridden = ("REDIS_URL_FILE", "REDIS_PREFIX_FILE")
        kept = {name: value for name, value in os.environ.items() if name not in overridden}
        return kept | {
            "REDIS_URL": self._settings.redis_url,
            "REDIS_PREFIX": self._settings.shared_prefix,
        }

    def _mark(self, options: argparse.Namespace, store: Archive) -> tuple[str, int]:
        """Return the version of the data that a query reads, and its number of plays."""
        mark, plays = _mark(options, store)
        if options.command == "compare":
            name = dispatch.resolve_listener(options.other, store)
            with closing(dispatch.open_store(self._settings.for_listener(name))) as other:
                others_mark, others_plays = _mark(options, other)
            return mark + others_mark, plays + others_plays
        return mark, plays

    async def _query_in_subprocess(self, words: Sequence[str]) -> Any:  # noqa: ANN401 - as in `query`
        async with self._large:
            process = await asyncio.create_subprocess_exec(
                *program.module_command("spotify_logger"),
                # As an option: an empty variable would leave the choice to `.env`.
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
                stdout, stderr = await asyncio.wait_for(process.communicate(), COMMAND_TIMEOUT)
            except TimeoutError:
                raise SpotifyLoggerError("the query took too long: try a shorter period") from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode:
            text = stderr.decode(errors="replace")
            raise SpotifyLoggerError(_error_message(words, process.returncode, text))
        return json.loads(stdout)


def _error_message(words: Sequence[str], code: int, stderr: str) -> str:
    """Return the message for a failed command: its own error line, or a reference to the log.

    Other output, such as a traceback, is logged.
    """
    name, _, line = stderr.strip().partition(": ")
    if code in USER_ERROR_CODES and name == "spotify-logger" and "\n" not in line:
        return line
    last = stderr.strip().rpartition("\n")[2] or "no output"
    _log.error("spotify-logger %s exited with code %d: %s", words[0], code, last)
    return "cannot compute the answer: see the log of the page"


def _resident() -> int:
    """Return the resident memory of this process in bytes; 0 if unknown."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:  # not Linux
        return 0


def _mark(options: argparse.Namespace, store: Archive) -> tuple[str, int]:
    """Return the version and the number of the plays that a query reads from one log."""
    period = options.question.period
    begin = first_second(period)
    archive = store
    if options.command in FULL_HISTORY_COMMANDS:
        return archive.mark(end=period.end)
    previous = period.previous
    if options.command == "top" and previous is not None and previous.begin is not None:
        begin = previous.begin
    return archive.mark(begin, period.end)
