from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.core.play import Play
from spotify_logger.core.player_state import read_player_state
from spotify_logger.core.redis_keys import PLAY_FIELDS
from spotify_logger.storage.connection import Link, RedisLink
from spotify_logger.storage.durability import Persistence
from spotify_logger.storage.store import MAX_CACHED_KEYS, Store, StoreError
from tests.conftest import start_server
from tests.testbed.fake_redis import FakeRedis
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from spotify_logger.storage.connection import Command, Part, Reply
    from spotify_logger.storage.embedded_server import EmbeddedServer

START = int(datetime(2026, 11, 22, 18, 0, tzinfo=UTC).timestamp())
ROW = "track:4uLU6hMCjMI75M1A2tKUQC 215000"
FIELDS: Mapping[str, str | int] = {
    "uri": "spotify:track:4uLU6hMCjMI75M1A2tKUQC",
    "name": "Veridis Quo",
    "started_at": "2026-11-22T18:00:00.123Z",
    "ms_played": 215000,
    "playing": 1,
}
STORED = {name: str(value) for name, value in FIELDS.items()}


class Recorder:
    """The real link, with a list of what went over it."""

    def __init__(self, url: str) -> None:
        self._link: Link = RedisLink(url)
        self.where = self._link.where
        self.trips: list[list[Command]] = []

    def connect(self) -> int:
        return self._link.connect()

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        self.trips.append(list(commands))
        return self._link.send(commands)

    def nodes(self) -> Sequence[Link]:
        return [self]

    def ask(self, verb: str, keys: Sequence[str], arguments: Sequence[str] = ()) -> list[Part] | None:
        self.trips.append([(verb, key, *arguments) for key in keys])
        return self._link.ask(verb, keys, arguments)

    def close(self) -> None:
        self._link.close()

    def sent(self) -> list[Command]:
        """What was sent since the last time somebody asked."""
        commands = [command for trip in self.trips for command in trip]
        self.trips.clear()
        return commands


class Rig:
    """A store, what it sends, and a second look at the same server."""

    def __init__(self, url: str, prefix: str = "", now: float = START + 600) -> None:
        self.recorder = Recorder(url)
        self.store = Store(url, prefix, utc=lambda: now, connect=lambda _: self.recorder)
        self.raw = redis.Redis.from_url(url, decode_responses=True)

    def sent(self) -> list[Command]:
        return self.recorder.sent()

    def play(self, second: int = START, fields: Mapping[str, str | int] = FIELDS, row: str = ROW) -> None:
        with self.store.batch() as batch:
            batch.write_play(second, fields, row)

    def knows_waitaof(self) -> bool:
        """Whether it says what is on its disk, as Redis does since 7.2; that of Debian 12 is older."""
        return "waitaof" in self.raw.command()

    def close(self) -> None:
        self.store.close()
        self.raw.close()

    def everything(self) -> dict[str, object]:
        """All that the server holds."""
        found: dict[str, object] = {}
        for key in self.raw.scan_iter():
            is_hash = self.raw.type(key) == "hash"
            found[key] = self.raw.hgetall(key) if is_hash else self.raw.get(key)
        return found


