from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.redis_keys import TOMBSTONES
from spotify_logger.daemon.reconcile import MAX_TOMBSTONES, Tombstones
from spotify_logger.storage.outbox import Outbox
from spotify_logger.storage.store import Store
from tests.testbed.fake_redis import FakeRedis
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECOND = 1_795_370_400  # 2026-11-22T18:00:00Z


@pytest.fixture
def store() -> Store:
    clock = VirtualClock(SECOND)
    return Store("", connect=FakeRedis(clock.utc, clock.sleep).client)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.sqlite", lambda: 0.0)
    yield outbox
    outbox.close()


def delete(store: Store, *seconds: int) -> None:
    with store.batch() as batch:
        batch.write_hash(TOMBSTONES, {str(second): second + 200 for second in seconds})


def test_the_newest_are_kept_across_restarts(store: Store, outbox: Outbox) -> None:
    delete(store, *range(SECOND, SECOND + MAX_TOMBSTONES + 3))
    tombstones = Tombstones(store, outbox)
    tombstones.refresh()
    newest = list(range(SECOND + 3, SECOND + MAX_TOMBSTONES + 3))
    assert list(tombstones.plays) == newest
    assert list(Tombstones(store, outbox).plays) == newest


def test_those_that_redis_has_lost_are_restored(store: Store, outbox: Outbox) -> None:
    tombstones = Tombstones(store, outbox)
    delete(store, SECOND, SECOND + 1)
    tombstones.refresh()
    store.client.send([("DEL", TOMBSTONES)])
    store.close()
    delete(store, SECOND + 2)
    tombstones.refresh(force=True)
    tombstones.restore()
    assert list(tombstones.plays) == [SECOND, SECOND + 1, SECOND + 2]
    assert store.tombstones() == tombstones.plays


def test_invalid_notes_count_as_none(store: Store, outbox: Outbox) -> None:
    outbox.set_note(TOMBSTONES, '{"a": 1}')
    assert Tombstones(store, outbox).plays == {}


def test_entries_of_other_programs_are_skipped(store: Store, outbox: Outbox) -> None:
    store.client.connect()
    tombstones = Tombstones(store, outbox)
    store.client.send([("HSET", TOMBSTONES, "us", "all", str(SECOND), str(SECOND + 9))])
    tombstones.refresh()
    assert tombstones.plays == {SECOND: SECOND + 9}
    store.client.send([("SET", TOMBSTONES, "not a hash")])
    tombstones.refresh(force=True)
    assert tombstones.plays == {SECOND: SECOND + 9}
