from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.comparison import compare
from spotify_logger.simulator.history import History
from tests.testbed.virtual_run import VirtualRun, make_settings
from tests.testbed.virtual_time import VirtualWorld

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from spotify_logger.spotify.http import Request, Response, Send

T = 1_795_348_800.0


@pytest.fixture
def world() -> VirtualWorld:
    return VirtualWorld.of(History(T).play(song("A", 200)).play(song("B", 300)).ad(3600).finish())


@pytest.fixture
def make_run(world: VirtualWorld, tmp_path: Path, redis_url: str) -> Iterator[Callable[..., VirtualRun]]:
    runs: list[VirtualRun] = []

    def make(prefix: str = "", send: Send | None = None) -> VirtualRun:
        runs.append(VirtualRun(world, make_settings(tmp_path, redis_url, prefix), send=send))
        return runs[-1]

    yield make
    for run in runs:
        run.close()


def test_it_logs_plays_and_skips_foreign_ones(
    world: VirtualWorld, make_run: Callable[..., VirtualRun], redis_url: str
) -> None:
    run = make_run(prefix="mine:")
    run.run_until(T - 1)
    assert (world.clock.now, run.spotify.requests) == (T, 0)
    run.run_until(T + 600)
    assert T + 600 <= world.clock.now <= T + 631
    with redis.Redis.from_url(redis_url) as client:
        client.hset("mine:plays:2026-11-22", mapping={"1795348805": "track:X 5", "1795348806": "track:Y 5"})
        client.hset("mine:listening:1795348806", "uri", "spotify:track:Y")
    verdict = compare(world.record.plays, run.plays())
    assert [pair.truth.name for pair in verdict.pairs] == ["A", "B"]
    assert [*verdict.missed, *verdict.duplicates, *verdict.phantoms] == []


def test_a_restarted_logger_knows_only_what_is_on_disk(
    world: VirtualWorld, make_run: Callable[..., VirtualRun]
) -> None:
    sent: list[str] = []

    def send(request: Request) -> Response:
        sent.append(request.url)
        return world.send(request)

    run = make_run(send=send)
    run.run_until(T + 100)
    before = run.poller
    assert len(sent) == run.spotify.requests > 3
    run.start()
    assert run.poller is not before
    assert run.spotify.requests == 0
    run.run_until(T + 600)
    assert len(compare(world.record.plays, run.plays()).pairs) == 2
    assert len(sent) > run.spotify.requests > 0
    assert world.service.requests["/api/token", "200"] == 1


def test_the_first_play_after_silence_began_no_earlier_than_the_answer_before_it(
    tmp_path: Path, redis_url: str
) -> None:
    silence, album = 3042, [song(f"Track {number}", 200) for number in range(12)]
    history = History(T).gone(silence).play(song("First", 200), 31)
    for track in album:
        history.play(track)
    world = VirtualWorld.of(history.gone(600).finish())
    run = VirtualRun(world, make_settings(tmp_path, redis_url))
    run.run_until(world.record.end)

    first = min(run.plays(), key=lambda play: play.started_ms)
    run.close()

    assert (first.fields["name"], first.source) == ("First", "backfill")
    assert first.ended_ms / 1000 == pytest.approx(T + silence + 31, abs=2)
    assert 31_000 <= first.ms_played <= 53_000
