from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from datetime import date
from typing import TYPE_CHECKING, Protocol

import pytest
import redis

from spotify_logger.storage.connection import ANSWER_TIMEOUT, Link, RedisLink, StoreError
from spotify_logger.storage.embedded_server import find_server
from spotify_logger.storage.lease import DROP_INVALID, RELEASE, RENEW
from spotify_logger.storage.redis_errors import ADVICE_BY_CODE, Refusal
from spotify_logger.storage.store import Store
from tests.conftest import free_port, start_again, start_server, wait_until
from tests.testbed.fake_redis import SAVE_SECONDS, SNAPSHOT_SECONDS, FakeRedis
from tests.testbed.virtual_time import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from spotify_logger.storage.connection import Command, Reply
    from spotify_logger.storage.embedded_server import EmbeddedServer
    from tests.testbed.fake_redis import Code, Persistence

T = 1_795_370_400.0
"""2026-11-22T18:00:00Z; a whole second, so that it is a second until the file is synced."""
START = int(T)
ROW = "track:4uLU6hMCjMI75M1A2tKUQC 215000"

WRONG_TYPE = Refusal("WRONGTYPE", ADVICE_BY_CODE["WRONGTYPE"])
NO_AOF = "WAITAOF cannot be used when numlocal is set but appendonly is disabled."
PROOF: Command = ("WAITAOF", 1, 0, 100)
ALL: list[Command] = [
    *[("PING",), ("TIME",), ("LASTSAVE",), ("INFO",), ("CONFIG", "GET", "save"), ("WAITAOF", 0, 0, 1)],
    *[
        ("EXISTS", "a"),
        ("GET", "a"),
        ("HGET", "h", "a"),
        ("HMGET", "h", "a"),
        ("HGETALL", "h"),
        ("HLEN", "h"),
    ],
    *[("SET", "a", 1), ("HSET", "h", "a", 1), ("HDEL", "h", "a"), ("DEL", "a"), ("FLUSHALL",)],
]
"""Every command, so that each would be carried out."""
WRITES = {"SET", "HSET", "HDEL", "DEL", "FLUSHALL"}


def err(words: str) -> Refusal:
    return Refusal("ERR", f"says: {words}")


def wrong_number(command: str) -> Refusal:
    return err(f"wrong number of arguments for '{command}' command")


class Rig(Protocol):
    """A server, real or not, and what can be done to it."""

    knows_waitaof: bool

    def link(self, patience: float = ANSWER_TIMEOUT) -> Link: ...
    def now(self) -> float: ...
    def wait_until(self, condition: Callable[[], object]) -> None: ...
    def store(self) -> Store: ...
    def lose_connections(self) -> None:
        """Break all connections; the server goes on."""

    def hang(self, *, hanging: bool) -> None: ...
    def refuse(self, code: Code) -> None: ...
    def turn_aof_off(self) -> None: ...
    def delay_proof(self) -> None:
        """See to it that no write is durable for the next half second."""

    def kill(self) -> None: ...
    def stop(self) -> None: ...
    def start(self) -> None: ...


class StandInRig:
    def __init__(self, persistence: Persistence = "aof", *, waitaof: bool = True) -> None:
        self.knows_waitaof = waitaof
        self.clock = VirtualClock(T)
        self.server = FakeRedis(self.now, self.clock.sleep, persistence, waitaof=waitaof)

    def link(self, patience: float = ANSWER_TIMEOUT) -> Link:
        return self.server.link()

    def now(self) -> float:
        return self.clock.now

    def wait_until(self, condition: Callable[[], object]) -> None:
        deadline = self.clock.now + 20
        while not condition():
            assert self.clock.now < deadline, "it did not come true"
            self.clock.sleep(0.01)

    def store(self) -> Store:
        return Store("", utc=self.clock.utc, connect=self.server.link)

    def lose_connections(self) -> None:
        self.server.down = True
        self.server.down = False

    def hang(self, *, hanging: bool) -> None:
        self.server.hanging = hanging

    def refuse(self, code: Code) -> None:
        self.server.refusing = code

    def turn_aof_off(self) -> None:
        self.server = FakeRedis(self.now, self.clock.sleep, "rdb")

    def delay_proof(self) -> None:
        assert self.clock.now == T

    def kill(self) -> None:
        self.server.crash()

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.server.restart()


