"""The notification protocol of systemd (sd_notify(3)), if there is one. Standard library only."""

import contextlib
import os
import socket
from collections.abc import MutableMapping

from spotify_logger.supervisor.restart_policy import Beat


class NotifyMessages:
    """Decides which messages systemd gets, and when. Pure: every event returns a message, or "" for none.

    The `interval` is the longest time between two watchdog messages, in seconds; None without a watchdog. At
    the `deadline` (monotonic seconds), if any, `on_deadline` has to be called.
    """

    def __init__(self, interval: float | None) -> None:
        self._interval = interval
        self._ready = False
        self.deadline: float | None = None

    def on_beat(self, now: float, beat: Beat) -> str:
        """Return the message for a beat of the loop, which is ready and alive even if it is in trouble."""
        ready = "" if self._ready else "READY=1"
        self._ready = True
        return "\n".join(filter(None, (self._watchdog(now), ready, f"STATUS={beat.status}")))

    def on_deadline(self, now: float) -> str:
        """Return the next watchdog message if it is due; the loop is not overdue."""
        return "" if self.deadline is None or now < self.deadline else self._watchdog(now)

    def on_loop_down(self, status: str) -> str:
        """Return the message for a dead loop; watchdog messages pause until its next beat."""
        self.deadline = None
        return f"STATUS={status}"

    def stopping(self) -> str:
        """Return the message for a requested stop."""
        self.deadline = None
        return "STOPPING=1"

    def _watchdog(self, now: float) -> str:
        if self._interval is None:
            return ""
        self.deadline = now + self._interval
        return "WATCHDOG=1"


class NotifySocket:
    """The socket of systemd; its variables are removed from `environ`, so that no child inherits them."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        allowed, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        watched = allowed.isdigit() and int(allowed) > 0 and pid in {"", str(os.getpid())}
        # Seconds between two watchdog messages, half of what systemd allows.
        self.interval = int(allowed) / 2e6 if watched else None

    def send(self, message: str) -> None:
        """Send `message`, lines of NAME=value; errors are ignored."""
        if not message or self._address[:1] not in {"/", "@"}:
            return
        # "@" marks an abstract socket, whose name starts with a zero byte.
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)  # noqa: FBT003 - positional-only
            channel.sendto(message.encode(errors="replace"), address)
