"""Days in which everything goes wrong, and plays are deleted all the time."""

from __future__ import annotations

import random
from contextlib import contextmanager
from fnmatch import fnmatch
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.matching import Identity, identity
from spotify_logger.simulator.listener import DEFAULT_START
from spotify_logger.storage.bulk import Archive
from spotify_logger.transfer.check import check
from spotify_logger.transfer.delete import delete
from tests.testbed.fault_schedule import HOUR
from tests.testbed.year import YearSimulation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


SEED, DAYS = 6, 1.2


class YearOfDeletions(YearSimulation):
    """A simulation that deletes plays, or none, and looks only at its end at what is logged.

    Attributes:
        logged: The plays in the log.
        deleted: The plays that were deleted.
        problems: What `spotify-logger verify` finds.
    """

    def __init__(self, folder: Path, *, deletes: bool) -> None:
        folder.mkdir()
        super().__init__(SEED, DAYS, folder, 16.0, quiet_hours=8)
        # A command that no logger needs.
        self.redis._commands["SCAN"] = (self.scan, 3, 5)
        self.logged: set[Identity] = set()
        self.deleted: set[Identity] = set()
        self.problems: list[str] = []
        self.choice = random.Random(SEED)
        moment = DEFAULT_START + HOUR
        while deletes and moment < self._end:
            self._at(moment, self.delete)
            moment += self.choice.uniform(0.2, 2) * HOUR

    def scan(self, _: str, __: str, pattern: str, *___: str) -> tuple[int, list[str]]:
        return 0, [name for name in self.redis.names() if fnmatch(name, pattern)]

    def archive(self) -> Archive:
        return Archive("", connect=self.redis.client, utc=lambda: self.clock.now)

    def delete(self) -> None:
        """Delete the newest play that is over, or some of the last ones, if Redis is there."""
        if self.redis.down or self.redis.refusing or not self.redis.running:
            return
        over = [play for play in self._plays(self.choice.choice([3, 60])) if play.end_reason is not None]
        chosen = self.choice.sample(over, min(3, len(over))) if self.choice.random() < 0.5 else over[-1:]
        with self.without_redis_faults():
            delete(self.archive(), [play.second for play in chosen], self.clock.now)
        left = {identity(play) for play in self._plays(200)}
        self.deleted |= {identity(play) for play in chosen} - left

    @contextmanager
    def without_redis_faults(self) -> Iterator[None]:
        faults = {"before_send": None, "after_send": None, "hanging": False, "slow": 0, "deaf_after_write": 0}
        with pytest.MonkeyPatch.context() as patch:
            for name, usual in faults.items():
                patch.setattr(self.redis, name, usual)
            yield

    def _check(self) -> None:
        pass  # a play that is missing may have been deleted

    def _settle(self) -> None:
        pass

    def _sum_up(self) -> None:
        self.logged = {identity(play) for play in self._plays()}
        self._kill()
        with self.without_redis_faults():
            self.problems = [str(line) for line in check(self.archive(), self.clock.now).page[1:]]


@pytest.fixture(autouse=True)
def _utc(set_timezone: Callable[[str], None]) -> None:
    set_timezone("UTC")


def test_what_is_deleted_stays_away_and_nothing_else_does(memory_folder: Path) -> None:
    deleting = YearOfDeletions(memory_folder / "a", deletes=True)
    other = YearOfDeletions(memory_folder / "b", deletes=False)
    deleting.run()
    other.run()
    assert (deleting.problems, other.problems) == ([], [])
    assert len(deleting.deleted) > 20
    assert deleting.result.faults.total() > 5
    assert deleting.logged == other.logged - deleting.deleted
