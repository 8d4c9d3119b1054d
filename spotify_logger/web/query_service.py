"""Runs the queries of the page, one at a time, and caches the answers.

All queries share one thread and one connection to Redis. An answer stays cached until the data that it was
computed from changes. Queries that would need a lot of memory run as a command in their own process.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from spotify_logger.config.listeners import for_listener, shared_prefix
from spotify_logger.queries import arguments, dispatch
from spotify_logger.queries.reader import first_second
from spotify_logger.storage.bulk import FIRST_SECOND
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
MAX_CACHE_AGE = 600.0
"""Maximum age of a cached answer in seconds, as changes to the catalog go unnoticed."""
MAX_RESIDENT_BYTES, BYTES_PER_PLAY = 60_000_000, 100
"""Memory limit of this process in bytes, and the bytes that it keeps for each play that a query reads."""
MAX_WAITING = 16
"""Queries that may wait for the thread."""
COMMAND_TIMEOUT = 180.0
"""Seconds that a command may take; on a Pi it takes 20 for a million plays."""
USER_ERROR_CODES = (1, 2, os.EX_CONFIG)
"""Exit codes with which the command prints a one-line error."""
UNCACHED_COMMANDS = frozenset(("status", "now", "recent", "day"))
"""Commands that read little, and whose answer depends on the current time."""
FULL_HISTORY_COMMANDS = frozenset(("year", "stats", "compare"))
"""Commands that also read all plays before their period."""


class TooManyQueries(SpotifyLoggerError):  # noqa: N818 - named after the state
    """Too many queries are waiting."""


class _CachedAnswer(NamedTuple):
    """JSON data, the `Archive.mark` of its plays, and the monotonic time at which it expires."""

    data: Any
    mark: str
    until: float


class QueryService:
    """Runs queries about the log in the settings, one after the other."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = dispatch.open_store(settings)
        self._thread = ThreadPoolExecutor(1, "queries")
        self._cache: dict[tuple[str, ...], _CachedAnswer] = {}
        self._waiting = 0
        self._large = asyncio.Semaphore(1)

    async def query(self, *words: str) -> Any:  # noqa: ANN401 - what JSON can hold
        """Return the JSON answer of a command, given as its arguments; invalid ones are a `BadRequest`."""
        options = arguments.parse(words, QueryParser)

        def answer(store: Archive) -> Any:  # noqa: ANN401 - as above
            return dispatch.answer(options, store, self._settings).data

        if options.command in UNCACHED_COMMANDS:
            return await self.run(answer)
        key = (*words, str(options.question.today))
        mark, plays = await self.run(lambda store: _mark(options, store, self._settings))
        kept = self._cache.pop(key, None)
        if kept is None or kept.mark != mark or time.monotonic() >= kept.until:
            is_large = _resident() + plays * BYTES_PER_PLAY > MAX_RESIDENT_BYTES
            data = await (self._query_in_subprocess(words) if is_large else self.run(answer))
            kept = _CachedAnswer(data, mark, time.monotonic() + MAX_CACHE_AGE)
        self._cache[key] = kept  # last, as the most recently used
        if len(self._cache) > MAX_CACHED_ANSWERS:
            del self._cache[next(iter(self._cache))]
        return kept.data

    async def run(self, work: Callable[[Archive], T]) -> T:
        """Run `work` on the store in the query thread; raise `TooManyQueries` if too many are waiting."""
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
        self._thread.shutdown(wait=False)

    async def _query_in_subprocess(self, words: Sequence[str]) -> Any:  # noqa: ANN401 - as in `query`
        environment = {
            **os.environ,
            "REDIS_URL": self._settings.redis_url,
            "REDIS_PREFIX": shared_prefix(self._settings),
        }
        for overridden in ("REDIS_URL_FILE", "REDIS_PREFIX_FILE"):
            environment.pop(overridden, None)
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
                env=environment,
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
    """Return the error line of a failed command; log other output, such as a traceback, and refer to it."""
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


def _mark(options: argparse.Namespace, store: Archive, settings: Settings) -> tuple[str, int]:
    """Return the version and the number of the plays that a query reads."""
    period = options.question.period
    begin = FIRST_SECOND if options.command in FULL_HISTORY_COMMANDS else first_second(period)
    if options.command == "top" and period.previous is not None and period.previous.begin is not None:
        begin = period.previous.begin
    mark, plays = store.mark(begin, period.end)
    if options.command == "compare":
        listener = dispatch.resolve_listener(options.other, store)
        with closing(dispatch.open_store(for_listener(settings, listener))) as other:
            others_mark, others_plays = other.mark(begin, period.end)
        return mark + others_mark, plays + others_plays
    return mark, plays
