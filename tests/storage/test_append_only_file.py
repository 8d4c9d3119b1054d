"""What power cuts leave of the embedded server's files, and whether a real server starts with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from spotify_logger.storage import append_only_file
from spotify_logger.storage.embedded_server import find_server
from tests.conftest import OpenServer, free_port, start_server, wait_until
from tests.servers import one_program

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", params=one_program("valkey"))
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a server with the key "old" in its snapshot, and "new" and "last" after it."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "valkey-server").symlink_to(request.param)  # the name that is looked for first
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder), prepend=os.pathsep)
        server = start_server(folder / "redis")
        with redis.Redis.from_url(server.url) as client:
            client.set("old", "value")
            client.bgrewriteaof()
            wait_until(lambda: not list((folder / "redis" / "appendonlydir").glob("*.1.*")))  # replaced by 2
            client.set("new", "value")
            client.set("last", "value")
        server.stop()
        yield folder / "redis"


def part(folder: Path, name: str) -> Path:
    """Return a file of a server: its "base", what was appended since ("incr"), or the "manifest"."""
    return max((folder / "appendonlydir").glob(f"*{name}*"))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "appendonlydir").iterdir()}


def damage(folder: Path, name: str, content: bytes | None, begin: int = 0) -> None:
    """Remove a file, or replace what comes after a byte, which is counted from the end if negative."""
    if content is None:
        part(folder, name).unlink()
    else:
        part(folder, name).write_bytes(part(folder, name).read_bytes()[: begin or None] + content)


@pytest.mark.parametrize(
    ("left", "damages"),
    [
        ("old new last", [("incr", bytes(4096))]),
        ("old new last", [("incr", b"\xff*3\r\n$")]),
        ("old new", [("incr", bytes(4096), -9)]),
        ("old new last", [("manifest", b"", -999)]),
        ("old new last", [("manifest", None)]),
        ("new last", [("base", None)]),
        ("old", [("incr", None)]),
        ("", [("incr", None), ("base", None)]),
    ],
)
def test_a_damaged_file_is_copied_and_repaired(
    written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], left: str, damages: list[Any]
) -> None:
    folder = shutil.copytree(written, tmp_path / "redis")
    for each in damages:
        damage(folder, *each)
    before = files(folder)
    server = OpenServer(folder, "127.0.0.1", free_port())
    server.start()
    with redis.Redis.from_url(server.url, decode_responses=True) as client:

        def is_loaded() -> bool:
            if not server.is_alive:  # it had answered while it was loading
                server.start()
            with suppress(redis.RedisError):
                return bool(client.ping())
            return False

        wait_until(is_loaded)
        assert set(client.keys()) == set(left.split())
    server.stop()
    assert files(folder / append_only_file.COPY) == before
    assert capsys.readouterr().err.count("was damaged") == 1


def test_debians_server_is_repaired_by_a_program(written: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(written, tmp_path / "redis")
    sound = files(folder)
    damage(folder, "incr", bytes(4096))
    unit = (Path(__file__).parents[2] / "deploy" / "redis-server.conf").read_text()
    module = unit.partition(" -m ")[2].split()[0]
    command = [sys.executable, "-P", "-m", module, str(folder), find_server() or ""]
    for damages in (1, 0):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stderr.count("was damaged and has been repaired") == damages
        assert files(folder) == sound


def test_what_needs_no_repair_or_cannot_be_repaired_stays(written: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(written, tmp_path / "cut")
    damage(folder, "incr", b"", -9)
    start_server(folder).stop()
    assert not (folder / append_only_file.COPY).exists()
    for content, begin in ((bytes(9), 0), (b"", -9)):
        folder = shutil.copytree(written, tmp_path / f"snapshot{begin}")
        damage(folder, "base", content, begin)
        before = files(folder)
        append_only_file.repair(folder, find_server() or "")
        assert files(folder) == before
        assert not (folder / append_only_file.COPY).exists()


def test_nothing_changes_if_no_copy_can_be_made(written: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(written, tmp_path / "redis")
    damage(folder, "incr", bytes(9))
    before = files(folder)
    (folder / append_only_file.COPY).touch()
    with pytest.raises(FileExistsError):
        append_only_file.repair(folder, find_server() or "")
    assert files(folder) == before
