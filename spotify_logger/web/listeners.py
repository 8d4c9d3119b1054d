"""Chooses the listener of a request; the views of each listener are created on demand."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeAlias

from starlette.responses import RedirectResponse, Response

from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.web.forms import read_form
from spotify_logger.web.live import NowPlayingStream
from spotify_logger.web.login import SpotifyLogin
from spotify_logger.web.query_service import QueryService
from spotify_logger.web.request_params import BadRequest
from spotify_logger.web.sessions import SESSION_LIFETIME
from spotify_logger.web.templating import NOBODY, CurrentListener
from spotify_logger.web.views.account import AccountViews
from spotify_logger.web.views.context import ViewContext
from spotify_logger.web.views.music import MusicViews
from spotify_logger.web.views.periods import PeriodViews
from spotify_logger.web.views.plays import PlayViews

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request

    from spotify_logger.config.settings import Settings
    from spotify_logger.core.periods import Zone
    from spotify_logger.storage.bulk import Archive
    from spotify_logger.web.covers import Covers
    from spotify_logger.web.templating import Templates

View: TypeAlias = "Callable[[Request], Awaitable[Response]]"

LISTENER_COOKIE = "spotify_logger_listener"
"""Holds the chosen name, or `NOBODY`."""
NAMES_CACHE_SECONDS = 10.0
"""Seconds that the names of the listeners are cached."""
UNKNOWN_LISTENER = "unknown listener: no log has this name"


class ListenerPages:
    """The views of one listener and what they need.

    Args:
        settings: Those of the listener.
        templates: Renders the pages.
        covers: Looks up covers.
        zone: The local time zone.

    Attributes:
        service: Runs queries.
        plays: Answers for what is playing and was played.
        music: Answers for rankings, items and the search.
        periods: Answers for charts and years.
        account: Answers for the logger's health and its login.
    """

    def __init__(self, settings: Settings, templates: Templates, covers: Covers, zone: Zone) -> None:
        self.service = QueryService(settings)
        self._live = NowPlayingStream(settings, covers)
        self._login = SpotifyLogin(settings)
        context = ViewContext(self.service, templates, covers, zone)
        self.plays = PlayViews(context, self._live)
        self.music = MusicViews(context)
        self.periods = PeriodViews(context)
        self.account = AccountViews(context, self._login)

    async def recheck(self) -> None:
        """End the streams of browsers that have signed out."""
        await self._live.recheck()

    async def stop(self) -> None:
        """End open streams and login attempts."""
        await self._live.stop()
        self._login.stop()


class Listeners:
    """The listeners whose pages have been opened.

    Args:
        settings: Those of the default listener.
        templates: Renders the pages.
        covers: Looks up covers.
        zone: The local time zone.
    """

    def __init__(self, settings: Settings, templates: Templates, covers: Covers, zone: Zone) -> None:
        self._settings = settings
        self._shared = templates, covers, zone
        self._pages_by_listener: dict[str, ListenerPages] = {}
        self._names: Sequence[str] = ()
        self._known_until = float("-inf")

    def view(self, select: Callable[[ListenerPages], View]) -> View:
        """Return an endpoint that calls the selected view of the requested listener."""

        async def answer(request: Request) -> Response:
            listener = await self._listener(request)
            request.state.listener = CurrentListener(listener, self._names)
            return await select(self._pages_of(listener))(request)

        return answer

    async def choose(self, request: Request) -> Response:
        """Archive the chosen listener in a cookie."""
        chosen = (await read_form(request)).get("listener", "")
        if chosen not in await self._listeners():
            raise BadRequest(UNKNOWN_LISTENER)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            LISTENER_COOKIE,
            chosen or NOBODY,
            max_age=SESSION_LIFETIME,
            secure=request.url.scheme == "https",
            httponly=True,
            samesite="strict",
        )
        return answer

    async def warm(self) -> None:
        """Fill the caches before the first visitor comes."""
        names = await self._listeners()
        await self._pages_of(self._default(names)).plays.warm()

    async def recheck(self) -> None:
        """End the streams of browsers that have signed out."""
        for pages in list(self._pages_by_listener.values()):  # another listener may be added meanwhile
            await pages.recheck()

    async def stop(self) -> None:
        """End open streams and login attempts."""
        for pages in self._pages_by_listener.values():
            await pages.stop()

    def close(self) -> None:
        """Close the connections to Redis."""
        for pages in self._pages_by_listener.values():
            pages.service.close()

    async def _listener(self, request: Request) -> str:
        names = await self._listeners()
        requested = request.query_params.get("listener", "")
        chosen = requested or request.cookies.get(LISTENER_COOKIE, "")
        name = "" if chosen == NOBODY else chosen
        if chosen and name in names:
            return name
        if requested:
            raise BadRequest(UNKNOWN_LISTENER)
        return self._default(names)

    def _default(self, names: Sequence[str]) -> str:
        """Return the listener to show if none was chosen."""
        ours = self._settings.listener
        return ours if ours in names or not names else names[0]

    async def _listeners(self) -> Sequence[str]:
        if time.monotonic() >= self._known_until:
            try:
                self._names = await self._pages_of(self._settings.listener).service.run(_names)
                self._known_until = time.monotonic() + NAMES_CACHE_SECONDS
            except SpotifyLoggerError:
                pass  # Redis is unreachable; the page says so
        return self._names

    def _pages_of(self, listener: str) -> ListenerPages:
        if listener not in self._pages_by_listener:
            self._pages_by_listener[listener] = ListenerPages(
                self._settings.for_listener(listener), *self._shared
            )
        return self._pages_by_listener[listener]


def _names(store: Archive) -> list[str]:
    return store.listeners()
