from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias

import pytest
import redis

from spotify_logger.core.play_rows import PlayRows
from spotify_logger.core.redis_keys import FIRST_DAY, GAPS, STATUS, day_of, index_key, play_key
from spotify_logger.storage.bulk import DAYS_PER_BATCH, FIRST_SECOND, ITEMS_PER_BATCH
from spotify_logger.storage.connection import StoreError
from spotify_logger.storage.store import Store
from tests.conftest import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.storage.bulk import Archive

    Field: TypeAlias = bytes | bytearray | memoryview[int] | str | int | float
    """What the client takes for a field or a value."""

NOW = int(datetime(2006, 12, 24, 18, tzinfo=UTC).timestamp())
MIDNIGHT = int(datetime(2006, 12, 1, tzinfo=UTC).timestamp())
DAY = 86_400
PREFIX = "me[*]?^-\\:"
"""All that means something to a search."""
TRACK, OTHER, EPISODE = "track:a", "track:b", "episode:e"


@pytest.fixture
def store(redis_url: str) -> Iterator[Store]:
    store = Store(redis_url, PREFIX, utc=lambda: NOW)
    yield store
    store.close()


@pytest.fixture
def archive(store: Store) -> Archive:
    return store.archive()


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def put(
    client: redis.Redis, second: int, value: str = f"{TRACK} 1000 trackdone", prefix: str = PREFIX
) -> None:
    client.hset(prefix + index_key(day_of(second)), str(second), value)


def seconds(archive: Archive, begin: int = FIRST_SECOND, end: int | None = None) -> list[list[int]]:
    return [rows.seconds for rows in archive.rows(begin, end)]


class TestRows:
    @pytest.mark.parametrize(
        ("begin", "end", "left"),
        [
            (MIDNIGHT - DAY, MIDNIGHT + 2 * DAY, [[0, 1, DAY - 1], [DAY, DAY + 5]]),
            (MIDNIGHT, MIDNIGHT + DAY, [[0, 1, DAY - 1]]),
            (MIDNIGHT + 1, MIDNIGHT + DAY + 1, [[1, DAY - 1], [DAY]]),
            (MIDNIGHT + 2, MIDNIGHT + DAY - 1, []),
            (MIDNIGHT + DAY - 1, MIDNIGHT + DAY, [[DAY - 1]]),
            (MIDNIGHT + DAY + 6, MIDNIGHT + DAY + 9, []),
            (MIDNIGHT + DAY, MIDNIGHT, []),
            (0, 0, []),
            (-(10**12), 10**12, [[0, 1, DAY - 1], [DAY, DAY + 5]]),
        ],
    )
    @pytest.mark.parametrize("foreign", [False, True])
    def test_cut_at_the_second(
        self,
        client: redis.Redis,
        archive: Archive,
        begin: int,
        end: int,
        left: list[list[int]],
        *,
        foreign: bool,
    ) -> None:
        for after in (DAY + 5, 0, DAY, DAY - 1, 1):
            put(client, MIDNIGHT + after)
        if foreign:
            client.hset(PREFIX + index_key(day_of(MIDNIGHT)), "x", "y")
        assert seconds(archive, begin, end) == [[MIDNIGHT + after for after in day] for day in left]

    def test_all_that_there_is(self, client: redis.Redis, archive: Archive) -> None:
        moments = [FIRST_SECOND, MIDNIGHT, NOW, NOW + DAY - 1]
        for second in moments:
            put(client, second, f"{TRACK} {second} skipped")
        assert list(archive.rows()) == [
            PlayRows([second], [TRACK], [second], ["skipped"]) for second in moments
        ]

    def test_others_have_other_prefixes(self, client: redis.Redis, archive: Archive) -> None:
        put(client, MIDNIGHT, prefix="me")
        put(client, MIDNIGHT, prefix="")
        assert seconds(archive) == []

    def test_a_machine_that_wakes_up_in_1970(self, client: redis.Redis, redis_url: str) -> None:
        put(client, NOW, prefix="")
        store = Store(redis_url, utc=lambda: 100.0)
        assert seconds(store.archive()) == []
        client.hset(STATUS, "last_play", play_key(NOW))
        assert seconds(store.archive()) == [[NOW]]
        client.delete(STATUS)
        client.set(STATUS, "another type")
        assert seconds(store.archive()) == []
        store.close()

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "x",
            f"{TRACK} 1 open now",
            f"{TRACK}\n1 open",
            f"{TRACK} 1 open\r\n*0\r\n",
            b"track:\xff\xfe\xe2\x82",
            "- -",
        ],
    )
    def test_foreign_lines_are_passed_over(self, client: redis.Redis, archive: Archive, value: str) -> None:
        put(client, MIDNIGHT)
        put(client, MIDNIGHT + 5, value)
        put(client, MIDNIGHT + 9, f"{OTHER} 7")
        put(client, MIDNIGHT + DAY, f"{EPISODE} 8 open")
        assert list(archive.rows()) == [
            PlayRows([MIDNIGHT, MIDNIGHT + 9], [TRACK, OTHER], [1000, 7], ["trackdone", "unknown"]),
            PlayRows([MIDNIGHT + DAY], [EPISODE], [8], ["open"]),
        ]

    @pytest.mark.parametrize("day", [-1, 0, 1])
    def test_a_day_of_another_type(self, client: redis.Redis, archive: Archive, day: int) -> None:
        put(client, MIDNIGHT)
        client.delete(PREFIX + index_key(day_of(MIDNIGHT + day * DAY)))
        client.set(PREFIX + index_key(day_of(MIDNIGHT + day * DAY)), "*0\r\n")
        assert seconds(archive) == ([[MIDNIGHT]] if day else [])

    def test_the_connection_is_lost_in_between(self, client: redis.Redis, archive: Archive) -> None:
        moments = [MIDNIGHT - (DAYS_PER_BATCH + 9) * DAY, MIDNIGHT]
        for second in moments:
            put(client, second)
        found = archive.rows()
        assert next(found).seconds == moments[:1]
        client.client_kill_filter(_type="normal", skipme=True)
        wait_until(lambda: len(client.client_list()) == 1)
        assert [rows.seconds for rows in found] == [moments[1:]]

    def test_questions_in_between(self, client: redis.Redis, archive: Archive) -> None:
        moments = [MIDNIGHT - (DAYS_PER_BATCH + 9) * DAY, MIDNIGHT]
        client.hset(PREFIX + TRACK, "name", "A")
        for second in moments:
            put(client, second)
        found = [(rows.seconds, dict(archive.catalog(rows.items, ["name"]))) for rows in archive.rows()]
        assert found == [([second], {TRACK: ("A",)}) for second in moments]

    def test_the_server_is_gone(self) -> None:
        with pytest.raises(StoreError, match="cannot be reached"):
            seconds(Store("redis://127.0.0.1:1").archive())


