from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from spotify_logger.core.player_state import Item
from spotify_logger.daemon import recorder as recorder_room
from spotify_logger.daemon.recorder import NOW_PLAYING_GRACE, PERSISTENCE_CHECK_INTERVAL, REFUSED_RETRY
from spotify_logger.storage.durability import ONE_DAY, SYNC_SECONDS
from tests.conftest import start_again, wait_until
from tests.daemon.recorder.rig import (
    OUTAGE,
    SECOND,
    STATUS,
    Died,
    RealRig,
    failing_at,
    kill,
    lines,
    memory,
    over,
    play,
    snapshot,
    standing_in,
)
from tests.testbed.fake_redis import SAVE_SECONDS, SNAPSHOT_SECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import redis

    from spotify_logger.core.play import Play
    from spotify_logger.storage.connection import Command
    from spotify_logger.storage.embedded_server import EmbeddedServer


class TestWriting:
    def test_a_play_its_index_its_item_and_the_status(self, rig: RealRig) -> None:
        assert rig.write(play("A"))
        assert rig.kept() == {name: str(value) for name, value in play("A").to_hash().items()}
        assert rig.heard() == {0: "track:A 30000"}
        assert rig.raw.hgetall("track:A") == {"name": "A", "album": "Discovery"}
        assert rig.raw.hgetall(STATUS) == {
            "state": "well",
            "tracker": memory(0, play("A")),
            "last_play": f"listening:{SECOND}",
            "outbox": "0",
            "outbox_trouble": "",
            "redis_trouble": "",
            "persistence": "append-only file",
        }

    def test_newer_states_of_a_play_take_the_place_of_older_ones(self, rig: RealRig) -> None:
        rig.write(play("A", heard=30))
        rig.add(play("A", heard=60))
        rig.add(play("A", heard=90), play("B", 90))
        assert rig.write(play("A", heard=90, reason="skipped"))
        assert rig.heard() == {0: "track:A 90000", 90: "track:B 30000"}
        assert rig.kept()["end_reason"] == "skipped"
        assert "end_reason" not in rig.kept(90)

    def test_a_correction_counts_though_it_ends_earlier(self, rig: RealRig) -> None:
        rig.write(over("A", heard=60))
        rig.write(over("A", heard=40))
        assert rig.heard() == {0: "track:A 40000"}

    def test_the_last_play_is_the_one_that_started_last(self, rig: RealRig) -> None:
        rig.write(play("C", 300), over("A"), over("B", 200))
        assert rig.raw.hget(STATUS, "last_play") == f"listening:{SECOND + 300}"

    def test_it_still_is_after_a_restart_though_an_older_one_is_found_late(self, rig: RealRig) -> None:
        rig.write(over("C", 300), at=330)
        rig.write()
        rig.restart()
        rig.recorder.load()
        rig.write(over("A"), at=400)
        assert rig.raw.hget(STATUS, "last_play") == f"listening:{SECOND + 300}"

    def test_where_nothing_waits_only_the_status_is_written(self, rig: RealRig) -> None:
        assert rig.write()
        assert rig.raw.keys() == [STATUS]

    def test_a_play_that_is_safe_is_written_once_and_no_more(self, rig: RealRig) -> None:
        rig.write(over("A"))
        assert rig.write()
        rig.raw.flushall()
        for _ in range(3):
            assert rig.later(60)
        assert rig.kept() == {}

    def test_the_status_says_what_waits_and_what_is_wrong_with_the_disk(
        self, fragile: RealRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fragile.raw.config_set("appendfsync", "no")
        fragile.write(over("A"), over("B", 30), play("C", 60))
        fragile.write()
        assert fragile.raw.hget(STATUS, "outbox") == "2"
        fragile.outbox.trouble = "the disk is full"
        fragile.write()
        assert fragile.raw.hget(STATUS, "outbox_trouble") == "the disk is full"
        assert fragile.raw.hget(STATUS, "persistence") == "append-only file"
        fragile.outbox.trouble = ""

    def test_it_takes_what_the_tracker_makes_of_local_files(self, rig: RealRig) -> None:
        uri = "spotify:local:Me::Demo:200"
        item = Item("local:0123456789abcdef", uri, 200_000, {"name": "Demo", "uri": uri})
        local = replace(over("A"), item=item, fields={"uri": uri, "type": "track", "name": "Demo"})
        assert rig.write(local)
        (row,) = rig.heard().values()
        assert row.endswith(" 30000")
        assert rig.raw.hget(row.split()[0], "uri") == uri


class TestDiskFirst:
    """A play is on the disk before Redis hears of it, when it begins and when it ends."""

    def test_at_every_write_that_goes_to_redis(self, rig: RealRig) -> None:
        checked = []

        def check(commands: Sequence[Command]) -> None:
            for command in commands:
                if command[0] == "HSET" and str(command[1]).startswith("listening:"):
                    fields = dict(zip(command[2::2], command[3::2], strict=True))
                    key = int(str(command[1]).removeprefix("listening:"))
                    (closed,) = on_disk(rig.path, key)
                    assert closed == ("end_reason" in fields)
                    checked.append((key - SECOND, closed))

        rig.line.before = check
        rig.write(play("A"))
        rig.write(play("A", heard=40))
        rig.write(over("A", heard=60), play("B", 60))
        rig.write(over("B", 60), over("C", 90), play("D", 90.5))
        rig.write(replace(over("X", 45), source="backfill"))
        assert checked == [
            *[(0, 0), (0, 0)],
            *[(0, 1), (60, 0)],
            *[(60, 1), (90, 1), (91, 0)],
            *[(45, 1)],
        ]

    def test_while_redis_is_there_the_open_play_is_not_written_again_and_again(self, rig: RealRig) -> None:
        for second in range(0, 600, 30):
            rig.write(play("A", heard=second))
            rig.clock.sleep(30)
        assert [row.play.ms_played for row in rig.outbox.waiting(9)] == [0]

    def test_while_it_is_away_at_most_every_thirty_seconds(
        self, fragile: RealRig, server: EmbeddedServer
    ) -> None:
        fragile.write(play("A", heard=0))
        server.stop()
        kept = []
        for second in range(5, 125, 5):
            fragile.clock.sleep(5)
            assert not fragile.write(play("A", heard=second), at=second)
            ((row,), told) = fragile.outbox.waiting(9), json.loads(fragile.outbox.note("tracker"))
            assert told["play"][1] == row.play.ms_played
            kept.append(row.play.ms_played // 1000)
        assert kept == [second // 30 * 30 for second in range(5, 125, 5)]

    def test_notes_go_to_the_disk_with_the_open_play(self, rig: RealRig) -> None:
        rig.write(play("A", heard=0))
        rig.add(play("A", heard=45), at=45)
        rig.recorder.save({"beat": "7"})
        rig.restart()
        assert rig.outbox.note("beat") == "7"
        assert rig.outbox.note("tracker") == memory(45, play("A", heard=45))
        assert rig.outbox.newest() == play("A", heard=45)

    def test_without_a_disk_redis_is_told_nevertheless_and_the_disk_later(
        self, fragile: RealRig, server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        disk = FullDisk()
        fragile.restart(disk.connect)
        disk.is_full = True
        assert fragile.write(over("A"), play("B", 30))
        assert "is full" in (fragile.raw.hget(STATUS, "outbox_trouble") or "")
        kill(server)
        assert not fragile.write(over("B", 30, 60), play("C", 90))
        assert on_disk(fragile.path, SECOND) == ()
        disk.is_full = False
        fragile.clock.sleep(60)
        assert not fragile.write(play("C", 90, 60))
        fragile.restart()
        start_again(server)
        assert fragile.later(60)
        assert fragile.heard() == {0: "track:A 30000", 30: "track:B 60000", 90: "track:C 60000"}
        assert len([line for line in lines(capsys) if "outbox.sqlite" in line]) == 2


class FullDisk:
    """A disk that is full while somebody says so."""

    def __init__(self) -> None:
        self.is_full = False
        disk = self

        class Connection(sqlite3.Connection):
            def commit(self) -> None:
                if disk.is_full:
                    raise sqlite3.OperationalError("database or disk is full")
                super().commit()

        self.kind = Connection

    def connect(self, name: str) -> sqlite3.Connection:
        return sqlite3.connect(name, isolation_level=None, factory=self.kind)


def on_disk(path: Path, key: int) -> tuple[int, ...]:
    """Whether a play is over, as another process reads it in the file; empty if it is not there."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    found = database.execute("SELECT closed FROM plays WHERE key = ?", (key,)).fetchall()
    database.close()
    return tuple(closed for (closed,) in found)


class TestProof:
    """When Redis has made a play safe; until then it waits, but is not sent again."""

    @pytest.mark.usefixtures("waitaof")
    def test_with_an_append_only_file_when_it_is_synced(self, fragile: RealRig) -> None:
        assert fragile.write(over("A"), over("B", 30))
        assert fragile.line.written() == [0, 30]
        assert fragile.waiting() == [0, 30]
        wait_until(lambda: fragile.write() and not fragile.waiting())
        assert fragile.line.written() == []
        assert len(fragile.outbox) == 0
        assert [kept.item.key for kept in fragile.outbox.kept()] == ["track:A", "track:B"]

    @pytest.mark.usefixtures("waitaof")
    def test_where_syncing_is_left_to_the_kernel_after_a_day(self, fragile: RealRig) -> None:
        fragile.raw.config_set("appendfsync", "no")
        fragile.write(over("A"))
        for wait in (1, 3600, ONE_DAY - 3602):
            fragile.later(wait)
            assert len(fragile.outbox) == 1
        fragile.later(1)
        assert len(fragile.outbox) == 0
        assert fragile.line.written() == [0]

    def test_without_waitaof_two_seconds_after_the_write(self, rig: RealRig, redis_url: str) -> None:
        without = ["-waitaof"] if "waitaof" in rig.raw.command() else []
        rig.raw.acl_setuser(
            "old", enabled=True, passwords=["+x"], keys=["*"], categories=["+@all"], commands=without
        )
        old = RealRig(rig.path.with_name("old.sqlite"), redis_url.replace("//", "//old:x@"))
        old.write(over("A"))
        old.later(SYNC_SECONDS - 0.1)
        assert len(old.outbox) == 1
        old.later(0.1)
        assert len(old.outbox) == 0
        old.close()
        rig.raw.acl_deluser("old")

    def test_but_not_while_the_file_cannot_be_written(self, tmp_path: Path) -> None:
        """Stand-in: no real server's append-only file fails on demand."""
        rig, standin = standing_in(tmp_path, waitaof=False)
        rig.write(over("A"))
        standin.refusing = "MISCONF"
        for _ in range(5):
            rig.later(60)
            assert len(rig.outbox) == 1
        standin.refusing = ""
        rig.later(60)
        rig.later(60)
        assert len(rig.outbox) == 0
        rig.close()

    def test_one_that_keeps_nothing_says_so_and_rows_stay_for_a_day(self, fragile: RealRig) -> None:
        fragile.raw.config_set("appendonly", "no")
        fragile.write(over("A"))
        assert fragile.raw.hget(STATUS, "persistence") == "none: it forgets with its next restart"
        for wait in (1, 3600, ONE_DAY - 3602):
            fragile.later(wait)
            assert len(fragile.outbox) == 1
        fragile.later(PERSISTENCE_CHECK_INTERVAL)
        assert len(fragile.outbox) == 0
        assert fragile.line.written() == [0]

    def test_with_snapshots_when_one_was_begun_after_the_write(self, fragile: RealRig) -> None:
        fragile.raw.config_set("appendonly", "no")
        fragile.raw.config_set("save", "3600 1")
        snapshot(fragile.raw)
        fragile.write(over("A"))
        assert fragile.raw.hget(STATUS, "persistence") == "snapshots"
        fragile.later(ONE_DAY)
        assert len(fragile.outbox) == 1
        let_seconds_pass(fragile.raw)
        snapshot(fragile.raw)
        fragile.later(PERSISTENCE_CHECK_INTERVAL - 1)
        fragile.later(1)
        assert len(fragile.outbox) == 0
        assert fragile.line.written() == [0]

    @pytest.mark.parametrize(
        ("at", "failing", "length"),
        [
            pytest.param(SAVE_SECONDS - 5, False, 1, id="before the snapshot"),
            pytest.param(
                SAVE_SECONDS + SNAPSHOT_SECONDS + PERSISTENCE_CHECK_INTERVAL, False, 0, id="after it"
            ),
            pytest.param(3 * SAVE_SECONDS, True, 1, id="after one that failed"),
        ],
    )
    def test_snapshots_in_the_course_of_time(
        self, tmp_path: Path, at: float, *, failing: bool, length: int
    ) -> None:
        rig, standin = standing_in(tmp_path, "rdb")
        rig.write(over("A"))
        standin.refusing = "MISCONF" if failing else ""
        while rig.clock.monotonic() < at:
            rig.later(min(30, at - rig.clock.monotonic()))
        assert len(rig.outbox) == length
        rig.close()

    def test_what_was_written_while_a_snapshot_was_made_waits_for_the_next(self, tmp_path: Path) -> None:
        rig, _ = standing_in(tmp_path, "rdb")
        rig.write(over("A"))
        rig.clock.sleep(SAVE_SECONDS + SNAPSHOT_SECONDS / 2)
        rig.write(over("B", 30))
        for _ in range(int((SAVE_SECONDS - 60) // 30)):
            rig.later(30)
        assert rig.waiting() == [30]
        for _ in range(5):
            rig.later(30)
        assert rig.waiting() == []
        rig.close()

    @pytest.mark.usefixtures("waitaof")
    def test_a_newer_state_needs_a_proof_of_its_own(self, fragile: RealRig) -> None:
        fragile.raw.config_set("appendfsync", "no")
        fragile.write(over("A"))
        fragile.add(over("A", heard=60))
        fragile.raw.config_set("appendfsync", "always")
        fragile.line.before = failing_at("HSET")
        assert not fragile.write()
        fragile.line.before = lambda _: None
        assert fragile.waiting() == [0]
        fragile.later(60)
        fragile.later(1)
        assert fragile.waiting() == []
        assert fragile.heard() == {0: "track:A 60000"}

    @pytest.mark.usefixtures("waitaof")
    def test_a_broken_connection_proves_nothing(self, fragile: RealRig) -> None:
        """Over the new one, the server would say that all is synced that came over it: nothing."""
        fragile.raw.config_set("appendfsync", "no")
        fragile.write(over("A"))
        fragile.raw.client_kill_filter(_type="normal", skipme=True)
        fragile.line.before = failing_at("HSET")
        fragile.raw.config_set("appendfsync", "always")
        assert not fragile.write(over("B", 30))
        assert not fragile.later(60)
        assert fragile.waiting() == [0, 30]
        fragile.line.before = lambda _: None
        fragile.line.written()
        assert fragile.later(60)
        assert fragile.line.written() == [0, 30]
        fragile.later(1)
        assert fragile.waiting() == []

    def test_one_that_is_set_to_snapshots_meanwhile(self, fragile: RealRig) -> None:
        fragile.raw.config_set("appendfsync", "no")
        fragile.write(over("A"))
        fragile.raw.config_set("appendonly", "no")
        fragile.raw.config_set("save", "3600 1")
        fragile.write()
        let_seconds_pass(fragile.raw)
        snapshot(fragile.raw)
        fragile.later(PERSISTENCE_CHECK_INTERVAL)
        assert len(fragile.outbox) == 0


def let_seconds_pass(raw: redis.Redis) -> None:
    """Wait until a snapshot begins two seconds later, by a clock that may be a little late."""
    second, _ = raw.time()
    wait_until(lambda: raw.time() > (second + 2, 50_000))


class TestGaps:
    LONGER: Mapping[str, str] = {**OUTAGE, "to": "2026-11-22T20:00:00.000Z"}

    def gap(self, rig: RealRig) -> dict[str, str]:
        return {str(name): str(value) for name, value in rig.raw.hgetall(f"gap:{SECOND}").items()}

    @pytest.mark.usefixtures("waitaof")
    def test_one_waits_for_its_proof(self, rig: RealRig) -> None:
        rig.outbox.put_gap(SECOND, OUTAGE)
        assert rig.write()
        assert self.gap(rig) == OUTAGE
        assert rig.raw.hgetall("gaps") == {str(SECOND): f"{SECOND + 3600} offline"}
        assert len(rig.outbox.waiting_gaps()) == 1
        rig.write()
        assert rig.outbox.waiting_gaps() == []

    @pytest.mark.usefixtures("waitaof")
    @pytest.mark.parametrize("turns", [0, 1])
    def test_one_that_has_grown_is_written_again_whenever_it_grew(self, rig: RealRig, turns: int) -> None:
        rig.outbox.put_gap(SECOND, OUTAGE)
        rig.write()
        for _ in range(turns):
            rig.write()
        rig.outbox.put_gap(SECOND, self.LONGER)
        for _ in range(3):
            rig.write()
        assert self.gap(rig) == self.LONGER
        assert rig.outbox.waiting_gaps() == []

    def test_also_where_a_proof_takes_its_time(self, fragile: RealRig) -> None:
        fragile.raw.config_set("appendfsync", "no")
        fragile.outbox.put_gap(SECOND, OUTAGE)
        fragile.write()
        fragile.outbox.put_gap(SECOND, self.LONGER)
        fragile.write()
        assert self.gap(fragile) == self.LONGER
        assert len(fragile.outbox.waiting_gaps()) == 1

    def test_it_waits_for_redis_as_plays_do(self, fragile: RealRig, server: EmbeddedServer) -> None:
        server.stop()
        fragile.outbox.put_gap(SECOND, OUTAGE)
        assert not fragile.write()
        fragile.restart()
        start_again(server)
        assert fragile.later(60)
        assert self.gap(fragile) == OUTAGE

    @pytest.mark.parametrize("key", ["gaps", f"gap:{SECOND}"])
    def test_one_that_is_refused_holds_nothing_up(self, rig: RealRig, key: str) -> None:
        rig.raw.set(key, "somebody was here")
        rig.outbox.put_gap(SECOND, OUTAGE)
        assert not rig.write(over("A"))
        assert rig.heard() == {0: "track:A 30000"}
        rig.raw.delete(key)
        assert rig.later(REFUSED_RETRY)
        assert self.gap(rig) == OUTAGE
        assert rig.raw.exists("gaps")


class TestKeys:
    def test_plays_whose_seconds_are_taken_go_to_the_next_free_ones_and_stay_there(
        self, rig: RealRig
    ) -> None:
        rig.raw.hset(f"listening:{SECOND}", mapping={"started_at": "2026-11-22T18:00:00.500Z", "uri": "x"})
        rig.raw.set(f"listening:{SECOND + 2}", "no play at all")
        rig.write(play("A", 0, 1))
        rig.write(over("A", 0, 1), play("B", 1, 1))
        assert rig.write(play("B", 1, 7))
        assert rig.heard() == {1: "track:A 1000", 3: "track:B 7000"}
        assert rig.kept()["uri"] == "x"
        assert rig.kept(1)["name"] == "A"
        assert rig.kept(3)["name"] == "B"

    @pytest.mark.parametrize("dies", ["before", "after"])
    def test_another_process_knows_them_whether_redis_heard_of_them_or_not(
        self, rig: RealRig, dies: str
    ) -> None:
        rig.raw.hset(f"listening:{SECOND}", mapping={"started_at": "2026-11-22T18:00:00.500Z", "uri": "x"})
        setattr(rig.line, dies, failing_at("HSET"))
        assert not rig.write(over("A", 0, 30), over("B", 0.5, 1))
        assert rig.waiting() == [1, 2]
        rig.restart()
        rig.line.before = rig.line.after = lambda _: None
        assert rig.waiting() == [1, 2]
        assert rig.later(60)
        assert rig.heard() == {1: "track:B 1000", 2: "track:A 30000"}

    def test_a_second_that_waits_on_the_disk_is_taken_too(self, rig: RealRig) -> None:
        rig.raw.set(f"listening:{SECOND}", "no play at all")
        rig.write(over("A"), over("B", 1), over("C", 2))
        assert rig.heard() == {1: "track:B 30000", 2: "track:C 30000", 3: "track:A 30000"}

    def test_a_play_of_redis_that_is_not_here_is_not_written_over(self, rig: RealRig) -> None:
        rig.write(over("A"))
        rig.write()
        other = RealRig(rig.path.with_name("other.sqlite"), f"redis://{rig.line.where}/0")
        other.write(over("B", 0.5))
        assert other.heard() == {0: "track:A 30000", 1: "track:B 30000"}
        other.close()


class TestNowPlaying:
    def test_it_names_the_open_play_until_a_while_after_the_next_answer_is_due(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"), due=5)
        assert rig.raw.get("now_playing") == f"listening:{SECOND}"
        assert 0 < int(rig.raw.pttl("now_playing")) <= (5 + NOW_PLAYING_GRACE) * 1000

    def test_it_is_refreshed_even_where_the_play_did_not_change(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"), due=5)
        rig.write(shown=play("A"), due=600)
        assert int(rig.raw.pttl("now_playing")) > 600_000

    def test_it_expires(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"), due=0.05 - NOW_PLAYING_GRACE)
        wait_until(lambda: rig.raw.get("now_playing") is None)

    def test_it_names_the_key_that_the_play_really_has(self, rig: RealRig) -> None:
        rig.raw.set(f"listening:{SECOND}", "no play at all")
        rig.write(play("A"), shown=play("A"))
        assert rig.raw.get("now_playing") == f"listening:{SECOND + 1}"

    def test_it_is_cleared_when_the_play_is_over(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"))
        rig.write(play("A", reason="stopped"))
        assert rig.raw.get("now_playing") is None

    def test_it_is_cleared_once_and_then_left_alone(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"))
        rig.write(play("A", reason="stopped"))
        rig.raw.set("now_playing", "somebody else's")
        rig.write()
        assert rig.raw.get("now_playing") == "somebody else's"

    def test_also_when_the_play_was_another_process_s(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"), due=600)
        rig.restart()
        rig.recorder.load()
        rig.write(play("A", reason="stopped"))
        assert rig.raw.get("now_playing") is None

    def test_also_when_redis_was_away_just_then(self, fragile: RealRig) -> None:
        fragile.write(play("A"), shown=play("A"), due=600)
        fragile.line.before = failing_at("HSET")
        assert not fragile.write(play("A", reason="stopped"))
        fragile.line.before = lambda _: None
        assert fragile.later(60)
        assert fragile.raw.get("now_playing") is None

    def test_the_next_play_takes_over(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"))
        rig.write(over("A"), play("B", 30), shown=play("B", 30))
        assert rig.raw.get("now_playing") == f"listening:{SECOND + 30}"

    def test_an_answer_that_says_nothing_leaves_it_to_expire(self, rig: RealRig) -> None:
        rig.write(play("A"), shown=play("A"))
        rig.write()
        assert rig.raw.get("now_playing") == f"listening:{SECOND}"


class TestLoading:
    """Where another process stopped, as the disk and Redis know it, whoever knows it better."""

    def other(self, rig: RealRig) -> RealRig:
        """A process with a state folder of its own, in front of the same server."""
        return RealRig(rig.path.with_name("other.sqlite"), f"redis://{rig.line.where}/0")

    def test_nothing_is_there(self, rig: RealRig) -> None:
        assert not rig.recorder.has_history
        assert rig.recorder.load() == (None, "", {})
        assert rig.recorder.has_history

    def test_the_newest_play_what_the_tracker_knew_and_the_status(self, rig: RealRig) -> None:
        rig.write(over("A"), play("B", 30), at=60)
        rig.restart()
        loaded = rig.recorder.load()
        assert loaded is not None
        newest, told, status = loaded
        assert newest == play("B", 30)
        assert told == memory(60, play("B", 30))
        assert status["state"] == "well"

    def test_it_is_away_and_nothing_is_on_the_disk(
        self, fragile: RealRig, server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.stop()
        assert fragile.recorder.load() is None
        assert not fragile.recorder.has_history
        assert not fragile.tries(fragile.recorder.load)
        assert not fragile.tries(fragile.write)
        start_again(server)
        fragile.clock.sleep(1)
        assert fragile.recorder.load() == (None, "", {})
        assert len(lines(capsys)) == 2

    def test_it_is_away_and_the_disk_knows(self, fragile: RealRig, server: EmbeddedServer) -> None:
        fragile.write(play("A", heard=0), at=0)
        server.stop()
        fragile.clock.sleep(40)
        assert not fragile.write(play("A", heard=40), at=40)
        fragile.restart()
        assert fragile.recorder.has_history
        assert fragile.recorder.load() == (play("A", heard=40), memory(40, play("A", heard=40)), {})
        assert not fragile.write(over("A", heard=60), play("B", 60))
        start_again(server)
        assert fragile.later(60)
        assert fragile.heard() == {0: "track:A 60000", 60: "track:B 30000"}

    def test_redis_knows_more_of_the_open_play(self, rig: RealRig) -> None:
        rig.write(play("A", heard=0), at=0)
        rig.write(play("A", heard=50), at=50)
        rig.restart()
        loaded = rig.recorder.load()
        assert loaded is not None
        assert loaded[:2] == (play("A", heard=50), memory(50, play("A", heard=50)))

    def test_the_disk_knows_more_than_redis(self, fragile: RealRig) -> None:
        fragile.write(play("A", heard=0), at=0)
        fragile.line.before = failing_at("HSET")
        assert not fragile.write(over("A", heard=60), play("B", 60), at=60)
        fragile.restart()
        fragile.line.before = lambda _: None
        loaded = fragile.recorder.load()
        assert loaded is not None
        assert loaded[:2] == (play("B", 60), memory(60, play("B", 60)))
        assert fragile.write()
        assert fragile.heard() == {0: "track:A 60000", 60: "track:B 30000"}

    def test_redis_has_lost_everything(self, rig: RealRig) -> None:
        rig.write(over("A"), play("B", 30), at=60)
        rig.raw.flushall()
        rig.restart()
        loaded = rig.recorder.load()
        assert loaded == (play("B", 30), memory(60, play("B", 30)), {})

    def test_the_disk_has_lost_everything(self, rig: RealRig) -> None:
        rig.raw.set(f"listening:{SECOND}", "somebody was here")
        rig.write(over("A"), play("B", 30), at=60)
        rig.write(play("B", 30, 60), at=90)
        other = self.other(rig)
        loaded = other.recorder.load()
        assert loaded is not None
        newest, told, _ = loaded
        assert newest is not None
        assert (newest.second, newest.ms_played, told) == (SECOND + 30, 60_000, memory(90, play("B", 30, 60)))
        assert [kept.item.key for kept in other.outbox.kept()] == ["track:A", "track:B"]
        assert other.outbox.key(over("A")) == SECOND + 1
        other.line.written()
        assert other.write(replace(newest, ended_ms=newest.ended_ms + 9000, end_reason="skipped"))
        assert other.line.written() == [30]
        assert rig.kept(30)["end_reason"] == "skipped"
        assert rig.kept(30)["name"] == "B"
        assert rig.raw.hget("track:B", "album") == "Discovery"
        other.close()

    @pytest.mark.parametrize("told", ["", "{", "7", '{"answered": "soon"}', '{"answered": null}'])
    def test_what_makes_no_sense_is_not_newer(self, rig: RealRig, told: str) -> None:
        rig.write(play("A", heard=0), at=0)
        rig.write(play("A", heard=50), at=50)
        rig.raw.hset(STATUS, "tracker", told)
        rig.restart()
        loaded = rig.recorder.load()
        assert loaded is not None
        assert loaded[:2] == (play("A", heard=0), memory(0, play("A", heard=0)))

    def test_a_repaired_play_is_not_the_one_to_go_on_with(self, rig: RealRig) -> None:
        repaired = replace(play("X", 20, 5, reason="unknown"), source="backfill")
        rig.write(play("A", heard=10), at=10)
        rig.write(repaired, at=40)
        rig.write(play("A", heard=60), at=60)
        for process in (rig, self.other(rig)):
            process.restart()
            loaded = process.recorder.load()
            assert loaded is not None
            assert loaded[0] is not None
            assert (loaded[0].item.key, loaded[0].ms_played) == ("track:A", 60_000)
        process.close()

    @pytest.mark.usefixtures("waitaof")
    @pytest.mark.parametrize("is_latest", [True, False])
    def test_an_older_state_of_another_process_does_not_write_over_a_newer_one(
        self, rig: RealRig, *, is_latest: bool
    ) -> None:
        """The disk failed while Redis was told: what it has of the play is its beginning."""
        rig.write(play("A", heard=0), at=0)
        other = self.other(rig)
        other.recorder.load()
        other.write(over("A", heard=60), at=60)
        if not is_latest:
            rig.outbox.put([play("B", 60)], {"tracker": memory(90, play("B", 60))})
        rig.restart()
        assert rig.recorder.load()
        for _ in range(3):
            rig.write()
        assert rig.heard()[0] == "track:A 60000"
        assert rig.kept()["end_reason"] == "skipped"
        assert over("A", heard=60) in rig.outbox.kept()
        assert len(rig.outbox) == 0
        other.close()

    def test_nor_does_one_that_was_heard_for_less(self, rig: RealRig) -> None:
        rig.write(play("A", heard=0), at=0)
        rig.write(play("A", heard=50), at=50)
        rig.outbox.put([play("B", 60)], {"tracker": memory(90, play("B", 60))})
        rig.restart()
        rig.recorder.load()
        for _ in range(2):
            rig.write()
        assert rig.heard() == {0: "track:A 50000", 60: "track:B 30000"}

    def test_one_that_is_over_on_the_disk_is_newer_than_an_open_one(self, rig: RealRig) -> None:
        rig.write(play("A", heard=50), at=50)
        rig.line.before = failing_at("HSET")
        assert not rig.write(over("A", heard=40), at=60)
        rig.restart()
        rig.line.before = lambda _: None
        rig.recorder.load()
        assert rig.write()
        assert rig.heard() == {0: "track:A 40000"}
        assert rig.kept()["end_reason"] == "skipped"

    def test_what_is_remembered_of_this_process_is_bounded(
        self, rig: RealRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recorder_room, "MAX_OWN_PLAYS", 10)
        for number in range(30):
            rig.add(over(f"P{number}", number))
        assert len(rig.recorder._own) == 10
        assert rig.write()
        assert len(rig.heard()) == 30


class Fate:
    """Lets a process die at one of the moments before and after each write, be it to the disk or to Redis."""

    def __init__(self, moment: int) -> None:
        self.left = moment
        fate = self

        class Connection(sqlite3.Connection):
            def commit(self) -> None:
                fate.pass_by()
                super().commit()
                fate.pass_by()

        self.kind = Connection

    def connect(self, name: str) -> sqlite3.Connection:
        return sqlite3.connect(name, isolation_level=None, factory=self.kind)

    def look(self, commands: Sequence[Command]) -> None:
        if any(command[0] == "HSET" for command in commands):
            self.pass_by()

    def pass_by(self) -> None:
        self.left -= 1
        if self.left == -1:
            raise Died


class TestRestart:
    """Whenever the process dies, the next one makes the same plays of it."""

    STEPS: tuple[tuple[Play, ...], ...] = (
        (play("A", 0, 0),),
        (play("A", 0, 30),),
        (over("A", 0, 60), play("B", 60, 0)),
        (over("B", 60, 45), over("C", 105, 1), play("D", 105.5, 0)),
        (play("D", 105.5, 30, reason="trackdone"),),
    )
    """Plays as the tracker finds them, one answer after the other."""
    EXPECTED: Mapping[int, str] = {
        0: "track:A 60000 skipped",
        60: "track:B 45000 skipped",
        105: "track:C 1000 skipped",
        106: "track:D 30000 trackdone",
    }

    def live(self, rig: RealRig) -> None:
        """Go on where the process before stopped, as its memory tells."""
        loaded = rig.recorder.load()
        assert loaded is not None
        told = loaded[1]
        answered = json.loads(told)["answered"] // 1000 - SECOND if told else -1
        for at, plays in enumerate(self.STEPS):
            if at > answered:
                rig.write(*plays, at=at)

    @pytest.mark.parametrize("part", [0, 1])
    def test_it_may_die_at_any_write(self, rig: RealRig, part: int) -> None:
        for moment in range(part, 200, 2):
            rig.raw.flushall()
            rig.path = rig.path.with_name(f"{moment}.sqlite")
            fate = Fate(moment)
            rig.restart(fate.connect)
            rig.line.before = rig.line.after = fate.look
            with suppress(Died):
                self.live(rig)
            rig.line.before = rig.line.after = lambda _: None
            rig.restart()
            self.live(rig)
            rig.write()
            found = {key: f"{row} {rig.kept(key).get('end_reason')}" for key, row in rig.heard().items()}
            assert (moment, found) == (moment, self.EXPECTED)
            assert rig.outbox.kept()[-1].end_reason == "trackdone"
            if fate.left >= 0:  # it lived to the end
                break
        assert 20 < moment < 100
