"""What plays now, told to every browser that listens as soon as it changes (server-sent events)."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from spotify_logger.core.times import from_iso
from spotify_logger.queries import status
from spotify_logger.queries.dispatch import open_store
from spotify_logger.queries.timeline import play_data
from spotify_logger.report.words import local_time
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.system.log import sanitize
from spotify_logger.web.covers import initial, tile

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from spotify_logger.config.settings import Settings
    from spotify_logger.web.covers import Covers

LOOK = 1.0
"""Seconds between two looks, while somebody listens."""
LOOK_UNKNOWN = 10.0
"""The same while nobody knows what plays: then each look asks Redis, and the disk, for the reason."""
HEARTBEAT = 15.0
"""Seconds after which something is sent though nothing changes: so it shows when nobody listens any more."""
LONGEST = 3600.0
"""Seconds that one stream lasts; the browser then asks for another one by itself."""
MOST_LISTENERS = 32
LEAP_MS = 2500
"""Milliseconds by which the position may be off from where it should be, before it is told."""


class Live:
    """Looks at what plays while somebody listens.

    Args:
        settings: Where Redis is.
        covers: Knows which image belongs to an item.
    """

    def __init__(self, settings: Settings, covers: Covers) -> None:
        self._settings = settings
        self._store = open_store(settings)
        self._covers = covers
        self._thread = ThreadPoolExecutor(1, "live")
        self._changed = asyncio.Condition()
        self._told: tuple[int, str] = (0, "")
        self._said: dict[str, Any] = {}
        self._said_at = 0.0
        self._listeners = 0
        self._looking: asyncio.Task[None] | None = None
        self._over = False

    @property
    def is_full(self) -> bool:
        """Whether nobody else can listen."""
        return self._listeners >= MOST_LISTENERS

    async def events(self, is_signed_in: Callable[[], bool] = lambda: True) -> AsyncGenerator[str, None]:
        """The stream for one browser: what plays now, and each change.

        Args:
            is_signed_in: Whether the browser may still see it; asked before anything is sent.
        """
        self._listeners += 1
        self._said = {}  # so that the next look is told to all: the player has gone on since the last one
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        seen, end = self._told[0], time.monotonic() + LONGEST
        try:
            yield "retry: 3000\n\n"
            while time.monotonic() < end:
                number, text = await self._next(seen, is_signed_in)
                if self._over or not is_signed_in():
                    return
                yield f"event: now\ndata: {text}\n\n" if number != seen else ": still here\n\n"
                seen = number
        finally:
            self._listeners -= 1

    async def end(self) -> None:
        """End every stream."""
        if self._over:
            return
        self._over = True
        async with self._changed:
            self._changed.notify_all()
        self._thread.submit(self._store.close)
        self._thread.shutdown(wait=False)

    async def recheck(self) -> None:
        """End the streams of browsers that are no longer signed in."""
        async with self._changed:
            self._changed.notify_all()

    async def _next(self, seen: int, is_signed_in: Callable[[], bool]) -> tuple[int, str]:
        """What there is to be told beyond what was seen; the same again when nothing comes for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT), self._changed:
                await self._changed.wait_for(
                    lambda: self._told[0] != seen or self._over or not is_signed_in()
                )
        return self._told

    async def _look(self) -> None:
        while self._listeners and not self._over:
            try:
                found = await asyncio.get_running_loop().run_in_executor(self._thread, self._read)
            except SpotifyLoggerError as error:
                since = self._said.get("unknown") or _unknown(time.time())
                latest = self._said.get("latest")
                found = {"now": None, "latest": latest, "unknown": since, "problem": sanitize(str(error))}
            if self._is_news(found):
                self._said, self._said_at = found, time.monotonic()
                async with self._changed:
                    self._told = self._told[0] + 1, json.dumps(found)
                    self._changed.notify_all()
            await asyncio.sleep(LOOK_UNKNOWN if found["unknown"] else LOOK)

    def _read(self) -> dict[str, Any]:
        pause, folder = 2 * self._settings.poll_max, self._settings.state_dir
        data: Any = status.now_playing(self._store, time.time(), pause, folder).data
        now = data["now"]
        latest = self._store.latest_play()
        if now is not None:
            name = str(now.get("name") or "?")
            cover = self._covers.of_play(self._store, now)
            now = now | {"cover": cover, "tile": tile(name), "initial": initial(name)}
        since, problem = data["unknown_since"], data["problem"]
        unknown = _unknown((from_iso(since) or 0) / 1000 if since else None) if problem else ""
        key = latest and play_data(latest)["key"]
        return {"now": now, "latest": key, "unknown": unknown, "problem": problem}

    def _is_news(self, found: dict[str, Any]) -> bool:
        """Whether a browser would show something else by itself."""
        if not self._said:
            return True
        now, before = found["now"] or {}, self._said["now"] or {}
        if any(found[name] != self._said[name] for name in ("latest", "unknown", "problem")):
            return True
        fixed = ("key", "playing", "device_name", "cover", "end_reason")
        if any(now.get(name) != before.get(name) for name in fixed):
            return True
        position, earlier = now.get("position_ms"), before.get("position_ms")
        if position is None or earlier is None:
            return position is not earlier
        gone = (time.monotonic() - self._said_at) * 1000 if now.get("playing") else 0
        return bool(abs(position - earlier - gone) > LEAP_MS)


def _unknown(since: float | None) -> str:
    return "Unknown" if since is None else f"Unknown since {local_time(since)}"
