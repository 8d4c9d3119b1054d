from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.storage.bulk import Archive
from spotify_logger.web import live as live_module
from spotify_logger.web.listeners import ListenerPage
from spotify_logger.web.templating import Assets, Templates
from tests.conftest import start_again, start_server
from tests.web.log import QUO, write_play
from tests.web.page import settings_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from spotify_logger.config.settings import Settings
    from spotify_logger.web.live import NowPlayingStream

    Update = dict[str, Any]

PATIENCE = 60.0
COVER = "https://i.scdn.co/image/ab67616d0000b273" + "0" * 24


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(live_module, "SHARED_SECONDS", 0.02)
    monkeypatch.setattr(live_module, "KEEP_ALIVE_SECONDS", 0.2)


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return settings_for(redis_url, tmp_path)


async def next_update(events: AsyncIterator[str], matches: Callable[[Update], object] = bool) -> Update:
    """Return the first update that matches."""
    async for event in events:
        if event.startswith("event: now\ndata: ") and event.endswith("\n\n"):
            update: Update = json.loads(event.removeprefix("event: now\ndata: "))
            if matches(update):
                return update
    raise AssertionError


def watch(
    settings: Settings, watcher: Callable[[NowPlayingStream, AsyncIterator[str]], Coroutine[Any, Any, None]]
) -> None:
    async def go() -> None:
        page = ListenerPage(settings, Templates(Assets(), {}), covers=True)
        try:
            async with asyncio.timeout(PATIENCE), aclosing(page.live.events()) as events:
                await watcher(page.live, events)
        finally:
            page.close()

    asyncio.run(go())


def test_sends_each_change_and_otherwise_keeps_the_connection_alive(settings: Settings) -> None:
    async def watcher(_: NowPlayingStream, events: AsyncIterator[str]) -> None:
        with closing(Archive(settings.redis_url)) as store:
            with store.batch() as batch:
                batch.write_hash(QUO.key, {"cover": COVER})
            second = write_play(store)
            update = await next_update(events)
            assert update["latest"] == f"listening:{second}"
            now = update["now"]
            assert (now["name"], now["artists"], now["playing"]) == ("Veridis Quo", "Daft Punk", True)
            assert 60_000 <= now["position_ms"] <= 60_000 + PATIENCE * 1000
            assert now["cover"] == COVER.replace("ab67616d0000b273", "ab67616d00001e02")
            assert [await anext(events) for _ in range(3)] == [": keep-alive\n\n"] * 3
            write_play(store, second=second, progress_ms=200_000)
            await next_update(events, lambda update: update["now"]["position_ms"] >= 200_000)
            write_play(store, second=second, progress_ms=200_000, device_name="Desk")
            await next_update(events, lambda update: update["now"]["device_name"] == "Desk")
            with store.batch() as batch:
                batch.clear_now_playing()
            await next_update(events, lambda update: update["now"] is None)

    watch(settings, watcher)


def test_limits_streams(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MAX_STREAMS", 2)

    async def watcher(live: NowPlayingStream, events: AsyncIterator[str]) -> None:
        await anext(events)
        is_full = [live.is_full]
        async with aclosing(live.events()) as others:
            await anext(others)
            is_full.append(live.is_full)
        assert [*is_full, live.is_full] == [False, True, False]

    watch(settings, watcher)


def test_streams_end_on_stop(settings: Settings) -> None:
    async def watcher(live: NowPlayingStream, events: AsyncIterator[str]) -> None:
        await next_update(events)
        live.stop()
        assert [event async for event in events if "now" in event] == []

    watch(settings, watcher)


def test_survives_a_redis_outage(tmp_path: Path) -> None:
    server = start_server(tmp_path / "redis")

    async def watcher(_: NowPlayingStream, events: AsyncIterator[str]) -> None:
        await next_update(events)
        server.stop()
        update = await next_update(events, lambda update: "cannot be reached" in update["card"])
        assert ">Unknown since " in update["card"]
        start_again(server)
        with closing(Archive(server.url)) as store:
            write_play(store)
        await next_update(events, lambda update: update["now"] and update["now"]["name"] == "Veridis Quo")

    try:
        watch(settings_for(server.url, tmp_path), watcher)
    finally:
        server.stop()
