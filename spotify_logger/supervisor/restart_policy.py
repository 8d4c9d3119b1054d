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

OVERSLEPT = 1.0
"""Seconds behind a deadline which show that the supervisor did not run either: stopped, or out of breath."""

SECOND_CHANCE = 5.0
"""Seconds that a silent process gets when the supervisor has overslept, for it probably did as well."""

SAME_WISH = 0.1
"""Seconds in which a second request to end is the first one, said twice: timeout(1) does that."""

EVERY_FAILURE_UNTIL = 8
"""Failures in a row that each have a line in the log; of those after, alike, every tenth has."""


class Start(NamedTuple):
    """Start the process; say so if `aloud`."""

    aloud: bool


class Ask(NamedTuple):
    """Ask the process to end."""


class Kill(NamedTuple):
    """Kill the process and all that it started; `why` is to be said, unless it is empty."""

    why: str


class Retry(NamedTuple):
    """The process ended, `words` say how; it is started again in `delay` seconds; say so if `aloud`."""

    words: str
    delay: float
    aloud: bool


class End(NamedTuple):
    """All is over; `code` is the exit code."""

    code: int


Action = Start | Ask | Kill | Retry | End


class Phase(Enum):
    """Where a process is in its life."""

    DOWN = "not started yet, or over"
    UP = "running"
    WAITING = "to be started at the deadline"
    RENEWING = "asked to end, killed at the deadline, then to be started at once"
    STOPPING = "asked to end, killed at the deadline"


class Keeper:
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
        chance: Callable[[], float],
        *,
        first_beat: float | None = None,
        grace: float = 10.0,
        final: Container[int] = (),
    ) -> None:
        self._chance = chance
        self._first_beat = first_beat
        self._grace = grace
        self._final = final
        self._phase = Phase.DOWN
        self._started = 0.0
        self._heard = 0.0
        self._asked = 0.0
        self._succeeded = False
        self._hung = ""
        self._failures = 0
        self._words = ""
        self._aloud = True
        self.deadline: float | None = None

    def start(self, now: float) -> list[Action]:
        """Begin, for the first time or again."""
        self._phase = Phase.UP
        self._started = self._heard = now
        self._succeeded = self._first_beat is None
        self._hung = ""
        self.deadline = None if self._first_beat is None else now + self._first_beat
        return [Start(self._aloud)]

    def heard(self, now: float, beat: Beat) -> None:
        """Take note of a beat."""
        if self._phase is Phase.UP and not self._hung:
            self._heard = now
            self._succeeded |= beat.ok
            self.deadline = now + beat.seconds + BEAT_GRACE

    def exited(self, now: float, status: int) -> list[Action]:
        """The process ended with `status`: its exit code, or minus the signal that killed it."""
        if self._phase is Phase.STOPPING:
            return self._end(os.EX_OK)
        if status in self._final:
            return self._end(status)
        if self._phase is Phase.RENEWING:
            return self.start(now)
        return self.failed(now, self._hung or describe(status))

    def failed(self, now: float, words: str) -> list[Action]:
        """The process is not there: it ended, or could not be started, as `words` say."""
        if self._succeeded and now - self._started >= HEALTHY_AFTER:
            self._failures = 0
        self._failures += 1
        tenth = self._failures % 10 == 0
        self._aloud = words != self._words or self._failures <= EVERY_FAILURE_UNTIL or tenth
        delay = _delay(self._failures, self._chance())
        self._phase, self._words, self.deadline = Phase.WAITING, words, now + delay
        return [Retry(words, delay, self._aloud)]

    def due(self, now: float) -> list[Action]:
        """Time has passed; nothing is done before the deadline."""
        if self.deadline is None or now < self.deadline:
            return []
        if self._phase is Phase.WAITING:
            return self.start(now)
        if self._phase is Phase.UP:
            return self._silent(now, self.deadline)
        self.deadline = None
        return [Kill(f"did not end within {self._grace:.0f} s")]

    def stop(self, now: float) -> list[Action]:
        """Somebody wants the end; who asks twice wants it now."""
        if self._phase in {Phase.DOWN, Phase.WAITING}:
            return self._end(os.EX_OK)
        if self._phase is Phase.STOPPING:
            return [] if now - self._asked < SAME_WISH else [Kill("was asked twice to end")]
        told = self._phase is Phase.RENEWING
        self._phase, self._asked, self.deadline = Phase.STOPPING, now, now + self._grace
        return [] if told else [Ask()]

    def renew(self, now: float) -> list[Action]:
        """Somebody wants a fresh process."""
        if self._phase is Phase.WAITING:
            self._failures = 0
            return self.start(now)
        if self._phase is not Phase.UP:
            return []
        self._phase, self.deadline = Phase.RENEWING, now + self._grace
        return [Ask()]

    def _silent(self, now: float, deadline: float) -> list[Action]:
        if now - deadline > OVERSLEPT:
            self.deadline = now + SECOND_CHANCE
            return []
        self._hung, self.deadline = f"silent for {now - self._heard:.0f} s", None
        return [Kill("")]

    def _end(self, code: int) -> list[Action]:
        self._phase, self.deadline = Phase.DOWN, None
        return [End(code)]


def describe(status: int) -> str:
    """Put into words how a process ended; `status` is its exit code, or minus the signal that killed it."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def _delay(failures: int, chance: float) -> float:
    doubled = SHORTEST_DELAY * 2.0 ** min(failures - 1, 10)
    return min(doubled, LONGEST_DELAY) * (1.0 - JITTER * chance)
