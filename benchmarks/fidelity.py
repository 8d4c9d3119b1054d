"""How accurate is the log? It is compared with what simulated listeners heard, in virtual time.

Client, tracker, poll schedule, store and Redis server are real; only Spotify, its listener and time are
simulated. Half of the podcasts that are resumed after an idle hour are resumed while the logger does not run,
which starts within a minute. Each policy gets the same listeners:

    python benchmarks/fidelity.py [--seeds 6] [--days 7] [--policy ours --policy 10 ...]

"ours" polls with the default settings; a number polls at a fixed interval in seconds, as most loggers do (the
first script of this project: every 5 s).
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from contextlib import redirect_stderr
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from spotify_logger.simulator.comparison import Pair, compare
from spotify_logger.simulator.demo import start_server
from tests.testbed.virtual_run import FixedSchedule, VirtualRun, make_settings
from tests.testbed.virtual_time import VirtualWorld, make_virtual_world
from tests.testbed.year import recordings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spotify_logger.simulator.timeline import ListeningHistory, TruePlay
    from spotify_logger.spotify.http import Request, Response

HOUR = 3600
OURS = "ours"
THIRTY_SECONDS_MS = 30_000


@dataclass
class Score:
    """The results of a policy for all listeners."""

    pairs: list[Pair] = field(default_factory=list)
    truth: list[TruePlay] = field(default_factory=list)
    phantoms: int = 0
    duplicates: int = 0
    requests: Counter[bool] = field(default_factory=Counter)
    hours: dict[bool, float] = field(default_factory=lambda: {True: 0.0, False: 0.0})

    def found(self, *, at_least: int = 0, below: int = sys.maxsize) -> str:
        """Return the share of the true plays of a length that are in the log."""
        heard = sum(at_least <= play.ms_played < below for play in self.truth)
        logged = sum(at_least <= pair.truth.ms_played < below for pair in self.pairs)
        return f"{logged / heard:.2%} of {heard}" if heard else "-"

    def hours_found(self) -> float:
        """Return the share of the time heard that is in the log."""
        heard = sum(play.ms_played for play in self.truth)
        return sum(min(pair.truth.ms_played, pair.logged.ms_played) for pair in self.pairs) / heard

    def within(self, milliseconds: int) -> float:
        """Return the share of the logged plays whose `ms_played` is off by no more."""
        return sum(pair.played_error_ms <= milliseconds for pair in self.pairs) / len(self.pairs)

    def per_hour(self, *, playing: bool) -> float:
        """Return the requests per hour in which something played, or nothing did."""
        return self.requests[playing] / self.hours[playing]


class CountingSend:
    """Counts requests by whether something plays."""

    def __init__(self, world: VirtualWorld, counts: Counter[bool]) -> None:
        self._world, self._send, self._counts = world, world.send, counts

    def __call__(self, request: Request) -> Response:
        """See `http.Send`."""
        self._counts[self._world.record.at(self._world.clock.now).playing] += 1
        return self._send(request)


def simulate(score: Score, policy: str, seed: int, days: float, redis_url: str) -> None:
    """Run the logger with one listener, and add the result to the score."""
    world = make_virtual_world(seed, days)
    record = world.record
    send = CountingSend(world, score.requests)
    with tempfile.TemporaryDirectory() as folder:
        settings = make_settings(Path(folder), redis_url, f"{policy}:{seed}:")
        schedule = None if policy == OURS else FixedSchedule(float(policy))
        run = VirtualRun(world, settings, schedule, seed=seed, send=send)
        for begin, end in outages(record, seed):
            run.run_until(begin)
            world.clock.sleep(end - world.clock.now)
            run.start()
        run.run_until(record.end)
        uris = recordings(record)
        logged = [
            replace(play, item=replace(play.item, uri=uris.get(play.item.uri, play.item.uri)))
            for play in run.plays()
        ]
        heard = [replace(play, uri=uris.get(play.uri, play.uri)) for play in record.plays]
        comparison = compare(heard, logged)
        run.close()
    score.pairs += comparison.pairs
    score.truth += record.plays
    score.phantoms += len(comparison.phantoms)
    score.duplicates += len(comparison.duplicates)
    for segment, following in pairwise(record.segments[1:]):
        score.hours[segment.playing] += (following.start - segment.start) / HOUR
    score.hours[False] += (record.end - record.segments[-1].start) / HOUR


def outages(record: ListeningHistory, seed: int) -> Iterator[tuple[float, float]]:
    """Yield from when to when the logger does not run."""
    chance = random.Random(f"outages {seed}")  # noqa: S311 - a simulation
    for before, play in pairwise(record.plays):
        idle = play.started_at - before.ended_at
        is_resumed = play.kind in {"episode", "chapter"} and record.at(play.started_at).position_ms > 0
        if is_resumed and idle > HOUR and chance.random() < 0.5:
            yield play.started_at - chance.uniform(0.1, 0.9) * idle, play.started_at + chance.uniform(5, 60)


def percentile(values: list[float], share: float) -> float:
    """Return the value that `share` of the values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def report(policy: str, score: Score, seconds: float) -> str:
    """Return the results of one policy as a table."""
    starts = [pair.start_error_ms / 1000 for pair in score.pairs]
    heard = [pair.played_error_ms / 1000 for pair in score.pairs]
    name = policy if policy == OURS else f"every {policy} s"
    rows = [
        ("phantom plays", f"{score.phantoms}", "none"),
        ("double or split plays", f"{score.duplicates}", "none"),
        ("plays of 30 s and more found", score.found(at_least=THIRTY_SECONDS_MS), "99.9 %"),
        ("skips, below 30 s, found", score.found(below=THIRTY_SECONDS_MS), ""),
        ("all plays found", score.found(), "98.5 %"),
        ("hours found", f"{score.hours_found():.2%}", "99.7 %"),
        ("error of the start, median", f"{percentile(starts, 0.5):.2f} s", ""),
        ("error of the start, p99", f"{percentile(starts, 0.99):.2f} s", "1 s"),
        ("error of ms_played, median", f"{percentile(heard, 0.5):.2f} s", ""),
        ("error of ms_played, p99", f"{percentile(heard, 0.99):.2f} s", ""),
        ("ms_played within 1 s", f"{score.within(1000):.2%}", "97 %"),
        ("ms_played within 5 s", f"{score.within(5000):.2%}", "99 %"),
        ("requests per listening hour", f"{score.per_hour(playing=True):.0f}", "195"),
        ("requests per idle hour", f"{score.per_hour(playing=False):.0f}", "75"),
    ]
    lines = [f"{name} ({seconds:.0f} s)"]
    lines += [f"  {what:<30}{figure:>18}{'   aim ' + aim if aim else ''}" for what, figure, aim in rows]
    return "\n".join(lines)


def main() -> None:
    """Run the policies one after another."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=6, help="number of listeners (default: %(default)s)")
    parser.add_argument(
        "--first-seed", type=int, default=0, help="random seed of the first one (default: %(default)s)"
    )
    parser.add_argument(
        "--days", type=float, default=7.0, help="days that each listener is simulated (default: %(default)g)"
    )
    parser.add_argument(
        "--policy", action="append", help='"ours", or an interval in seconds (default: ours, 5, 10 and 30)'
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(None):
        server, _ = start_server(Path(folder))
        try:
            for policy in options.policy or [OURS, "5", "10", "30"]:
                begun, score = time.monotonic(), Score()
                for seed in range(options.first_seed, options.first_seed + options.seeds):
                    simulate(score, policy, seed, options.days, server.url)
                print(report(policy, score, time.monotonic() - begun), flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
