"""The line of docs/keyspace.md that counts a title with nothing but redis-cli."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import redis

from spotify_logger.storage.bulk import Archive
from tests.browser import skip_or_fail
from tests.cli.conftest import play, write

DOCUMENT = Path(__file__).parents[1] / "docs" / "keyspace.md"


@pytest.mark.parametrize(("title", "count"), [("veridis QUO", 2), ("Superheroes", 1), ("Quo", 0)])
@pytest.mark.parametrize("prefix", ["", "music:anna:"])
def test_it_counts_what_was_heard_for_half_a_minute(
    redis_url: str, prefix: str, title: str, count: int
) -> None:
    if not shutil.which("redis-cli"):
        skip_or_fail("no redis-cli on this machine")
    day = 86_400
    with closing(Archive(redis_url, prefix)) as store, redis.Redis.from_url(redis_url) as client:
        write(
            store,
            play("Veridis Quo", 1_790_000_000, 30_000, "trackdone"),
            play("Veridis Quo", 1_790_000_000 + day, 345_000),
            play("Veridis Quo", 1_790_000_100 + day, 29_999),
            play("Superheroes", 1_790_000_000 + 2 * day),
        )
        client.hset(f"{prefix}track:nameless", "uri", "spotify:track:nameless")
    (line,) = re.findall(r"^redis-cli eval .*$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    program, *words, _, _ = shlex.split(line)
    command = [program, "-u", redis_url, *words, prefix, title]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{count}\n"
