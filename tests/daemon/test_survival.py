"""Kills or stops processes during playback, and compares the log with the truth."""

from __future__ import annotations

import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.conftest import start_again
from tests.stage import LiveRun

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.storage.embedded_server import EmbeddedServer

NETWORK_FAULTS = {"reset": None, "hang": 0.4, "drip": 0.02, "drip_headers": 0.02, "cut": None, "slow": 0.3}
"""Network faults, and their durations in seconds."""
LONGER_THAN_A_TURN = 3.0
"""Seconds after which the hasty supervisor takes a loop for hung."""


@pytest.fixture
def life(tmp_path: Path, server: EmbeddedServer) -> Iterator[LiveRun]:
    life = LiveRun(tmp_path, server.url)
    yield life
    life.close()


class FaultInjector:
    """Faults of a running logger, one per method; each is over, or soon will be, when its method returns."""

    def __init__(self, life: LiveRun, server: EmbeddedServer) -> None:
        self.life = life
        self.server = server
        self.supervisor = life.begin()

    @property
    def loop(self) -> int | None:
        return self.life.loop_of(self.supervisor)

    def kill_loop(self) -> None:
        self.life.send(self.loop, signal.SIGKILL)

    def stop_loop(self) -> None:
        self.life.stop_for(self.life.chance.choice((0.5, LONGER_THAN_A_TURN)), self.loop)

    def kill_supervisor(self) -> None:
        self.supervisor.kill()
        self.supervisor.wait()
        time.sleep(self.life.chance.uniform(0.0, 1.0))
        self.supervisor = self.life.start_supervisor()
        if self.life.chance.random() < 0.7:  # otherwise the next fault meets one that has barely started
            self.life.wait_for_answers(1)

    def stop_supervisor(self) -> None:
        self.life.stop_for(2.5, self.supervisor.pid)

    def kill_redis(self) -> None:
        assert self.server.process is not None
        self.server.process.kill()
        self.server.process.wait()

    def restart_redis(self) -> None:
        self.kill_redis()
        time.sleep(self.life.chance.uniform(0.2, 1.5))
        start_again(self.server)

    def stop_redis(self) -> None:
        assert self.server.process is not None
        self.life.stop_for(self.life.chance.uniform(0.2, 2.5), self.server.process.pid)

    def kill_redis_and_loop(self) -> None:
        self.kill_redis()
        time.sleep(self.life.chance.uniform(0.2, 1.5))
        self.kill_loop()
        time.sleep(self.life.chance.uniform(0.2, 1.5))
        start_again(self.server)

    def disturb_network(self, name: str = "") -> None:
        name = name or self.life.chance.choice(list(NETWORK_FAULTS))
        self.life.fault(name, path="", seconds=0.8, value=NETWORK_FAULTS[name])
        time.sleep(0.8)


@pytest.fixture
def injector(life: LiveRun, server: EmbeddedServer) -> FaultInjector:
    return FaultInjector(life, server)


def test_a_loop_that_is_killed_or_hangs_is_restarted(life: LiveRun, injector: FaultInjector) -> None:
    injector.kill_loop()
    life.wait_for_answers(5)
    life.stop_for(LONGER_THAN_A_TURN, injector.loop)
    life.end(injector.supervisor)
    assert "the loop ended: killed by SIGKILL; restarting in 0 s" in life.lines()
    assert re.search(r"the loop ended: silent for \d s; restarting in 0 s", life.log())


def test_a_supervisor_that_stands_still_spares_its_loop_and_a_killed_one_can_be_replaced(
    life: LiveRun, injector: FaultInjector
) -> None:
    loop = injector.loop
    injector.stop_supervisor()
    life.wait_for_answers(3)
    assert life.server.pids() == {loop}
    injector.kill_supervisor()
    life.end(injector.supervisor)
    assert "another logger" not in life.log()


def test_redis_is_killed_or_hangs(life: LiveRun, server: EmbeddedServer, injector: FaultInjector) -> None:
    injector.stop_redis()
    injector.restart_redis()
    life.wait_for_answers(3)
    injector.kill_redis()
    life.wait_until_redis_is(away=True)
    start_again(server)
    life.wait_until_redis_is(away=False)
    life.end(injector.supervisor)
    life.assert_outages_are_logged()


def test_the_network_fails(life: LiveRun, server: EmbeddedServer) -> None:
    life.change_timings(max_turn=6.0, read_timeout=0.7, request_deadline=1.5)
    injector = FaultInjector(life, server)
    for name in NETWORK_FAULTS:
        injector.disturb_network(name)
    life.end(injector.supervisor)


def test_everything_goes_wrong(life: LiveRun, injector: FaultInjector) -> None:
    faults = [
        injector.kill_loop,
        injector.stop_loop,
        injector.kill_supervisor,
        injector.stop_supervisor,
        injector.restart_redis,
        injector.stop_redis,
        injector.kill_redis_and_loop,
        injector.disturb_network,
    ]
    for fault in life.chance.sample(faults, 4):
        time.sleep(life.chance.uniform(0.1, 1.0))
        fault()
    life.end(injector.supervisor)
