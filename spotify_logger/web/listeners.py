"""The listeners, and the page of each: its questions, its stream and its login."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from spotify_logger.config.settings import Settings
from spotify_logger.core.periods import Zone
from spotify_logger.monitoring.status import notice
from spotify_logger.queries import dispatch
from spotify_logger.queries.index import Index
from spotify_logger.queries.question import Question
from spotify_logger.queries.sql import Log
from spotify_logger.storage.bulk import Archive
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.web.auth import set_cookie
from spotify_logger.web.importing import Import
from spotify_logger.web.live import NowPlayingStream, Shared
from spotify_logger.web.request_params import ZONE, BadRequest, RequestParams, follow, read_form
from spotify_logger.web.templating import CurrentListener, ItemLinks, Templates, item_links

if TYPE_CHECKING:
    from spotify_logger.web.login import LoginThread

T = TypeVar("T")
View: TypeAlias = "Callable[[ListenerPage, Request], Awaitable[Response]]"

LISTENER_COOKIE = "spotify_logger_listener"  # holds the chosen name, or `NOBODY`
THREADS = 2  # as many questions are answered at once, for each listener; one more thread reads the rest
MAX_WAITING = 32  # questions that may wait for a thread; a view asks several at once


class Questions:
    """Answers questions about the log in the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pool = ThreadPoolExecutor(THREADS + 1, "questions", self._connect)
        self._free = asyncio.Semaphore(THREADS)
        # The questions that wait or are being answered, and the requests that wait for them.
        self._asked: dict[Hashable, tuple[list[Request], asyncio.Task[Any]]] = {}
        self._local = threading.local()
        self._opened: list[tuple[Archive, Index]] = []
        self.first_play: int | None = None  # its second, as of the latest question

    async def ask(self, request: Request, query: Callable[..., T], question: Question, *more: Hashable) -> T:
        """Return the result of a query, called with the log, the question and `more`.

        Raises SpotifyLoggerError if too many are waiting, and StoreError if Redis does not answer.
        """
        key = (query, replace(question, now=0.0), *more)  # one that is asked already is not asked again
        if key not in self._asked:
            if len(self._asked) >= THREADS + MAX_WAITING:
                raise SpotifyLoggerError("too many questions are waiting: try again in a moment")

            def answer(log: Log) -> T:
                ((self.first_play,),) = log.rows("SELECT min(second) FROM plays")
                return query(log, question, *more)

            self._asked[key] = [], asyncio.create_task(self._answer(key, answer))
        requests, task = self._asked[key]
        requests.append(request)
        found: T = await asyncio.shield(task)
        return found

    async def run(self, work: Callable[[Archive], T]) -> T:
        """Return what a function reads from the store, in a thread."""
        return await self.in_thread(lambda store, _: work(store))

    async def in_thread(self, work: Callable[[Archive, Index], T]) -> T:
        """Return what a function reads from the store and the index, in a thread."""
        context = copy_context()  # with what the browser has chosen
        return await asyncio.get_running_loop().run_in_executor(
            self._pool, lambda: context.run(work, *self._local.connections)
        )

    def close(self) -> None:
        """End the threads, and close their connections."""
        self._pool.shutdown(cancel_futures=True)
        for store, index in self._opened:
            index.close()
            store.close()

    async def _answer(self, key: Hashable, query: Callable[[Log], T]) -> T:
        try:
            async with self._free:
                if all([await request.is_disconnected() for request in self._asked[key][0]]):
                    raise ClientDisconnect
                return await self.in_thread(lambda _, index: index.ask(query))
        finally:
            del self._asked[key]

    def _connect(self) -> None:
        store = dispatch.open_store(self._settings)
        self._local.connections = store, Index(store)
        self._opened.append(self._local.connections)


