from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest

from tests.conftest import start_server
from tests.daemon.recorder.rig import BreakableRig, RecorderRig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _young_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search no earlier days: that takes a while where there are only a few plays."""
    monkeypatch.setattr("spotify_logger.core.redis_keys.FIRST_DAY", date(2026, 1, 1))


@pytest.fixture
def rig(redis_url: str, tmp_path: Path) -> Iterator[RecorderRig]:
    """A recorder in front of a server that syncs at once, so that plays are safe in the next turn."""
    rig = RecorderRig(tmp_path / "outbox.sqlite", redis_url)
    rig.raw.config_set("appendfsync", "always")
    yield rig
    rig.raw.config_set("appendfsync", "everysec")
    rig.close()


@pytest.fixture
def breakable(tmp_path: Path) -> Iterator[BreakableRig]:
    rig = BreakableRig(tmp_path / "outbox.sqlite", start_server(tmp_path / "redis"))
    yield rig
    rig.close()
    rig.kill_server()
