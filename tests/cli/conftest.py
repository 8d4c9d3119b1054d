"""What the tests of the command have in common: its environment, and a log of a few plays."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from spotify_logger.cli.main import main
from spotify_logger.core.play import Play
from spotify_logger.core.player_state import Item
from spotify_logger.storage.bulk import Archive

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_795_370_400
"""2026-11-22T18:00:00Z."""


@pytest.fixture
def environment(tmp_path: Path, redis_url: str) -> dict[str, str]:
    """All that a process of the command finds in its environment."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "STATE_DIR": str(tmp_path / "state"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "REDIS_URL": redis_url,
        "TZ": "CET-1",
    }


@pytest.fixture
def here(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.MonkeyPatch]:
    """Give this process the same environment, and no terminal."""
    for name in [name for name in os.environ if name.startswith(("SPOTIFY_", "REDIS_", "LISTENER"))]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    time.tzset()
    monkeypatch.chdir(tmp_path)
    with Path(os.devnull).open(encoding="utf-8") as nobody:
        monkeypatch.setattr(sys, "stdin", nobody)
        yield monkeypatch
    monkeypatch.undo()
    time.tzset()


ARTISTS = '[{"name": "Daft Punk", "id": "4tZ"}]'


@pytest.fixture
def store(redis_url: str) -> Iterator[Archive]:
    store = Archive(redis_url, utc=lambda: NOW)
    yield store
    store.close()


def play(name: str, second: int = NOW, ms_played: int = 200_000, end: str = "skipped") -> Play:
    """Return a play of a track on Discovery; the id of the track is its first letter."""
    identity = name[0].lower()
    uri = f"spotify:track:{identity}"
    about: dict[str, str | int] = {"uri": uri, "type": "track", "name": name, "artists": "Daft Punk"}
    about |= {"album": "Discovery", "duration_ms": 345_000}
    item = Item(
        f"track:{identity}",
        uri,
        345_000,
        {**about, "artist_ids": "4tZ", "artist_list": ARTISTS, "album_id": "2no"},
    )
    fields = {**about, "id": identity, "device_name": "Kitchen", "context_uri": "spotify:album:2no"}
    return Play(second, item, second * 1000, second * 1000 + ms_played, ms_played, end, "live", fields)


def write(store: Archive, *plays: Play) -> None:
    with store.batch() as batch:
        for each in plays:
            batch.write_play(each.second, each.to_hash(), each.index)
            batch.write_hash(each.item.key, each.item.catalog)


def run_main(line: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Run a command line in this process; return its exit code and what it wrote to stdout and stderr."""
    code: Any
    try:
        code = main(line)
    except SystemExit as error:
        code = error.code
    return code, *capsys.readouterr()
