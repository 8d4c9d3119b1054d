from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import pytest

from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_REFRESH_TOKEN
from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.faults import Fault
from spotify_logger.simulator.history import History
from spotify_logger.simulator.listener import DEFAULT_START
from spotify_logger.spotify.http import Request
from spotify_logger.system.errors import TryLater
from tests.testbed.virtual_time import (
    DEADLINE,
    READ_TIMEOUT,
    VirtualClock,
    VirtualSend,
    VirtualWorld,
    make_virtual_world,
)

if TYPE_CHECKING:
    from spotify_logger.spotify.http import Response, Send
    from spotify_logger.system.clock import Clock

T = 1_700_000_000.0


@pytest.fixture
def world() -> VirtualWorld:
    return VirtualWorld.of(History(T).play(song("A", 2000)).finish(), 1)


def token(world: VirtualWorld) -> str:
    form = {"grant_type": "refresh_token", "refresh_token": DEMO_REFRESH_TOKEN, "client_id": DEMO_CLIENT_ID}
    response = world.send(Request("POST", "https://accounts.spotify.com/api/token", {}, form))
    access_token = json.loads(response.body)["access_token"]
    assert isinstance(access_token, str)
    return access_token


def ask(world: VirtualWorld, access_token: str) -> Response:
    url = "https://api.spotify.com/v1/me/player"
    return world.send(Request("GET", url, {"Authorization": f"Bearer {access_token}"}))


def test_it_is_a_clock_and_a_way_to_send(world: VirtualWorld) -> None:
    clock: Clock = world.clock
    send: Send = world.send
    assert clock.utc() == T
    assert callable(send)


def test_sleep_passes_at_once_and_never_backwards() -> None:
    clock = VirtualClock(T)
    clock.sleep(3600)
    clock.sleep(-5)
    assert (clock.now, clock.monotonic(), clock.utc()) == (T + 3600, 3600, T + 3600)


def test_a_step_shows_in_stamps_only_before_the_first_date_as_on_a_real_machine() -> None:
    clock = VirtualClock(T)
    clock.sleep(10)
    clock.step(86400)
    assert (clock.monotonic(), clock.utc()) == (10, T + 86410)
    clock.correct(T + 10)
    assert clock.utc() == T + 10.5
    clock.step(-86400)
    clock.sleep(1)
    assert clock.utc() == T + 11.5


def test_a_machine_that_wakes_up_in_the_past_is_told_the_time() -> None:
    clock = VirtualClock(T, ahead=-5000)
    assert clock.utc() == T - 5000
    clock.sleep(1)
    clock.correct(T + 1)
    assert clock.utc() - T == pytest.approx(1, abs=0.6)
    clock.step(5000)
    clock.sleep(10)
    clock.correct(T + 11)
    assert clock.utc() - T == pytest.approx(11), "from here on its own clock is good enough"


def test_a_date_that_agrees_changes_nothing_by_more_than_its_fraction() -> None:
    clock = VirtualClock(T + 0.9, ahead=0.8)
    clock.correct(T)
    assert clock.utc() - T == pytest.approx(1.7)


def test_after_a_restart_the_monotonic_clock_begins_again() -> None:
    clock = VirtualClock(T)
    clock.sleep(500)
    rebooted = clock.reboot(ahead=-100)
    assert (rebooted.now, rebooted.monotonic(), rebooted.utc()) == (T + 500, 0, T + 400)


def test_a_request_takes_time_and_looks_at_the_middle_of_it(world: VirtualWorld) -> None:
    bearer = token(world)
    took, off = [], []
    for _ in range(300):
        before = world.clock.now
        progress = json.loads(ask(world, bearer).body)["progress_ms"]
        took.append(world.clock.now - before)
        off.append((before + world.clock.now) / 2 - T - progress / 1000)
    assert 0.03 <= min(took) < 0.05
    assert 0.28 < max(took) <= 0.3
    assert min(off) >= -0.001
    assert max(off) <= 0.252


def test_answers_are_dated_with_the_true_time(world: VirtualWorld) -> None:
    world.clock.step(-99999)
    world.clock.sleep(1000)
    date = parsedate_to_datetime(ask(world, token(world)).headers["date"]).timestamp()
    assert abs(date - world.clock.now) < 1.5


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (Fault("reset"), 0.3),
        (Fault("cut"), 0.3),
        (Fault("huge"), 0.3),
        (Fault("hang"), READ_TIMEOUT + 0.3),
        (Fault("slow", value=60), READ_TIMEOUT + 0.3),
        (Fault("drip"), DEADLINE + 0.3),
        (Fault("drip_headers", value=0.5), DEADLINE + 0.3),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_faults_of_the_wire_take_their_time(world: VirtualWorld, fault: Fault, seconds: float) -> None:
    bearer = token(world)
    world.service.faults.add(fault, world.clock.now)
    before = world.clock.now
    with pytest.raises(TryLater) as caught:
        ask(world, bearer)
    assert seconds - 0.3 <= world.clock.now - before <= seconds
    assert bearer not in str(caught.value)


@pytest.mark.parametrize("fault", [Fault("slow", value=4), Fault("drip", value=0.001)])
def test_an_answer_that_is_slow_but_in_time_is_an_answer(world: VirtualWorld, fault: Fault) -> None:
    bearer = token(world)
    world.service.faults.add(fault, world.clock.now)
    before = world.clock.now
    assert ask(world, bearer).status == 200
    assert 1 < world.clock.now - before < 5


def test_a_world_from_a_seed() -> None:
    first, again, other = make_virtual_world(3, 2), make_virtual_world(3, 2), make_virtual_world(4, 2)
    assert first.record.plays == again.record.plays != other.record.plays
    assert first.clock.now == first.record.start == DEFAULT_START
    bodies = []
    for world in (first, again):
        world.clock.sleep(first.record.plays[3].started_at + 20 - world.clock.now)
        bodies.append(ask(world, token(world)).body)
    assert bodies[0] == bodies[1]
    assert json.loads(bodies[0])["item"]["name"] == first.record.plays[3].name


def test_a_connection_of_another_speed(world: VirtualWorld) -> None:
    world.send = VirtualSend(world.service, world.clock, latency=(2.0, 2.0))
    before = world.clock.now
    token(world)
    assert world.clock.now - before == pytest.approx(2)
