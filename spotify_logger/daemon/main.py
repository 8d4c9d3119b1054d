"""The logger process: settings, lock, signals, and the poll loop."""

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from spotify_logger.config.settings import Settings, load
from spotify_logger.daemon.failover import Failover
from spotify_logger.daemon.poller import DEFAULT_TIMINGS, DaemonTimings, Environment, Poller
from spotify_logger.spotify.http import HttpSender
from spotify_logger.supervisor.heartbeat import HeartbeatPipe
from spotify_logger.system import log
from spotify_logger.system.clock import Clock
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError


class StopSignal:
    """Notes signals that ask the process to stop; `wake_fd` becomes readable then, to end a sleep."""

    def __init__(self) -> None:
        self.wake_fd, write_fd = os.pipe()
        for descriptor in (self.wake_fd, write_fd):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        self.is_requested = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._request)

    def _request(self, *_: object) -> None:
        self.is_requested = True


def run(
    logger: Failover | Poller,
    clock: Clock,
    heartbeat_pipe: HeartbeatPipe,
    is_stopping: Callable[[], bool],
    max_turn: float,
) -> None:
    """Run one turn after another until asked to stop."""
    heartbeat_pipe.beat(max_turn, "trouble", "waiting for the first answer from Spotify")
    while not is_stopping():
        turn = logger.turn()
        left = turn.due - clock.monotonic()
        heartbeat_pipe.beat(max(0.0, left) + max_turn, "ok" if turn.ok else "trouble", turn.words)
        while not is_stopping() and (left := turn.due - clock.monotonic()) > 0:
            clock.sleep(left)


def main(arguments: Sequence[str], timings: DaemonTimings = DEFAULT_TIMINGS) -> int:
    """Run the logger process; return 0 if asked to stop, 78 if misconfigured, 1 if another one runs."""
    if arguments:
        from argparse import ArgumentParser  # noqa: PLC0415 - memory: seldom needed

        what = "Poll Spotify, and log plays to Redis. run.py runs this; the settings are in docs/settings.md."
        ArgumentParser("log.py", description=what).parse_args(arguments)  # only knows --help
    stop = StopSignal()
    try:
        _run_logger(load(Path.cwd(), os.environ), stop, timings)
    except SpotifyLoggerError as error:
        log.error(str(error))
        return os.EX_CONFIG if isinstance(error, Misconfigured) else 1
    return os.EX_OK


def _run_logger(settings: Settings, stop: StopSignal, timings: DaemonTimings) -> None:
    heartbeat_pipe = HeartbeatPipe.from_environment(os.environ)
    with ExitStack() as resources:
        if not heartbeat_pipe.is_supervised:
            from spotify_logger.daemon import standalone  # noqa: PLC0415 - start-up time: `run.py` does it

            standalone.prepare(settings, timings.orphan_timeout, resources)
        clock = Clock(stop.wake_fd)
        send = HttpSender(read_timeout=timings.read_timeout, deadline=timings.request_deadline)
        send_alert = HttpSender(connect_timeout=3.0, read_timeout=4.0, deadline=4.0)  # may be retried
        environment = Environment(clock, send, send_alert, timings=timings)
        failover = Failover(settings, environment, os.uname().nodename)
        for each in (send, send_alert, failover):
            resources.enter_context(closing(each))
        log.info(
            f"polling Spotify every {settings.poll_min:g} to {settings.poll_max:g} s during playback,"
            f" writing to Redis at {failover.poller.store.where}"
        )
        run(failover, clock, heartbeat_pipe, lambda: stop.is_requested, timings.max_turn)
        failover.flush()
        log.info("stopped")
