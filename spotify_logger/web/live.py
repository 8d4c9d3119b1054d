"""Streams what is playing to browsers (server-sent events)."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from spotify_logger.core.times import from_iso
from spotify_logger.monitoring import status
from spotify_logger.queries.dispatch import open_store
from spotify_logger.report.words import local_time
from spotify_logger.storage.bulk import play_data
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.system.log import sanitize
from spotify_logger.web.covers import catalog_key_of_play, initial, tile_color

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from spotify_logger.config.settings import Settings
    from spotify_logger.web.covers import Covers

POLL_SECONDS = 1.0
"""Seconds between two polls of Redis while a stream is open."""
POLL_SECONDS_UNKNOWN = 10.0
"""Seconds between two polls while the state is unknown: each reads the reason from Redis and disk."""
KEEP_ALIVE_SECONDS = 15.0
"""Seconds without a change after which a comment is sent, to detect closed connections."""
MAX_STREAM_SECONDS = 3600.0
"""Seconds after which a stream ends; the browser then reconnects."""
MAX_STREAMS = 32
SEEK_TOLERANCE_MS = 2500
"""Milliseconds by which the position may deviate from the expected one before it is sent again."""


class NowPlayingStream:
    """Polls what is playing while streams are open, and sends the changes."""

    def __init__(self, settings: Settings, covers: Covers) -> None:
        self._settings = settings
        self._store = open_store(settings)
        self._covers = covers
        self._thread = ThreadPoolExecutor(1, "live")
        self._changed = asyncio.Condition()
        self._latest_event: tuple[int, str] = (0, "")
        self._sent: dict[str, Any] = {}
        self._sent_at = 0.0
        self._stream_count = 0
        self._poll_task: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def is_full(self) -> bool:
        """Whether the maximum number of streams is open."""
        return self._stream_count >= MAX_STREAMS

    async def events(self, is_signed_in: Callable[[], bool] = lambda: True) -> AsyncGenerator[str, None]:
        """Yield what is playing, and each change, for one browser; end it once `is_signed_in` is false."""
        self._stream_count += 1
        self._sent = {}  # send the next poll to all: the player has moved on since the last one
        if self._poll_task is None or self._poll_task.done():
            self._poll_task = asyncio.create_task(self._poll())
        seen, deadline = self._latest_event[0], time.monotonic() + MAX_STREAM_SECONDS
        try:
            yield "retry: 3000\n\n"
            while time.monotonic() < deadline:
                await self._wait_for_change(seen, is_signed_in)
                if self._is_closed or not is_signed_in():
                    return
                number, text = self._latest_event
                yield f"event: now\ndata: {text}\n\n" if number != seen else ": keep-alive\n\n"
                seen = number
        finally:
            self._stream_count -= 1

    async def stop(self) -> None:
        """End every stream."""
        if not self._is_closed:
            self._is_closed = True
            await self.recheck()
            self._thread.submit(self._store.close)
            self._thread.shutdown(wait=False)

    async def recheck(self) -> None:
        """End the streams of browsers that have signed out."""
        async with self._changed:
            self._changed.notify_all()

    async def _wait_for_change(self, seen: int, is_signed_in: Callable[[], bool]) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(KEEP_ALIVE_SECONDS), self._changed:
                await self._changed.wait_for(
                    lambda: self._latest_event[0] != seen or self._is_closed or not is_signed_in()
                )

    async def _poll(self) -> None:
        while self._stream_count and not self._is_closed:
            try:
                found = await asyncio.get_running_loop().run_in_executor(self._thread, self._read)
            except SpotifyLoggerError as error:
                since = self._sent.get("unknown") or _unknown(time.time())
                latest = self._sent.get("latest")
                found = {"now": None, "latest": latest, "unknown": since, "problem": sanitize(str(error))}
            if self._is_change(found):
                self._sent, self._sent_at = found, time.monotonic()
                self._latest_event = self._latest_event[0] + 1, json.dumps(found)
                await self.recheck()
            await asyncio.sleep(POLL_SECONDS_UNKNOWN if found["unknown"] else POLL_SECONDS)

    def _read(self) -> dict[str, Any]:
        pause, folder = 2 * self._settings.poll_max, self._settings.state_dir
        found = status.now_playing(self._store, time.time(), pause, folder)
        now, since, problem = found.now, found.unknown_since, found.problem
        latest = self._store.latest_play()
        if now is not None:
            name, key = str(now.get("name") or "?"), catalog_key_of_play(now)
            cover = self._covers.urls(self._store, [key]).get(key, "")
            now = {**now, "cover": cover, "tile": tile_color(name), "initial": initial(name)}
        unknown = _unknown((from_iso(since) or 0) / 1000 if since else None) if problem else ""
        latest_key = latest and play_data(latest)["key"]
        return {"now": now, "latest": latest_key, "unknown": unknown, "problem": problem}

    def _is_change(self, found: dict[str, Any]) -> bool:
        """Return whether `found` differs from what browsers show without an update."""
        now, before = found["now"] or {}, self._sent.get("now") or {}
        fixed = ("key", "playing", "device_name", "cover", "end_reason")
        if any(found[name] != self._sent.get(name) for name in ("latest", "unknown", "problem")) or any(
            now.get(name) != before.get(name) for name in fixed
        ):
            return True
        position, earlier = now.get("position_ms"), before.get("position_ms")
        if position is None or earlier is None:
            return position is not earlier
        elapsed = (time.monotonic() - self._sent_at) * 1000 if now.get("playing") else 0
        return bool(abs(position - earlier - elapsed) > SEEK_TOLERANCE_MS)


def _unknown(since: float | None) -> str:
    return "Unknown" if since is None else f"Unknown since {local_time(since)}"