class TestItemsBefore:
    @pytest.mark.parametrize("foreign", [False, True])
    def test_what_started_before(self, client: redis.Redis, archive: Archive, *, foreign: bool) -> None:
        put(client, FIRST_SECOND, "local:0 0 open")
        put(client, MIDNIGHT, f"{TRACK} 0 skipped")
        put(client, MIDNIGHT + 7, f"{OTHER} 5 open")
        put(client, MIDNIGHT + DAY, f"{EPISODE} 5 open")
        if foreign:
            put(client, MIDNIGHT - DAY, "x y z")
            put(client, MIDNIGHT - DAY + 1, f"{OTHER}:old 5")
        first = {"local:0"} | ({f"{OTHER}:old"} if foreign else set())
        assert archive.items_before(FIRST_SECOND) == set()
        assert archive.items_before(0) == set()
        assert archive.items_before(MIDNIGHT) == first
        assert archive.items_before(MIDNIGHT + 7) == first | {TRACK}
        assert archive.items_before(MIDNIGHT + 8) == first | {TRACK, OTHER}
        assert archive.items_before(MIDNIGHT + DAY) == first | {TRACK, OTHER}
        assert archive.items_before(10**10) == first | {TRACK, OTHER, EPISODE}


VALUES: dict[str, dict[Field, Field]] = {
    "track:whole": {"name": "Veridis Quo", "isrc": "GBDUW0000061"},
    "track:part": {"name": "–"},
    "track:empty": {"name": "", "isrc": ""},
    "track:break": {"name": "a\r\nb", "isrc": "-1"},
    "track:reply": {"name": "*2\r\n$1\r\nx\r\n$-1", "isrc": "$-1"},
    "track:minus": {"name": "-", "isrc": "-ERR"},
    "track:bytes": {"name": b"\xff\xe2\x82", "isrc": b"\xc3"},
    "track:null": {"name": "\0\x1b[31m", "isrc": "\u2028"},
}


