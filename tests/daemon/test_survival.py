"""Kills or stops processes during playback, and compares the log with the truth."""

from __future__ import annotations

import re
import signal
import time
from typing import TYPE_CHECKING

import pytest

from spotify_logger.simulator.catalog import song
from spotify_logger.simulator.history import History
from tests.conftest import start_again, start_server, wait_until
from tests.stage import PACE, LiveRun

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.simulator.timeline import ListeningHistory
    from spotify_logger.storage.embedded_server import EmbeddedServer

SECONDS = 5.0
"""Seconds for which faults are caused."""
FEWEST = 2
"""Plays that must be processed in that time; usually five to fifteen are."""
HASTY = """
main.HttpSender = partial(http.HttpSender, read_timeout=0.7, deadline=1.5)
main.MAX_TURN = 6.0
"""
MINUTES_AS_SECONDS = """
coverage.GAP_MS, coverage.UNOBSERVED_AFTER_MS, backfiller.FOLLOW_UP_DELAY = 1500, 500, 1.0
tracker.BLIP_MS = tracker.SEAMLESS_MS = observations.SEAMLESS_MS = 500
matching.SAME_END_MS = backfill.SAME_END_MS = 500
"""
"""Thresholds of gaps and pauses, scaled down."""
WIRE = {"reset": None, "hang": 0.4, "drip": 0.02, "drip_headers": 0.02, "cut": None, "slow": 0.3}
"""Network faults, and their durations in seconds."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A Redis that may be killed."""
    server = start_server(tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture
def life(tmp_path: Path, server: EmbeddedServer) -> Iterator[LiveRun]:
    life = LiveRun(tmp_path, server.url)
    yield life
    life.close()


class Misfortunes:
    """Faults of a running logger, one per method; all is well, or soon will be, when it returns."""

    def __init__(self, life: LiveRun, server: EmbeddedServer, record: ListeningHistory | None = None) -> None:
        self.life = life
        self.server = server
        self.supervisor = life.begin(record)

    @property
    def loop(self) -> int | None:
        return self.life.loop_of(self.supervisor)

    def loop_killed(self) -> None:
        self.life.send(self.loop, signal.SIGKILL)

    def loop_stopped(self) -> None:
        """For a moment, or for longer than the supervisor is patient."""
        self.life.stop_for(self.life.chance.choice((0.5, 3.0)), self.loop)

    def supervisor_killed(self) -> None:
        self.supervisor.kill()
        self.supervisor.wait()
        time.sleep(self.life.chance.uniform(0.0, 1.0))
        self.supervisor = self.life.start("run.py")
        if self.life.chance.random() < 0.7:  # otherwise the next thing befalls one that has barely started
            self.life.wait_for_answers(1)

    def supervisor_stopped(self) -> None:
        self.life.stop_for(2.5, self.supervisor.pid)

    def redis_killed(self) -> None:
        self.kill_redis()
        time.sleep(self.life.chance.uniform(0.5, 1.5))
        start_again(self.server)

    def redis_stopped(self) -> None:
        self.life.stop_for(self.life.chance.uniform(0.2, 2.5), self.server.pid)

    def redis_and_loop_killed(self) -> None:
        self.kill_redis()
        time.sleep(self.life.chance.uniform(0.2, 1.5))
        self.loop_killed()
        time.sleep(self.life.chance.uniform(0.2, 1.5))
        start_again(self.server)

    def network_lost(self) -> None:
        name = self.life.chance.choice(list(WIRE))
        seconds = self.life.chance.uniform(0.2, 1.5)
        self.life.fault(name, path="", seconds=seconds, value=WIRE[name])
        time.sleep(seconds)

    def kill_redis(self) -> None:
        assert self.server.process is not None
        self.server.process.kill()
        self.server.process.wait()


@pytest.fixture
def misfortunes(life: LiveRun, server: EmbeddedServer) -> Misfortunes:
    return Misfortunes(life, server)


def test_the_loop_is_killed(life: LiveRun, misfortunes: Misfortunes) -> None:
    life.inflict(SECONDS, misfortunes.loop_killed)
    life.end(misfortunes.supervisor)
    life.assert_all_is_logged(FEWEST)
    assert "the loop ended: killed by SIGKILL; it starts again in 0 s" in life.lines()


def test_the_loop_stands_still(life: LiveRun, misfortunes: Misfortunes) -> None:
    life.inflict(SECONDS, misfortunes.loop_stopped)
    life.stop_for(3.0, misfortunes.loop)
    life.end(misfortunes.supervisor)
    life.assert_all_is_logged(FEWEST)
    assert re.search(r"the loop ended: silent for \d s; it starts again in 0 s", life.log())


def test_the_supervisor_is_killed(life: LiveRun, misfortunes: Misfortunes) -> None:
    life.inflict(SECONDS, misfortunes.supervisor_killed)
    life.end(misfortunes.supervisor)
    life.assert_all_is_logged(FEWEST)
    assert "another logger" not in life.log()


def test_the_supervisor_stands_still(life: LiveRun, misfortunes: Misfortunes) -> None:
    loop = misfortunes.loop
    life.inflict(SECONDS / 2, misfortunes.supervisor_stopped)
    life.end(misfortunes.supervisor)
    life.assert_all_is_logged()
    assert {shown.pid for shown in life.server.shown} == {loop}


@pytest.mark.parametrize("how", ["redis_killed", "redis_stopped"])
def test_redis_is_away(life: LiveRun, server: EmbeddedServer, misfortunes: Misfortunes, how: str) -> None:
    life.inflict(SECONDS, getattr(misfortunes, how))
    misfortunes.kill_redis()
    life.wait_until_redis_is(away=True)
    start_again(server)
    life.wait_until_redis_is(away=False)
    life.end(misfortunes.supervisor)
    life.assert_all_is_logged(FEWEST)
    life.assert_outages_are_logged()


def test_the_network_is_lost(life: LiveRun, server: EmbeddedServer) -> None:
    life.tune(HASTY)
    misfortunes = Misfortunes(life, server)
    life.inflict(SECONDS, misfortunes.network_lost)
    life.end(misfortunes.supervisor)
    life.assert_all_is_logged(FEWEST)


def test_everything_goes_wrong(life: LiveRun, misfortunes: Misfortunes) -> None:
    everything = ("loop_killed", "loop_stopped", "supervisor_killed", "supervisor_stopped", "network_lost")
    redis = ("redis_killed", "redis_stopped", "redis_and_loop_killed")
    life.inflict(60, *(getattr(misfortunes, name) for name in everything + redis))
    life.end(misfortunes.supervisor)
    life.assert_all_is_logged(2 * FEWEST)


def test_everything_is_killed_at_once_and_the_gap_is_known(life: LiveRun, server: EmbeddedServer) -> None:
    life.tune(MINUTES_AS_SECONDS)
    history = History(0)
    for name, seconds in (("A", 3), ("B", 2), ("C", 300)):
        history.play(song(name, PACE * seconds))
    misfortunes = Misfortunes(life, server, history.finish())
    loop, killed_at = misfortunes.loop, time.time()
    misfortunes.supervisor.kill()
    misfortunes.supervisor.wait()
    life.send(loop, signal.SIGKILL)
    misfortunes.kill_redis()
    wait_until(lambda: time.time() > life.record.plays[2].started_at + 1)
    start_again(server)
    supervisor = life.start("run.py")
    life.wait_for_line("recently played: The Band of B")
    back_at = time.time()
    life.end(supervisor)
    life.assert_all_is_logged(2)
    plays = {str(play.fields["name"]): play for play in life.logged()}
    assert {name: play.source for name, play in plays.items()} == {"A": "live", "B": "backfill", "C": "live"}
    assert plays["B"].ms_played == pytest.approx(2000, abs=1500)
    ((begin, end, reason),) = life.store.gaps()
    assert reason == "not running"
    assert begin == pytest.approx(killed_at, abs=1.5)
    assert killed_at < end < back_at + 1
