from __future__ import annotations

import json
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
    LATENCY,
    READ_TIMEOUT,
    VirtualClock,
    VirtualWorld,
    make_virtual_world,
)

if TYPE_CHECKING:
    from spotify_logger.spotify.http import Response

T = 1_700_000_000.0


@pytest.fixture
def world() -> VirtualWorld:
    return VirtualWorld.of(History(T).play(song("A", 2000)).finish(), 1)


def login(world: VirtualWorld) -> str:
    """Return an access token."""
    form = {"grant_type": "refresh_token", "refresh_token": DEMO_REFRESH_TOKEN, "client_id": DEMO_CLIENT_ID}
    response = world.send(Request("POST", "https://accounts.spotify.com/api/token", {}, form))
    return str(json.loads(response.body)["access_token"])


def ask(world: VirtualWorld, access_token: str) -> Response:
    url = "https://api.spotify.com/v1/me/player"
    return world.send(Request("GET", url, {"Authorization": f"Bearer {access_token}"}))


def test_sleep_takes_no_time_and_never_goes_backwards() -> None:
    clock = VirtualClock(T)
    clock.sleep(3600)
    clock.sleep(-5)
    assert (clock.now, clock.monotonic(), clock.utc()) == (T + 3600, 3600, T + 3600)
    rebooted = clock.reboot(ahead=-100)
    assert (rebooted.now, rebooted.monotonic(), rebooted.utc()) == (T + 3600, 0, T + 3500)


def test_stamps_are_corrected_as_on_a_real_machine() -> None:
    clock = VirtualClock(T, ahead=-5000)
    assert clock.utc() == T - 5000
    clock.sleep(1)
    clock.correct(T + 1)
    assert clock.utc() == T + 1.5
    clock.step(-86_400)
    assert clock.utc() == T + 1.5
    clock.step(91_400)
    clock.sleep(10)
    clock.correct(T + 11)
    assert clock.utc() == pytest.approx(T + 11), "its own clock is right by now"


def test_a_request_takes_time_and_sees_the_middle_of_it(world: VirtualWorld) -> None:
    access_token = login(world)
    took, off = [], []
    for _ in range(300):
        before = world.clock.now
        progress = json.loads(ask(world, access_token).body)["progress_ms"]
        took.append(world.clock.now - before)
        off.append((before + world.clock.now) / 2 - T - progress / 1000)
    least, most = LATENCY
    assert least <= min(took) < least + 0.02 < most - 0.02 < max(took) <= most
    assert min(off) >= -0.001
    assert max(off) <= 0.252


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (Fault("reset"), 0.3),
        (Fault("huge"), 0.3),
        (Fault("hang"), READ_TIMEOUT + 0.3),
        (Fault("slow", value=60), READ_TIMEOUT + 0.3),
        (Fault("drip"), DEADLINE + 0.3),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_a_fault_takes_its_time(world: VirtualWorld, fault: Fault, seconds: float) -> None:
    access_token = login(world)
    world.service.faults.add(fault, world.clock.now)
    before = world.clock.now
    with pytest.raises(TryLater) as caught:
        ask(world, access_token)
    assert seconds - 0.3 <= world.clock.now - before <= seconds
    assert access_token not in str(caught.value)


@pytest.mark.parametrize("fault", [Fault("slow", value=4), Fault("drip", value=0.001)])
def test_a_slow_answer_in_time_is_an_answer(world: VirtualWorld, fault: Fault) -> None:
    access_token = login(world)
    world.service.faults.add(fault, world.clock.now)
    before = world.clock.now
    assert ask(world, access_token).status == 200
    assert 1 < world.clock.now - before < 5


def test_the_same_seed_makes_the_same_world() -> None:
    first, again, other = make_virtual_world(3, 1), make_virtual_world(3, 1), make_virtual_world(4, 1)
    assert first.record.plays == again.record.plays != other.record.plays
    assert first.clock.now == first.record.start == DEFAULT_START
    bodies = []
    for world in (first, again):
        world.clock.sleep(first.record.plays[0].started_at + 1 - world.clock.now)
        bodies.append(ask(world, login(world)).body)
    assert bodies[0] == bodies[1]
    assert json.loads(bodies[0])["item"]["name"] == first.record.plays[0].name
