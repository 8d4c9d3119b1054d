"""Days in which everything goes wrong, and somebody forgets plays all the time."""

from __future__ import annotations

import random
import time
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.matching import Identity, identity
from spotify_logger.simulator.listener import DEFAULT_START
from spotify_logger.storage.store import Store
from spotify_logger.transfer.delete.plays import delete
from spotify_logger.transfer.verify.command import check
from tests.testbed.fault_schedule import HOUR
from tests.testbed.year import YearSimulation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.storage.bulk import Archive

DAYS = 2
SEED = 1


class Watched(YearSimulation):
    """A life at whose end the log is looked at, whatever became of the plays.

    Attributes:
        logged: The plays in the log.
        forgotten: The plays that were forgotten.
        well: Whether the log is in order.
    """

    forgets = False

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        super().__init__(SEED, DAYS, folder, 6.0)
        # A command that no logger needs.
        self.redis._commands["SCAN"] = (self.scan, 3, 5)
        self.logged: set[Identity] = set()
        self.tombstones: set[Identity] = set()
        self.well = False
        self.wish = random.Random(SEED)
        moment = DEFAULT_START + HOUR
        while self.forgets and moment < self._end:
            self._at(moment, self.forget)
            moment += self.wish.uniform(0.2, 4) * HOUR

    def scan(self, _: str, __: str, pattern: str, *___: str) -> list[object]:
        return ["0", [name for name in self.redis.names() if fnmatch(name, pattern)]]

    def archive(self) -> Archive:
        return Store("", connect=self.redis.link, utc=lambda: self.clock.now).archive()

    def forget(self) -> None:
        """Forget the newest play that is over, or some of the last ones, if Redis is there."""
        if self.redis.down or self.redis.refusing or not self.redis.running:
            return
        was = self._silence()
        over = [play for play in self._plays(self.wish.choice([3, 60])) if play.end_reason is not None]
        going = self.wish.sample(over, min(3, len(over))) if self.wish.random() < 0.5 else over[-1:]
        delete(self.archive(), [play.second for play in going], self.clock.now)
        there = {identity(play) for play in self._plays(200)}
        self.tombstones |= {identity(play) for play in going} - there
        self._unsilence(was)

    def _check(self) -> None:
        pass  # what is missing was wanted to be

    def _last_look(self) -> None:
        pass

    def _sum_up(self) -> None:
        self.logged = {identity(play) for play in self._plays()}
        self._die()
        self._silence()
        self.well = check(self.archive(), self.clock.now).page[1:] == []


class Forgetful(Watched):
    forgets = True


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_what_is_forgotten_stays_away_and_nothing_else_does(memory_folder: Path) -> None:
    life, other = Forgetful(memory_folder / "a"), Watched(memory_folder / "b")
    life.live()
    other.live()
    assert (life.well, other.well) == (True, True)
    assert len(life.tombstones) > 20
    assert life.logged == other.logged - life.tombstones
