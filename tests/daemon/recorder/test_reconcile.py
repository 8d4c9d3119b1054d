"""What Redis has acknowledged and lost is written again, and nothing else."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.player_state import Item
from spotify_logger.daemon import reconcile
from spotify_logger.storage import outbox as outbox_module
from tests.conftest import start_again
from tests.daemon.recorder.rig import (
    INDEX,
    OUTAGE,
    SECOND,
    STATUS,
    BreakableRig,
    RecorderRig,
    ended,
    fail_at,
    log_lines,
    play,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def test_what_redis_has_acknowledged_waits_no_longer_and_is_kept(rig: RecorderRig) -> None:
    assert rig.write(ended("A"), ended("B", 30))
    assert rig.waiting() == []
    assert rig.write()
    assert rig.client.take_written() == [0, 30]
    assert [known.item.key for known in rig.outbox.kept()] == ["track:A", "track:B"]


@pytest.mark.parametrize("is_saved", [False, True])
def test_a_gap_is_sent_again_when_it_has_grown(rig: RecorderRig, *, is_saved: bool) -> None:
    rig.outbox.put([], gaps={SECOND: OUTAGE})
    rig.write()
    assert rig.raw.hgetall(f"gap:{SECOND}") == OUTAGE
    assert rig.raw.hgetall("gaps") == {str(SECOND): f"{SECOND + 3600} offline"}
    if is_saved:
        rig.write()
    longer = {**OUTAGE, "to": "2026-11-22T20:00:00.000Z"}
    rig.outbox.put([], gaps={SECOND: longer})
    rig.write()
    assert rig.raw.hgetall(f"gap:{SECOND}") == longer
    assert rig.outbox.gaps() == {}


@contextmanager
def restored(rig: BreakableRig, tmp_path: Path) -> Iterator[None]:
    """Kill a server at the end of the block, and restart it with what it had before."""
    folder, copy = tmp_path / "redis" / "appendonlydir", tmp_path / "copy"
    shutil.copytree(folder, copy)
    yield
    rig.kill_server()
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    start_again(rig.server)


def test_what_a_crash_has_taken_is_written_again(
    breakable: BreakableRig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    breakable.write(ended("A"))
    with restored(breakable, tmp_path):
        breakable.write(ended("B", 30), play("C", 60), shown=play("C", 60))
    assert breakable.index() == {0: "track:A 30000"}
    log_lines(capsys)
    assert breakable.write(play("C", 60, 40), shown=play("C", 60))
    assert breakable.index() == {0: "track:A 30000", 30: "track:B 30000", 60: "track:C 40000"}
    assert breakable.fields(30)["end_reason"] == "skipped"
    assert breakable.raw.hget("track:B", "name") == "B"
    assert breakable.raw.get("now_playing") == f"listening:{SECOND + 60}"
    assert any("lost a play" in line for line in log_lines(capsys))
    assert breakable.raw.hmget(STATUS, "restored_plays", "restored_at") == ["1", "2026-11-22T18:00:00.000Z"]


@pytest.mark.parametrize("is_restarted", [False, True])
def test_only_what_an_old_backup_lacks_is_written_again(
    breakable: BreakableRig, tmp_path: Path, *, is_restarted: bool
) -> None:
    breakable.write(ended("A"), play("B", 30))
    with restored(breakable, tmp_path):
        breakable.outbox.put([], gaps={SECOND: OUTAGE})
        breakable.write(ended("B", 30, 60), ended("C", 90), ended("D", 90.5))
    assert breakable.index() == {0: "track:A 30000", 30: "track:B 30000"}
    if is_restarted:
        breakable.restart()
        breakable.load()
    breakable.client.take_written()
    assert breakable.write_after(60)
    assert breakable.client.take_written() == [30, 90, 91]
    assert breakable.index()[30] == "track:B 60000"
    assert breakable.fields(30)["end_reason"] == "skipped"
    assert len(breakable.store.gaps()) == 1


def test_the_kept_plays_come_back_even_after_another_crash(
    breakable: BreakableRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "MAX_KEPT_PLAYS", 50)
    breakable.write(*[ended(f"P{number}", number) for number in range(60)])
    breakable.raw.flushall()
    breakable.restart_server()
    breakable.client.listen(before=fail_at("HSET"))
    assert not breakable.write_after(60)
    breakable.restart()
    breakable.client.listen()
    assert breakable.write_after(60)
    assert list(breakable.index()) == list(range(10, 60))


def test_a_flush_by_mistake_is_noticed_with_the_next_answer(rig: RecorderRig) -> None:
    rig.write(ended("A"), play("B", 30), shown=play("B", 30))
    whole = rig.fields(30)
    rig.raw.flushall()
    rig.write(play("B", 30, 35), shown=play("B", 30))
    assert rig.fields(30).keys() == whole.keys(), "not only the fields that have changed"
    rig.write(play("B", 30, 40), shown=play("B", 30))
    assert rig.index() == {0: "track:A 30000", 30: "track:B 40000"}
    assert rig.raw.hget("track:A", "name") == "A"


@pytest.mark.parametrize("fields", [(), ("name", "album"), ("started_at", "uri")])
def test_an_open_play_that_has_lost_fields_is_whole_again_at_its_end(
    rig: RecorderRig, fields: tuple[str, ...]
) -> None:
    rig.write(play("B"), shown=play("B"))
    whole, key = rig.fields().keys(), f"listening:{SECOND}"
    rig.raw.hdel(key, *fields) if fields else rig.raw.delete(key)
    rig.write(play("B", played=35), shown=play("B", played=35))
    assert fields or rig.fields().keys() == whole
    rig.write(ended("B", played=40))
    assert rig.fields().keys() == {*whole, "end_reason"}
    assert rig.index() == {0: "track:B 40000"}


def test_what_is_left_of_a_play_does_not_take_its_key_from_it(rig: RecorderRig) -> None:
    rig.write(ended("A"))
    whole = rig.fields()
    rig.raw.hdel(f"listening:{SECOND}", *whole.keys() - {"ended_at", "ms_played"})
    rig.restart()
    assert rig.write()
    assert (rig.fields(), rig.index()) == (whole, {0: "track:A 30000"})


def test_a_comparison_that_was_cut_off_or_is_slow_reaches_the_oldest_play(
    rig: RecorderRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.write(*(ended(f"P{day}", -86_400 * day) for day in (5, 4, 3)), play("B", 30))
    rig.raw.flushall()
    monkeypatch.setattr(reconcile, "PLAYS_PER_QUERY", 1)
    rig.client.listen(before=fail_at("HGETALL"))
    rig.write(play("B", 30, 35))
    assert not rig.write_after(0)
    rig.client.listen(after=lambda _: rig.clock.sleep(2))  # three batches take longer than a turn may
    for _ in range(3):
        rig.write_after(60)
    assert len(rig.raw.keys("listening:*")) == 4


@pytest.mark.parametrize(
    "lost", [f"listening:{SECOND}", "plays:2026-11-22", "track:A", f"gap:{SECOND}", "gaps"]
)
def test_any_lost_key_is_found_within_an_hour(rig: RecorderRig, lost: str) -> None:
    rig.outbox.put([], gaps={SECOND: OUTAGE})
    rig.write(ended("A"))
    expected = rig.raw.hgetall(lost)
    rig.raw.delete(lost)
    assert rig.write_after(reconcile.INTERVAL)
    assert rig.raw.hgetall(lost) == expected


def test_a_deleted_play_stays_away(rig: RecorderRig) -> None:
    rig.write(ended("A"), ended("B", 30))
    rig.raw.hset("forgotten", str(SECOND), SECOND + 30)
    rig.raw.delete(f"listening:{SECOND}")
    rig.raw.hdel("plays:2026-11-22", str(SECOND))
    assert rig.write_after(reconcile.INTERVAL)
    rig.raw.flushall()
    assert rig.write_after(reconcile.INTERVAL)
    assert list(rig.index()) == [30]
    assert rig.raw.hkeys("forgotten") == [str(SECOND)]


def test_a_deletion_is_noticed_with_the_next_save_of_the_open_play(rig: RecorderRig) -> None:
    rig.write(ended("A"), play("B", 30))
    rig.raw.hset("forgotten", str(SECOND), SECOND + 30)
    assert rig.write()
    rig.recorder.save()
    assert rig.write()
    assert rig.outbox.is_deleted(ended("A"))


def test_a_newer_state_of_another_logger_stays(rig: RecorderRig) -> None:
    rig.write(ended("A"))
    rig.raw.hset(f"listening:{SECOND}", mapping={"ended_at": "2026-11-22T18:01:00.000Z", "ms_played": 60_000})
    rig.raw.hset("plays:2026-11-22", str(SECOND), "track:A 60000 skipped")
    assert rig.write_after(reconcile.INTERVAL)
    assert rig.index() == {0: "track:A 60000"}


@pytest.mark.parametrize("start", [60, 0])
def test_a_play_that_gave_way_to_a_better_account_stays_away(
    rig: RecorderRig, capsys: pytest.CaptureFixture[str], start: int
) -> None:
    guess = replace(ended("A", 0, 100), source="backfill")
    rig.write(guess, ended("B", 100))
    better = replace(ended("A", start, 98 - start), source="import")
    rig.raw.delete(f"listening:{SECOND}")
    rig.raw.hdel(INDEX, str(SECOND))
    with rig.store.batch() as batch:
        batch.write_play(better.second, better.to_hash(), better.index)
    log_lines(capsys)
    assert rig.write_after(reconcile.INTERVAL)
    assert rig.index() == {start: f"track:A {better.ms_played}", 100: "track:B 30000"}
    assert log_lines(capsys) == []
    rig.raw.hset("forgotten", str(better.second), SECOND + 100)
    rig.raw.delete(f"listening:{better.second}")
    rig.raw.hdel(INDEX, str(better.second))
    assert rig.write_after(reconcile.INTERVAL)
    assert rig.index() == {100: "track:B 30000"}


def test_a_play_that_gave_way_to_one_with_a_pause_and_another_id_stays_away(rig: RecorderRig) -> None:
    guess = replace(ended("A", 300, 200), source="backfill")
    rig.write(guess)
    rig.raw.delete(f"listening:{guess.second}")
    rig.raw.hdel(INDEX, str(guess.second))
    fields = {**guess.fields, "uri": "spotify:track:other", "id": "other"}
    paused = replace(ended("A", 0, 200), source="import", ended_ms=guess.ended_ms, fields=fields)
    paused = replace(paused, item=Item("track:other", "spotify:track:other", None, {}))
    with rig.store.batch() as batch:
        batch.write_play(paused.second, paused.to_hash(), paused.index)
    assert rig.write_after(reconcile.INTERVAL)
    assert rig.index() == {0: "track:other 200000"}


def test_a_tombstone_that_an_import_has_lifted_does_not_come_back(rig: RecorderRig) -> None:
    rig.write(ended("A"))
    rig.raw.hset("forgotten", str(SECOND + 900), SECOND + 930)
    assert rig.write_after(reconcile.INTERVAL)
    rig.raw.hset("forgotten", str(SECOND + 900), "restored")
    rig.raw.delete(f"listening:{SECOND}")  # so that everything is compared
    assert rig.write_after(reconcile.INTERVAL)
    assert rig.raw.hgetall("forgotten") == {str(SECOND + 900): "restored"}
