"""How fast are the answers, and how large is the log? Every query, on a server with up to a million plays.

    python benchmarks/answers.py [--plays 100000 1000000]

The plays are made up, and written as the logger writes them. Each question is answered in a process of its
own: "alone" is the answer without the start of the command, "whole" is `spotify-logger ...` from start to
end, and "memory" is the peak of such a process. For comparison, a plain client reads the hash of every play.
Everything runs over loopback.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import redis

from spotify_logger.core.batched import batched
from spotify_logger.core.redis_keys import day_of, index_key, play_key
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.embedded_server import EmbeddedServer
from tests.testbed.synthetic_history import SyntheticHistory

PORT = 7919
YEARS = 20.0
UNTIL = 1_793_491_200
"""1 November 2026."""
TRACKS_PER_PLAY = 0.06
PLAYS_PER_BATCH = 500
RUNS = 3
"""Runs of each question; the fastest one counts, since the others had to wait for other processes."""
QUESTIONS = (
    "top tracks",
    "top tracks --year 2025",
    "top artists",
    "top artists --year 2025",
    "top albums --year 2025",
    "count amber harbour",
    "count amber harbour --year 2025",
    "stats",
    "stats --year 2025",
    "recent -n 50",
    "day 2025-06-01",
    "clock --year 2025",
    "calendar --year 2025",
    "year 2025",
    "artist quiet signal 0",
)


def fill(server: EmbeddedServer, plays: int, until: float = UNTIL) -> dict[str, float]:
    """Write a history as the logger writes it, and return the bytes per play of each part of it."""
    client = redis.Redis.from_url(server.url)
    store = Archive(server.url)
    archive = store
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
    sizes["catalogue"] = used(client)
    for batch in batched(history.live(), PLAYS_PER_BATCH):
        archive.write([("HSET", play_key(play.second), *_flat(play.to_hash())) for play in batch])
    sizes["plays"] = used(client)
    store.close()
    client.close()
    steps = list(sizes.items())
    return {name: (size - before) / plays for (_, before), (name, size) in pairwise(steps)}


def _flat(fields: dict[str, str | int]) -> list[str | int]:
    return [part for pair in fields.items() for part in pair]


def used(client: redis.Redis) -> int:
    """Return the bytes that the data of the server takes."""
    return int(client.info("memory")["used_memory"])


def command(question: str, url: str) -> tuple[float, float, float]:
    """Return the seconds of the answer alone and of the whole command, and its peak memory in megabytes."""
    alone, whole, memory = 1e9, 1e9, 0.0
    environment = {**os.environ, "REDIS_URL": url}
    program = [sys.executable, "-P", "-m", "spotify_logger", *question.split()]
    for _ in range(RUNS):
        begun = time.perf_counter()
        subprocess.run(program, env=environment, check=True, stdout=subprocess.DEVNULL)
        whole = min(whole, time.perf_counter() - begun)
        measured = subprocess.run(
            [sys.executable, __file__, "--ask", question], env=environment, check=True, capture_output=True
        )
        seconds, megabytes = map(float, measured.stdout.split())
        alone, memory = min(alone, seconds), max(memory, megabytes)
    return alone, whole, memory


def ask(question: str) -> tuple[float, float]:
    """Return the seconds of an answer over an open connection, and the peak memory in megabytes."""
    from spotify_logger.cli import arguments  # noqa: PLC0415 - the same
    from spotify_logger.config.settings import load  # noqa: PLC0415 - only this process needs it
    from spotify_logger.queries import dispatch  # noqa: PLC0415 - the same

    settings = load(Path.cwd(), os.environ, need_login=False)
    options = arguments.parse(question.split())
    store = Archive(settings.redis_url, settings.redis_prefix)
    dispatch.answer(options, store, settings)  # warm up
    begun = time.perf_counter()
    dispatch.answer(options, store, settings)
    return time.perf_counter() - begun, peak_memory(os.getpid())


def peak_memory(pid: int) -> float:
    """Return the peak memory of a process so far, in megabytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def plain(url: str) -> tuple[float, float]:
    """Count the most played tracks from the hashes; return the seconds, and the peak memory in megabytes."""
    begun = time.perf_counter()
    program = (
        "import redis, sys\nfrom collections import Counter\n"
        "client = redis.Redis.from_url(sys.argv[1], decode_responses=True)\n"
        "found, keys = Counter(), []\n"
        "def take():\n"
        "    pipe = client.pipeline(transaction=False)\n"
        "    for key in keys: pipe.hgetall(key)\n"
        "    for play in pipe.execute():\n"
        "        if int(play['ms_played']) >= 30000: found[play['id']] += 1\n"
        "for key in client.scan_iter('listening:*', count=1000):\n"
        "    keys.append(key)\n"
        "    if len(keys) == 1000: take(); keys.clear()\n"
        "take()\nassert found.most_common(10)\n"
        "print(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])\n"
    )
    measured = subprocess.run([sys.executable, "-c", program, url], check=True, capture_output=True)
    return time.perf_counter() - begun, int(measured.stdout) / 1024


def measure(plays: int) -> None:
    """Fill a server, ask all questions, and print the measurements."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(folder, "127.0.0.1", PORT)
        server.start()
        try:
            begun = time.perf_counter()
            sizes = fill(server, plays)
            print(f"\n{plays:,} plays, written in {time.perf_counter() - begun:.0f} s; bytes a play:")
            print(", ".join(f"{name} {size:.0f}" for name, size in sizes.items()), end="; ")
            print(f"in all {sum(sizes.values()):.0f}, {sum(sizes.values()) * plays / 1e6:,.0f} MB")
            seconds, memory = plain(server.url)
            print(f"{'':34}{'alone':>10}{'whole':>10}{'memory':>10}")
            print(f"{'top tracks, the plain way':<34}{'':>10}{seconds:>8.2f} s{memory:>7.0f} MB")
            for question in QUESTIONS:
                alone, whole, most = command(question, server.url)
                print(f"{question:<34}{alone:>8.2f} s{whole:>8.2f} s{most:>7.0f} MB")
        finally:
            server.stop()


def main() -> None:
    """Measure, or run as one of the measured processes (--ask)."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--plays",
        type=int,
        nargs="+",
        default=[100_000, 1_000_000],
        help="numbers of plays (default: 100000 1000000)",
    )
    parser.add_argument("--ask", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask:
        print(*ask(options.ask))
        return
    for plays in options.plays:
        measure(plays)


if __name__ == "__main__":
    main()
