"""A cluster of three masters, read and written as one server is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from redis.crc import key_slot

from spotify_logger.cli import main
from spotify_logger.core.redis_keys import STATUS
from spotify_logger.core.times import to_iso
from spotify_logger.simulator.logged_history import make_logged_history
from spotify_logger.storage import client as client_module
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.client import RedisClient, StoreError
from spotify_logger.system.errors import Misconfigured
from tests.conftest import free_port, wait_until
from tests.servers import PASSWORD, USER, RedisCluster, RedisServer, acl_command, one_program
from tests.web.page import serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator

KEYS = [f"key:{number}" for number in range(100)]
NOW = int(time.time())
COMMANDS = (
    *("status", "recent -n 30 --json", "day yesterday", "top artists --by time", "count the", "export"),
    *("check", "forget --yes --last 30d the", "recent -n 300", "check"),
)
PAGES = ("/", "/top/artists?all=1", "/health")


@pytest.fixture(scope="module", params=one_program("redis"))
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisCluster]:
    cluster = RedisCluster(request.param, tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture
def client(cluster: RedisCluster) -> Iterator[RedisClient]:
    for master in cluster.masters:
        master.client.flushall()
    client = RedisClient(cluster.url)
    client.connect()
    yield client
    client.close()


def owner(key: str) -> int:
    """Return the number of the master that has a key."""
    return next(number for number in range(3) if key_slot(key.encode()) < 16384 * (number + 1) // 3)


def test_each_command_goes_to_the_master_of_its_key(cluster: RedisCluster, client: RedisClient) -> None:
    assert client.send([("SET", key, key[4:]) for key in KEYS]) == [True] * 100
    assert client.send([("GET", key) for key in KEYS]) == [key[4:] for key in KEYS]
    sizes = [master.client.dbsize() for master in cluster.masters]
    assert sizes == [sum(owner(key) == number for key in KEYS) for number in range(3)]
    with closing(Archive(f"redis+cluster://127.0.0.1:{cluster.masters[0].port}")) as archive:
        assert sorted(key for keys in archive.scan("key:*") for key in keys) == sorted(KEYS)
    script = "return redis.call('EXISTS', KEYS[1])"
    assert client.send([("EVAL", script, 1, "key:7"), ("EVAL", script, 1, "none")]) == [1, 0]
    assert len(client.servers()) == 3


def test_a_key_is_found_while_it_moves_and_afterwards(cluster: RedisCluster, client: RedisClient) -> None:
    slot = key_slot(b"a")
    source = cluster.masters[owner("a")]
    target = next(master for master in cluster.masters if master is not source)
    client.send([("HSET", "a", "x", "1")])
    steps = cluster.move([slot], source, target)
    next(steps)
    assert client.send([("HGET", "a", "x")]) == ["1"]
    next(steps)
    assert source.client.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot) == 0
    assert client.send([("HGET", "a", "x"), ("HSET", "a", "y", "2"), ("HLEN", "a")]) == ["1", 1, 2]
    list(steps)
    assert client.send([("HGET", "a", "x"), ("HSET", "a", "z", "3")]) == ["1", 1]
    list(cluster.move([slot], target, source))


def test_a_broken_connection_to_one_master_is_counted(cluster: RedisCluster, client: RedisClient) -> None:
    before = client.connect()
    cluster.masters[1].client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    wait_until(lambda: client.connect() > before)
    client.send([("SET", key, "") for key in KEYS])


def test_one_reachable_node_is_enough(cluster: RedisCluster) -> None:
    client = RedisClient(f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{cluster.masters[2].port}/0")
    assert len(client.servers()) == 3
    client.close()


def test_the_documented_user_may_do_all_that_is_ever_sent_and_no_more(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        commands = {name.decode().upper() for name in client.command_list()}
    allowed = {word[1:].partition("|")[0].upper() for word in acl_command() if word.startswith("+")}
    package = Path(client_module.__file__).parents[1]
    modules = [module for module in package.rglob("*.py") if "simulator" not in module.parts]
    text = "".join(module.read_text(encoding="utf-8") for module in modules)
    found = re.findall(r"(?:[^:]\s|\()\"([A-Z]+)\",|redis\.call\('([A-Z]+)'", text)
    words = {word for pair in found for word in pair}
    assert (
        words & commands | {*("SELECT", "COMMAND", "ASKING", "CLUSTER", "CONFIG", "INFO", "PEXPIRE")}
        == allowed
    )


def test_a_wrong_address_is_explained(cluster: RedisCluster, redis_url: str) -> None:
    with pytest.raises(StoreError, match="cannot be reached"):
        RedisClient(f"redis+cluster://127.0.0.1:{free_port()}").connect()
    with pytest.raises(StoreError, match="write redis:// in REDIS_URL"):
        RedisClient(redis_url.replace("redis://", "redis+cluster://").removesuffix("/0")).connect()
    other = next(number for number in range(3) if number != owner("spotify_logger:status"))
    with pytest.raises(StoreError, match=r"write redis\+cluster:// instead of redis:// in REDIS_URL"):
        Archive(f"redis://127.0.0.1:{cluster.masters[other].port}").hash(STATUS)
    with pytest.raises(Misconfigured, match="query option"):
        RedisClient("redis+cluster://127.0.0.1:7000?colour=red")
    with pytest.raises(Misconfigured, match="address") as caught:
        RedisClient("redis+cluster://:hunter2@127.0.0.1:port")
    assert "hunter2" not in str(caught.value)
    assert isinstance(RedisClient(redis_url), RedisClient)


def test_slots_without_a_server_are_explained(cluster: RedisCluster, tmp_path: Path) -> None:
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    node = RedisServer(cluster.program, tmp_path / "node", options).start()
    try:
        node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16382)
        with pytest.raises(StoreError, match="incomplete"):
            RedisClient(f"redis+cluster://{USER}:{PASSWORD}@127.0.0.1:{node.port}").connect()
    finally:
        node.stop()


def fill(url: str) -> None:
    store = Archive(url)
    make_logged_history(3, 4, NOW - 7200).write(store)
    with store.batch() as batch:
        batch.write_status(
            {"last_poll": to_iso(NOW * 1000), "next_poll": to_iso((NOW + 3600) * 1000), "state": "x"}
        )
    store.close()


def without_server(text: str, url: str) -> str:
    """Return a text without the address and version of the server."""
    store = Archive(url)
    version = store.version()
    store.close()
    return text.replace(store.where, "somewhere").replace(version, "a server")


def test_commands_and_pages_show_the_same_as_with_one_server(
    cluster: RedisCluster,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for master in cluster.masters:
        master.client.flushall()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.time", lambda: float(NOW))
    monkeypatch.setattr("spotify_logger.storage.bulk.FIRST_SECOND", NOW - 90 * 86_400)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    outputs: list[list[object]] = []
    for url in (redis_url, cluster.url):
        fill(url)
        monkeypatch.setenv("REDIS_URL", url)
        with serve_page(settings_for(url, tmp_path)) as server:
            answers = [server.request(page) for page in PAGES]
        assert {answer.status for answer in answers} == {200}
        outputs.append([without_server(answer.text, url) for answer in answers])
        for command in COMMANDS:
            code = main.main(command.split())
            out = without_server(capsys.readouterr().out, url)
            assert code in {0, 1}
            assert out
            outputs[-1].append((command, code, sorted(out.splitlines())))
    assert outputs[0] == outputs[1]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for servers and clients, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=127.0.0.1"
    more = f"-addext subjectAltName=IP:127.0.0.1 -keyout {files[1]} -out {files[0]}"
    subprocess.run([*make.split(), *more.split()], check=True, capture_output=True)
    return files


@pytest.mark.parametrize("kind", ["rediss", "rediss+cluster", "rediss+sentinel"])
def test_servers_with_tls_that_want_a_client_certificate(
    kind: str, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    program = shutil.which("redis-server") or ""  # the server in the wheel does not have TLS
    if not program:
        pytest.fail("no redis-server") if os.environ.get("CI") == "true" else pytest.skip("no redis-server")
    ports = [free_port(), free_port()]
    trust = f"--tls-ca-cert-file {certificate[0]} --tls-cert-file {certificate[0]}"
    trust += f" --tls-key-file {certificate[1]} --tls-auth-clients yes"
    options = f"{trust} --tls-port {ports[0]}".split()
    if kind == "rediss+cluster":
        options += f"--cluster-enabled yes --tls-cluster yes --cluster-port {free_port()}".split()
    server = RedisServer(program, tmp_path / "server", tuple(options)).start()
    sentinel = RedisServer(program, tmp_path / "sentinel")
    url = f"{kind}://{USER}:{PASSWORD}@127.0.0.1:{ports[0]}"
    try:
        if kind == "rediss+cluster":
            server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: server.client.cluster("info")["cluster_state"] == "ok")
        if kind == "rediss+sentinel":
            sentinel.start_as_sentinel(
                ports[0], *f"{trust} --tls-replication yes --tls-port {ports[1]}".split()
            )
            url = f"{kind}://{USER}:{PASSWORD}@127.0.0.1:{ports[1]}/log/0"
        keys = f"ssl_certfile={certificate[0]}&ssl_keyfile={certificate[1]}"
        client = RedisClient(f"{url}?ssl_ca_certs={certificate[0]}&{keys}")
        wait_until(lambda: is_connected(client))
        assert client.send([("SET", "a", "x"), ("GET", "a")]) == [True, "x"]
        client.close()
        for query in (f"?ssl_ca_certs={certificate[0]}", f"?{keys}"):
            with pytest.raises(StoreError):
                send_one(f"{url}{query}")
    finally:
        for each in (server, sentinel):
            each.stop()


def is_connected(client: RedisClient) -> bool:
    try:
        return client.connect() > 0
    except StoreError:
        return False


def send_one(url: str) -> None:
    """Connect and send: a server may reject a certificate only after the handshake."""
    client = RedisClient(url)
    try:
        client.connect()
        client.send([("GET", "a")])
    finally:
        client.close()
