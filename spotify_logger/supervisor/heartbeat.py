"""The link between the poll loop and its supervisor: two pipes and the lock, which the loop inherits.

The beat pipe carries one line per turn of the loop, "<seconds> <state> <status>": the longest time until the
next line, "ok" or "trouble", and a status text for people. The liveness pipe carries nothing: when it closes,
the supervisor is gone, and the loop exits. Standard library only: the supervisor imports this module.
"""

import contextlib
import os
import signal
import threading
from collections.abc import MutableMapping
from typing import Literal, Self

from spotify_logger.system.log import sanitize

ENVIRONMENT_VARIABLE = "SPOTIFY_LOGGER_FDS"  # "<beat pipe, write end>,<liveness pipe, read end>,<lock>"
MAX_STATUS_LENGTH = 200  # characters: writes to a pipe are atomic up to 4096 bytes (pipe(7), PIPE_BUF)


class HeartbeatPipe:
    """The end of the pipes in the loop; does nothing without a supervisor."""

    def __init__(self, beat_fd: int | None = None) -> None:
        self._beat_fd = beat_fd
        self.is_supervised = beat_fd is not None  # if so, that one holds the lock and runs Redis

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> Self:
        """Open the inherited pipes; from now on, this process exits as soon as its supervisor does."""
        try:  # the variable is removed, so that no child inherits it
            descriptors = [int(number) for number in environ.pop(ENVIRONMENT_VARIABLE, "").split(",")]
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)  # noqa: FBT003 - positional-only
            beat_fd, liveness_fd, _lock_fd = descriptors
        except (ValueError, OSError):
            return cls()
        threading.Thread(target=_exit_with_supervisor, args=(liveness_fd,), daemon=True).start()
        return cls(beat_fd)

    def beat(self, seconds: float, state: Literal["ok", "trouble"], status: str) -> None:
        """Report that the loop is alive, and calls this again within `seconds`."""
        if self._beat_fd is None:
            return
        line = f"{seconds:.3f} {state} {sanitize(status, MAX_STATUS_LENGTH)}\n"
        # The pipe fills up while the supervisor is stopped; the liveness pipe tells when it is gone.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._beat_fd, line.encode(errors="replace"))


def _exit_with_supervisor(liveness_fd: int) -> None:
    # Leave signals to the main thread: one delivered to this thread would not interrupt its sleep.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    os.read(liveness_fd, 1)
    os._exit(1)
