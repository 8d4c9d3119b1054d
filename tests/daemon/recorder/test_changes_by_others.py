"""What others change in the log: imports and deletions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.daemon.recorder.rig import INDEX, SECOND, BreakableRig, RecorderRig, ended, play


def test_imported_plays_are_known_while_redis_is_there(breakable: BreakableRig) -> None:
    breakable.write(ended("A"))
    with breakable.store.batch() as batch:
        for play in (ended("B", 30), ended("C", -90_000)):
            batch.write_play(play.second, replace(play, source="import").to_hash(), play.index)
    assert [play.item.uri for play in breakable.recorder.foreign_plays(SECOND * 1000)] == ["spotify:track:B"]
    breakable.server.stop()
    assert breakable.recorder.foreign_plays(SECOND * 1000) == []
    assert breakable.recorder.foreign_plays(SECOND * 1000) == [], "it waits before the next try"


def delete(rig: RecorderRig, *seconds: int) -> None:
    """Delete plays as `spotify-logger delete` does."""
    rig.raw.hset("forgotten", mapping={str(SECOND + each): SECOND + each + 30 for each in seconds})
    rig.raw.delete(*(f"listening:{SECOND + each}" for each in seconds))
    rig.raw.hdel(INDEX, *(str(SECOND + each) for each in seconds))


class TestDeletedPlays:
    """They stay away, whatever the outbox still has of them."""

    @pytest.mark.parametrize("is_restarted", [False, True])
    def test_are_not_sent_to_a_server_that_lost_data(
        self, breakable: BreakableRig, *, is_restarted: bool
    ) -> None:
        breakable.raw.config_set("appendfsync", "always")
        breakable.write(ended("A"), ended("B", 30), ended("C", 60))
        breakable.write()
        delete(breakable, 0, 60)
        if is_restarted:
            assert breakable.recorder.tombstones() == {SECOND: SECOND + 30, SECOND + 60: SECOND + 90}
            breakable.raw.flushall()  # the tombstones are lost as well
        else:
            breakable.raw.delete(f"listening:{SECOND + 30}", INDEX)
        breakable.restart_server()
        if is_restarted:
            breakable.restart()
            breakable.load()
        assert breakable.write_after(60)
        assert breakable.index() == {30: "track:B 30000"}
        assert breakable.raw.keys("listening:*") == [f"listening:{SECOND + 30}"]
        assert breakable.raw.hlen("forgotten") == 2

    def test_are_not_sent_in_a_newer_state(self, rig: RecorderRig) -> None:
        rig.write(ended("A"))
        rig.write()
        delete(rig, 0)
        assert rig.write(ended("A", played=60), ended("B", 90))
        assert rig.index() == {90: "track:B 30000"}
        assert rig.fields() == {}

    def test_are_not_continued_by_another_process(self, rig: RecorderRig) -> None:
        rig.write(ended("A"), ended("B", 30), at=60)
        rig.write()
        rig.raw.hset("forgotten", str(SECOND + 30), SECOND + 60)  # the command was interrupted after this
        other = rig.other_logger()
        newest, *_ = other.load()
        assert newest is not None
        assert newest.second == SECOND
        assert other.outbox.is_deleted(ended("B", 30))
        other.close()
        delete(rig, 30)
        rig.restart()
        assert rig.load()[0] == ended("A")

    def test_keep_their_seconds_from_others(self, rig: RecorderRig) -> None:
        rig.write(ended("A"))
        rig.write()
        delete(rig, 0)
        other = rig.other_logger()
        other.load()
        assert other.write(ended("B", 0.5))
        assert rig.index() == {1: "track:B 30000"}
        other.close()

    def test_do_not_keep_their_items_away(self, rig: RecorderRig) -> None:
        rig.write(ended("A"))
        rig.write()
        delete(rig, 0)
        rig.raw.delete("track:A")
        rig.write(play("A", 300), shown=play("A", 300))
        assert rig.raw.hgetall("track:A") == {"name": "A", "album": "Discovery"}
        assert rig.fields(300)["name"] == "A"

    def test_are_known_while_redis_is_away(self, breakable: BreakableRig) -> None:
        breakable.write(ended("A"))
        delete(breakable, 0)
        breakable.recorder.tombstones()
        breakable.server.stop()
        assert breakable.recorder.tombstones() == {SECOND: SECOND + 30}
        assert "Redis at" in breakable.recorder.session.trouble
        breakable.restart()
        assert breakable.recorder.tombstones() == {SECOND: SECOND + 30}
