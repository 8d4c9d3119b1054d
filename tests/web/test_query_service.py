from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.core.periods import Zone
from spotify_logger.core.redis_keys import index_key
from spotify_logger.queries import arguments
from spotify_logger.storage.store import Store, StoreError
from spotify_logger.system import program
from spotify_logger.system.errors import SpotifyLoggerError
from spotify_logger.web import query_service
from spotify_logger.web.query_service import QueryService, TooManyQueries
from spotify_logger.web.request_params import BadRequest
from tests.conftest import start_again, start_server
from tests.indexed_log import CatalogItem, IndexedLog
from tests.web.page import settings_for

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from spotify_logger.config.settings import Settings

QUO = CatalogItem("track:quo", "Veridis Quo", ["Daft Punk"], "Discovery", "d", "GBDUW0000061")
SEXY = CatalogItem("track:sexy", "Sexy Boy", ["Air"], "Moon Safari", "m", "FRZ")
QUESTIONS = (
    ("top", "tracks"),
    ("top", "--year=2025", "--by=time", "artists"),
    ("count", "--", "veridis quo"),
    ("stats",),
    ("clock",),
    ("calendar", "--year=2025"),
    ("year", "2025"),
    ("artist", "--", "air"),
    ("course", "--per=week"),
    ("recent", "-n5"),
    ("day", "--", "2025-06-01"),
    ("status",),
    ("now",),
)


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
    log.to(SEXY, "2025-06-01 13:00")
    log.skipped(QUO, "2026-11-20 12:00")
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


