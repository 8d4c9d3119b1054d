"""Decides when a supervised process counts as hung, when it is restarted, and when it is killed.

Events and the time (monotonic seconds) go in, actions come out, which the supervisor performs.
Standard library only, without `dataclasses`, whose import would cost half a megabyte.
"""

import os
import signal
from collections.abc import Callable, Container
from enum import Enum
from typing import NamedTuple

JITTER = 0.25  # the random part of a delay
HEALTHY_AFTER = 60.0  # seconds of running, with a success, that reset the count of failures
OVERSLEEP_THRESHOLD = 1.0  # seconds after a deadline; the supervisor was stopped, or starved
OVERSLEEP_GRACE = 5.0  # seconds more for a silent process then, which was probably stopped, too
DUPLICATE_STOP_WINDOW = 0.1  # seconds; timeout(1) sends a stop signal twice
FAILURES_ALWAYS_LOGGED = 8  # in a row; of later ones with the same reason, every tenth is


class SupervisorTimings(NamedTuple):
    """How long to wait for the processes, in seconds; delays double up to the longest."""

    first_beat_timeout: float = 60.0  # on a Pi, imports take a while
    beat_grace: float = 2.0  # the machine may be small and busy
    termination_grace: float = 10.0  # between SIGTERM and SIGKILL
    shortest_delay: float = 1.0
    longest_delay: float = 60.0
    first_copy: float = 600.0  # from the start to the first update of the second copy
    copy_interval: float = 86_400.0


class Beat(NamedTuple):
    """One turn of the loop: seconds until the next beat at the latest, whether it succeeded, and a status."""

    seconds: float
    ok: bool
    status: str


class Start(NamedTuple):
    """Start the process."""

    should_log: bool


class Signal(NamedTuple):
    """Send SIGTERM to the process, or SIGKILL also to its children; a `reason` is for the log."""

    number: int
    reason: str = ""


class ScheduleRestart(NamedTuple):
    """The process exited, or did not start, for `reason`; it is restarted in `delay` seconds."""

    reason: str
    delay: float
    should_log: bool


class Exit(NamedTuple):
    """Stop supervising the process, with an exit code for the supervisor."""

    exit_code: int


TERMINATE = Signal(signal.SIGTERM)
Action = Start | Signal | ScheduleRestart | Exit

# RESTARTING and STOPPING: terminated, and killed at the deadline; only after RESTARTING it starts again.
Phase = Enum("Phase", ["DOWN", "UP", "WAITING", "RESTARTING", "STOPPING"])


def random_fraction() -> float:
    """Return a random number from 0 to 1; importing `random` would cost half a megabyte."""
    return int.from_bytes(os.urandom(2), "big") / 0xFFFF


class RestartPolicy:
    """The state machine of one process; at its `deadline`, if any, `on_deadline` has to be called.

    Silence of a process that `has_beats` counts as hanging; after a `final` exit code it is not restarted.
    """

    def __init__(
        self,
        timings: SupervisorTimings,
        *,
        has_beats: bool = False,
        final: Container[int] = (),
        chance: Callable[[], float] = random_fraction,
    ) -> None:
        self._timings, self._chance = timings, chance
        self._has_beats, self._final = has_beats, final
        self._phase = Phase.DOWN
        self._started_at = self._last_beat_at = self._terminated_at = 0.0
        self._has_succeeded = False
        self._hung = self._last_reason = ""
        self._failures = 0
        self._should_log = True
        self.deadline: float | None = None

    def start(self, now: float) -> list[Action]:
        """Start the process, for the first time or again."""
        self._phase = Phase.UP
        self._started_at = self._last_beat_at = now
        self._has_succeeded = not self._has_beats
        self._hung = ""
        self.deadline = now + self._timings.first_beat_timeout if self._has_beats else None
        return [Start(self._should_log)]

    def start_later(self, now: float, seconds: float) -> list[Action]:
        """Start the process in some seconds, without logging it."""
        self._phase, self._should_log, self.deadline = Phase.WAITING, False, now + seconds
        return []

    def on_beat(self, now: float, beat: Beat) -> None:
        """Move the deadline, because a beat arrived."""
        if self._phase is Phase.UP and not self._hung:
            self._last_beat_at = now
            self._has_succeeded |= beat.ok
            self.deadline = now + beat.seconds + self._timings.beat_grace

    def on_exit(self, now: float, status: int) -> list[Action]:
        """Decide what follows an exit with `status`: a code, or minus the signal that killed the process."""
        if self._phase is Phase.STOPPING:
            return self._exit(os.EX_OK)
        if status in self._final:
            return self._exit(status)
        if self._phase is Phase.RESTARTING:
            return self.start(now)
        return self.on_failure(now, self._hung or describe(status))

    def on_failure(self, now: float, reason: str) -> list[Action]:
        """Schedule a restart, because the process failed or could not be started."""
        if self._has_succeeded and now - self._started_at >= HEALTHY_AFTER:
            self._failures = 0
        self._failures += 1
        is_due = self._failures <= FAILURES_ALWAYS_LOGGED or self._failures % 10 == 0
        self._should_log = is_due or reason != self._last_reason
        doubled = self._timings.shortest_delay * 2.0 ** min(self._failures - 1, 10)
        delay = min(doubled, self._timings.longest_delay) * (1.0 - JITTER * self._chance())
        self._phase, self._last_reason, self.deadline = Phase.WAITING, reason, now + delay
        return [ScheduleRestart(reason, delay, self._should_log)]

    def on_deadline(self, now: float) -> list[Action]:
        """Decide what follows once the deadline has passed; nothing before."""
        if self.deadline is None or now < self.deadline:
            return []
        if self._phase is Phase.WAITING:
            return self.start(now)
        reason = f"did not end within {self._timings.termination_grace:.0f} s"
        if self._phase is Phase.UP:
            if now - self.deadline > OVERSLEEP_THRESHOLD:
                self.deadline = now + OVERSLEEP_GRACE
                return []
            reason, self._hung = "", f"silent for {now - self._last_beat_at:.0f} s"
        self.deadline = None
        return [Signal(signal.SIGKILL, reason)]

    def stop(self, now: float) -> list[Action]:
        """Terminate the process, and kill it if this is the second request."""
        if self._phase in {Phase.DOWN, Phase.WAITING}:
            return self._exit(os.EX_OK)
        if self._phase is Phase.STOPPING:
            is_duplicate = now - self._terminated_at < DUPLICATE_STOP_WINDOW
            return [] if is_duplicate else [Signal(signal.SIGKILL, "was asked twice to stop")]
        already_asked = self._phase is Phase.RESTARTING
        self._phase, self._terminated_at = Phase.STOPPING, now
        self.deadline = now + self._timings.termination_grace
        return [] if already_asked else [TERMINATE]

    def restart(self, now: float) -> list[Action]:
        """Replace the process with a new one."""
        if self._phase is Phase.WAITING:
            self._failures = 0
            return self.start(now)
        if self._phase is not Phase.UP:
            return []
        self._phase, self.deadline = Phase.RESTARTING, now + self._timings.termination_grace
        return [TERMINATE]

    def _exit(self, exit_code: int) -> list[Action]:
        self._phase, self.deadline = Phase.DOWN, None
        return [Exit(exit_code)]


def describe(status: int) -> str:
    """Describe an exit status: an exit code, or minus the signal that killed the process."""
    if status >= 0:
        return f"exit code {status}"
    name = next((number.name for number in signal.Signals if number == -status), f"signal {-status}")
    return f"killed by {name}"
