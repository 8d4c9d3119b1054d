from __future__ import annotations

import os
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger import recorder as room
from spotify_logger.link import RedisLink
from spotify_logger.pacing import Backoff
from spotify_logger.playback import Item
from spotify_logger.plays import Play, to_iso
from spotify_logger.recorder import NOW_PLAYING_GRACE, Recorder
from spotify_logger.simulator.virtual import VirtualClock
from spotify_logger.store import Store
from tests.conftest import start_again, start_server, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from spotify_logger.embedded import EmbeddedServer

SECOND = 1_795_370_400  # 2026-11-22T18:00:00Z
INDEX = "plays:2026-11-22"


def play(
    name: str,
    start: int = 0,
    heard: int = 30,
    *,
    reason: str | None = None,
    second: int | None = None,
) -> Play:
    """A play that starts so many seconds after six o'clock."""
    item = Item(f"track:{name}", f"spotify:track:{name}", 200_000, {"name": name, "album": "Discovery"})
    begun = (SECOND + start) * 1000
    fields = {"uri": item.uri, "type": "track", "id": name, "name": name}
    return Play(
        SECOND + start if second is None else second,
        item,
        begun,
        begun + heard * 1000,
        heard * 1000,
        reason,
        fields=fields,
    )


class Line(RedisLink):
    """The real link, counting how often somebody wanted it."""

    wanted = 0

    def connect(self) -> int:
        self.wanted += 1
        return super().connect()


class Rig:
    """A recorder, its clock, and a second look at the server."""

    def __init__(self, url: str, options: str = "") -> None:
        self.line = Line(url + options)
        self.clock = VirtualClock(SECOND)
        self.raw = redis.Redis.from_url(url, decode_responses=True)
        self.recorder = self.another()

    def another(self) -> Recorder:
        """What another process would have."""
        self.store = Store("", utc=self.clock.utc, connect=lambda _: self.line)
        return Recorder(self.store, self.clock, Backoff(1.0, 60.0, lambda: 1.0))

    def write(self, *plays: Play, shown: Play | None = None, due: float = 30.0) -> bool:
        self.recorder.add(plays)
        return self.recorder.write(shown, due, {"state": "well"})

    def tries(self, act: Callable[[], object]) -> bool:
        """Whether Redis is asked at all."""
        before = self.line.wanted
        act()
        return self.line.wanted > before

    def kept(self, second: int = SECOND) -> dict[str, str]:
        fields = self.raw.hgetall(f"listening:{second}")
        return {str(name): str(value) for name, value in fields.items()}

    def heard(self) -> dict[str, str]:
        """What the index of the day says: seconds after six o'clock, and what is kept for them."""
        rows = self.raw.hgetall(INDEX)
        return {str(int(second) - SECOND): str(row) for second, row in rows.items()}

    def close(self) -> None:
        self.store.close()
        self.raw.close()


@pytest.fixture
def rig(redis_url: str) -> Iterator[Rig]:
    rig = Rig(redis_url)
    yield rig
    rig.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server to break."""
    server = start_server(tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture
def fragile(server: EmbeddedServer) -> Iterator[Rig]:
    rig = Rig(server.url, "?socket_timeout=0.3&socket_connect_timeout=0.3")
    yield rig
    rig.close()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was logged since the last time somebody asked, without the time."""
    return [line[20:] for line in capsys.readouterr().err.splitlines()]


