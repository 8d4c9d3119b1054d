"""Decides about one process that has to live: when it hangs, when it is started again, when it is killed.

Pure: events and the time (monotonic seconds) go in, what to do comes out; the supervisor does it.
Standard library only.
"""

from __future__ import annotations

import os
import signal
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from spotify_logger.supervisor.heartbeat import Beat

SHORTEST_DELAY = 1.0
"""Seconds before the first restart; doubled for each one that follows, up to `LONGEST_DELAY`."""

LONGEST_DELAY = 60.0
"""Seconds before any restart at most."""

JITTER = 0.25
"""The part of a delay that is left to chance."""

HEALTHY_AFTER = 60.0
"""Seconds of life, a success among them, after which the failures before are forgotten."""

BEAT_GRACE = 2.0
"""Seconds that a beat may come later than announced: the machine is small and may be busy."""

OVERSLEEP_THRESHOLD = 1.0
"""Seconds behind a deadline which show that the supervisor did not run either: stopped, or out of breath."""

OVERSLEEP_GRACE = 5.0
"""Seconds that a silent process gets when the supervisor has overslept, for it probably did as well."""

DUPLICATE_STOP_WINDOW = 0.1
"""Seconds in which a second request to end is the first one, said twice: timeout(1) does that."""

FAILURES_ALWAYS_LOGGED = 8
"""Failures in a row that each have a line in the log; of those after, alike, every tenth has."""


class Start(NamedTuple):
    """Start the process; say so if `aloud`."""

    should_log: bool


class Terminate(NamedTuple):
    """Ask the process to end."""


class Kill(NamedTuple):
    """Kill the process and all that it started; `why` is to be said, unless it is empty."""

    reason: str


class ScheduleRestart(NamedTuple):
    """The process ended, `words` say how; it is started again in `delay` seconds; say so if `aloud`."""

    reason: str
    delay: float
    should_log: bool


class Exit(NamedTuple):
    """All is over; `code` is the exit code."""

    exit_code: int


Action = Start | Terminate | Kill | ScheduleRestart | Exit


class Phase(Enum):
    """Where a process is in its life."""

    DOWN = "not started yet, or over"
    UP = "running"
    WAITING = "to be started at the deadline"
    RESTARTING = "asked to end, killed at the deadline, then to be started at once"
    STOPPING = "asked to end, killed at the deadline"


class RestartPolicy:
    """The decisions about one process. An event gives a list of actions, in the order to be done.

    Args:
        chance: Gives a number from 0 to 1, for the jitter.
        first_beat: Seconds that it may take until its first beat, or None for a process without beats.
        grace: Seconds that it gets to end when asked.
        final: Exit codes after which it is not started again.

    Attributes:
        deadline: When `due` has to be called, or None.
    """

    def __init__(
        self,
        random_fraction: Callable[[], float],
        *,
        first_beat_timeout: float | None = None,
        grace: float = 10.0,
        final: Container[int] = (),
    ) -> None:
        self._random_fraction = random_fraction
        self._first_beat_timeout = first_beat_timeout
        self._grace = grace
        self._final = final
        self._phase = Phase.DOWN
        self._started_at = 0.0
        self._last_beat_at = 0.0
        self._terminated_at = 0.0
        self._has_succeeded = False
        self._hung = ""
        self._failures = 0
        self._last_reason = ""
        self._should_log = True
        self.deadline: float | None = None

    def start(self, now: float) -> list[Action]:
        """Begin, for the first time or again."""
        self._phase = Phase.UP
        self._started_at = self._last_beat_at = now
        self._has_succeeded = self._first_beat_timeout is None
        self._hung = ""
        self.deadline = None if self._first_beat_timeout is None else now + self._first_beat_timeout
        return [Start(self._should_log)]

    def on_beat(self, now: float, beat: Beat) -> None:
        """Take note of a beat."""
        if self._phase is Phase.UP and not self._hung:
            self._last_beat_at = now
            self._has_succeeded |= beat.ok
            self.deadline = now + beat.seconds + BEAT_GRACE

    def on_exit(self, now: float, status: int) -> list[Action]:
        """The process ended with `status`: its exit code, or minus the signal that killed it."""
        if self._phase is Phase.STOPPING:
            return self._exit(os.EX_OK)
        if status in self._final:
            return self._exit(status)
        if self._phase is Phase.RESTARTING:
            return self.start(now)
        return self.on_failure(now, self._hung or describe(status))

    def on_failure(self, now: float, reason: str) -> list[Action]:
        """The process is not there: it ended, or could not be started, as `words` say."""
        if self._has_succeeded and now - self._started_at >= HEALTHY_AFTER:
            self._failures = 0
        self._failures += 1
        tenth = self._failures % 10 == 0
        self._should_log = reason != self._last_reason or self._failures <= FAILURES_ALWAYS_LOGGED or tenth
        delay = _delay(self._failures, self._random_fraction())
        self._phase, self._last_reason, self.deadline = Phase.WAITING, reason, now + delay
        return [ScheduleRestart(reason, delay, self._should_log)]

    def on_deadline(self, now: float) -> list[Action]:
        """Time has passed; nothing is done before the deadline."""
        if self.deadline is None or now < self.deadline:
            return []
        if self._phase is Phase.WAITING:
            return self.start(now)
        if self._phase is Phase.UP:
            return self._on_silence(now, self.deadline)
        self.deadline = None
        return [Kill(f"did not end within {self._grace:.0f} s")]

    def stop(self, now: float) -> list[Action]:
        """Somebody wants the end; who asks twice wants it now."""
        if self._phase in {Phase.DOWN, Phase.WAITING}:
            return self._exit(os.EX_OK)
        if self._phase is Phase.STOPPING:
            return (
                [] if now - self._terminated_at < DUPLICATE_STOP_WINDOW else [Kill("was asked twice to end")]
            )
        already_asked = self._phase is Phase.RESTARTING
        self._phase, self._terminated_at, self.deadline = Phase.STOPPING, now, now + self._grace
        return [] if already_asked else [Terminate()]

    def restart(self, now: float) -> list[Action]:
        """Somebody wants a fresh process."""
        if self._phase is Phase.WAITING:
            self._failures = 0
            return self.start(now)
        if self._phase is not Phase.UP:
            return []
        self._phase, self.deadline = Phase.RESTARTING, now + self._grace
        return [Terminate()]

    def _on_silence(self, now: float, deadline: float) -> list[Action]:
        if now - deadline > OVERSLEEP_THRESHOLD:
            self.deadline = now + OVERSLEEP_GRACE
            return []
        self._hung, self.deadline = f"silent for {now - self._last_beat_at:.0f} s", None
        return [Kill("")]

    def _exit(self, exit_code: int) -> list[Action]:
        self._phase, self.deadline = Phase.DOWN, None
        return [Exit(exit_code)]


def describe(status: int) -> str:
    """Put into words how a process ended; `status` is its exit code, or minus the signal that killed it."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _delay(failures: int, random_fraction: float) -> float:
    doubled = SHORTEST_DELAY * 2.0 ** min(failures - 1, 10)
    return min(doubled, LONGEST_DELAY) * (1.0 - JITTER * random_fraction)
