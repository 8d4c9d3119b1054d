"""The lease on a real server, by a clock that the test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.core.redis_keys import LEASE, STATUS
from spotify_logger.storage.connection import RedisLink
from spotify_logger.storage.lease import (
    INVALID_LEASE_GRACE,
    MAX_LEASE_SECONDS,
    Lease,
    LeaseState,
    read_holder,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from spotify_logger.storage.connection import Command, Reply

    Plant = Callable[[redis.Redis], object]

OLD = "7 deadbeefdeadbeef oldpi"
VOID: dict[str, Plant] = {
    "without an end": lambda client: client.set(LEASE, OLD),
    "far beyond any": lambda client: client.set(LEASE, OLD, px=round(2000 * MAX_LEASE_SECONDS)),
    "no lease": lambda client: client.set(LEASE, "x"),
    "empty": lambda client: client.set(LEASE, "", px=86_400_000),
    "not even text": lambda client: client.set(LEASE, b"7 deadbeef \xff\x00"),
    "a list": lambda client: client.rpush(LEASE, OLD),
    "a hash": lambda client: client.hset(LEASE, "holder", OLD),
}


class HandClock:
    """Shows what the test sets it to."""

    def __init__(self) -> None:
        self.now = 1_795_370_400.0

    def monotonic(self) -> float:
        return self.now

    def utc(self) -> float:
        return self.now

    def correct(self, date: float) -> None:
        pass

    def is_synchronized(self) -> bool:
        return True

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def make(redis_url: str, clock: HandClock) -> Iterator[Callable[[str], Lease]]:
    made: list[Lease] = []

    def make(identity: str) -> Lease:
        made.append(Lease(RedisLink(redis_url), "", identity, f"pi-{identity}", clock, stood_by=False))
        return made[-1]

    yield make
    for lease in made:
        lease.close()


@pytest.mark.parametrize("plant", VOID.values(), ids=VOID)
def test_a_void_one_is_taken_over_by_one_logger(
    client: redis.Redis, clock: HandClock, make: Callable[[str], Lease], plant: Plant
) -> None:
    client.set("spotify_logger:fence", 7)
    plant(client)
    ours, theirs = make("a"), make("b")
    while clock.now < 1_795_370_400 + INVALID_LEASE_GRACE:
        assert [ours.check(), theirs.check()] == [LeaseState.HELD_BY_OTHER] * 2
        clock.sleep(5)
    assert [ours.check(), theirs.check()] == [LeaseState.HELD, LeaseState.HELD_BY_OTHER]
    assert ours.invalid_reason
    assert read_holder(client.get(LEASE)) is not None
    assert ours.fence == 8
    assert 0 < client.pttl(LEASE) <= MAX_LEASE_SECONDS * 1000
    clock.sleep(5)
    assert [ours.check(), theirs.check()] == [LeaseState.HELD, LeaseState.HELD_BY_OTHER]


@pytest.mark.parametrize("plant", VOID.values(), ids=VOID)
def test_it_stands_for_as_long_as_somebody_writes(
    client: redis.Redis, clock: HandClock, make: Callable[[str], Lease], plant: Plant
) -> None:
    plant(client)
    lease = make("a")
    for number in range(40):
        client.hset(STATUS, "last_poll", f"2026-11-22T18:{number:02}:00.000Z")
        assert lease.check() is LeaseState.HELD_BY_OTHER
        assert lease.silent_seconds == 0
        clock.sleep(20)


def test_one_that_another_logger_has_renewed_meanwhile_is_not_dropped(
    client: redis.Redis, clock: HandClock, make: Callable[[str], Lease]
) -> None:
    client.set(LEASE, "x")
    lease = make("a")
    lease.check()
    clock.sleep(INVALID_LEASE_GRACE)
    send = lease._link.send

    def send_late(commands: Sequence[Command]) -> list[Reply]:
        if commands[0][0] == "EVAL":
            client.set(LEASE, OLD, px=25_000)
        return send(commands)

    lease._link.send = send_late  # type: ignore[method-assign]
    assert lease.check() is LeaseState.HELD_BY_OTHER
    assert client.get(LEASE) == OLD


def test_the_silence_begins_when_a_write_was_due(
    client: redis.Redis, clock: HandClock, make: Callable[[str], Lease]
) -> None:
    client.set(LEASE, OLD, px=86_400)
    client.hset(STATUS, "next_poll", "2026-11-22T18:50:00.000Z")
    lease = make("a")
    for _ in range(100):
        lease.check()
        clock.sleep(60)
    assert lease.silent_seconds == 49 * 60
