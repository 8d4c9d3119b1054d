"""Whose page a browser sees: each listener has views of their own, made when they are first wanted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from starlette.responses import RedirectResponse, Response

from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.web.live import NowPlayingStream
from spotify_logger.web.login import SpotifyLogin
from spotify_logger.web.query_service import QueryService
from spotify_logger.web.request_params import BadRequest
from spotify_logger.web.sessions import SESSION_LIFETIME
from spotify_logger.web.templating import NOBODY, CurrentListener
from spotify_logger.web.views import Views, read_form

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from starlette.requests import Request

    from spotify_logger.config.settings import Settings
    from spotify_logger.core.periods import Zone
    from spotify_logger.storage.store import Store
    from spotify_logger.web.covers import Covers
    from spotify_logger.web.templating import Templates

LISTENER_COOKIE = "spotify_logger_listener"
"""What a browser keeps of the choice: a name, or `NOBODY`."""
NAMES_CACHE_SECONDS = 10.0
"""Seconds for which the names are known that were read last."""
UNKNOWN_LISTENER = "nobody of that name has a log here"


class ListenerPages:
    """A listener's part of the page.

    Args:
        settings: Theirs.
        pages: Show what there is.
        covers: Knows the images.
        zone: Whose days count.

    Attributes:
        desk: Knows the answers.
        views: Answers requests.
    """

    def __init__(self, settings: Settings, templates: Templates, covers: Covers, zone: Zone) -> None:
        self.service = QueryService(settings)
        self._live = NowPlayingStream(settings, covers)
        self._login = SpotifyLogin(settings)
        self.views = Views(self.service, templates, self._live, covers, self._login, zone)

    async def recheck(self) -> None:
        """End the streams of browsers that are no longer signed in."""
        await self._live.recheck()

    async def stop(self) -> None:
        """End what would not end by itself."""
        await self._live.stop()
        self._login.stop()


class Listeners:
    """All listeners of a household, as far as somebody looks at their pages.

    Args:
        settings: Of the one whose page is shown where nothing else was chosen.
        pages: See `Person`, as the others.
        covers: The same.
        zone: The same.
    """

    def __init__(self, settings: Settings, templates: Templates, covers: Covers, zone: Zone) -> None:
        self._settings = settings
        self._shared = templates, covers, zone
        self._pages_by_listener: dict[str, ListenerPages] = {}
        self._names: Sequence[str] = ()
        self._known_until = float("-inf")

    def view(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        """What answers a request with one of the views of whoever it is about."""

        async def answer(request: Request) -> Response:
            listener = await self._listener(request)
            request.state.listener = CurrentListener(listener, self._names)
            shown: Any = getattr(self._pages_of(listener).views, name)
            response: Response = await shown(request)
            return response

        return answer

    async def choose(self, request: Request) -> Response:
        """Take note of whose page a browser wants to see."""
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
        """Do beforehand what would else be done while somebody waits."""
        names = await self._listeners()
        await self._pages_of(self._default(names)).views.warm()

    async def recheck(self) -> None:
        """End the streams of browsers that are no longer signed in."""
        for pages in list(self._pages_by_listener.values()):  # somebody may be added meanwhile
            await pages.recheck()

    async def stop(self) -> None:
        """End what would not end by itself."""
        for pages in self._pages_by_listener.values():
            await pages.stop()

    def close(self) -> None:
        """Let go of Redis, when nothing is answered any more."""
        for pages in self._pages_by_listener.values():
            pages.service.close()

    async def _listener(self, request: Request) -> str:
        names = await self._listeners()
        asked = request.query_params.get("listener", "")
        chosen = asked or request.cookies.get(LISTENER_COOKIE, "")
        name = "" if chosen == NOBODY else chosen
        if chosen and name in names:
            return name
        if asked:
            raise BadRequest(UNKNOWN_LISTENER)
        return self._default(names)

    def _default(self, names: Sequence[str]) -> str:
        """Whose page is shown where nobody was chosen."""
        ours = self._settings.listener
        return ours if ours in names or not names else names[0]

    async def _listeners(self) -> Sequence[str]:
        if time.monotonic() >= self._known_until:
            try:
                self._names = await self._pages_of(self._settings.listener).service.run(_names)
                self._known_until = time.monotonic() + NAMES_CACHE_SECONDS
            except SpotifyLoggerError:
                pass  # Redis is away; what is shown says so
        return self._names

    def _pages_of(self, listener: str) -> ListenerPages:
        if listener not in self._pages_by_listener:
            self._pages_by_listener[listener] = ListenerPages(
                self._settings.for_listener(listener), *self._shared
            )
        return self._pages_by_listener[listener]


def _names(store: Store) -> list[str]:
    return store.listeners()