@pytest.fixture
def rig(redis_url: str) -> Iterator[Rig]:
    rig = Rig(redis_url)
    yield rig
    rig.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server to break."""
    server = start_server(tmp_path / "redis")
    yield server
    server.stop()


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def come_back_empty(server: EmbeddedServer, rig: Rig) -> None:
    server.start()

    def is_empty() -> bool:
        try:
            return bool(rig.raw.flushall())
        except redis.RedisError:
            return False  # it is still loading

    wait_for(is_empty)


def fill(rig: Rig) -> None:
    with rig.store.batch() as batch:
        batch.write_catalog("track:4uLU6hMCjMI75M1A2tKUQC", {"name": "Veridis Quo", "duration_ms": 345000})
        batch.write_play(START, FIELDS, ROW)
        batch.set_now_playing(START, expires=90)
        batch.write_status({"last_poll": "2026-11-22T18:03:35.000Z", "requests_24h": 17})


class TestWriting:
    def test_one_poll_is_one_round_trip(self, rig: Rig) -> None:
        fill(rig)
        assert len(rig.recorder.trips) == 1
        assert rig.everything() == {
            "listening:1795370400": STORED,
            "plays:2026-11-22": {"1795370400": ROW},
            "track:4uLU6hMCjMI75M1A2tKUQC": {"name": "Veridis Quo", "duration_ms": "345000"},
            "now_playing": "listening:1795370400",
            "spotify_logger:status": {"last_poll": "2026-11-22T18:03:35.000Z", "requests_24h": "17"},
        }

    def test_writing_twice_is_writing_once(self, rig: Rig, redis_url: str) -> None:
        fill(rig)
        once = rig.everything()
        fill(rig)
        another = Rig(redis_url)
        fill(another)
        another.close()
        assert rig.everything() == once

    def test_only_what_changed_is_sent(self, rig: Rig) -> None:
        fill(rig)
        rig.sent()
        with rig.store.batch() as batch:
            batch.write_catalog(
                "track:4uLU6hMCjMI75M1A2tKUQC", {"name": "Veridis Quo", "duration_ms": 345000}
            )
            batch.write_play(START, {**FIELDS, "ms_played": 245000}, "track:4uLU6hMCjMI75M1A2tKUQC 245000")
            batch.write_status({"last_poll": "2026-11-22T18:04:05.000Z", "requests_24h": 17})
        assert rig.sent() == [
            ("HSET", "listening:1795370400", "ms_played", "245000"),
            ("HSET", "plays:2026-11-22", "1795370400", "track:4uLU6hMCjMI75M1A2tKUQC 245000"),
            ("HSET", "spotify_logger:status", "last_poll", "2026-11-22T18:04:05.000Z"),
        ]
        with rig.store.batch() as batch:
            batch.write_status({"requests_24h": 17})
        with rig.store.batch() as batch:
            batch.write_status({"last_poll": "2026-11-22T18:04:05.000Z"})
        assert rig.sent() == []

    def test_a_field_that_vanished_is_taken_away(self, rig: Rig) -> None:
        rig.play()
        rig.sent()
        rig.play(fields={"uri": "u", "ms_played": 215000})
        assert rig.raw.hgetall("listening:1795370400") == {"uri": "u", "ms_played": "215000"}
        assert ("HDEL", "listening:1795370400", "name", "playing", "started_at") in rig.sent()

    def test_what_an_earlier_process_left_is_taken_away(self, rig: Rig) -> None:
        rig.raw.hset(
            "listening:1795370400", mapping={"end_reason": "stopped", "device_name": "Kitchen", "mine": "x"}
        )
        rig.play()
        assert rig.raw.hgetall("listening:1795370400") == {**STORED, "mine": "x"}

    def test_every_field_of_a_play_is_known(self) -> None:
        body = {
            "device": {"name": "Kitchen", "type": "Speaker", "volume_percent": 40},
            "shuffle_state": False,
            "repeat_state": "off",
            "timestamp": 1795370400123,
            "progress_ms": 5,
            "is_playing": True,
            "currently_playing_type": "track",
            "context": {"uri": "spotify:album:x"},
            "item": {
                "type": "track",
                "id": "4uLU6hMCjMI75M1A2tKUQC",
                "uri": "spotify:track:4uLU6hMCjMI75M1A2tKUQC",
                "name": "Veridis Quo",
                "artists": [{"name": "Daft Punk", "id": "4tZwfgrHOc3mvqYlEYSvVi"}],
                "album": {"name": "Discovery", "id": "2noRn2Aes5aoNVsU6iWThc"},
                "duration_ms": 345000,
                "explicit": False,
            },
        }
        playback = read_player_state(body)
        assert playback.item
        play = Play(START, playback.item, START * 1000, START * 1000, 0, "stopped", fields=playback.fields)
        assert play.to_hash().keys() == PLAY_FIELDS

    def test_the_status_and_the_catalogue_keep_what_is_not_given(self, rig: Rig) -> None:
        with rig.store.batch() as batch:
            batch.write_status({"state": "listening", "pid": 1})
            batch.write_catalog("local:ab", {"name": "Demo"})
        with rig.store.batch() as batch:
            batch.write_status({"pid": 2})
            batch.write_catalog("local:ab", {"album": "Tape"})
        assert rig.store.read_status() == {"state": "listening", "pid": "2"}
        assert rig.store.item("local:ab") == {"name": "Demo", "album": "Tape"}

    def test_the_last_word_about_a_key_counts_within_a_batch(self, rig: Rig) -> None:
        rig.play(fields={"uri": "u", "ms_played": 1})
        with rig.store.batch() as batch:
            batch.write_play(START, {"uri": "u", "ms_played": 2, "playing": 1}, "track:a 2")
            batch.write_play(START, {"uri": "u", "ms_played": 1}, "track:a 1")
            batch.set_now_playing(START, 60)
            batch.clear_now_playing()
        assert rig.everything() == {
            "listening:1795370400": {"uri": "u", "ms_played": "1"},
            "plays:2026-11-22": {"1795370400": "track:a 1"},
        }

    def test_a_block_that_fails_sends_nothing(self, rig: Rig) -> None:
        with pytest.raises(ZeroDivisionError), rig.store.batch() as batch:
            batch.write_status({"pid": 1 // 0})
        assert rig.everything() == {}

    @pytest.mark.parametrize(
        ("moment", "day"),
        [
            (datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC), "2026-11-21"),
            (datetime(2026, 11, 22, 0, 0, 0, tzinfo=UTC), "2026-11-22"),
            (datetime(2024, 2, 29, 12, 0, 0, tzinfo=UTC), "2024-02-29"),
        ],
    )
    def test_a_play_belongs_to_the_utc_day_of_its_start(self, rig: Rig, moment: datetime, day: str) -> None:
        second = int(moment.timestamp())
        rig.play(second)
        assert rig.raw.hgetall(f"plays:{day}") == {str(second): ROW}
        assert rig.store.index(date.fromisoformat(day)) == {second: ("track:4uLU6hMCjMI75M1A2tKUQC", 215000)}

    def test_now_playing_expires(self, rig: Rig) -> None:
        with rig.store.batch() as batch:
            batch.set_now_playing(START, expires=12.5)
        assert 10_000 < int(rig.raw.pttl("now_playing")) <= 12_500
        assert rig.store.now_playing() == START
        with rig.store.batch() as batch:
            batch.clear_now_playing()
        assert rig.store.now_playing() is None

    def test_memory_of_what_was_written_is_bounded(self, rig: Rig) -> None:
        rig.play()
        for number in range(3 * MAX_CACHED_KEYS):
            with rig.store.batch() as batch:
                batch.write_catalog(f"track:{number}", {"name": "x"})
                batch.write_status({"pid": number})
        assert len(rig.store._written) == MAX_CACHED_KEYS
        rig.sent()
        rig.play()
        with rig.store.batch() as batch:
            batch.write_status({"pid": 3 * MAX_CACHED_KEYS - 1})
        assert [command[:2] for command in rig.sent()] == [
            ("HSET", "listening:1795370400"),
            ("HDEL", "listening:1795370400"),
            ("HSET", "plays:2026-11-22"),
        ]

    def test_text_of_any_kind_comes_back(self, rig: Rig) -> None:
        title = 'Łódź "\r\n\x00\u202e' + "日本語 🎵 ß" + "x" * 900
        rig.play(fields={"uri": "u", "name": title, "artists": "half \ud83d"})
        assert rig.store.play(START) == {"uri": "u", "name": title, "artists": "half ?"}


class TestPrefix:
    def test_two_listeners_share_a_server(self, redis_url: str) -> None:
        ours, theirs = Rig(redis_url, "ann:"), Rig(redis_url, "ben:")
        fill(ours)
        with theirs.store.batch() as batch:
            batch.write_play(START, {"uri": "b"}, "track:b 1")
        assert ours.store.recent(9) == [(START, STORED)]
        assert theirs.store.recent(9) == [(START, {"uri": "b"})]
        assert ours.store.now_playing() == START
        assert theirs.store.now_playing() is None
        assert theirs.store.read_status() == theirs.store.item("track:4uLU6hMCjMI75M1A2tKUQC") == {}
        assert theirs.store.claim(START, STORED["started_at"], STORED["uri"]) == START + 1
        assert all(key.startswith(("ann:", "ben:")) for key in ours.everything())
        assert ours.raw.get("ann:now_playing") == "ann:listening:1795370400"
        ours.close()
        theirs.close()


class TestClaim:
    AT, URI = "2026-11-22T18:00:00.123Z", "spotify:track:4uLU6hMCjMI75M1A2tKUQC"

    def test_a_free_second_is_taken_and_nothing_written_yet(self, rig: Rig) -> None:
        assert rig.store.claim(START, self.AT, self.URI) == START
        assert rig.everything() == {}

    def test_the_same_play_keeps_its_second(self, rig: Rig, redis_url: str) -> None:
        assert rig.store.claim(START, self.AT, self.URI) == START
        assert rig.store.claim(START, self.AT, self.URI) == START
        rig.play()
        assert rig.store.claim(START, self.AT, self.URI) == START
        restarted = Rig(redis_url)
        assert restarted.store.claim(START, self.AT, self.URI) == START
        restarted.close()

    def test_no_play_gets_the_second_of_another(self, rig: Rig, redis_url: str) -> None:
        assert rig.store.claim(START, self.AT, self.URI) == START  # not yet written
        assert rig.store.claim(START, self.AT, "spotify:track:other") == START + 1
        assert rig.store.claim(START, "2026-11-22T18:00:00.900Z", self.URI) == START + 2
        rig.play()
        restarted = Rig(redis_url)
        assert restarted.store.claim(START, self.AT, "spotify:track:other") == START + 1
        restarted.close()

    def test_nor_one_that_redis_is_still_to_be_told_of(self, rig: Rig) -> None:
        rig.play(START + 1, {"started_at": self.AT, "uri": "spotify:track:other"})
        assert rig.store.claim(START, self.AT, self.URI, {START, START + 2}.__contains__) == START + 3
        assert rig.store.claim(START, self.AT, self.URI, lambda _: False) == START

    def test_what_others_left_there_is_not_free(self, rig: Rig) -> None:
        rig.raw.hset(f"listening:{START}", "mine", "x")
        rig.raw.set(f"listening:{START + 1}", "x")
        rig.raw.lpush(f"listening:{START + 2}", "x")
        assert rig.store.claim(START, self.AT, self.URI) == START + 3

    def test_claims_are_forgotten_once_redis_knows(self, rig: Rig) -> None:
        rig.store.claim(START, self.AT, self.URI)
        rig.play()
        assert rig.store._claims == {}

    def test_the_search_ends(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("spotify_logger.core.matching.NAMING_SPAN", 2)
        rig.raw.set(f"listening:{START}", "x")
        rig.raw.set(f"listening:{START + 1}", "x")
        with pytest.raises(StoreError, match="no free key from listening:1795370400 on"):
            rig.store.claim(START, self.AT, self.URI)


class TestReading:
    def test_an_empty_server_has_nothing(self, rig: Rig) -> None:
        assert rig.store.latest_play() is None
        assert rig.store.recent(5) == rig.store.days() == []
        assert rig.store.play(START) is None
        assert rig.store.now_playing() is None
        assert rig.store.read_status() == rig.store.item("track:x") == {}

    def test_plays_come_newest_first_from_many_days(self, rig: Rig) -> None:
        seconds = [START - days * 86_400 - half for days in (0, 1, 9, 400, 5000) for half in (0, 30)]
        for second in seconds:
            rig.play(second, {"uri": f"u{second}"})
        assert [second for second, _ in rig.store.recent(99)] == seconds
        assert rig.store.recent(3) == [(second, {"uri": f"u{second}"}) for second in seconds[:3]]
        assert rig.store.latest_play() == (START, {"uri": f"u{START}"})
        assert rig.store.days() == sorted(
            date(2026, 11, 22) - timedelta(days) for days in (0, 1, 9, 400, 5000)
        )

    def test_rows_are_in_order_of_time_across_days_and_chunks(self, rig: Rig) -> None:
        seconds = [START - 5 * (number % 7) - 86_400 * (number // 7) for number in range(70 * 7)]
        pipe = rig.raw.pipeline()
        for second in seconds:
            day = datetime.fromtimestamp(second, UTC).date()
            pipe.hset(f"plays:{day}", str(second), f"track:x {second % 1000}")
        pipe.execute()
        days = list(rig.store.archive().rows())
        rows = [row for day in days for row in zip(day.seconds, day.items, day.ms_played, strict=True)]
        assert rows == [(second, "track:x", second % 1000) for second in sorted(seconds)]

    def test_a_clock_in_the_past_does_not_hide_plays(self, redis_url: str) -> None:
        rig = Rig(redis_url, now=5.0)
        rig.play()
        assert rig.store.latest_play() is None
        with rig.store.batch() as batch:
            batch.write_status({"last_play": f"listening:{START}"})
        assert rig.store.latest_play() == (START, STORED)
        rig.close()

    def test_reading_looks_at_no_other_keys(self, rig: Rig) -> None:
        fill(rig)
        rig.raw.mset({f"other:{number}": "x" for number in range(1000)})
        rig.raw.config_resetstat()
        rig.store.recent(20)
        rig.store.days()
        used = rig.raw.info("commandstats").keys() - {"cmdstat_config|resetstat"}
        assert used == {"cmdstat_hgetall", "cmdstat_exists"}

    def test_the_catalogue_is_read_in_bulk(self, rig: Rig) -> None:
        with rig.store.batch() as batch:
            batch.write_catalog("track:a", {"name": "A", "artists": "X"})
        rig.raw.set("track:b", "not a hash")
        found = list(rig.store.catalog(["track:a", "track:b", "track:c"], ["name", "album"]))
        assert found == [("track:a", ["A", ""]), ("track:b", ["", ""]), ("track:c", ["", ""])]

    def test_version(self, rig: Rig) -> None:
        name, number = rig.store.version().split()
        assert name in {"redis", "valkey"}
        assert number[0].isdigit()

    def test_what_others_wrote_breaks_nothing(self, rig: Rig) -> None:
        rig.play()
        garbage = {
            "": "track:x 1",
            "soon": "track:x 1",
            "-5": "track:x 1",
            "9" * 5000: "track:x 1",
            "²": "track:x 1",
            "1795370401": "track:x",
            "1795370402": "track:x -1",
            "1795370403": "track:x " + "9" * 5000,
            "1795370404": "album:x 1",
            "1795370405": "",
            "1795370407": "track:gone 8",
        }
        rig.raw.hset("plays:2026-11-22", mapping=garbage)  # type: ignore[arg-type]
        rig.raw.hset("plays:2026-11-22", "1795370406", b"track:\xff\xfe 7")
        rig.raw.set("plays:2026-11-21", "not a hash")
        rig.raw.rpush("now_playing", "not a string")
        rig.raw.set("spotify_logger:status", "not a hash")
        assert rig.store.index(date(2026, 11, 22)) == {
            START: ("track:4uLU6hMCjMI75M1A2tKUQC", 215000),
            START + 6: ("track:\ufffd\ufffd", 7),
            START + 7: ("track:gone", 8),
        }
        assert rig.store.recent(5) == [(START + 7, {}), (START + 6, {}), (START, STORED)]
        assert rig.store.latest_play() == (START, STORED)
        assert rig.store.now_playing() is None
        assert rig.store.read_status() == {}
        assert rig.store.days() == [date(2026, 11, 21), date(2026, 11, 22)]


class TestGaps:
    GAP: Mapping[str, str] = {
        "from": "2026-11-22T18:00:00.900Z",
        "to": "2026-11-22T19:00:00.001Z",
        "reason": "login dead",
    }

    def write(self, rig: Rig, second: int, fields: Mapping[str, str]) -> None:
        with rig.store.batch() as batch:
            batch.write_gap(second, fields)

    def test_a_hash_and_a_line_in_the_index(self, rig: Rig) -> None:
        self.write(rig, START, self.GAP)
        assert rig.everything() == {
            f"gap:{START}": self.GAP,
            "gaps": {str(START): f"{START + 3601} login dead"},
        }
        assert rig.store.gaps() == [(START, START + 3601, "login dead")]

    def test_one_that_grows_is_still_one(self, rig: Rig) -> None:
        self.write(rig, START, self.GAP)
        self.write(rig, START, {**self.GAP, "to": "2026-11-22T20:00:00.000Z", "reason": "offline"})
        assert rig.store.gaps() == [(START, START + 7200, "offline")]
        assert rig.raw.hget(f"gap:{START}", "to") == "2026-11-22T20:00:00.000Z"

    def test_they_come_oldest_first_and_what_is_none_is_passed_over(self, rig: Rig) -> None:
        assert rig.store.gaps() == []
        for hours in (3, 1, 2):
            self.write(rig, START - hours * 7200, self.GAP)
        self.write(rig, START, {**self.GAP, "to": "soon"})
        rig.raw.hset("gaps", mapping={"x": f"{START} offline", str(START + 9): "", "7": "1"})
        rig.raw.hset("gaps", "8", b"9 \xff\xfe")
        assert [second for second, _, _ in rig.store.gaps()] == [START - hours * 7200 for hours in (3, 2, 1)]
        rig.raw.delete("gaps")
        rig.raw.set("gaps", "not a hash")
        assert rig.store.gaps() == []

    def test_two_listeners_have_their_own(self, redis_url: str) -> None:
        ours, theirs = Rig(redis_url, "ann:"), Rig(redis_url, "ben:")
        self.write(ours, START, self.GAP)
        assert ours.everything().keys() == {f"ann:gap:{START}", "ann:gaps"}
        assert theirs.store.gaps() == []
        ours.close()
        theirs.close()


class TestWhereItIs:
    def test_database_numbers(self, redis_url: str) -> None:
        url = redis_url.removesuffix("/0")
        first, second, third = Rig(redis_url), Rig(f"{url}/3"), Rig(f"{url}?db=3")
        second.play()
        assert first.everything() == {}
        assert second.store.recent(1) == third.store.recent(1) == [(START, STORED)]
        for rig in (first, second, third):
            rig.close()

    def test_days_and_small_hashes_stay_small(self, rig: Rig) -> None:
        rig.play(fields={**FIELDS, "name": "x" * 700})
        pipe = rig.raw.pipeline()
        for number in range(400):
            pipe.hset("plays:2026-11-22", str(START + number), "episode:4uLU6hMCjMI75M1A2tKUQC 10000000")
        pipe.execute()
        for key in ("listening:1795370400", "plays:2026-11-22"):
            assert rig.raw.object("encoding", key) == "listpack"


class TestProof:
    """What the server says of its disk, over the connection that there is."""

    @pytest.mark.parametrize(
        ("settings", "synced", "words"),
        [
            ({"appendfsync": "always"}, True, "append-only file"),
            ({"appendfsync": "no"}, False, "append-only file"),
            ({"appendonly": "no", "save": ""}, None, "none: it forgets with its next restart"),
            ({"appendonly": "no", "save": "3600 1"}, None, "snapshots"),
        ],
    )
    def test_what_it_says_of_a_write(
        self, own_server: EmbeddedServer, settings: dict[str, str], *, synced: bool | None, words: str
    ) -> None:
        rig = Rig(own_server.url)
        for name, value in settings.items():
            rig.raw.config_set(name, value)
        rig.play()
        assert rig.store.is_synced() is (synced if rig.knows_waitaof() else None)
        persistence = rig.store.persistence()
        assert (persistence.run, persistence.words) == (rig.raw.info("server")["run_id"], words)
        assert (persistence.aof, persistence.aof_ok) == (synced is not None, True)
        rig.close()

    def test_with_a_file_that_is_synced_every_second_it_says_so_within_two(self, redis_url: str) -> None:
        rig = Rig(redis_url)
        rig.play()
        wait_for(lambda: rig.store.is_synced() is (True if rig.knows_waitaof() else None))
        rig.close()

    def test_a_server_that_must_not_say_anything(self, redis_url: str) -> None:
        rig = Rig(redis_url)
        rig.raw.acl_setuser(
            "mute",
            enabled=True,
            passwords=["+secret"],
            keys=["*"],
            categories=["+@all"],
            commands=["-config", "-info", "-time", *(["-waitaof"] if rig.knows_waitaof() else [])],
        )
        mute = Rig(redis_url.replace("//", "//mute:secret@"))
        mute.play()
        assert mute.store.is_synced() is None
        assert mute.store.persistence() == Persistence(aof_ok=True)
        assert mute.store.server_second() == 0
        rig.raw.acl_deluser("mute")
        for each in (rig, mute):
            each.close()

    def test_a_server_from_before_redis_7_2(self) -> None:
        clock = VirtualClock(START)
        store = Store("", connect=FakeRedis(clock.utc, clock.sleep, waitaof=False).link)
        assert store.connect() == 1
        assert store.is_synced() is None
        assert store.persistence().aof

    def test_its_clock(self, rig: Rig) -> None:
        rig.store.connect()
        second, _ = rig.raw.time()
        assert second <= rig.store.server_second() <= second + 20

    def test_a_snapshot_that_holds_what_was_written_before_it(self, own_server: EmbeddedServer) -> None:
        rig = Rig(own_server.url)
        rig.raw.config_set("appendonly", "no")
        rig.play()
        written = rig.store.server_second()
        assert rig.store.persistence().saved_before <= written

        def is_saved() -> bool:
            with suppress(redis.ResponseError):  # one is under way
                rig.raw.bgsave()
            return written < rig.store.persistence().saved_before

        wait_for(is_saved)
        assert rig.store.server_second() >= written + 2
        rig.close()

    def test_nothing_of_it_is_asked_over_a_new_connection(self, rig: Rig) -> None:
        """What a broken one had sent may be lost, and the new one has nothing to be synced."""
        rig.play()
        for question in (rig.store.is_synced, rig.store.server_second, rig.store.persistence):
            rig.raw.client_kill_filter(_type="normal", skipme=True)
            for _ in range(2):
                with pytest.raises(StoreError):
                    question()
            rig.store.connect()
            question()

    def test_which_plays_it_has_not(self, rig: Rig) -> None:
        seconds = [START + number for number in range(450)]
        for second in seconds[::2]:
            rig.play(second, {"uri": "u", "end_reason": "skipped"})
        assert rig.store.missing(seconds) == seconds[1::2]
        assert rig.store.missing([]) == []

    def test_one_that_it_knows_only_as_open_is_missing_too(self, rig: Rig) -> None:
        rig.play(START, {"uri": "u"})
        rig.raw.set(f"listening:{START + 1}", "not a hash")
        assert rig.store.missing([START, START + 1]) == [START, START + 1]


class TestRefusals:
    @pytest.mark.parametrize(
        ("key", "left"),
        [
            ("listening:1795370400", {"plays:2026-11-22", "track:a", "now_playing", "spotify_logger:status"}),
            ("plays:2026-11-22", {"listening:1795370400", "track:a", "now_playing", "spotify_logger:status"}),
            ("track:a", {"listening:1795370400", "plays:2026-11-22", "now_playing", "spotify_logger:status"}),
            ("spotify_logger:status", {"listening:1795370400", "plays:2026-11-22", "track:a", "now_playing"}),
        ],
    )
    def test_one_key_of_another_type_does_not_stop_the_others(
        self, rig: Rig, key: str, left: set[str]
    ) -> None:
        def write() -> None:
            with rig.store.batch() as batch:
                batch.write_play(START, FIELDS, ROW)
                batch.write_catalog("track:a", {"name": "A"})
                batch.set_now_playing(START, 60)
                batch.write_status({"pid": 1})

        rig.raw.set(key, "not a hash")
        for _ in range(2):
            with pytest.raises(StoreError) as caught:
                write()
            assert str(caught.value).endswith(f"rename or delete it, or set REDIS_PREFIX ({key})")
            assert caught.value.refused == {key}
            assert caught.value.codes == {"WRONGTYPE"}
            assert left <= rig.everything().keys()
        rig.raw.delete(key)
        write()
        assert rig.everything().keys() == left | {key}
        assert rig.raw.hgetall("listening:1795370400") == STORED

    def test_a_key_that_was_refused_is_written_whole_again(self, rig: Rig) -> None:
        rig.play()
        rig.raw.set("listening:1795370400", "not a hash")
        with pytest.raises(StoreError):
            rig.play(fields={**FIELDS, "ms_played": 216000})
        rig.raw.delete("listening:1795370400")
        rig.play(fields={**FIELDS, "ms_played": 217000})
        assert rig.store.play(START) == {**STORED, "ms_played": "217000"}

    def test_several_refusals_are_all_told(self, rig: Rig) -> None:
        for key in ("track:a", "track:b", "track:c"):
            rig.raw.set(key, "x")
        with (
            pytest.raises(StoreError, match=r"\(track:a and 2 more\)$") as caught,
            rig.store.batch() as batch,
        ):
            batch.hashes = {key: {"name": "x"} for key in ("track:a", "track:b", "track:c", "track:d")}
        assert caught.value.refused == {"track:a", "track:b", "track:c"}

    def test_refused_keys_are_named_without_their_prefix(self, redis_url: str) -> None:
        rig = Rig(redis_url, "ann:")
        rig.raw.set("ann:track:a", "x")
        with pytest.raises(StoreError, match=r"\(ann:track:a\)$") as caught, rig.store.batch() as batch:
            batch.write_catalog("track:a", {"name": "x"})
        assert caught.value.refused == {"track:a"}
        rig.close()

    def test_a_full_server(self, own_server: EmbeddedServer) -> None:
        rig = Rig(own_server.url)
        rig.raw.config_set("maxmemory", "1")
        with pytest.raises(StoreError, match=r"is out of memory: raise maxmemory") as caught:
            fill(rig)
        assert "listening:1795370400" in caught.value.refused
        assert caught.value.codes == {"OOM"}
        assert rig.store.recent(1) == []
        rig.raw.config_set("maxmemory", "0")
        rig.play()
        assert rig.store.recent(1) == [(START, STORED)]
        rig.close()

    def test_a_replica(self, own_server: EmbeddedServer) -> None:
        rig = Rig(own_server.url)
        rig.play()
        rig.raw.replicaof("127.0.0.1", "1")
        with pytest.raises(StoreError, match="is a read-only replica: point REDIS_URL to the primary"):
            rig.play(fields={**FIELDS, "ms_played": 216000})
        rig.raw.replicaof("NO", "ONE")
        rig.play(fields={**FIELDS, "ms_played": 216000})
        assert rig.raw.hget("listening:1795370400", "ms_played") == "216000"
        rig.close()

    def test_a_server_that_cannot_save(self, own_server: EmbeddedServer, tmp_path: Path) -> None:
        rig = Rig(own_server.url)
        rig.raw.config_set("appendonly", "no")
        rig.raw.config_set("save", "3600 1")
        rig.play()
        shutil.rmtree(tmp_path / "redis")
        rig.raw.bgsave()
        wait_for(lambda: rig.raw.info("persistence")["rdb_last_bgsave_status"] == "err")
        with pytest.raises(
            StoreError, match="cannot save to disk and does not accept writes: free disk space"
        ):
            rig.play(fields={**FIELDS, "ms_played": 216000})
        assert rig.store.recent(1) == [(START, STORED)]
        rig.close()
        assert own_server.process
        own_server.process.kill()  # it would not end without saving

    def test_a_user_who_may_not(self, redis_url: str) -> None:
        rig = Rig(redis_url, "ann:")
        rig.raw.acl_setuser(
            "reader", enabled=True, passwords=["+secret"], keys=["ann:*"], categories=["+@read"]
        )
        reader = Rig(redis_url.replace("//", "//reader:secret@"), "ann:")
        assert reader.store.recent(1) == []
        assert reader.store.version() == "redis"
        with pytest.raises(StoreError, match="denies this user: allow the command in its ACL") as caught:
            reader.play()
        assert "secret" not in str(caught.value)
        assert caught.value.codes == {"NOPERM"}
        stranger = Rig(redis_url.replace("//", "//reader:secret@"), "ben:")
        with pytest.raises(StoreError, match=r"on keys that begin with REDIS_PREFIX$") as caught:
            stranger.store.recent(1)
        assert caught.value.codes == {"NOPERM"}
        rig.raw.acl_deluser("reader")
        for each in (rig, reader, stranger):
            each.close()


class TestOutages:
    def test_everything_is_written_again_to_a_server_that_forgot(self, own_server: EmbeddedServer) -> None:
        rig = Rig(own_server.url)
        fill(rig)
        own_server.stop()
        with pytest.raises(StoreError, match=r"cannot be reached \(Connection refused\)") as caught:
            rig.play(fields={**FIELDS, "ms_played": 216000})
        assert caught.value.refused == caught.value.codes == frozenset()
        come_back_empty(own_server, rig)
        rig.play(fields={**FIELDS, "ms_played": 216000})
        assert rig.store.play(START) == {**STORED, "ms_played": "216000"}
        rig.close()

    def test_also_when_the_outage_fell_between_two_polls(self, own_server: EmbeddedServer) -> None:
        rig = Rig(own_server.url)
        fill(rig)
        assert own_server.process
        own_server.process.kill()
        own_server.process.wait()
        come_back_empty(own_server, rig)
        assert rig.store.read_status() == {}  # reading over the new connection must not hide that it is new
        fill(rig)
        assert rig.store.play(START) == STORED
        assert len(rig.everything()) == 5
        rig.close()

    def test_a_server_that_hangs(self, own_server: EmbeddedServer) -> None:
        rig = Rig(f"{own_server.url}?socket_timeout=0.3")
        fill(rig)
        assert own_server.pid
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            for _ in range(2):  # over the old connection, then for want of a new one
                with pytest.raises(StoreError, match="did not answer in time: it hangs, is overloaded"):
                    rig.play(fields={**FIELDS, "ms_played": 216000})
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
        rig.sent()
        rig.play(fields={**FIELDS, "ms_played": 217000})
        assert rig.store.play(START) == {**STORED, "ms_played": "217000"}
        assert len(rig.sent()[0]) > len(FIELDS)  # nothing is known of what the hung one took
        rig.close()
