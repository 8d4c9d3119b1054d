"""What ties the loop to its supervisor: two pipes and the lock, inherited; and what is said over them.

The beat pipe carries one line per turn of the loop, "<seconds> <state> <words>": at most so many seconds
until the next line, "ok" or "trouble", and words for a status display. Silence beyond that means a hung loop.
The life pipe carries nothing: its end means that the supervisor is gone, and the loop goes too, since nobody
would restart it. Standard library only: the supervisor reads with this room what the loop writes.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
from typing import TYPE_CHECKING, Literal, NamedTuple

from spotify_logger.system.log import sanitize

if TYPE_CHECKING:
    from collections.abc import MutableMapping

ENVIRONMENT_VARIABLE = "SPOTIFY_LOGGER_FDS"
"""The variable which names the inherited file descriptors: "<beat, to write>,<life, to read>,<lock>"."""

MAX_BEAT_INTERVAL = 3600.0
"""Seconds that a loop can announce at most, so that a mistake there cannot keep a hung loop for years."""

MAX_STATUS_LENGTH = 200
"""Characters of the words of a beat: pipes promise to take up to 4096 bytes whole or not at all."""

BeatState = Literal["ok", "trouble"]


class Beat(NamedTuple):
    """One turn of the loop.

    Attributes:
        seconds: The longest until the next beat.
        ok: Whether this turn was a successful one; if not, the loop knows what is wrong and waits, alive.
        words: What a person may want to know.
    """

    seconds: float
    ok: bool
    status: str


class BeatReader:
    """The supervisor's end of the beat pipe: bytes in, beats out. What is no beat is passed over."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Beat]:
        """Take what came, cut anywhere, and give the beats that are whole now."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-4096:]
        return [beat for beat in map(_parse, lines) if beat is not None]


def _parse(line: bytes) -> Beat | None:
    seconds, _, rest = line.decode(errors="replace").partition(" ")
    state, _, status = rest.partition(" ")
    try:
        limit = float(seconds)
    except ValueError:
        return None
    if state not in {"ok", "trouble"} or not math.isfinite(limit):
        return None
    return Beat(min(max(limit, 0.0), MAX_BEAT_INTERVAL), state == "ok", sanitize(status, MAX_STATUS_LENGTH))


class HeartbeatPipe:
    """The loop's side. Without a supervisor it does nothing.

    Args:
        beat_fd: Where to write the beats, or None.

    Attributes:
        supervised: Whether there is a supervisor; it has taken the lock then, and cares for the server.
    """

    def __init__(self, beat_fd: int | None = None) -> None:
        self._beat_fd = beat_fd
        self.is_supervised = beat_fd is not None

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> HeartbeatPipe:
        """Take over what the supervisor left, and from now on end with it, at once and without a word.

        Args:
            environ: The process's environment; the variable is taken out of it, being meant for nobody else.
        """
        try:
            descriptors = [int(number) for number in environ.pop(ENVIRONMENT_VARIABLE, "").split(",")]
            for descriptor in descriptors:
                os.set_inheritable(descriptor, False)  # noqa: FBT003 - so the library wants it
            beat_fd, liveness_fd, _lock_fd = descriptors
        except (ValueError, OSError):
            return cls()
        threading.Thread(
            target=_exit_with_supervisor, args=(liveness_fd,), daemon=True, name="lifeline"
        ).start()
        return cls(beat_fd)

    def beat(self, seconds: float, state: BeatState, status: str) -> None:
        """Say that the loop is alive.

        Args:
            seconds: The longest until the next call.
            state: "ok" after a successful turn, "trouble" where the loop knows what is wrong and waits.
            status: What a person may want to know.
        """
        if self._beat_fd is None:
            return
        line = f"{seconds:.3f} {state} {sanitize(status, MAX_STATUS_LENGTH)}\n"
        # A supervisor that is stopped lets the pipe fill up; one that is gone is the other pipe's business.
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._beat_fd, line.encode(errors="replace"))


def _exit_with_supervisor(liveness_fd: int) -> None:
    # Signals are for the main thread, whose sleep would not end if the kernel handed one to this thread.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    os.read(liveness_fd, 1)
    os._exit(1)
