from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.matching import identity
from spotify_logger.daemon.reconcile import Takeover, Tombstones
from spotify_logger.storage.outbox import Listen, Outbox, OutboxPlay
from tests.redis_log import SECOND, RedisLog, item, play

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.core.play import Play
    from spotify_logger.core.player_state import Item

MIDNIGHT = 6 * 3600


class Queue:
    """Plays that an earlier process has left in the outbox, in front of a log."""

    def __init__(self, log: RedisLog, path: Path) -> None:
        self.log = log
        self.outbox = Outbox(path, lambda: 0.0)
        self.outbox.listens_of = lambda _: ()
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


def test_of_two_plays_that_a_backfill_took_for_one_both_are_sent(queue: Queue) -> None:
    queue.log.write(play("A", 0, 84, source="backfill"))
    assert queue.is_sent(play("A", 0.4, 20))
    assert queue.is_sent(play("A", 20.4, 63))
    assert [row.key - SECOND for row in queue.outbox.waiting(9)] == [0, 20]


@pytest.mark.parametrize("offset", [-1, 1])
def test_it_is_found_across_midnight(queue: Queue, offset: int) -> None:
    queue.log.write(play("A", MIDNIGHT - offset, 200))
    assert not queue.is_sent(play("A", MIDNIGHT + offset, 190))


OF_ACCOUNT_DATA = item("A", "local:a", uri="spotify:local:Daft+Punk::A:0", album=None, duration_ms=None)


def imported(what: str | Item, start: float, heard: float) -> Play:
    """An imported play; account data names no device."""
    found = play(what, start, heard, source="import")
    names = {"uri", "type", "name", "artists"} | ({"id", "device_name"} if isinstance(what, str) else set())
    return replace(found, fields={name: value for name, value in found.fields.items() if name in names})


@pytest.mark.parametrize("is_own", [False, True])
@pytest.mark.parametrize(
    ("ours", "theirs", "kept"),
    [
        pytest.param(play("A", 1, 200), imported("A", 0, 200), [1], id="live"),
        pytest.param(play("A", 1, 200), imported(OF_ACCOUNT_DATA, -20, 200), [1], id="live, account data"),
        pytest.param(
            play("A", 9, 200, source="backfill"), imported(OF_ACCOUNT_DATA, 119, 61), [9], id="account data"
        ),
        pytest.param(play("A", 9, 200, source="backfill"), imported("A", 149, 60), [149], id="backfill"),
        pytest.param(
            play("A", 9, 200, source="backfill"), imported("A", -60, 60), [-60, 9], id="the one before"
        ),
        pytest.param(play("A", 1, 200), imported("B", 0, 200), [0, 1], id="another track"),
    ],
)
def test_an_import_is_replaced_if_it_is_the_worse_account(
    queue: Queue, ours: Play, theirs: Play, kept: list[int], *, is_own: bool
) -> None:
    queue.log.write(theirs)
    if is_own:
        queue.takeover.remember(ours)
    if queue.is_sent(ours):
        queue.log.write(ours)
    assert sorted(int(second) - SECOND for second in queue.log.kept("plays:2026-11-22")) == kept
    assert {f"listening:{SECOND + second}" for second in kept} == {
        name for name in queue.log.names() if name.startswith("listening:")
    }


@pytest.mark.parametrize(
    ("ours", "theirs", "forwarded"),
    [
        (play("A", 1, 190), play("A", 0, 200), 0),
        (play("A", 1, 200), play("A", 0, 200, source="backfill"), 0),
        (play("A", 9, 200, source="backfill"), imported("A", 149, 60), 1),
    ],
)
def test_a_play_is_forwarded_unless_another_logger_does(
    queue: Queue, ours: Play, theirs: Play, forwarded: int
) -> None:
    queue.outbox.listens_of = lambda row: [Listen(1, *identity(row.play), row.key, "{}")]
    queue.log.write(theirs)
    queue.is_sent(ours)
    assert queue.outbox.count(1) == forwarded


def test_what_this_process_took_for_two_plays_stays_two(queue: Queue) -> None:
    queue.log.write(play("A", 0, 200, source="backfill"))
    repeated = play("A", 199.5, 1)
    queue.takeover.remember(repeated)
    assert queue.is_sent(repeated)
    assert [row.key - SECOND for row in queue.outbox.waiting(9)] == [199]
