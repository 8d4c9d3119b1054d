from __future__ import annotations

import signal
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.core.redis_keys import STATUS, TOMBSTONES, play_key
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.client import Persistence, RedisClient, StoreError
from spotify_logger.storage.store import LOG_INTERVAL
from tests.conftest import start_again
from tests.testbed.fake_redis import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from spotify_logger.storage.client import Command, Reply
    from spotify_logger.storage.embedded_server import EmbeddedServer

    OpenStore = Callable[..., "RecordedStore"]

START = int(datetime(2026, 11, 22, 18, 0, tzinfo=UTC).timestamp())
REVISION = "1795371000000"  # the time of the store, in milliseconds
PLAY_KEY = f"listening:{START}"
ROW = "track:4uLU6hMCjMI75M1A2tKUQC 215000"
FIELDS: Mapping[str, str | int] = {
    "uri": "spotify:track:4uLU6hMCjMI75M1A2tKUQC",
    "name": "Veridis Quo",
    "started_at": "2026-11-22T18:00:00.123Z",
    "ms_played": 215000,
    "playing": 1,
}
NOTHING = frozenset[int]()
STORED = {name: str(value) for name, value in FIELDS.items()}
GAP: Mapping[str, str] = {
    "from": "2026-11-22T18:00:00.900Z",
    "to": "2026-11-22T19:00:00.001Z",
    "reason": "login dead",
}


