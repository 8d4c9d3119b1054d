"""The logger process: settings, lock, signals, and the poll loop."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from spotify_logger.config.settings import load
from spotify_logger.daemon.timings import DEFAULT_TIMINGS
from spotify_logger.daemon.wiring import Environment, build_failover
from spotify_logger.spotify.http import HttpSender
from spotify_logger.spotify.rate_limit import boot_id
from spotify_logger.supervisor.heartbeat import HeartbeatPipe
from spotify_logger.system import atomic_file, lock_file, log
from spotify_logger.system.clock import SystemClock
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spotify_logger.config.settings import Settings
    from spotify_logger.daemon.failover import Failover
    from spotify_logger.daemon.poller import Poller
    from spotify_logger.daemon.timings import DaemonTimings
    from spotify_logger.system.clock import Clock

ALERT_DEADLINE = 5.0
"""Seconds that an alert or a heartbeat may take; it can be retried, and polling must go on."""


def run(
    logger: Failover | Poller,
    clock: Clock,
    heartbeat_pipe: HeartbeatPipe,
    is_stopping: Callable[[], bool],
    max_turn: float = DEFAULT_TIMINGS.max_turn,
) -> None:
    """Run one turn after the other until asked to stop."""
    heartbeat_pipe.beat(max_turn, "trouble", "starting")
    while not is_stopping():
        turn = logger.turn()
        left = turn.due - clock.monotonic()
        heartbeat_pipe.beat(max(0.0, left) + max_turn, "ok" if turn.ok else "trouble", turn.words)
        while not is_stopping() and (left := turn.due - clock.monotonic()) > 0:
            clock.sleep(left)


def main(arguments: Sequence[str], timings: DaemonTimings = DEFAULT_TIMINGS) -> int:
    """Run the logger process.

    Args:
        arguments: The command line without the program; it takes none.
        timings: How long to wait for others.

    Returns:
        The exit code: 0 stopped on request, 78 misconfigured, 1 if another logger uses the same state folder.
    """
    if arguments:
        log.error("log.py takes no arguments; configure it with settings")
        return os.EX_USAGE
    heartbeat_pipe = HeartbeatPipe.from_environment(os.environ)
    stop = StopSignal()
    try:
        settings = load(Path.cwd(), os.environ)
        with contextlib.ExitStack() as resources:
            if not heartbeat_pipe.is_supervised:
                lock_fd = lock_file.acquire(settings.state_dir, "log.py", timings.orphan_timeout)
                resources.callback(os.close, lock_fd)
                start_redis(settings, lock_fd, resources)
            run_logger(settings, heartbeat_pipe, stop, resources, timings)
    except Misconfigured as error:
        log.error(str(error))
        return os.EX_CONFIG
    except SpotifyLoggerError as error:
        log.error(str(error))
        return 1
    return os.EX_OK


def run_logger(
    settings: Settings,
    heartbeat_pipe: HeartbeatPipe,
    stop: StopSignal,
    resources: contextlib.ExitStack,
    timings: DaemonTimings = DEFAULT_TIMINGS,
) -> None:
    """Build the logger and run it until a signal arrives."""
    if why := atomic_file.write_refusal(settings.state_dir):
        log.warning(
            f"cannot write to the state folder {settings.state_dir} ({why}): plays are queued in"
            " memory only, and logins cannot be saved"
        )
    if settings.listener and settings.redis_is_default:
        _warn_if_redis_is_down(*_redis_address(settings))
    clock = SystemClock(stop.wake_fd)
    send = HttpSender(read_timeout=timings.read_timeout, deadline=timings.request_deadline)
    send_alert = HttpSender(connect_timeout=3.0, read_timeout=4.0, deadline=ALERT_DEADLINE)
    for sender in (send, send_alert):
        resources.callback(sender.close)
    environment = Environment(clock, send, send_alert, boot_id(), timings=timings)
    failover = build_failover(settings, environment, os.uname().nodename)
    resources.callback(failover.close)
    log.info(
        f"polling Spotify every {settings.poll_min:g} to {settings.poll_max:g} s during playback,"
        f" writing to Redis at {failover.logger.store.where}"
    )
    run(failover, clock, heartbeat_pipe, stop.is_requested, timings.max_turn)
    failover.flush()
    log.info("stopped")


def _warn_if_redis_is_down(host: str, port: int) -> None:
    """Log that nothing listens, where several listeners share one server."""
    from spotify_logger.storage import embedded_server  # noqa: PLC0415 - start-up time: few share a server

    if not embedded_server.is_listening(host, port):
        log.warning(
            f"nothing is listening on {host}:{port}, and with LISTENER set no server is started, because"
            " several listeners share one: sudo apt install redis-server. Plays are queued until it runs"
        )


def start_redis(settings: Settings, lock_fd: int, resources: contextlib.ExitStack) -> None:
    """Start an embedded server if no Redis is configured and none is running.

    Args:
        settings: The settings.
        lock_fd: The lock on the state folder. The server inherits it, so that a new loop waits for a server
            that briefly outlives a killed one.
        resources: Stops the server on exit.
    """
    from spotify_logger.storage import embedded_server  # noqa: PLC0415 - start-up time: run.py starts it instead

    host, port = _redis_address(settings)
    if not settings.redis_is_default or settings.listener or embedded_server.is_listening(host, port):
        return
    server = embedded_server.EmbeddedServer(settings.state_dir / "redis", host, port, lock_fd)
    try:
        server.start()
    except SpotifyLoggerError as error:
        log.warning(f"nothing is listening on {host}:{port}, and {error}; plays are queued until Redis runs")
    else:
        resources.callback(server.stop)


def _redis_address(settings: Settings) -> tuple[str, int]:
    address = urlsplit(settings.redis_url)
    return address.hostname or "127.0.0.1", address.port or 6379


class StopSignal:
    """Notes signals that ask the process to stop, and interrupts the clock's sleep.

    Attributes:
        wake_fd: Becomes readable when a signal arrives.
    """

    def __init__(self) -> None:
        self.wake_fd, write_fd = os.pipe()
        for descriptor in (self.wake_fd, write_fd):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        self._is_requested = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._request)

    def _request(self, *_: object) -> None:
        self._is_requested = True

    def is_requested(self) -> bool:
        """Return whether a signal has arrived."""
        return self._is_requested
