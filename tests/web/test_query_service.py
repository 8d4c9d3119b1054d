from __future__ import annotations

import asyncio
import json
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.config.listeners import for_listener
from spotify_logger.core.periods import Zone
from spotify_logger.system import program
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.web import query_service
from spotify_logger.web.query_service import QueryService, TooManyQueries
from tests.indexed_log import IndexedLog
from tests.web.log import QUO
from tests.web.page import settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from spotify_logger.config.settings import Settings


@pytest.fixture(autouse=True)
def _no_memory_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not let the size of the test process move queries into subprocesses."""
    monkeypatch.setattr(query_service, "MAX_RESIDENT_BYTES", 1 << 40)


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    return settings_for(redis_url, tmp_path)


@pytest.fixture
def log(redis_url: str) -> Iterator[IndexedLog]:
    log = IndexedLog(redis_url, Zone(), "2026-11-22 19:00")
    log.to(QUO, "2025-06-01 12:00")
    log.to(QUO, "2025-06-01 13:00")
    yield log
    log.store.close()


def run(settings: Settings, work: Callable[[QueryService], Coroutine[Any, Any, Any]]) -> Any:  # noqa: ANN401 - any answer
    async def go() -> object:
        service = QueryService(settings)
        try:
            return await work(service)
        finally:
            service.close()

    return asyncio.run(go())


@pytest.mark.usefixtures("log")
def test_a_subprocess_answers_the_same_about_the_same_listener(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = run(settings, lambda service: service.query("top", "tracks"))
    assert here["plays"] == 2
    (tmp_path / ".env").write_text("LISTENER=anna\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REDIS_URL_FILE", "/nowhere")  # the page found its Redis in another way
    monkeypatch.setattr(query_service, "MAX_RESIDENT_BYTES", 0)
    assert run(settings, lambda service: service.query("top", "tracks")) == json.loads(json.dumps(here))
    anna = for_listener(settings, "anna")
    assert run(anna, lambda service: service.query("top", "tracks"))["plays"] == 0


def test_caches_answers_until_the_plays_they_were_made_of_change(
    settings: Settings, log: IndexedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with log.store.batch() as batch:
        batch.write_status({"state": "asking"})  # which makes it a listener, to compare with

    async def work(service: QueryService) -> None:
        words = {
            "top": ("top", "tracks"),
            "calendar": ("calendar", "--year=2024"),
            "year": ("year", "2026"),  # looks at the years before, too
            "compare": ("compare", "--year=2026", "--", "-"),  # for who was first
        }
        first = {name: await service.query(*each) for name, each in words.items()}
        assert all([await service.query(*each) is first[name] for name, each in words.items()])
        log.to(QUO, "2025-06-02 12:00")
        unchanged = [name for name, each in words.items() if await service.query(*each) is first[name]]
        assert unchanged == ["calendar"]
        assert (await service.query("top", "tracks"))["plays"] == first["top"]["plays"] + 1
        monkeypatch.setattr(query_service, "MAX_CACHE_AGE", -1.0)
        assert await service.query("clock") is not await service.query("clock")

    run(settings, work)


def test_rejects_too_many_waiting_queries(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_service, "MAX_WAITING", 2)
    go_on = threading.Event()

    async def work(service: QueryService) -> None:
        others = [asyncio.create_task(service.run(lambda _: go_on.wait(20))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyQueries, match="too many"):
            await service.run(lambda _: None)
        go_on.set()
        await asyncio.gather(*others)
        assert await service.run(lambda _: "done") == "done"

    run(settings, work)


@pytest.mark.parametrize(
    ("code", "seconds", "expected"),
    [
        ("import sys; sys.exit('spotify-logger: Redis is away')", 60.0, "Redis is away"),
        ("import sys; sys.exit('spotify-logger: away\\nand /home/me/secret')", 60.0, "log of the page"),
        ("import time; time.sleep(60)", 0.1, "too long"),
    ],
)
def test_shows_only_deliberate_errors_of_a_subprocess(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, code: str, seconds: float, expected: str
) -> None:
    monkeypatch.setattr(program, "module_command", lambda _: [sys.executable, "-c", code])
    monkeypatch.setattr(query_service, "COMMAND_TIMEOUT", seconds)
    with pytest.raises(SpotifyLoggerError, match=expected) as caught:
        run(settings, lambda service: service._query_in_subprocess(("stats",)))
    assert "/home" not in str(caught.value)
