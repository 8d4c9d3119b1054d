from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.core.observations import Outlook
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.comparison import compare
from spotify_logger.simulator.history import History
from tests.testbed.virtual_run import FixedSchedule, VirtualRun, make_settings
from tests.testbed.virtual_time import VirtualWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from spotify_logger.core.poll_schedule import PollSchedule
    from spotify_logger.spotify.http import Request, Response, Send

T = 1_795_348_800.0
PLAYER = "/v1/me/player"


@pytest.fixture
def world() -> VirtualWorld:
    return VirtualWorld.of(History(T).play(song("A", 200)).play(song("B", 300)).ad(3600).finish())


@pytest.fixture
def make_trial(world: VirtualWorld, tmp_path: Path, redis_url: str) -> Iterator[Callable[..., VirtualRun]]:
    trials: list[VirtualRun] = []

    def make(
        schedule: PollSchedule | None = None, *, prefix: str = "", send: Send | None = None
    ) -> VirtualRun:
        trials.append(VirtualRun(world, make_settings(tmp_path, redis_url, prefix), schedule, send=send))
        return trials[-1]

    yield make
    for run in trials:
        run.close()


def test_it_logs_what_is_heard(world: VirtualWorld, make_trial: Callable[..., VirtualRun]) -> None:
    run = make_trial()
    run.run_until(T + 600)
    verdict = compare(world.record.plays, run.plays())
    assert [pair.truth.name for pair in verdict.pairs] == ["A", "B"]
    assert [*verdict.missed, *verdict.duplicates, *verdict.phantoms] == []
    assert max(pair.played_error_ms for pair in verdict.pairs) < 1000


def test_it_stops_when_it_was_told_to(world: VirtualWorld, make_trial: Callable[..., VirtualRun]) -> None:
    run = make_trial()
    run.run_until(T - 1)
    assert (world.clock.now, run.spotify.requests) == (T, 0)
    run.run_until(T + 50)
    assert T + 50 <= world.clock.now <= T + 81


def test_every_so_many_seconds_whatever_happens(
    world: VirtualWorld, make_trial: Callable[..., VirtualRun]
) -> None:
    run = make_trial(FixedSchedule(10))
    run.run_until(T + 1200)
    assert world.service.requests[PLAYER, "200"] == pytest.approx(120, abs=2)
    outlooks = [Outlook(is_advancing=False), Outlook(is_advancing=True, remaining_ms=1000)]
    assert [FixedSchedule(7).wait_after(outlook, 0) for outlook in outlooks] == [7, 7]


def test_what_was_only_in_memory_is_gone_after_a_new_start(
    world: VirtualWorld, make_trial: Callable[..., VirtualRun]
) -> None:
    run = make_trial()
    run.run_until(T + 100)
    before = (run.poller, run.spotify)
    run.start()
    assert (run.poller, run.spotify) != before
    assert run.spotify.requests == 0
    run.run_until(T + 600)
    assert len(compare(world.record.plays, run.plays()).pairs) == 2


def test_a_new_start_goes_on_with_the_token_of_the_file(
    world: VirtualWorld, make_trial: Callable[..., VirtualRun]
) -> None:
    run = make_trial()
    run.run_until(T + 100)
    run.start()
    run.run_until(T + 200)
    assert world.service.requests["/api/token", "200"] == 1


def test_what_is_no_play_is_passed_over(make_trial: Callable[..., VirtualRun], redis_url: str) -> None:
    run = make_trial(prefix="mine:")
    run.run_until(T + 600)
    with redis.Redis.from_url(redis_url) as client:
        client.hset("mine:plays:2026-11-22", mapping={"1795348805": "track:X 5", "1795348806": "track:Y 5"})
        client.hset("mine:listening:1795348806", "uri", "spotify:track:Y")
    assert [play.fields["name"] for play in run.plays()] == ["A", "B"]


def test_another_connection(world: VirtualWorld, make_trial: Callable[..., VirtualRun]) -> None:
    sent: list[str] = []

    def send(request: Request) -> Response:
        sent.append(request.url)
        return world.send(request)

    run = make_trial(send=send)
    run.run_until(T + 100)
    assert len(sent) == run.spotify.requests > 3
    run.start()
    run.run_until(T + 200)
    assert len(sent) > run.spotify.requests > 0


def test_settings_are_those_of_the_readme(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "redis://127.0.0.1:1/2", "mine:")
    assert (settings.poll_min, settings.poll_max) == (5.0, 30.0)
    assert settings == replace(settings, redis_url="redis://127.0.0.1:1/2", redis_prefix="mine:")
    assert settings.refresh_token not in repr(settings)
