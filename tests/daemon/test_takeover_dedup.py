from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spotify_logger.daemon.takeover_dedup import TakeoverDedup
from tests.keptlog import SECOND, RedisLog, play

if TYPE_CHECKING:
    from collections.abc import Iterator


class TestInRedis:
    @pytest.fixture
    def log(self, redis_url: str) -> Iterator[RedisLog]:
        log = RedisLog(redis_url)
        yield log
        log.close()

    def test_it_is_found(self, log: RedisLog) -> None:
        log.write(play("A", 0.4, 200), play("B", 10, 100), play("A", 500, 200))
        dedup = TakeoverDedup(log.store)
        found = dedup.find_duplicate(play("A", 0, 190))
        assert found is not None
        assert found.second == SECOND
        assert dedup.find_duplicate(play("A", 800, 100)) is None
        assert dedup.find_duplicate(play("C", 0, 190)) is None

    def test_over_midnight(self, log: RedisLog) -> None:
        midnight = 6 * 3600
        log.write(play("A", midnight - 1, 200))
        assert TakeoverDedup(log.store).find_duplicate(play("A", midnight + 1, 190)) is not None
        log.write(play("B", midnight + 1, 200))
        assert TakeoverDedup(log.store).find_duplicate(play("B", midnight - 1, 190)) is not None

    def test_what_was_written_meanwhile_is_seen_with_the_next_ones(self, log: RedisLog) -> None:
        dedup = TakeoverDedup(log.store)
        assert dedup.find_duplicate(play("A", 0, 190)) is None
        log.write(play("A", 0.4, 200))
        dedup.clear_cache()
        assert dedup.find_duplicate(play("A", 0, 190)) is not None
