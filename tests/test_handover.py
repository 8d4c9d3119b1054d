from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spotify_logger.handover import Handover, are_one
from tests.keptlog import SECOND, Log, play

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("start", "heard", "expected"),
    [
        pytest.param(0.3, 200, True, id="seen a moment later"),
        pytest.param(100, 90, True, id="its second half"),
        pytest.param(-100, 180, False, id="the repetition before, which overlaps by a little"),
        pytest.param(200, 200, False, id="the next repetition"),
        pytest.param(150, 0, True, id="told without any length"),
        pytest.param(300, 0, False, id="told without any length, later"),
        pytest.param(0, 200, False, id="itself"),
    ],
)
def test_two_plays_of_a_track(start: float, heard: float, *, expected: bool) -> None:
    assert are_one(play("A", 0, 200), play("A", start, heard)) is expected


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        pytest.param(40, True, id="its end was told"),
        pytest.param(100, False, id="later than anybody looks"),
    ],
)
def test_one_whose_end_nobody_saw(end: float, *, expected: bool) -> None:
    left = play("A", 0, 5, None)
    assert are_one(left, play("A", end, 0)) is expected
    assert not are_one(replace(left, end_reason="skipped"), play("A", end, 0))


class TestInRedis:
    @pytest.fixture
    def log(self, redis_url: str) -> Iterator[Log]:
        log = Log(redis_url)
        yield log
        log.close()

    def test_it_is_found(self, log: Log) -> None:
        log.write(play("A", 0.4, 200), play("B", 10, 100), play("A", 500, 200))
        handover = Handover(log.store)
        found = handover.same(play("A", 0, 190))
        assert found is not None
        assert found.second == SECOND
        assert handover.same(play("A", 800, 100)) is None
        assert handover.same(play("C", 0, 190)) is None

    def test_over_midnight(self, log: Log) -> None:
        midnight = 6 * 3600
        log.write(play("A", midnight - 1, 200))
        assert Handover(log.store).same(play("A", midnight + 1, 190)) is not None
        log.write(play("B", midnight + 1, 200))
        assert Handover(log.store).same(play("B", midnight - 1, 190)) is not None

    def test_what_was_written_meanwhile_is_seen_with_the_next_ones(self, log: Log) -> None:
        handover = Handover(log.store)
        assert handover.same(play("A", 0, 190)) is None
        log.write(play("A", 0.4, 200))
        handover.begin()
        assert handover.same(play("A", 0, 190)) is not None
