from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.config.settings import load
from spotify_logger.core.times import to_iso
from spotify_logger.storage.store import Store
from spotify_logger.web import live as live_module
from spotify_logger.web.covers import Covers
from spotify_logger.web.live import NowPlayingStream
from tests.conftest import start_again, start_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

    from spotify_logger.config.settings import Settings

PATIENCE = 20.0
COVER = "https://i.scdn.co/image/ab67616d0000b273" + "0" * 24


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(live_module, "POLL_SECONDS_UNKNOWN", 0.05)
    monkeypatch.setattr(live_module, "KEEP_ALIVE_SECONDS", 0.2)


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return load(tmp_path, {"REDIS_URL": redis_url, "STATE_DIR": str(tmp_path)}, need_login=False)


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    store = Store(redis_url)
    yield store
    store.close()


def play(store: Store, second: int, name: str = "Veridis Quo", **more: object) -> None:
    """Write an open play that has been playing for a minute."""
    now_ms = round(time.time() * 1000)
    fields: dict[str, Any] = {
        "id": "quo",
        "type": "track",
        "uri": "spotify:track:quo",
        "name": name,
        "artists": "Daft Punk",
        "duration_ms": 345_000,
        "progress_ms": 60_000,
        "playing": 1,
        "device_name": "Kitchen",
        "started_at": to_iso(second * 1000),
        "ended_at": to_iso(now_ms),
        "ms_played": 60_000,
        "source": "live",
        **more,
    }
    with store.batch() as batch:
        batch.write_play(second, fields, "track:quo 60000 open")
        batch.write_catalog("track:quo", {"name": name, "cover": COVER})
        batch.set_now_playing(second, 60)