class TestWriting:
    def test_a_play_its_index_its_item_and_the_status(self, rig: Rig) -> None:
        assert rig.write(play("A"))
        assert rig.kept() == {name: str(value) for name, value in play("A").to_hash().items()}
        assert rig.heard() == {"0": "track:A 30000"}
        assert rig.raw.hgetall("track:A") == {"name": "A", "album": "Discovery"}
        assert rig.raw.hgetall("spotify_logger:status") == {
            "state": "well",
            "last_play": f"listening:{SECOND}",
        }

    def test_newer_states_of_a_play_take_the_place_of_older_ones(self, rig: Rig) -> None:
        rig.write(play("A", heard=30))
        rig.recorder.add([play("A", heard=60)])
        rig.recorder.add([play("A", heard=90), play("B", 90)])
        assert len(rig.recorder) == 2
        assert rig.write(play("A", heard=90, reason="skipped"))
        assert rig.heard() == {"0": "track:A 90000", "90": "track:B 30000"}
        assert rig.kept()["end_reason"] == "skipped"
        assert len(rig.recorder) == 0

    def test_the_last_play_is_the_one_that_started_last(self, rig: Rig) -> None:
        rig.write(play("C", 300), play("A", 0, reason="skipped"), play("B", 200, reason="skipped"))
        assert rig.raw.hget("spotify_logger:status", "last_play") == f"listening:{SECOND + 300}"

    def test_where_nothing_waits_only_the_status_is_written(self, rig: Rig) -> None:
        assert rig.write()
        assert rig.raw.keys() == ["spotify_logger:status"]

    def test_a_play_is_written_once_and_no_more(self, rig: Rig) -> None:
        rig.write(play("A", reason="skipped"))
        rig.raw.flushall()
        assert rig.write()
        assert not rig.raw.exists(f"listening:{SECOND}")


class TestKeys:
    def test_plays_whose_seconds_are_taken_go_to_the_next_free_ones_and_stay_there(self, rig: Rig) -> None:
        rig.raw.hset(f"listening:{SECOND}", mapping={"started_at": "2026-11-22T18:00:00.500Z", "uri": "x"})
        rig.raw.set(f"listening:{SECOND + 2}", "no play at all")
        rig.write(play("A", 0, 1))
        rig.write(play("A", 0, 1, reason="skipped"), play("B", 1, 1))
        assert rig.write(play("B", 1, 7))
        assert rig.heard() == {"1": "track:A 1000", "3": "track:B 7000"}
        assert rig.kept()["uri"] == "x"
        assert rig.kept(SECOND + 1)["name"] == "A"
        assert rig.kept(SECOND + 3)["name"] == "B"

    def test_another_process_finds_the_play_under_its_key(self, rig: Rig) -> None:
        rig.raw.hset(f"listening:{SECOND}", mapping={"started_at": "2026-11-22T18:00:00.500Z", "uri": "x"})
        rig.write(play("A", 0, 30))
        rig.recorder = rig.another()
        loaded = rig.recorder.load()
        assert loaded is not None
        assert loaded[0] is not None
        second, fields = loaded[0]
        assert (second, fields["name"]) == (SECOND + 1, "A")
        assert rig.write(play("A", 0, 60, second=second))
        assert rig.heard() == {"1": "track:A 60000"}

    def test_one_that_died_between_writing_and_knowing_writes_the_same_again(self, rig: Rig) -> None:
        rig.write(play("A", 0, 30))
        rig.recorder = rig.another()
        rig.write(play("A", 0, 60))
        assert rig.heard() == {"0": "track:A 60000"}

    def test_no_key_is_remembered_for_longer_than_its_play_is_open(self, rig: Rig) -> None:
        for number in range(5):
            rig.write(play("A", number))
            assert list(rig.recorder._keys) == [SECOND + number]
            rig.write(play("A", number, reason="skipped"))
        assert rig.recorder._keys == {}


class TestNowPlaying:
    def test_it_names_the_open_play_until_a_while_after_the_next_answer_is_due(self, rig: Rig) -> None:
        rig.write(play("A"), shown=play("A"), due=5)
        assert rig.raw.get("now_playing") == f"listening:{SECOND}"
        assert 0 < int(rig.raw.pttl("now_playing")) <= (5 + NOW_PLAYING_GRACE) * 1000

    def test_it_is_refreshed_even_where_the_play_did_not_change(self, rig: Rig) -> None:
        rig.write(play("A"), shown=play("A"), due=5)
        rig.write(shown=play("A"), due=600)
        assert int(rig.raw.pttl("now_playing")) > 600_000

    def test_it_expires(self, rig: Rig) -> None:
        rig.write(play("A"), shown=play("A"), due=0.05 - NOW_PLAYING_GRACE)
        wait_until(lambda: rig.raw.get("now_playing") is None)

    def test_it_names_the_key_that_the_play_really_has(self, rig: Rig) -> None:
        rig.raw.set(f"listening:{SECOND}", "no play at all")
        rig.write(play("A"), shown=play("A"))
        assert rig.raw.get("now_playing") == f"listening:{SECOND + 1}"

    def test_it_is_cleared_when_the_play_is_over(self, rig: Rig) -> None:
        rig.write(play("A"), shown=play("A"))
        rig.write(play("A", reason="stopped"))
        assert rig.raw.get("now_playing") is None

    def test_the_next_play_takes_over(self, rig: Rig) -> None:
        rig.write(play("A"), shown=play("A"))
        rig.write(play("A", reason="skipped"), play("B", 30), shown=play("B", 30))
        assert rig.raw.get("now_playing") == f"listening:{SECOND + 30}"

    def test_an_answer_that_says_nothing_leaves_it_to_expire(self, rig: Rig) -> None:
        rig.write(play("A"), shown=play("A"))
        rig.write()
        assert rig.raw.get("now_playing") == f"listening:{SECOND}"


