"""Redis is away, refuses writes, or has keys of another type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from spotify_logger.daemon import recorder as recorder_module
from spotify_logger.daemon.recorder import MAX_CATCH_UP, REFUSED_RETRY
from tests.conftest import start_again
from tests.daemon.recorder.rig import (
    INDEX,
    OUTAGE,
    SECOND,
    STATUS,
    BreakableRig,
    RecorderRig,
    ended,
    log_lines,
    play,
    written_seconds,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spotify_logger.storage.client import Command

IS_BACK = "Redis is back; sending queued plays"


class TestOutage:
    @pytest.mark.parametrize(
        ("how", "words"),
        [
            ("down", "is it running, and is REDIS_URL right?"),
            ("hanging", "did not answer in time"),
            ("READONLY", "is a read-only replica"),
            ("OOM", "is out of memory"),
            ("NOPERM", "denies"),
        ],
    )
    def test_plays_are_queued_and_sent_in_order_and_two_lines_are_logged(
        self,
        breakable: BreakableRig,
        capsys: pytest.CaptureFixture[str],
        how: str,
        words: str,
    ) -> None:
        breakable.write(play("A"), shown=play("A"))
        with breakable.broken(how):
            for wait, plays in (
                (0, [play("A", played=45)]),
                (1, [ended("A", played=60), play("B", 60)]),
                (30, [ended("B", 60, 5), ended("C", 65), play("D", 95)]),
                (60, [play("D", 95, 60)]),
            ):
                breakable.clock.sleep(wait)
                assert not breakable.write(*plays, shown=plays[-1])
            assert words in breakable.recorder.session.trouble
            assert breakable.waiting() == [0, 60, 65, 95]
        breakable.client.take_written()
        assert breakable.write_after(60)
        assert breakable.client.take_written() == [0, 60, 65, 95]
        assert breakable.index() == {
            0: "track:A 60000",
            60: "track:B 5000",
            65: "track:C 30000",
            95: "track:D 60000",
        }
        assert [breakable.fields(key).get("end_reason") for key in breakable.index()] == [
            *["skipped"] * 3,
            None,
        ]
        assert breakable.recorder.session.trouble == ""
        outage, back = log_lines(capsys)
        assert words in outage
        assert outage.endswith("(plays are queued; next try in 1 s)")
        assert back == IS_BACK

    def test_each_new_problem_is_logged_once(
        self, breakable: BreakableRig, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with breakable.broken("OOM"):
            for second in (0, 60, 120):
                assert not breakable.write(ended(f"P{second}", second), at=second)
                breakable.clock.sleep(60)
            with breakable.broken("READONLY"):
                assert not breakable.write()
        assert breakable.write_after(60)
        out_of_memory, replica, back = log_lines(capsys)
        assert "is out of memory" in out_of_memory
        assert "is a read-only replica" in replica
        assert back == IS_BACK

    def test_waits_between_tries_grow_and_start_anew_after_success(self, breakable: BreakableRig) -> None:
        breakable.write(play("A"))
        for _ in range(2):
            tries = []
            with breakable.broken("READONLY"):
                for second in range(12):
                    connects = breakable.client.connects
                    assert not breakable.write(play("A", played=60))
                    if breakable.client.connects > connects:
                        tries.append(second)
                    breakable.clock.sleep(1)
            assert tries == [0, 1, 3, 7]
            assert breakable.write_after(60)
        assert breakable.index() == {0: "track:A 60000"}

    def test_a_server_may_die_at_any_moment_of_a_turn(self, breakable: BreakableRig) -> None:
        breakable.raw.config_set("appendfsync", "always")
        deaths = 0
        expected = {}
        for moment in range(99):
            breakable.client.trips.clear()
            expected[30 * moment] = f"track:P{moment} 30000"
            hook = "after" if moment % 2 else "before"
            breakable.client.listen(**{hook: kill_at(breakable, moment // 2)})
            breakable.write(ended(f"P{moment}", 30 * moment))
            if breakable.server.is_alive:
                break
            deaths += 1
            breakable.client.listen()
            start_again(breakable.server)
            assert breakable.write_after(60)
            assert breakable.index() == expected
        assert deaths >= 6


def kill_at(rig: BreakableRig, trip: int) -> Callable[[Sequence[Command]], None]:
    """Return a hook that kills the server at a round trip."""

    def act(_: Sequence[Command]) -> None:
        if len(rig.client.trips) == trip + 1:
            rig.kill_server()

    return act


class TestKeysOfAnotherType:
    @pytest.mark.parametrize("key", ["track:A", INDEX])
    def test_only_the_plays_that_need_the_key_wait(
        self, rig: RecorderRig, capsys: pytest.CaptureFixture[str], key: str
    ) -> None:
        rig.raw.set(key, "of another program")
        assert not rig.write(ended("A"), ended("B", 86_400), play("C", 86_430))
        assert key in rig.recorder.session.trouble
        assert [rig.fields(second)["name"] for second in (0, 86_400, 86_430)] == ["A", "B", "C"]
        assert not rig.write(ended("C", 86_430), ended("D", 86_460))
        assert rig.fields(86_460)["name"] == "D"
        rig.client.take_written()
        assert not rig.write_after(REFUSED_RETRY - 1)
        assert rig.client.take_written() == []
        assert not rig.write_after(1)
        assert rig.client.take_written() == [0]
        assert len(rig.outbox) == 1
        rig.raw.delete(key)
        assert rig.write_after(REFUSED_RETRY)
        assert rig.index() == {0: "track:A 30000"}
        assert rig.raw.hget("track:A", "name") == "A"
        refusal, back = log_lines(capsys)
        assert refusal.endswith(f"or set REDIS_PREFIX ({key}) (everything else was written)")
        assert back == IS_BACK

    def test_the_open_play_moves_to_another_key_when_it_ends(self, rig: RecorderRig) -> None:
        rig.write(play("A"))
        rig.raw.delete(f"listening:{SECOND}")
        rig.raw.set(f"listening:{SECOND}", "of another program")
        assert not rig.write(play("A", played=40), shown=play("A"))
        assert f"listening:{SECOND}" in rig.recorder.session.trouble
        assert rig.write(ended("A", played=60), play("B", 60))
        assert rig.fields(1)["ms_played"] == "60000"
        assert rig.fields(60)["name"] == "B"
        assert rig.recorder.session.trouble == ""

    def test_plays_are_written_without_the_status(
        self, rig: RecorderRig, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rig.raw.set(STATUS, "of another program")
        assert not rig.write(ended("A"), play("B", 30))
        for second in range(1, 10):
            assert not rig.write(play("B", 30, 30 + second))
            rig.clock.sleep(1)
        assert rig.index() == {0: "track:A 30000", 30: "track:B 39000"}
        assert len(rig.outbox) == 0
        rig.raw.delete(STATUS)
        assert rig.write(play("B", 30, 40))
        assert len(log_lines(capsys)) == 2

    def test_plays_are_written_without_a_gap(self, rig: RecorderRig) -> None:
        rig.raw.set("gaps", "of another program")
        rig.outbox.put([], gaps={SECOND: OUTAGE})
        assert not rig.write(ended("A"))
        assert rig.index() == {0: "track:A 30000"}
        rig.raw.delete("gaps")
        assert rig.write_after(REFUSED_RETRY)
        assert rig.raw.hgetall(f"gap:{SECOND}") == OUTAGE
        assert rig.raw.exists("gaps")


class TestCatchUp:
    @pytest.fixture(autouse=True)
    def _small_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recorder_module, "PLAYS_PER_QUERY", 10)

    @staticmethod
    def queue(rig: RecorderRig, count: int) -> None:
        rig.outbox.put([ended(f"P{number:02}", number) for number in range(count)])

    def test_queued_plays_are_sent_in_batches_and_in_order(self, rig: RecorderRig) -> None:
        self.queue(rig, 50)
        rig.restart()
        assert rig.write(play("now", 50), shown=play("now", 50))
        batches = rig.client.take_batches()
        assert [len(batch) for batch in batches] == [*[10] * 5, 1]
        assert [second for batch in batches for second in batch] == list(range(51))
        assert list(rig.index()) == list(range(51))
        assert rig.raw.hget(STATUS, "outbox") == "0"

    def test_what_does_not_fit_into_a_turn_follows_in_the_next(self, rig: RecorderRig) -> None:
        self.queue(rig, 40)
        rig.client.listen(
            after=lambda commands: rig.clock.sleep(0.6 * MAX_CATCH_UP if written_seconds(commands) else 0)
        )
        assert rig.write(play("now", 9000))
        assert list(rig.index()) == [*range(30), 9000]
        assert rig.write(play("now", 9000, 60))
        assert list(rig.index()) == [*range(40), 9000]

    def test_looking_up_the_plays_of_an_earlier_process_takes_no_longer(self, rig: RecorderRig) -> None:
        self.queue(rig, 10)
        rig.client.listen(after=lambda _: rig.clock.sleep(0.2 * MAX_CATCH_UP))
        assert rig.write()
        assert rig.clock.now - SECOND < 3 * MAX_CATCH_UP
        while rig.waiting():
            rig.write()
        assert list(rig.index()) == list(range(10))

    def test_a_server_that_refuses_everything_gets_one_batch_per_turn(self, breakable: BreakableRig) -> None:
        self.queue(breakable, 30)
        with breakable.broken("OOM"):
            for _ in range(3):
                assert not breakable.write_after(60)
            assert breakable.client.take_written() == [*range(10)] * 3
        assert breakable.write_after(60)
        assert breakable.client.take_written() == list(range(30))
