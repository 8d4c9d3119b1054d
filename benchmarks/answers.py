"""How fast are the answers, and how large is the log? Every question, on a server with up to a million plays.

    python benchmarks/answers.py [--plays 100000 1000000] [--before PYTHON]

The plays are made up, and written as the logger writes them. Each question is answered in a process of its
own: "alone" is the answer without the start of the command, with an index that is up to date; "whole" is
`spotify-logger ...` from start to end, and "memory" is the peak of such a process. "plain" says how many
times as long a client takes that counts the most played tracks from the hashes of the same plays; "before"
how many times as long the whole command of another version takes, whose Python `--before` names. Everything
runs over loopback.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from calendar import isleap
from collections import deque
from contextlib import closing
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import redis

from spotify_logger.core.batched import batched
from spotify_logger.core.redis_keys import day_of, index_key, play_key
from spotify_logger.queries.index import Index
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.embedded_server import EmbeddedServer
from tests.testbed.synthetic_history import SyntheticHistory

if TYPE_CHECKING:
    from collections.abc import Sequence

PORT = 7919
YEARS = 20.0
UNTIL = 1_793_491_200
"""1 November 2026."""
TRACKS_PER_PLAY = 0.06
PLAYS_PER_BATCH = 500
RUNS = 3
"""Runs of each question; the fastest one counts, since the others had to wait for other processes."""
ALL_TIME = (
    "top tracks",
    "top artists",
    "top albums",
    "count amber harbour",
    "stats",
    "clock --since 2000",
    "artist quiet signal 0",
)
ONE_YEAR = (
    "top tracks --year 2025",
    "top artists --year 2025",
    "top albums --year 2025",
    "count amber harbour --year 2025",
    "stats --year 2025",
    "clock --year 2025",
    "calendar --year 2025",
    "artist quiet signal 0 --year 2025",
    "year 2025",
    "recent -n 50",
    "day 2025-06-01",
)
EMPTY = "stats"
"""The question that is asked of an empty log, to measure the start of the command."""
PLAIN = """
import redis, sys, time
from collections import Counter
client = redis.Redis.from_url(sys.argv[1], decode_responses=True)
begun, found, keys, days = time.perf_counter(), Counter(), [], sys.argv[2:]
def take():
    pipe = client.pipeline(transaction=False)
    for key in keys: pipe.hgetall(key)
    for play in pipe.execute():
        if int(play["ms_played"]) >= 30000: found[play["id"]] += 1
    keys.clear()
def of_days():
    for day in days: yield from ("listening:" + second for second in client.hkeys("plays:" + day))
for key in of_days() if days else client.scan_iter("listening:*", count=1000):
    keys.append(key)
    if len(keys) == 1000: take()
take()
assert found.most_common(10)
print(time.perf_counter() - begun)
"""


class Cost(NamedTuple):
    """What an answer takes: seconds, and megabytes of memory at its peak."""

    seconds: float
    memory: float


def fill(server: EmbeddedServer, plays: int, until: float = UNTIL) -> dict[str, float]:
    """Write a history as the logger writes it, and return the bytes per play of each part of it."""
    client = redis.Redis.from_url(server.url)
    archive = Archive(server.url)
    sizes = {"nothing": used(client)}
    history = SyntheticHistory(plays, YEARS, int(plays * TRACKS_PER_PLAY), until)
    items: dict[str, dict[str, str | int]] = {}
    for batch in batched(history.live(), PLAYS_PER_BATCH):
        archive.write(
            [("HSET", index_key(day_of(play.second)), str(play.second), play.index) for play in batch]
        )
        items.update((play.item.key, {**play.item.catalog}) for play in batch)
    sizes["index"] = used(client)
    for keys in batched(items, PLAYS_PER_BATCH):
        archive.write([("HSET", key, *_flat(items[key])) for key in keys])
    sizes["catalog"] = used(client)
    for batch in batched(history.live(), PLAYS_PER_BATCH):
        archive.write([("HSET", play_key(play.second), *_flat(play.to_hash())) for play in batch])
    sizes["plays"] = used(client)
    archive.close()
    client.close()
    steps = list(sizes.items())
    return {name: (size - before) / plays for (_, before), (name, size) in pairwise(steps)}


def _flat(fields: dict[str, str | int]) -> list[str | int]:
    return [part for pair in fields.items() for part in pair]


def used(client: redis.Redis) -> int:
    """Return the bytes that the data of the server takes."""
    return int(client.info("memory")["used_memory"])


def command(python: str, question: str, prefix: str = "") -> float:
    """Return the seconds of the fastest of some runs of a whole command."""
    environment = {**os.environ, "REDIS_PREFIX": prefix}
    program = [str(Path(python).with_name("spotify-logger")), *question.split()]
    best = 1e9
    for _ in range(RUNS):
        begun = time.perf_counter()
        subprocess.run(program, env=environment, check=False, capture_output=True)
        best = min(best, time.perf_counter() - begun)
    return best


def ask(question: str) -> float:
    """Return the seconds of an answer over an open connection, from an index that is up to date."""
    from spotify_logger.cli.commands import command_parser  # noqa: PLC0415 - the same
    from spotify_logger.cli.main import parse_args  # noqa: PLC0415 - only this process needs it
    from spotify_logger.config.settings import load  # noqa: PLC0415 - the same
    from spotify_logger.queries import dispatch  # noqa: PLC0415 - the same

    settings = load(Path.cwd(), os.environ, need_login=False)
    options = parse_args(command_parser(), question.split())
    with closing(Archive(settings.redis_url, settings.redis_prefix)) as store:
        dispatch.answer(options, store, settings)  # warm up
        best = 1e9
        for _ in range(RUNS):
            begun = time.perf_counter()
            dispatch.answer(options, store, settings)
            best = min(best, time.perf_counter() - begun)
    return best


def sync(store: Archive) -> float:
    """Return the seconds that it takes to bring the index up to date."""
    with closing(Index(store)) as local:
        begun = time.perf_counter()
        local.sync()
        return time.perf_counter() - begun


def peak_memory() -> float:
    """Return the peak memory of this process so far, in megabytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def alone(*arguments: str) -> Cost:
    """Let a process of its own answer a question (--ask) or build the index (--index)."""
    program = [sys.executable, __file__, *arguments]
    words = subprocess.run(program, check=True, capture_output=True).stdout.split()
    return Cost(*map(float, words))