class RecordingClient(RedisClient):
    """The real client, with a list of what was sent over it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.round_trips: list[list[Command]] = []

    def send(self, commands: Sequence[Command], server: object = None) -> list[Reply]:
        self.round_trips.append(list(commands))
        return super().send(commands, server)


class RecordedStore:
    """A store, what it sends, and a second client of the same server."""

    def __init__(self, url: str, prefix: str = "", now: float = START + 600) -> None:
        self.client, self.now = RecordingClient(url), now
        self.store = Archive(url, prefix, utc=lambda: self.now, connect=lambda _: self.client)
        self.raw = redis.Redis.from_url(url, decode_responses=True)

    def sent(self) -> list[Command]:
        """Return what was sent since the last call."""
        commands = [plain(command) for trip in self.client.round_trips for command in trip]
        self.client.round_trips.clear()
        return commands

    def write_play(
        self, second: int = START, fields: Mapping[str, str | int] = FIELDS, row: str = ROW
    ) -> None:
        with self.store.batch() as batch:
            batch.write_play(second, fields, row)

    def write_poll(self, fields: Mapping[str, str | int] = FIELDS, row: str = ROW) -> None:
        """Write all that one poll writes."""
        with self.store.batch() as batch:
            batch.write_hash("track:a", {"name": "Veridis Quo", "duration_ms": 345000})
            batch.write_play(START, fields, row)
            batch.set_now_playing(START, expires=90)
            batch.write_status({"last_poll": "2026-11-22T18:03:35.000Z", "requests_24h": 17})

    def write_gap(self, second: int, fields: Mapping[str, str]) -> None:
        with self.store.batch() as batch:
            batch.write_gap(second, fields)

    def content(self) -> dict[str, object]:
        """Return all keys of the server with their values."""
        found: dict[str, object] = {}
        for key in self.raw.scan_iter():
            is_hash = self.raw.type(key) == "hash"
            found[key] = self.raw.hgetall(key) if is_hash else self.raw.get(key)
        return found

    def close(self) -> None:
        self.store.close()
        self.raw.close()


@pytest.fixture
def open_store(redis_url: str) -> Iterator[OpenStore]:
    """Open stores on the shared server, which holds nothing at first."""
    opened: list[RecordedStore] = []

    def open_store(url: str = redis_url, prefix: str = "", now: float = START + 600) -> RecordedStore:
        opened.append(RecordedStore(url, prefix, now))
        return opened[-1]

    yield open_store
    for each in opened:
        each.close()


@pytest.fixture
def recorded(open_store: OpenStore) -> RecordedStore:
    return open_store()


@pytest.fixture
def on_own_server(server: EmbeddedServer) -> Iterator[RecordedStore]:
    recorded = RecordedStore(server.url)
    yield recorded
    recorded.close()


@pytest.fixture
def impatient(server: EmbeddedServer, open_store: OpenStore) -> RecordedStore:
    return open_store(f"{server.url}?socket_timeout=1")


class TestWriting:
    def test_one_poll_is_one_round_trip(self, recorded: RecordedStore) -> None:
        recorded.write_poll()
        assert len(recorded.client.round_trips) == 1
        assert recorded.content() == {
            PLAY_KEY: STORED,
            "plays:2026-11-22": {str(START): ROW},
            "track:a": {"name": "Veridis Quo", "duration_ms": "345000"},
            "now_playing": PLAY_KEY,
            "spotify_logger:revisions": {"2026-11-22": REVISION, "newest": REVISION},
            "spotify_logger:status": {"last_poll": "2026-11-22T18:03:35.000Z", "requests_24h": "17"},
        }

    def test_only_changes_are_sent(self, recorded: RecordedStore, open_store: OpenStore) -> None:
        recorded.write_poll()
        once = recorded.content()
        recorded.write_poll()
        open_store().write_poll()
        assert recorded.content() == once
        recorded.sent()
        with recorded.store.batch() as batch:
            batch.write_hash("track:a", {"name": "Veridis Quo", "duration_ms": 345000})
            batch.write_play(START, {**FIELDS, "ms_played": 245000}, "track:a 245000")
            batch.write_status({"last_poll": "2026-11-22T18:04:05.000Z", "requests_24h": 17})
        assert recorded.sent() == [
            ("HSET", PLAY_KEY, "ms_played", "245000"),
            ("HSET", "plays:2026-11-22", str(START), "track:a 245000"),
            ("HSET", "spotify_logger:status", "last_poll", "2026-11-22T18:04:05.000Z"),
        ]

    def test_fields_of_a_play_that_are_gone_are_deleted(self, recorded: RecordedStore) -> None:
        recorded.raw.hset(PLAY_KEY, mapping={"end_reason": "stopped", "device_name": "Kitchen", "mine": "x"})
        recorded.write_play()
        assert recorded.raw.hgetall(PLAY_KEY) == {**STORED, "mine": "x"}
        recorded.sent()
        recorded.write_play(fields={"uri": "u", "ms_played": 215000})
        assert recorded.raw.hgetall(PLAY_KEY) == {"uri": "u", "ms_played": "215000", "mine": "x"}
        assert ("HDEL", PLAY_KEY, "name", "playing", "started_at") in recorded.sent()

    def test_what_every_answer_changes_spares_the_disk(
        self, server: EmbeddedServer, on_own_server: RecordedStore
    ) -> None:
        recorded = on_own_server
        recorded.write_poll()
        before = recorded.raw.info("persistence")["aof_current_size"]
        recorded.write_poll({**FIELDS, "ms_played": 216000}, "track:a 1")
        recorded.write_poll()
        fields = {**FIELDS, "ms_played": 216000, "playing": 0}
        recorded.write_poll(fields, "track:a 2")
        assert recorded.raw.info("persistence")["aof_current_size"] == before
        assert recorded.raw.hget(PLAY_KEY, "ms_played") == "216000"
        recorded.now += LOG_INTERVAL
        recorded.write_poll()
        assert recorded.raw.info("persistence")["aof_current_size"] > before
        del fields["name"]
        recorded.write_poll(fields, "track:a 2")
        recorded.write_poll({**fields, "end_reason": "skipped"}, "track:a 216000 skipped")
        expected = recorded.content()
        server.stop()
        start_again(server)
        assert recorded.content() == expected, "the end is in the append-only file as a whole"

    def test_status_and_catalog_keep_what_is_not_given(self, recorded: RecordedStore) -> None:
        with recorded.store.batch() as batch:
            batch.write_status({"state": "x", "pid": 1})
            batch.write_hash("local:ab", {"name": "Demo"})
        with recorded.store.batch() as batch:
            batch.write_status({"pid": 2})
            batch.write_hash("local:ab", {"album": "Tape"})
        assert recorded.store.hash(STATUS) == {"state": "x", "pid": "2"}
        assert recorded.store.hash("local:ab") == {"name": "Demo", "album": "Tape"}

    def test_the_last_write_of_a_batch_counts(self, recorded: RecordedStore) -> None:
        with pytest.raises(ZeroDivisionError), recorded.store.batch() as batch:
            batch.write_status({"pid": 1 // 0})
        with recorded.store.batch() as batch:
            batch.write_play(START, {"uri": "u", "ms_played": 2, "playing": 1}, "track:a 2")
            batch.write_play(START, {"uri": "u", "ms_played": 1}, "track:a 1")
            batch.set_now_playing(START, 60)
            batch.clear_now_playing()
        assert recorded.content() == {
            PLAY_KEY: {"uri": "u", "ms_played": "1"},
            "plays:2026-11-22": {str(START): "track:a 1"},
            "spotify_logger:revisions": {"2026-11-22": REVISION, "newest": REVISION},
        }

    @pytest.mark.parametrize(
        ("moment", "day"),
        [("2026-11-21T23:59:59", "2026-11-21"), ("2026-11-22T00:00:00", "2026-11-22")],
    )
    def test_a_play_belongs_to_the_utc_day_of_its_start(
        self, recorded: RecordedStore, moment: str, day: str
    ) -> None:
        second = int(datetime.fromisoformat(moment + "Z").timestamp())
        recorded.write_play(second)
        assert recorded.raw.hgetall(f"plays:{day}") == {str(second): ROW}
        assert recorded.store.index(date.fromisoformat(day)).keys() == {second}

    def test_now_playing_expires(self, recorded: RecordedStore) -> None:
        with recorded.store.batch() as batch:
            batch.set_now_playing(START, expires=12.5)
        assert 5_000 < int(recorded.raw.pttl("now_playing")) <= 12_500
        assert recorded.store.now_playing() == START
        with recorded.store.batch() as batch:
            batch.clear_now_playing()
        assert recorded.store.now_playing() is None

    def test_text_of_any_kind_comes_back(self, recorded: RecordedStore) -> None:
        title = 'Łódź "\r\n\x00\u202e' + "日本語 🎵 ß" + "x" * 900
        recorded.write_play(fields={"uri": "u", "name": title, "artists": "half \ud83d"})
        assert recorded.store.hash(play_key(START)) == {"uri": "u", "name": title, "artists": "half ?"}

    def test_listeners_with_prefixes_share_a_server(self, open_store: OpenStore) -> None:
        ann, ben = open_store(prefix="ann:"), open_store(prefix="ben:")
        ann.write_poll()
        ann.write_gap(START, GAP)
        ben.write_play(fields={"uri": "b"})
        assert ann.store.recent(9) == [(START, STORED)]
        assert ben.store.recent(9) == [(START, {"uri": "b"})]
        assert (ann.store.now_playing(), ben.store.now_playing()) == (START, None)
        assert ben.store.hash(STATUS) == ben.store.hash("track:a") == {}
        assert ben.store.gaps() == []
        assert ben.store.claim(START, STORED["started_at"], STORED["uri"], NOTHING.__contains__) == START + 1
        assert all(key.startswith(("ann:", "ben:")) for key in ann.content())
        assert ann.raw.get("ann:now_playing") == f"ann:{PLAY_KEY}"


class TestClaim:
    AT, URI, OTHER = STORED["started_at"], STORED["uri"], "spotify:track:other"

    def test_a_play_keeps_its_second_and_another_gets_the_next(self, recorded: RecordedStore) -> None:
        assert recorded.store.claim(START, self.AT, self.URI, NOTHING.__contains__) == START
        assert recorded.content() == {}
        recorded.write_play()
        assert recorded.store.claim(START, self.AT, self.URI, NOTHING.__contains__) == START
        assert recorded.store.claim(START, self.AT, self.OTHER, NOTHING.__contains__) == START + 1
        assert (
            recorded.store.claim(START, "2026-11-22T18:00:00.900Z", self.URI, NOTHING.__contains__)
            == START + 1
        )

    def test_keys_of_others_and_of_queued_plays_are_not_free(self, recorded: RecordedStore) -> None:
        recorded.raw.hset(f"listening:{START}", "mine", "x")
        recorded.raw.set(f"listening:{START + 1}", "x")
        recorded.raw.lpush(f"listening:{START + 2}", "x")
        assert recorded.store.claim(START, self.AT, self.URI, NOTHING.__contains__) == START + 3
        assert recorded.store.claim(START, self.AT, self.OTHER, {START + 3}.__contains__) == START + 4

    def test_the_search_ends(self, recorded: RecordedStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("spotify_logger.core.matching.NAMING_SPAN", 2)
        recorded.raw.mset({f"listening:{START + number}": "x" for number in range(2)})
        with pytest.raises(StoreError, match="no free key"):
            recorded.store.claim(START, self.AT, self.URI, NOTHING.__contains__)


class TestReading:
    def test_an_empty_server(self, recorded: RecordedStore) -> None:
        store = recorded.store
        assert [store.latest_play(), store.now_playing()] == [None] * 2
        assert [*store.recent(5), *store.days(), *store.gaps(), *store.listeners()] == []
        assert {**store.hash(STATUS), **store.hash("track:x")} == {}
        assert (store.standby_machine(), store.tombstones()) == ("", {})
        assert store.version().startswith(("redis ", "valkey "))

    def test_plays_come_newest_first_from_many_days(self, recorded: RecordedStore) -> None:
        seconds = [START - days * 86_400 - half for days in (0, 1, 9, 400, 5000) for half in (0, 30)]
        for second in seconds:
            recorded.write_play(second, {"uri": f"u{second}"})
        recorded.raw.config_resetstat()
        assert [second for second, _ in recorded.store.recent(99)] == seconds
        assert recorded.store.recent(3) == [(second, {"uri": f"u{second}"}) for second in seconds[:3]]
        assert recorded.store.latest_play() == (START, {"uri": f"u{START}"})
        days = list(recorded.store.days())
        assert (len(days), days[:2]) == (5, [date(2026, 11, 22), date(2026, 11, 21)])
        used = recorded.raw.info("commandstats").keys() - {"cmdstat_config|resetstat"}
        assert used == {"cmdstat_hget", "cmdstat_hgetall", "cmdstat_exists"}, "no other keys are scanned"

    def test_a_clock_in_the_past_does_not_hide_plays(self, open_store: OpenStore) -> None:
        recorded = open_store(now=5.0)
        recorded.write_play()
        assert recorded.store.latest_play() is None
        with recorded.store.batch() as batch:
            batch.write_status({"last_play": PLAY_KEY})
        assert recorded.store.latest_play() == (START, STORED)

    def test_the_catalog_is_read_in_bulk(self, recorded: RecordedStore) -> None:
        with recorded.store.batch() as batch:
            batch.write_hash("track:a", {"name": "A", "artists": "X"})
        recorded.raw.set("track:b", "not a hash")
        found = list(recorded.store.catalog(["track:a", "track:b", "track:c"], ["name", "album"]))
        assert found == [("track:a", ("A", "")), ("track:b", ("", "")), ("track:c", ("", ""))]

    def test_foreign_data_is_skipped(self, recorded: RecordedStore) -> None:
        recorded.write_play()
        garbage = {
            **dict.fromkeys(("", "soon", "-5", "9" * 5000, "²"), "track:x 1"),
            "1795370401": "track:x",
            "1795370402": "track:x -1",
            "1795370403": "track:x " + "9" * 5000,
            "1795370404": "album:x 1",
            "1795370405": "",
            "1795370407": "track:gone 8",
        }
        recorded.raw.hset("plays:2026-11-22", mapping=garbage)  # type: ignore[arg-type]
        recorded.raw.hset("plays:2026-11-22", "1795370406", b"track:\xff\xfe 7")
        recorded.raw.rpush("now_playing", "not a string")
        for key in ("plays:2026-11-21", "spotify_logger:status", "gaps"):
            recorded.raw.set(key, "not a hash")
        assert recorded.store.index(date(2026, 11, 22)).keys() == {START, START + 6, START + 7}
        assert recorded.store.recent(5) == [(START + 7, {}), (START + 6, {}), (START, STORED)]
        assert recorded.store.latest_play() == (START, STORED)
        assert recorded.store.now_playing() is None
        assert recorded.store.hash(STATUS) == {}
        assert recorded.store.gaps() == []
        assert list(recorded.store.days()) == [date(2026, 11, 22), date(2026, 11, 21)]

    def test_gaps_grow_and_come_oldest_first(self, recorded: RecordedStore) -> None:
        for hours in (3, 0, 2):
            recorded.write_gap(START - hours * 7200, GAP)
        recorded.write_gap(START - 1, {**GAP, "to": "soon"})
        recorded.raw.hset("gaps", mapping={"x": f"{START} offline", str(START + 9): "", "7": "1"})
        recorded.raw.hset("gaps", "8", b"9 \xff\xfe")
        recorded.write_gap(START, {**GAP, "to": "2026-11-22T20:00:00.000Z", "reason": "offline"})
        assert [second for second, _, _ in recorded.store.gaps()] == [START - 21_600, START - 14_400, START]
        assert recorded.store.gaps()[-1] == (START, START + 7200, "offline")
        assert recorded.raw.hgetall(f"gap:{START - 14_400}") == GAP
        assert recorded.raw.hget("gaps", str(START - 14_400)) == f"{START + 3601} login dead"

    def test_plays_of_others_are_found(self, recorded: RecordedStore) -> None:
        fields = {**FIELDS, "ended_at": "2026-11-22T18:03:35.123Z"}
        for second in (START - 86_400, START, START + 7):
            recorded.write_play(second, fields)
        recorded.write_play(START + 9, {"uri": "no play"})
        assert [play.second for play in recorded.store.foreign_plays(START - 60, {START})] == [START + 7]

    def test_listeners_standby_and_tombstones(self, redis_url: str, recorded: RecordedStore) -> None:
        for name in ("ben", "ann"):
            Archive(redis_url, f"{name}:", utc=lambda: START, listener=name).register_listener()
        recorded.raw.set("spotify_logger:standby", "abc kitchen\x1b pi")
        with recorded.store.batch() as batch:
            batch.write_status({"pid": 1})
            batch.write_hash(TOMBSTONES, {str(START): START + 30})
        assert recorded.store.listeners() == ["", "ann", "ben"]
        assert "\x1b" not in recorded.store.standby_machine()
        assert recorded.store.standby_machine().startswith("kitchen")
        assert recorded.store.tombstones() == {START: START + 30}
        assert len(recorded.store.tombstones()) == 1


class TestPersistence:
    """How the server keeps its data."""

    @pytest.mark.parametrize(
        ("settings", "words", "trouble"),
        [
            ({}, "append-only file", ""),
            ({"appendonly": "no", "save": "900 1"}, "snapshots", ""),
            ({"appendonly": "no", "save": ""}, "none: it forgets with its next restart", ""),
            ({"maxmemory": "100mb", "maxmemory-policy": "volatile-lru"}, "append-only file", ""),
            ({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, "append-only file", "noeviction"),
        ],
    )
    def test_by_its_settings(
        self, on_own_server: RecordedStore, settings: dict[str, str], words: str, trouble: str
    ) -> None:
        for name, value in settings.items():
            on_own_server.raw.config_set(name, value)
        run_id = on_own_server.raw.info("server")["run_id"]
        assert on_own_server.store.client.persistence() == Persistence(run_id, words)
        said = on_own_server.store.persistence_trouble()
        assert trouble in said
        assert bool(trouble) == bool(said)

    def test_a_user_who_may_not_ask(
        self, redis_url: str, recorded: RecordedStore, open_store: OpenStore
    ) -> None:
        denied = ["-config", "-info"]
        recorded.raw.acl_setuser(
            "mute", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"], commands=denied
        )
        mute = open_store(redis_url.replace("//", "//mute:secret@"))
        mute.write_play()
        assert mute.store.client.persistence() == Persistence()
        assert not mute.store.persistence_trouble()
        recorded.raw.acl_deluser("mute")


class TestStoreRefusals:
    @pytest.mark.parametrize("key", [PLAY_KEY, "plays:2026-11-22", "track:a", "spotify_logger:status"])
    def test_one_key_of_another_type_does_not_stop_the_others(
        self, recorded: RecordedStore, key: str
    ) -> None:
        recorded.write_poll()
        expected = recorded.content()
        recorded.raw.flushdb()
        recorded.store.invalidate()
        recorded.raw.set(key, "not a hash")
        for _ in range(2):
            with pytest.raises(StoreError, match="rename or delete it, or set REDIS_PREFIX") as caught:
                recorded.write_poll()
            assert str(caught.value).endswith(f"({key})")
            assert caught.value.refused == {key}
            assert caught.value.codes == {"WRONGTYPE"}
            assert recorded.content() == {**expected, key: "not a hash"}
        recorded.raw.delete(key)
        recorded.write_poll()
        assert recorded.content() == expected

    def test_a_refused_key_is_written_as_a_whole_afterwards(self, recorded: RecordedStore) -> None:
        recorded.write_play()
        recorded.raw.set(PLAY_KEY, "not a hash")
        with pytest.raises(StoreError):
            recorded.write_play(fields={**FIELDS, "ms_played": 216000})
        recorded.raw.delete(PLAY_KEY)
        recorded.write_play(fields={**FIELDS, "ms_played": 217000})
        assert recorded.store.hash(play_key(START)) == {**STORED, "ms_played": "217000"}

    def test_several_keys_are_counted_and_given_without_prefix(self, open_store: OpenStore) -> None:
        recorded = open_store(prefix="ann:")
        recorded.raw.mset({f"ann:track:{letter}": "x" for letter in "abc"})
        with pytest.raises(StoreError, match="track:a and 2 more") as caught, recorded.store.batch() as batch:
            batch.hashes = {f"ann:track:{letter}": {"name": "x"} for letter in "abcd"}
        assert caught.value.refused == {"track:a", "track:b", "track:c"}

    @pytest.mark.parametrize(
        ("code", "refuse", "accept"),
        [
            ("OOM", ("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
            ("READONLY", ("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
        ],
    )
    def test_a_server_that_refuses_writes_for_a_while(
        self, on_own_server: RecordedStore, code: str, refuse: tuple[str, ...], accept: tuple[str, ...]
    ) -> None:
        assert on_own_server.store.write_refusal() is None
        on_own_server.raw.execute_command(*refuse)  # type: ignore[no-untyped-call]
        with pytest.raises(StoreError) as caught:
            on_own_server.write_poll()
        assert PLAY_KEY in caught.value.refused
        assert caught.value.codes == {code}
        refusal = on_own_server.store.write_refusal()
        assert refusal is not None
        assert refusal.codes == {code}
        assert on_own_server.store.recent(1) == []
        on_own_server.raw.execute_command(*accept)  # type: ignore[no-untyped-call]
        on_own_server.write_poll()
        assert on_own_server.store.recent(1) == [(START, STORED)]

    def test_a_user_who_may_only_read_some_keys(
        self, redis_url: str, recorded: RecordedStore, open_store: OpenStore
    ) -> None:
        recorded.raw.acl_setuser(
            "reader", enabled=True, passwords=["+secret"], keys=["ann:*"], categories=["+@read"]
        )
        url = redis_url.replace("//", "//reader:secret@")
        reader, stranger = open_store(url, "ann:"), open_store(url, "ben:")
        assert reader.store.recent(1) == []
        assert reader.store.version() == "redis"
        assert reader.store.client.persistence() == Persistence()
        assert reader.store.write_refusal() is None
        for forbidden in (reader.write_play, lambda: stranger.store.recent(1)):
            with pytest.raises(StoreError, match="allow the command in its ACL") as caught:
                forbidden()
            assert "secret" not in str(caught.value)
            assert caught.value.codes == {"NOPERM"}
        recorded.raw.acl_deluser("reader")


class TestStoreOutages:
    def test_a_server_that_came_back_empty_gets_everything_again(
        self, server: EmbeddedServer, on_own_server: RecordedStore
    ) -> None:
        on_own_server.write_poll()
        server.stop()
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            on_own_server.write_poll()
        assert caught.value.refused == caught.value.codes == frozenset()
        for _ in range(2):
            start_again(server)
            on_own_server.raw.flushall()
            # Reading over the new connection must not hide that it is new.
            assert on_own_server.store.hash(STATUS) == {}
            on_own_server.write_poll()
            assert len(on_own_server.content()) == 6
            assert server.process
            server.process.kill()  # and now between two polls
            server.process.wait()

    def test_after_a_server_hung_all_fields_are_sent_again(
        self, server: EmbeddedServer, impatient: RecordedStore
    ) -> None:
        impatient.write_poll()
        assert server.process
        server.process.send_signal(signal.SIGSTOP)
        try:
            for _ in range(2):  # over the old connection, then because there is no new one
                with pytest.raises(StoreError, match="did not answer in time"):
                    impatient.write_play(fields={**FIELDS, "ms_played": 216000})
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert impatient.raw.ping()
        impatient.sent()
        impatient.write_play(fields={**FIELDS, "ms_played": 217000})
        assert impatient.store.hash(play_key(START)) == {**STORED, "ms_played": "217000"}
        assert len(impatient.sent()[0]) > len(FIELDS)

    def test_a_server_that_answers_but_is_paused(self, impatient: RecordedStore) -> None:
        impatient.raw.client_pause(60_000, all=False)
        assert "does not accept writes" in str(impatient.store.write_refusal())
