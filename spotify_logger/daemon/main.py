"""The logger process: settings, lock, signals, heartbeat, and the poll loop. `log.py` runs it."""

import os
import signal
import sys
import threading
from collections.abc import MutableMapping, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Literal, Self

if __name__ == "__main__":  # for an installed package
    from spotify_logger.config import requirements

    requirements.check("log.py", alert=True, imports=("dotenv", "redis", "requests"))

from spotify_logger.config.settings import Settings, load
from spotify_logger.daemon.failover import Failover
from spotify_logger.daemon.poller import DaemonTimings, Environment, Poller
from spotify_logger.spotify.http import HttpSender
from spotify_logger.system import log, program
from spotify_logger.system.clock import Clock
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError

MAX_STATUS_LENGTH = 200  # characters: writes to a pipe are atomic up to 4096 bytes (pipe(7), PIPE_BUF)


class HeartbeatPipe:
    """The loop's end of the two pipes from its supervisor; does nothing without one.

    The beat pipe carries one line per turn, "<seconds> <state> <status>": the longest time until the next
    line, "ok" or "trouble", and a status text for people. The liveness pipe carries nothing: when it closes,
    the supervisor is gone, and the loop exits.
    """

    def __init__(self, beat_fd: int | None = None) -> None:
        self._beat_fd = beat_fd
        self.is_supervised = beat_fd is not None  # if so, that one holds the lock and runs Redis

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Self:
        """Open the inherited pipes; from now on, this process exits as soon as its supervisor does."""
        try:
            beat_fd, liveness_fd, _lock_fd = map(int, environ.pop(program.PIPES_VARIABLE, "").split(","))
        except ValueError:
            return cls()
        threading.Thread(target=_exit_with_supervisor, args=(liveness_fd,), daemon=True).start()
        return cls(beat_fd)

    def beat(self, seconds: float, state: Literal["ok", "trouble"], status: str) -> None:
        """Report that the loop is alive, and calls this again within `seconds`."""
        if self._beat_fd is None:
            return
        line = f"{seconds:.3f} {state} {log.sanitize(status, MAX_STATUS_LENGTH)}\n"
        # The pipe fills up while the supervisor is stopped; the liveness pipe tells when it is gone.
        with suppress(BlockingIOError, BrokenPipeError):
            os.write(self._beat_fd, line.encode(errors="replace"))


def _exit_with_supervisor(liveness_fd: int) -> None:
    # Leave signals to the main thread: one delivered to this thread would not interrupt its sleep.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    os.read(liveness_fd, 1)
    os._exit(1)


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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
