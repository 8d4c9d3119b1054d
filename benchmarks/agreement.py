"""Do the log and Spotify's own account agree? In virtual time, with listeners made of chance.

Each is logged, and Spotify's export of the same listening is imported on top; every second logger is down for
a while:

    python benchmarks/agreement.py [--listeners 2000] [--hours 1]

Of what the logger has, nothing may be new, doubled or lost. What it could not see is new, and what it has
backfilled is improved.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from contextlib import redirect_stderr
from pathlib import Path

from spotify_logger.simulator.demo import start_server
from tests.testbed.agreement import agree


def main() -> None:
    """Log and import one listener after the other, and print the sums."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--listeners", type=int, default=2000, help="default: %(default)s")
    what = "random seed of the first one (default: %(default)s)"
    parser.add_argument("--first", type=int, default=0, help=what)
    parser.add_argument("--hours", type=float, default=1.0, help="hours of each (default: %(default)g)")
    options = parser.parse_args()
    sums: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        server, _ = start_server(Path(folder))
        try:
            for seed in range(options.first, options.first + options.listeners):
                with tempfile.TemporaryDirectory(dir=folder) as state, redirect_stderr(None):
                    found = agree(seed, options.hours, Path(state), server.url, f"{seed}:")
                sums.update(found.counts)
                sums["missed by the logger"] += len(found.compared(found.logged).missed)
                for error in found.errors():
                    sums["errors"] += 1
                    print(f"listener {seed}: {error}", flush=True)
        finally:
            server.stop()
    for name, count in sums.items():
        if count:
            print(f"{count:>9,} {name}")


if __name__ == "__main__":
    main()