def command(settings: Settings, *words: str) -> Any:  # noqa: ANN401 - what JSON can hold
    """Return the JSON output of the command, run as a process."""
    done = subprocess.run(
        [sys.executable, "-m", "spotify_logger", words[0], "--json", *words[1:]],
        env={**os.environ, "REDIS_URL": settings.redis_url},
        capture_output=True,
        check=False,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("words", QUESTIONS)
@pytest.mark.usefixtures("log")
def test_answers_equal_those_of_the_command(settings: Settings, words: tuple[str, ...]) -> None:
    answer = run(settings, lambda service: service.query(*words))
    assert json.loads(json.dumps(answer)) == command(settings, *words)


@pytest.mark.usefixtures("log")
def test_answers_of_a_subprocess_are_equal(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    here = run(settings, lambda service: service.query("top", "tracks"))
    monkeypatch.setattr(query_service, "MAX_RESIDENT_BYTES", 0)
    monkeypatch.setenv("REDIS_URL_FILE", "/nowhere")  # it has learned of its Redis in another way
    asked = []
    monkeypatch.setattr(QueryService, "_query_here", lambda *_: asked.append("here"))
    assert run(settings, lambda service: service.query("top", "tracks")) == json.loads(json.dumps(here))
    assert asked == []


@pytest.mark.usefixtures("log")
def test_a_subprocess_queries_the_same_listener(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("LISTENER=anna\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(query_service, "MAX_RESIDENT_BYTES", 0)
    anna = settings_for(redis_url, tmp_path)
    assert anna.listener == "anna"
    assert run(anna, lambda service: service.query("top", "tracks"))["plays"] == 0
    assert run(anna.for_listener(""), lambda service: service.query("top", "tracks"))["plays"] == 2


def test_caches_answers_until_the_data_changes(
    settings: Settings, log: IndexedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    answer = QueryService._query_here

    def counted(service: QueryService, options: Any, store: Store) -> Any:  # noqa: ANN401 - see there
        made.append(options.command)
        return answer(service, options, store)

    monkeypatch.setattr(QueryService, "_query_here", counted)

    async def work(service: QueryService) -> None:
        first = await service.query("top", "tracks")
        assert await service.query("top", "tracks") is first
        await service.query("top", "--by=time", "tracks")
        assert made == ["top", "top"]
        log.to(QUO, "2025-06-02 12:00")
        changed = await service.query("top", "tracks")
        assert changed["plays"] == first["plays"] + 1
        day = log.second("2025-06-02 12:00")
        log.archive.write([("DEL", index_key(Zone("UTC").day(day)))])
        assert await service.query("top", "tracks") == first
        assert len(made) == 4
        # A year that has nothing to do with it.
        await service.query("calendar", "--year=2024")
        log.to(QUO, "2025-06-02 12:00")
        await service.query("calendar", "--year=2024")
        assert made[4:] == ["calendar"]
        # A year in review looks at what was before it, too.
        await service.query("year", "2026")
        log.to(SEXY, "2025-06-03 12:00")
        await service.query("year", "2026")
        assert made[5:] == ["year", "year"]
        # So does a comparison, for who was first; with oneself, it is one.
        with log.store.batch() as batch:
            batch.write_status({"state": "well"})
        await service.query("compare", "--year=2026", "--", "-")
        log.to(SEXY, "2025-06-04 12:00")
        await service.query("compare", "--year=2026", "--", "-")
        assert made[7:] == ["compare", "compare"]
        monkeypatch.setattr(query_service, "MAX_CACHE_AGE", -1.0)
        await service.query("clock")
        await service.query("clock")
        assert made[9:] == ["clock", "clock"]

    run(settings, work)


def test_evicts_the_least_recently_used_answer(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_service, "MAX_CACHED_ANSWERS", 2)

    async def work(service: QueryService) -> None:
        first = await service.query("calendar", "--year=2020")
        for year in (2021, 2020, 2022):
            await service.query("calendar", f"--year={year}")
        assert len(service._cache) == 2
        assert await service.query("calendar", "--year=2020") is first  # it was asked for lately

    run(settings, work)


@pytest.mark.parametrize(
    "words", [("top", "nothing"), ("top", "--year=x", "tracks"), ("--help",), ("count",)]
)
def test_rejects_invalid_arguments(settings: Settings, words: tuple[str, ...]) -> None:
    with pytest.raises(BadRequest):
        run(settings, lambda service: service.query(*words))


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
        assert await service.run(lambda _: "well") == "well"

    run(settings, work)


def test_recovers_when_redis_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = start_server(tmp_path / "redis")
    settings = settings_for(server.url, tmp_path)

    async def work(service: QueryService) -> None:
        await service.query("top", "tracks")
        server.stop()
        with pytest.raises(StoreError, match="cannot be reached"):
            await service.query("top", "tracks")
        start_again(server)
        assert (await service.query("top", "tracks"))["plays"] == 0

    run(settings, work)
    monkeypatch.setattr(query_service, "MAX_RESIDENT_BYTES", 0)

    async def elsewhere(service: QueryService) -> None:
        options = arguments.parse(["top", "tracks"])
        assert options.kind == "tracks"
        server.stop()
        with pytest.raises(SpotifyLoggerError, match=r"^Redis at .* cannot be reached"):
            await service._query_in_subprocess(("top", "tracks"))

    run(settings, elsewhere)


def test_kills_the_command_on_cancel_and_timeout(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[asyncio.subprocess.Process] = []
    is_there = asyncio.Event()
    start = asyncio.create_subprocess_exec

    async def slow(*_: str, **more: Any) -> asyncio.subprocess.Process:  # noqa: ANN401 - as there
        process = await start(sys.executable, "-c", "import time; time.sleep(60)", **more)
        started.append(process)
        is_there.set()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)

    async def work(service: QueryService) -> None:
        task = asyncio.create_task(service._query_in_subprocess(("stats",)))
        await is_there.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert started[0].returncode is not None
        monkeypatch.setattr(query_service, "COMMAND_TIMEOUT", 0.1)
        with pytest.raises(SpotifyLoggerError, match="too long"):
            await service._query_in_subprocess(("stats",))
        assert started[1].returncode is not None

    run(settings, work)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import sys; sys.exit('spotify-logger: Redis is away')", "Redis is away"),
        ("import sys; sys.exit('spotify-logger: Redis is away\\nand /home/me/secret')", "log of the page"),
        ("import sys; sys.exit('something else')", "log of the page"),
        ("raise KeyError('/home/me')", "log of the page"),
        ("import os, sys; sys.stderr.write('spotify-logger: odd'); os._exit(3)", "log of the page"),
        ("import os; os.kill(os.getpid(), 9)", "log of the page"),
    ],
)
def test_shows_only_deliberate_error_messages(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, code: str, expected: str
) -> None:
    monkeypatch.setattr(program, "module_command", lambda _: [sys.executable, "-c", code])
    with pytest.raises(SpotifyLoggerError) as caught:
        run(settings, lambda service: service._query_in_subprocess(("stats",)))
    assert expected in str(caught.value)
    assert "/home" not in str(caught.value)
    assert "Traceback" not in str(caught.value)
