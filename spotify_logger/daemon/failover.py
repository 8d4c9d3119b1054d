"""On duty or standing by: of two machines that keep the same log, one works, and the other waits for its end.

Whoever has the lease is on duty. While Redis is away nobody can tell, so whoever was on duty goes on, and
whoever stood by does not begin.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from spotify_logger.core.redis_keys import LEASE
from spotify_logger.daemon.gap_monitor import GAP
from spotify_logger.daemon.poller import Turn
from spotify_logger.storage.lease import RENEWED_EVERY, VOID_AFTER, Standing
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

IDENTITY = "logger"
"""The note that keeps the logger's id."""
DUTY = "duty"
"""The note that keeps whether it was on duty, or stood by."""
NUMBER = "lease"
"""The note that keeps the fencing number of the lease that it had last."""
ON_DUTY, STOOD_BY = "on duty", "stood by"
LONG_SILENCE = 600.0
"""Seconds without a write of the logger on duty after which the one that stands by calls a person."""
_VOID, _SILENT = "lease", "standby"  # keys of alerts


def identity_of(outbox: Outbox) -> str:
    """The id of the logger that an outbox belongs to, made up when it is first asked for."""
    known = outbox.note(IDENTITY)
    if not known:
        known = secrets.token_hex(8)
        outbox.set_note(IDENTITY, known)
    return known


def stood_by(outbox: Outbox) -> bool:
    """Whether the logger that an outbox belongs to stood by when it was seen last."""
    return outbox.note(DUTY) == STOOD_BY


class Duty:
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
        assemble: Callable[[Duty], Logger],
        make_alerts: Callable[[Outbox], Alerts],
        clock: Clock,
    ) -> None:
        self._assemble = assemble
        self._make_alerts = make_alerts
        self._clock = clock
        self._turn: Turn | None = None
        self._has_begun = False
        self._said = ""
        self._other = "another machine"
        self.logger = assemble(self)
        self._alerts = make_alerts(self.logger.outbox)
        self._lease = make_lease(self.logger.outbox)
        self._is_on_duty = not stood_by(self.logger.outbox)
        noted = self.logger.outbox.note(NUMBER)
        self._number = self._noted = int(noted) if noted.isdigit() else 0

    def turn(self) -> Turn:
        """Do what is due: ask Spotify once, renew the lease, or look whether it is free."""
        now = self._clock.monotonic()
        left = 0.0 if self._turn is None else max(0.0, self._turn.due - now)
        standing = self._lease.keep(left)
        if standing is Standing.ANOTHERS or (standing is Standing.UNKNOWN and not self._is_on_duty):
            return self._stand_by()
        self._complain()
        self._begin(standing)
        if self._lease.is_overwritten:
            self._lease.is_overwritten = False
            log.warning("another logger wrote here although its time was over; all is written again")
            self.logger.recorder.distrust()
        if self._turn is None or left <= 0:
            self._turn = self.logger.poller.turn()
            self._note_number()
            self._lease.keep(max(0.0, self._turn.due - self._clock.monotonic()))
        due = min(self._turn.due, self._clock.monotonic() + self._lease.wait)
        return Turn(due, self._turn.ok, self._turn.words)

    def settle(self) -> None:
        """Leave everything in order, and the duty to another one, before the end."""
        if self._is_on_duty and self._has_begun:
            self.logger.poller.settle()
        self._lease.release()

    def close(self) -> None:
        """Let go of Redis and of the disk."""
        self.logger.close()
        self._lease.close()

    def sending(self, send: Send) -> Send:
        """A way to send that looks first whether this is still for us to do; the lease outlasts a request.

        Raises:
            TryLater: By the way: another logger has taken over.
        """

        def send_on_duty(request: Request) -> Response:
            if self._lease.keep() is Standing.ANOTHERS:
                raise TryLater("another logger has taken over")
            return send(request)

        return send_on_duty

    def may_write(self) -> bool:
        """Whether nobody else can have taken over, as far as that can be known now."""
        return self._lease.keep() is not Standing.ANOTHERS

    def _complain(self) -> None:
        if self._lease.refusal not in ("", self._said):
            log.warning(f"{self._lease.refusal}; another logger for this listener would not be noticed")
        self._said = self._lease.refusal

    def _begin(self, standing: Standing) -> None:
        """Take note of being on duty; of a lease that is a new one, too, and of who had it in between."""
        takes_over = not self._is_on_duty
        if takes_over:
            log.info(f"takes over from the logger on {self._other}")
            self._alerts.forget(_SILENT)
            self._report_void()
        number = self._lease.number
        if standing is Standing.OURS and number != self._number:
            if takes_over or (self._number and number != self._number + 1):
                self.logger.outbox.set_note(GAP, "")  # somebody else could see meanwhile
                self._renew_logger()
                self.logger.recorder.learn_newest()
            self._number = number
        if takes_over or not self._has_begun:
            self.logger.outbox.set_note(DUTY, ON_DUTY)
        self._is_on_duty = self._has_begun = True
        self.logger.recorder.duty = {"fence": self._number, "machine": self._lease.machine}

    def _note_number(self) -> None:
        """Keep the number on the disk, but not before the disk has what others wrote under numbers before."""
        if self._number != self._noted and self.logger.recorder.has_learned:
            self.logger.outbox.set_note(NUMBER, str(self._number))
            self._noted = self._number

    def _stand_by(self) -> Turn:
        self._other = self._lease.other or self._other
        if self._is_on_duty or not self._has_begun:
            if self._is_on_duty and self._has_begun:
                self.logger.poller.settle()
                self._renew_logger()
            log.info(f"the logger on {self._other} asks Spotify; this one stands by")
            self.logger.outbox.set_note(DUTY, STOOD_BY)
            self._is_on_duty, self._has_begun, self._turn = False, True, None
            self._alerts.forget(_VOID)
        self._watch_silence()
        self.logger.recorder.deliver()
        due = self._clock.monotonic() + min(self._lease.wait, RENEWED_EVERY)
        return Turn(due, ok=True, words=f"stands by: the logger on {self._other} is on duty")

    def _watch_silence(self) -> None:
        """Call a person where nobody logs although this logger must not."""
        silence = self._lease.silence
        if silence >= LONG_SILENCE:
            self._alerts.tell(
                _SILENT,
                f"The logger on {self._lease.machine} stands by for the one on {self._other}, which has"
                f" written nothing for {silence / 60:.0f} minutes: look after that one, or end it",
            )
        else:
            self._alerts.forget(_SILENT)
        self._alerts.deliver()

    def _report_void(self) -> None:
        """Tell the log and a person of a lease that was taken over because it would not have ended."""
        if self._lease.void:
            text = (
                f"The lease in Redis (key {LEASE}) {self._lease.void}, and nobody wrote for"
                f" {VOID_AFTER:.0f} s: the logger on {self._lease.machine} has taken over"
            )
            log.warning(text)
            self._alerts.tell(_VOID, text)
            self._lease.void = ""

    def _renew_logger(self) -> None:
        self.logger.close()
        self.logger = self._assemble(self)
        self._alerts = self._make_alerts(self.logger.outbox)
        self._turn = None