class RealRig:
    def __init__(self, url: str, server: EmbeddedServer | None = None, folder: Path | None = None) -> None:
        self._url = url
        self._server = server
        self._folder = folder
        self._links: list[Link] = []
        self._admin = self.link()
        (reply,) = ask(self._admin, PROOF)
        self.knows_waitaof = not isinstance(reply, Refusal)

    def link(self, patience: float = ANSWER_TIMEOUT) -> Link:
        link = RedisLink(f"{self._url}?socket_timeout={patience}")
        self._links.append(link)
        return link

    def now(self) -> float:
        return time.time()

    def wait_until(self, condition: Callable[[], object]) -> None:
        wait_until(condition)

    def store(self) -> Store:
        return Store("", utc=lambda: T, connect=lambda _: self.link())

    def lose_connections(self) -> None:
        self._order("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def hang(self, *, hanging: bool) -> None:
        assert self._server
        assert self._server.pid
        os.kill(self._server.pid, signal.SIGSTOP if hanging else signal.SIGCONT)

    def refuse(self, code: Code) -> None:
        if code == "MISCONF":
            assert self._folder
            (self._folder / "dump.rdb").mkdir()  # no snapshot can take its place
            self._order("CONFIG", "SET", "save", "900 1")
            self._order("BGSAVE")
            wait_until(lambda: facts(self._admin)["rdb_last_bgsave_status"] == "err")
            return
        orders: dict[Code, Command] = {
            "OOM": ("CONFIG", "SET", "maxmemory", 1),
            "READONLY": ("REPLICAOF", "127.0.0.1", 1),
            "NOPERM": ("ACL", "SETUSER", "default", "-@all"),
            "NOAUTH": ("CONFIG", "SET", "requirepass", "x"),
        }
        self._order(*orders[code])

    def turn_aof_off(self) -> None:
        self._order("CONFIG", "SET", "appendonly", "no")

    def delay_proof(self) -> None:
        self._order("CONFIG", "SET", "appendfsync", "no")

    def kill(self) -> None:
        assert self._server
        assert self._server.process
        self._server.process.kill()
        self._server.process.wait()

    def stop(self) -> None:
        assert self._server
        self._server.stop()

    def start(self) -> None:
        assert self._server
        start_again(self._server)

    def close(self) -> None:
        for link in self._links:
            link.close()

    def _order(self, *words: str | int) -> None:
        (reply,) = ask(self._admin, words)
        assert not isinstance(reply, Refusal), reply


@pytest.fixture(params=["stand-in", "real"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A server that holds nothing, and must go on."""
    if request.param == "stand-in":
        yield StandInRig()
        return
    real = RealRig(request.getfixturevalue("redis_url"))
    yield real
    real.close()


@pytest.fixture(params=["stand-in", "real"])
def breakable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    """A server that may be broken."""
    if request.param == "stand-in":
        yield StandInRig()
        return
    server = start_server(tmp_path / "redis")
    real = RealRig(server.url, server, tmp_path / "redis")
    yield real
    real.close()
    real.kill()


@pytest.fixture
def fake() -> StandInRig:
    return StandInRig()


def needs_waitaof(rig: Rig) -> None:
    if not rig.knows_waitaof:
        pytest.skip("this server is from before Redis 7.2, as Debian 12's is")


def ask(link: Link, *commands: Command) -> list[Reply]:
    link.connect()
    return link.send(commands)


def complaint(link: Link, *commands: Command) -> str:
    """What is wrong, without the name of the server."""
    with pytest.raises(StoreError) as caught:
        ask(link, *commands)
    start = f"Redis at {link.where} "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def facts(link: Link, *sections: str) -> dict[str, str]:
    (said,) = ask(link, ("INFO", *sections))
    return dict(line.split(":", 1) for line in said.split("\r\n") if ":" in line)


class TestReplies:
    @pytest.mark.parametrize(
        "talk",
        [
            [
                (("PING",), "PONG"),
                (("PING", "ho"), "ho"),
                (("ping",), "PONG"),
                (("PING", "a", "b"), wrong_number("ping")),
            ],
            [
                (("GET", "a"), None),
                (("SET", "a", "x y"), "OK"),
                (("GET", "a"), "x y"),
                (("SET", "a", 17), "OK"),
                (("GET", "a"), "17"),
                (("SET", "a", ""), "OK"),
                (("GET", "a"), ""),
                (("SET", "a", "Sigrún & Þór 東京 🌊\r\n"), "OK"),
                (("GET", "a"), "Sigrún & Þór 東京 🌊\r\n"),
                (("GET",), wrong_number("get")),
                (("GET", "a", "b"), wrong_number("get")),
            ],
            [
                (("SET", "a", "x", "PX", 60_000), "OK"),
                (("SET", "a", "y", "px", "60000"), "OK"),
                (("SET", "a", "z", "PX", 0), err("invalid expire time in 'set' command")),
                (("SET", "a", "z", "PX", -1), err("invalid expire time in 'set' command")),
                (("SET", "a", "z", "PX", "soon"), err("value is not an integer or out of range")),
                (("SET", "a", "z", "PX", "1.5"), err("value is not an integer or out of range")),
                (("SET", "a", "z", "PX"), err("syntax error")),
                (("SET", "a", "z", "QX", 5), err("syntax error")),
                (("SET", "a"), wrong_number("set")),
                (("GET", "a"), "y"),
            ],
            [
                (("SET", "a", "x", "NX", "PX", 60_000), "OK"),
                (("SET", "a", "y", "NX", "PX", 60_000), None),
                (("SET", "none", "y", "XX"), None),
                (("SET", "a", "x", "XX", "PX", 60_000), "OK"),
                (("EVAL", RENEW, 1, "a", "y", 50_000), 0),
                (("EVAL", RENEW, 1, "a", "x", 50_000), 1),
                (("EVAL", RENEW, 1, "none", "x", 50_000), 0),
                (("GET", "a"), "x"),
                (("EVAL", RELEASE, 1, "a", "y"), 0),
                (("EVAL", RELEASE, 1, "a", "x"), 1),
                (("EVAL", RELEASE, 1, "a", "x"), 0),
                (("PTTL", "a"), -2),
                (("SET", "a", "7 ab pi"), "OK"),
                (("EVAL", DROP_INVALID, 1, "a", "8 cd pi"), 0),
                (("EVAL", DROP_INVALID, 1, "a", "x"), 0),
                (("EVAL", DROP_INVALID, 1, "a", "7 ab pi"), 1),
                (("SET", "a", "x"), "OK"),
                (("EVAL", DROP_INVALID, 1, "a", ""), 1),
                (("HSET", "a", "f", "v"), 1),
                (("EVAL", DROP_INVALID, 1, "a", ""), 1),
                (("EVAL", DROP_INVALID, 1, "a", ""), 0),
                (("SET", "a", "5"), "OK"),
                (("PTTL", "a"), -1),
                (("INCR", "a"), 6),
                (("INCR", "b"), 1),
                (("SET", "a", "x"), "OK"),
                (("INCR", "a"), err("value is not an integer or out of range")),
                (("INCR",), wrong_number("incr")),
                (("PTTL",), wrong_number("pttl")),
            ],
            [
                (("SET", "a", "x"), "OK"),
                (("HSET", "h", "f", "v"), 1),
                (("EXISTS", "a", "a", "h", "none"), 3),
                (("EXISTS",), wrong_number("exists")),
                (("DEL", "a", "a", "none", "h"), 2),
                (("DEL", "a"), 0),
                (("DEL",), wrong_number("del")),
                (("EXISTS", "a"), 0),
            ],
            [
                (("HSET", "h", "f", "v"), 1),
                (("HSET", "h", "f", 2, "g", "x"), 1),
                (("HSET", "h", "f", 3, "f", 4), 0),
                (("HSET", "h", "", ""), 1),
                (("HSET", "h"), wrong_number("hset")),
                (("HSET", "h", "f"), wrong_number("hset")),
                (("HSET", "h", "f", "v", "g"), wrong_number("hset")),
                (("HGET", "h", "f"), "4"),
                (("HGET", "h", "none"), None),
                (("HGET", "none", "f"), None),
                (("HGET", "h"), wrong_number("hget")),
                (("HMGET", "h", "f", "none", "f"), ["4", None, "4"]),
                (("HMGET", "none", "f", "g"), [None, None]),
                (("HMGET", "h"), wrong_number("hmget")),
                (("HGETALL", "h"), ["f", "4", "g", "x", "", ""]),
                (("HGETALL", "none"), []),
                (("HGETALL",), wrong_number("hgetall")),
                (("HLEN", "h"), 3),
                (("HLEN", "none"), 0),
                (("HLEN",), wrong_number("hlen")),
                (("HDEL", "h", "f", "none", "f"), 1),
                (("HDEL", "none", "f"), 0),
                (("HDEL", "h"), wrong_number("hdel")),
                (("HDEL", "h", "g", ""), 2),
                (("EXISTS", "h"), 0),
            ],
            [
                (("SET", "a", "x"), "OK"),
                (("HSET", "a", "f", "v"), WRONG_TYPE),
                (("HGET", "a", "f"), WRONG_TYPE),
                (("HMGET", "a", "f"), WRONG_TYPE),
                (("HGETALL", "a"), WRONG_TYPE),
                (("HLEN", "a"), WRONG_TYPE),
                (("HDEL", "a", "f"), WRONG_TYPE),
                (("HSET", "h", "f", "v"), 1),
                (("GET", "h"), WRONG_TYPE),
                (("SET", "h", "x"), "OK"),
                (("GET", "h"), "x"),
                (("DEL", "h"), 1),
                (("HSET", "h", "f", "v"), 1),
                (("FLUSHALL",), "OK"),
                (("EXISTS", "a", "h"), 0),
            ],
            [
                (("NONSENSE",), err("unknown command 'NONSENSE', with args beginning with:")),
                (("Nonsense", "a", 5), err("unknown command 'Nonsense', with args beginning with: 'a' '5'")),
                (("LASTSAVE", "a"), wrong_number("lastsave")),
                (("TIME", "a"), wrong_number("time")),
            ],
            [
                (("WAITAOF", 0, 0, 100), [1, 0]),
                (("WAITAOF", 1, 0, 0), [1, 0]),
                (("WAITAOF", 1, 1, 50), [1, 0]),
                (("WAITAOF", 2, 0, 100), err("value is out of range, value must between 0 and 1")),
                (("WAITAOF", "x", 0, 100), err("value is not an integer or out of range")),
                (("WAITAOF", 1, 0), wrong_number("waitaof")),
            ],
            [
                (("CONFIG", "GET", "save"), ["save", ""]),
                (("CONFIG", "GET", "appendonly"), ["appendonly", "yes"]),
                (("config", "get", "appendfsync"), ["appendfsync", "everysec"]),
                (("CONFIG", "GET", "nonsense"), []),
                (("CONFIG", "GET"), wrong_number("config|get")),
                (("CONFIG", "NONSENSE"), err("unknown subcommand 'NONSENSE'. Try CONFIG HELP.")),
                (("CONFIG",), wrong_number("config")),
            ],
        ],
        ids=["ping", "strings", "expiry", "lease", "keys", "hashes", "types", "unknown", "waitaof", "config"],
    )
    def test_in_one_batch_and_one_by_one(self, rig: Rig, talk: Sequence[tuple[Command, Reply]]) -> None:
        if talk[0][0][0] == "WAITAOF":
            needs_waitaof(rig)
        link = rig.link()
        expected = [reply for _, reply in talk]
        assert ask(link, *(command for command, _ in talk)) == expected
        ask(link, ("FLUSHALL",))
        rig.wait_until(lambda: not rig.knows_waitaof or ask(link, PROOF) == [[1, 0]])
        assert [ask(link, command) for command, _ in talk] == [[reply] for reply in expected]

    def test_of_no_commands_there_are_none(self, rig: Rig) -> None:
        assert ask(rig.link()) == []

    def test_a_refused_command_leaves_those_beside_it_alone(self, rig: Rig) -> None:
        batch: list[Command] = [("SET", "a", 1), ("HSET", "a", "f", 2), ("NONSENSE",), ("HSET", "h", "f", 3)]
        replies = ask(rig.link(), *batch)
        assert [isinstance(reply, Refusal) for reply in replies] == [False, True, True, False]
        assert ask(rig.link(), ("GET", "a"), ("HGETALL", "h")) == ["1", ["f", "3"]]

    def test_the_time(self, rig: Rig) -> None:
        before = rig.now()
        ((seconds, microseconds),) = ask(rig.link(), ("TIME",))
        assert int(before * 1e6) - 1 <= int(seconds) * 1_000_000 + int(microseconds) <= rig.now() * 1e6 + 1
        (saved,) = ask(rig.link(), ("LASTSAVE",))
        assert int(before) - 3600 < saved <= rig.now()

    def test_a_string_expires_and_is_gone_for_every_command(self, rig: Rig) -> None:
        link = rig.link()
        for key in "abcde":
            ask(link, ("SET", key, "x", "PX", 150))
        ask(link, ("SET", "b", "stays"), ("SET", "c", "x", "PX", 60_000), ("HSET", "h", "f", 1))
        rig.wait_until(lambda: ask(link, ("EXISTS", "a", "d", "e")) == [0])
        assert ask(link, ("GET", "a"), ("GET", "b"), ("GET", "c")) == [None, "stays", "x"]
        assert ask(link, ("HSET", "d", "f", "v"), ("HGETALL", "d"), ("DEL", "e")) == [1, ["f", "v"], 0]

    def test_a_hash_may_take_the_place_of_a_string_that_would_have_expired(self, rig: Rig) -> None:
        link = rig.link()
        ask(link, ("SET", "a", "x", "PX", 50), ("SET", "later", "x", "PX", 100))
        ask(link, ("DEL", "a"), ("HSET", "a", "f", 1))
        rig.wait_until(lambda: ask(link, ("EXISTS", "later")) == [0])
        assert ask(link, ("HLEN", "a")) == [1]

    @pytest.mark.parametrize("seed", range(4))
    def test_whatever_is_asked_both_say_the_same(self, redis_url: str, seed: int) -> None:
        chance = random.Random(seed)
        real, fake = RedisLink(redis_url), StandInRig().link()
        for _ in range(30):
            batch = [any_command(chance) for _ in range(20)]
            assert ask(fake, *batch) == ask(real, *batch)
        real.close()


def any_command(chance: random.Random) -> Command:
    """A command for one of three keys, right or not."""
    if chance.random() < 0.02:
        return ("FLUSHALL",)
    name = chance.choice(
        ["SET", "GET", "DEL", "EXISTS", "HDEL", "HGET", "HMGET", "HGETALL", "HLEN", *["HSET"] * 5]
    )
    key = chance.choice("abc")
    if name == "SET":
        return (name, key, chance.randrange(9), *chance.choice([(), (), ("PX", 60_000), ("PX", 0)]))
    words = [chance.choice("fgh") for _ in range(chance.randrange(5))]
    return (name, key, *words) if name[0] == "H" else (name, *chance.choice([(), (key,), (key, "c")]))


class TestInfo:
    def test_it_says_nothing_that_a_real_server_does_not(self, redis_url: str) -> None:
        real, fake = RedisLink(redis_url), StandInRig().link()
        for sections in ((), ("server",), ("PERSISTENCE",), ("memory",), ("server", "memory"), ("nonsense",)):
            assert facts(fake, *sections).keys() <= facts(real, *sections).keys()
        real.close()

    def test_its_sections(self, rig: Rig) -> None:
        link = rig.link()
        assert ask(link, ("INFO", "nonsense")) == [""]
        assert "run_id" in facts(link, "server")
        assert "run_id" not in facts(link, "persistence")
        assert facts(link).keys() >= facts(link, "server", "persistence", "memory").keys()
        (said,) = ask(link, ("INFO", "server"))
        assert re.match(r"# Server\r\nredis_version:\d+\.\d+\.\d+\r\n", said)
        assert said.endswith("\r\n")
        (said,) = ask(link, ("INFO", "persistence", "server"))
        assert "\r\n\r\n# Persistence\r\nloading:0\r\n" in said

    def test_what_it_says_of_its_disk(self, rig: Rig) -> None:
        said = facts(rig.link(), "persistence")
        expected = {
            "loading": "0",
            "aof_enabled": "1",
            "aof_last_write_status": "ok",
            "rdb_bgsave_in_progress": "0",
            "rdb_last_bgsave_status": "ok",
            "rdb_last_bgsave_time_sec": "-1",
        }
        assert {name: said[name] for name in expected} == expected
        assert [int(said["rdb_last_save_time"])] == ask(rig.link(), ("LASTSAVE",))


class TestConnections:
    def test_each_counts_its_own(self, rig: Rig) -> None:
        one, other = rig.link(), rig.link()
        assert [one.connect(), one.connect(), other.connect()] == [1, 1, 1]
        one.close()
        assert [one.connect(), one.connect(), other.connect()] == [2, 2, 1]

    def test_a_break_makes_a_new_one(self, rig: Rig) -> None:
        link = rig.link()
        ask(link, ("SET", "a", 1))
        rig.lose_connections()
        rig.wait_until(lambda: link.connect() == 2)
        assert ask(link, ("GET", "a")) == ["1"]
        assert link.connect() == 2

    def test_a_batch_into_a_server_that_has_just_gone(self, breakable: Rig) -> None:
        link = breakable.link()
        link.connect()
        breakable.kill()
        with pytest.raises(StoreError, match="closed the connection: it may be restarting") as caught:
            link.send([("PING",), ("SET", "a", 1)])
        assert not caught.value.refused
        why = "cannot be reached (Connection refused): is it running, and is REDIS_URL right?"
        assert complaint(link) == why
        assert complaint(breakable.link(), ("PING",)) == why
        breakable.start()
        assert link.connect() == 2
        assert ask(link, ("GET", "a")) == [None]

    def test_a_server_that_hangs(self, breakable: Rig) -> None:
        link = breakable.link(0.3)
        link.connect()
        breakable.hang(hanging=True)
        assert link.connect() == 1
        why = "did not answer in time: it hangs, is overloaded, or REDIS_URL is wrong"
        assert complaint(link, ("PING",)) == why
        assert complaint(link) == why
        breakable.hang(hanging=False)
        breakable.wait_until(lambda: is_there(link))
        assert link.connect() == 2


class TestRefusing:
    @pytest.mark.parametrize(
        ("code", "refused"),
        [
            ("OOM", {"SET", "HSET"}),
            ("MISCONF", WRITES | {"PING"}),
            ("READONLY", WRITES),
            ("NOPERM", {command[0] for command in ALL}),
        ],
    )
    def test_some_commands(self, breakable: Rig, code: Code, refused: set[str]) -> None:
        link = breakable.link()
        ask(link, ("SET", "a", 1), ("HSET", "h", "a", 1))
        breakable.refuse(code)
        replies = dict(zip([str(command[0]) for command in ALL], ask(link, *ALL), strict=True))
        waitaof = replies.pop("WAITAOF")
        said = {name: reply for name, reply in replies.items() if isinstance(reply, Refusal)}
        assert said == dict.fromkeys(refused - {"WAITAOF"}, Refusal(code, ADVICE_BY_CODE[code]))
        is_refused = code in ("READONLY", "NOPERM") or not breakable.knows_waitaof
        assert isinstance(waitaof, Refusal) == is_refused
        assert ask(breakable.link(), ("GET",), ("NONSENSE",)) == [
            wrong_number("get"),
            err("unknown command 'NONSENSE', with args beginning with:"),
        ]

    def test_what_a_replica_says_to_waitaof(self, breakable: Rig) -> None:
        needs_waitaof(breakable)
        breakable.refuse("READONLY")
        said = "says: WAITAOF cannot be used with replica instances. Please also note that"
        (refusal,) = ask(breakable.link(), PROOF)
        assert refusal.advice.startswith(said)

    def test_what_it_says_of_a_disk_that_takes_nothing(self, breakable: Rig) -> None:
        breakable.turn_aof_off()
        breakable.refuse("MISCONF")
        assert facts(breakable.link(), "persistence")["rdb_last_bgsave_status"] == "err"

    def test_everybody_who_has_no_password(self, breakable: Rig) -> None:
        breakable.refuse("NOAUTH")
        why = "requires a password: set it in REDIS_URL, redis://:password@host"
        assert complaint(breakable.link(), ("PING",)) == why

    @pytest.mark.parametrize("kind", ["stand-in", "real"])
    def test_while_it_is_loading(self, kind: str, tmp_path: Path) -> None:
        if kind == "stand-in":
            fake = StandInRig()
            fake.server.refusing = "LOADING"
            self.check_loading(fake.link())
            return
        url, process = slowly_loading_server(tmp_path)
        link = RedisLink(url)
        try:
            wait_until(lambda: is_there(link))
            self.check_loading(link)
        finally:
            process.kill()
            process.wait()
            link.close()

    def check_loading(self, link: Link) -> None:
        before = link.connect()
        link.send([("TIME",), ("LASTSAVE",), ("CONFIG", "GET", "save")])
        assert facts(link, "persistence")["loading"] == "1"
        assert complaint(link, ("TIME",), ("GET", "a")) == (
            "is still loading its data: wait until it is done"
        )
        assert link.connect() == before + 1
        assert complaint(link, ("PING",)).startswith("is still loading")


def slowly_loading_server(folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
    server = start_server(folder)
    with redis.Redis.from_url(server.url) as client:
        client.mset({f"key:{number}": "x" * 100 for number in range(3000)})
        client.save()
    server.stop()
    port = free_port()
    options = ["--port", str(port), "--dir", str(folder), "--appendonly", "no", "--logfile", "loading.log"]
    slowly = ["--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024"]
    process = subprocess.Popen([str(find_server()), *options, *slowly])
    return f"redis://127.0.0.1:{port}", process


def is_there(link: Link) -> bool:
    try:
        return bool(link.connect())
    except StoreError:
        return False


class TestProof:
    def test_it_comes(self, rig: Rig) -> None:
        needs_waitaof(rig)
        link = rig.link()
        ask(link, ("HSET", "h", "f", 1))
        rig.wait_until(lambda: ask(link, PROOF) == [[1, 0]])
        assert ask(link, ("WAITAOF", 0, 0, 100), PROOF) == [[1, 0], [1, 0]]

    def test_it_is_about_what_was_written_over_the_same_connection(self, breakable: Rig) -> None:
        needs_waitaof(breakable)
        breakable.delay_proof()
        writer, reader = breakable.link(), breakable.link()
        assert ask(writer, ("HSET", "h", "f", 1), ("WAITAOF", 0, 0, 0), PROOF) == [1, [0, 0], [0, 0]]
        assert ask(writer, ("WAITAOF", 1, 0, 50)) == [[0, 0]]
        assert ask(reader, ("GET", "a"), ("DEL", "none"), ("HDEL", "h", "none"), PROOF)[-1] == [1, 0]
        writer.close()
        assert ask(writer, PROOF) == [[1, 0]]
        assert ask(writer, ("HSET", "h", "f", 1), PROOF) == [0, [0, 0]]  # the same value is a write

    def test_there_is_none_without_an_append_only_file(self, breakable: Rig) -> None:
        needs_waitaof(breakable)
        breakable.turn_aof_off()
        link = breakable.link()
        refusal = Refusal("WAITAOF", f"says: {NO_AOF}")
        assert ask(link, PROOF, ("SET", "a", 1), PROOF) == [refusal, "OK", refusal]
        assert ask(link, ("WAITAOF", 0, 0, 100)) == [[0, 0]]
        assert ask(link, ("CONFIG", "GET", "appendonly")) == [["appendonly", "no"]]
        assert facts(link)["aof_enabled"] == "0"

    def test_what_is_proven_survives_a_kill(self, breakable: Rig) -> None:
        needs_waitaof(breakable)
        link = breakable.link()
        ask(link, ("HSET", "h", "f", 1, "g", 2), ("SET", "a", "x"), ("SET", "b", "y", "PX", 600_000))
        before = facts(link, "server")
        breakable.wait_until(lambda: ask(link, PROOF) == [[1, 0]])
        breakable.kill()
        breakable.start()
        assert link.connect() == 2
        assert ask(link, ("HGETALL", "h"), ("GET", "a"), ("GET", "b")) == [["f", "1", "g", "2"], "x", "y"]
        after = facts(link, "server")
        assert after["run_id"] != before["run_id"]
        assert after["process_id"] != before["process_id"]
        assert len(after["run_id"]) == 40
        assert ask(link, PROOF) == [[1, 0]]

    def test_nothing_is_lost_by_an_orderly_end(self, breakable: Rig) -> None:
        link = breakable.link()
        ask(link, ("HSET", "h", "f", 1))
        breakable.stop()
        assert "cannot be reached" in complaint(link)
        breakable.start()
        assert ask(link, ("HGETALL", "h")) == [["f", "1"]]


def fill(store: Store) -> None:
    """What a daemon writes in a minute or two, two plays in the same second among it."""
    with store.batch() as batch:
        batch.write_catalog("track:4uLU6hMCjMI75M1A2tKUQC", {"name": "Veridis Quo", "duration_ms": 345000})
        batch.write_play(START, {"uri": "spotify:track:a", "started_at": "A", "playing": 1, "name": "é"}, ROW)
        batch.set_now_playing(START, expires=90)
        batch.write_status({"last_poll": "2026-11-22T18:03:35.000Z", "requests_24h": 17})
    with store.batch() as batch:
        batch.write_play(START, {"uri": "spotify:track:a", "started_at": "A", "ms_played": 5}, ROW)
        batch.write_play(START + 1, {"uri": "spotify:track:b", "started_at": "B"}, ROW.replace("215", "7"))
        batch.write_play(START - 86_400, {"uri": "spotify:track:c", "started_at": "C"}, ROW)
        batch.write_status({"last_play": f"listening:{START + 1}", "requests_24h": 18})


class TestStore:
    def test_both_keep_the_same(self, redis_url: str) -> None:
        real, fake = RealRig(redis_url), StandInRig()
        kept = []
        for rig in (real, fake):
            store = rig.store()
            fill(store)
            keys = ["track:4uLU6hMCjMI75M1A2tKUQC", "spotify_logger:status", "plays:2026-11-22"]
            keys += ["plays:2026-11-21", *(f"listening:{second}" for second in (START, START + 1))]
            (now_playing, *hashes) = ask(
                rig.link(), ("GET", "now_playing"), *(("HGETALL", key) for key in keys)
            )
            assert now_playing == f"listening:{START}"
            assert all(hashes)
            kept.append([dict(zip(fields[::2], fields[1::2], strict=True)) for fields in hashes])
            store.close()
        real.close()
        assert kept[0] == kept[1]

    def test_what_it_reads(self, rig: Rig) -> None:
        store = rig.store()
        assert (store.recent(5), store.read_status(), store.now_playing()) == ([], {}, None)
        fill(store)
        assert [second for second, _ in store.recent(3)] == [START + 1, START, START - 86_400]
        assert store.play(START) == {"uri": "spotify:track:a", "started_at": "A", "ms_played": "5"}
        assert store.days() == [date(2026, 11, 21), date(2026, 11, 22)]
        assert store.index(date(2026, 11, 22)) == {
            START: ("track:4uLU6hMCjMI75M1A2tKUQC", 215000),
            START + 1: ("track:4uLU6hMCjMI75M1A2tKUQC", 7000),
        }
        assert list(store.catalog(["track:4uLU6hMCjMI75M1A2tKUQC", "track:none"], ["name", "album"])) == [
            ("track:4uLU6hMCjMI75M1A2tKUQC", ["Veridis Quo", ""]),
            ("track:none", ["", ""]),
        ]
        store.close()

    def test_it_claims_a_key(self, rig: Rig) -> None:
        store = rig.store()
        fill(store)
        assert store.claim(START, "A", "spotify:track:a") == START
        assert store.claim(START, "B", "spotify:track:b") == START + 1
        assert store.claim(START, "D", "spotify:track:d") == START + 2
        assert store.claim(START, "E", "spotify:track:e") == START + 3
        store.close()

    def test_a_refused_key_is_named(self, rig: Rig) -> None:
        ask(rig.link(), ("SET", f"listening:{START}", "not ours"))
        store = rig.store()
        with pytest.raises(StoreError, match="has a key of another type there") as caught:
            fill(store)
        assert caught.value.refused == {f"listening:{START}"}
        assert store.read_status()["requests_24h"] == "17"
        store.close()

    def test_which_server_it_is(self) -> None:
        assert StandInRig().store().version() == "redis 7.2.4"
        assert StandInRig(waitaof=False).store().version() == "redis 7.0.15"


def content(link: Link) -> dict[str, Reply]:
    """What the keys of these tests hold."""
    found: dict[str, Reply] = {}
    for key in "abch":
        text, fields = ask(link, ("GET", key), ("HGETALL", key))
        if isinstance(text, Refusal):
            found[key] = dict(zip(fields[::2], fields[1::2], strict=True))
        elif text is not None:
            found[key] = text
    return found


def after_a_crash(rig: StandInRig) -> dict[str, Reply]:
    rig.server.crash()
    rig.server.restart()
    return content(rig.link())


class TestCrashes:
    @pytest.mark.parametrize(
        "lost",
        [
            [("HSET", "h", "f", 2)],
            [("HSET", "h", "new", 2)],
            [("HSET", "h", "f", 2, "f", 3, "new", 4), ("HSET", "h", "g", 5)],
            [("HDEL", "h", "f")],
            [("HDEL", "h", "f", "g")],
            [("HDEL", "h", "f", "g"), ("HSET", "h", "new", 1)],
            [("HDEL", "h", "f", "g"), ("SET", "h", "text")],
            [("DEL", "h"), ("HSET", "h", "new", 1), ("HDEL", "h", "new")],
            [("DEL", "h", "a")],
            [("SET", "a", "y")],
            [("SET", "a", "y", "PX", 1000)],
            [("SET", "b", "y"), ("SET", "h", "y")],
            [("DEL", "a"), ("HSET", "a", "f", 1)],
            [("HSET", "c", "f", 1), ("SET", "a", 5, "PX", 1), ("DEL", "c")],
            [("FLUSHALL",)],
            [("FLUSHALL",), ("HSET", "h", "f", 9), ("SET", "a", "z")],
        ],
    )
    def test_the_present_second_is_undone(self, fake: StandInRig, lost: list[Command]) -> None:
        link = fake.link()
        ask(link, ("HSET", "h", "f", 1, "g", 1), ("SET", "a", "x"), ("SET", "b", "x", "PX", 3000))
        fake.clock.sleep(1)
        before = content(link)
        ask(link, *lost)
        fake.clock.sleep(0.9)
        assert after_a_crash(fake) == before
        fake.clock.sleep(2)
        assert content(fake.link()) == {"h": {"f": "1", "g": "1"}, "a": "x"}

    def test_what_a_second_has_passed_over_stays(self, fake: StandInRig) -> None:
        link = fake.link()
        fake.clock.sleep(0.7)
        ask(link, ("SET", "a", "x"))
        fake.clock.sleep(0.3)
        ask(link, ("SET", "b", "x"))
        assert after_a_crash(fake) == {"a": "x"}

    def test_what_has_expired_meanwhile_does_not_come_back(self, fake: StandInRig) -> None:
        link = fake.link()
        ask(link, ("SET", "a", "x", "PX", 1200))
        fake.clock.sleep(1.1)
        ask(link, ("DEL", "a"))
        fake.server.crash()
        fake.clock.sleep(10)
        fake.server.restart()
        assert content(link) == {}

    def test_a_hash_in_the_place_of_what_has_expired(self, fake: StandInRig) -> None:
        link = fake.link()
        ask(link, ("SET", "a", "x", "PX", 100))
        fake.clock.sleep(0.5)
        ask(link, ("HSET", "a", "f", 1))
        assert after_a_crash(fake) == {}

    @pytest.mark.parametrize("seed", range(20))
    def test_by_chance(self, fake: StandInRig, seed: int) -> None:
        chance = random.Random(seed)
        link = fake.link()
        kept = content(link)
        for _ in range(chance.randrange(2, 60)):
            ask(link, *(any_command(chance) for _ in range(3)))
            second = int(fake.clock.now)
            fake.clock.sleep(chance.uniform(0, 0.4))
            if int(fake.clock.now) != second:
                kept = content(link)
        assert after_a_crash(fake) == kept

    def test_a_crash_in_vain_and_two_in_a_row(self, fake: StandInRig) -> None:
        ask(fake.link(), ("SET", "a", "x"))
        fake.clock.sleep(1)
        ask(fake.link(), ("SET", "a", "y"), ("HSET", "h", "f", 1))
        fake.server.crash()
        assert after_a_crash(fake) == {"a": "x"}

    def test_with_no_persistence_everything_is_gone_either_way(self) -> None:
        rig = StandInRig("none")
        link = rig.link()
        ask(link, ("SET", "a", "x"), ("HSET", "h", "f", 1))
        rig.clock.sleep(600)
        assert content(link) == {"a": "x", "h": {"f": "1"}}
        assert after_a_crash(rig) == {}
        ask(link, ("SET", "a", "x"))
        rig.stop()
        rig.start()
        assert content(link) == {}

    def test_a_restart_is_an_orderly_one(self, fake: StandInRig) -> None:
        link = fake.link()
        ask(link, ("SET", "a", "x"))
        before = facts(link)["run_id"]
        fake.server.restart()
        assert link.connect() == 2
        assert content(link) == {"a": "x"}
        assert facts(link)["run_id"] != before


class TestExpiry:
    def test_it_is_there_up_to_the_very_millisecond(self, fake: StandInRig) -> None:
        link = fake.link()
        ask(link, ("SET", "a", "x", "PX", 1000))
        fake.clock.sleep(1)
        assert content(link) == {"a": "x"}
        fake.clock.sleep(0.001)
        assert content(link) == {}


class TestWaiting:
    @pytest.mark.parametrize(
        ("begun", "milliseconds", "reply", "taken"),
        [
            (0.0, 5000, [1, 0], 1.0),
            (0.25, 5000, [1, 0], 0.75),
            (0.25, 0, [1, 0], 0.75),
            (0.25, 500, [0, 0], 0.5),
            (0.25, 750, [1, 0], 0.75),
        ],
    )
    def test_it_takes_what_it_needs_or_may(
        self, fake: StandInRig, begun: float, milliseconds: int, reply: Reply, taken: float
    ) -> None:
        fake.clock.sleep(begun)
        ask(fake.link(), ("SET", "a", 1))
        link = fake.link()
        assert ask(link, ("SET", "a", 1), ("WAITAOF", 1, 0, milliseconds), ("GET", "a")) == ["OK", reply, "1"]
        assert fake.clock.now == T + begun + taken

    def test_what_was_written_long_ago_takes_no_time(self, fake: StandInRig) -> None:
        link = fake.link()
        ask(link, ("SET", "a", 1))
        fake.clock.sleep(1)
        ask(fake.link(), ("SET", "a", 1))
        assert ask(link, PROOF) == [[1, 0]]
        assert fake.clock.now == T + 1

    def test_nobody_waits_for_a_replica_longer_than_for_an_answer(self, fake: StandInRig) -> None:
        link = fake.link()
        assert "did not answer in time" in complaint(link, ("SET", "a", 1), ("WAITAOF", 1, 1, 0))
        assert fake.clock.now == T + ANSWER_TIMEOUT
        assert after_a_crash(fake) == {"a": "1"}

    def test_a_server_that_crashes_meanwhile_carries_nothing_out_any_more(self) -> None:
        clock = VirtualClock(T)

        def crash(seconds: float) -> None:
            clock.sleep(seconds / 2)
            server.crash()

        server = FakeRedis(lambda: clock.now, crash)
        link = server.link()
        why = "closed the connection: it may be restarting"
        assert complaint(link, ("SET", "a", 1), PROOF, ("SET", "b", 1)) == why
        server.restart()
        assert content(link) == {}

    def test_a_snapshot_is_no_proof(self) -> None:
        rig = StandInRig("rdb")
        link = rig.link()
        ask(link, ("SET", "a", 1))
        rig.clock.sleep(1000)
        assert ask(link, ("WAITAOF", 0, 0, 100)) == [[0, 0]]

    def test_syncing_the_file_is_no_snapshot(self, fake: StandInRig) -> None:
        link = fake.link()
        ask(link, ("SET", "a", 1))
        fake.clock.sleep(1000)
        assert ask(link, ("LASTSAVE",)) == [START]
        assert facts(link)["rdb_last_bgsave_time_sec"] == "-1"

    def test_an_older_server_does_not_know_it(self) -> None:
        link = StandInRig(waitaof=False).link()
        expected = err("unknown command 'WAITAOF', with args beginning with: '1' '0' '100'")
        assert ask(link, ("SET", "a", 1), PROOF) == ["OK", expected]


class TestSnapshots:
    @pytest.fixture
    def rig(self) -> StandInRig:
        return StandInRig("rdb")

    def test_what_is_written_during_one_is_not_in_it(self, rig: StandInRig) -> None:
        link = rig.link()
        ask(link, ("SET", "a", "before"), ("HSET", "h", "f", 1))
        rig.clock.sleep(SAVE_SECONDS + 1)
        assert facts(link)["rdb_bgsave_in_progress"] == "1"
        ask(link, ("SET", "a", "during"), ("HSET", "h", "g", 2))
        rig.clock.sleep(SNAPSHOT_SECONDS + 1)
        ask(link, ("SET", "b", "after"))
        assert after_a_crash(rig) == {"a": "before", "h": {"f": "1"}}

    def test_one_that_is_not_whole_is_none(self, rig: StandInRig) -> None:
        link = rig.link()
        ask(link, ("SET", "a", "before"))
        rig.clock.sleep(SAVE_SECONDS + 1)
        ask(link, ("SET", "a", "during"))
        assert after_a_crash(rig) == {}

    def test_what_they_say_of_themselves(self, rig: StandInRig) -> None:
        link = rig.link()
        ask(link, ("SET", "a", 1))
        rig.clock.sleep(SAVE_SECONDS + 1)
        assert ask(link, ("LASTSAVE",)) == [int(T)]
        assert facts(link)["rdb_last_bgsave_time_sec"] == "-1"
        rig.clock.sleep(1000)
        ended = int(T + SAVE_SECONDS + SNAPSHOT_SECONDS)
        assert ask(link, ("LASTSAVE",)) == [ended]
        said = facts(link, "persistence")
        assert said["rdb_last_save_time"] == str(ended)
        assert said["rdb_last_bgsave_time_sec"] == "2"
        assert said["rdb_bgsave_in_progress"] == "0"
        assert ask(link, ("CONFIG", "GET", "save")) == [["save", "300 1"]]

    def test_without_a_change_there_is_none(self, rig: StandInRig) -> None:
        link = rig.link()
        rig.clock.sleep(5000)
        assert ask(link, ("GET", "a"), ("LASTSAVE",)) == [None, int(T)]
        ask(link, ("SET", "a", 1))
        rig.clock.sleep(SNAPSHOT_SECONDS)
        assert ask(link, ("LASTSAVE",)) == [int(T + 5000 + SNAPSHOT_SECONDS)]
        assert after_a_crash(rig) == {"a": "1"}

    def test_one_follows_on_the_other(self, rig: StandInRig) -> None:
        link = rig.link()
        ask(link, ("SET", "a", 1))
        rig.clock.sleep(SAVE_SECONDS + 1)
        ask(link, ("SET", "b", 1))
        rig.clock.sleep(2 * (SAVE_SECONDS + SNAPSHOT_SECONDS) - SAVE_SECONDS - 2)
        ask(link, ("SET", "c", 1))
        assert after_a_crash(rig) == {"a": "1"}
        assert ask(link, ("LASTSAVE",)) == [int(rig.clock.now)]

    def test_nobody_looks_for_a_long_time(self, rig: StandInRig) -> None:
        link = rig.link()
        ask(link, ("SET", "a", 1))
        rig.clock.sleep(SAVE_SECONDS + 1)
        ask(link, ("SET", "b", 1))
        rig.clock.sleep(1e6)
        assert ask(link, ("LASTSAVE",)) == [int(T + 2 * (SAVE_SECONDS + SNAPSHOT_SECONDS))]
        assert after_a_crash(rig) == {"a": "1", "b": "1"}

    def test_an_orderly_end_makes_one(self, rig: StandInRig) -> None:
        link = rig.link()
        ask(link, ("SET", "a", 1))
        rig.stop()
        rig.start()
        assert after_a_crash(rig) == {"a": "1"}

    def test_how_often_can_be_told(self) -> None:
        clock = VirtualClock(T)
        link = FakeRedis(lambda: clock.now, clock.sleep, "rdb", save=60).link()
        ask(link, ("SET", "a", 1))
        clock.sleep(62)
        assert ask(link, ("LASTSAVE",), ("CONFIG", "GET", "save")) == [int(T + 62), ["save", "60 1"]]


class TestFaults:
    def test_down(self, fake: StandInRig) -> None:
        link = fake.link()
        ask(link, ("SET", "a", 1))
        before = facts(link)["run_id"]
        fake.server.down = True
        with pytest.raises(StoreError, match="closed the connection"):
            link.send([("GET", "a")])
        assert "cannot be reached (Connection refused)" in complaint(link)
        assert fake.server.down
        fake.server.down = False
        assert link.connect() == 2
        assert ask(link, ("GET", "a")) == ["1"]
        assert facts(link)["run_id"] == before

    def test_nothing_is_sent_without_a_connection(self, fake: StandInRig) -> None:
        link = fake.link()
        with pytest.raises(StoreError, match="closed the connection"):
            link.send([("SET", "a", 1)])
        assert content(link) == {}

    def test_hanging(self, fake: StandInRig) -> None:
        link = fake.link()
        link.connect()
        fake.server.hanging = True
        complaint(link, ("SET", "a", 1))
        assert fake.clock.now == T + ANSWER_TIMEOUT
        complaint(link)
        assert fake.clock.now == T + 2 * ANSWER_TIMEOUT
        fake.server.hanging = False
        assert content(link) == {}

    def test_slow(self, fake: StandInRig) -> None:
        link = fake.link()
        fake.server.slow = 0.75
        assert ask(link, ("SET", "a", 1, "PX", 60_000), ("TIME",)) == ["OK", [str(START), "750000"]]
        assert fake.clock.now == T + 0.75

    def test_too_slow_for_us(self, fake: StandInRig) -> None:
        link = fake.link()
        fake.server.slow = 60
        assert "did not answer in time" in complaint(link, ("SET", "a", 1))
        assert fake.clock.now == T + ANSWER_TIMEOUT
        fake.server.slow = 0
        assert link.connect() == 2
        assert content(link) == {"a": "1"}

    def test_deaf_after_writes(self, fake: StandInRig) -> None:
        link = fake.link()
        fake.server.deaf_after_write = 2
        assert ask(link, ("GET", "a"), ("DEL", "a")) == [None, 0]
        for expected in (2, 3):
            assert "did not answer in time" in complaint(link, ("SET", "a", expected))
            assert link.connect() == expected
        assert fake.clock.now == T + 2 * ANSWER_TIMEOUT
        assert ask(link, ("SET", "b", 1)) == ["OK"]
        assert content(link) == {"a": "3", "b": "1"}

    def test_no_password_breaks_what_was_connected(self, fake: StandInRig) -> None:
        link = fake.link()
        ask(link, ("SET", "a", 1))
        fake.server.refusing = "NOAUTH"
        assert fake.server.refusing == "NOAUTH"
        assert complaint(link).startswith("requires a password")
        fake.server.refusing = ""
        assert link.connect() == 2
        assert content(link) == {"a": "1"}

    @pytest.mark.parametrize("persistence", ["aof", "rdb"])
    def test_a_full_disk_keeps_nothing_until_there_is_room(self, persistence: Persistence) -> None:
        for has_room in (False, True):
            rig = StandInRig(persistence)
            link = rig.link()
            ask(link, ("SET", "a", 1))
            rig.server.refusing = "MISCONF"
            rig.clock.sleep(1000)
            assert ask(link, ("GET", "a"), ("LASTSAVE",)) == ["1", int(T)]
            key = "aof_last_write_status" if persistence == "aof" else "rdb_last_bgsave_status"
            assert facts(link)[key] == "err"
            if has_room:
                rig.server.refusing = ""
                rig.clock.sleep(SNAPSHOT_SECONDS)
                assert facts(link)[key] == "ok"
                assert content(link) == {"a": "1"}
                saved = T if persistence == "aof" else rig.clock.now
                assert ask(link, ("LASTSAVE",)) == [int(saved)]
            assert after_a_crash(rig) == ({"a": "1"} if has_room else {})

    def test_a_full_disk_proves_nothing(self, fake: StandInRig) -> None:
        link = fake.link()
        ask(link, ("SET", "a", 1))
        fake.server.refusing = "MISCONF"
        assert ask(link, ("WAITAOF", 1, 0, 3000)) == [[0, 0]]
        assert fake.clock.now == T + 3
        fake.server.refusing = ""
        assert ask(link, PROOF) == [[1, 0]]


class Blackout(Exception):  # noqa: N818 - it is no error
    """The machine of the daemon goes out."""


class TestHooks:
    def test_they_see_the_batch_and_what_comes_of_it(self, fake: StandInRig) -> None:
        seen: list[object] = []
        other = fake.link()
        fake.server.before_send = lambda commands: seen.append(list(commands))
        ask(fake.link(), ("SET", "a", 1))
        fake.server.before_send = None
        fake.server.after_send = lambda commands: seen.append(list(commands))
        ask(fake.link(), ("SET", "a", 2))
        fake.server.after_send = None
        assert seen == [[("SET", "a", 1)], [("SET", "a", 2)]]
        assert content(other) == {"a": "2"}

    def test_what_they_raise_comes_out(self, fake: StandInRig) -> None:
        def raise_it(_: object) -> None:
            raise Blackout

        link = fake.link()
        fake.server.before_send = raise_it
        with pytest.raises(Blackout):
            ask(link, ("SET", "a", 1))
        fake.server.before_send = None
        assert content(fake.link()) == {}
        fake.server.after_send = raise_it
        with pytest.raises(Blackout):
            ask(link, ("SET", "a", 1))
        fake.server.after_send = None
        assert content(fake.link()) == {"a": "1"}
        fake.clock.sleep(1)
        assert after_a_crash(fake) == {"a": "1"}

    @pytest.mark.parametrize("hook", ["before_send", "after_send"])
    def test_the_server_crashes_in_the_middle(self, fake: StandInRig, hook: str) -> None:
        link = fake.link()
        setattr(fake.server, hook, lambda _: fake.server.crash())
        assert complaint(link, ("SET", "a", 1)) == "closed the connection: it may be restarting"
        setattr(fake.server, hook, None)
        fake.server.restart()
        assert content(link) == {}
