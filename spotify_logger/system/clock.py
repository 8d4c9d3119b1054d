"""Two clocks that are never mixed: `monotonic` for durations, `utc` for stamps; `sleep`, and `Deadline`.

A Pi has no battery-backed clock: it boots with the time of its last shutdown, and jumps once the network
corrects it. So the system clock is compared with the `Date` header of Spotify's responses, and between two
responses the stamps advance with the monotonic clock.
"""

import select
import time
from collections.abc import Callable
from contextlib import suppress
from math import inf
from threading import Lock, Thread

DATE_TOLERANCE = 2.0  # seconds by which the system clock may differ from the `Date` header

TIMEX_SIZE = 512  # bytes, more than `struct timex` of the kernel needs
TIME_ERROR = 5


class Clock:
    """The clocks of the machine; `sleep` ends as soon as `wake_fd`, if any, is readable."""

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
        with suppress(Exception):  # no ctypes, no such call, no executable memory: unknown
            import ctypes  # noqa: PLC0415 - slow to import, and needed once at most

            return ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(TIMEX_SIZE)) in range(TIME_ERROR)
        return False

    def sleep(self, seconds: float) -> None:
        """Wait for the seconds, or until woken."""
        select.select(self._wake_fds, [], [], max(0.0, seconds))

    def is_woken(self) -> bool:
        """Return whether `sleep` would end at once."""
        return bool(select.select(self._wake_fds, [], [], 0)[0])


def boot_id() -> str:
    """Return the ID of this boot of the machine (random(4)); "" if it is unknown."""
    with suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123 - small
        return file.read().strip()
    return ""


class Deadline:
    """Ends a `with` block after some seconds: a thread calls `interrupt`, and the block raises TimeoutError.

    Not nested. The thread outlives the block and watches the next ones: starting it takes as long as most
    answers.
    """

    def __init__(self, seconds: float, interrupt: Callable[[], None]) -> None:
        self._seconds, self._interrupt = seconds, interrupt
        self._lock = Lock()
        self._due = inf  # monotonic seconds; infinite while there is nothing to interrupt
        self._is_watched = False

    def __enter__(self) -> None:
        with self._lock:
            self._due = time.monotonic() + self._seconds
            if not self._is_watched:
                Thread(target=self._watch, daemon=True).start()
                self._is_watched = True

    def __exit__(self, *_: object) -> None:
        with self._lock:
            is_late, self._due = time.monotonic() >= self._due, inf
        if is_late:  # also where the block took the end of the connection for that of the answer
            raise TimeoutError

    def _watch(self) -> None:
        left = self._seconds
        while 0 < left < inf:
            time.sleep(left)
            with self._lock:
                left = self._due - time.monotonic()
                self._is_watched = 0 < left < inf
                if left <= 0:
                    self._interrupt()  # under the lock, so that it hits nothing that begins afterwards
