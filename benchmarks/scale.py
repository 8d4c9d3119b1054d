"""How far does it go? Many listeners on one machine and one Redis, and a cluster with many millions of plays.

    python benchmarks/scale.py listeners [--for SECONDS] [1 5 50]
    python benchmarks/scale.py keys [--plays 10000000]

`listeners` runs the real thing for each: `run.py` with `log.py` under it, at the usual pace, against a
simulated Spotify behind HTTPS whose listener never stops. `keys` writes plays as the logger does into three
masters, which keep nothing on a disk, and tells what a hundred million would take. Linux only.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
from footprint import TRUSTED, make_certificate, mapped, processor_seconds, start_simulator

from spotify_logger import embedded
from spotify_logger.answers.top import top
from spotify_logger.demo import start_server
from spotify_logger.errors import Misconfigured, SpotifyLoggerError
from spotify_logger.keyspace import day_of, index_key, play_key
from spotify_logger.plays import TRACKDONE, to_iso
from spotify_logger.questions import Question
from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, DEMO_REFRESH_TOKEN
from spotify_logger.simulator.service import PLAYER_PATH
from spotify_logger.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from spotify_logger.archive import Archive
    from spotify_logger.link import Command

ROOT = Path(__file__).resolve().parents[1]
SETTLED = 30.0
"""Seconds after which everybody has started, and asks at the usual pace."""
PATIENCE = 600.0
PI_MEMORY = 1024 - 250
"""Megabytes of a Pi 3 that Debian and Redis leave."""
APP_LISTENERS = 5
"""Listeners that an app in development mode may have (developer.spotify.com, since February 2026)."""

EACH = 200_000
"""Plays of a listener: eighteen years of thirty a day."""
FIRST = 1_230_768_000  # 2009-01-01
SPACING = 2900
"""Seconds between two plays: thirty a day."""
TRACKS = 20_000
"""Different tracks that a listener hears."""
TOGETHER = 500
"""Plays that are written in one go."""
SLOTS = 16384
TARGET = 100_000_000
MEGABYTE = 1 << 20


# Listeners


class Figures(NamedTuple):
    """What so many listeners take, while all of them listen."""

    memory: float
    supervisor: float
    loop: float
    processor: float
    polls: float
    operations: float
    redis_memory: float
    redis_processor: float


def listeners(count: int, seconds: float) -> Figures:
    """Let so many loggers work for some seconds, and see what they take."""
    with ExitStack() as resources:
        folder = Path(tempfile.mkdtemp(prefix="spotify-logger-scale-"))
        resources.callback(shutil.rmtree, folder, ignore_errors=True)
        server, _ = start_server(folder / "redis")
        resources.callback(server.stop)
        service, spotify = start_simulator(resources, make_certificate(folder))
        names = [f"listener{number}" for number in range(count)]
        supervisors = [start_logger(resources, folder, name, spotify, server.url) for name in names]
        loops = [wait_for(Store(server.url, f"{name}:")) for name in names]
        time.sleep(SETTLED)
        pids = [*supervisors, *loops]
        client = redis.Redis.from_url(server.url)
        resources.callback(client.close)

        def now() -> tuple[float, int, int, float]:
            polls = sum(service.requests[PLAYER_PATH, status] for status in ("200", "204"))
            operations = int(client.info("stats")["total_commands_processed"])
            return sum(map(processor_seconds, pids)), polls, operations, processor_seconds(server.pid or 0)

        before, began = now(), time.monotonic()
        time.sleep(seconds)
        after, took = now(), time.monotonic() - began
        used, polls, operations, redis_used = (b - a for a, b in zip(before, after, strict=True))
        return Figures(
            sum(mapped(pid, "Pss") for pid in pids),
            sum(mapped(pid, "Rss") for pid in supervisors) / count,
            sum(mapped(pid, "Rss") for pid in loops) / count,
            used / took,
            polls / took,
            operations / took,
            int(client.info("memory")["used_memory"]) / MEGABYTE,
            redis_used / took,
        )


def start_logger(resources: ExitStack, folder: Path, name: str, spotify: str, redis_url: str) -> int:
    """Start the logger of a listener, and give the process id of its supervisor."""
    home = folder / f"home of {name}"
    home.mkdir()
    for file in ("run.py", "log.py"):
        shutil.copy(ROOT / file, home)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": str(ROOT),
        "REQUESTS_CA_BUNDLE": str(folder / TRUSTED),
        "SPOTIFY_CLIENT_ID": DEMO_CLIENT_ID,
        "SPOTIFY_CLIENT_SECRET": DEMO_CLIENT_SECRET,
        "SPOTIFY_REFRESH_TOKEN": DEMO_REFRESH_TOKEN,
        "SPOTIFY_API_URL": spotify,
        "SPOTIFY_ACCOUNTS_URL": spotify,
        "STATE_DIR": str(folder / "state"),
        "LISTENER": name,
        "REDIS_URL": redis_url,
    }
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            embedded.bound_to_parent([sys.executable, str(home / "run.py")]),
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    resources.enter_context(process)  # waits for it
    resources.callback(process.terminate)
    return process.pid


def wait_for(store: Store) -> int:
    """Wait for the first poll of a logger, and give its process id."""
    deadline = time.monotonic() + PATIENCE
    while "last_poll" not in (status := store.read_status()):
        if time.monotonic() > deadline:
            raise SpotifyLoggerError("a logger does not get on")
        time.sleep(0.2)
    store.close()
    return int(status["pid"])


def tell_listeners(counts: list[int], seconds: float) -> None:
    """Print what each number of listeners takes, and where that ends."""
    print(f"{'listeners':<46}" + "".join(f"{count:>12}" for count in counts))
    found = [listeners(count, seconds) for count in counts]
    lines = {
        "memory of all (PSS), MB": [each.memory for each in found],
        "  of each further one": [
            (each.memory - found[0].memory) / max(1, count - counts[0])
            for each, count in zip(found, counts, strict=True)
        ],
        "resident: each run.py, MB": [each.supervisor for each in found],
        "resident: each log.py, MB": [each.loop for each in found],
        "processor time of all, % of one": [100 * each.processor for each in found],
        "requests to Spotify per second": [each.polls for each in found],
        "processor time per request, ms": [1000 * each.processor / each.polls for each in found],
        "Redis: operations per second": [each.operations for each in found],
        "Redis: processor time, % of one": [100 * each.redis_processor for each in found],
        "Redis: memory, MB": [each.redis_memory for each in found],
    }
    for name, values in lines.items():
        print(f"{name:<46}" + "".join(f"{value:>12.2f}" for value in values))
    further, processor = lines["  of each further one"][-1], found[-1].processor / counts[-1]
    if further:
        print(f"\nThe first limit: an app in development mode has {APP_LISTENERS} listeners.")
        print(f"Then memory: {PI_MEMORY / further:.0f} listeners in the {PI_MEMORY} MB that a Pi 3 has left.")
        print(f"Then the processor: {1 / processor:.0f} listeners keep one as fast as this one busy.")


# Keys


def start_cluster(resources: ExitStack, folder: Path) -> list[Any]:
    """Start three masters, and give a client for each."""
    program = embedded.find_server()
    if program is None:
        raise Misconfigured(embedded.NO_SERVER)
    ports = [(free_port(), free_port()) for _ in range(3)]
    clients: list[Any] = []
    for port, bus in ports:
        home = folder / f"{port}"
        home.mkdir()
        words = f"--port {port} --cluster-port {bus} --cluster-enabled yes --bind 127.0.0.1 --dir {home}"
        more = "--hash-max-ziplist-value 1024 --hash-max-ziplist-entries 1024 --logfile log"
        process = subprocess.Popen(
            embedded.bound_to_parent([program, *words.split(), *more.split(), "--save", ""])
        )
        resources.enter_context(process)
        resources.callback(process.kill)
        clients.append(redis.Redis(host="127.0.0.1", port=port))
    for number, client in enumerate(clients):
        until(partial(answers, client))
        first, last = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        if number:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", *ports[0])
    for client in clients:
        until(partial(is_whole, client))
    return clients


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def until(condition: Callable[[], bool]) -> None:
    """Wait for something."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise SpotifyLoggerError("the cluster does not come about")
        time.sleep(0.1)


