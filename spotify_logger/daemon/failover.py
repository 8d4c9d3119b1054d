"""Failover between machines that keep the same log: one is active, the others stand by.

Whoever holds the lease is active. While Redis is away nobody can tell, so the active logger goes on, and a
standby does not start.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from spotify_logger.core.redis_keys import LEASE
from spotify_logger.daemon.gap_monitor import GAP_NOTE
from spotify_logger.daemon.poller import Turn
from spotify_logger.storage.lease import INVALID_LEASE_GRACE, LeaseState
from spotify_logger.system import log
from spotify_logger.system.errors import TryLater

if TYPE_CHECKING:
    from collections.abc import Callable

    from spotify_logger.daemon.alerts import Alerts
    from spotify_logger.daemon.logger import Logger
    from spotify_logger.spotify.http import Request, Response, Send
    from spotify_logger.storage.lease import Lease
    from spotify_logger.storage.outbox import Outbox
    from spotify_logger.system.clock import Clock

LOGGER_ID_NOTE = "logger"
"""The note with the ID of the logger."""
ROLE_NOTE = "duty"
"""The note with its role, `ACTIVE` or `STANDBY`."""
FENCE_NOTE = "lease"
"""The note with the fencing token of its last lease."""
ACTIVE, STANDBY = "on duty", "stood by"
MAX_SILENCE = 600.0
"""Seconds without a write by the active logger after which the standby alerts a person."""
_VOID, _SILENT = "lease", "standby"  # keys of alerts


def logger_id(outbox: Outbox) -> str:
    """Return the ID of the logger that owns an outbox; it is created on first use."""
    known = outbox.note(LOGGER_ID_NOTE)
    if not known:
        known = secrets.token_hex(8)
        outbox.set_note(LOGGER_ID_NOTE, known)
    return known


def was_standby(outbox: Outbox) -> bool:
    """Return whether the logger that owns an outbox was a standby when it last ran."""
    return outbox.note(ROLE_NOTE) == STANDBY


class Failover:
    """Takes turns as the poller does while this logger holds the lease, and stands by otherwise.

    Args:
        make_lease: Creates the lease for the logger that owns an outbox.
        build_logger: Builds a logger from what Redis and the disk hold now.
        make_alerts: Creates the alerts that are used while standing by.
        clock: The time.

    Attributes:
        logger: The current logger; it is built anew at every change of role.
    """

    def __init__(
        self,
        make_lease: Callable[[Outbox], Lease],
        build_logger: Callable[[Failover], Logger],
        make_alerts: Callable[[Outbox], Alerts],
        clock: Clock,
    ) -> None:
        self._build_logger = build_logger
        self._make_alerts = make_alerts
        self._clock = clock
        self._turn: Turn | None = None
        self._has_role = False
        self._reported = ""
        self._other_machine = "another machine"
        self.logger = build_logger(self)
        self._alerts = make_alerts(self.logger.outbox)
        self._lease = make_lease(self.logger.outbox)
        self._is_active = not was_standby(self.logger.outbox)
        saved = self.logger.outbox.note(FENCE_NOTE)
        self._fence = self._saved_fence = int(saved) if saved.isdigit() else 0

    def turn(self) -> Turn:
        """Do what is due: poll Spotify, renew the lease, or check whether it is free."""
        now = self._clock.monotonic()
        left = 0.0 if self._turn is None else max(0.0, self._turn.due - now)
        state = self._lease.ensure(left)
        if state is LeaseState.HELD_BY_OTHER or (state is LeaseState.UNKNOWN and not self._is_active):
            return self._stand_by()
        self._report_refusal("cannot tell whether another logger for this listener is running")
        self._begin(state)
        if self._lease.was_overwritten:
            self._lease.was_overwritten = False
            log.warning("another logger wrote here after its lease had expired; writing everything again")
            self.logger.recorder.rewrite()
        if self._turn is None or left <= 0:
            self._turn = self.logger.poller.turn()
            self._save_fence()
            self._lease.ensure(max(0.0, self._turn.due - self._clock.monotonic()))
        due = min(self._turn.due, self._clock.monotonic() + self._lease.wait)
        return Turn(due, self._turn.ok, self._turn.words)

    def flush(self) -> None:
        """Save everything, and release the lease, before the process ends."""
        if self._is_active and self._has_role:
            self.logger.poller.flush()
        self._lease.release()

    def close(self) -> None:
        """Close the connections to Redis and the outbox."""
        self.logger.close()
        self._lease.close()

    def guarded(self, send: Send) -> Send:
        """Wrap `send` to check the lease before each request; the lease outlasts a request.

        Raises:
            TryLater: From the wrapped function, if another logger has taken over.
        """

        def send_if_active(request: Request) -> Response:
            if self._lease.ensure() is LeaseState.HELD_BY_OTHER:
                raise TryLater("another logger has taken over")
            return send(request)

        return send_if_active

    def may_write(self) -> bool:
        """Return whether, as far as is known, no other logger has taken over, now that Redis answers."""
        return self._lease.ensure(at_once=True) is not LeaseState.HELD_BY_OTHER

    def _report_refusal(self, consequence: str) -> None:
        """Log once why Redis refuses the lease, and what follows from it."""
        if self._lease.refusal not in ("", self._reported):
            log.warning(f"{self._lease.refusal}; {consequence}")
        self._reported = self._lease.refusal

    def _begin(self, state: LeaseState) -> None:
        """Become active, and reload what others may have written if they held the lease in between."""
        takes_over = not self._is_active
        if takes_over:
            log.info(f"taking over from the logger on {self._other_machine}")
            self._alerts.resolve(_SILENT)
            self._report_invalid_lease()
        fence = self._lease.fence
        if state is LeaseState.HELD and fence != self._fence:
            if takes_over or (self._fence and fence != self._fence + 1):
                self.logger.outbox.set_note(GAP_NOTE, "")  # another logger was polling meanwhile
                self._rebuild_logger()
                self.logger.recorder.relearn()
            self._fence = fence
        if takes_over or not self._has_role:
            self.logger.outbox.set_note(ROLE_NOTE, ACTIVE)
        self._is_active = self._has_role = True
        self.logger.recorder.role_fields = {"fence": self._fence, "machine": self._lease.machine}

    def _save_fence(self) -> None:
        """Save the fencing token, but not before the outbox has what others wrote under earlier ones."""
        if self._fence != self._saved_fence and self.logger.recorder.is_up_to_date:
            self.logger.outbox.set_note(FENCE_NOTE, str(self._fence))
            self._saved_fence = self._fence

    def _stand_by(self) -> Turn:
        self._other_machine = self._lease.other_machine or self._other_machine
        if self._is_active or not self._has_role:
            if self._is_active and self._has_role:
                self.logger.poller.flush()
                self._rebuild_logger()
            log.info(f"the logger on {self._other_machine} is active; this one stands by")
            self.logger.outbox.set_note(ROLE_NOTE, STANDBY)
            self._is_active, self._has_role, self._turn = False, True, None
            self._alerts.resolve(_VOID)
        self._report_refusal("this logger keeps standing by")
        self._watch_silence()
        self.logger.recorder.flush_leftovers()
        due = self._clock.monotonic() + min(self._lease.wait, self._lease.renewal)
        return Turn(due, ok=True, words=f"standby: the logger on {self._other_machine} is active")

    def _watch_silence(self) -> None:
        """Alert a person if the active logger has been silent for too long."""
        silence = self._lease.silent_seconds
        if silence >= MAX_SILENCE:
            self._alerts.notify(
                _SILENT,
                f"The logger on {self._lease.machine} is standing by, but the one on {self._other_machine}"
                f" has written nothing for {silence / 60:.0f} minutes: check that machine, or stop it",
            )
        else:
            self._alerts.resolve(_SILENT)
        self._alerts.deliver()

    def _report_invalid_lease(self) -> None:
        """Log and alert that an invalid lease, which would not have expired, was taken over."""
        if self._lease.invalid_reason:
            text = (
                f"The lease in Redis (key {LEASE}) {self._lease.invalid_reason}, and nothing was written for"
                f" {INVALID_LEASE_GRACE:.0f} s: the logger on {self._lease.machine} has taken over"
            )
            log.warning(text)
            self._alerts.notify(_VOID, text)
            self._lease.invalid_reason = ""

    def _rebuild_logger(self) -> None:
        self.logger.close()
        self.logger = self._build_logger(self)
        self._alerts = self._make_alerts(self.logger.outbox)
        self._turn = None
