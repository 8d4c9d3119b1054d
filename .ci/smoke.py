"""Run the demo, check the plays in its Redis server, and check that it leaves nothing behind.

    smoke.py COMMAND

COMMAND is a shell command line that runs the demo for a limited time. The exit code is 0 if every play that
the demo announces is in the server as described in docs/keyspace.md, no play is missing, and neither a
process nor a file is left.
"""
# ruff: noqa: INP001, T201 - a script that prints

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import redis

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PATIENCE = 300
"""Seconds after which the demo counts as hung; they include its installation."""
FEWEST = 2
"""Plays that end within twenty seconds even on a slow machine."""
NEXT_FREE = 10
"""Seconds after its start within which the second in the key of a play lies; earlier ones may be taken."""
CLOCK_SLACK_MS = 50
"""Milliseconds by which two stamps may differ because they come from different readings of the clock."""

ALWAYS = frozenset(
    {
        *("uri", "type", "name", "device_name", "device_type", "shuffle_state", "repeat_state", "timestamp"),
        *("progress_ms", "playing", "started_at", "ended_at", "ms_played", "end_reason", "source"),
    }
)
"""The fields that every ended play has if Spotify provides everything."""
SOMETIMES = frozenset({"id", "artists", "album", "duration_ms", "explicit", "device_volume", "context_uri"})
"""Fields that depend on the item, the device and the context."""
IN_CATALOG = frozenset({"uri", "type", "name"})

ADDRESS = re.compile(r"Redis at 127\.0\.0\.1:(\d+)")
PLAY = re.compile(r"listening:(\d+) is in Redis")
SUMMARY = re.compile(
    r"Plays heard: (\d+), plays logged: (\d+) \((\d+) of them still open\), requests made: (\d+)"
)


class Failure(Exception):  # noqa: N818 - not an error of this script
    """A check has failed."""


def main(command: str) -> int:
    """Run the demo, print the result, and return the exit code."""
    signal.alarm(PATIENCE)
    try:
        with tempfile.TemporaryDirectory(prefix="smoke-") as folder:
            port, plays, logged = watch(run(command, folder))
            expect(len(plays) >= FEWEST, f"only {len(plays)} plays ended")
            expect(logged >= len(plays), f"{len(plays)} plays ended, but only {logged} were logged")
            check_nothing_remains(port, Path(folder))
    except (Failure, redis.RedisError) as failure:
        print(f"the demo has failed: {failure}")
        return 1
    print(f"the demo works: {len(plays)} plays checked, {logged} logged, nothing left behind")
    return 0


def expect(condition: object, otherwise: str) -> None:
    """Check a condition.

    Raises:
        Failure: It is false; `otherwise` is the message.
    """
    if not condition:
        raise Failure(otherwise)


def run(command: str, folder: str) -> Iterator[str]:
    """Run the demo with `folder` for its temporary files; yield its lines, then check its exit code."""
    shell = ["bash", "-euo", "pipefail", "-c", command]
    environment = {**os.environ, "TMPDIR": folder}
    with subprocess.Popen(shell, env=environment, stdout=subprocess.PIPE, text=True) as demo:  # noqa: S603
        for line in demo.stdout or ():
            print(line, end="", flush=True)
            yield line
    expect(demo.returncode == 0, f"exit code {demo.returncode}")


def watch(lines: Iterable[str]) -> tuple[int, set[int], int]:
    """Check each play when the demo announces it.

    Returns:
        The port of the server, the seconds of the plays, and the number of logged plays in the summary.
    """
    port, seen, logged = 0, set[int](), -1
    for line in lines:
        if found := ADDRESS.search(line):
            port = int(found[1])
        elif found := PLAY.search(line):
            with redis.Redis(port=port, decode_responses=True, socket_timeout=10) as server:
                check_play(server, int(found[1]))
            seen.add(int(found[1]))
        elif found := SUMMARY.search(line):
            heard, logged, still_open, requests = map(int, found.groups())
            expect(heard == logged, f"{heard} plays were heard, {logged} logged")
            expect(still_open <= 1, f"{still_open} plays are still open")
            expect(requests > logged, f"{requests} requests cannot have found {logged} plays")
    expect(logged >= 0, "it ended without a summary")
    return port, seen, logged


def check_play(server: redis.Redis, second: int) -> None:
    """Check that a play's hash, the index of its day, the catalog and the status agree."""
    key = f"listening:{second}"
    play = hash_at(server, key)
    names = play.keys()
    expect(names >= ALWAYS, f"{key} lacks {', '.join(sorted(ALWAYS - names))}")
    expect(names <= ALWAYS | SOMETIMES, f"{key} has {', '.join(sorted(names - ALWAYS - SOMETIMES))}")
    expect(play["source"] == "live", f"{key} comes from {play['source']}")
    expect({play["playing"], play["shuffle_state"]} <= {"0", "1"}, f"{key} has a flag other than 0 and 1")
    started, ended, heard = stamp(play["started_at"]), stamp(play["ended_at"]), int(play["ms_played"])
    expect(0 <= second - started // 1000 < NEXT_FREE, f"{key} started at {play['started_at']}")
    expect(
        0 <= heard <= ended - started + CLOCK_SLACK_MS, f"{key} was heard for {heard} ms, which is too long"
    )

    index = hash_at(server, f"plays:{datetime.fromtimestamp(second, UTC):%Y-%m-%d}")
    line = index.get(str(second), "nothing")
    item = line.partition(" ")[0]
    expected = f"{item} {play['ms_played']} {play.get('end_reason', 'open')}"
    expect(line == expected, f"{key} should have '{expected}' in its index, and has '{line}'")
    catalog = hash_at(server, item)
    expect(catalog.keys() >= IN_CATALOG, f"{item} is not in the catalog")
    expect(catalog["uri"] == play["uri"], f"{key} has {play['uri']}, {item} has {catalog['uri']}")

    status = hash_at(server, "spotify_logger:status")
    last_poll = stamp(status["last_poll"]) + CLOCK_SLACK_MS
    expect(last_poll >= ended, f"the last poll was before the end of {key}")
    expect(int(status["requests_24h"]) > 0, "the status counts no requests")


def hash_at(server: redis.Redis, key: str) -> dict[str, str]:
    """Return a hash, empty if there is none."""
    return cast("dict[str, str]", server.hgetall(key))


def stamp(text: str) -> int:
    """Parse ISO 8601 into milliseconds since the epoch."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def check_nothing_remains(port: int, folder: Path) -> None:
    """Check that server, processes and files are gone."""
    files = [path.name for path in folder.iterdir()]
    expect(not files, f"files remain: {', '.join(files)}")
    processes = [process.name for process in Path("/proc").glob("[0-9]*") if belongs(process, folder)]
    expect(not processes, f"processes remain: {', '.join(processes)}")
    with suppress(redis.ConnectionError), redis.Redis(port=port, socket_timeout=10) as server:
        server.ping()
        expect(condition=False, otherwise="the server still answers")


def belongs(process: Path, folder: Path) -> bool:
    """Return whether a process in /proc refers to the folder in its environment or arguments."""
    with suppress(OSError):  # it has exited
        return any(str(folder).encode() in (process / name).read_bytes() for name in ("environ", "cmdline"))
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
