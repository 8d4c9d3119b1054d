from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spotify_logger.daemon.recorder import NOW_PLAYING_GRACE
from spotify_logger.storage.outbox import LOG_ID_NOTE
from tests.conftest import start_again
from tests.daemon.recorder.rig import (
    SECOND,
    STATUS,
    BreakableRig,
    RecorderRig,
    ended,
    fail_at,
    log_lines,
    play,
    tracker_state,
)
from tests.testbed.fake_redis import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from spotify_logger.core.play import Play
    from spotify_logger.storage.client import Command


class TestRecorderWrites:
    def test_a_play_comes_with_index_item_and_status(self, rig: RecorderRig) -> None:
        assert rig.write()
        assert rig.raw.keys() == [STATUS]
        assert rig.write(play("A"))
        assert rig.fields() == {name: str(value) for name, value in play("A").to_hash().items()}
        assert rig.index() == {0: "track:A 30000"}
        assert rig.raw.hgetall("track:A") == {"name": "A", "album": "Discovery"}
        assert rig.raw.hgetall(STATUS) == {
            "log_id": rig.outbox.note(LOG_ID_NOTE),
            "state": "well",
            "tracker": tracker_state(0, play("A")),
            "last_play": f"listening:{SECOND}",
            "outbox": "0",
            "outbox_trouble": "",
            "redis_trouble": "",
            "persistence": "append-only file",
        }

    def test_the_status_names_the_play_that_started_last(self, rig: RecorderRig) -> None:
        rig.write(ended("C", 300), ended("B", 200), at=330)
        rig.write()
        rig.restart()
        rig.load()
        rig.write(ended("A"), at=400)
        assert rig.raw.hget(STATUS, "last_play") == f"listening:{SECOND + 300}"


class FullDisk:
    """A disk that can be full."""

    def __init__(self) -> None:
        self.is_full = False
        disk = self

        class FullDiskConnection(sqlite3.Connection):
            def commit(self) -> None:
                if disk.is_full:
                    raise sqlite3.OperationalError("database or disk is full")
                super().commit()

        self._connection = FullDiskConnection

    def connect(self, name: str) -> sqlite3.Connection:
        return sqlite3.connect(name, isolation_level=None, factory=self._connection)


