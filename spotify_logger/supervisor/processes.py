"""How the processes of the supervisor start and end; restart policies decide when. Standard library only."""

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Sequence

from spotify_logger.storage.embedded_server import EmbeddedServer, bound_to_parent
from spotify_logger.supervisor.restart_policy import Action, Beat, RestartPolicy, SupervisorTimings, describe
from spotify_logger.system import log
from spotify_logger.system.program import EXIT_INTERRUPTED, PIPES_VARIABLE

PIPE_BYTES = 1 << 20  # at least as many as a pipe holds (pipe(7)), so that no line is cut
_LINE = re.compile(rb"^([0-9]+(?:\.[0-9]+)?) (ok|trouble) (.*)$", re.MULTILINE)


def parse_beats(data: bytes) -> list[Beat]:
    """Return the beats in what arrived on the beat pipe; invalid lines are ignored."""
    return [
        Beat(float(seconds), state == b"ok", status.decode(errors="replace"))
        for seconds, state, status in _LINE.findall(data)
    ]


class ChildProcess:
    """A supervised process, with its name in the log; `policy` decides when to start and to end it."""

    _stderr: int | None = None  # that of the supervisor

    def __init__(self, name: str, command: Sequence[str], policy: RestartPolicy) -> None:
        self.name, self._command, self.policy = name, command, policy
        self.process: subprocess.Popen[bytes] | None = None  # while it runs

    def launch(self) -> None:
        """Start it in a process group of its own, until the supervisor ends; OSError, SpotifyLoggerError."""
        self.process = subprocess.Popen(  # noqa: S603 - this project
            bound_to_parent(self._command), stdin=subprocess.DEVNULL, stderr=self._stderr, process_group=0
        )

    def send(self, number: int) -> None:
        """Send SIGTERM to it, or SIGKILL to its process group."""
        if self.process and number == signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
        elif self.process:
            self.process.send_signal(number)

    def reap(self, now: float) -> list[Action]:
        """Return the actions that follow if the process has exited, and none if it has not."""
        process = self.process
        if process is None or process.poll() is None:
            return []
        self.process = None
        return self._on_exit(now, process)

    def _on_exit(self, now: float, process: subprocess.Popen[bytes]) -> list[Action]:
        return self.policy.on_exit(now, process.returncode)


class PreflightProcess(ChildProcess):
    """The check of settings and login, which may ask on the terminal; a Ctrl-C there reaches it, too."""

    def __init__(self, command: Sequence[str], timings: SupervisorTimings) -> None:
        final = {os.EX_OK, os.EX_CONFIG, EXIT_INTERRUPTED}
        super().__init__("the settings check", command, RestartPolicy(timings, final=final))
        self._report_fd, self._report_write_fd = os.pipe()
        self.interrupted = False  # by a Ctrl-C

    def launch(self) -> None:
        """Start the check, with a pipe for its report."""
        command, fd = [*self._command, "--report-fd", str(self._report_write_fd)], self._report_write_fd
        self.process = subprocess.Popen(command, pass_fds=[fd])  # noqa: S603 - this project

    def send(self, number: int) -> None:
        """Send SIGINT for SIGTERM, as a terminal would: echo is on again even if a secret is half typed."""
        if self.process and (number == signal.SIGKILL or not self.interrupted):
            self.process.send_signal(signal.SIGKILL if number == signal.SIGKILL else signal.SIGINT)

    def report(self) -> tuple[str, tuple[str, int] | None]:
        """Return the state folder, and where to start a Redis server if that is needed, once it has ended."""
        report = json.loads(os.read(self._report_fd, PIPE_BYTES).splitlines()[-1])
        return report["state_dir"], report["redis"]  # a list of host and port, as JSON has it


class LoopProcess(ChildProcess):
    """The poll loop; it inherits the lock file."""

    def __init__(self, command: Sequence[str], lock_fd: int, timings: SupervisorTimings) -> None:
        super().__init__("the loop", command, RestartPolicy(timings, has_beats=True, final={os.EX_CONFIG}))
        self.beat_fd, beat_write_fd = os.pipe()
        liveness_fd, _ = os.pipe()  # nobody writes to it: it is closed when the supervisor ends
        for descriptor in (self.beat_fd, beat_write_fd):
            os.set_blocking(descriptor, False)
        self._inherited = (beat_write_fd, liveness_fd, lock_fd)

    def launch(self) -> None:
        """Start the loop."""
        self.beats()  # the last ones of an earlier process
        self.process = subprocess.Popen(  # noqa: S603 - this project
            self._command,
            env={**os.environ, PIPES_VARIABLE: ",".join(map(str, self._inherited))},
            stdin=subprocess.DEVNULL,
            pass_fds=self._inherited,
            process_group=0,
        )

    def beats(self) -> list[Beat]:
        """Return the beats that have arrived."""
        with contextlib.suppress(BlockingIOError):
            return parse_beats(os.read(self.beat_fd, PIPE_BYTES))
        return []


class RedisProcess(ChildProcess):
    """The embedded Redis server."""

    def __init__(self, server: EmbeddedServer, timings: SupervisorTimings) -> None:
        super().__init__(f"the embedded Redis server at {server.address}", (), RestartPolicy(timings))
        self.server = server

    def launch(self) -> None:
        """Start the server, and wait until it answers."""
        self.server.start()
        self.process = self.server.process

    def _on_exit(self, now: float, process: subprocess.Popen[bytes]) -> list[Action]:
        # A process that is killed outright cannot log why.
        why = "" if process.returncode == -signal.SIGKILL else f", {self.server.last_log_line()}"
        return self.policy.on_failure(now, describe(process.returncode) + why)


class CopyProcess(ChildProcess):
    """Updates the second copy once a day, and logs what the update says if that is new."""

    _stderr = subprocess.PIPE

    def __init__(self, command: Sequence[str], timings: SupervisorTimings) -> None:
        super().__init__("the second copy", command, RestartPolicy(timings))
        self._interval, self._said = timings.copy_interval, b""

    def _on_exit(self, now: float, process: subprocess.Popen[bytes]) -> list[Action]:
        known, (_, self._said) = self._said, process.communicate()
        if self._said not in {b"", known}:
            log.warning(self._said.decode(errors="replace"))
        return self.policy.start_later(now, self._interval)