class TestAway:
    def test_killed_and_started_again_everything_that_waited_is_there_once(
        self, fragile: Rig, server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fragile.write(play("A", 0, 30), shown=play("A"))
        os.kill(server.pid or 0, signal.SIGKILL)
        assert server.process is not None
        server.process.wait()
        assert not fragile.write(play("A", 0, 60), shown=play("A"))
        for second in range(60, 90):
            fragile.clock.sleep(1)
            closed = play("A", 0, 60, reason="skipped")
            assert not fragile.write(closed, play("B", 60, second - 60), shown=play("B", 60))
        fragile.clock.sleep(60)
        assert not fragile.write(play("B", 60, 60, reason="stopped"), play("C", 200))
        start_again(server)
        fragile.clock.sleep(60)
        assert fragile.write(play("C", 200, 60), shown=play("C", 200))
        assert fragile.heard() == {"0": "track:A 60000", "60": "track:B 60000", "200": "track:C 60000"}
        assert fragile.kept()["end_reason"] == "skipped"
        assert fragile.kept(SECOND + 60)["end_reason"] == "stopped"
        assert fragile.raw.get("now_playing") == f"listening:{SECOND + 200}"
        assert fragile.recorder.trouble == ""
        gone, back = lines(capsys)
        assert gone.startswith("Redis at 127.0.0.1:")
        assert gone.endswith("(plays wait in memory, the next try is in 1 s)")
        assert back == "Redis is there again and takes what waited for it"

    def test_while_it_hangs_it_is_asked_more_and_more_seldom(
        self, fragile: Rig, server: EmbeddedServer
    ) -> None:
        fragile.write(play("A"))
        os.kill(server.pid or 0, signal.SIGSTOP)
        tried = []
        for second in range(12):
            if fragile.tries(lambda: fragile.write(play("A", heard=60))):
                tried.append(second)
            fragile.clock.sleep(1)
        assert tried == [0, 1, 3, 7]
        assert "127.0.0.1" in fragile.recorder.trouble
        os.kill(server.pid or 0, signal.SIGCONT)
        fragile.clock.sleep(60)
        assert fragile.write()
        assert fragile.heard() == {"0": "track:A 60000"}

    def test_once_it_was_there_again_the_waits_begin_anew(
        self, fragile: Rig, server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for _ in range(2):
            server.stop()
            assert not fragile.write(play("A"))
            fragile.clock.sleep(1)
            assert not fragile.write()
            start_again(server)
            fragile.clock.sleep(2)
            assert fragile.write()
        gone = [line for line in lines(capsys) if "plays wait" in line]
        assert [line.partition("the next try is in ")[2] for line in gone] == ["1 s)", "1 s)"]

    def test_one_that_has_forgotten_all_is_given_the_whole_open_play(
        self, fragile: Rig, server: EmbeddedServer
    ) -> None:
        fragile.write(play("A"))
        fragile.raw.flushall()
        server.stop()
        start_again(server)
        assert fragile.write(play("A", heard=60))
        assert fragile.kept() == {name: str(value) for name, value in play("A", heard=60).to_hash().items()}

    def test_memory_is_bounded_and_a_play_that_is_lost_is_told(
        self,
        fragile: Rig,
        server: EmbeddedServer,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(room, "LONGEST_QUEUE", 3)
        server.stop()
        for number in range(5):
            fragile.write(play("A", number, reason="skipped"))
        assert len(fragile.recorder) == 3
        assert lines(capsys)[1:] == [
            f"lost the play of 2026-11-22T18:00:0{number}.000Z: Redis is away and memory is full"
            for number in (0, 1)
        ]
        start_again(server)
        fragile.clock.sleep(60)
        assert fragile.write()
        assert list(fragile.heard()) == ["2", "3", "4"]

    def test_a_month_of_plays_goes_in_one_turn(self, rig: Rig) -> None:
        waiting = [play(f"{number:04}", number * 4, reason="skipped") for number in range(room.LONGEST_QUEUE)]
        assert rig.write(*waiting)
        assert len(rig.heard()) == room.LONGEST_QUEUE

    def test_what_it_refuses_is_no_reason_to_hold_up_the_rest(
        self, rig: Rig, capsys: pytest.CaptureFixture[str]
    ) -> None:
        rig.write(play("A"))
        rig.raw.delete(f"listening:{SECOND}")
        rig.raw.set(f"listening:{SECOND}", "somebody was here")
        closed = play("A", heard=60, reason="skipped")
        assert not rig.write(closed, play("B", 60, reason="skipped"), play("C", 90))
        assert rig.heard() == {"0": "track:A 60000", "60": "track:B 30000", "90": "track:C 30000"}
        assert rig.kept(SECOND + 60)["end_reason"] == "skipped"
        assert len(rig.recorder) == 1
        assert f"listening:{SECOND}" in rig.recorder.trouble
        rig.raw.delete(f"listening:{SECOND}")
        rig.clock.sleep(1)
        assert rig.write()
        assert rig.kept()["end_reason"] == "skipped"
        assert len(lines(capsys)) == 2

    @pytest.mark.parametrize("key", ["track:A", INDEX])
    def test_nor_is_anything_else_of_the_play(self, rig: Rig, key: str) -> None:
        rig.raw.set(key, "somebody was here")
        assert not rig.write(play("A", reason="skipped"), play("B", 86_400))
        assert len(rig.recorder) == 1
        assert rig.kept()["name"] == "A"
        assert rig.kept(SECOND + 86_400)["name"] == "B"
        rig.raw.delete(key)
        rig.clock.sleep(1)
        assert rig.write()
        assert rig.heard() == {"0": "track:A 30000"}
        assert rig.raw.hget("track:A", "name") == "A"

    def test_a_server_without_memory_keeps_everything_waiting(
        self, fragile: Rig, capsys: pytest.CaptureFixture[str]
    ) -> None:
        fragile.raw.config_set("maxmemory", "1")
        assert not fragile.write(play("A", reason="skipped"), play("B", 30))
        fragile.clock.sleep(1)
        assert not fragile.write(play("B", 30, 60))
        assert len(fragile.recorder) == 2
        fragile.raw.config_set("maxmemory", "0")
        fragile.clock.sleep(60)
        assert fragile.write()
        assert fragile.heard() == {"0": "track:A 30000", "30": "track:B 60000"}
        assert len(lines(capsys)) == 2


class TestLoading:
    def test_nothing_is_there(self, rig: Rig) -> None:
        assert rig.recorder.load() == (None, {})

    def test_the_newest_play_and_the_status(self, rig: Rig) -> None:
        rig.write(play("A", reason="skipped"), play("B", 30))
        loaded = rig.another().load()
        assert loaded is not None
        newest, status = loaded
        assert newest is not None
        assert newest[0] == SECOND + 30
        assert newest[1]["started_at"] == to_iso((SECOND + 30) * 1000)
        assert status["state"] == "well"

    def test_it_is_away_and_comes_back(
        self, fragile: Rig, server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
    ) -> None:
        server.stop()
        assert fragile.recorder.load() is None
        assert not fragile.tries(fragile.recorder.load)
        assert not fragile.tries(fragile.write)
        start_again(server)
        fragile.clock.sleep(1)
        assert fragile.recorder.load() == (None, {})
        assert len(lines(capsys)) == 2


def test_it_takes_what_the_tracker_makes_of_local_files(rig: Rig) -> None:
    uri = "spotify:local:Me::Demo:200"
    item = Item("local:0123456789abcdef", uri, 200_000, {"name": "Demo", "uri": uri})
    local = replace(play("A"), item=item, fields={"uri": uri, "name": "Demo"})
    assert rig.write(local)
    assert rig.heard() == {"0": "local:0123456789abcdef 30000"}
    assert rig.raw.hget(item.key, "uri") == uri
