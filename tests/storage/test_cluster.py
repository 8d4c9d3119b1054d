"""A cluster of three masters, asked and written to as one server is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from redis.crc import key_slot

from spotify_logger.cli import main
from spotify_logger.core.times import to_iso
from spotify_logger.simulator.logged_history import make_logged_history
from spotify_logger.storage import cluster as cluster_link
from spotify_logger.storage.connect import open_link
from spotify_logger.storage.connection import RedisLink, StoreError
from spotify_logger.storage.store import Store
from spotify_logger.system.errors import Misconfigured
from tests.conftest import free_port, wait_until
from tests.servers import PASSWORD, USER, RedisCluster, RedisServer, acl_command, programs
from tests.web.page import serve_page, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.storage.connection import Link

KEYS = [f"key:{number}" for number in range(100)]


@pytest.fixture(scope="module", params=programs())
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisCluster]:
    cluster = RedisCluster(request.param, tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture
def link(cluster: RedisCluster) -> Iterator[Link]:
    for master in cluster.masters:
        master.client.flushall()
    link = open_link(cluster.url)
    link.connect()
    yield link
    link.close()


def owner(cluster: RedisCluster, key: str) -> int:
    """The number of the master that a key belongs to."""
    return next(number for number in range(3) if key_slot(key.encode()) < 16384 * (number + 1) // 3)


def test_each_command_goes_where_its_key_lies(cluster: RedisCluster, link: Link) -> None:
    assert link.send([("SET", key, key[4:]) for key in KEYS]) == ["OK"] * 100
    assert link.send([("GET", key) for key in KEYS]) == [key[4:] for key in KEYS]
    sizes = [master.client.dbsize() for master in cluster.masters]
    assert sizes == [sum(owner(cluster, key) == number for key in KEYS) for number in range(3)]
    assert min(sizes) > 10
    assert link.connect() == 1


def test_the_text_of_replies_says_whose_they_are(link: Link) -> None:
    link.send([("SET", key, key[4:]) for key in KEYS])
    parts = link.ask("GET", KEYS)
    assert parts is not None
    assert len(parts) == 3
    told = {
        place: word for which, text in parts for place, word in zip(which, text.split()[1::2], strict=True)
    }
    assert [told[place] for place in range(100)] == [key[4:] for key in KEYS]


def test_a_script_goes_to_its_key(link: Link) -> None:
    link.send([("SET", "a", "x")])
    script = "return redis.call('GET', KEYS[1])"
    assert link.send([("EVAL", script, 1, "a"), ("EVAL", script, 1, "b")]) == ["x", None]


class TestMoving:
    @pytest.fixture
    def places(self, cluster: RedisCluster, link: Link) -> Iterator[tuple[RedisServer, RedisServer]]:
        """The server that has the key "a", and another one; its slot comes home in the end."""
        slot = key_slot(b"a")
        source = cluster.masters[owner(cluster, "a")]
        target = next(master for master in cluster.masters if master is not source)
        link.send([("HSET", "a", "x", "1")])
        yield source, target
        if target.client.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot):
            list(cluster.move([slot], target, source))
        for master in cluster.masters:
            master.client.execute_command("CLUSTER", "SETSLOT", slot, "STABLE")
            master.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", cluster.identity(source))

    def test_a_key_that_is_half_way(
        self, cluster: RedisCluster, link: Link, places: tuple[RedisServer, RedisServer]
    ) -> None:
        """What still lies at the old place is read there, what does not at the new one (`ASK`)."""
        source, target = places
        steps = cluster.move([key_slot(b"a")], source, target)
        next(steps)
        assert link.send([("HGET", "a", "x")]) == ["1"]
        next(steps)
        assert source.client.dbsize() == 0 or not source.client.execute_command(
            "CLUSTER", "COUNTKEYSINSLOT", key_slot(b"a")
        )
        assert link.send([("HGET", "a", "x"), ("HSET", "a", "y", "2"), ("HLEN", "a")]) == ["1", 1, 2]
        told = link.ask("HLEN", ["a"])  # a refusal; None where the end of the replies came in later than that
        assert told is None or told[0][1].startswith("-ASK ")
        list(steps)

    def test_a_key_that_has_moved(
        self, cluster: RedisCluster, link: Link, places: tuple[RedisServer, RedisServer]
    ) -> None:
        list(cluster.move([key_slot(b"a")], *places))
        assert link.send([("HGET", "a", "x"), ("HSET", "a", "y", "2")]) == ["1", 1]
        assert link.ask("HLEN", ["a"]) == [([0], ":2\r\n")]
        assert link.connect() == 1


def test_a_broken_connection_is_a_new_one_even_if_it_is_one_of_three(
    cluster: RedisCluster, link: Link
) -> None:
    victim = cluster.masters[1]
    victim.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    wait_until(lambda: link.connect() == 2)
    link.send([("SET", key, "") for key in KEYS])
    assert link.connect() == 2


def test_it_needs_one_of_the_nodes_only_to_find_all(cluster: RedisCluster) -> None:
    link = open_link(f"redis+cluster://127.0.0.1:{free_port()},127.0.0.1:{cluster.masters[2].port}/0")
    assert link.connect() == 1
    assert len(link.nodes()) == 3
    link.close()


def test_all_that_is_ever_sent_is_allowed_and_no_more(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        commands = {name.decode().upper() for name in client.command_list()}
    allowed = {word[1:].partition("|")[0].upper() for word in acl_command("9.0.0") if word.startswith("+")}
    folder = Path(cluster_link.__file__).parents[1]
    rooms = [room for room in folder.rglob("*.py") if "simulator" not in room.parts]
    text = "".join(room.read_text(encoding="utf-8") for room in rooms)
    words = set(re.findall(r"[(\s]\"([A-Z]+)\",", text)) | set(re.findall(r"redis\.call\('([A-Z]+)'", text))
    assert words & (commands | {"WAITAOF"}) | {"PING", "SELECT"} == allowed


class TestWhatIsWrong:
    def test_nobody_is_there(self) -> None:
        with pytest.raises(StoreError, match="cannot be reached"):
            open_link(f"redis+cluster://127.0.0.1:{free_port()}").connect()

    def test_it_is_no_cluster(self, redis_url: str) -> None:
        with pytest.raises(StoreError, match="is no node of a cluster: write redis:// in REDIS_URL"):
            open_link(redis_url.replace("redis://", "redis+cluster://").removesuffix("/0")).connect()

    def test_it_is_one_and_redis_url_does_not_say_so(self, cluster: RedisCluster) -> None:
        stores = [Store(f"redis://127.0.0.1:{master.port}") for master in cluster.masters]
        said = []
        for store in stores:
            try:
                store.read_status()
            except StoreError as error:
                said.append(str(error))
        assert len(said) == 2
        assert all("write redis+cluster:// instead of redis:// in REDIS_URL" in text for text in said)

    def test_a_part_of_it_is_nobodys(self, cluster: RedisCluster) -> None:
        slot = key_slot(b"a")
        for master in cluster.masters:
            master.client.execute_command("CLUSTER", "DELSLOTS", slot)
        try:
            with pytest.raises(StoreError, match="not whole: 1 of its 16384 slots have no server"):
                open_link(cluster.url).connect()
        finally:
            home = cluster.masters[owner(cluster, "a")]
            home.client.execute_command("CLUSTER", "ADDSLOTS", slot)
            wait_until(cluster.is_whole)
            wait_until(lambda: _is_known(cluster, slot))

    def test_an_option_that_redis_py_does_not_take(self) -> None:
        with pytest.raises(Misconfigured, match="query option"):
            open_link("redis+cluster://127.0.0.1:7000?colour=red")


def _is_known(cluster: RedisCluster, slot: int) -> bool:
    """Whether all masters know whose a slot is."""
    tables = [master.client.execute_command("CLUSTER", "SLOTS") for master in cluster.masters]
    return all(sum(int(last) - int(first) + 1 for first, last, *_ in table) == 16384 for table in tables)


# Answers

NOW = int(time.time())
QUESTIONS = (
    "status",
    "status --json",
    "now",
    "recent -n 30",
    "recent -n 300 --json",
    "day yesterday",
    "on-this-day",
    "top tracks -n 30",
    "top artists --by time",
    "top albums --last 30d --csv",
    "top devices",
    "count the",
    "artist the",
    "album the",
    "stats",
    "clock",
    "calendar",
    "course --per week",
    "export",
    "check",
    "track the",
    "year",
    "check --repair",
    "forget --yes --last 30d the",
    "recent -n 300",
    "check",
)
VIEWS = ("/", "/recent", "/top/artists?all=1", "/chart?per=day", "/clock", "/search?q=the", "/health")


def fill(url: str) -> None:
    store = Store(url)
    make_logged_history(3, 12, NOW - 7200).write(store.archive())
    with store.batch() as batch:
        batch.write_status(
            {"last_poll": to_iso(NOW * 1000), "next_poll": to_iso((NOW + 3600) * 1000), "state": "x"}
        )
    store.close()


@pytest.fixture
def twins(cluster: RedisCluster, redis_url: str) -> tuple[str, str]:
    """The same log on one server, and on a cluster."""
    for master in cluster.masters:
        master.client.flushall()
    for url in (redis_url, cluster.url):
        fill(url)
    return redis_url, cluster.url


def nameless(text: str, url: str) -> str:
    """A text that does not tell which server it was."""
    store = Store(url)
    told = store.version()
    store.close()
    return text.replace(store.where, "there").replace(told, "a server")


def test_every_command_and_view_gives_the_answers_of_one_server(
    twins: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("time.time", lambda: float(NOW))
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    for question in QUESTIONS:
        told = []
        for url in twins:
            monkeypatch.setenv("REDIS_URL", url)
            code = main.main(question.split())
            out = nameless(capsys.readouterr().out, url)
            told.append((code, list(map(json.loads, out.splitlines())) if question == "export" else out))
        assert told[0] == told[1], question
        assert told[0][0] in {0, 1}, told[0]
        assert told[0][1]
    shown = []
    for url in twins:
        with serve_page(settings_for(url, tmp_path)) as page:
            answers = [page.request(view) for view in VIEWS]
            assert {answer.status for answer in answers} == {200}
            shown.append([nameless(answer.text, url) for answer in answers])
    assert shown[0] == shown[1]


def test_what_was_exported_from_one_server_is_imported_into_a_cluster(
    cluster: RedisCluster, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for master in cluster.masters:
        master.client.flushall()
    fill(redis_url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATE_DIR", str(tmp_path))
    for url, words in (
        (redis_url, "export --output one.jsonl"),
        (cluster.url, "import one.jsonl"),
        (cluster.url, "export --output other.jsonl"),
        (cluster.url, "import one.jsonl"),
        (cluster.url, "check"),
    ):
        monkeypatch.setenv("REDIS_URL", url)
        assert main.main(words.split()) == 0
    one, other = ((tmp_path / name).read_text().splitlines() for name in ("one.jsonl", "other.jsonl"))
    assert len(one) > 500
    assert list(map(json.loads, one)) == list(map(json.loads, other))


def test_a_link_of_one_server_is_still_one(redis_url: str) -> None:
    assert isinstance(open_link(redis_url), RedisLink)


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that signs itself, for servers and clients, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=127.0.0.1"
    more = f"-addext subjectAltName=IP:127.0.0.1 -keyout {files[1]} -out {files[0]}"
    subprocess.run([*make.split(), *more.split()], check=True, capture_output=True)
    return files


@pytest.mark.parametrize("kind", ["rediss", "rediss+cluster", "rediss+sentinel"])
def test_servers_that_want_a_certificate_of_the_client(
    kind: str, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    program = shutil.which("redis-server") or ""  # the server in the wheel knows no TLS
    if not program:
        pytest.fail("no redis-server") if os.environ.get("CI") == "true" else pytest.skip("no redis-server")
    secure = [free_port(), free_port()]
    trust = f"--tls-ca-cert-file {certificate[0]} --tls-cert-file {certificate[0]}"
    trust += f" --tls-key-file {certificate[1]}"
    options = f"{trust} --tls-auth-clients yes --tls-port {secure[0]}".split()
    if kind == "rediss+cluster":
        options += f"--cluster-enabled yes --tls-cluster yes --cluster-port {free_port()}".split()
    server = RedisServer(program, tmp_path / "server", tuple(options)).start()
    sentinel = RedisServer(program, tmp_path / "sentinel")
    url = f"{kind}://{USER}:{PASSWORD}@127.0.0.1:{secure[0]}"
    try:
        if kind == "rediss+cluster":
            server.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(lambda: server.client.cluster("info")["cluster_state"] == "ok")
        if kind == "rediss+sentinel":
            more = f"{trust} --tls-auth-clients yes --tls-replication yes --tls-port {secure[1]}"
            sentinel.start_as_sentinel(secure[0], *more.split())
            url = f"{kind}://{USER}:{PASSWORD}@127.0.0.1:{secure[1]}/log/0"
        ours = f"ssl_certfile={certificate[0]}&ssl_keyfile={certificate[1]}"
        link = open_link(f"{url}?ssl_ca_certs={certificate[0]}&{ours}")
        wait_until(lambda: is_connected(link))
        assert link.send([("SET", "a", "x"), ("GET", "a")]) == ["OK", "x"]
        link.close()
        with pytest.raises(StoreError):
            ask_once(f"{url}?ssl_ca_certs={certificate[0]}")
    finally:
        for each in (server, sentinel):
            each.stop()


def is_connected(link: Link) -> bool:
    try:
        return link.connect() > 0
    except StoreError:
        return False


def ask_once(url: str) -> None:
    """A server may refuse a certificate only after it was greeted."""
    link = open_link(url)
    try:
        link.connect()
        link.send([("GET", "a")])
    finally:
        link.close()
