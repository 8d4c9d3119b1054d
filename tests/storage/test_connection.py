from __future__ import annotations

import os
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.storage.connection import RedisLink, StoreError
from spotify_logger.storage.embedded_server import find_server
from spotify_logger.storage.redis_errors import ADVICE_BY_CODE, Refusal
from spotify_logger.system.errors import Misconfigured
from tests.conftest import free_port, start_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.storage.connection import Command


def ask(url: str, *commands: Command) -> list[object]:
    """What the server at `url` replies, over a link of its own."""
    link = RedisLink(url)
    try:
        link.connect()
        return link.send(commands or [("PING",)])
    finally:
        link.close()


def complaint(url: str, *commands: Command) -> str:
    with pytest.raises(StoreError) as caught:
        ask(url, *commands)
    return str(caught.value)


@contextmanager
def listener(
    answer: bytes, *, then_close: bool = True, rudely: bool = False, politely: bool = False
) -> Iterator[int]:
    """A port on which something listens that is no Redis: it says `answer` to whatever it is told.

    Politely, it first says that it has heard by whom.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                with peer:
                    if rudely:  # the connection is reset instead of being ended
                        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    said = peer.recv(65536)
                    while politely and b"SETINFO" in said:
                        peer.sendall(b"+OK\r\n" * said.count(b"SETINFO"))
                        said = peer.recv(65536)
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


@pytest.fixture
def locked(redis_url: str) -> Iterator[str]:
    """Where a server that wants a password is: host, port and database."""
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("requirepass", "pa/ss wörd")
        client.execute_command("ACL", "SETUSER", "ann", "on", ">hunter2", "~*", "+@all")
        yield redis_url.removeprefix("redis://")
        client.config_set("requirepass", "")
        client.execute_command("ACL", "DELUSER", "ann")


class TestAddresses:
    @pytest.mark.parametrize(
        ("url", "where"),
        [
            ("redis://127.0.0.1:6380/0", "127.0.0.1:6380"),
            ("redis://ann:hunter2@example.org/3", "example.org:6379"),
            ("redis://:pa%2Fss%23@[::1]:7000", "::1:7000"),
            ("rediss://example.org?ssl_cert_reqs=none&db=2", "example.org:6379"),
            ("unix:///run/redis/redis.sock?db=1", "/run/redis/redis.sock"),
            ("unix://ann:hunter2@/run/redis.sock", "/run/redis.sock"),
        ],
    )
    def test_it_says_where_it_goes_without_credentials(self, url: str, where: str) -> None:
        assert RedisLink(url).where == where

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "127.0.0.1:6379",
            "http://hunter2@127.0.0.1",
            "redis://:hunter2@127.0.0.1:port/0",
            "redis://:hunter2@127.0.0.1:99999/0",
            "redis://:12/hunter2@127.0.0.1:6379/0",
            "redis://:hunter2#x@127.0.0.1:6379/0",
            "redis://hunter2#x@127.0.0.1:6379/0",
            "redis://hunter2?x@127.0.0.1:6379/0",
            "redis://:hunter2@127.0.0.1:6379/zero",
            "redis://:hunter2@127.0.0.1/0?db=hunter2",
            "redis://:hunter2@[::1",
            "unix://hunter2",
            "unix://hunter2@/?db=0",
        ],
    )
    def test_what_is_no_address(self, url: str) -> None:
        with pytest.raises(Misconfigured, match=r"^REDIS_URL is not the address of a Redis server") as caught:
            RedisLink(url)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__context__ is None

    @pytest.mark.parametrize("option", ["nonsense=hunter2", "ssl_cert_reqs=hunter2", "path=x"])
    def test_an_unknown_option(self, option: str) -> None:
        with pytest.raises(Misconfigured, match=r"^REDIS_URL has a query option") as caught:
            RedisLink(f"rediss://:hunter2@127.0.0.1?{option}")
        assert "hunter2" not in str(caught.value)
        assert caught.value.__context__ is None

    def test_a_unix_socket(self, tmp_path: Path) -> None:
        program = find_server()
        if program is None:
            pytest.skip("no server on this machine")
        path = tmp_path / "s"
        address = ["--port", "0", "--unixsocket", str(path), "--dir", str(tmp_path), "--save", ""]
        with subprocess.Popen([str(program), *address], stdout=subprocess.DEVNULL) as server:
            try:
                deadline = time.monotonic() + 20
                while not path.exists() and time.monotonic() < deadline:
                    time.sleep(0.01)
                assert ask(f"unix://{path}?db=2", ("SET", "a", "1"), ("GET", "a")) == ["OK", "1"]
                assert ask(f"unix://{path}", ("GET", "a")) == [None]
            finally:
                server.kill()
        assert complaint(f"unix://{path}").startswith(
            f"Redis at {path} cannot be reached (Connection refused)"
        )
        assert "(No such file or directory)" in complaint(f"unix://{path}.gone")

    def test_tls(self, redis_url: str, tmp_path: Path) -> None:
        if shutil.which("openssl") is None:
            pytest.fail("no openssl") if os.environ.get("CI") == "true" else pytest.skip("no openssl")
        certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        command = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ]
        files = ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*command, *subject, *files], check=True, capture_output=True)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        port = int(redis_url.rpartition(":")[2].partition("/")[0])
        with tls_in_front_of(port, context) as tls_port:
            url = f"rediss://127.0.0.1:{tls_port}/0"
            assert ask(f"{url}?ssl_ca_certs={certificate}") == ["PONG"]
            assert "certificate verify failed" in complaint(url)

    def test_tls_where_there_is_none(self, redis_url: str) -> None:
        said = complaint(f"{redis_url.replace('redis:', 'rediss:')}?socket_timeout=0.3")
        assert said.endswith("did not answer in time: it hangs, is overloaded, or REDIS_URL is wrong")
        with listener(b"-ERR Protocol error\r\n") as port:
            assert "is it running, and is REDIS_URL right?" in complaint(f"rediss://127.0.0.1:{port}")


@contextmanager
def tls_in_front_of(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """A port that speaks TLS and passes one question and its answer on, again and again."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    peer, _ = server.accept()
                except OSError:
                    return
                try:
                    with (
                        context.wrap_socket(peer, server_side=True) as secure,
                        socket.create_connection(("127.0.0.1", port)) as plain,
                    ):
                        while question := secure.recv(65536):
                            plain.sendall(question)
                            secure.sendall(plain.recv(65536))
                except OSError:
                    peer.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


