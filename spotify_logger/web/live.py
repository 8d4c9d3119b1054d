"""Streams what is playing to browsers (server-sent events)."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from spotify_logger.core.times import to_iso
from spotify_logger.monitoring import status
from spotify_logger.queries.dispatch import open_store
from spotify_logger.storage.bulk import play_data
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.system.log import sanitize
from spotify_logger.web.covers import catalog_key_of_play
from spotify_logger.web.item_links import item_links

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

    from spotify_logger.config.settings import Settings
    from spotify_logger.monitoring.status import Status
    from spotify_logger.web.covers import Covers
    from spotify_logger.web.templating import Templates

POLL_SECONDS = 1.0  # between two looks at Redis while a stream is open
STATUS_SECONDS = 1.0  # for which the state of the logger is shown without another look
POLL_SECONDS_UNKNOWN = 10.0  # the same while the state is unknown: each reads why from Redis and disk
KEEP_ALIVE_SECONDS = 15.0  # without a change after which a comment is sent, to detect closed connections
MAX_STREAM_SECONDS = 3600.0  # after which a stream ends; the browser then reconnects
MAX_STREAMS = 32
SEEK_TOLERANCE_MS = 2500  # by which the position may deviate from the expected one before it is sent again


class NowPlayingStream:
    """Tells browsers what is playing, and each change."""

    def __init__(self, settings: Settings, templates: Templates, covers: Covers) -> None:
        self._settings, self._templates, self._covers = settings, templates, covers
        self._store = open_store(settings)
        self._thread = ThreadPoolExecutor(1, "live")
        self._reading = asyncio.Lock()
        self._latest: dict[str, Any] = {"latest": None, "unknown_since": None, "problem": None}
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
                if _is_change(found, sent, now - sent_at):
                    yield f"event: now\ndata: {json.dumps(self._message(found))}\n\n"
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
                seconds = POLL_SECONDS if self._latest["problem"] is None else POLL_SECONDS_UNKNOWN
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
            keys = [catalog_key_of_play(found.now)] if found.now else []
            links = item_links(self._store, self._covers, keys)
        except SpotifyLoggerError as error:
            since = self._latest["unknown_since"] or to_iso(round(time.time() * 1000))
            return {**self._latest, "now": None, "unknown_since": since, "problem": sanitize(str(error))}
        latest_key = latest and play_data(latest)["key"]
        since = found.unknown_since if found.problem else None
        cover = next(iter(links.covers.values()), "")
        now = found.now and {**found.now, "cover": cover}
        known = {"unknown_since": since, "problem": found.problem}
        return {"now": now, "links": links, "latest": latest_key, **known}

    def _message(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a browser is sent: what plays, and the card that shows it."""
        card = self._templates.render_text("now.html", **found)
        return {"now": found["now"], "latest": found["latest"], "card": card}


def _is_change(found: dict[str, Any], sent: dict[str, Any], seconds: float) -> bool:
    """Return whether `found` differs from what a browser shows `seconds` after it was sent something else."""
    now, before = found.get("now") or {}, sent.get("now") or {}
    shown = ("key", "playing", "device_name", "end_reason")
    also_shown = ("latest", "links", "unknown_since", "problem")
    is_same = all(found.get(name) == sent.get(name) for name in also_shown)
    if not is_same or any(now.get(name) != before.get(name) for name in shown):
        return True
    position, earlier = now.get("position_ms"), before.get("position_ms")
    if position is None or earlier is None:
        return position is not earlier
    elapsed = seconds * 1000 if now.get("playing") else 0
    return bool(abs(position - earlier - elapsed) > SEEK_TOLERANCE_MS)
