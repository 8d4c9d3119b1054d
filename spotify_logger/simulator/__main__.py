"""`python -m spotify_logger.simulator`: serve a simulated Spotify on a loopback port."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from dataclasses import replace

from spotify_logger.simulator.accounts import DEMO_CLIENT_ID, DEMO_CLIENT_SECRET, DEMO_REFRESH_TOKEN, AppLogin
from spotify_logger.simulator.demo_catalog import make_demo_catalog
from spotify_logger.simulator.habits import Habits
from spotify_logger.simulator.listener import listen
from spotify_logger.simulator.server import SimulatorServer
from spotify_logger.simulator.service import Service

MAX_PACE = 100.0
MAX_DAYS = 1000.0
"""Days; the whole history is generated before the server starts."""


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, and return 0; return 1 if the port cannot be used."""
    options = _parse(argv)
    stopping = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stopping)  # before any thread starts: threads inherit it
    try:
        server = SimulatorServer(_service(options), options.port)
    except (OSError, OverflowError) as error:
        print(f"cannot listen on port {options.port}: {error}", file=sys.stderr)  # noqa: T201 - a command prints
        return 1
    threading.Thread(target=server.serve_forever, name="simulator", daemon=True).start()
    print(f"listening on {server.url}", flush=True)  # noqa: T201 - a command prints
    signal.sigwait(stopping)
    server.shutdown()
    server.server_close()
    return 0


def _service(options: argparse.Namespace) -> Service:
    """Generate a history that begins now, and return the service that plays it."""
    habits = Habits() if options.pace == 1 else Habits.dense(options.pace)
    catalog = make_demo_catalog(options.seed) if options.favourites else None
    if catalog:
        habits = replace(habits, audiobook=0.0)
    record = listen(options.seed, options.days, habits, catalog=catalog).moved(time.time(), options.pace)
    login = AppLogin(options.client_id, options.client_secret, options.refresh_token)
    return Service(record, seed=options.seed, login=login, rotating=options.rotate)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m spotify_logger.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="TCP port (default: 0, any free one)")
    parser.add_argument(
        "--seed", type=int, default=1, help="random seed; the same seed gives the same listener (default: 1)"
    )
    parser.add_argument(
        "--pace", type=float, default=1.0, help="speed, as a multiple of real time (default: 1)"
    )
    parser.add_argument("--days", type=float, default=7.0, help="days of listening to simulate (default: 7)")
    parser.add_argument(
        "--favourites",
        action="store_true",
        help="play one person's taste in music instead of a catalog full of edge cases",
    )
    parser.add_argument("--client-id", default=DEMO_CLIENT_ID, help="the client ID to accept")
    parser.add_argument("--client-secret", default=DEMO_CLIENT_SECRET, help="the client secret to accept")
    parser.add_argument(
        "--refresh-token", default=DEMO_REFRESH_TOKEN, help="a refresh token that is valid from the start"
    )
    parser.add_argument("--rotate", action="store_true", help="rotate the refresh token with every refresh")
    options = parser.parse_args(argv)
    if not (0 < options.pace <= MAX_PACE and 0 < options.days <= MAX_DAYS):
        parser.error(f"--pace may be at most {MAX_PACE:g}, and --days at most {MAX_DAYS:g}")
    return options


if __name__ == "__main__":
    raise SystemExit(main())
