from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.core.observations import Outlook
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.history import History
from spotify_logger.simulator.judge import judge
from tests.testbed.virtual_run import FixedSchedule, Trial, make_settings
from tests.testbed.virtual_time import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from spotify_logger.core.poll_schedule import PollSchedule
    from spotify_logger.spotify.http import Request, Response, Send

T = 1_795_348_800.0
PLAYER = "/v1/me/player"


@pytest.fixture
def world() -> World:
    return World.of(History(T).play(song("A", 200)).play(song("B", 300)).ad(3600).finish())


@pytest.fixture
def make_trial(world: World, tmp_path: Path, redis_url: str) -> Iterator[Callable[..., Trial]]:
    trials: list[Trial] = []

    def make(schedule: PollSchedule | None = None, *, prefix: str = "", send: Send | None = None) -> Trial:
        trials.append(Trial(world, make_settings(tmp_path, redis_url, prefix), schedule, send=send))
        return trials[-1]

    yield make
    for trial in trials:
        trial.close()


def test_it_logs_what_is_heard(world: World, make_trial: Callable[..., Trial]) -> None:
    trial = make_trial()
    trial.run_until(T + 600)
    verdict = judge(world.record.plays, trial.plays())
    assert [pair.truth.name for pair in verdict.pairs] == ["A", "B"]
    assert [*verdict.missed, *verdict.doubles, *verdict.phantoms] == []
    assert max(pair.heard_error_ms for pair in verdict.pairs) < 1000


def test_it_stops_when_it_was_told_to(world: World, make_trial: Callable[..., Trial]) -> None:
    trial = make_trial()
    trial.run_until(T - 1)
    assert (world.clock.now, trial.spotify.requests) == (T, 0)
    trial.run_until(T + 50)
    assert T + 50 <= world.clock.now <= T + 81


def test_every_so_many_seconds_whatever_happens(world: World, make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(FixedSchedule(10))
    trial.run_until(T + 1200)
    assert world.service.requests[PLAYER, "200"] == pytest.approx(120, abs=2)
    outlooks = [Outlook(is_advancing=False), Outlook(is_advancing=True, remaining_ms=1000)]
    assert [FixedSchedule(7).wait_after(outlook, 0) for outlook in outlooks] == [7, 7]


def test_what_was_only_in_memory_is_gone_after_a_new_start(
    world: World, make_trial: Callable[..., Trial]
) -> None:
    trial = make_trial()
    trial.run_until(T + 100)
    before = (trial.poller, trial.spotify)
    trial.start()
    assert (trial.poller, trial.spotify) != before
    assert trial.spotify.requests == 0
    trial.run_until(T + 600)
    assert len(judge(world.record.plays, trial.plays()).pairs) == 2


def test_a_new_start_goes_on_with_the_token_of_the_file(
    world: World, make_trial: Callable[..., Trial]
) -> None:
    trial = make_trial()
    trial.run_until(T + 100)
    trial.start()
    trial.run_until(T + 200)
    assert world.service.requests["/api/token", "200"] == 1


def test_what_is_no_play_is_passed_over(make_trial: Callable[..., Trial], redis_url: str) -> None:
    trial = make_trial(prefix="mine:")
    trial.run_until(T + 600)
    with redis.Redis.from_url(redis_url) as client:
        client.hset("mine:plays:2026-11-22", mapping={"1795348805": "track:X 5", "1795348806": "track:Y 5"})
        client.hset("mine:listening:1795348806", "uri", "spotify:track:Y")
    assert [play.fields["name"] for play in trial.plays()] == ["A", "B"]


def test_another_connection(world: World, make_trial: Callable[..., Trial]) -> None:
    sent: list[str] = []

    def send(request: Request) -> Response:
        sent.append(request.url)
        return world.send(request)

    trial = make_trial(send=send)
    trial.run_until(T + 100)
    assert len(sent) == trial.spotify.requests > 3
    trial.start()
    trial.run_until(T + 200)
    assert len(sent) > trial.spotify.requests > 0


def test_settings_are_those_of_the_readme(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, "redis://127.0.0.1:1/2", "mine:")
    assert (settings.poll_min, settings.poll_max) == (5.0, 30.0)
    assert settings == replace(settings, redis_url="redis://127.0.0.1:1/2", redis_prefix="mine:")
    assert settings.refresh_token not in repr(settings)
