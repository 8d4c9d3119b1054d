"""Time, in two faces that are never mixed: `monotonic` for durations, `utc` for stamps; and `sleep`.

A Pi has no battery clock: it wakes up with the time of its last shutdown, and jumps when the network
tells it better. So stamps are not read off the system's clock alone: it is held against the `Date`
header of Spotify's answers, and between two answers the stamps advance with the monotonic clock.
"""

from __future__ import annotations

import select
import time
from typing import Protocol

DATE_TOLERANCE = 2.0
"""Seconds by which the system's clock may differ from the `Date` header (which has whole seconds)."""

_TIMEX_ROOM = 512  # bytes, more than the kernel's `struct timex` has
_TIME_ERROR = 5


class Clock(Protocol):
    """What the rooms above know of time. The simulator has a virtual one."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment, suspended time included; for durations only."""

    def utc(self) -> float:
        """Seconds since the epoch, corrected by what Spotify's answers said; for stamps only."""

    def correct(self, date: float) -> None:
        """Take note that a server's `Date` header, just received, said `date` (seconds since the epoch)."""

    def is_synchronized(self) -> bool:
        """Whether the machine's own clock is known to be right, so that `utc` is, before any answer came."""

    def sleep(self, seconds: float) -> None:
        """Wait, or return early when something asks for attention."""


def _boottime() -> float:
    # CLOCK_MONOTONIC stands still while a machine is suspended; Linux's CLOCK_BOOTTIME does not.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


def _is_synchronized() -> bool:
    # adjtimex(2): zeros ask for nothing to be changed, so it only tells; -1 is a refusal, and TIME_ERROR a
    # clock that nobody keeps right.
    try:
        import ctypes  # noqa: PLC0415 - asked for seldom, and not worth its memory otherwise

        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(_TIMEX_ROOM))
    except Exception:  # noqa: BLE001 - built without it, no such call, memory that may not be run: nobody knows
        return False
    return state in range(_TIME_ERROR)


class SystemClock:
    """The machine's clocks, the stamps corrected by `heed`.

    Args:
        wake_fd: A file descriptor that becomes readable when `sleep` has to end early; its owner drains it.
    """

    def __init__(self, wake_fd: int | None = None) -> None:
        self._wake_fds = [] if wake_fd is None else [wake_fd]
        self._offset: float | None = None

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return _boottime()

    def utc(self) -> float:
        """See `Clock.utc`."""
        # Before the first answer there is only the machine's own clock, which may be set right meanwhile.
        return time.time() if self._offset is None else self._offset + _boottime()

    def correct(self, date: float) -> None:
        """Follow the system's clock where Spotify's `Date` agrees with it, and the header where it does not.

        The header is cut to whole seconds, so the moment it means lies half a second later on average.
        """
        now = _boottime()
        truth = date + 0.5
        if abs(time.time() - truth) <= DATE_TOLERANCE:
            self._offset = time.time() - now
        elif self._offset is None or abs(self._offset + now - truth) > DATE_TOLERANCE:
            self._offset = truth - now

    def is_synchronized(self) -> bool:
        """See `Clock.is_synchronized`: the kernel says so while a network time service keeps it right."""
        return _is_synchronized()

    def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        select.select(self._wake_fds, [], [], max(0.0, seconds))
