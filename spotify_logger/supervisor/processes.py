"""The three processes that the supervisor looks after: the check before, the loop, and the embedded server.

Each knows how it is started, asked to end, and killed; its keeper decides when. Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.supervisor.heartbeat import ENVIRONMENT_VARIABLE, BeatReader
from spotify_logger.supervisor.restart_policy import RestartPolicy, describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.storage.embedded_server import EmbeddedServer
    from spotify_logger.supervisor.heartbeat import Beat
    from spotify_logger.supervisor.restart_policy import Action

EXIT_INTERRUPTED = 130
"""What a program ends with after Ctrl-C, by the custom of shells: 128 and SIGINT."""


def random_fraction() -> float:
    """Give a number from 0 to 1; the `random` library would cost the supervisor half a megabyte."""
    return int.from_bytes(os.urandom(2), "big") / 0xFFFF


class ChildProcess:
    """A process that is looked after.

    Args:
        name: What it is called in the log.
        keeper: What decides about it.
    """

    def __init__(self, name: str, policy: RestartPolicy) -> None:
        self.name = name
        self.policy = policy
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id, or None while there is no process."""
        return self._process.pid if self._process else None

    def launch(self) -> None:
        """Start the process.

        Raises:
            OSError: The machine cannot.
            SpotifyLoggerError: The program cannot.
        """
        raise NotImplementedError

    def terminate(self) -> None:
        """Ask the process to end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._send(signal.SIGKILL)

    def reap(self, now: float) -> list[Action]:
        """Ask the keeper what follows, if the process has ended."""
        status = self._process.poll() if self._process else None
        if status is None:
            return []
        self._process = None
        return self._on_exit(now, status)

    def _on_exit(self, now: float, status: int) -> list[Action]:
        return self.policy.on_exit(now, status)

    def _send(self, number: int) -> None:
        if self._process:
            self._process.send_signal(number)


class PreflightReport(NamedTuple):
    """What the check found out.

    Attributes:
        state_dir: The state folder.
        redis: Host and port at which a server of our own is to be, unless one is there; None if elsewhere.
    """

    state_dir: str
    redis: tuple[str, int] | None


class PreflightProcess(ChildProcess):
    """The check of settings and login before the loop. It talks with whoever sits at the terminal.

    It stays in the supervisor's process group for that, which means that a Ctrl-C reaches both.

    Args:
        command: The program and its arguments, to which "--report-fd N" is added.
        grace: Seconds that it gets to end when asked.

    Attributes:
        interrupted: Whether the terminal has asked it to end already.
    """

    def __init__(self, command: Sequence[str], grace: float) -> None:
        final = {os.EX_OK, os.EX_CONFIG, EXIT_INTERRUPTED}
        super().__init__(
            "the check of the settings", RestartPolicy(random_fraction, grace=grace, final=final)
        )
        self._command = command
        self._report_fd = -1
        self.interrupted = False

    def launch(self) -> None:
        """See `Ward.launch`."""
        self._report_fd = _closed(self._report_fd)
        self._report_fd, report_write = os.pipe()
        os.set_blocking(self._report_fd, False)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*self._command, "--report-fd", str(report_write)], pass_fds=[report_write]
            )
        finally:
            os.close(report_write)

    def terminate(self) -> None:
        """Ask as a terminal does, so that a half-typed secret does not leave the terminal without echo."""
        if not self.interrupted:
            self._send(signal.SIGINT)

    def report(self) -> PreflightReport | None:
        """Read what it found out, once it has ended; None if that is nothing, or nonsense."""
        try:
            answer = json.loads(os.read(self._report_fd, 65536))
            redis = answer["redis"]
            return PreflightReport(
                str(answer["state_dir"]), (str(redis["host"]), int(redis["port"])) if redis else None
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None
        finally:
            self._report_fd = _closed(self._report_fd)


class LoopProcess(ChildProcess):
    """The poll loop, in a process group of its own.

    Args:
        command: The program and its arguments.
        lock_fd: The lock, which the loop inherits.
        first_beat: Seconds that it may take until its first beat.
        grace: Seconds that it gets to end when asked.

    Attributes:
        beat_fd: Readable when a beat has come; -1 while none can come.
    """

    def __init__(self, command: Sequence[str], lock_fd: int, first_beat_timeout: float, grace: float) -> None:
        policy = RestartPolicy(
            random_fraction, first_beat_timeout=first_beat_timeout, grace=grace, final={os.EX_CONFIG}
        )
        super().__init__("the loop", policy)
        self._command = command
        self._lock_fd = lock_fd
        self._liveness_fd = -1
        self._reader = BeatReader()
        self.beat_fd = -1

    def launch(self) -> None:
        """See `Ward.launch`."""
        self._liveness_fd, self.beat_fd = _closed(self._liveness_fd), _closed(self.beat_fd)
        self.beat_fd, beat_write = os.pipe()
        liveness_read, self._liveness_fd = os.pipe()
        for descriptor in (self.beat_fd, beat_write):
            os.set_blocking(descriptor, False)
        inherited = (beat_write, liveness_read, self._lock_fd)
        self._reader = BeatReader()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                self._command,
                env={**os.environ, ENVIRONMENT_VARIABLE: ",".join(map(str, inherited))},
                stdin=subprocess.DEVNULL,
                pass_fds=inherited,
                process_group=0,
            )
        finally:
            os.close(beat_write)
            os.close(liveness_read)

    def kill(self) -> None:
        """End it, and whatever it may have started."""
        if self._process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def beats(self) -> list[Beat]:
        """Read the beats that have come. A loop that closed its end has none any more: it is silent."""
        try:
            data = os.read(self.beat_fd, 65536)
        except BlockingIOError:
            return []
        if not data:
            self.beat_fd = _closed(self.beat_fd)
        return self._reader.feed(data)


class RedisProcess(ChildProcess):
    """The embedded server.

    Args:
        server: The server.
    """

    def __init__(self, server: EmbeddedServer) -> None:
        super().__init__(f"the embedded Redis server at {server.address}", RestartPolicy(random_fraction))
        self._server = server

    def launch(self) -> None:
        """See `Ward.launch`; it answers then."""
        self._server.start()
        self._process = self._server.process

    def end(self) -> None:
        """Let it close its file and end."""
        self._server.stop()

    def _on_exit(self, now: float, status: int) -> list[Action]:
        return self.policy.on_failure(now, f"{describe(status)}, {self._server.last_log_line()}")


def _closed(descriptor: int) -> int:
    if descriptor >= 0:
        os.close(descriptor)
    return -1
