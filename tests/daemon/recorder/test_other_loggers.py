"""What others do to the log: an import, and somebody who forgets plays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.conftest import start_again
from tests.daemon.recorder.rig import INDEX, SECOND, RealRig, over, play

if TYPE_CHECKING:
    from spotify_logger.storage.embedded_server import EmbeddedServer


class TestImported:
    def test_what_others_brought_is_known_while_redis_is_there(
        self, fragile: RealRig, server: EmbeddedServer
    ) -> None:
        fragile.write(over("A"))
        brought = replace(over("B", 30), source="import")
        early = replace(over("C", -90_000), source="import")
        with fragile.store.batch() as batch:
            for play in (brought, early):
                batch.write_play(play.second, play.to_hash(), play.index)
        assert [play.item.uri for play in fragile.recorder.foreign_plays(SECOND * 1000)] == [
            "spotify:track:B"
        ]
        server.stop()
        assert fragile.recorder.foreign_plays(SECOND * 1000) == []
        start_again(server)


class TestForgotten:
    """What somebody wanted to be forgotten stays away, whatever the outbox still has of it."""

    def forget(self, rig: RealRig, *seconds: int) -> None:
        """As the command does it."""
        rig.raw.hset("forgotten", mapping={str(SECOND + each): SECOND + each + 30 for each in seconds})
        rig.raw.delete(*(f"listening:{SECOND + each}" for each in seconds))
        rig.raw.hdel(INDEX, *(str(SECOND + each) for each in seconds))

    @pytest.mark.parametrize("restarted", [False, True])
    def test_a_server_that_lost_something_is_not_given_it_again(
        self, fragile: RealRig, server: EmbeddedServer, *, restarted: bool
    ) -> None:
        fragile.raw.config_set("appendfsync", "always")
        fragile.write(over("A"), over("B", 30), over("C", 60))
        fragile.write()
        self.forget(fragile, 0, 60)
        fragile.raw.delete(f"listening:{SECOND + 30}", INDEX)
        server.stop()
        start_again(server)
        if restarted:
            fragile.restart()
            fragile.recorder.load()
        assert fragile.later(60)
        assert fragile.heard() == {30: "track:B 30000"}
        assert fragile.raw.keys("listening:*") == [f"listening:{SECOND + 30}"]

    def test_nor_one_that_has_lost_what_was_forgotten_too(
        self, fragile: RealRig, server: EmbeddedServer
    ) -> None:
        fragile.raw.config_set("appendfsync", "always")
        fragile.write(over("A"), over("B", 30))
        fragile.write()
        self.forget(fragile, 0)
        assert fragile.recorder.tombstones() == {SECOND: SECOND + 30}
        fragile.raw.flushall()
        server.stop()
        start_again(server)
        fragile.restart()
        assert fragile.later(60)
        assert fragile.heard() == {30: "track:B 30000"}
        assert fragile.raw.hgetall("forgotten") == {str(SECOND): str(SECOND + 30)}

    def test_what_was_not_yet_safe_is_not_sent_over_the_next_connection(self, rig: RealRig) -> None:
        rig.raw.config_set("appendfsync", "no")
        rig.write(over("A"), over("B", 30))
        self.forget(rig, 0)
        rig.raw.client_kill_filter(_type="normal", skipme=True)
        assert rig.later(60)
        assert rig.heard() == {30: "track:B 30000"}
        assert rig.waiting() == [30]

    def test_a_newer_state_is_not_sent_though_nothing_broke(self, rig: RealRig) -> None:
        rig.write(over("A"))
        rig.write()
        self.forget(rig, 0)
        assert rig.write(over("A", heard=60), over("B", 90))
        assert rig.heard() == {90: "track:B 30000"}
        assert rig.kept() == {}

    def test_another_process_does_not_go_on_with_it(self, rig: RealRig) -> None:
        rig.write(over("A"), over("B", 30), at=60)
        rig.write()
        self.forget(rig, 30)
        rig.restart()
        assert (rig.recorder.load() or [None])[0] == over("A")

    def test_nor_does_one_with_a_new_state_folder(self, rig: RealRig) -> None:
        """The command was ended between its writes."""
        rig.write(over("A"), over("B", 30), at=60)
        rig.raw.hset("forgotten", str(SECOND + 30), SECOND + 60)
        rig.path = rig.path.with_name("new.sqlite")
        rig.restart()
        newest, *_ = rig.recorder.load() or [None]
        assert newest is not None
        assert newest.second == SECOND
        assert rig.outbox.is_deleted(over("B", 30))

    def test_its_second_is_given_to_no_other(self, rig: RealRig) -> None:
        rig.write(over("A"))
        rig.write()
        self.forget(rig, 0)
        rig.path = rig.path.with_name("new.sqlite")
        rig.restart()
        rig.recorder.load()
        assert rig.write(over("B", 0.5))
        assert rig.heard() == {1: "track:B 30000"}

    def test_what_the_catalogue_knew_comes_again_with_the_next_play_of_it(self, rig: RealRig) -> None:
        rig.write(over("A"))
        rig.write()
        self.forget(rig, 0)
        rig.raw.delete("track:A")
        rig.write(play("A", 300), shown=play("A", 300))
        assert rig.raw.hgetall("track:A") == {"name": "A", "album": "Discovery"}
        assert rig.kept(300)["name"] == "A"

    def test_while_redis_is_away_what_was_known_counts(
        self, fragile: RealRig, server: EmbeddedServer
    ) -> None:
        fragile.write(over("A"))
        self.forget(fragile, 0)
        fragile.recorder.tombstones()
        server.stop()
        assert fragile.recorder.tombstones() == {SECOND: SECOND + 30}
        assert "Redis at" in fragile.recorder.trouble
        fragile.restart()
        assert fragile.recorder.tombstones() == {SECOND: SECOND + 30}

    def test_nothing_is_read_again_while_nothing_changes(self, rig: RealRig) -> None:
        rig.write(over("A"))
        self.forget(rig, 0)
        rig.write(over("B", 30))
        rig.line.trips.clear()
        for number in range(3):
            rig.write(over("C", 60 + 30 * number))
        asked = [command for trip in rig.line.trips for command in trip if command[1:2] == ("forgotten",)]
        assert set(asked) == {("HLEN", "forgotten")}
