from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.redis_keys import TOMBSTONES
from spotify_logger.daemon.deletions import MAX_TOMBSTONES, Tombstones
from spotify_logger.storage.outbox import Outbox
from spotify_logger.storage.store import Store
from tests.testbed.fake_redis import FakeRedis
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECOND = 1_795_370_400  # 2026-11-22T18:00:00Z


class Memory:
    """What a logger knows of what was forgotten, in front of a Redis, and on a disk."""

    def __init__(self, path: Path) -> None:
        clock = VirtualClock(SECOND)
        self.store = Store("", connect=FakeRedis(clock.utc, clock.sleep).link)
        self.outbox = Outbox(path, clock.monotonic)
        self.start()

    def start(self) -> None:
        self.tombstones = Tombstones(self.store, self.outbox)

    def say(self, *seconds: int) -> None:
        with self.store.batch() as batch:
            batch.write_tombstones({second: second + 200 for second in seconds})

    def known(self) -> list[int]:
        return list(self.tombstones.plays)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Memory]:
    memory = Memory(tmp_path / "outbox.sqlite")
    yield memory
    memory.outbox.close()


def test_the_newest_are_kept_in_mind_for_another_process_too(memory: Memory) -> None:
    memory.say(*range(SECOND, SECOND + MAX_TOMBSTONES + 3))
    memory.tombstones.refresh()
    assert memory.known() == list(range(SECOND + 3, SECOND + MAX_TOMBSTONES + 3))
    memory.start()
    assert memory.known() == list(range(SECOND + 3, SECOND + MAX_TOMBSTONES + 3))


def test_what_a_redis_has_lost_is_known_and_told_again(memory: Memory) -> None:
    memory.say(SECOND, SECOND + 1)
    memory.tombstones.refresh()
    memory.store._link.send([("DEL", TOMBSTONES)])
    memory.store.close()
    memory.say(SECOND + 2)
    memory.tombstones.refresh(force=True)
    memory.tombstones.restore()
    assert memory.known() == [SECOND, SECOND + 1, SECOND + 2]
    assert memory.store.tombstones() == memory.tombstones.plays


@pytest.mark.parametrize("note", ["", "7", "[[1, 2]]", '{"a": 1}', '{"1": null}', '{"1": 1e999}', "[" * 9999])
def test_a_note_that_makes_no_sense_is_none(memory: Memory, note: str) -> None:
    memory.outbox.set_note(TOMBSTONES, note)
    memory.start()
    assert memory.known() == []


def test_lines_of_others_are_passed_over(memory: Memory) -> None:
    memory.store.connect()
    memory.store._link.send([("HSET", TOMBSTONES, "us", "all", str(SECOND), str(SECOND + 9))])
    memory.tombstones.refresh()
    assert memory.tombstones.plays == {SECOND: SECOND + 9}
    memory.store._link.send([("SET", TOMBSTONES, "somebody's")])
    memory.tombstones.refresh(force=True)
    assert memory.tombstones.plays == {SECOND: SECOND + 9}
