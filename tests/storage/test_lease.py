"""The lease on a real server, by a clock that the test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.core.redis_keys import LEASE, STATUS
from spotify_logger.storage.client import RedisClient
from spotify_logger.storage.lease import (
    INVALID_LEASE_GRACE,
    MAX_LEASE_SECONDS,
    Lease,
    LeaseState,
)
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Plant = Callable[[redis.Redis], object]

NOW = 1_795_370_400.0
OLD = "7 deadbeefdeadbeef oldpi"
INVALID: dict[str, Plant] = {
    "without an expiry": lambda client: client.set(LEASE, OLD),
    "a far too long expiry": lambda client: client.set(LEASE, OLD, px=round(2000 * MAX_LEASE_SECONDS)),
    "an empty value": lambda client: client.set(LEASE, "", px=86_400_000),
    "not even text": lambda client: client.set(LEASE, b"7 deadbeef \xff\x00"),
    "another type": lambda client: client.rpush(LEASE, OLD),
}


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOW)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def make(redis_url: str, clock: VirtualClock) -> Iterator[Callable[[str], Lease]]:
    made: list[Lease] = []

    def make(identity: str) -> Lease:
        made.append(Lease(RedisClient(redis_url), "", identity, f"pi-{identity}", clock, stood_by=False))
        return made[-1]

    yield make
    for lease in made:
        lease.client.close()


@pytest.mark.parametrize("plant", INVALID.values(), ids=INVALID)
def test_an_invalid_lease_is_taken_over_by_one_logger_once_nobody_writes(
    client: redis.Redis, clock: VirtualClock, make: Callable[[str], Lease], plant: Plant
) -> None:
    client.set("spotify_logger:fence", 7)
    plant(client)
    ours, theirs = make("a"), make("b")
    for number in range(20):
        client.hset(STATUS, "last_poll", f"2026-11-22T18:{number:02}:00.000Z")
        assert ours.ensure() is LeaseState.HELD_BY_OTHER
        assert ours.silent_seconds == 0
        clock.sleep(20)
    silent_from = clock.now - 20
    while clock.now < silent_from + INVALID_LEASE_GRACE:
        assert [ours.ensure(), theirs.ensure()] == [LeaseState.HELD_BY_OTHER] * 2
        clock.sleep(5)
    for _ in range(2):
        assert [ours.ensure(), theirs.ensure()] == [LeaseState.HELD, LeaseState.HELD_BY_OTHER]
        clock.sleep(5)
    assert ours.was_invalid
    assert str(client.get(LEASE)).startswith("8 a pi-a")
    assert ours.fence == 8
    assert 0 < client.pttl(LEASE) <= MAX_LEASE_SECONDS * 1000
    ours.release()
    assert theirs.ensure() is LeaseState.HELD


def test_silence_begins_when_a_write_was_due(
    client: redis.Redis, clock: VirtualClock, make: Callable[[str], Lease]
) -> None:
    client.set(LEASE, OLD, px=86_400)
    client.hset(STATUS, "next_poll", "2026-11-22T18:50:00.000Z")
    lease = make("a")
    for _ in range(100):
        lease.ensure()
        clock.sleep(60)
    assert lease.silent_seconds == 49 * 60
