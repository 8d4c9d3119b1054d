"""On duty or standing by: of two machines that keep the same log, one works, and the other waits for its end.

Whoever has the lease is on duty. While Redis is away nobody can tell, so whoever was on duty goes on, and
whoever stood by does not begin.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from spotify_logger.core.redis_keys import LEASE
from spotify_logger.daemon.gap_monitor import GAP_NOTE
from spotify_logger.daemon.poller import Turn
from spotify_logger.storage.lease import INVALID_LEASE_GRACE, RENEW_INTERVAL, LeaseState
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
"""The note that keeps the logger's id."""
ROLE_NOTE = "duty"
"""The note that keeps whether it was on duty, or stood by."""
FENCE_NOTE = "lease"
"""The note that keeps the fencing number of the lease that it had last."""
ACTIVE, STANDBY = "on duty", "stood by"
MAX_SILENCE = 600.0
"""Seconds without a write of the logger on duty after which the one that stands by calls a person."""
_VOID, _SILENT = "lease", "standby"  # keys of alerts


def logger_id(outbox: Outbox) -> str:
    """The id of the logger that an outbox belongs to, made up when it is first asked for."""
    known = outbox.note(LOGGER_ID_NOTE)
    if not known:
        known = secrets.token_hex(8)
        outbox.set_note(LOGGER_ID_NOTE, known)
    return known


def was_standby(outbox: Outbox) -> bool:
    """Whether the logger that an outbox belongs to stood by when it was seen last."""
    return outbox.note(ROLE_NOTE) == STANDBY


class Failover:
    """Takes turns as the poller does, and gives way to another logger.

    Args:
        make_lease: Gives what says who is on duty, for the logger that an outbox belongs to.
        assemble: Puts a logger together that knows what Redis and the disk know now.
        make_alerts: Gives what calls a person while this logger stands by.
        clock: Tells the time.

    Attributes:
        logger: The one that is put together at present.
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
        noted = self.logger.outbox.note(FENCE_NOTE)
        self._fence = self._saved_fence = int(noted) if noted.isdigit() else 0

    def turn(self) -> Turn:
        """Do what is due: ask Spotify once, renew the lease, or look whether it is free."""
        now = self._clock.monotonic()
        left = 0.0 if self._turn is None else max(0.0, self._turn.due - now)
        state = self._lease.ensure(left)
        if state is LeaseState.HELD_BY_OTHER or (state is LeaseState.UNKNOWN and not self._is_active):
            return self._stand_by()
        self._report_refusal("another logger for this listener would not be noticed")
        self._begin(state)
        if self._lease.was_overwritten:
            self._lease.was_overwritten = False
            log.warning("another logger wrote here although its time was over; all is written again")
            self.logger.recorder.rewrite_all()
        if self._turn is None or left <= 0:
            self._turn = self.logger.poller.turn()
            self._save_fence()
            self._lease.ensure(max(0.0, self._turn.due - self._clock.monotonic()))
        due = min(self._turn.due, self._clock.monotonic() + self._lease.wait)
        return Turn(due, self._turn.ok, self._turn.words)

    def flush(self) -> None:
        """Leave everything in order, and the duty to another one, before the end."""
        if self._is_active and self._has_role:
            self.logger.poller.flush()
        self._lease.release()

    def close(self) -> None:
        """Let go of Redis and of the disk."""
        self.logger.close()
        self._lease.close()

    def guarded(self, send: Send) -> Send:
        """A way to send that looks first whether this is still for us to do; the lease outlasts a request.

        Raises:
            TryLater: By the way: another logger has taken over.
        """

        def send_if_active(request: Request) -> Response:
            if self._lease.ensure() is LeaseState.HELD_BY_OTHER:
                raise TryLater("another logger has taken over")
            return send(request)

        return send_if_active

    def may_write(self) -> bool:
        """Whether nobody else can have taken over, as far as that can be known now."""
        return self._lease.ensure() is not LeaseState.HELD_BY_OTHER

    def _report_refusal(self, consequence: str) -> None:
        """Log once why Redis refuses the lease, and what follows from it."""
        if self._lease.refusal not in ("", self._reported):
            log.warning(f"{self._lease.refusal}; {consequence}")
        self._reported = self._lease.refusal

    def _begin(self, state: LeaseState) -> None:
        """Take note of being on duty; of a lease that is a new one, too, and of who had it in between."""
        takes_over = not self._is_active
        if takes_over:
            log.info(f"takes over from the logger on {self._other_machine}")
            self._alerts.resolve(_SILENT)
            self._report_invalid_lease()
        number = self._lease.fence
        if state is LeaseState.HELD and number != self._fence:
            if takes_over or (self._fence and number != self._fence + 1):
                self.logger.outbox.set_note(GAP_NOTE, "")  # somebody else could see meanwhile
                self._rebuild_logger()
                self.logger.recorder.relearn()
            self._fence = number
        if takes_over or not self._has_role:
            self.logger.outbox.set_note(ROLE_NOTE, ACTIVE)
        self._is_active = self._has_role = True
        self.logger.recorder.role_fields = {"fence": self._fence, "machine": self._lease.machine}

    def _save_fence(self) -> None:
        """Keep the number on the disk, but not before the disk has what others wrote under numbers before."""
        if self._fence != self._saved_fence and self.logger.recorder.is_up_to_date:
            self.logger.outbox.set_note(FENCE_NOTE, str(self._fence))
            self._saved_fence = self._fence

    def _stand_by(self) -> Turn:
        self._other_machine = self._lease.other_machine or self._other_machine
        if self._is_active or not self._has_role:
            if self._is_active and self._has_role:
                self.logger.poller.flush()
                self._rebuild_logger()
            log.info(f"the logger on {self._other_machine} asks Spotify; this one stands by")
            self.logger.outbox.set_note(ROLE_NOTE, STANDBY)
            self._is_active, self._has_role, self._turn = False, True, None
            self._alerts.resolve(_VOID)
        self._report_refusal("this logger keeps standing by")
        self._watch_silence()
        self.logger.recorder.flush_leftovers()
        due = self._clock.monotonic() + min(self._lease.wait, RENEW_INTERVAL)
        return Turn(due, ok=True, words=f"stands by: the logger on {self._other_machine} is on duty")

    def _watch_silence(self) -> None:
        """Call a person where nobody logs although this logger must not."""
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
        """Tell the log and a person of a lease that was taken over because it would not have ended."""
        if self._lease.invalid_reason:
            text = (
                f"The lease in Redis (key {LEASE}) {self._lease.invalid_reason}, and nobody wrote for"
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
