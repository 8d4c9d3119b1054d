from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import ClientDisconnect

from spotify_logger.core.periods import Zone
from spotify_logger.queries import top
from spotify_logger.queries.question import Question
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.web import listeners
from spotify_logger.web.listeners import THREADS, Questions
from tests.indexed_log import IndexedLog
from tests.web.log import QUO
from tests.web.page import settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from spotify_logger.config.settings import Settings
    from spotify_logger.queries.sql import Log

ZONE = Zone()


class Client:
    """What the pool asks of a request: whether its client is still there."""

    def __init__(self, *, is_gone: bool = False) -> None:
        self.is_gone = is_gone

    async def is_disconnected(self) -> bool:
        return self.is_gone


class Slow:
    """A query that waits until it is allowed to answer, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.go_on = threading.Event()

    def query(self, _log: Log, _question: Question, name: str) -> str:
        self.asked[name] += 1
        assert self.go_on.wait(30)
        return f"answer to {name}"


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return settings_for(redis_url, tmp_path)


def question() -> Question:
    return Question(time.time(), ZONE)


def run(settings: Settings, work: Callable[[Questions], Coroutine[Any, Any, None]]) -> None:
    async def go() -> None:
        pool = Questions(settings)
        try:
            await work(pool)
        finally:
            pool.close()

    asyncio.run(go())


async def begun(tasks: list[asyncio.Task[str]]) -> None:
    """Let tasks run until they wait."""
    for _ in range(10 * len(tasks)):
        await asyncio.sleep(0)


def ask(pool: Questions, slow: Slow, name: str, client: Client | None = None) -> asyncio.Task[str]:
    request: Any = client or Client()
    return asyncio.create_task(pool.ask(request, slow.query, question(), name))


def test_answers_with_what_was_written_a_moment_ago(settings: Settings, redis_url: str) -> None:
    log = IndexedLog(redis_url, ZONE, "2026-11-22 19:00")
    client: Any = Client()

    async def work(pool: Questions) -> None:
        for plays in (1, 2):
            log.now = f"2026-11-22 19:0{plays}"
            log.play(QUO, f"2025-06-01 1{plays}:00")
            assert (await pool.ask(client, top.top, question(), "tracks")).plays == plays

    run(settings, work)
    log.store.close()


def test_equal_questions_are_asked_once(settings: Settings) -> None:
    slow = Slow()

    async def work(pool: Questions) -> None:
        tasks = [ask(pool, slow, name) for name in ("A", "A", "B", "A")]
        await begun(tasks)
        slow.go_on.set()
        assert await asyncio.gather(*tasks) == [f"answer to {name}" for name in "AABA"]
        assert slow.asked == {"A": 1, "B": 1}
        assert await ask(pool, slow, "A") == "answer to A"
        assert slow.asked["A"] == 2

    run(settings, work)


def test_too_many_are_rejected(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "MAX_WAITING", 1)
    slow = Slow()

    async def work(pool: Questions) -> None:
        tasks = [ask(pool, slow, str(number)) for number in range(THREADS + 1)]
        await begun(tasks)
        with pytest.raises(SpotifyLoggerError, match="too many"):
            await ask(pool, slow, "one more")
        slow.go_on.set()
        await asyncio.gather(*tasks)

    run(settings, work)


def test_questions_whose_clients_have_left_are_dropped(settings: Settings) -> None:
    slow, leaving = Slow(), Client()

    async def work(pool: Questions) -> None:
        busy = [ask(pool, slow, f"busy {number}") for number in range(THREADS)]
        await begun(busy)
        waiting = [
            ask(pool, slow, "dropped", leaving),
            ask(pool, slow, "kept", leaving),
            ask(pool, slow, "kept"),
        ]
        await begun(waiting)
        leaving.is_gone = True
        slow.go_on.set()
        dropped, *kept = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(dropped, ClientDisconnect)
        assert kept == ["answer to kept"] * 2
        assert "dropped" not in slow.asked

    run(settings, work)
