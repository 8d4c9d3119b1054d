from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

import pytest
import redis

from spotify_logger.core.redis_keys import FIRST_DAY, GAPS, STATUS, day_of, index_key, play_key
from spotify_logger.storage.bulk import DAYS_PER_BATCH, FIRST_SECOND, Archive
from spotify_logger.storage.client import StoreError
from spotify_logger.storage.store import ITEMS_PER_BATCH
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    Field: TypeAlias = bytes | bytearray | memoryview[int] | str | int | float
    """What the client takes for a field or a value."""

NOW = int(datetime(2006, 12, 24, 18, tzinfo=UTC).timestamp())
MIDNIGHT = int(datetime(2006, 12, 1, tzinfo=UTC).timestamp())
DAY = 86_400
EARLY = NOW - 100 * DAY
PREFIX = "me[*]?^-\\:"
"""All characters that mean something in a pattern."""
TRACK, OTHER, EPISODE = "track:a", "track:b", "episode:e"


@pytest.fixture
def archive(redis_url: str) -> Iterator[Archive]:
    store = Archive(redis_url, PREFIX, utc=lambda: NOW)
    yield store
    store.close()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def put(
    client: redis.Redis, second: int, value: str = f"{TRACK} 1000 trackdone", prefix: str = PREFIX
) -> None:
    client.hset(prefix + index_key(day_of(second)), str(second), value)


def seconds(archive: Archive, begin: int = FIRST_SECOND, end: int | None = None) -> list[int]:
    return [second for second, *_ in archive.rows(begin, end)]


class TestRows:
    @pytest.mark.parametrize(
        ("begin", "end", "expected"),
        [
            (MIDNIGHT, MIDNIGHT + DAY, [0, 1, DAY - 1]),
            (MIDNIGHT + 1, MIDNIGHT + DAY + 1, [1, DAY - 1, DAY]),
            (MIDNIGHT + 2, MIDNIGHT + DAY - 1, []),
            (MIDNIGHT + DAY, MIDNIGHT, []),
            (-(10**12), 10**12, [0, 1, DAY - 1, DAY, DAY + 5]),
        ],
    )
    @pytest.mark.parametrize("foreign", [False, True])
    def test_a_period_begins_and_ends_at_a_second(
        self,
        client: redis.Redis,
        archive: Archive,
        begin: int,
        end: int,
        expected: list[int],
        *,
        foreign: bool,
    ) -> None:
        for after in (DAY + 5, 0, DAY, DAY - 1, 1):
            put(client, MIDNIGHT + after)
        if foreign:
            client.hset(PREFIX + index_key(day_of(MIDNIGHT)), "x", "y")
        assert seconds(archive, begin, end) == [MIDNIGHT + after for after in expected]

    def test_all_plays_from_the_first_day_to_tomorrow(self, client: redis.Redis, archive: Archive) -> None:
        moments = [FIRST_SECOND, MIDNIGHT, NOW, NOW + DAY - 1]
        for second in moments:
            put(client, second, f"{TRACK} {second} skipped")
        put(client, MIDNIGHT, prefix="me")
        assert list(archive.rows()) == [(second, TRACK, second, "skipped") for second in moments]
        assert day_of(FIRST_SECOND - 1) < day_of(FIRST_SECOND) == FIRST_DAY

    def test_a_machine_that_boots_in_1970(self, client: redis.Redis, redis_url: str) -> None:
        put(client, NOW, prefix="")
        store = Archive(redis_url, utc=lambda: 100.0)
        assert seconds(store) == []
        client.hset(STATUS, "last_play", play_key(NOW))
        assert seconds(store) == [NOW]
        store.close()

    @pytest.mark.parametrize(
        "value",
        ["", f"{TRACK} 1 open now", f"{TRACK} 1 open\r\n*0\r\n", b"track:\xff\xfe\xe2\x82", "- -"],
    )
    def test_foreign_lines_are_skipped(self, client: redis.Redis, archive: Archive, value: str) -> None:
        put(client, MIDNIGHT)
        put(client, MIDNIGHT + 5, value)
        put(client, MIDNIGHT + 9, f"{OTHER} 7")
        put(client, MIDNIGHT + DAY, f"{EPISODE} 8 open")
        client.set(PREFIX + index_key(day_of(MIDNIGHT - DAY)), "*0\r\n")
        assert list(archive.rows()) == [
            (MIDNIGHT, TRACK, 1000, "trackdone"),
            (MIDNIGHT + 9, OTHER, 7, "unknown"),
            (MIDNIGHT + DAY, EPISODE, 8, "open"),
        ]

    def test_between_two_batches(self, client: redis.Redis, archive: Archive) -> None:
        """Other questions may be asked, and the connection may be lost."""
        moments = [MIDNIGHT - (DAYS_PER_BATCH + 9) * DAY, MIDNIGHT]
        client.hset(PREFIX + TRACK, "name", "A")
        for second in moments:
            put(client, second)
        found = []
        for second, item, _, _ in archive.rows():
            found += [(second, dict(archive.catalog([item], ["name"])))]
            client.client_kill_filter(_type="normal", skipme=True)
            wait_until(lambda: len(client.client_list()) == 1)
        assert found == [(second, {TRACK: ("A",)}) for second in moments]


VALUES: dict[str, dict[Field, Field]] = {
    "track:whole": {"name": "Veridis Quo", "isrc": "GBDUW0000061"},
    "track:part": {"name": "–"},
    "track:empty": {"name": "", "isrc": ""},
    "track:break": {"name": "a\r\nb", "isrc": "-1"},
    "track:reply": {"name": "*2\r\n$1\r\nx\r\n$-1", "isrc": "$-1"},
    "track:error": {"name": "-", "isrc": "-ERR"},
    "track:bytes": {"name": b"\xff\xe2\x82", "isrc": b"\xc3"},
    "track:control": {"name": "\0\x1b[31m", "isrc": "\u2028"},
}


