"""Two clocks that are never mixed: `monotonic` for durations, `utc` for stamps; `sleep` and `deadline`.

A Pi has no battery-backed clock: it boots with the time of its last shutdown, and jumps once the network
corrects it. So the system clock is compared with the `Date` header of Spotify's responses, and between two
responses the stamps advance with the monotonic clock.
"""

from __future__ import annotations

import select
import time
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATE_TOLERANCE = 2.0  # seconds by which the system clock may differ from the `Date` header

TIMEX_SIZE = 512  # bytes, more than `struct timex` of the kernel needs
TIME_ERROR = 5


class Clock:
    """The clocks of the machine; `wake_fd`, which its owner drains, ends `sleep` when it becomes readable."""

    def __init__(self, wake_fd: int | None = None) -> None:
        self._wake_fds = [] if wake_fd is None else [wake_fd]
        self._offset: float | None = None

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment, including suspended time; for durations only."""
        # CLOCK_MONOTONIC stops while the machine is suspended; CLOCK_BOOTTIME of Linux does not.
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def utc(self) -> float:
        """Return seconds since the epoch, corrected by Spotify's `Date` headers; for stamps only."""
        return time.time() if self._offset is None else self._offset + self.monotonic()

    def correct(self, date: float) -> None:
        """Follow the system clock if it agrees with the `Date` of a response just received, else `Date`."""
        now = self.monotonic()
        truth = date + 0.5  # the header is truncated to whole seconds
        if abs(time.time() - truth) <= DATE_TOLERANCE:
            self._offset = time.time() - now
        elif self._offset is None or abs(self._offset + now - truth) > DATE_TOLERANCE:
            self._offset = truth - now

    def is_synchronized(self) -> bool:
        """Return whether the kernel reports a synchronized clock, as it does while a time service runs."""
        # adjtimex(2): all zeros change nothing; it returns -1 for an error, TIME_ERROR if not synchronized.
        try:
            import ctypes  # noqa: PLC0415 - slow to import, and needed once at most

            state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_SIZE))
        except Exception:  # noqa: BLE001 - no ctypes, no such call, no executable memory: unknown
            return False
        return state in range(TIME_ERROR)

    def sleep(self, seconds: float) -> None:
        """Wait for the seconds, or until woken."""
        select.select(self._wake_fds, [], [], max(0.0, seconds))


def boot_id() -> str:
    """Return the ID of this boot of the machine (random(4)); "" if it is unknown."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - small
            return file.read().strip()
    except OSError:
        return ""


@contextmanager
def deadline(seconds: float, interrupt: Callable[[], None]) -> Iterator[None]:
    """After `seconds` in the block, let `interrupt`, in a thread, shut down what the block waits for."""
    timer = Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
