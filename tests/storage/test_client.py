from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.storage.client import ADVICE_BY_CODE, RedisClient, Refusal, StoreError
from spotify_logger.system.errors import Misconfigured
from tests.conftest import start_server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.storage.client import Command

CLOSED = "closed the connection: it may be restarting"
SILENT = "did not answer in time"


@pytest.fixture
def client(redis_url: str) -> Iterator[RedisClient]:
    client = RedisClient(f"{redis_url}?socket_timeout=5")
    client.connect()
    yield client
    client.close()


@pytest.fixture
def locked(redis_url: str) -> Iterator[str]:
    """Host, port and database of a server that requires a password."""
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("requirepass", "pa/ss wörd")
        client.execute_command("ACL", "SETUSER", "ann", "on", ">hunter2", "~*", "+@all")
        yield redis_url.removeprefix("redis://")
        client.config_set("requirepass", "")
        client.execute_command("ACL", "DELUSER", "ann")


def ask(url: str, *commands: Command) -> list[object]:
    """Return what the server at `url` replies, over a client of its own."""
    client = RedisClient(url)
    try:
        client.connect()
        return client.send(commands or [("EXISTS", "a")])
    finally:
        client.close()


def complaint(url: str) -> str:
    with pytest.raises(StoreError) as caught:
        ask(url)
    return str(caught.value)


