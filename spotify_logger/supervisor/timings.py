"""The timings of the supervisor, in seconds. A tuple: importing `dataclasses` would cost half a megabyte."""

from __future__ import annotations

from typing import NamedTuple


class SupervisorTimings(NamedTuple):
    """All in seconds.

    Attributes:
        first_beat_timeout: Time for the first beat of the loop: on a Pi, imports take a while.
        beat_grace: How late a beat may be: the machine may be small and busy.
        termination_grace: Time between SIGTERM and SIGKILL.
        shortest_delay: Delay before the first restart; doubled for each further one, up to `longest_delay`.
        longest_delay: The longest delay before a restart.
    """

    first_beat_timeout: float = 60.0
    beat_grace: float = 2.0
    termination_grace: float = 10.0
    shortest_delay: float = 1.0
    longest_delay: float = 60.0


DEFAULT_TIMINGS = SupervisorTimings()
