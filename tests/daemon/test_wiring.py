"""The rooms put together work together; each of them has tests of its own."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.play import BACKFILL, TRACKDONE, Play
from spotify_logger.daemon.wiring import Environment, build_logger
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.history import History
from spotify_logger.spotify.http import Response
from spotify_logger.spotify.oauth import TOKEN_FILE
from spotify_logger.spotify.rate_limit import RATE_LIMIT_FILE
from spotify_logger.storage.outbox import OUTBOX_FILE
from spotify_logger.system.errors import Unreachable
from spotify_logger.transfer.delete.command import forget
from spotify_logger.transfer.delete.selection import Selection, find_plays
from tests.testbed.fake_redis import FakeRedis
from tests.testbed.virtual_run import FixedSchedule, make_settings
from tests.testbed.virtual_time import VirtualWorld

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.core.poll_schedule import PollSchedule
    from spotify_logger.daemon.logger import Logger
    from spotify_logger.spotify.http import Request

HOUR = 3600
T = 1_795_348_800.0  # 2026-11-22T12:00:00Z
OFFLINE = range(150, 800)
"""Seconds in which there is no way to Spotify."""


class Home:
    """A machine, its Redis, and a world in which five tracks are played."""

    def __init__(self, folder: Path) -> None:
        history = History(T)
        for name in "ABCDE":
            history = history.play(song(name, 200))
        self.world = VirtualWorld.of(history.gone(HOUR).finish())
        self.clock = self.world.clock
        self.redis = FakeRedis(lambda: self.clock.now, self.clock.sleep)
        self.redis._commands["SCAN"] = (self.scan, 3, 5)
        self.settings = replace(
            make_settings(folder, "redis://stand-in", "me:"),
            alert_url="https://ntfy.test/x",
            heartbeat_url="https://hc.test/x",
        )
        self.is_limited = False
        self.told: list[Request] = []
        self.databases: dict[str, sqlite3.Connection] = {}
        self.loggers: list[Logger] = []

    def scan(self, _: str, __: str, pattern: str, *___: str) -> list[object]:
        """A command that no logger needs, but who deletes plays."""
        return ["0", [name for name in self.redis.names() if fnmatch(name, pattern)]]

    def send(self, request: Request) -> Response:
        if self.is_limited:
            return Response(429, {"retry-after": "60"}, b"")
        if int(self.clock.now - T) in OFFLINE:
            self.clock.sleep(1)
            raise Unreachable("no route to host")
        return self.world.send(request)

    def tell(self, request: Request) -> Response:
        self.told.append(request)
        return Response(200, {}, b"")

    def open_database(self, name: str) -> sqlite3.Connection:
        self.databases[name] = sqlite3.connect(name, isolation_level=None)
        return self.databases[name]

    def start(self, schedule: PollSchedule | None = None) -> Logger:
        around = Environment(
            self.clock, self.send, self.tell, "a run", lambda: 0.5, self.redis.link, self.open_database
        )
        self.loggers.append(build_logger(self.settings, around, schedule))
        return self.loggers[-1]

    def run(self, logger: Logger, until: float) -> list[float]:
        """Let it run until so many seconds after noon; return how long it waited after each turn."""
        waits = []
        while self.clock.now < T + until:
            wait = logger.poller.turn().due - self.clock.monotonic()
            waits.append(wait)
            self.clock.sleep(wait)
        return waits


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path)
    yield home
    for logger in home.loggers:
        logger.close()


def logged(logger: Logger) -> dict[str, tuple[str, str | None]]:
    """The plays in Redis: name, source and how they ended."""
    kept = [
        Play.from_hash(second, logger.store.play(second) or {})
        for day in logger.store.days()
        for second in logger.store.index(day)
    ]
    return {str(play.fields["name"]): (play.source, play.end_reason) for play in kept if play is not None}


def test_what_is_seen_and_what_is_missed_comes_to_redis(home: Home) -> None:
    logger = home.start()
    home.run(logger, HOUR)

    assert logged(logger) == {
        "A": ("live", TRACKDONE),
        "B": (BACKFILL, TRACKDONE),
        "C": (BACKFILL, TRACKDONE),
        "D": (BACKFILL, TRACKDONE),
        "E": ("live", TRACKDONE),
    }
    ((begin, end, reason),) = logger.store.gaps()
    assert (begin < T + OFFLINE.start, end >= T + OFFLINE.stop, reason) == (True, True, "offline")
    assert len(logger.outbox) == 0


def test_another_process_goes_on_where_the_first_one_died(home: Home) -> None:
    home.run(home.start(), 100)
    logger = home.start()
    home.run(logger, 140)

    assert logged(logger) == {"A": ("live", None)}


def test_what_happened_while_the_machine_was_off_is_found(home: Home) -> None:
    home.run(home.start(), 100)
    home.clock.sleep(750)
    logger = home.start()
    home.run(logger, 900)

    assert list(logged(logger)) == ["A", "B", "C", "D", "E"]
    ((_, _, reason),) = logger.store.gaps()
    assert reason == "not running"


@pytest.mark.parametrize("how", ["it goes on", "restarted", "with a new state folder"])
def test_what_somebody_forgets_does_not_come_back(home: Home, how: str) -> None:
    logger = home.start()
    home.run(logger, 1000)
    home.redis.restart()
    home.run(logger, 1100)
    plays = find_plays(logger.store.archive(), Selection("B"))
    forget(logger.store.archive(), Selection("B"), home.clock.now, None)
    home.redis.restart()
    home.clock.sleep(600)
    if how != "it goes on":
        logger.close()
    if how == "with a new state folder":
        (home.settings.state_dir / OUTBOX_FILE).unlink()
    if how != "it goes on":
        logger = home.start()
    home.run(logger, HOUR)

    assert len(plays) == 1
    assert list(logged(logger)) == ["A", "C", "D", "E"]
    names = [name.removeprefix("me:") for name in home.redis.names()]
    kept = list(logger.store.archive().hashes(names))
    assert any("name" in fields for fields in kept)
    assert not any("B" in {fields.get("name"), fields.get("id")} for fields in kept)


def test_at_the_end_everything_is_let_go_of(home: Home) -> None:
    logger = home.start()
    home.run(logger, 10)
    logger.close()

    (database,) = home.databases.values()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database.execute("SELECT 1")


def test_everything_lies_in_the_state_folder_and_under_the_prefix(home: Home) -> None:
    logger = home.start()
    home.run(logger, 100)
    home.is_limited = True
    home.run(logger, 150)

    folder = home.settings.state_dir
    assert list(home.databases) == [str(folder / OUTBOX_FILE)]
    assert {TOKEN_FILE, OUTBOX_FILE, RATE_LIMIT_FILE} <= {path.name for path in folder.iterdir()}
    assert logger.store.read_status()["version"]
    link = home.redis.link()
    link.connect()
    (without,) = link.send([("EXISTS", "spotify_logger:status")])
    (within,) = link.send([("EXISTS", "me:spotify_logger:status")])
    assert (without, within) == (0, 1)


def test_who_is_called_and_who_waits_for_the_heartbeat_hear_of_it_by_another_way(home: Home) -> None:
    home.settings = replace(home.settings, refresh_token="")
    home.run(home.start(), 60)
    assert [request.url for request in home.told] == ["https://ntfy.test/x"]

    home.told.clear()
    home.settings = replace(
        home.settings, refresh_token=make_settings(home.settings.state_dir, "").refresh_token
    )
    home.run(home.start(), 120)
    assert {request.url for request in home.told} == {"https://ntfy.test/x", "https://hc.test/x"}


def test_the_settings_say_how_often_to_ask(home: Home) -> None:
    home.settings = replace(home.settings, poll_min=10.0, poll_max=20.0)
    waits = home.run(home.start(), 140)
    assert 10 <= max(waits) <= 20

    assert set(map(round, home.run(home.start(FixedSchedule(7)), 145))) == {7}
