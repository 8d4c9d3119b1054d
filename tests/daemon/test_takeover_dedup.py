from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spotify_logger.daemon.takeover_dedup import TakeoverDedup
from tests.redis_log import SECOND, RedisLog, play

if TYPE_CHECKING:
    from collections.abc import Iterator

MIDNIGHT = 6 * 3600


@pytest.fixture
def log(redis_url: str) -> Iterator[RedisLog]:
    log = RedisLog(redis_url)
    yield log
    log.close()


def test_the_same_play_is_found_under_another_key(log: RedisLog) -> None:
    dedup = TakeoverDedup(log.store)
    assert dedup.find_duplicate(play("A", 0, 190)) is None
    log.write(play("A", 0.4, 200), play("B", 10, 100), play("A", 500, 200))
    assert dedup.find_duplicate(play("A", 0, 190)) is None, "the day was read before"
    dedup.clear_cache()
    found = dedup.find_duplicate(play("A", 0, 190))
    assert found is not None
    assert found.second == SECOND
    assert dedup.find_duplicate(play("A", 800, 100)) is None
    assert dedup.find_duplicate(play("C", 0, 190)) is None


@pytest.mark.parametrize("offset", [-1, 1])
def test_it_is_found_across_midnight(log: RedisLog, offset: int) -> None:
    log.write(play("A", MIDNIGHT - offset, 200))
    assert TakeoverDedup(log.store).find_duplicate(play("A", MIDNIGHT + offset, 190)) is not None
