"""The logger process: settings, lock, signals, and the poll loop."""

import os
import signal
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from spotify_logger.config.settings import Settings, load
from spotify_logger.daemon.failover import Failover
from spotify_logger.daemon.poller import DaemonTimings, Environment, Poller
from spotify_logger.spotify.http import HttpSender
from spotify_logger.supervisor.heartbeat import HeartbeatPipe
from spotify_logger.system import log, program
from spotify_logger.system.clock import Clock
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError


def run(logger: Failover | Poller, clock: Clock, heartbeat_pipe: HeartbeatPipe, max_turn: float) -> None:
    """Run one turn after another until the clock is woken, by a signal that asks to stop."""
    heartbeat_pipe.beat(max_turn, "trouble", "waiting for the first answer from Spotify")
    while not clock.is_woken():
        turn = logger.turn()
        left = turn.due - clock.monotonic()
        heartbeat_pipe.beat(max(0.0, left) + max_turn, "ok" if turn.ok else "trouble", turn.words)
        while not clock.is_woken() and (left := turn.due - clock.monotonic()) > 0:
            clock.sleep(left)


def main(arguments: Sequence[str], timings: DaemonTimings | None = None) -> int:
    """Run the logger process; return 0 if asked to stop, 78 if misconfigured, 1 if another one runs."""
    if arguments:
        from argparse import ArgumentParser  # noqa: PLC0415 - memory: seldom needed

        what = "Poll Spotify, and log plays to Redis. run.py runs this; the settings are in docs/settings.md."
        ArgumentParser("log.py", description=what).parse_args(arguments)  # only knows --help
    clock = Clock(program.catch_signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    try:
        _run_logger(load(Path.cwd(), os.environ), clock, timings or DaemonTimings())
    except SpotifyLoggerError as error:
        log.error(str(error))
        return os.EX_CONFIG if isinstance(error, Misconfigured) else 1
    return os.EX_OK


def _run_logger(settings: Settings, clock: Clock, timings: DaemonTimings) -> None:
    heartbeat_pipe = HeartbeatPipe.from_environment(os.environ)
    with ExitStack() as resources:
        if not heartbeat_pipe.is_supervised:
            from spotify_logger.daemon import preflight  # noqa: PLC0415 - start-up time: `run.py` does it

            preflight.prepare(settings, timings.orphan_timeout, resources)
        send = HttpSender(read_timeout=timings.read_timeout, deadline=timings.request_deadline)
        send_alert = HttpSender(connect_timeout=3.0, read_timeout=4.0, deadline=4.0)  # may be retried
        environment = Environment(clock, send, send_alert, timings=timings)
        failover = Failover(settings, environment, os.uname().nodename)
        for each in (send, send_alert, failover):
            resources.enter_context(closing(each))
        pace = f"every {settings.poll_min:g} to {settings.poll_max:g} s during playback"
        log.info(f"polling Spotify {pace}, writing to Redis at {failover.poller.store.where}")
        run(failover, clock, heartbeat_pipe, timings.max_turn)
        failover.flush()
        log.info("stopped")
