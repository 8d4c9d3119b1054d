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


class Clock(Protocol):
    """What the rooms above know of time. The simulator has a virtual one."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment, suspended time included; for durations only."""

    def utc(self) -> float:
        """Seconds since the epoch, corrected by what Spotify's answers said; for stamps only."""

    def heed(self, date: float) -> None:
        """Take note that a server's `Date` header, just received, said `date` (seconds since the epoch)."""

    def sleep(self, seconds: float) -> None:
        """Wait, or return early when something asks for attention."""


def _boottime() -> float:
    # CLOCK_MONOTONIC stands still while a machine is suspended; Linux's CLOCK_BOOTTIME does not.
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class SystemClock:
    """The machine's clocks, the stamps corrected by `heed`.

    Args:
        wake_fd: A file descriptor that becomes readable when `sleep` has to end early; its owner drains it.
    """

    def __init__(self, wake_fd: int | None = None) -> None:
        self._wake_fds = [] if wake_fd is None else [wake_fd]
        self._offset = time.time() - _boottime()

    def monotonic(self) -> float:
        """See `Clock.monotonic`."""
        return _boottime()

    def utc(self) -> float:
        """See `Clock.utc`."""
        return self._offset + _boottime()

    def heed(self, date: float) -> None:
        """Follow the system's clock where Spotify's `Date` agrees with it, and the header where it does not.

        The header is cut to whole seconds, so the moment it means lies half a second later on average.
        """
        now = _boottime()
        truth = date + 0.5
        if abs(time.time() - truth) <= DATE_TOLERANCE:
            self._offset = time.time() - now
        elif abs(self._offset + now - truth) > DATE_TOLERANCE:
            self._offset = truth - now

    def sleep(self, seconds: float) -> None:
        """See `Clock.sleep`."""
        select.select(self._wake_fds, [], [], max(0.0, seconds))
