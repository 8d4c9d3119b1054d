"""Redis refuses, forgets, or keeps something else under a key."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from spotify_logger.daemon.recorder import MAX_CATCH_UP, PLAYS_PER_BATCH, REFUSED_RETRY
from spotify_logger.storage import outbox as outbox_room
from tests.conftest import start_again
from tests.daemon.recorder.rig import (
    INDEX,
    OUTAGE,
    SECOND,
    STATUS,
    RealRig,
    Sick,
    day,
    failing_at,
    kill,
    lines,
    over,
    play,
    standing_in,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from spotify_logger.storage.connection import Command
    from spotify_logger.storage.embedded_server import EmbeddedServer

IS_BACK = "Redis is back; sending queued plays"


class TestForgetful:
    """A server that comes back with less than it had is given what it lacks."""

    def test_killed_before_the_proof_it_is_given_again_what_it_lost(
        self, fragile: RealRig, server: EmbeddedServer, tmp_path: Path
    ) -> None:
        fragile.raw.config_set("appendfsync", "no")
        fragile.write(over("A"))
        with lost_since(server, tmp_path):
            fragile.write(over("B", 30), play("C", 60), shown=play("C", 60))
        assert fragile.heard() == {0: "track:A 30000"}
        assert fragile.write(play("C", 60, 40), shown=play("C", 60))
        assert fragile.heard() == {0: "track:A 30000", 30: "track:B 30000", 60: "track:C 40000"}
        assert fragile.kept(30)["end_reason"] == "skipped"
        assert fragile.raw.hget("track:B", "name") == "B"
        assert fragile.raw.get("now_playing") == f"listening:{SECOND + 60}"

    @pytest.mark.usefixtures("waitaof")
    @pytest.mark.parametrize("restarted", [False, True])
    def test_restored_from_an_old_copy_it_is_given_again_what_was_safe(
        self, fragile: RealRig, server: EmbeddedServer, tmp_path: Path, *, restarted: bool
    ) -> None:
        fragile.raw.config_set("appendfsync", "always")
        fragile.write(over("A"), play("B", 30))
        fragile.write()
        with lost_since(server, tmp_path):
            fragile.write(over("B", 30, 60), over("C", 90), over("D", 90.5))
            fragile.write()
            assert len(fragile.outbox) == 0
        assert fragile.heard() == {0: "track:A 30000", 30: "track:B 30000"}
        if restarted:
            fragile.restart()
            fragile.recorder.load()
        fragile.line.written()
        assert fragile.later(60)
        assert fragile.heard() == {
            0: "track:A 30000",
            30: "track:B 60000",
            90: "track:C 30000",
            91: "track:D 30000",
        }
        assert fragile.kept(30)["end_reason"] == "skipped"
        assert fragile.line.written() == [30, 90, 91]

    @pytest.mark.usefixtures("waitaof")
    def test_one_that_has_forgotten_all_is_given_the_newest_five_hundred(
        self, fragile: RealRig, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outbox_room, "MAX_KEPT_PLAYS", 50)
        fragile.raw.config_set("appendfsync", "always")
        fragile.write(*[over(f"P{number}", number) for number in range(60)])
        fragile.write()
        fragile.raw.flushall()
        server.stop()
        start_again(server)
        assert fragile.later(60)
        assert list(fragile.heard()) == list(range(10, 60))

    @pytest.mark.usefixtures("waitaof")
    def test_one_that_has_all_is_given_nothing(self, fragile: RealRig, server: EmbeddedServer) -> None:
        fragile.raw.config_set("appendfsync", "always")
        fragile.write(over("A"), over("B", 30))
        fragile.write()
        server.stop()
        start_again(server)
        fragile.line.written()
        assert fragile.later(60)
        assert fragile.line.written() == []

    @pytest.mark.usefixtures("waitaof")
    def test_flushed_without_a_restart_it_is_left_as_it_is(self, rig: RealRig) -> None:
        rig.write(over("A"))
        rig.write()
        rig.raw.flushall()
        rig.raw.client_kill_filter(_type="normal", skipme=True)
        assert rig.later(60)
        assert rig.heard() == {}

    @pytest.mark.usefixtures("waitaof")
    def test_it_is_given_the_gaps_again_too(
        self, fragile: RealRig, server: EmbeddedServer, tmp_path: Path
    ) -> None:
        fragile.raw.config_set("appendfsync", "always")
        fragile.write(over("A"))
        with lost_since(server, tmp_path):
            fragile.outbox.put_gap(SECOND, OUTAGE)
            fragile.write()
            fragile.write()
            assert fragile.outbox.waiting_gaps() == []
        assert fragile.store.gaps() == []
        assert fragile.later(60)
        assert len(fragile.store.gaps()) == 1

    def test_what_it_lacks_is_remembered_though_this_process_dies_before_it_is_given(
        self, fragile: RealRig, server: EmbeddedServer
    ) -> None:
        fragile.raw.config_set("appendfsync", "always")
        fragile.write(over("A"))
        fragile.write()
        fragile.raw.flushall()
        server.stop()
        start_again(server)
        fragile.line.before = failing_at("HSET")
        assert not fragile.later(60)
        fragile.restart()
        fragile.line.before = lambda _: None
        assert fragile.later(60)
        assert fragile.heard() == {0: "track:A 30000"}

    def test_a_power_failure_takes_the_last_second(self, tmp_path: Path) -> None:
        rig, standin = standing_in(tmp_path)
        rig.write(over("A"))
        rig.later(1.5)
        rig.write(over("B", 30))
        standin.crash()
        assert not rig.later(5)
        standin.restart()
        assert rig.later(60)
        assert list(rig.store.index(day())) == [SECOND, SECOND + 30]
        rig.close()

    def test_what_is_given_again_comes_after_the_power_failed_once_more(self, tmp_path: Path) -> None:
        rig, standin = standing_in(tmp_path, "none")
        for number in range(3):
            rig.write(over(f"P{number}", 30 * number))
            rig.later(1)
            standin.restart()
        assert rig.later(60)
        assert list(rig.store.index(day())) == [SECOND, SECOND + 30, SECOND + 60]
        rig.close()


@contextmanager
def lost_since(server: EmbeddedServer, tmp_path: Path) -> Iterator[None]:
    """The server is killed at the end of the block, and comes back with what it had before it."""
    folder, copy = tmp_path / "redis" / "appendonlydir", tmp_path / "copy"
    shutil.copytree(folder, copy)
    yield
    kill(server)
    shutil.rmtree(folder)
    shutil.copytree(copy, folder)
    start_again(server)


class TestRefusing:
    @pytest.mark.parametrize(
        ("ill", "words"),
        [
            ("down", "cannot be reached (Connection refused): is it running, and is REDIS_URL right?"),
            ("killed", "cannot be reached (Connection refused): is it running, and is REDIS_URL right?"),
            ("hanging", "did not answer in time: it hangs, is overloaded, or REDIS_URL is wrong"),
            ("READONLY", "is a read-only replica: point REDIS_URL to the primary"),
            ("OOM", "is out of memory: raise maxmemory, or free some"),
            (
                "MISCONF",
                "cannot save to disk and does not accept writes: free disk space, and check its log",
            ),
            ("NOPERM", "denies this user: allow the command in its ACL, on keys that begin with"),
            ("NOAUTH", "requires a password: set it in REDIS_URL, redis://:password@host"),
        ],
    )
    def test_polling_goes_on_nothing_is_lost_and_two_lines_are_said(
        self, fragile: RealRig, sick: Sick, capsys: pytest.CaptureFixture[str], ill: str, words: str
    ) -> None:
        fragile.write(play("A"), shown=play("A"))
        fragile.write(play("A", heard=40), shown=play("A"))
        sick.fall(ill)
        fragile.line.written()
        results = [fragile.write(play("A", heard=45), shown=play("A"))]
        fragile.clock.sleep(1)
        results.append(fragile.write(over("A", heard=60), play("B", 60), shown=play("B", 60)))
        fragile.clock.sleep(30)
        results.append(fragile.write(over("B", 60, 5), over("C", 65), over("D", 95), play("E", 125)))
        fragile.clock.sleep(60)
        results.append(fragile.write(play("E", 125, 60), shown=play("E", 125)))
        assert results == [False] * 4
        assert words in fragile.recorder.trouble
        assert fragile.waiting() == [0, 60, 65, 95, 125]
        assert len(fragile.outbox) == 4
        sick.recover(ill)
        fragile.line.written()
        assert fragile.later(60)
        assert fragile.line.written() == [0, 60, 65, 95, 125]
        assert fragile.heard() == {
            0: "track:A 60000",
            60: "track:B 5000",
            65: "track:C 30000",
            95: "track:D 30000",
            125: "track:E 60000",
        }
        assert [fragile.kept(key).get("end_reason") for key in fragile.heard()] == [*["skipped"] * 4, None]
        assert fragile.recorder.trouble == ""
        gone, back = lines(capsys)
        assert words in gone
        assert gone.endswith("(plays are queued; next try in 1 s)")
        assert back == IS_BACK

    def test_while_it_is_loading(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """Stand-in: a real server is done with so little at once; the words are a real one's (test_link)."""
        rig, standin = standing_in(tmp_path)
        rig.write(play("A"))
        standin.refusing = "LOADING"
        for second in range(1, 60):
            rig.clock.sleep(1)
            assert not rig.write(play("A", heard=30 + second))
        assert not rig.write(over("A", heard=90), over("B", 90))
        standin.refusing = ""
        assert rig.later(60)
        assert [heard for _, heard in rig.store.index(day()).values()] == [90_000, 30_000]
        gone, back = lines(capsys)
        assert "is still loading its data: wait until it is done" in gone
        assert back == IS_BACK
        rig.close()

    def test_what_it_says_changes_with_what_is_wrong(
        self, fragile: RealRig, sick: Sick, capsys: pytest.CaptureFixture[str]
    ) -> None:
        sick.fall("OOM")
        for second in range(0, 300, 60):
            assert not fragile.write(over(f"P{second}", second), at=second)
            fragile.clock.sleep(60)
        sick.fall("READONLY")
        assert not fragile.write()
        sick.recover("READONLY")
        sick.recover("OOM")
        assert fragile.later(60)
        out_of_memory, replica, back = lines(capsys)
        assert "is out of memory" in out_of_memory
        assert "is a read-only replica" in replica
        assert back == IS_BACK

    def test_it_is_asked_more_and_more_seldom(self, fragile: RealRig, sick: Sick) -> None:
        fragile.write(play("A"))
        sick.fall("hanging")
        tried = []
        for second in range(12):
            if fragile.tries(lambda: fragile.write(play("A", heard=60))):
                tried.append(second)
            fragile.clock.sleep(1)
        assert tried == [0, 1, 3, 7]
        sick.recover("hanging")
        assert fragile.later(60)
        assert fragile.heard() == {0: "track:A 60000"}

    def test_once_it_was_there_again_the_waits_begin_anew(
        self, fragile: RealRig, server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for _ in range(2):
            server.stop()
            assert not fragile.write(play("A"))
            fragile.clock.sleep(1)
            assert not fragile.write()
            start_again(server)
            fragile.clock.sleep(2)
            assert fragile.write()
        gone = [line for line in lines(capsys) if "plays are queued" in line]
        assert [line.partition("next try in ")[2] for line in gone] == ["1 s)", "1 s)"]

    def test_it_may_die_at_any_moment_of_a_turn(self, fragile: RealRig, server: EmbeddedServer) -> None:
        """A server that is killed between two questions of a turn, or after it took what was written."""
        fragile.raw.config_set("appendfsync", "always")
        deaths = 0
        expected = {}
        for moment in range(99):
            fragile.line.trips.clear()
            name, start = f"P{moment}", 30 * moment
            expected[start] = f"track:{name} 30000"
            after = kill_at(fragile, server, moment // 2)
            setattr(fragile.line, "after" if moment % 2 else "before", after)
            fragile.write(over(name, start))
            if server.is_alive:
                break
            deaths += 1
            fragile.line.before = fragile.line.after = lambda _: None
            start_again(server)
            assert fragile.later(60)
            assert fragile.heard() == expected
        assert deaths >= 6

    def test_a_server_that_takes_the_write_and_does_not_say_so(self, tmp_path: Path) -> None:
        """Stand-in: a real server answers, or is dead."""
        rig, standin = standing_in(tmp_path)
        rig.write(play("A"))
        standin.deaf_after_write = 2
        assert not rig.write(over("A", heard=60), play("B", 60))
        assert not rig.later(60)
        assert rig.later(60)
        assert [heard for _, heard in rig.store.index(day()).values()] == [60_000, 30_000]
        rig.close()


def kill_at(rig: RealRig, server: EmbeddedServer, trip: int) -> Callable[[Sequence[Command]], None]:
    """Kills the server at a round trip of a turn."""

    def act(_: Sequence[Command]) -> None:
        if len(rig.line.trips) == trip + 1:
            kill(server)

    return act


class TestWrongType:
    """A key that holds something else keeps nothing but what belongs there from being written."""

    @pytest.mark.usefixtures("waitaof")
    @pytest.mark.parametrize("key", ["track:A", INDEX])
    def test_the_others_are_written_meanwhile(
        self, rig: RealRig, capsys: pytest.CaptureFixture[str], key: str
    ) -> None:
        rig.raw.set(key, "somebody was here")
        assert not rig.write(over("A"), over("B", 86_400), play("C", 86_430))
        assert key in rig.recorder.trouble
        assert rig.kept()["name"] == "A"
        assert rig.kept(86_400)["name"] == "B"
        assert rig.kept(86_430)["name"] == "C"
        assert not rig.write(over("C", 86_430), over("D", 86_460))
        assert rig.kept(86_460)["name"] == "D"
        for _ in range(3):
            assert not rig.later(REFUSED_RETRY)
        assert len(rig.outbox) == 1
        rig.raw.delete(key)
        assert rig.later(REFUSED_RETRY)
        assert rig.heard() == {0: "track:A 30000"}
        assert rig.raw.hget("track:A", "name") == "A"
        assert rig.later(1)
        assert len(rig.outbox) == 0
        gone, back = lines(capsys)
        assert gone.endswith(f"or set REDIS_PREFIX ({key}) (everything else was written)")
        assert back == IS_BACK

    def test_it_is_not_tried_again_at_every_turn(self, rig: RealRig) -> None:
        rig.raw.set("track:A", "somebody was here")
        rig.write(over("A"))
        rig.line.written()
        rig.later(REFUSED_RETRY - 1)
        assert rig.line.written() == []
        rig.later(1)
        assert rig.line.written() == [0]

    def test_the_open_play_whose_key_somebody_took_moves_on_when_it_is_over(self, rig: RealRig) -> None:
        rig.write(play("A"))
        rig.raw.delete(f"listening:{SECOND}")
        rig.raw.set(f"listening:{SECOND}", "somebody was here")
        assert not rig.write(play("A", heard=40), shown=play("A"))
        assert f"listening:{SECOND}" in rig.recorder.trouble
        assert rig.write(over("A", heard=60), play("B", 60))
        assert rig.kept(1)["ms_played"] == "60000"
        assert rig.kept(60)["name"] == "B"
        assert rig.recorder.trouble == ""

    def test_one_that_moved_on_after_a_refusal_is_no_trouble_any_more(self, rig: RealRig) -> None:
        rig.raw.set("track:A", "somebody was here")
        assert not rig.write(over("A"))
        rig.raw.delete("track:A", f"listening:{SECOND}")
        rig.raw.set(f"listening:{SECOND}", "somebody was here, too")
        assert rig.later(REFUSED_RETRY)
        assert rig.recorder.trouble == ""
        assert rig.kept(1)["name"] == "A"

    def test_the_status_itself(self, rig: RealRig, capsys: pytest.CaptureFixture[str]) -> None:
        rig.raw.set(STATUS, "somebody was here")
        assert not rig.write(over("A"), play("B", 30))
        for second in range(1, 10):
            assert not rig.write(play("B", 30, 30 + second))
            rig.clock.sleep(1)
        assert rig.heard() == {0: "track:A 30000", 30: "track:B 39000"}
        assert len(rig.outbox) == 0
        rig.raw.delete(STATUS)
        assert rig.write(play("B", 30, 40))
        assert len(lines(capsys)) == 2

    def test_now_playing(self, rig: RealRig) -> None:
        rig.raw.lpush("now_playing", "somebody was here")
        assert rig.write(play("A"), shown=play("A"))
        assert rig.raw.get("now_playing") == f"listening:{SECOND}"


class TestCatchUp:
    COUNT = 5000

    @pytest.mark.usefixtures("waitaof")
    def test_after_a_long_outage_in_portions_and_in_order(self, rig: RealRig, server: EmbeddedServer) -> None:
        rig.outbox.put([over(f"P{number:04}", number) for number in range(self.COUNT)])
        rig.restart()
        assert rig.write(play("now", self.COUNT), shown=play("now", self.COUNT))
        portions = [found for commands in rig.line.trips if (found := written(commands))]
        assert [len(portion) for portion in portions] == [*[PLAYS_PER_BATCH] * 25, 1]
        assert [key for portion in portions for key in portion] == list(range(self.COUNT + 1))
        assert list(rig.heard()) == list(range(self.COUNT + 1))
        assert rig.raw.hget(STATUS, "outbox") == str(self.COUNT)
        assert rig.write()
        assert len(rig.outbox) == 0

    def test_what_does_not_fit_into_a_turn_goes_with_the_next(self, rig: RealRig) -> None:
        rig.outbox.put([over(f"P{number:04}", number) for number in range(4 * PLAYS_PER_BATCH)])
        rig.line.after = lambda commands: rig.clock.sleep(0.6 * MAX_CATCH_UP if written(commands) else 0)
        assert rig.write(play("now", 9000))
        assert list(rig.heard()) == [*range(3 * PLAYS_PER_BATCH), 9000]
        assert rig.write(play("now", 9000, 60))
        assert list(rig.heard()) == [*range(4 * PLAYS_PER_BATCH), 9000]

    def test_one_that_breaks_off_goes_on_where_it_was(self, fragile: RealRig) -> None:
        fragile.raw.config_set("appendfsync", "always")
        fragile.outbox.put([over(f"P{number:04}", number) for number in range(3 * PLAYS_PER_BATCH)])
        fragile.line.before = lambda commands: (
            failing_at("HSET")(commands) if PLAYS_PER_BATCH in written(commands) else None
        )
        assert not fragile.write()
        assert list(fragile.heard()) == list(range(PLAYS_PER_BATCH))
        fragile.line.before = lambda _: None
        assert fragile.later(60)
        assert list(fragile.heard()) == list(range(3 * PLAYS_PER_BATCH))

    def test_a_server_that_refuses_all_is_not_given_all(
        self, fragile: RealRig, sick: Sick, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fragile.outbox.put([over(f"P{number:04}", number) for number in range(3 * PLAYS_PER_BATCH)])
        sick.fall("OOM")
        for _ in range(3):
            assert not fragile.later(60)
        assert fragile.line.written() == [*range(PLAYS_PER_BATCH)] * 3
        sick.recover("OOM")
        assert fragile.later(60)
        assert fragile.line.written() == list(range(3 * PLAYS_PER_BATCH))
        assert len(lines(capsys)) == 2

    def test_what_waits_for_its_proof_is_not_read_again_and_again(
        self, fragile: RealRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fragile.raw.config_set("appendonly", "no")
        fragile.outbox.put([over(f"P{number:04}", number) for number in range(3 * PLAYS_PER_BATCH)])
        fragile.write()
        read = []
        row = outbox_room._row
        monkeypatch.setattr(outbox_room, "_row", lambda *of: read.append(of) or row(*of))  # type: ignore[func-returns-value]
        fragile.write(play("now", 9000))
        assert len(read) <= 1
