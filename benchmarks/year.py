"""Does it lose a play? A year of listening in virtual time, with more than a thousand faults.

    python benchmarks/year.py [--days 365] [--parts 2] [--seed 1] [--per-day 4] [--redis aof|rdb|none]

All parts of the logger are real; Spotify, the listener, the Redis server, the machine and time are simulated.
Two half-years run side by side, each with a listener and a logger of its own; `--parts 1` is one whole year.
It prints a table, or the first error and what led to it; the same seed reproduces it.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tests.testbed.year import YearFailure, YearResult, YearSimulation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.testbed.fake_redis import Persistence

MEMORY = Path("/dev/shm")  # noqa: S108 - a private folder is created there
"""A file system in memory, if there is one, so that the speed of the disk does not matter."""


class Options(NamedTuple):
    """What to simulate."""

    seed: int
    days: float
    per_day: float
    redis: Persistence


def simulate(options: Options) -> YearResult:
    """Simulate one listener; raises YearFailure if the log is wrong."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    where = MEMORY if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        simulation = YearSimulation(options.seed, options.days, Path(folder), options.per_day, options.redis)
        gc.freeze()  # the true plays of a year are many, and permanent
        gc.set_threshold(50_000, 20, 20)  # and little of what is made from them is garbage in a cycle
        return simulation.run()


def add_up(parts: Sequence[YearResult]) -> YearResult:
    """Return the sums of several results."""
    total = YearResult(faults=sum((part.faults for part in parts), Counter()))
    for each in fields(YearResult):
        if each.name not in {"faults", "close"}:
            setattr(total, each.name, sum(getattr(part, each.name) for part in parts))
    total.close = sum(part.close * part.live for part in parts) / max(1, total.live)
    return total


def table(days: float, total: YearResult, seconds: float) -> str:
    """Return the figures of a simulated year as a table."""
    rows = [
        ("faults", f"{total.faults.total():,}"),
        ("plays heard", f"{total.heard:,}"),
        ("  found by polling", f"{total.live:,}"),
        ("  brought by recently-played", f"{total.repaired:,}"),
        ("  in recorded gaps, never listed", f"{total.in_gaps:,}"),
        ("  over between two answers, never listed", f"{total.in_blinks:,}"),
        ("  started again at once, and one play with the next", f"{total.merged:,}"),
        ("  lost", f"{total.lost:,}"),
        ("plays doubled, or never heard", f"{total.doubled:,}"),
        ("ms_played within 5 s, of those found by polling", f"{total.close:.2%}"),
        ("hours in recorded gaps", f"{total.gap_hours:.1f} in {total.gaps}"),
        ("requests", f"{total.requests:,} ({total.requests / days:.0f} a day)"),
        ("alerts", f"{total.alerts:,}"),
        ("seconds it took", f"{seconds:.0f}"),
    ]
    kinds = ", ".join(f"{count} {name}" for name, count in total.faults.most_common())
    return "\n".join([*(f"{what:<52}{figure:>16}" for what, figure in rows), f"faults: {kinds}"])


def main() -> int:
    """Simulate one listener, and print the result; return 1 if the log is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--days", type=float, default=365.0, help="days to simulate (default: %(default)g)")
    parser.add_argument("--seed", type=int, default=1, help="random seed (default: %(default)s)")
    parser.add_argument(
        "--per-day", type=float, default=4.0, help="average number of faults per day (default: %(default)g)"
    )
    parser.add_argument(
        "--redis",
        choices=("aof", "rdb", "none"),
        default="aof",
        help="persistence of Redis (default: %(default)s)",
    )
    parser.add_argument(
        "--parts", type=int, default=2, help="parts to simulate side by side (default: %(default)s)"
    )
    options = parser.parse_args()
    begun, days = time.monotonic(), options.days / options.parts
    seeds = range(options.seed, options.seed + options.parts)
    with ProcessPoolExecutor(options.parts) as pool:
        jobs = [Options(seed, days, options.per_day, options.redis) for seed in seeds]
        try:
            total = add_up(list(pool.map(simulate, jobs)))
        except YearFailure as wrong:
            print(wrong)
            return 1
    print(table(options.days, total, time.monotonic() - begun))
    return 0


if __name__ == "__main__":
    sys.exit(main())