class TestPasswords:
    def test_the_right_ones(self, locked: str) -> None:
        assert ask(f"redis://:pa%2Fss%20w%C3%B6rd@{locked}") == ["PONG"]
        assert ask(f"redis://default:pa%2Fss%20w%C3%B6rd@{locked}") == ["PONG"]
        assert ask(f"redis://ann:hunter2@{locked}", ("ACL", "WHOAMI")) == ["ann"]

    @pytest.mark.parametrize(
        ("login", "said"),
        [
            ("", "requires a password: set it in REDIS_URL, redis://:password@host"),
            (":wrong-one@", "rejected the user name or password: check both in REDIS_URL"),
            ("ann:wrong-one@", "rejected the user name or password: check both in REDIS_URL"),
            ("nobody:wrong-one@", "rejected the user name or password: check both in REDIS_URL"),
        ],
    )
    def test_the_wrong_ones(self, locked: str, login: str, said: str) -> None:
        host = locked.partition("/")[0]
        assert complaint(f"redis://{login}{locked}") == f"Redis at {host} {said}"

    def test_one_too_many(self, redis_url: str) -> None:
        said = complaint(redis_url.replace("//", "//:needless@"))
        assert said.endswith("has no password, but REDIS_URL has one: remove it")


class TestRefusals:
    def test_one_refusal_beside_replies(self, redis_url: str) -> None:
        replies = ask(redis_url, ("SET", "a", 1), ("HGET", "a", "x"), ("NONSENSE", "\x1b"), ("GET", "a"))
        assert (replies[0], replies[3]) == ("OK", "1")
        assert replies[1] == Refusal("WRONGTYPE", ADVICE_BY_CODE["WRONGTYPE"])
        assert isinstance(replies[2], Refusal)
        assert replies[2].code == "ERR"
        assert replies[2].advice.startswith("says: unknown command 'NONSENSE'")
        assert "\x1b" not in replies[2].advice

    @pytest.mark.parametrize(
        "error",
        [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "READONLY You can't write against a read only replica.",
            "MASTERDOWN Link with MASTER is down.",
            "MISCONF Redis is configured to save RDB snapshots.",
            "NOPERM User x has no permissions to run the 'hset' command",
            "NOREPLICAS Not enough good replicas to write.",
            "MOVED 3999 127.0.0.1:6381",
            "ASK 3999 127.0.0.1:6381",
            "CLUSTERDOWN Hash slot not served",
        ],
    )
    def test_each_has_its_advice(self, error: str) -> None:
        code = error.split(maxsplit=1)[0]
        with listener(b"+OK\r\n+OK\r\n-" + error.encode() + b"\r\n", then_close=False) as port:
            elsewhere = ("127.0.0.1", 6381) if code in {"MOVED", "ASK"} else None
            assert ask(f"redis://127.0.0.1:{port}") == [Refusal(code, ADVICE_BY_CODE[code], elsewhere)]

    def test_no_such_database(self, redis_url: str) -> None:
        url = redis_url.removesuffix("/0") + "/999"
        assert complaint(url).endswith(
            "does not have that database: check the number at the end of REDIS_URL"
        )

    def test_no_connection_left(self, tmp_path: Path) -> None:
        server = start_server(tmp_path / "redis")
        try:
            with redis.Redis.from_url(server.url) as client:
                client.config_set("maxclients", "1")
                assert "has too many clients" in complaint(server.url)
        finally:
            server.stop()


