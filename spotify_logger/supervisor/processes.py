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

from spotify_logger.supervisor.heartbeat import ENVIRONMENT, BeatReader
from spotify_logger.supervisor.restart_policy import Keeper, describe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.storage.embedded_server import EmbeddedServer
    from spotify_logger.supervisor.heartbeat import Beat
    from spotify_logger.supervisor.restart_policy import Action

EXIT_INTERRUPTED = 130
"""What a program ends with after Ctrl-C, by the custom of shells: 128 and SIGINT."""


def chance() -> float:
    """Give a number from 0 to 1; the `random` library would cost the supervisor half a megabyte."""
    return int.from_bytes(os.urandom(2), "big") / 0xFFFF


class Ward:
    """A process that is looked after.

    Args:
        name: What it is called in the log.
        keeper: What decides about it.
    """

    def __init__(self, name: str, keeper: Keeper) -> None:
        self.name = name
        self.keeper = keeper
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

    def ask(self) -> None:
        """Ask the process to end."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._send(signal.SIGKILL)

    def bury(self, now: float) -> list[Action]:
        """Ask the keeper what follows, if the process has ended."""
        status = self._process.poll() if self._process else None
        if status is None:
            return []
        self._process = None
        return self._ended(now, status)

    def _ended(self, now: float, status: int) -> list[Action]:
        return self.keeper.exited(now, status)

    def _send(self, number: int) -> None:
        if self._process:
            self._process.send_signal(number)


class Report(NamedTuple):
    """What the check found out.

    Attributes:
        state_dir: The state folder.
        redis: Host and port at which a server of our own is to be, unless one is there; None if elsewhere.
    """

    state_dir: str
    redis: tuple[str, int] | None


class Check(Ward):
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
        super().__init__("the check of the settings", Keeper(chance, grace=grace, final=final))
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

    def ask(self) -> None:
        """Ask as a terminal does, so that a half-typed secret does not leave the terminal without echo."""
        if not self.interrupted:
            self._send(signal.SIGINT)

    def report(self) -> Report | None:
        """Read what it found out, once it has ended; None if that is nothing, or nonsense."""
        try:
            answer = json.loads(os.read(self._report_fd, 65536))
            redis = answer["redis"]
            return Report(
                str(answer["state_dir"]), (str(redis["host"]), int(redis["port"])) if redis else None
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None
        finally:
            self._report_fd = _closed(self._report_fd)


class Loop(Ward):
    """The poll loop, in a process group of its own.

    Args:
        command: The program and its arguments.
        lock_fd: The lock, which the loop inherits.
        first_beat: Seconds that it may take until its first beat.
        grace: Seconds that it gets to end when asked.

    Attributes:
        beat_fd: Readable when a beat has come; -1 while none can come.
    """

    def __init__(self, command: Sequence[str], lock_fd: int, first_beat: float, grace: float) -> None:
        keeper = Keeper(chance, first_beat=first_beat, grace=grace, final={os.EX_CONFIG})
        super().__init__("the loop", keeper)
        self._command = command
        self._lock_fd = lock_fd
        self._life_fd = -1
        self._reader = BeatReader()
        self.beat_fd = -1

    def launch(self) -> None:
        """See `Ward.launch`."""
        self._life_fd, self.beat_fd = _closed(self._life_fd), _closed(self.beat_fd)
        self.beat_fd, beat_write = os.pipe()
        life_read, self._life_fd = os.pipe()
        for descriptor in (self.beat_fd, beat_write):
            os.set_blocking(descriptor, False)
        inherited = (beat_write, life_read, self._lock_fd)
        self._reader = BeatReader()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                self._command,
                env={**os.environ, ENVIRONMENT: ",".join(map(str, inherited))},
                stdin=subprocess.DEVNULL,
                pass_fds=inherited,
                process_group=0,
            )
        finally:
            os.close(beat_write)
            os.close(life_read)

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


class Server(Ward):
    """The embedded server.

    Args:
        server: The server.
    """

    def __init__(self, server: EmbeddedServer) -> None:
        super().__init__(f"the embedded Redis server at {server.address}", Keeper(chance))
        self._server = server

    def launch(self) -> None:
        """See `Ward.launch`; it answers then."""
        self._server.start()
        self._process = self._server.process

    def end(self) -> None:
        """Let it close its file and end."""
        self._server.stop()

    def _ended(self, now: float, status: int) -> list[Action]:
        return self.keeper.failed(now, f"{describe(status)}, {self._server.last_log_line()}")


def _closed(descriptor: int) -> int:
    if descriptor >= 0:
        os.close(descriptor)
    return -1