@contextmanager
def listener(
    answer: bytes, *, then_close: bool = True, resets: bool = False, greets: bool = False
) -> Iterator[int]:
    """Yield a port on which something that is no Redis sends `answer` to whatever it gets."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    if resets:
                        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    received = peer.recv(65536)
                    while greets and b"SETINFO" in received:
                        peer.sendall(b"+OK\r\n" * received.count(b"SETINFO"))
                        received = peer.recv(65536)
                    peer.sendall(answer)
                    while not then_close and peer.recv(65536):
                        pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


class TestAddresses:
    @pytest.mark.parametrize(
        ("url", "where"),
        [
            ("redis://ann:hunter2@example.org/3", "example.org:6379"),
            ("redis://:pa%2Fss%23@[::1]:7000", "::1:7000"),
            ("rediss://example.org?ssl_cert_reqs=none&db=2", "example.org:6379"),
            ("unix://ann:hunter2@/run/redis.sock", "/run/redis.sock"),
        ],
    )
    def test_they_are_shown_without_credentials(self, url: str, where: str) -> None:
        assert RedisClient(url).where == where

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "http://hunter2@127.0.0.1",
            "redis://:hunter2@127.0.0.1:port/0",
            "redis://:12/hunter2@127.0.0.1:6379/0",
            "redis://:hunter2#x@127.0.0.1:6379/0",
            "redis://hunter2?x@127.0.0.1:6379/0",
            "redis://:hunter2@127.0.0.1/0?db=hunter2",
            "redis://:hunter2@[::1",
            "unix://hunter2",
            "rediss://:hunter2@127.0.0.1?nonsense=hunter2",
            "rediss://:hunter2@127.0.0.1?ssl_cert_reqs=hunter2",
        ],
    )
    def test_a_wrong_one_is_refused_without_showing_the_password(self, url: str) -> None:
        with pytest.raises(Misconfigured, match=r"^REDIS_URL ") as caught:
            RedisClient(url)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__context__ is None


class TestPasswords:
    def test_the_right_ones_are_accepted(self, locked: str) -> None:
        assert ask(f"redis://:pa%2Fss%20w%C3%B6rd@{locked}") == [0]
        assert ask(f"redis://ann:hunter2@{locked}") == [0]

    @pytest.mark.parametrize(
        ("login", "advice"),
        [
            ("", "requires a password: set it in REDIS_URL"),
            (":wrong-one@", "rejected the user name or password: check both in REDIS_URL"),
            ("nobody:wrong-one@", "rejected the user name or password: check both in REDIS_URL"),
        ],
    )
    def test_the_error_tells_what_to_do_about_wrong_ones(self, locked: str, login: str, advice: str) -> None:
        error = complaint(f"redis://{login}{locked}")
        assert error.startswith(f"Redis at {locked.partition('/')[0]} {advice}")
        assert "wrong-one" not in error

    def test_a_needless_one(self, redis_url: str) -> None:
        assert "REDIS_URL has one: remove it" in complaint(redis_url.replace("//", "//:needless@"))


class TestRefusals:
    def test_the_other_commands_are_carried_out(self, client: RedisClient) -> None:
        replies = client.send([("SET", "a", 1), ("HGET", "a", "x"), ("NONSENSE", "\x1b"), ("GET", "a")])
        assert (replies[0], replies[3]) == (True, "1")
        assert replies[1] == Refusal("WRONGTYPE", ADVICE_BY_CODE["WRONGTYPE"][1])
        assert replies[2].code == "ERR"
        assert replies[2].advice.startswith("says: unknown command 'NONSENSE'")
        assert "\x1b" not in replies[2].advice

    @pytest.mark.parametrize(
        ("code", "advice"), [(code, advice) for code, (_, advice) in ADVICE_BY_CODE.items()]
    )
    def test_each_code_has_its_advice(self, code: str, advice: str) -> None:
        with listener(f"-{code} 3999 127.0.0.1:6381\r\n".encode(), then_close=False, greets=True) as port:
            assert ask(f"redis://127.0.0.1:{port}") == [Refusal(code, advice)]

    def test_a_server_that_does_not_let_us_in_says_why(self, tmp_path: Path) -> None:
        server = start_server(tmp_path / "redis")
        try:
            assert "check the number at the end of REDIS_URL" in complaint(
                server.url.removesuffix("/0") + "/999"
            )
            with redis.Redis.from_url(server.url) as client:
                client.config_set("maxclients", "1")
                assert "has too many clients" in complaint(server.url)
        finally:
            server.stop()


class TestOutages:
    @pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*soon\r\n", b"\xff\x00\r\n"])
    def test_something_else_listens(self, answer: bytes) -> None:
        with listener(answer) as port:
            error = complaint(f"redis://127.0.0.1:{port}")
        assert error.endswith(("something else answers there. Check REDIS_URL", "it may be restarting"))

    @pytest.mark.parametrize(
        ("answer", "then_close", "resets", "reason"),
        [
            (b"", True, False, CLOSED),
            (b"", True, True, CLOSED),
            (b"$500\r\nhel", False, False, SILENT),
            (b"-LOADING Redis is loading\r\n", False, False, "is still loading its data"),
        ],
    )
    def test_no_whole_answer_comes(
        self, answer: bytes, reason: str, *, then_close: bool, resets: bool
    ) -> None:
        with listener(answer, then_close=then_close, resets=resets) as port:
            patience = 0.5 if reason == SILENT else 20
            assert reason in complaint(f"redis://127.0.0.1:{port}?socket_timeout={patience}")

    def test_a_late_answer_is_not_taken_for_the_next_one(self, redis_url: str) -> None:
        client = RedisClient(f"{redis_url}?socket_timeout=0.5")
        with redis.Redis.from_url(redis_url) as other:
            assert client.connect() == 1
            other.client_pause(1500)
            with pytest.raises(StoreError, match=SILENT):
                client.send([("SET", "a", "late")])
            other.client_unpause()
        assert client.send([("EXISTS", "b")]) == [0]
        assert client.connections == 2
        client.close()

    def test_a_new_connection_is_counted(self, client: RedisClient, redis_url: str) -> None:
        assert [client.connect(), client.connect()] == [1, 1]
        with redis.Redis.from_url(redis_url) as other:
            other.client_kill_filter(_type="normal", skipme=True)
        wait_until(lambda: client.send([("GET", "a")]) == [None] and client.connections == 2)
        client.close()
        assert client.connect() == 3