SILENCE = "did not answer in time: it hangs, is overloaded"


class TestAskingTheSameOfManyKeys:
    @pytest.fixture
    def link(self, redis_url: str) -> Iterator[RedisLink]:
        link = RedisLink(redis_url)
        yield link
        link.close()

    def test_the_text_of_all_replies(self, link: RedisLink) -> None:
        link.connect()
        link.send([("HSET", "ä", "x", "ö\r\n-"), ("HSET", "b", "x", "")])
        replies = "*2\r\n$5\r\nö\r\n-\r\n$-1\r\n*2\r\n$0\r\n\r\n$-1\r\n*2\r\n$-1\r\n$-1\r\n"
        assert link.ask("HMGET", ["ä", "b", "c"], ["x", "y"]) == [([0, 1, 2], replies)]
        assert link.ask("HLEN", ["b", "ä"]) == [([0, 1], ":1\r\n:1\r\n")]
        assert link.ask("HLEN", []) == [([], "")]

    def test_it_connects_by_itself_and_only_once(self, link: RedisLink) -> None:
        for _ in range(3):
            assert link.ask("GET", ["a"]) == [([0], "$-1\r\n")]
        assert link.connect() == 1

    def test_more_than_comes_at_once(self, link: RedisLink) -> None:
        link.connect()
        text = "x\r\n" * 300_000
        link.send([("SET", "a", text)])
        reply = f"${len(text)}\r\n{text}\r\n"
        assert link.ask("GET", ["a", "a", "a"]) == [([0, 1, 2], 3 * reply)]
        assert link.send([("ECHO", "in step")]) == ["in step"]

    def test_refusals_among_the_replies(self, link: RedisLink) -> None:
        link.connect()
        link.send([("SET", "a", "x"), ("HSET", "b", "x", "y")])
        for _, text in (
            link.ask("HGETALL", ["a", "b", "a"]) or ()
        ):  # it may be read when a refusal is the last that has come
            first, _, rest = text.partition("\r\n")
            assert first.startswith("-WRONGTYPE ")
            assert rest == f"*2\r\n$1\r\nx\r\n$1\r\ny\r\n{first}\r\n"
        link.connect()
        assert link.send([("ECHO", "in step")]) == ["in step"]

    def test_who_must_not_ping(self, redis_url: str, locked: str) -> None:
        with redis.Redis.from_url(f"redis://ann:hunter2@{locked}") as client:
            client.acl_setuser("ben", enabled=True, passwords=["+x"], keys="*", commands=["+@all", "-ping"])
            link = RedisLink(f"redis://ben:x@{locked}?socket_timeout=9")
            begun = time.monotonic()
            assert link.ask("GET", ["a"]) is None
            assert time.monotonic() - begun < 5
            assert link.connect() == 2
            assert link.send([("ECHO", "in step")]) == ["in step"]
            link.close()
            client.acl_deluser("ben")

    @pytest.mark.parametrize(
        "answer",
        [
            b"-ERR nothing at all\r\n",
            b"-LOADING Redis is loading\r\n-LOADING\r\n",
        ],
    )
    def test_nothing_but_refusals(self, answer: bytes) -> None:
        with listener(answer, then_close=False, politely=True) as port:
            link = RedisLink(f"redis://127.0.0.1:{port}?socket_timeout=0.5")
            assert link.ask("GET", ["a"]) is None
            link.close()

    @pytest.mark.parametrize(
        ("answer", "then_close", "said"),
        [
            (b"$5\r\nhel", True, "closed the connection: it may be restarting"),
            (b"$5\r\nhel", False, SILENCE),
            (b"$5\r\nhello\r\n", False, SILENCE),
            (b"HTTP/1.1 400 Bad\r\n\r\n", True, "closed the connection: it may be restarting"),
        ],
    )
    def test_no_end_comes(self, answer: bytes, said: str, *, then_close: bool) -> None:
        with listener(answer, then_close=then_close, politely=True) as port:
            link = RedisLink(f"redis://127.0.0.1:{port}?socket_timeout=0.2")
            with pytest.raises(StoreError, match=said):
                link.ask("GET", ["a"])
            link.close()

    def test_replies_never_shift(self, redis_url: str) -> None:
        link = RedisLink(f"{redis_url}?socket_timeout=0.2")
        with redis.Redis.from_url(redis_url) as client:
            assert link.connect() == 1
            client.client_pause(600)
            with pytest.raises(StoreError, match=SILENCE):
                link.ask("GET", ["a"])
            client.client_unpause()
        assert link.ask("GET", ["a"]) == [([0], "$-1\r\n")]
        assert link.connect() == 2
        link.close()

    def test_nobody_listens(self) -> None:
        with pytest.raises(StoreError, match="cannot be reached"):
            RedisLink(f"redis://127.0.0.1:{free_port()}").ask("GET", ["a"])