class TestCatalog:
    @pytest.mark.parametrize("keys", [[key] for key in VALUES] + [list(VALUES)])
    def test_values_as_they_are(self, client: redis.Redis, archive: Archive, keys: list[str]) -> None:
        for key in keys:
            client.hset(PREFIX + key, mapping=VALUES[key])
        client.set(PREFIX + "track:text", "another type")
        for asked in (keys, [*keys, "track:missing"], ["track:text", *keys], [*keys, "track:text", *keys]):
            assert list(archive.catalog(asked, ["isrc", "name"])) == [
                (key, tuple(text(VALUES.get(key, {}).get(name, "")) for name in ("isrc", "name")))
                for key in asked
            ]

    def test_more_than_are_read_together(self, client: redis.Redis, archive: Archive) -> None:
        keys = [f"track:{number}" for number in range(ITEMS_PER_BATCH + 1)]
        with client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hset(PREFIX + key, "name", f"{key} " * 40)
            pipe.execute()
        found = list(archive.catalog(iter(keys), ["name"]))
        assert found == [(key, (f"{key} " * 40,)) for key in keys]

    def test_nobody_asked(self, archive: Archive) -> None:
        assert list(archive.catalog([], ["name"])) == []


def text(value: Field) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


class TestPlays:
    def test_fields_and_hashes(self, client: redis.Redis, archive: Archive) -> None:
        client.hset(PREFIX + play_key(NOW), mapping={"name": "A", "device_name": "Kitchen"})
        client.set(PREFIX + play_key(NOW + 1), "another type")
        asked = [NOW + 1, NOW, NOW + 2]
        assert list(archive.fields(asked, ["device_name", "x"])) == [
            (NOW + 1, ("", "")),
            (NOW, ("Kitchen", "")),
            (NOW + 2, ("", "")),
        ]
        assert list(archive.plays(asked)) == [
            (NOW + 1, {}),
            (NOW, {"name": "A", "device_name": "Kitchen"}),
            (NOW + 2, {}),
        ]

    def test_gaps(self, client: redis.Redis, archive: Archive) -> None:
        lines: dict[Field, Field] = {
            str(NOW): f"{NOW + 5} offline",
            str(MIDNIGHT): f"{NOW} not running",
            "x": "y",
            "9": "5 offline",
        }
        client.hset(PREFIX + GAPS, mapping=lines)
        assert archive.gaps() == [(MIDNIGHT, NOW, "not running"), (NOW, NOW + 5, "offline")]
        client.delete(PREFIX + GAPS)
        assert archive.gaps() == []


class TestScan:
    def test_the_prefix_is_no_pattern(self, client: redis.Redis, archive: Archive) -> None:
        client.mset({PREFIX + "listening:1": "", PREFIX + "listening:2": "", PREFIX + "plays:1": ""})
        client.mset(
            {"me[*]:listening:3": "", "m*listening:4": "", "listening:5": "", f"x{PREFIX}listening:6": ""}
        )
        client.mset({"meXX^-\\:listening:7": "", "me*X^-\\:listening:8": ""})
        found = [key for keys in archive.scan("listening:*") for key in keys]
        assert sorted(found) == ["listening:1", "listening:2"]

    def test_more_keys_than_are_looked_at_together(self, client: redis.Redis, redis_url: str) -> None:
        client.mset({f"listening:{number}": "" for number in range(3000)} | {"other": ""})
        store = Store(redis_url)
        portions = list(store.archive().scan("listening:*"))
        store.close()
        assert all(portions)
        assert {key for keys in portions for key in keys} == {f"listening:{number}" for number in range(3000)}


class TestWriting:
    def test_what_is_written_is_there(self, client: redis.Redis, archive: Archive) -> None:
        archive.write([("HSET", archive.key("a"), "x", 1), ("HSET", archive.key("b"), "y", "2")])
        assert archive.send([("HGET", archive.key("a"), "x"), ("HGET", archive.key("c"), "x")]) == ["1", None]
        assert client.hget(PREFIX + "b", "y") == b"2"

    def test_what_is_refused(self, client: redis.Redis, archive: Archive) -> None:
        client.set(PREFIX + "b", "another type")
        commands = [("HSET", archive.key(name), "x", "1") for name in ("a", "b", "c")]
        with pytest.raises(
            StoreError, match=r"has a key of another type .* \(me\[\*\]\?\^-\\:b\)$"
        ) as caught:
            archive.write(commands)
        assert caught.value.codes == {"WRONGTYPE"}
        assert archive.send(commands) == [0, None, 0]  # the others were written

    def test_what_is_no_command(self, archive: Archive) -> None:
        with pytest.raises(StoreError, match="says: unknown command"):
            archive.send([("NONSENSE",)])


