"""The lines of the documentation that are about Debian's redis-server, as it is on this machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis

from spotify_logger.core.redis_keys import REVISIONS
from spotify_logger.core.times import to_iso
from spotify_logger.simulator.logged_history import make_logged_history
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.embedded_server import EmbeddedServer, bound_to_parent
from tests.conftest import start_server, wait_until
from tests.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs"
GAP = 1_700_000_000


@pytest.fixture
def debian(tmp_path: Path) -> Iterator[RedisServer]:
    """Debian's server, which is not running yet."""
    program, cli = shutil.which("redis-server"), shutil.which("redis-cli")
    if program is None or cli is None:
        missing = "no redis-server and redis-cli on this machine"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    server = RedisServer(program, tmp_path / "debian")
    yield server
    server.stop()


def content(url: str) -> dict[str, Any]:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return {
            key: client.hgetall(key)
            for key in client.scan_iter()
            if client.type(key) == "hash" and key != REVISIONS
        }


def test_the_documented_commands_move_all_keys_to_debian_server(tmp_path: Path, debian: RedisServer) -> None:
    ours = start_server(tmp_path / "redis", EmbeddedServer)
    store = Archive(ours.url)
    make_logged_history(4, 3, time.time() - 900).write(store)
    store.close()
    with redis.Redis.from_url(ours.url) as client:
        began, ended = to_iso(GAP * 1000), to_iso(GAP * 1000 + 999_000)
        client.hset(f"gap:{GAP}", mapping={"from": began, "to": ended, "reason": "offline"})
        client.hset("gaps", mapping={str(GAP): f"{GAP + 999} offline"})
        client.hset("forgotten", mapping={"1600000000": "1600000100", "1600000200": "1600000300"})
    before = content(ours.url)

    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "redis-cli").write_text(f'#!/bin/sh\nexec {shutil.which("redis-cli")} -u $REDIS_URL "$@"\n')
    (bin_folder / "redis-cli").chmod(0o755)
    text = (DOCS / "debian-redis.md").read_text(encoding="utf-8")
    lines = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)[0].splitlines()
    url = ours.url
    for line in lines:
        if line == "sudo systemctl stop spotify-logger":
            ours.stop()
        elif line == "sudo apt install redis-server":
            debian.start()
            url = f"redis://127.0.0.1:{debian.port}/0"
        elif not line.startswith("sudo systemctl "):
            command = line.removeprefix("sudo ")
            own = Path(sys.executable).parent  # the command is linked there
            environ = {
                "PATH": f"{bin_folder}:{own}:{os.environ['PATH']}",
                "HOME": str(tmp_path),
                "REDIS_URL": url,
            }
            environ["STATE_DIR"] = str(tmp_path)
            subprocess.run(["sh", "-ec", command], cwd=tmp_path, env=environ, check=True, timeout=100)
    assert len(before) > 20
    assert content(url) == before


def test_the_documented_user_line_makes_it_strict(tmp_path: Path, debian: RedisServer) -> None:
    text = (DOCS / "SECURITY.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ *(user default .*)$", text, re.MULTILINE)
    configuration = tmp_path / "redis.conf"
    configuration.write_text(
        f"bind 127.0.0.1\nport {debian.port}\ndir {tmp_path}\nsave 3600 1\n{line}\n", encoding="utf-8"
    )
    debian.process = subprocess.Popen(
        bound_to_parent([debian.program, str(configuration)]), stdout=subprocess.DEVNULL
    )
    wait_until(debian.answers)
    client = debian.client
    client.hset("listening:1", mapping={"name": "Veridis Quo"})
    assert client.keys() == ["listening:1"]
    assert client.config_get("save") == {"save": "3600 1"}
    for command in ("flushall", "config set appendonly no", "shutdown nosave", "replicaof 127.0.0.1 1"):
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command.split())
