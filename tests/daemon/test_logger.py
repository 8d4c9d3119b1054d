"""The parts of a logger work together; each of them has tests of its own."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import redis

from spotify_logger.config.sources import TOKEN_FILE
from spotify_logger.core.play import BACKFILL, TRACKDONE
from spotify_logger.core.redis_keys import STATUS
from spotify_logger.daemon.poller import Environment, Poller
from spotify_logger.simulator.accounts import DEMO_REFRESH_TOKEN
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.faults import Fault
from spotify_logger.simulator.history import History
from spotify_logger.simulator.service import PLAYER_PATH
from spotify_logger.spotify.http import Response
from spotify_logger.spotify.oauth import Token, TokenFile
from spotify_logger.storage.outbox import LOG_ID_NOTE, OUTBOX_FILE
from spotify_logger.system.errors import Unreachable
from tests.testbed.virtual_run import VirtualRun, make_settings
from tests.testbed.virtual_time import VirtualWorld

if TYPE_CHECKING:
    from pathlib import Path

    from spotify_logger.spotify.http import Request

HOUR = 3600
T = 1_795_348_800.0  # 2026-11-22T12:00:00Z
OFFLINE = range(150, 800)
"""Seconds in which Spotify is unreachable."""


def make_world() -> VirtualWorld:
    """Return the world of a listener who plays five tracks of 200 seconds."""
    history = History(T)
    for name in "ABCDE":
        history = history.play(song(name, 200))
    return VirtualWorld.of(history.gone(HOUR).finish())


def test_polled_and_missed_plays_reach_redis_across_restarts(tmp_path: Path, redis_url: str) -> None:
    world = make_world()

    def send(request: Request) -> Response:
        if int(world.clock.now - T) in OFFLINE:
            world.clock.sleep(1)
            raise Unreachable("no route to host")
        return world.send(request)

    with closing(VirtualRun(world, make_settings(tmp_path, redis_url, "me:"), send=send)) as run:
        run.run_until(T + 100)
        run.start()
        run.run_until(T + HOUR)
        assert [(play.fields["name"], play.source, play.end_reason) for play in run.plays()] == [
            ("A", "live", TRACKDONE),
            *[(name, BACKFILL, TRACKDONE) for name in "BCD"],
            ("E", "live", TRACKDONE),
        ]
        ((begin, end, reason),) = run.store.gaps()
        assert (begin < T + OFFLINE.start, end >= T + OFFLINE.stop, reason) == (True, True, "offline")
        assert len(run.outbox) == 0
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        assert all(name.startswith("me:") for name in client.scan_iter())
    assert {TOKEN_FILE, OUTBOX_FILE} <= {path.name for path in tmp_path.iterdir()}


def test_alerts_and_heartbeats_have_a_sender_of_their_own(tmp_path: Path, redis_url: str) -> None:
    world = make_world()
    addresses: list[str] = []

    def send_alert(request: Request) -> Response:
        addresses.append(request.url)
        return Response(200, {}, b"")

    environment = Environment(world.clock, world.send, send_alert)
    urls = {"alert_url": "https://ntfy.test/x", "heartbeat_url": "https://hc.test/x"}
    settings = replace(make_settings(tmp_path, redis_url), **urls)  # type: ignore[arg-type]
    token = settings.refresh_token
    for refresh_token, is_failing, sent in (("", False, 1), (token, True, 1), (token, False, 3)):
        if is_failing:  # before its first answer, a process does not know whether the login works
            world.service.faults.add(Fault("error_503", PLAYER_PATH, requests=1), world.clock.now)
        with closing(Poller(replace(settings, refresh_token=refresh_token), environment)) as poller:
            poller.turn()
        assert len(addresses) == sent
    assert addresses == ["https://ntfy.test/x", "https://ntfy.test/x", "https://hc.test/x"]


def test_a_redis_without_the_log_is_an_alert_once_until_it_has_the_log(
    tmp_path: Path, redis_url: str
) -> None:
    world = make_world()
    texts: list[str | None] = []

    def send_alert(request: Request) -> Response:
        texts.append(request.text)
        return Response(200, {}, b"")

    environment = Environment(world.clock, world.send, send_alert)
    settings = replace(make_settings(tmp_path, redis_url), alert_url="https://ntfy.test/x")
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        for number in range(4):  # starts of the logger; Redis is empty at the first
            with closing(Poller(settings, environment)) as poller:
                assert poller.turn().ok
                log_id, status = poller.outbox.note(LOG_ID_NOTE), poller.store.key(STATUS)
            if number in {0, 3}:
                client.flushall()
            if number == 2:
                client.hset(status, "log_id", log_id)
            assert len(texts) == (0, 1, 1, 2)[number]
        with closing(Poller(settings, environment)) as poller:
            poller.turn()
        assert ["spotify-logger move" in str(text) for text in texts] == [True, False, True]


def test_a_reminder_waits_until_the_time_is_known(tmp_path: Path, redis_url: str) -> None:
    world = make_world()
    world.clock.step(175 * 24 * HOUR)
    TokenFile(tmp_path / TOKEN_FILE).save(Token(DEMO_REFRESH_TOKEN, authorized_at=T))
    alerts: list[Request] = []

    def send_without_date(request: Request) -> Response:
        response = world.send(request)
        return replace(response, headers={"content-type": response.headers.get("content-type", "")})

    def send_alert(request: Request) -> Response:
        alerts.append(request)
        return Response(200, {}, b"")

    settings = replace(make_settings(tmp_path, redis_url), alert_url="https://ntfy.test/x", refresh_token="")
    environment = Environment(world.clock, send_without_date, send_alert)
    with closing(Poller(settings, environment)) as poller:
        assert poller.turn().ok
    assert alerts == []