def closed_on_disk(path: Path, key: int) -> list[int]:
    """Return whether a play has ended according to the file; [] if it is not there."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    found = database.execute("SELECT closed FROM plays WHERE key = ?", (key,)).fetchall()
    database.close()
    return [closed for (closed,) in found]


class TestRecorderDisk:
    def test_beginning_and_end_are_on_disk_before_redis_gets_them(self, rig: RecorderRig) -> None:
        checked = []

        def check(commands: Sequence[Command]) -> None:
            for command in map(plain, commands):
                if command[0] == "HSET" and str(command[1]).startswith("listening:"):
                    key = int(str(command[1]).removeprefix("listening:"))
                    (closed,) = closed_on_disk(rig.path, key)
                    assert closed == ("end_reason" in command[2::2])
                    checked.append((key - SECOND, closed))

        rig.client.listen(before=check)
        rig.write(play("A"))
        rig.write(play("A", played=40))
        rig.write(ended("A", played=60), play("B", 60))
        rig.write(ended("B", 60), ended("C", 90), play("D", 90.5))
        rig.write(replace(ended("X", 45), source="backfill"))
        assert checked == [
            *[(0, 0), (0, 0)],
            *[(0, 1), (60, 0)],
            *[(60, 1), (90, 1), (91, 0)],
            *[(45, 1), (91, 0)],
        ]

    def test_the_open_play_is_saved_every_thirty_seconds_but_only_while_redis_is_away(
        self, breakable: BreakableRig
    ) -> None:
        for second in range(0, 600, 30):
            breakable.write(play("A", played=second))
            breakable.clock.sleep(30)
        assert [row.play.ms_played for row in breakable.outbox.waiting(9)] == [0]
        breakable.server.stop()
        saved = []
        for second in range(600, 725, 5):
            assert not breakable.write(play("A", played=second), at=second)
            (row,) = breakable.outbox.waiting(9)
            assert json.loads(breakable.outbox.note("tracker"))["play"][1] == row.play.ms_played
            saved.append(row.play.ms_played // 1000)
            breakable.clock.sleep(5)
        assert saved == [second // 30 * 30 for second in range(600, 725, 5)]

    def test_while_it_is_full_redis_gets_the_plays_and_the_disk_follows(
        self, breakable: BreakableRig, capsys: pytest.CaptureFixture[str]
    ) -> None:
        disk = FullDisk()
        breakable.restart(disk.connect)
        disk.is_full = True
        assert breakable.write(ended("A"), play("B", 30))
        assert "is full" in (breakable.raw.hget(STATUS, "outbox_trouble") or "")
        breakable.kill_server()
        assert not breakable.write(ended("B", 30, 60), play("C", 90))
        assert closed_on_disk(breakable.path, SECOND) == []
        disk.is_full = False
        breakable.clock.sleep(60)
        assert not breakable.write(play("C", 90, 60))
        breakable.restart()
        start_again(breakable.server)
        assert breakable.write_after(60)
        assert breakable.index() == {0: "track:A 30000", 30: "track:B 60000", 90: "track:C 60000"}
        assert len([line for line in log_lines(capsys) if "outbox.sqlite" in line]) == 2


class TestFreeSeconds:
    def test_plays_move_to_the_next_free_second_and_stay_there(self, rig: RecorderRig) -> None:
        rig.raw.hset(f"listening:{SECOND}", mapping={"started_at": "2026-11-22T18:00:00.500Z", "uri": "x"})
        rig.raw.set(f"listening:{SECOND + 2}", "no play at all")
        rig.write(play("A", 0, 1))
        rig.write(ended("A", 0, 1), play("B", 1, 1))
        assert rig.write(play("B", 1, 7))
        assert rig.index() == {1: "track:A 1000", 3: "track:B 7000"}
        assert rig.fields()["uri"] == "x"
        assert [rig.fields(second)["name"] for second in (1, 3)] == ["A", "B"]

    def test_seconds_of_queued_plays_and_of_other_loggers_are_taken(self, rig: RecorderRig) -> None:
        rig.raw.set(f"listening:{SECOND}", "no play at all")
        rig.write(ended("A"), ended("B", 1), ended("C", 2))
        assert rig.index() == {1: "track:B 30000", 2: "track:C 30000", 3: "track:A 30000"}
        other = rig.other_logger()
        other.write(ended("D", 2.5))
        assert rig.index()[4] == "track:D 30000"
        other.close()


class TestNowPlayingKey:
    def test_it_names_the_key_of_the_open_play_until_after_the_next_answer(self, rig: RecorderRig) -> None:
        rig.raw.set(f"listening:{SECOND}", "no play at all")
        rig.write(play("A"), shown=play("A"), due=5)
        assert rig.raw.get("now_playing") == f"listening:{SECOND + 1}"
        assert 0 < int(rig.raw.pttl("now_playing")) <= (5 + NOW_PLAYING_GRACE) * 1000
        rig.write(shown=play("A"), due=600)
        assert int(rig.raw.pttl("now_playing")) > 600_000
        rig.write()
        assert rig.raw.get("now_playing") == f"listening:{SECOND + 1}", "left to expire"
        rig.write(ended("A"), play("B", 30), shown=play("B", 30))
        assert rig.raw.get("now_playing") == f"listening:{SECOND + 30}"

    def test_it_is_cleared_once_when_the_play_ends(self, rig: RecorderRig) -> None:
        rig.write(play("A"), shown=play("A"))
        rig.write(play("A", reason="stopped"))
        assert rig.raw.get("now_playing") is None
        rig.raw.set("now_playing", "of another logger")
        rig.write()
        assert rig.raw.get("now_playing") == "of another logger"

    def test_it_is_cleared_after_restarts_and_outages(self, rig: RecorderRig) -> None:
        rig.write(play("A"), shown=play("A"), due=600)
        rig.restart()
        rig.load()
        rig.client.listen(before=fail_at("HSET"))
        assert not rig.write(play("A", reason="stopped"))
        rig.client.listen()
        assert rig.write_after(60)
        assert rig.raw.get("now_playing") is None


class TestLoading:
    """A process continues from the disk or from Redis, whichever is newer."""

    def test_an_empty_disk_waits_for_redis(
        self, breakable: BreakableRig, capsys: pytest.CaptureFixture[str]
    ) -> None:
        breakable.server.stop()
        had_history = breakable.recorder.has_history
        assert breakable.recorder.load() is None
        connects = breakable.client.connects
        assert breakable.recorder.load() is None
        assert not breakable.write()
        assert breakable.client.connects == connects, "it waits before the next try"
        start_again(breakable.server)
        breakable.clock.sleep(1)
        assert breakable.load()[:2] == (None, "")
        assert (had_history, breakable.recorder.has_history) == (False, True)
        assert len(log_lines(capsys)) == 2

    def test_without_redis_the_disk_is_enough(self, breakable: BreakableRig) -> None:
        breakable.write(play("A", played=0), at=0)
        breakable.server.stop()
        breakable.clock.sleep(40)
        assert not breakable.write(play("A", played=40), at=40)
        breakable.restart()
        assert breakable.recorder.has_history
        assert breakable.load() == (play("A", played=40), tracker_state(40, play("A", played=40)), {})
        assert not breakable.write(ended("A", played=60), play("B", 60))
        start_again(breakable.server)
        assert breakable.write_after(60)
        assert breakable.index() == {0: "track:A 60000", 60: "track:B 30000"}

    @pytest.mark.parametrize(
        ("in_redis", "played"), [(None, 50), ("{", 0), ('{"answered": "soon"}', 0)], ids=str
    )
    def test_a_newer_state_in_redis_counts_if_it_is_valid(
        self, rig: RecorderRig, in_redis: str | None, played: int
    ) -> None:
        rig.write(play("A", played=0), at=0)
        rig.write(play("A", played=50), at=50)
        if in_redis is not None:
            rig.raw.hset(STATUS, "tracker", in_redis)
        rig.restart()
        newest, tracker, status = rig.load()
        assert (newest, tracker) == (
            play("A", played=played),
            tracker_state(played, play("A", played=played)),
        )
        assert status["state"] == "well"

    def test_a_newer_state_on_disk_counts(self, rig: RecorderRig) -> None:
        rig.write(play("A", played=50), at=50)
        rig.client.listen(before=fail_at("HSET"))
        assert not rig.write(ended("A", played=40), play("B", 60), at=60)
        rig.restart()
        rig.client.listen()
        assert rig.load()[:2] == (play("B", 60), tracker_state(60, play("B", 60)))
        assert rig.write()
        assert rig.index() == {0: "track:A 40000", 60: "track:B 30000"}
        assert rig.fields()["end_reason"] == "skipped"
        rig.raw.flushall()
        rig.restart()
        assert rig.load() == (play("B", 60), tracker_state(60, play("B", 60)), {"log_id": ""})

    def test_a_new_state_folder_continues_from_redis(self, rig: RecorderRig) -> None:
        rig.raw.set(f"listening:{SECOND}", "no play at all")
        rig.write(ended("A"), play("B", 30), at=60)
        rig.write(play("B", 30, 60), at=90)
        other = rig.other_logger()
        newest, tracker, _ = other.load()
        assert newest is not None
        assert (newest.second, newest.ms_played) == (SECOND + 30, 60_000)
        assert tracker == tracker_state(90, play("B", 30, 60))
        assert [known.item.key for known in other.outbox.kept()] == ["track:A", "track:B"]
        assert other.outbox.key(ended("A")) == SECOND + 1
        other.client.take_written()
        assert other.write(replace(newest, ended_ms=newest.ended_ms + 9000, end_reason="skipped"))
        assert other.client.take_written() == [30]
        assert (rig.fields(30)["end_reason"], rig.fields(30)["name"]) == ("skipped", "B")
        assert rig.raw.hget("track:B", "album") == "Discovery"
        other.close()

    def test_backfilled_plays_are_not_continued(self, rig: RecorderRig) -> None:
        rig.write(replace(play("X", 20, 5, reason="unknown"), source="backfill"), at=40)
        rig.write(play("A", played=60), at=60)
        other = rig.other_logger()
        assert (other.load()[0] or play("none")).item.key == "track:A"
        other.close()

    @pytest.mark.parametrize("is_last", [True, False])
    def test_an_old_state_on_disk_does_not_overwrite_a_newer_one_in_redis(
        self, rig: RecorderRig, *, is_last: bool
    ) -> None:
        rig.write(play("A", played=0), at=0)
        other = rig.other_logger()
        other.load()
        other.write(ended("A", played=60), at=60)
        if not is_last:
            rig.outbox.put([play("B", 60)], {"tracker": tracker_state(90, play("B", 60))})
        rig.restart()
        rig.load()
        for _ in range(3):
            rig.write()
        assert rig.index()[0] == "track:A 60000"
        assert rig.fields()["end_reason"] == "skipped"
        assert ended("A", played=60) in rig.outbox.kept()
        other.close()


class ProcessDied(BaseException):
    """The end of a process; nothing in it may catch this."""


class Death:
    """Ends a process before or after one of its writes to disk or Redis."""

    def __init__(self, moment: int) -> None:
        self.left = moment
        death = self

        class CountedConnection(sqlite3.Connection):
            def commit(self) -> None:
                death.pass_moment()
                super().commit()
                death.pass_moment()

        self._connection = CountedConnection

    def connect(self, name: str) -> sqlite3.Connection:
        return sqlite3.connect(name, isolation_level=None, factory=self._connection)

    def watch(self, commands: Sequence[Command]) -> None:
        if any(command[0] == "HSET" for command in commands):
            self.pass_moment()

    def pass_moment(self) -> None:
        self.left -= 1
        if self.left == -1:
            raise ProcessDied


STEPS: tuple[tuple[Play, ...], ...] = (
    (play("A", 0, 0),),
    (play("A", 0, 30),),
    (ended("A", 0, 60), play("B", 60, 0)),
    (ended("B", 60, 45), ended("C", 105, 1), play("D", 105.5, 0)),
    (play("D", 105.5, 30, reason="trackdone"),),
)
"""Plays as the tracker returns them, answer by answer."""
EXPECTED: Mapping[int, str] = {
    0: "track:A 60000 skipped",
    60: "track:B 45000 skipped",
    105: "track:C 1000 skipped",
    106: "track:D 30000 trackdone",
}


def run_steps(rig: RecorderRig) -> None:
    """Continue where the process before stopped, according to the state of its tracker."""
    _, tracker, _ = rig.load()
    answered = json.loads(tracker)["answered"] // 1000 - SECOND if tracker else -1
    for at, plays in enumerate(STEPS):
        if at > answered:
            rig.write(*plays, at=at)


def test_a_process_that_dies_at_any_write_loses_and_doubles_nothing(rig: RecorderRig) -> None:
    for moment in range(200):
        rig.raw.flushall()
        rig.path = rig.path.with_name(f"{moment}.sqlite")
        death = Death(moment)
        rig.restart(death.connect)
        rig.client.listen(death.watch, death.watch)
        with suppress(ProcessDied):
            run_steps(rig)
        rig.client.listen()
        rig.restart()
        run_steps(rig)
        rig.write()
        found = {key: f"{row} {rig.fields(key).get('end_reason')}" for key, row in rig.index().items()}
        assert (moment, found) == (moment, EXPECTED)
        if death.left >= 0:  # it lived to the end
            break
    assert 20 < moment < 100
