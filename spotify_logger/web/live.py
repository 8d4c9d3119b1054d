"""Streams what is playing to browsers (server-sent events)."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from spotify_logger.core.redis_keys import play_key
from spotify_logger.core.times import to_iso
from spotify_logger.monitoring import status
from spotify_logger.storage.bulk import Archive
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.system.log import sanitize
from spotify_logger.web.templating import catalog_key_of_play

if TYPE_CHECKING:
    from spotify_logger.web.listeners import ListenerPage

T = TypeVar("T")

POLL_SECONDS = 1.0  # between two looks at what is playing while a stream is open
SHARED_SECONDS = 1.0  # for which what many requests need is not read again
KEEP_ALIVE_SECONDS = 15.0  # without a change after which a comment is sent, to detect closed connections
MAX_STREAMS = 32
SEEK_TOLERANCE_MS = 2500  # by which the position may deviate from the expected one before it is sent again


class Shared(Generic[T]):
    """A value that many requests need: read at most once in `SHARED_SECONDS`, however many ask for it."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read, self._reading = read, asyncio.Lock()
        self._read_at = float("-inf")
        self._found: T

    async def get(self) -> T:
        """Return the value, or raise the error of reading it."""
        async with self._reading:
            if time.monotonic() - self._read_at >= SHARED_SECONDS:
                self._found = await self._read()
                self._read_at = time.monotonic()
            return self._found


class NowPlayingStream:
    """Tells browsers what the listener of a page is playing, and each change; reads the logger's state."""

    def __init__(self, page: "ListenerPage") -> None:
        self._page = page
        self._found: dict[str, Any] = {"latest": None, "links": None, "unknown_since": None}
        self._slots = asyncio.Semaphore(MAX_STREAMS)
        self._is_closed = False
        self._now_playing = Shared(self._read).get
        self.status = Shared(partial(page.observe, status.status)).get

    @property
    def is_full(self) -> bool:
        """Whether the maximum number of streams is open."""
        return self._slots.locked()

    async def events(self, is_signed_in: Callable[[], bool] = lambda: True) -> AsyncGenerator[str, None]:
        """Yield what is playing, and each change, for one browser; end it once `is_signed_in` is false."""
        sent: dict[str, Any] = {}
        sent_at = written_at = time.monotonic()
        async with self._slots:
            yield "retry: 3000\n\n"
            while is_signed_in() and not self._is_closed:
                now = time.monotonic()
                found = await self._now_playing()
                if _is_change(found, sent, now - sent_at):
                    card = self._page.render_text("now.html", **found)
                    message = {"now": found["now"], "latest": found["latest"], "card": card}
                    yield f"event: now\ndata: {json.dumps(message)}\n\n"
                    sent, sent_at, written_at = found, now, now
                elif now - written_at >= KEEP_ALIVE_SECONDS:
                    yield ": keep-alive\n\n"
                    written_at = now
                await asyncio.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End every stream within `POLL_SECONDS`."""
        self._is_closed = True

    async def _read(self) -> dict[str, Any]:
        try:
            found = await self._page.observe(status.now_playing)
            latest = await self._page.run(Archive.latest_play)
            links = await self._page.links([catalog_key_of_play(found.now)] if found.now else [])
        except SpotifyLoggerError as error:
            since = self._found["unknown_since"] or to_iso(round(time.time() * 1000))
            unknown = {"now": None, "unknown_since": since, "problem": sanitize(str(error))}
            self._found = {**self._found, **unknown}
        else:
            now = found.now and {**found.now, "cover": next(iter(links.covers.values()), "")}
            known = {"latest": latest and play_key(latest[0]), "links": links, "problem": found.problem}
            self._found = {"now": now, "unknown_since": found.unknown_since, **known}
        return self._found


def _is_change(found: dict[str, Any], sent: dict[str, Any], seconds: float) -> bool:
    """Return whether `found` differs from what a browser shows `seconds` after it was sent something else."""
    now, before = found.get("now") or {}, sent.get("now") or {}
    shown = ("key", "playing", "device_name", "end_reason")
    is_same = {**found, "now": None} == {**sent, "now": None}
    if not is_same or any(now.get(name) != before.get(name) for name in shown):
        return True
    position, earlier = now.get("position_ms"), before.get("position_ms")
    if position is None or earlier is None:
        return position is not earlier
    elapsed = seconds * 1000 if now.get("playing") else 0
    return bool(abs(position - earlier - elapsed) > SEEK_TOLERANCE_MS)
