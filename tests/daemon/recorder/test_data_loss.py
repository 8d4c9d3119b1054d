"""Plays stay in the outbox until Redis has saved them, and are sent again to a Redis that lost them."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from spotify_logger.daemon.recorder import PERSISTENCE_CHECK_INTERVAL
from spotify_logger.storage import outbox as outbox_module
from spotify_logger.storage.durability import ONE_DAY
from tests.conftest import start_again, wait_until
from tests.daemon.recorder.rig import (
    OUTAGE,
    SECOND,
    STATUS,
    BreakableRig,
    RecorderRig,
    ended,
    fail_at,
    play,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import redis


def make_snapshot(raw: redis.Redis) -> None:
    raw.bgsave()
    wait_until(lambda: not raw.info("persistence")["rdb_bgsave_in_progress"])
    assert raw.info("persistence")["rdb_last_bgsave_status"] == "ok"


class TestSaving:
    """Until Redis has saved a play, it stays in the outbox, but is not sent again."""

    @pytest.mark.usefixtures("waitaof")
    def test_an_append_only_file_saves_when_it_is_synced(self, breakable: BreakableRig) -> None:
        assert breakable.write(ended("A"), ended("B", 30))
        assert breakable.waiting() == [0, 30]
        wait_until(lambda: breakable.write() and not breakable.waiting())
        assert breakable.link.take_written() == [0, 30]
        assert len(breakable.outbox) == 0
        assert [known.item.key for known in breakable.outbox.kept()] == ["track:A", "track:B"]

    @pytest.mark.usefixtures("waitaof")
    @pytest.mark.parametrize(
        ("setting", "value", "words"),
        [
            ("appendfsync", "no", "append-only file"),
            ("appendonly", "no", "none: it forgets with its next restart"),
        ],
    )
    def test_without_any_proof_a_day_is_enough(
        self, breakable: BreakableRig, setting: str, value: str, words: str
    ) -> None:
        breakable.raw.config_set(setting, value)
        breakable.write(ended("A"))
        assert breakable.raw.hget(STATUS, "persistence") == words
        for wait in (1, 3600, ONE_DAY - 3602):
            breakable.write_after(wait)
            assert len(breakable.outbox) == 1
        breakable.write_after(PERSISTENCE_CHECK_INTERVAL)
        assert len(breakable.outbox) == 0
        assert breakable.link.take_written() == [0]

    def test_snapshots_save_what_was_written_before_they_began(self, breakable: BreakableRig) -> None:
        breakable.raw.config_set("appendonly", "no")
        breakable.raw.config_set("save", "3600 1")
        make_snapshot(breakable.raw)
        breakable.write(ended("A"))
        assert breakable.raw.hget(STATUS, "persistence") == "snapshots"
        breakable.write_after(ONE_DAY)
        assert len(breakable.outbox) == 1
        second, _ = breakable.raw.time()
        wait_until(lambda: breakable.raw.time() > (second + 2, 50_000))  # its clock may be a little late
        make_snapshot(breakable.raw)
        breakable.write_after(PERSISTENCE_CHECK_INTERVAL)
        assert len(breakable.outbox) == 0

    @pytest.mark.usefixtures("waitaof")
    def test_a_newer_state_has_to_be_saved_too(self, breakable: BreakableRig) -> None:
        breakable.raw.config_set("appendfsync", "no")
        breakable.write(ended("A"))
        breakable.add(ended("A", played=60))
        breakable.raw.config_set("appendfsync", "always")
        breakable.link.listen(before=fail_at("HSET"))
        assert not breakable.write()
        breakable.link.listen()
        assert breakable.waiting() == [0]
        breakable.write_after(60)
        assert breakable.index() == {0: "track:A 60000"}

    @pytest.mark.usefixtures("waitaof")
    @pytest.mark.parametrize("is_saved", [False, True])
    def test_a_gap_is_sent_again_when_it_has_grown(self, rig: RecorderRig, *, is_saved: bool) -> None:
        rig.outbox.put_gap(SECOND, OUTAGE)
        rig.write()
        assert rig.raw.hgetall(f"gap:{SECOND}") == OUTAGE
        assert rig.raw.hgetall("gaps") == {str(SECOND): f"{SECOND + 3600} offline"}
        assert len(rig.outbox.waiting_gaps()) == 1
        if is_saved:
            rig.write()
            assert rig.outbox.waiting_gaps() == []
        longer = {**OUTAGE, "to": "2026-11-22T20:00:00.000Z"}
        rig.outbox.put_gap(SECOND, longer)
        for _ in range(2):
            rig.write()
        assert rig.raw.hgetall(f"gap:{SECOND}") == longer
        assert rig.outbox.waiting_gaps() == []


@contextmanager
def forgotten(breakable: BreakableRig, tmp_path: Path) -> Iterator[None]:
    """Kill a server at the end of the block, and restart it with what it had before."""
    folder, copy = tmp_path / "redis" / "appendonlydir", tmp_path / "copy"
    shutil.copytree(folder, copy)
    yield
    breakable.kill_server()
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    start_again(breakable.server)


class TestSendingAgain:
    def test_what_was_lost_before_it_was_saved(self, breakable: BreakableRig, tmp_path: Path) -> None:
        breakable.raw.config_set("appendfsync", "no")
        breakable.write(ended("A"))
        with forgotten(breakable, tmp_path):
            breakable.write(ended("B", 30), play("C", 60), shown=play("C", 60))
        assert breakable.index() == {0: "track:A 30000"}
        assert breakable.write(play("C", 60, 40), shown=play("C", 60))
        assert breakable.index() == {0: "track:A 30000", 30: "track:B 30000", 60: "track:C 40000"}
        assert breakable.fields(30)["end_reason"] == "skipped"
        assert breakable.raw.hget("track:B", "name") == "B"
        assert breakable.raw.get("now_playing") == f"listening:{SECOND + 60}"

    @pytest.mark.usefixtures("waitaof")
    @pytest.mark.parametrize("is_restarted", [False, True])
    def test_what_an_old_backup_lacks_and_nothing_else(
        self, breakable: BreakableRig, tmp_path: Path, *, is_restarted: bool
    ) -> None:
        breakable.raw.config_set("appendfsync", "always")
        breakable.write(ended("A"), play("B", 30))
        breakable.write()
        with forgotten(breakable, tmp_path):
            breakable.outbox.put_gap(SECOND, OUTAGE)
            breakable.write(ended("B", 30, 60), ended("C", 90), ended("D", 90.5))
            breakable.write()
            assert len(breakable.outbox) == 0
        assert breakable.index() == {0: "track:A 30000", 30: "track:B 30000"}
        if is_restarted:
            breakable.restart()
            breakable.load()
        breakable.link.take_written()
        assert breakable.write_after(60)
        assert breakable.link.take_written() == [30, 90, 91]
        assert breakable.index()[30] == "track:B 60000"
        assert breakable.fields(30)["end_reason"] == "skipped"
        assert len(breakable.store.gaps()) == 1

    @pytest.mark.usefixtures("waitaof")
    def test_the_newest_plays_even_after_another_crash(
        self, breakable: BreakableRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outbox_module, "MAX_KEPT_PLAYS", 50)
        breakable.raw.config_set("appendfsync", "always")
        breakable.write(*[ended(f"P{number}", number) for number in range(60)])
        breakable.write()
        breakable.raw.flushall()
        breakable.restart_server()
        breakable.link.listen(before=fail_at("HSET"))
        assert not breakable.write_after(60)
        breakable.restart()
        breakable.link.listen()
        assert breakable.write_after(60)
        assert list(breakable.index()) == list(range(10, 60))

    @pytest.mark.usefixtures("waitaof")
    def test_nothing_after_a_flush_by_hand(self, rig: RecorderRig) -> None:
        rig.write(ended("A"))
        rig.write()
        rig.raw.flushall()
        rig.raw.client_kill_filter(_type="normal", skipme=True)
        assert rig.write_after(60)
        assert rig.index() == {}
