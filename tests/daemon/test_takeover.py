from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spotify_logger.daemon.reconcile import Takeover, Tombstones
from spotify_logger.storage.outbox import Outbox, OutboxPlay
from tests.redis_log import SECOND, RedisLog, play

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.core.play import Play

MIDNIGHT = 6 * 3600


class Queue:
    """Plays that an earlier process has left in the outbox, in front of a log."""

    def __init__(self, log: RedisLog, path: Path) -> None:
        self.log = log
        self.outbox = Outbox(path, lambda: 0.0)
        self.takeover = Takeover(log.store, self.outbox, Tombstones(log.store, self.outbox))

    def is_sent(self, left: Play) -> bool:
        self.outbox.put([left])
        return self.takeover.to_send(OutboxPlay(left.second, left), is_active=True) is not None

    def close(self) -> None:
        self.outbox.close()
        self.log.close()


@pytest.fixture
def queue(redis_url: str, tmp_path: Path) -> Iterator[Queue]:
    queue = Queue(RedisLog(redis_url), tmp_path / "outbox.sqlite")
    yield queue
    queue.close()


def test_a_play_that_another_logger_has_recorded_is_not_sent(queue: Queue) -> None:
    assert queue.is_sent(play("B", 900, 30))
    queue.log.write(play("A", 0.4, 200), play("B", 10, 100), play("A", 500, 200))
    queue.takeover.index.cache_clear()
    assert not queue.is_sent(play("A", 0, 190))
    assert [row.key for row in queue.outbox.waiting(9)] == [SECOND + 900]
    assert queue.is_sent(play("A", 800, 100))
    assert queue.is_sent(play("C", 0, 190))


@pytest.mark.parametrize("offset", [-1, 1])
def test_it_is_found_across_midnight(queue: Queue, offset: int) -> None:
    queue.log.write(play("A", MIDNIGHT - offset, 200))
    assert not queue.is_sent(play("A", MIDNIGHT + offset, 190))