class TestHashes:
    @pytest.mark.parametrize("keys", [*([key] for key in VALUES), list(VALUES)], ids="-".join)
    def test_catalog_values_are_returned_as_they_are(
        self, client: redis.Redis, archive: Archive, keys: list[str]
    ) -> None:
        for key in keys:
            client.hset(PREFIX + key, mapping=VALUES[key])
        client.set(PREFIX + "track:text", "another type")
        for asked in (keys, [*keys, "track:missing"], ["track:text", *keys]):
            expected = [[VALUES.get(key, {}).get(name, "") for name in ("isrc", "name")] for key in asked]
            texts = [tuple(map(as_text, values)) for values in expected]
            assert list(archive.catalog(asked, ["isrc", "name"])) == list(zip(asked, texts, strict=True))

    def test_more_items_than_one_batch(self, client: redis.Redis, archive: Archive) -> None:
        keys = [f"track:{number}" for number in range(ITEMS_PER_BATCH + 1)]
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hset(PREFIX + key, "name", f"{key} " * 40)
            pipe.execute()
        found = list(archive.catalog(iter(keys), ["name"]))
        assert found == [(key, (f"{key} " * 40,)) for key in keys]
        assert list(archive.catalog([], ["name"])) == []

    def test_fields_and_hashes_of_plays(self, client: redis.Redis, archive: Archive) -> None:
        client.hset(PREFIX + play_key(NOW), mapping={"name": "A", "device_name": "Kitchen"})
        client.set(PREFIX + play_key(NOW + 1), "another type")
        asked = [NOW + 1, NOW, NOW + 2]
        names = map(play_key, asked)
        assert list(archive.fields(names, ["device_name", "x"])) == [{}, {"device_name": "Kitchen"}, {}]
        hashes = [{}, {"name": "A", "device_name": "Kitchen"}, {}]
        assert list(archive.plays(asked)) == list(zip(asked, hashes, strict=True))

    def test_gaps(self, client: redis.Redis, archive: Archive) -> None:
        lines: dict[Field, Field] = {str(NOW): f"{NOW + 5} offline", "x": "y", "9": "5 offline"}
        client.hset(PREFIX + GAPS, mapping={**lines, str(MIDNIGHT): f"{NOW} not running"})
        assert archive.gaps() == [(MIDNIGHT, NOW, "not running"), (NOW, NOW + 5, "offline")]


def as_text(value: Field) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


class TestCommands:
    def test_scan_takes_the_prefix_literally(self, client: redis.Redis, archive: Archive) -> None:
        keys = {f"listening:{number}" for number in range(3000)}
        client.mset({PREFIX + key: "" for key in keys} | {PREFIX + "plays:1": "", "listening:5": ""})
        client.mset(dict.fromkeys(("me[*]:listening:3", "m*listening:4", "meXX^-\\:listening:7"), ""))
        batches = list(archive.scan("listening:*"))
        assert all(batches)
        assert {key for batch in batches for key in batch} == keys

    def test_a_refused_write_does_not_stop_the_others(self, client: redis.Redis, archive: Archive) -> None:
        client.set(PREFIX + "b", "another type")
        commands = [("HSET", archive.key(name), "x", "1") for name in ("a", "b", "c")]
        with pytest.raises(StoreError, match=r"key of another type .*:b\)$") as caught:
            archive.write(commands)
        assert caught.value.codes == {"WRONGTYPE"}
        assert archive.send(commands) == [0, None, 0]
        archive.write(commands[:1])
        assert client.hget(PREFIX + "c", "x") == b"1"

    def test_errors_are_explained(self, archive: Archive) -> None:
        with pytest.raises(StoreError, match="unknown command"):
            archive.send([("NONSENSE",)])
        with pytest.raises(StoreError, match="cannot be reached"):
            seconds(Archive("redis://127.0.0.1:1"))


class TestAccessControl:
    @pytest.fixture(autouse=True)
    def _user(self, client: redis.Redis) -> Iterator[None]:
        put(client, MIDNIGHT, prefix="")
        client.hset(TRACK, "name", "A")
        yield
        client.acl_deluser("ann")

    def archive_of(self, client: redis.Redis, url: str, *rules: str) -> Archive:
        client.execute_command("ACL", "SETUSER", "ann", "reset", "on", ">hunter2", *rules)  # type: ignore[no-untyped-call]
        return Archive(url.replace("//", "//ann:hunter2@"), utc=lambda: NOW)

    def test_a_user_who_may_not_ping(self, client: redis.Redis, redis_url: str) -> None:
        archive = self.archive_of(client, redis_url, "~*", "+@all", "-ping")
        assert seconds(archive) == [MIDNIGHT]
        assert list(archive.catalog([TRACK], ["name"])) == [(TRACK, ("A",))]
        assert [item for _, item, _, _ in archive.rows()] == [TRACK]

    @pytest.mark.parametrize("ping", ["+ping", "-ping"])
    def test_a_user_who_may_not_read_all_keys(self, client: redis.Redis, redis_url: str, ping: str) -> None:
        archive = self.archive_of(client, redis_url, "~plays:2006-12*", f"~{STATUS}", "+@all", ping)
        for _ in range(2):
            assert seconds(archive, MIDNIGHT) == [MIDNIGHT]
            for forbidden in (archive.catalog([TRACK, "track:z"], ["name"]), archive.rows()):
                with pytest.raises(StoreError, match="allow the command in its ACL") as caught:
                    list(forbidden)
                assert caught.value.codes == {"NOPERM"}