def plain(url: str, days: Sequence[str] = ()) -> float:
    """Count the most played tracks from the hashes, of all days or some; return the seconds."""
    program = [sys.executable, "-c", PLAIN, url, *days]
    return float(subprocess.run(program, check=True, capture_output=True).stdout)


def days_of(year: int) -> list[str]:
    """Return the days of a year, as they are named in Redis."""
    first = date(year, 1, 1)
    return [str(first + timedelta(days)) for days in range(365 + isleap(year))]


def measure(plays: int, before: str) -> None:
    """Fill a server, ask all questions, and print the measurements."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(folder, "127.0.0.1", PORT)
        os.environ.update(REDIS_URL=server.url, XDG_CACHE_HOME=folder)
        server.start()
        try:
            begun = time.perf_counter()
            sizes = fill(server, plays)
            print(f"\n{plays:,} plays, written in {time.perf_counter() - begun:.0f} s; bytes a play:")
            print(", ".join(f"{name} {size:.0f}" for name, size in sizes.items()), end="; ")
            print(f"in all {sum(sizes.values()):.0f}, {sum(sizes.values()) * plays / 1e6:,.0f} MB")
            measure_index(server.url, plays)
            start = command(sys.executable, EMPTY, "empty:")
            print(f"start of the command: {start:.2f} s", end="")
            if before:
                print(f", {start / command(before, EMPTY, 'empty:'):.2f} of before", end="")
            print(f"\n{'':<36}{'alone':>10}{'plain':>8}{'whole':>10}{'before':>8}{'memory':>10}")
            for questions, days in ((ALL_TIME, []), (ONE_YEAR, days_of(2025))):
                measure_questions(questions, plain(server.url, days), before)
        finally:
            server.stop()


def measure_index(url: str, plays: int) -> None:
    """Print how long the first build takes, and a sync afterwards."""
    first = alone("--index")
    print(f"first build: {first.seconds:.2f} s, {first.memory:.0f} MB", end="; ")
    (last,) = deque(SyntheticHistory(plays, YEARS, int(plays * TRACKS_PER_PLAY), UNTIL).live(), 1)
    with closing(Archive(url)) as store:
        time.sleep(12)  # readers trust no revision of the last ten seconds
        sync(store)
        print(f"sync: {sync(store):.3f} s", end="; ")
        changed = []
        for _ in range(RUNS):
            store.write([("HSET", index_key(day_of(last.second)), str(last.second), last.index)])
            changed.append(sync(store))
        print(f"when a day changed: {min(changed):.3f} s")


def measure_questions(questions: Sequence[str], plain_seconds: float, before: str) -> None:
    """Print what each question takes."""
    print(f"{'top tracks, the plain way':<36}{plain_seconds:>8.2f} s")
    for question in questions:
        answer, whole = alone("--ask", question), command(sys.executable, question)
        times = f"{command(before, question) / whole:.1f}" if before else ""
        print(f"{question:<36}{answer.seconds:>8.3f} s{plain_seconds / answer.seconds:>8.0f}", end="")
        print(f"{whole:>8.2f} s{times:>8}{answer.memory:>7.0f} MB", flush=True)


def main() -> None:
    """Measure, or run as one of the measured processes (--ask, --index)."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--plays",
        type=int,
        nargs="+",
        default=[100_000, 1_000_000],
        help="numbers of plays (default: 100000 1000000)",
    )
    parser.add_argument("--before", default="", help="the Python of an environment with another version")
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    parser.add_argument("--index", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        print(ask(options.ask), peak_memory())
    elif options.index:
        with closing(Archive(os.environ["REDIS_URL"])) as store:
            print(sync(store), peak_memory())
    else:
        for plays in options.plays:
            measure(plays, options.before)


if __name__ == "__main__":
    main()
