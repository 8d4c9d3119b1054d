from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from tests.conftest import start_server
from tests.daemon.recorder.rig import RecorderRig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spotify_logger.storage.embedded_server import EmbeddedServer

SHORT_TIMEOUTS = "?socket_timeout=0.3&socket_connect_timeout=0.3"


@pytest.fixture(autouse=True)
def _young_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search no earlier days: that takes a while where there are only a few plays."""
    monkeypatch.setattr("spotify_logger.storage.store.FIRST_DAY", date(2026, 1, 1))


@pytest.fixture
def rig(redis_url: str, tmp_path: Path) -> Iterator[RecorderRig]:
    """A recorder in front of a server that syncs at once, so that plays are safe in the next turn."""
    rig = RecorderRig(tmp_path / "outbox.sqlite", redis_url)
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
def breakable(server: EmbeddedServer, tmp_path: Path) -> Iterator[RecorderRig]:
    """A recorder in front of `server`."""
    rig = RecorderRig(tmp_path / "outbox.sqlite", server.url, SHORT_TIMEOUTS)
    yield rig
    rig.close()
