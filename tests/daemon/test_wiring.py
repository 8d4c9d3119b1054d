"""The parts of a logger work together; each of them has tests of its own."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
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
"""Seconds in which Spotify is unreachable."""


class WiringHarness:
    """A machine, its Redis, and a listener who plays five tracks of 200 seconds."""

    def __init__(self, folder: Path) -> None:
        history = History(T)
        for name in "ABCDE":
            history = history.play(song(name, 200))
        self.world = VirtualWorld.of(history.gone(HOUR).finish())
        self.clock = self.world.clock
        self.redis = FakeRedis(lambda: self.clock.now, self.clock.sleep)
        self.settings = replace(
            make_settings(folder, "redis://stand-in", "me:"),
            alert_url="https://ntfy.test/x",
            heartbeat_url="https://hc.test/x",
        )
        self.is_limited = False
        self.alerts: list[Request] = []
        self.databases: dict[str, sqlite3.Connection] = {}
        self.loggers: list[Logger] = []

    def send(self, request: Request) -> Response:
        if self.is_limited:
            return Response(429, {"retry-after": "60"}, b"")
        if int(self.clock.now - T) in OFFLINE:
            self.clock.sleep(1)
            raise Unreachable("no route to host")
        return self.world.send(request)

    def send_alert(self, request: Request) -> Response:
        self.alerts.append(request)
        return Response(200, {}, b"")

    def open_database(self, name: str) -> sqlite3.Connection:
        self.databases[name] = sqlite3.connect(name, isolation_level=None)
        return self.databases[name]

    def start(self, schedule: PollSchedule | None = None) -> Logger:
        environment = Environment(
            self.clock, self.send, self.send_alert, "a run", lambda: 0.5, self.redis.link, self.open_database
        )
        self.loggers.append(build_logger(self.settings, environment, schedule))
        return self.loggers[-1]

    def run(self, logger: Logger, until: float) -> list[float]:
        """Run until some seconds after noon; return the waits between the turns."""
        waits = []
        while self.clock.now < T + until:
            wait = logger.poller.turn().due - self.clock.monotonic()
            waits.append(wait)
            self.clock.sleep(wait)
        return waits


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[WiringHarness]:
    harness = WiringHarness(tmp_path)
    yield harness
    for logger in harness.loggers:
        logger.close()


def test_polled_and_missed_plays_reach_redis_across_restarts(harness: WiringHarness) -> None:
    harness.run(harness.start(), 100)
    logger = harness.start()
    harness.run(logger, HOUR)
    found = [
        Play.from_hash(second, logger.store.play(second) or {})
        for day in logger.store.days()
        for second in logger.store.index(day)
    ]
    assert [(play.fields["name"], play.source, play.end_reason) for play in found if play is not None] == [
        ("A", "live", TRACKDONE),
        *[(name, BACKFILL, TRACKDONE) for name in "BCD"],
        ("E", "live", TRACKDONE),
    ]
    ((begin, end, reason),) = logger.store.gaps()
    assert (begin < T + OFFLINE.start, end >= T + OFFLINE.stop, reason) == (True, True, "offline")
    assert len(logger.outbox) == 0


def test_everything_is_in_the_state_folder_and_under_the_prefix(harness: WiringHarness) -> None:
    logger = harness.start()
    harness.run(logger, 100)
    harness.is_limited = True
    harness.run(logger, 150)
    folder = harness.settings.state_dir
    assert list(harness.databases) == [str(folder / OUTBOX_FILE)]
    assert {TOKEN_FILE, OUTBOX_FILE, RATE_LIMIT_FILE} <= {path.name for path in folder.iterdir()}
    assert logger.store.read_status()["version"]
    assert all(name.startswith("me:") for name in harness.redis.names())
    logger.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        harness.databases.popitem()[1].execute("SELECT 1")


def test_alerts_and_heartbeats_have_a_sender_of_their_own(harness: WiringHarness) -> None:
    refresh_token = harness.settings.refresh_token
    harness.settings = replace(harness.settings, refresh_token="")
    harness.run(harness.start(), 60)
    assert [request.url for request in harness.alerts] == ["https://ntfy.test/x"]
    harness.settings = replace(harness.settings, refresh_token=refresh_token)
    harness.run(harness.start(), 120)
    assert {request.url for request in harness.alerts[1:]} == {"https://ntfy.test/x", "https://hc.test/x"}


def test_the_schedule_follows_settings_or_argument(harness: WiringHarness) -> None:
    harness.settings = replace(harness.settings, poll_min=10.0, poll_max=20.0)
    assert 10 <= max(harness.run(harness.start(), 140)) <= 20
    assert set(map(round, harness.run(harness.start(FixedSchedule(7)), 145))) == {7}
