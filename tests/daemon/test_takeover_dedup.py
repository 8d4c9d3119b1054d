from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spotify_logger.daemon.takeover_dedup import Handover
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
        handover = Handover(log.store)
        found = handover.same(play("A", 0, 190))
        assert found is not None
        assert found.second == SECOND
        assert handover.same(play("A", 800, 100)) is None
        assert handover.same(play("C", 0, 190)) is None

    def test_over_midnight(self, log: RedisLog) -> None:
        midnight = 6 * 3600
        log.write(play("A", midnight - 1, 200))
        assert Handover(log.store).same(play("A", midnight + 1, 190)) is not None
        log.write(play("B", midnight + 1, 200))
        assert Handover(log.store).same(play("B", midnight - 1, 190)) is not None

    def test_what_was_written_meanwhile_is_seen_with_the_next_ones(self, log: RedisLog) -> None:
        handover = Handover(log.store)
        assert handover.same(play("A", 0, 190)) is None
        log.write(play("A", 0.4, 200))
        handover.begin()
        assert handover.same(play("A", 0, 190)) is not None
