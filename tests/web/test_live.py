from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.storage.store import Store
from spotify_logger.web import live as live_module
from spotify_logger.web.covers import Covers
from spotify_logger.web.live import NowPlayingStream
from tests.conftest import start_again, start_server
from tests.web.log import QUO, write_play, write_status
from tests.web.page import settings_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

    from spotify_logger.config.settings import Settings

    Update = dict[str, Any]

PATIENCE = 20.0
COVER = "https://i.scdn.co/image/ab67616d0000b273" + "0" * 24


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(live_module, "POLL_SECONDS_UNKNOWN", 0.05)
    monkeypatch.setattr(live_module, "KEEP_ALIVE_SECONDS", 0.2)


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return settings_for(redis_url, tmp_path)


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    with closing(Store(redis_url)) as store:
        yield store


class EventReader:
    """Reads the events of a stream, one by one."""

    def __init__(self, events: AsyncIterator[str]) -> None:
        self._events = events

    async def next(self) -> str:
        return await asyncio.wait_for(anext(self._events), PATIENCE)

    async def read_to_end(self) -> None:
        async with asyncio.timeout(PATIENCE):
            async for _ in self._events:
                pass

    async def until(self, matches: Callable[[Update], object]) -> Update:
        """Return the first update that matches."""
        async with asyncio.timeout(PATIENCE):
            while True:
                event = await self.next()
                if event.startswith("event: now\ndata: ") and event.endswith("\n\n"):
                    update: Update = json.loads(event.removeprefix("event: now\ndata: "))
                    if matches(update):
                        return update


def watch(
    settings: Settings, watcher: Callable[[NowPlayingStream, EventReader], Coroutine[Any, Any, None]]
) -> None:
    async def go() -> None:
        live = NowPlayingStream(settings, Covers(enabled=True))
        try:
            async with aclosing(live.events()) as events:
                await watcher(live, EventReader(events))
        finally:
            await live.stop()

    asyncio.run(go())


def test_says_that_nothing_plays_or_why_that_is_unknown(settings: Settings, store: Store) -> None:
    async def watcher(_: NowPlayingStream, reader: EventReader) -> None:
        assert (await reader.next()) == "retry: 3000\n\n"
        update = await reader.until(lambda update: update["unknown"])
        assert (update["now"], update["unknown"]) == (None, "Unknown")
        assert "never run" in update["problem"]
        write_status(store, ago=1000)
        update = await reader.until(lambda update: update["unknown"].startswith("Unknown since 2"))
        assert "is not running" in update["problem"]
        write_status(store)
        update = await reader.until(lambda update: not update["unknown"])
        assert update == {"now": None, "latest": None, "unknown": "", "problem": None}

    watch(settings, watcher)


def test_sends_each_change(settings: Settings, store: Store) -> None:
    with store.batch() as batch:
        batch.write_catalog(QUO.key, {"cover": COVER})
    second = write_play(store)

    async def watcher(_: NowPlayingStream, reader: EventReader) -> None:
        update = await reader.until(bool)
        assert update["latest"] == f"listening:{second}"
        now = update["now"]
        assert (now["name"], now["artists"], now["device_name"]) == ("Veridis Quo", "Daft Punk", "Kitchen")
        assert now["playing"] is True
        assert 60_000 <= now["position_ms"] <= 60_000 + PATIENCE * 1000
        assert now["cover"] == COVER.replace("ab67616d0000b273", "ab67616d00001e02")
        write_play(store, second=second, playing=0)
        await reader.until(lambda update: update["now"]["playing"] is False)
        write_play(store, second=second, progress_ms=200_000)
        await reader.until(lambda update: update["now"]["position_ms"] >= 200_000)
        write_play(store, second=second, progress_ms=200_000, device_name="Desk")
        await reader.until(lambda update: update["now"]["device_name"] == "Desk")
        write_play(store, QUO._replace(key="track:n", name="Nightvision"), second + 1)
        update = await reader.until(lambda update: update["now"]["name"] == "Nightvision")
        assert update["latest"] == f"listening:{second + 1}"
        with store.batch() as batch:
            batch.clear_now_playing()
        await reader.until(lambda update: update["now"] is None)

    watch(settings, watcher)


def test_without_a_change_only_a_new_client_gets_the_state(settings: Settings, store: Store) -> None:
    write_play(store)

    async def watcher(live: NowPlayingStream, reader: EventReader) -> None:
        await reader.until(bool)
        assert [await reader.next() for _ in range(3)] == [": keep-alive\n\n"] * 3
        async with aclosing(live.events()) as events:
            assert (await EventReader(events).until(bool))["now"]["name"] == "Veridis Quo"

    watch(settings, watcher)


def test_stops_polling_without_clients(settings: Settings) -> None:
    async def go() -> None:
        live = NowPlayingStream(settings, Covers(enabled=True))
        async with aclosing(live.events()) as events:
            await EventReader(events).until(bool)
        polling = live._poll_task
        assert polling is not None
        await asyncio.wait_for(polling, PATIENCE)
        await live.stop()

    asyncio.run(go())


def test_limits_streams(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MAX_STREAMS", 2)

    async def watcher(live: NowPlayingStream, reader: EventReader) -> None:
        await reader.next()
        is_full = [live.is_full]
        async with aclosing(live.events()) as events:
            await EventReader(events).next()
            is_full.append(live.is_full)
        assert [*is_full, live.is_full] == [False, True, False]

    watch(settings, watcher)


def test_streams_end_after_their_maximum_duration_and_on_stop(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def watcher(live: NowPlayingStream, reader: EventReader) -> None:
        await reader.until(bool)
        await live.stop()
        await reader.read_to_end()

    watch(settings, watcher)
    monkeypatch.setattr(live_module, "MAX_STREAM_SECONDS", 0.1)
    watch(settings, lambda _, reader: reader.read_to_end())


def test_survives_a_redis_outage(tmp_path: Path) -> None:
    server = start_server(tmp_path / "redis")

    async def watcher(_: NowPlayingStream, reader: EventReader) -> None:
        await reader.until(bool)
        server.stop()
        update = await reader.until(lambda update: "cannot be reached" in update["problem"])
        assert update["unknown"].startswith("Unknown")
        start_again(server)
        with closing(Store(server.url)) as store:
            write_play(store)
        await reader.until(lambda update: update["now"] and update["now"]["name"] == "Veridis Quo")

    try:
        watch(settings_for(server.url, tmp_path), watcher)
    finally:
        server.stop()
