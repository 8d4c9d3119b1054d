"""A Redis that does not have the log of the state folder is no secret, and gets nothing by mistake."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.storage.outbox import LOG_ID_NOTE
from tests.conftest import start_again
from tests.daemon.recorder.rig import STATUS, BreakableRig, RecorderRig, SpyClient, ended, log_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def elsewhere(redis_url: str) -> Iterator[redis.Redis]:
    """Another log, which has nothing yet."""
    with redis.Redis.from_url(f"{redis_url.removesuffix('/0')}/1", decode_responses=True) as client:
        yield client
        client.flushdb()


def connect_to(rig: RecorderRig, database: int) -> None:
    """Start the logger again, in front of another database of the server."""
    rig.client.close()
    rig.client = SpyClient(f"redis://{rig.client.where}/{database}")
    rig.restart()


def log_id(client: redis.Redis) -> str | None:
    found = client.hget(STATUS, "log_id")
    return None if found is None else str(found)


def test_a_new_state_folder_adopts_the_log_and_an_old_one_keeps_it(rig: RecorderRig) -> None:
    rig.write(ended("A"))
    first = log_id(rig.raw)
    assert first
    assert rig.outbox.note(LOG_ID_NOTE) == first
    other = rig.other_logger()
    assert other.write()
    assert other.outbox.note(LOG_ID_NOTE) == first
    other.close()
    rig.restart()
    assert rig.write()
    assert (log_id(rig.raw), rig.recorder.reconciler.log_trouble) == (first, "")


def test_an_empty_server_gets_plays_and_is_not_taken_for_the_log(
    rig: RecorderRig, elsewhere: redis.Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.write(ended("A"), ended("B", 30))
    first = log_id(rig.raw)
    for _ in range(2):  # also when a restarted logger finds there what it has written
        connect_to(rig, 1)
        log_lines(capsys)
        assert rig.write(ended("C", 60))
        assert [line for line in log_lines(capsys) if "spotify-logger move" in line]
        assert "spotify-logger move" in str(elsewhere.hget(STATUS, "redis_trouble"))
        assert not log_id(elsewhere)
    assert len(elsewhere.hkeys("plays:2026-11-22")) == 3
    elsewhere.hset(STATUS, "log_id", f"0123 {first}")  # as a move does
    assert rig.write()
    assert (rig.recorder.reconciler.log_trouble, elsewhere.hget(STATUS, "redis_trouble")) == ("", "")
    connect_to(rig, 0)
    assert rig.write()
    assert rig.recorder.reconciler.log_trouble == ""
    assert list(rig.index()) == [0, 30, 60]


def test_a_server_that_was_emptied_is_named_although_plays_come_back(rig: RecorderRig) -> None:
    rig.write(ended("A"), ended("B", 30))
    rig.raw.flushall()
    rig.write()
    assert rig.write_after(1)
    assert list(rig.index()) == [0, 30]
    assert "was emptied" in str(rig.raw.hget(STATUS, "redis_trouble"))


@pytest.mark.parametrize("is_from_before", [False, True])
def test_a_backup_is_the_same_log_also_one_from_before_there_were_ids(
    breakable: BreakableRig, tmp_path: Path, *, is_from_before: bool
) -> None:
    breakable.write(ended("A"))
    first = log_id(breakable.raw)
    if is_from_before:
        breakable.raw.hdel(STATUS, "log_id")
    folder, copy = tmp_path / "redis" / "appendonlydir", tmp_path / "copy"
    shutil.copytree(folder, copy)
    breakable.write(ended("B", 30))
    breakable.kill_server()
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    start_again(breakable.server)
    assert breakable.write_after(60)
    assert (log_id(breakable.raw), breakable.recorder.reconciler.log_trouble) == (first, "")
    assert list(breakable.index()) == [0, 30]


def test_the_log_of_another_logger_gets_nothing(rig: RecorderRig, elsewhere: redis.Redis) -> None:
    rig.write(ended("A"))
    elsewhere.hset(STATUS, mapping={"log_id": "0123", "state": "another"})
    elsewhere.hset("forgotten", str(min(rig.outbox.keys())), 9_999_999_999)
    before = {key: elsewhere.hgetall(key) for key in elsewhere.scan_iter()}
    connect_to(rig, 1)
    assert not rig.write(ended("B", 30))
    assert "another logger" in rig.recorder.session.trouble
    assert {key: elsewhere.hgetall(key) for key in elsewhere.scan_iter()} == before
    connect_to(rig, 0)
    assert rig.write()
    assert list(rig.index()) == [0, 30]
