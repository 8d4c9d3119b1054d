"""What systemd wants to hear of a service (sd_notify(3)), and nothing where there is no systemd.

Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from spotify_logger.supervisor.heartbeat import Beat


class NotifyMessages:
    """What to tell, and when. Pure: the time (monotonic seconds) comes in, a message or "" comes out.

    Args:
        interval: Seconds between two signs of life at most, or None where nobody watches.

    Attributes:
        deadline: When `due` has to be called, or None.
    """

    def __init__(self, interval: float | None) -> None:
        self._interval = interval
        self._ready = False
        self._status = ""
        self.deadline: float | None = None

    def on_beat(self, now: float, beat: Beat) -> str:
        """Pass on a beat of the loop: it lives, in health or in a trouble that it knows."""
        lines = self._watchdog_lines(now, early=0.5)
        if beat.ok and not self._ready:
            self._ready = True
            lines.append("READY=1")
        return "\n".join(lines + self._status_lines(beat.status))

    def on_deadline(self, now: float) -> str:
        """Time has passed, and the loop is still not silent for too long."""
        return "" if self.deadline is None else "\n".join(self._watchdog_lines(now, early=0.0))

    def on_loop_down(self, status: str) -> str:
        """The loop is not there; no sign of life until it is back."""
        self.deadline = None
        return "\n".join(self._status_lines(status))

    def stopping(self) -> str:
        """The end was asked for."""
        self.deadline = None
        return "STOPPING=1"

    def _watchdog_lines(self, now: float, early: float) -> list[str]:
        # A beat wakes the supervisor anyway: what would be due within half an interval goes with it.
        if self._interval is None:
            return []
        if self.deadline is not None and now < self.deadline - early * self._interval:
            return []
        self.deadline = now + self._interval
        return ["WATCHDOG=1"]

    def _status_lines(self, status: str) -> list[str]:
        if status == self._status:
            return []
        self._status = status
        return [f"STATUS={status}"]


class NotifySocket:
    """The way to systemd, as it is found in the environment.

    Args:
        environ: The process's environment; what is meant for this process alone is taken out of it.

    Attributes:
        interval: Seconds between two signs of life, half of what systemd allows; None if it does not watch.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        allowed, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        watched = allowed.isdigit() and int(allowed) > 0 and pid in {"", str(os.getpid())}
        self.interval = int(allowed) / 2e6 if watched else None

    def send(self, message: str) -> None:
        """Send `message`, lines of "NAME=value"; nobody listening, or too slowly, is no fault of ours."""
        if not message or self._address[:1] not in {"/", "@"}:
            return
        # A name that begins with "@" is an abstract one, which the kernel writes with a zero byte.
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)  # noqa: FBT003 - so the library wants it
            channel.sendto(message.encode(errors="replace"), address)
