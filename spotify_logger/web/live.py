"""Streams what is playing to browsers (server-sent events)."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from spotify_logger.core.times import seconds_of
from spotify_logger.monitoring import status
from spotify_logger.queries.dispatch import open_store
from spotify_logger.storage.bulk import play_data
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.system.log import sanitize
from spotify_logger.web.covers import catalog_key_of_play, initial, tile_color
from spotify_logger.web.preferences import ZONE
from spotify_logger.web.templating import TIME_FORM

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from spotify_logger.config.settings import Settings
    from spotify_logger.monitoring.status import Status
    from spotify_logger.web.covers import Covers

POLL_SECONDS = 1.0  # between two looks at Redis while a stream is open
STATUS_SECONDS = 1.0  # for which the state of the logger is shown without another look
POLL_SECONDS_UNKNOWN = 10.0  # the same while the state is unknown: each reads why from Redis and disk
KEEP_ALIVE_SECONDS = 15.0  # without a change after which a comment is sent, to detect closed connections
MAX_STREAM_SECONDS = 3600.0  # after which a stream ends; the browser then reconnects
MAX_STREAMS = 32
SEEK_TOLERANCE_MS = 2500  # by which the position may deviate from the expected one before it is sent again


class NowPlayingStream:
    """Tells browsers what is playing, and each change."""

    def __init__(self, settings: Settings, covers: Covers) -> None:
        self._settings, self._covers = settings, covers
        self._store = open_store(settings)
        self._thread = ThreadPoolExecutor(1, "live")
        self._reading = asyncio.Lock()
        self._latest: dict[str, Any] = {"latest": None, "unknown": None}
        self._due = 0.0
        self._status: Status | None = None
        self._status_due = 0.0
        self._stream_count = 0
        self._is_closed = False

    @property
    def is_full(self) -> bool:
        """Whether the maximum number of streams is open."""
        return self._stream_count >= MAX_STREAMS

    async def events(self, is_signed_in: Callable[[], bool] = lambda: True) -> AsyncGenerator[str, None]:
        """Yield what is playing, and each change, for one browser; end it once `is_signed_in` is false."""
        self._stream_count += 1
        end = time.monotonic() + MAX_STREAM_SECONDS
        sent: dict[str, Any] = {}
        sent_at = written_at = time.monotonic()
        try:
            yield "retry: 3000\n\n"
            while (now := time.monotonic()) < end and is_signed_in() and not self._is_closed:
                found = await self._now_playing()
                found = {**found, "unknown": _unknown(found["unknown"])}
                if _is_change(found, sent, now - sent_at):
                    yield f"event: now\ndata: {json.dumps(found)}\n\n"
                    sent, sent_at, written_at = found, now, now
                elif now - written_at >= KEEP_ALIVE_SECONDS:
                    yield ": keep-alive\n\n"
                    written_at = now
                await asyncio.sleep(POLL_SECONDS)
        finally:
            self._stream_count -= 1

    async def status(self) -> Status | None:
        """Return the state of the logger; however many ask, it is read once a second. None if closed."""
        async with self._reading:
            if time.monotonic() >= self._status_due and not self._is_closed:
                loop = asyncio.get_running_loop()
                self._status = await loop.run_in_executor(self._thread, self._read_status)
                self._status_due = time.monotonic() + STATUS_SECONDS
            return self._status

    async def stop(self) -> None:
        """End every stream within `POLL_SECONDS`."""
        if not self._is_closed:
            self._is_closed = True
            self._thread.submit(self._store.close)
            self._thread.shutdown(wait=False)

    async def _now_playing(self) -> dict[str, Any]:
        """Return what is playing; however many streams ask, it is read once."""
        async with self._reading:
            if time.monotonic() >= self._due and not self._is_closed:
                self._latest = await asyncio.get_running_loop().run_in_executor(self._thread, self._read)
                seconds = POLL_SECONDS if self._latest["unknown"] is None else POLL_SECONDS_UNKNOWN
                self._due = time.monotonic() + seconds
            return self._latest

    def _read_status(self) -> Status:
        pause, folder = 2 * self._settings.poll_max, self._settings.state_dir
        return status.status(self._store, time.time(), pause, folder)

    def _read(self) -> dict[str, Any]:
        pause, folder = 2 * self._settings.poll_max, self._settings.state_dir
        try:
            found = status.now_playing(self._store, time.time(), pause, folder)
            latest = self._store.latest_play()
            now = found.now
            if now is not None:
                name, key = str(now.get("name") or "?"), catalog_key_of_play(now)
                cover = self._covers.urls(self._store, [key]).get(key, "")
                now = {**now, "cover": cover, "tile": tile_color(name), "initial": initial(name)}
        except SpotifyLoggerError as error:
            since = self._latest["unknown"] or time.time()
            return {**self._latest, "now": None, "unknown": since, "problem": sanitize(str(error))}
        unknown = (seconds_of(found.unknown_since) or 0.0) if found.problem else None  # 0: since when is, too
        latest_key = latest and play_data(latest)["key"]
        return {"now": now, "latest": latest_key, "unknown": unknown, "problem": found.problem}


def _is_change(found: dict[str, Any], sent: dict[str, Any], seconds: float) -> bool:
    """Return whether `found` differs from what a browser shows `seconds` after it was sent something else."""
    now, before = found.get("now") or {}, sent.get("now") or {}
    shown = ("key", "playing", "device_name", "cover", "end_reason")
    is_same = all(found.get(name) == sent.get(name) for name in ("latest", "unknown", "problem"))
    if not is_same or any(now.get(name) != before.get(name) for name in shown):
        return True
    position, earlier = now.get("position_ms"), before.get("position_ms")
    if position is None or earlier is None:
        return position is not earlier
    elapsed = seconds * 1000 if now.get("playing") else 0
    return bool(abs(position - earlier - elapsed) > SEEK_TOLERANCE_MS)


def _unknown(since: float | None) -> str:
    """Return what is shown if it has been unknown since then what plays; "" for None."""
    if since is None:
        return ""
    return f"Unknown since {ZONE.get().local(since):{TIME_FORM}}" if since else "Unknown"