class TestOutages:
    def test_nobody_listens(self) -> None:
        port = free_port()
        said = complaint(f"redis://:hunter2@127.0.0.1:{port}")
        why = "cannot be reached (Connection refused): is it running, and is REDIS_URL right?"
        assert said == f"Redis at 127.0.0.1:{port} {why}"

    def test_no_such_host(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*_: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        said = complaint("redis://raspberry")
        assert said.startswith("Redis at raspberry:6379 cannot be reached (Name or service not known)")

    def test_no_host_name_at_all(self) -> None:
        assert complaint("redis://a..b").startswith("Redis at a..b:6379 is not a Redis server")

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"*soon\r\n",
            b"$-7\r\n",
            b"\xff\xfe\x00\r\n",
            b"\r\n",
        ],
    )
    def test_something_else_listens(self, answer: bytes) -> None:
        with listener(answer) as port:
            said = complaint(f"redis://127.0.0.1:{port}?socket_timeout=1")
        assert said.startswith(f"Redis at 127.0.0.1:{port} ")
        assert said.endswith(("something else answers there. Check REDIS_URL", "it may be restarting"))

    @pytest.mark.parametrize("rudely", [False, True])
    def test_it_closes_at_once(self, *, rudely: bool) -> None:
        with listener(b"", rudely=rudely) as port:
            assert complaint(f"redis://127.0.0.1:{port}").endswith(
                "closed the connection: it may be restarting"
            )

    def test_it_never_finishes_its_answer(self) -> None:
        with listener(b"$500\r\nhel", then_close=False) as port:
            said = complaint(f"redis://127.0.0.1:{port}?socket_timeout=0.2")
        assert said.endswith("did not answer in time: it hangs, is overloaded, or REDIS_URL is wrong")

    def test_it_is_still_loading(self, tmp_path: Path) -> None:
        server = start_server(tmp_path / "redis")
        with redis.Redis.from_url(server.url) as client:
            client.mset({f"key:{number}": "x" * 100 for number in range(3000)})
            client.save()
        server.stop()
        port, program = free_port(), find_server()
        options = ["--port", str(port), "--dir", str(tmp_path / "redis"), "--appendonly", "no"]
        slowly = ["--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024"]
        with subprocess.Popen([str(program), *options, *slowly], stdout=subprocess.DEVNULL) as loading:
            try:
                deadline = time.monotonic() + 20
                while "refused" in (said := complaint(f"redis://127.0.0.1:{port}")):
                    assert time.monotonic() < deadline
            finally:
                loading.kill()
        assert said.endswith("is still loading its data: wait until it is done")

    def test_replies_never_shift(self, redis_url: str) -> None:
        """An answer that came too late must not be taken for the one to the next question."""
        link = RedisLink(f"{redis_url}?socket_timeout=0.2")
        with redis.Redis.from_url(redis_url) as client:
            assert link.connect() == 1
            client.client_pause(600)
            with pytest.raises(StoreError):
                link.send([("SET", "a", "late")])
            client.client_unpause()
        assert link.connect() == 2
        assert link.send([("ECHO", "in step")]) == ["in step"]
        link.close()

    def test_a_new_connection_is_a_new_number(self, redis_url: str) -> None:
        link = RedisLink(redis_url)
        assert [link.connect(), link.connect()] == [1, 1]
        link.send([("PING",)])
        assert link.connect() == 1
        with redis.Redis.from_url(redis_url) as client:
            client.client_kill_filter(_type="normal", skipme=True)
        deadline = time.monotonic() + 20
        while link.connect() == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert link.connect() == 2
        assert link.send([("PING",)]) == ["PONG"]
        link.close()

    def test_nothing_is_sent_without_a_connection(self, redis_url: str) -> None:
        link = RedisLink(redis_url)
        for _ in range(2):
            with pytest.raises(StoreError, match="closed the connection"):
                link.send([("PING",)])
        assert link.connect() == 1
        link.close()
        with pytest.raises(StoreError):
            link.send([("PING",)])
        assert link.connect() == 2
        link.close()

    @pytest.mark.parametrize("options", ["", "?health_check_interval=1", "?retry_on_timeout=true"])
    def test_a_broken_connection_is_not_replaced_in_silence(
        self, redis_url: str, monkeypatch: pytest.MonkeyPatch, options: str
    ) -> None:
        """A proof over a new connection would be one for writes that the old one has lost."""
        link = RedisLink(redis_url + options)
        assert link.connect() == 1
        link.send([("SET", "a", 1)])
        with redis.Redis.from_url(redis_url) as client:
            client.client_kill_filter(_type="normal", skipme=True)
            before = connections(client)
            monkeypatch.setattr(time, "monotonic", lambda real=time.monotonic: real() + 60)
            for _ in range(2):
                with pytest.raises(StoreError):
                    link.send([("WAITAOF", 1, 0, 10)])
            assert connections(client) == before
        assert link.connect() == 2
        link.close()


def connections(client: redis.Redis) -> int:
    """How many connections the server has seen."""
    return int(client.info("stats")["total_connections_received"])