class Stream:
    """The events of a stream, one by one."""

    def __init__(self, events: AsyncIterator[str]) -> None:
        self._events = events

    async def piece(self) -> str:
        return await asyncio.wait_for(anext(self._events), PATIENCE)

    async def stop(self) -> None:
        """Wait for the end of the stream."""
        async with asyncio.timeout(PATIENCE):
            async for _ in self._events:
                pass

    async def until(self, is_it: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Return the first event that matches."""
        async with asyncio.timeout(PATIENCE):
            while True:
                piece = await self.piece()
                if piece.startswith("event: now\ndata: ") and piece.endswith("\n\n"):
                    update: dict[str, Any] = json.loads(piece.removeprefix("event: now\ndata: "))
                    if is_it(update):
                        return update


def listen(
    settings: Settings, listener: Callable[[NowPlayingStream, Stream], Coroutine[Any, Any, None]]
) -> None:
    async def go() -> None:
        live = NowPlayingStream(settings, Covers(enabled=True))
        try:
            async with aclosing(live.events()) as events:
                await listener(live, Stream(events))
        finally:
            await live.stop()

    asyncio.run(go())


def tell_status(store: Store, ago: float = 0.0) -> None:
    """The logger has polled so many seconds ago, and was to do it again a moment later."""
    polled = to_iso(round((time.time() - ago) * 1000))
    with store.batch() as batch:
        batch.write_status({"last_poll": polled, "next_poll": polled})


def test_first_event_says_that_nothing_plays(settings: Settings, store: Store) -> None:
    tell_status(store)

    async def listener(_: NowPlayingStream, stream: Stream) -> None:
        assert (await stream.piece()) == "retry: 3000\n\n"
        known = {"unknown": "", "problem": None}
        assert await stream.until(bool) == {"now": None, "latest": None, **known}

    listen(settings, listener)


def test_reports_an_unknown_state_and_its_end(settings: Settings, store: Store) -> None:
    async def listener(_: NowPlayingStream, stream: Stream) -> None:
        update = await stream.until(lambda update: update["unknown"])
        assert (update["now"], update["unknown"]) == (None, "Unknown")
        assert "never run" in update["problem"]
        tell_status(store, ago=1000)
        update = await stream.until(lambda update: update["unknown"].startswith("Unknown since 2"))
        assert "is not running" in update["problem"]
        tell_status(store)
        assert (await stream.until(lambda update: not update["unknown"]))["problem"] is None

    listen(settings, listener)


def test_event_has_item_and_device(settings: Settings, store: Store) -> None:
    second = int(time.time()) - 60
    play(store, second)

    async def listener(_: NowPlayingStream, stream: Stream) -> None:
        update = await stream.until(bool)
        assert update["latest"] == f"listening:{second}"
        now = update["now"]
        assert (now["name"], now["artists"], now["device_name"]) == ("Veridis Quo", "Daft Punk", "Kitchen")
        assert now["playing"] is True
        assert 60_000 <= now["position_ms"] <= 60_000 + PATIENCE * 1000
        assert now["cover"] == COVER.replace("ab67616d0000b273", "ab67616d00001e02")

    listen(settings, listener)


def test_sends_each_change(settings: Settings, store: Store) -> None:
    second = int(time.time()) - 60
    play(store, second)

    async def listener(_: NowPlayingStream, stream: Stream) -> None:
        await stream.until(lambda update: update["now"]["name"] == "Veridis Quo")
        play(store, second, playing=0)
        await stream.until(lambda update: update["now"]["playing"] is False)
        play(store, second, progress_ms=200_000)
        await stream.until(lambda update: update["now"]["position_ms"] >= 200_000)
        play(store, second, progress_ms=200_000, device_name="Desk")
        await stream.until(lambda update: update["now"]["device_name"] == "Desk")
        play(store, second + 1, "Nightvision")
        update = await stream.until(lambda update: update["now"]["name"] == "Nightvision")
        assert update["latest"] == f"listening:{second + 1}"
        with store.batch() as batch:
            batch.clear_now_playing()
        await stream.until(lambda update: update["now"] is None)

    listen(settings, listener)


def test_sends_only_keep_alives_without_a_change(settings: Settings, store: Store) -> None:
    second = int(time.time()) - 60
    play(store, second)

    async def listener(_: NowPlayingStream, stream: Stream) -> None:
        await stream.until(bool)
        assert [await stream.piece() for _ in range(3)] == [": keep-alive\n\n"] * 3

    listen(settings, listener)


def test_a_later_client_gets_the_full_state(settings: Settings, store: Store) -> None:
    play(store, int(time.time()) - 60)

    async def listener(live: NowPlayingStream, stream: Stream) -> None:
        await stream.until(bool)
        async with aclosing(live.events()) as events:
            assert (await Stream(events).until(bool))["now"]["name"] == "Veridis Quo"

    listen(settings, listener)


def test_stops_polling_without_clients(settings: Settings) -> None:
    async def go() -> None:
        live = NowPlayingStream(settings, Covers(enabled=True))
        async with aclosing(live.events()) as events:
            await Stream(events).until(bool)
        looking = live._poll_task
        assert looking is not None
        await asyncio.wait_for(looking, PATIENCE)
        assert not live._stream_count
        await live.stop()

    asyncio.run(go())


def test_limits_streams(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "MAX_STREAMS", 2)

    async def listener(live: NowPlayingStream, stream: Stream) -> None:
        await stream.piece()
        assert live._stream_count == 1
        async with aclosing(live.events()) as events:
            await Stream(events).piece()
            assert live.is_full
        assert live._stream_count == 1

    listen(settings, listener)


def test_a_stream_ends_after_its_maximum_duration(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "MAX_STREAM_SECONDS", 0.1)

    async def listener(_: NowPlayingStream, stream: Stream) -> None:
        await stream.stop()

    listen(settings, listener)


def test_stop_ends_all_streams(settings: Settings) -> None:
    async def listener(live: NowPlayingStream, stream: Stream) -> None:
        await stream.until(bool)
        await live.stop()
        await stream.stop()

    listen(settings, listener)


def test_survives_a_redis_outage(tmp_path: Path) -> None:
    server = start_server(tmp_path / "redis")
    settings = load(tmp_path, {"REDIS_URL": server.url, "STATE_DIR": str(tmp_path)}, need_login=False)

    async def listener(_: NowPlayingStream, stream: Stream) -> None:
        await stream.until(bool)
        server.stop()
        update = await stream.until(lambda update: "cannot be reached" in update["problem"])
        assert update["unknown"].startswith("Unknown")
        start_again(server)
        store = Store(server.url)
        play(store, int(time.time()) - 60)
        store.close()
        await stream.until(lambda update: update["now"] and update["now"]["name"] == "Veridis Quo")

    try:
        listen(settings, listener)
    finally:
        server.stop()
