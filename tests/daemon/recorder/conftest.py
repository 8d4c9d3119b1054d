from __future__ import annotations

import os
import signal
from contextlib import suppress
from datetime import date
from typing import TYPE_CHECKING

import pytest

from tests.conftest import start_server
from tests.daemon.recorder.rig import RealRig, Sick

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.storage.embedded_server import EmbeddedServer

PATIENCE = "?socket_timeout=0.3&socket_connect_timeout=0.3"


@pytest.fixture(autouse=True)
def _young_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked for before this year: that takes a while where there are only a few plays."""
    monkeypatch.setattr("spotify_logger.storage.store.FIRST_DAY", date(2026, 1, 1))


@pytest.fixture
def rig(redis_url: str, tmp_path: Path) -> Iterator[RealRig]:
    """A recorder in front of a server that syncs at once, so that a proof is there at the next turn."""
    rig = RealRig(tmp_path / "outbox.sqlite", redis_url)
    rig.raw.config_set("appendfsync", "always")
    yield rig
    rig.raw.config_set("appendfsync", "everysec")
    rig.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A server to break."""
    server = start_server(tmp_path / "redis")
    yield server
    if server.process is not None and server.is_alive:
        server.process.kill()
        server.process.wait()


@pytest.fixture
def fragile(server: EmbeddedServer, tmp_path: Path) -> Iterator[RealRig]:
    rig = RealRig(tmp_path / "outbox.sqlite", server.url, PATIENCE)
    yield rig
    rig.close()


@pytest.fixture
def sick(server: EmbeddedServer, tmp_path: Path) -> Iterator[Sick]:
    sick = Sick(server, tmp_path / "redis")
    yield sick
    with suppress(ProcessLookupError):
        os.kill(server.pid or 0, signal.SIGCONT)
    sick.close()
