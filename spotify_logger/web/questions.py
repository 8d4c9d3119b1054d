"""Answers the questions of the page about one log, in a few threads.

However many browsers wait for the same question, it is answered once; and one for which nobody waits any more
is dropped.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect

from spotify_logger.queries import dispatch
from spotify_logger.queries.index import Index
from spotify_logger.queries.log import Log
from spotify_logger.system.errors import SpotifyLoggerError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from starlette.requests import Request

    from spotify_logger.config.settings import Settings
    from spotify_logger.queries.question import Question
    from spotify_logger.storage.bulk import Archive

T = TypeVar("T")

THREADS = 2  # as many questions are answered at once
MAX_WAITING = 16  # questions that may wait for a thread


class TooManyQuestions(SpotifyLoggerError):  # noqa: N818 - named after the state
    """Too many questions are waiting."""


@dataclass
class _Connections:
    """What one thread reads with."""

    store: Archive
    index: Index


@dataclass
class _Job:
    """A question that waits or is being answered, and the requests that wait for it."""

    requests: list[Request] = field(default_factory=list)
    task: asyncio.Task[Any] | None = None


class Questions:
    """Answers questions about the log in the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(THREADS, "questions")
        self._free = asyncio.Semaphore(THREADS)
        self._local = threading.local()
        self._opened: list[_Connections] = []
        self._jobs: dict[Hashable, _Job] = {}

    async def ask(self, request: Request, query: Callable[..., T], question: Question, *more: Hashable) -> T:
        """Return the result of a query, called with the log, the question and `more`.

        Raises TooManyQuestions if too many are waiting, and StoreError if Redis does not answer.
        """
        key = (query, replace(question, now=0.0), *more)
        job = self._jobs.get(key)
        if job is None:
            if len(self._jobs) >= THREADS + MAX_WAITING:
                raise TooManyQuestions("too many questions are waiting: try again in a moment")
            job = self._jobs[key] = _Job()
            work = partial(self._query, query, question, *more)
            job.task = asyncio.create_task(self._answer(key, job, work))
        job.requests.append(request)
        found: T = await asyncio.shield(job.task)  # type: ignore[arg-type] # it has been set
        return found

    async def run(self, work: Callable[[Archive], T]) -> T:
        """Return what a function reads from the store, in a thread."""
        async with self._free:
            return await self._in_thread(lambda: work(self._connections().store))

    async def prepare(self) -> None:
        """Make the index before the first question comes."""
        async with self._free:
            await self._in_thread(self._prepare)

    def close(self) -> None:
        """End the threads, and close their connections."""
        self._pool.shutdown(cancel_futures=True)
        for connections in self._opened:
            connections.index.close()
            connections.store.close()

    def _prepare(self) -> None:
        self._connections().index.sync()

    async def _answer(self, key: Hashable, job: _Job, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - any result
        try:
            async with self._free:
                if all([await request.is_disconnected() for request in job.requests]):
                    raise ClientDisconnect
                return await self._in_thread(work)
        finally:
            del self._jobs[key]

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _query(self, query: Callable[..., T], *about: object) -> T:
        connections = self._connections()
        return query(Log(connections.index.sync(), connections.store), *about)

    def _connections(self) -> _Connections:
        """Return the connections of the current thread."""
        found: _Connections | None = getattr(self._local, "connections", None)
        if found is None:
            store = dispatch.open_store(self._settings)
            found = self._local.connections = _Connections(store, Index(store))
            self._opened.append(found)
        return found
