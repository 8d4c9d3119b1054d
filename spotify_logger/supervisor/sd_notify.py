"""The notification protocol of systemd (sd_notify(3)), if there is one. Standard library only."""

import contextlib
import os
import socket
from collections.abc import MutableMapping

from spotify_logger.supervisor.restart_policy import Beat


class Notifier:
    """Tells systemd how the loop is; its variables go from `environ`, so that no child inherits them.

    At the `deadline` (monotonic seconds), if any, `on_deadline` has to be called.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        self._address = environ.pop("NOTIFY_SOCKET", "")
        allowed, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        watched = allowed.isdigit() and int(allowed) > 0 and pid in {"", str(os.getpid())}
        # Seconds between two watchdog messages, half of what systemd allows; None without a watchdog.
        self._interval = int(allowed) / 2e6 if watched else None
        self._ready = "READY=1"  # until it was sent
        self.deadline: float | None = None

    def on_beat(self, now: float, beat: Beat) -> None:
        """Say that the loop is ready and alive, even if it is in trouble."""
        self._send(self._watchdog(now), self._ready, f"STATUS={beat.status}")
        self._ready = ""

    def on_deadline(self, now: float) -> None:
        """Send the next watchdog message if it is due; the loop is not overdue."""
        if self.deadline is not None and now >= self.deadline:
            self._send(self._watchdog(now))

    def on_loop_down(self, status: str) -> None:
        """Say that the loop is dead; watchdog messages pause until its next beat."""
        self.deadline = None
        self._send(f"STATUS={status}")

    def on_stop(self) -> None:
        """Say that a stop was requested."""
        self.deadline = None
        self._send("STOPPING=1")

    def _watchdog(self, now: float) -> str:
        if self._interval is None:
            return ""
        self.deadline = now + self._interval
        return "WATCHDOG=1"

    def _send(self, *lines: str) -> None:
        if self._address[:1] not in {"/", "@"}:
            return
        # "@" marks an abstract socket, whose name starts with a zero byte.
        address = self._address.replace("@", "\0", 1) if self._address[0] == "@" else self._address
        message = "\n".join(filter(None, lines)).encode(errors="replace")
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)  # noqa: FBT003 - positional-only
            channel.sendto(message, address)