class ListenerPage(Questions):
    """What the views of one listener need: questions and templates, the stream, and the latest login."""

    def __init__(self, settings: Settings, templates: Templates, *, covers: bool) -> None:
        super().__init__(settings)
        self._covers = covers
        self.render, self.render_text = templates.render, templates.render_text
        self.compare = partial(dispatch.compare, settings)
        self.live = NowPlayingStream(self)
        self.login: LoginThread | None = None
        self.exporting = asyncio.Lock()
        self.importing = Import(settings)

    @property
    def zone(self) -> Zone:
        """The time zone of the request that is being answered."""
        return ZONE.get()

    @property
    def today(self) -> date:
        """The local date."""
        return self.zone.day(time.time())

    def params(self, request: Request, *, all_time: bool = False) -> RequestParams:
        """Parse the query string of a request; the default period may be `all_time`."""
        return RequestParams(request.query_params, lambda: self.years, all_time=all_time)

    async def links(self, keys: Iterable[str]) -> ItemLinks:
        """Return what rows link to besides their items."""
        return await self.run(lambda store: item_links(store, keys, covers=self._covers))

    async def observe(self, observation: Callable[[Archive, float, float, Path], T]) -> T:
        """Return what `monitoring.status` reports now: the state of the logger, or what is playing."""
        patience, folder = 2 * self._settings.poll_max, self._settings.state_dir
        return await self.run(lambda store: observation(store, time.time(), patience, folder))

    @property
    def years(self) -> range:
        """The years of the log, as of the latest question; this year alone while it is empty."""
        begin = self.today if self.first_play is None else self.zone.day(self.first_play)
        return range(min(begin.year, self.today.year), self.today.year + 1)

    def begin_login(self, store: Archive) -> None:
        """Begin an attempt to log in, and cancel the one in progress."""
        from spotify_logger.web.login import LoginThread  # noqa: PLC0415 - start-up time and memory: the HTTP client

        attempt = LoginThread(self._settings, store.known_owner())
        if self.login:
            self.login.stop()
        attempt.start()
        self.login = attempt

    async def stop(self) -> None:
        """End open streams, the login attempt and the import."""
        self.live.stop()
        await self.importing.stop()
        if self.login:
            self.login.stop()


class Listeners:
    """The pages of the listeners that have been opened; `settings` are those of the default listener."""

    def __init__(self, settings: Settings, templates: Templates, *, covers: bool) -> None:
        self._settings, self._templates, self._covers = settings, templates, covers
        self._pages: dict[str, ListenerPage] = {}
        self._names: Sequence[str] = ()
        self.names = Shared(self._read_names).get

    def view(self, show: View) -> Callable[[Request], Awaitable[Response]]:
        """Return an endpoint that shows a view of the requested listener."""

        async def answer(request: Request) -> Response:
            follow(request)
            listener = await self._requested(request)
            page = self.page_of(listener)
            request.state.listener = CurrentListener(listener, self._names)
            request.state.notice = notice(await page.live.status(), time.time())
            return await show(page, request)

        return answer

    async def choose(self, request: Request) -> Response:
        """Keep the chosen listener in a cookie."""
        chosen = (await read_form(request)).get("listener", "")
        if chosen not in await self.names():
            raise BadRequest(dispatch.unknown_listener(chosen, self._names))
        answer = RedirectResponse("/", 303)
        set_cookie(request, answer, LISTENER_COOKIE, chosen or dispatch.NOBODY)
        return answer

    async def warm(self) -> None:
        """Make the index of the default listener, and compile the templates, before anybody comes."""
        page = await self.default_page()
        with suppress(SpotifyLoggerError):  # Redis is unreachable; visitors will see that
            await page.in_thread(lambda _, index: index.sync())
        await self._templates.compile()

    async def stop(self) -> None:
        """End open streams and login attempts."""
        for page in self._pages.values():
            await page.stop()

    def close(self) -> None:
        """Close the connections to Redis."""
        for page in self._pages.values():
            page.close()

    async def _requested(self, request: Request) -> str:
        names = await self.names()
        requested = request.query_params.get("listener", "")
        chosen = requested or request.cookies.get(LISTENER_COOKIE, "")
        name = "" if chosen == dispatch.NOBODY else chosen
        if chosen and name in names:
            return name
        if requested:
            raise BadRequest(dispatch.unknown_listener(requested, names))
        return self.default(names)

    async def default_page(self) -> ListenerPage:
        """Return the page that is shown if none was chosen."""
        return self.page_of(self.default(await self.names()))

    def default(self, names: Sequence[str]) -> str:
        """Return the listener to show if none was chosen."""
        ours = self._settings.listener
        return ours if ours in names or not names else names[0]

    async def _read_names(self) -> Sequence[str]:
        with suppress(SpotifyLoggerError):  # Redis is unreachable; the page says so
            self._names = await self.page_of(self._settings.listener).run(Archive.listeners)
        return self._names

    def page_of(self, listener: str) -> ListenerPage:
        """Return the page of a listener."""
        if listener not in self._pages:
            settings = self._settings.for_listener(listener)
            self._pages[listener] = ListenerPage(settings, self._templates, covers=self._covers)
        return self._pages[listener]