class TestUsers:
    """What a server's access control list allows."""

    def archive_of(self, client: redis.Redis, url: str, *rules: str) -> Archive:
        client.execute_command("ACL", "SETUSER", "ann", "reset", "on", ">hunter2", *rules)  # type: ignore[no-untyped-call]
        put(client, MIDNIGHT, prefix="")
        client.hset(TRACK, "name", "A")
        return Store(url.replace("//", "//ann:hunter2@"), utc=lambda: NOW).archive()

    @pytest.fixture(autouse=True)
    def gone(self, client: redis.Redis) -> Iterator[None]:
        yield
        client.acl_deluser("ann")

    def test_who_must_not_ping(self, client: redis.Redis, redis_url: str) -> None:
        archive = self.archive_of(client, redis_url, "~*", "+@all", "-ping")
        assert seconds(archive) == [[MIDNIGHT]]
        assert list(archive.catalog([TRACK], ["name"])) == [(TRACK, ("A",))]
        assert archive.items_before(NOW) == {TRACK}

    @pytest.mark.parametrize("keys", ["~plays:*", "~track:*"])
    @pytest.mark.parametrize("ping", ["+ping", "-ping"])
    def test_who_must_not_read_everything(
        self, client: redis.Redis, redis_url: str, keys: str, ping: str
    ) -> None:
        archive = self.archive_of(client, redis_url, keys, f"~{STATUS}", "+@all", ping)
        forbidden = archive.catalog([TRACK, "track:z"], ["name"]) if "plays" in keys else archive.rows()
        with pytest.raises(StoreError, match="denies this user: allow the command in its ACL") as caught:
            list(forbidden)
        assert caught.value.codes == {"NOPERM"}

    def test_who_must_not_read_one_day(self, client: redis.Redis, redis_url: str) -> None:
        days = [f"~plays:2006-{month:02}*" for month in range(4, 12)] + ["~plays:2006-12-0*", f"~{STATUS}"]
        archive = self.archive_of(client, redis_url, *days, "+@all")
        assert seconds(archive, FIRST_SECOND, MIDNIGHT + DAY) == [[MIDNIGHT]]
        with pytest.raises(StoreError, match="denies this user"):
            seconds(archive)
        assert seconds(archive, FIRST_SECOND, MIDNIGHT + DAY) == [
            [MIDNIGHT]
        ]  # nothing is left of the refusal


def test_the_first_day() -> None:
    assert day_of(FIRST_SECOND) == FIRST_DAY
    assert day_of(FIRST_SECOND - 1) < FIRST_DAY


class TestMark:
    """What changes when anything has changed that an answer is made of."""

    EARLY = NOW - 100 * DAY

    @pytest.fixture
    def marked(self, client: redis.Redis, archive: Archive) -> Archive:
        put(client, self.EARLY)
        put(client, NOW - 60)
        return archive

    def test_nothing_has_changed(self, marked: Archive) -> None:
        assert marked.mark() == marked.mark()
        assert marked.mark(self.EARLY, NOW) == marked.mark(self.EARLY, NOW)

    def test_it_tells_how_many_plays_there_are(self, marked: Archive) -> None:
        assert marked.mark()[1] == 2
        assert marked.mark(self.EARLY - DAY, self.EARLY + 1)[1] == 1
        assert marked.mark(self.EARLY - 3 * DAY, self.EARLY - 2 * DAY)[1] == 0

    def test_a_play_more_or_less(self, client: redis.Redis, marked: Archive) -> None:
        marks = [marked.mark()]
        put(client, self.EARLY + 1)
        marks.append(marked.mark())
        client.hdel(PREFIX + index_key(day_of(NOW)), str(NOW - 60))
        marks.append(marked.mark())
        assert len({mark for mark, _ in marks}) == 3
        assert [plays for _, plays in marks] == [2, 3, 2]

    def test_a_play_of_the_last_days_that_goes_on(self, client: redis.Redis, marked: Archive) -> None:
        before = marked.mark()
        put(client, NOW - 60, f"{TRACK} 2000 skipped")
        assert marked.mark() != before

    def test_what_is_not_in_the_stretch_changes_nothing(self, client: redis.Redis, marked: Archive) -> None:
        before = marked.mark(self.EARLY - DAY, self.EARLY + DAY)
        put(client, NOW - 60, f"{TRACK} 2000 skipped")
        put(client, NOW - 30)
        assert marked.mark(self.EARLY - DAY, self.EARLY + DAY) == before

    def test_another_stretch_is_another_one(self, marked: Archive) -> None:
        assert marked.mark(self.EARLY)[0] != marked.mark(self.EARLY + 1)[0]

    def test_a_gap(self, client: redis.Redis, marked: Archive) -> None:
        before = marked.mark()
        client.hset(PREFIX + GAPS, str(self.EARLY), f"{self.EARLY + 600} offline")
        assert marked.mark() != before

    def test_a_key_that_is_no_index(self, client: redis.Redis, marked: Archive) -> None:
        client.set(PREFIX + index_key(day_of(self.EARLY + DAY)), "something else")
        assert marked.mark()[1] == 2