def answers(client: Any) -> bool:  # noqa: ANN401 - redis-py's types are of little use
    """Whether a server has started."""
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def is_whole(client: Any) -> bool:  # noqa: ANN401 - see above
    """Whether a master knows all others, and what they have."""
    state = client.cluster("info")
    return bool(state["cluster_state"] == "ok" and int(state["cluster_known_nodes"]) == 3)


def write(url: str, listener: int, plays: int) -> None:
    """Write the plays of a listener as the logger writes them when they are over."""
    chance = random.Random(listener)  # noqa: S311 - nothing is secret
    store = Store(url, f"{listener}:")
    archive = store.archive()
    commands: list[Command] = [
        ("HSET", archive.key(f"track:{identity(number)}"), *flat(catalogue(number)))
        for number in range(TRACKS)
    ]
    for number in range(plays):
        commands += play(archive, FIRST + number * SPACING + chance.randrange(SPACING // 2), chance)
        if len(commands) >= 2 * TOGETHER:
            archive.write(commands)
            commands.clear()
    archive.write(commands)
    with store.batch() as batch:
        batch.write_status({"last_play": play_key(FIRST + plays * SPACING)})
    store.close()


def identity(number: int) -> str:
    """The id of a track, as long as Spotify's."""
    return f"{number:06d}sDGJyVqL3C2h0sG2"


def catalogue(number: int) -> dict[str, str | int]:
    """What is known of a track."""
    return {
        "uri": f"spotify:track:{identity(number)}",
        "type": "track",
        "name": f"A Song of the Night, Number {number}",
        "artists": f"The Band of {number // 12} Friends",
        "artist_ids": f"{number // 12:06d}4tZwfgrHOc3mvq",
        "album": f"The Album {number // 10} of Discovery",
        "album_id": f"{number // 10:06d}2noRn2Aes5aoNVsU",
        "isrc": f"GBDUW{number:07d}",
        "duration_ms": 150_000 + number * 7,
        "cover": f"ab67616d0000b273{number:024d}",
    }


def play(archive: Archive, second: int, chance: random.Random) -> list[Command]:
    """The commands that write a play which was heard to its end."""
    number = min(int(chance.expovariate(8 / TRACKS)), TRACKS - 1)
    known = catalogue(number)
    heard = int(known["duration_ms"])
    fields = {
        "id": identity(number),
        **{name: known[name] for name in ("uri", "type", "name", "artists", "album", "duration_ms")},
        "explicit": 0,
        "device_name": "Kitchen",
        "device_type": "Speaker",
        "device_volume": 40,
        "shuffle_state": 0,
        "repeat_state": "off",
        "context_uri": "spotify:playlist:37i9dQZF1DXcBWIGoYBM5M",
        "timestamp": second * 1000,
        "progress_ms": heard,
        "playing": 1,
        "started_at": to_iso(second * 1000),
        "ended_at": to_iso(second * 1000 + heard),
        "ms_played": heard,
        "source": "live",
        "end_reason": TRACKDONE,
    }
    line = f"track:{identity(number)} {heard} {TRACKDONE}"
    return [
        ("HSET", archive.key(play_key(second)), *flat(fields)),
        ("HSET", archive.key(index_key(day_of(second))), str(second), line),
    ]


def flat(fields: dict[str, str | int]) -> list[str | int]:
    """Names and values, one after the other."""
    return [word for pair in fields.items() for word in pair]


def tell_keys(plays: int) -> None:
    """Print what many plays take on three masters, and what a hundred million would."""
    with ExitStack() as resources:
        folder = Path(tempfile.mkdtemp(prefix="spotify-logger-scale-"))
        resources.callback(shutil.rmtree, folder, ignore_errors=True)
        clients = start_cluster(resources, folder)
        url = f"redis+cluster://127.0.0.1:{clients[0].connection_pool.connection_kwargs['port']}"
        empty = sum(used_memory(client) for client in clients)
        count = max(1, plays // EACH)
        each = plays // count
        began, first = time.monotonic(), 0.0
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            for number, _ in enumerate(pool.map(write, [url] * count, range(count), [each] * count)):
                if number == 0:
                    first = seconds_of_top(url, 0)
        took = time.monotonic() - began
        used = [used_memory(client) - empty / 3 for client in clients]
        keys = [client.dbsize() for client in clients]
        written = count * each
        a_play = sum(used) / written
        print(
            f"plays                              {written:>14,} of {count} listeners, {TRACKS:,} tracks each"
        )
        print(f"written, by {os.cpu_count()} processes             {written / took:>14,.0f} a second")
        print(f"keys                               {sum(keys):>14,}")
        print(
            f"  on each master                   {' '.join(f'{share / sum(keys):.1%}' for share in keys):>14}"
        )
        print(
            f"memory                             {sum(used) / MEGABYTE:>14,.0f} MB, {a_play:.0f} bytes a play"
        )
        print(
            f"  on each master                   {' '.join(f'{share / sum(used):.1%}' for share in used):>14}"
        )
        print(
            f"top tracks of one listener         {seconds_of_top(url, 0):>14.2f} s; {first:.2f} s when alone"
        )
        whole = TARGET * a_play / (1 << 30)
        print(
            f"\nA hundred million plays: {whole:.0f} GB, {whole / 3:.0f} GB on each of three masters; "
            f"{math.ceil(whole / 24)} masters of 32 GB that are filled to three quarters."
        )
        print(f"The first limit is this memory: {TARGET / EACH:.0f} listeners with {EACH:,} plays each.")


def used_memory(client: Any) -> float:  # noqa: ANN401 - see above
    """Bytes that a server has allocated."""
    return float(client.info("memory")["used_memory"])


def seconds_of_top(url: str, listener: int) -> float:
    """How long one listener waits for what was played most, over all time."""
    store = Store(url, f"{listener}:")
    began = time.monotonic()
    top(store.archive(), Question(time.time()), "tracks")
    store.close()
    return time.monotonic() - began


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    people = commands.add_parser("listeners", help="many listeners on one machine")
    people.add_argument("counts", nargs="*", type=int, default=[1, 5, 50], help="default: 1 5 50")
    people.add_argument("--for", type=float, default=120.0, dest="seconds", help="seconds for each")
    keys = commands.add_parser("keys", help="many plays on three masters")
    keys.add_argument("--plays", type=int, default=10_000_000, help="default: %(default)s")
    options = parser.parse_args()
    try:
        if options.command == "listeners":
            tell_listeners(options.counts, options.seconds)
        else:
            tell_keys(options.plays)
    except SpotifyLoggerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
