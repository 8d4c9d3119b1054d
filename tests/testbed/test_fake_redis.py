"""The fake Redis replies as a real server does, and loses in a crash what a real one could lose."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.client import (
    ANSWER_TIMEOUT,
    Command,
    RedisClient,
    Refusal,
    Reply,
    StoreError,
)
from spotify_logger.storage.lease import RELEASE, RENEW
from spotify_logger.storage.store import UNLOGGED
from tests.conftest import start_server, wait_until
from tests.testbed.fake_redis import SAVE_SECONDS, SNAPSHOT_SECONDS, FakeRedis
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.testbed.fake_redis import Code, Persistence

T = 1_795_370_400.0
"""2026-11-22T18:00:00Z; a whole second, so that it is a second until the file is synced."""
QUESTIONS: list[Command] = [("INFO",), ("CONFIG GET", "save")]


def commands_of(text: str) -> list[Command]:
    """Read commands that are separated by commas; the names of scripts stand for the scripts."""
    scripts = {"RENEW": RENEW, "RELEASE": RELEASE, "UNLOGGED": UNLOGGED}
    return [tuple(scripts.get(word, word) for word in command.split()) for command in text.split(",")]


CONVERSATIONS = {
    "strings": [
        *commands_of("GET a, GET, SET a x, GET a, INCR a, INCR b, PTTL b, PTTL none, SET a y PX 60000"),
        *commands_of("PEXPIRE b 60000, INCR b, DEL b, PEXPIRE none 1"),
        *commands_of("SET a z PX 0, GET a, SET a z NX, SET none z XX, SET a z XX, GET a, SET c z NX PX 9000"),
        *commands_of("EXISTS a a none, DEL a a none, DEL a, EXISTS a"),
        *[("SET", "a", "Sigrún & Þór 東京 🌊\r\n"), ("GET", "a"), ("SET", "a", ""), ("GET", "a")],
    ],
    "hashes": [
        *commands_of("HSET h f v, HSET h f 2 g x, HSET h f 3 f 4, HGET h f, HGET h none, HGET none f"),
        *commands_of("HMGET h f none f, HMGET none f g, HGETALL h, HLEN h, HGETALL none, HLEN none"),
        *commands_of("HDEL h f none f, HDEL none f, HDEL h g, EXISTS h, HSET h f v"),
        *[("HSET", "h", "", ""), ("HGETALL", "h")],
        *commands_of("EVAL UNLOGGED 1 h HSET f v g x, EVAL UNLOGGED 1 h HDEL g"),
        *commands_of("EVAL UNLOGGED 1 c SET x, GET c"),
    ],
    "wrong types": commands_of(
        "SET a x, HSET a f v, HGET a f, HMGET a f, HGETALL a, HLEN a, HDEL a f, HSET h f v, GET h,"
        "NONSENSE a 5, SET h x, GET h, DEL a h"
    ),
    "lease": [
        *commands_of("SET a x NX PX 60000, EVAL RENEW 1 a y 50000, EVAL RENEW 1 a x 50000, GET a"),
        *commands_of("EVAL RENEW 1 none x 9000, EVAL RELEASE 1 a y, EVAL RELEASE 1 a x, EVAL RELEASE 1 a x"),
        ("SET", "a", "7 ab pi"),
    ],
}
EVERY_COMMAND = commands_of(
    "EXISTS a, GET a, HGET h a, HMGET h a, HGETALL h, HLEN h, SET a 1, HSET h a 1, HDEL h a,DEL a, NONSENSE"
)


class FakeWithClock:
    """A fake server, its clock, and a connection to it."""

    def __init__(self, persistence: Persistence = "aof") -> None:
        self.clock = VirtualClock(T)
        self.redis = FakeRedis(self.clock.utc, self.clock.sleep, persistence)
        self.client = self.redis.client()

    def ask(self, *commands: Command) -> list[Reply]:
        return ask(self.client, *commands)

    def content(self) -> dict[str, Reply]:
        """Return what the keys of these tests hold."""
        found: dict[str, Reply] = {}
        for key in "abch":
            text, fields = ask(self.redis.client(), ("GET", key), ("HGETALL", key))
            if isinstance(text, Refusal):
                found[key] = fields
            elif text is not None:
                found[key] = text
        return found

    def content_after_crash(self) -> dict[str, Reply]:
        self.redis.crash()
        self.redis.restart()
        return self.content()


@pytest.fixture
def fake() -> FakeWithClock:
    return FakeWithClock()


@pytest.fixture
def real(redis_url: str) -> Iterator[RedisClient]:
    client = RedisClient(redis_url)
    yield client
    client.close()


def ask(client: RedisClient, *commands: Command) -> list[Reply]:
    client.connect()
    return client.send(commands)


def complaint(client: RedisClient) -> str:
    """Return why there is no answer, without the name of the server."""
    with pytest.raises(StoreError) as caught:
        ask(client, ("EXISTS", "a"))
    return str(caught.value).removeprefix(f"Redis at {client.where} ")


@pytest.mark.parametrize("commands", CONVERSATIONS.values(), ids=CONVERSATIONS)
def test_it_replies_as_a_real_server(fake: FakeWithClock, real: RedisClient, commands: list[Command]) -> None:
    assert fake.ask(*commands) == ask(real, *commands)
    for command in commands:
        assert fake.ask(command) == ask(real, command)


@pytest.mark.parametrize("seed", range(2))
def test_it_replies_as_a_real_server_to_random_commands(
    fake: FakeWithClock, real: RedisClient, seed: int
) -> None:
    chance = random.Random(seed)
    for _ in range(30):
        batch = [random_command(chance) for _ in range(20)]
        assert fake.ask(*batch) == ask(real, *batch)


def random_command(chance: random.Random) -> Command:
    name = chance.choice(["SET", "GET", "DEL", "EXISTS", "HDEL", "HGET", "HMGET", "HGETALL", *["HSET"] * 5])
    key = chance.choice("abc")
    if name == "SET":
        return (name, key, chance.randrange(9), *chance.choice([(), (), ("PX", 60_000), ("PX", 0)]))
    numbers = {"HSET": (2, 4), "HGET": (1,), "HDEL": (1, 2), "HMGET": (1, 2), "DEL": (0, 1), "EXISTS": (0, 1)}
    arguments = [chance.choice("fgh") for _ in range(chance.choice(numbers.get(name, (0,))))]
    return (name, key, *arguments)


def test_an_expired_string_is_gone_for_every_command(fake: FakeWithClock, real: RedisClient) -> None:
    for client, sleep in ((fake.client, fake.clock.sleep), (real, time.sleep)):
        for key in "abcde":
            ask(client, ("SET", key, "x", "PX", 50))
        ask(client, ("SET", "b", "stays"), ("DEL", "c"), ("HSET", "c", "f", 1))
        sleep(0.1)
        assert ask(client, ("EXISTS", "a"), ("GET", "a"), ("PTTL", "a"), ("DEL", "e")) == [0, None, -2, 0]
        assert ask(client, ("GET", "b"), ("HLEN", "c"), ("HSET", "d", "f", 1)) == ["stays", 1, 1]


def test_it_describes_its_persistence_as_a_real_server(fake: FakeWithClock, real: RedisClient) -> None:
    said = [client.persistence()._replace(run="") for client in (fake.client, real)]
    assert said[0] == said[1]
    assert Archive("", connect=fake.redis.client).version() == "redis 7.2.4"


@pytest.mark.parametrize("code", ["OOM", "MISCONF", "READONLY", "NOPERM", "NOAUTH"])
def test_it_refuses_what_a_real_server_refuses(fake: FakeWithClock, tmp_path: Path, code: Code) -> None:
    server = start_server(tmp_path / "redis")
    real = RedisClient(server.url)
    for client in (fake.client, real):
        ask(client, ("SET", "a", 1), ("HSET", "h", "a", 1))
    fake.redis.refusing = code
    refuse(code, server.url, tmp_path / "redis")
    if code == "NOAUTH":
        real.close()
        assert complaint(fake.client) == complaint(real)
    else:
        replies = fake.ask(*EVERY_COMMAND)
        assert replies == ask(real, *EVERY_COMMAND)
        assert any(isinstance(reply, Refusal) and reply.code == code for reply in replies)
    real.close()
    assert server.process
    server.process.kill()  # it might not end without saving
    server.stop()


def refuse(code: Code, url: str, folder: Path) -> None:
    """Bring a real server into a state in which it refuses commands with that code."""
    with redis.Redis.from_url(url) as client:
        if code == "OOM":
            client.config_set("maxmemory", 1)
        elif code == "READONLY":
            client.replicaof("127.0.0.1", 1)
        elif code == "NOPERM":
            client.execute_command("ACL", "SETUSER", "default", "-@all")
        elif code == "NOAUTH":
            client.config_set("requirepass", "x")
        else:
            (folder / "dump.rdb").mkdir()  # no snapshot can take its place
            client.config_set("save", "900 1")
            client.bgsave()
            wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err")


def test_it_complains_as_a_real_server_that_hangs_or_is_gone(fake: FakeWithClock, tmp_path: Path) -> None:
    server = start_server(tmp_path)
    real = RedisClient(f"{server.url}?socket_timeout=1")
    assert server.process
    assert [fake.client.connect(), real.connect()] == [1, 1]
    os.kill(server.process.pid, signal.SIGSTOP)
    fake.redis.hanging = True
    assert complaint(fake.client) == complaint(real)
    os.kill(server.process.pid, signal.SIGCONT)
    fake.redis.hanging = False
    real = RedisClient(server.url)
    assert [fake.client.connect(), real.connect()] == [2, 1]
    server.process.kill()
    server.process.wait()
    fake.redis.crash()
    assert complaint(fake.client) == complaint(real)
    real.close()


@pytest.mark.parametrize("seed", range(10))
def test_a_crash_undoes_what_was_written_since_the_second_began(fake: FakeWithClock, seed: int) -> None:
    chance = random.Random(seed)
    kept = fake.content()
    for _ in range(chance.randrange(2, 60)):
        fake.ask(*(random_command(chance) for _ in range(3)))
        second = int(fake.clock.now)
        fake.clock.sleep(chance.uniform(0, 0.4))
        if int(fake.clock.now) != second:
            kept = fake.content()
    assert fake.content_after_crash() == kept
    assert fake.content_after_crash() == kept


def test_a_crash_brings_nothing_back_that_expired(fake: FakeWithClock) -> None:
    fake.ask(("SET", "a", "x", "PX", 1200), ("SET", "b", "x", "PX", 1100))
    fake.clock.sleep(1.15)
    fake.ask(("DEL", "a"), ("HSET", "b", "f", 1))
    fake.redis.crash()
    fake.clock.sleep(10)
    fake.redis.restart()
    assert fake.content() == {}


def test_a_snapshot_holds_what_was_there_when_it_began() -> None:
    fake = FakeWithClock("rdb")
    fake.clock.sleep(1000)
    fake.ask(("SET", "a", "before"), ("HSET", "h", "f", 1))
    fake.clock.sleep(1)
    fake.ask(("SET", "a", "during"), ("HSET", "h", "g", 2))
    fake.clock.sleep(SNAPSHOT_SECONDS)
    assert fake.content_after_crash() == {"a": "before", "h": {"f": "1"}}
    fake.ask(("SET", "b", "later"))
    fake.clock.sleep(SAVE_SECONDS + SNAPSHOT_SECONDS - 0.1)
    assert fake.content_after_crash() == {"a": "before", "h": {"f": "1"}}  # an unfinished one does not count
    fake.ask(("SET", "b", "later"))
    fake.redis.restart()  # an orderly end makes a snapshot
    assert fake.content_after_crash()["b"] == "later"


@pytest.mark.parametrize("persistence", ["aof", "rdb"])
def test_a_full_disk_keeps_nothing_until_there_is_room(persistence: Persistence) -> None:
    for has_room in (False, True):
        fake = FakeWithClock(persistence)
        fake.ask(("SET", "a", 1))
        fake.redis.refusing = "MISCONF"
        fake.clock.sleep(1000)
        assert Archive("", connect=fake.redis.client).persistence_trouble()
        if has_room:
            fake.redis.refusing = ""
            fake.clock.sleep(SNAPSHOT_SECONDS)
            assert fake.content() == {"a": "1"}
        assert fake.content_after_crash() == ({"a": "1"} if has_room else {})


def test_while_down_or_loading_it_carries_nothing_out(fake: FakeWithClock) -> None:
    fake.redis.down = True
    assert "cannot be reached" in complaint(fake.client)
    fake.redis.down = False
    fake.redis.refusing = "LOADING"
    assert "loading" in complaint(fake.client)
    assert fake.ask(*QUESTIONS)


def test_it_carries_out_what_it_is_too_slow_to_answer(fake: FakeWithClock) -> None:
    fake.redis.slow = 0.75
    assert fake.ask(("SET", "a", 1)) == [True]
    assert fake.clock.now == T + 0.75
    fake.redis.slow = 60
    with pytest.raises(StoreError, match="did not answer in time"):
        fake.ask(("SET", "a", 2))
    assert fake.clock.now == T + 0.75 + ANSWER_TIMEOUT
    fake.redis.slow, fake.redis.deaf_after_write = 0, 1
    assert fake.ask(("GET", "a"), ("DEL", "b")) == ["2", 0], "nothing is written: it answers"
    with pytest.raises(StoreError, match="did not answer in time"):
        fake.ask(("SET", "a", 3))
    assert fake.ask(("SET", "b", 1)) == [True]
    assert fake.content() == {"a": "3", "b": "1"}


@pytest.mark.parametrize(("hook", "is_written"), [("before_send", False), ("after_send", True)])
def test_a_hook_sees_the_batch_and_may_raise_or_crash(
    fake: FakeWithClock, hook: str, *, is_written: bool
) -> None:
    def power_cut(commands: object) -> None:
        assert commands == (("SET", "a", 1),)
        raise InterruptedError

    setattr(fake.redis, hook, power_cut)
    with pytest.raises(InterruptedError):
        fake.ask(("SET", "a", 1))
    setattr(fake.redis, hook, None)
    assert fake.content() == ({"a": "1"} if is_written else {})
    setattr(fake.redis, hook, lambda _: fake.redis.crash())
    with pytest.raises(StoreError, match="closed the connection"):
        fake.ask(("SET", "a", 1))
