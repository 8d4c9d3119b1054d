"""Failover between machines that keep the same log: one is active, the others stand by.

Whoever holds the lease is active. While Redis is away nobody can tell, so the active logger goes on, and a
standby does not start.
"""

import secrets
from functools import partial

from spotify_logger.config.settings import Settings
from spotify_logger.core.redis_keys import LEASE
from spotify_logger.daemon.backfiller import GAP_NOTE
from spotify_logger.daemon.poller import Environment, Poller, Turn
from spotify_logger.spotify.http import Request, Response, Send
from spotify_logger.storage.lease import Lease, LeaseState
from spotify_logger.system import log
from spotify_logger.system.errors import TryLater

LOGGER_ID_NOTE = "logger"
FENCE_NOTE = "lease"  # the fencing token of the last lease
ROLE_NOTE = "duty"
ACTIVE, STANDBY = "on duty", "stood by"
MAX_SILENCE = 600.0  # seconds without a write by the active logger after which the standby alerts a person
_VOID, _SILENT = "lease", "standby"  # keys of alerts


class Failover:
    """Takes the turns of a poller, a new one for each role, while it holds the lease; else stands by."""

    def __init__(self, settings: Settings, environment: Environment, machine: str) -> None:
        self._settings, self._clock = settings, environment.clock
        send = partial(self._send_if_active, environment.send)
        send_alert = partial(self._send_if_active, environment.send_alert)
        self._environment = environment._replace(send=send, send_alert=send_alert, may_write=self._may_write)
        self._turn: Turn | None = None
        self._has_role = False
        self._other_machine = "another machine"
        self.poller = Poller(settings, self._environment)
        outbox = self.poller.outbox
        self._is_active = outbox.note(ROLE_NOTE) != STANDBY
        fence, logger_id = outbox.note(FENCE_NOTE), outbox.note(LOGGER_ID_NOTE) or secrets.token_hex(8)
        self._fence = int(fence) if fence.isdigit() else 0
        outbox.set_note(LOGGER_ID_NOTE, logger_id)
        client, prefix = environment.connect(settings.redis_url), settings.redis_prefix
        renewal = environment.timings.lease_renewal
        self._lease = Lease(
            client, prefix, logger_id, machine, self._clock, stood_by=not self._is_active, renewal=renewal
        )

    def turn(self) -> Turn:
        """Do what is due: poll Spotify, renew the lease, or check whether it is free."""
        now = self._clock.monotonic()
        left = 0.0 if self._turn is None else max(0.0, self._turn.due - now)
        state = self._lease.ensure(left)
        if state is LeaseState.HELD_BY_OTHER or (state is LeaseState.UNKNOWN and not self._is_active):
            return self._stand_by()
        self._begin(state)
        if self._lease.was_overwritten:
            self._lease.was_overwritten = False
            log.warning("another logger wrote here after its lease had expired; writing everything again")
            self.poller.store.invalidate()
            self.poller.store.has_lost_data = True
        if self._turn is None or left <= 0:
            self._turn = self.poller.turn()
            # Not before the outbox has what others wrote under earlier fencing tokens.
            if not self.poller.recorder.must_relearn:
                self.poller.outbox.set_note(FENCE_NOTE, str(self._fence))
            self._lease.ensure(max(0.0, self._turn.due - self._clock.monotonic()))
        elif self.poller.forwarder:
            self.poller.forwarder.turn(left)
        now, wait = self._clock.monotonic(), self._lease.wait
        if self.poller.forwarder:
            wait = min(wait, self.poller.forwarder.wait(self._turn.due - now))
        return self._turn._replace(due=min(self._turn.due, now + wait))

    def flush(self) -> None:
        """Save everything, and release the lease, before the process ends."""
        if self._is_active:
            self.poller.flush()
            self.poller.recorder.write_stopped()
        self._lease.release()

    def close(self) -> None:
        """Close the connections to Redis and the outbox."""
        self.poller.close()
        self._lease.client.close()

    def _send_if_active(self, send: Send, request: Request) -> Response:
        """Send a request; the active logger checks the lease before, which outlasts it."""
        if self._is_active and not self._may_write(at_once=False):
            raise TryLater("another logger has taken over")
        return send(request)

    def _may_write(self, *, at_once: bool = True) -> bool:
        """Return whether, as far as is known, no other logger has taken over, now that Redis answers."""
        return self._lease.ensure(at_once=at_once) is not LeaseState.HELD_BY_OTHER

    def _begin(self, state: LeaseState) -> None:
        """Become active, and reload what others may have written if they held the lease in between."""
        takes_over = not self._is_active
        if takes_over:
            log.info(f"taking over from the logger on {self._other_machine}")
            self.poller.alerts.follow(_SILENT, "")
            if self._lease.was_invalid:  # it would not have expired
                text = f"The lease in Redis (key {LEASE}) had a value or an expiry that no logger sets"
                text += f": the logger on {self._lease.machine} has taken over"
                log.warning(text)
                self.poller.alerts.follow(_VOID, text)
                self._lease.was_invalid = False
        fence = self._lease.fence
        if state is LeaseState.HELD and fence != self._fence:
            if takes_over or (self._fence and fence != self._fence + 1):
                self.poller.outbox.set_note(GAP_NOTE, "")  # another logger was polling meanwhile
                self._rebuild()
                self.poller.recorder.must_relearn = True
            self._fence = fence
        self.poller.outbox.set_note(ROLE_NOTE, ACTIVE)
        self._is_active = self._has_role = True
        self.poller.recorder.role_fields = {"fence": self._fence, "machine": self._lease.machine}

    def _stand_by(self) -> Turn:
        self._other_machine = self._lease.other_machine or self._other_machine
        if self._is_active or not self._has_role:
            if self._has_role:
                self.poller.flush()
                self._rebuild()
            log.info(f"the logger on {self._other_machine} is active; this one stands by")
            self.poller.outbox.set_note(ROLE_NOTE, STANDBY)
            self._is_active, self._has_role = False, True
            self.poller.alerts.follow(_VOID, "")
        silence = self._lease.silent_seconds
        trouble = f"the logger on {self._lease.machine} is on standby, but {self._other_machine} has written"
        trouble += f" nothing for {silence / 60:.0f} minutes: check that machine, or stop its logger"
        self.poller.alerts.follow(_SILENT, trouble if silence >= MAX_SILENCE else "")
        self.poller.send_alerts()
        self.poller.recorder.flush_leftovers()
        due = self._clock.monotonic() + self._lease.wait
        return Turn(due, ok=True, words=f"standby: the logger on {self._other_machine} is active")

    def _rebuild(self) -> None:
        self.poller.close()
        self.poller = Poller(self._settings, self._environment)
        self._turn = None
