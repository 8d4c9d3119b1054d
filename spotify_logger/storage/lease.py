"""The lease: of all loggers that keep the same log, only its holder polls Spotify.

It is a key in Redis that expires unless it is renewed (`SET NX PX`). Its value is a fencing token, greater
than that of any earlier lease, the ID of the holder, and the name of its machine. A standby announces itself
under another key: only then does the holder renew the lease every few seconds, with a short expiry.
"""

import re
from contextlib import suppress
from enum import Enum

from redis.lock import Lock

from spotify_logger.core.player_state import whole_number
from spotify_logger.core.redis_keys import FENCE, LEASE, STANDBY, STATUS
from spotify_logger.core.times import seconds_of
from spotify_logger.storage.client import SKIP_LOG, RedisClient, StoreError
from spotify_logger.system import log
from spotify_logger.system.clock import Clock

# Seconds until the lease expires while a standby waits: longer than the 20 s that a request to Spotify may
# take, and short enough for a takeover within 30 s.
LEASE_SECONDS = 25.0
RENEW_INTERVAL = 5.0  # seconds between renewals while a standby waits, and between its checks
UNCONTESTED_SECONDS = 60.0  # seconds by which the lease outlasts the next turn while no standby waits
RETRY_DELAY = 10.0  # seconds before Redis is tried again after a failure; each attempt may take a few
MAX_LEASE_SECONDS = 8 * 3600.0  # no valid lease is longer: POLL_MAX, idle, and a rate limit make 7 hours
INVALID_LEASE_GRACE = 60.0  # seconds without a write until a lease that no logger can have set is replaced

# What only the holder may do. A renewal is not worth a write to the disk: after a restart of Redis, a standby
# waits for longer than the holder needs to take the lease again.
RENEW = f"{SKIP_LOG} {Lock.LUA_REACQUIRE_SCRIPT}"
RELEASE = Lock.LUA_RELEASE_SCRIPT
_NOT_THERE = -2  # the reply to `PTTL`
_VALUE = re.compile(r"([0-9]{1,18}) ([0-9a-f]{1,32}) ([ -~]{1,80})")  # fencing token, ID, machine


LeaseState = Enum("LeaseState", ["HELD", "HELD_BY_OTHER", "UNKNOWN"])  # unknown: Redis does not answer


class Lease:
    """The lease of one log, as seen by one logger, over a client of its own. For one thread."""

    def __init__(  # noqa: PLR0913 - a lease is about all of these
        self,
        client: RedisClient,
        prefix: str,
        logger_id: str,  # hexadecimal digits, the same after a restart
        machine: str,
        clock: Clock,
        *,
        stood_by: bool,  # whether another logger held it at the last check, possibly before a restart
        renewal: float = RENEW_INTERVAL,
    ) -> None:
        self.renewal = renewal
        self.machine = re.sub(r"[^ -~]", "?", log.sanitize(machine, 80)) or "?"
        self.client, self._clock, self._logger_id, self._stood_by = client, clock, logger_id, stood_by
        names = LEASE, STANDBY, STATUS, FENCE
        self._lease, self._standby, self._status, self._fence = (prefix + name for name in names)
        self._held = ""
        self._renewed_at = self._expires_at = self._retry_at = float("-inf")
        self._watched_since = self._seen_at = float("-inf")
        self._connection, self._left = 0, renewal
        self._is_contested = False  # a standby waits while this logger holds the lease
        self._is_shown = self._has_seen = False
        self._seen: object = None  # lease and status, as they have been since `_seen_at`
        self.state = LeaseState.UNKNOWN  # the result of the last check
        self.fence = 0  # the fencing token of the current or last lease; 0 before the first
        self.other_machine = ""  # the machine of the holder, or of the standby; "" if there is none
        self.was_overwritten = False  # whether an earlier holder has written after this logger took over
        self._refusal = ""  # the error if Redis refused a command
        self.was_invalid = False  # whether a lease was replaced before it expired
        self.silent_seconds = 0.0  # since the active logger should have written, while this one stands by

    @property
    def wait(self) -> float:
        """Seconds until the next check is due."""
        now = self._clock.monotonic()
        if self.state is LeaseState.UNKNOWN:
            return max(0.0, self._retry_at - now)
        if self.state is LeaseState.HELD_BY_OTHER:
            return min(self._left, self.renewal)
        due = self._renewed_at + self.renewal if self._is_contested else self._expires_at - self.renewal
        return max(0.0, due - now)

    def ensure(self, due: float = 0.0, *, at_once: bool = False) -> LeaseState:
        """Renew the lease, take it if it is free, or read who holds it.

        Nothing is done if it was checked a moment ago and lasts until the next turn, in `due` seconds, or if
        Redis failed a moment ago, unless it is to be asked `at_once`, because it answers again.
        """
        now = self._clock.monotonic()
        lasts = self._is_contested or self._expires_at >= now + due + self.renewal
        is_fresh = self.state is LeaseState.HELD and lasts and now < self._renewed_at + self.renewal
        if is_fresh or (now < self._retry_at and not at_once):
            return self.state
        try:
            self._connect()
            self.state = self._renew(due) if self._held else self._acquire(due)
            self._retry_at, self._refusal = float("-inf"), ""
        except StoreError as error:
            self.state = LeaseState.UNKNOWN
            known, self._refusal = self._refusal, str(error) if error.codes else ""
            if self._refusal not in ("", known):
                log.warning(f"{error}; cannot tell whether another logger for this listener runs")
            self._retry_at = self._clock.monotonic() + RETRY_DELAY
        return self.state

    def release(self) -> None:
        """Release the lease, so that a standby can take it at once."""
        if self.state is LeaseState.HELD:
            with suppress(StoreError):  # the lease expires by itself
                self._connect()
                self.client.ask([("EVAL", RELEASE, 1, self._lease, self._held)])
        self._held, self.state = "", LeaseState.UNKNOWN

    def _connect(self) -> None:
        connection = self.client.connect()
        if connection != self._connection:
            self._connection = connection
            self._has_seen, self._watched_since = False, self._clock.monotonic()
            self._seen = None  # while Redis was away, nobody could write

    def _renew(self, due: float) -> LeaseState:
        asked_at, milliseconds = self._clock.monotonic(), self._milliseconds(due)
        renew = ("EVAL", RENEW, 1, self._lease, self._held, milliseconds)
        questions = [renew, ("GET", self._standby), ("HGET", self._status, "fence")]
        renewed, awaited, shown = self.client.ask(questions)
        if renewed != 1:
            self._held = ""
            return self._acquire(due)
        self._stood_by = False
        self._renewed_at, self._expires_at = asked_at, asked_at + milliseconds / 1000
        waiting, was_contested = _VALUE.fullmatch(f"0 {awaited}"), self._is_contested
        self.other_machine = waiting[3] if waiting and waiting[2] != self._logger_id else ""
        self._is_contested = self.other_machine != ""
        last_writer = whole_number(shown) or 0
        self.was_overwritten |= self._is_shown and last_writer < self.fence
        self._is_shown = last_writer == self.fence
        # A new standby must not have to wait for the long expiry.
        return self._renew(due) if self._is_contested and not was_contested else LeaseState.HELD

    def _acquire(self, due: float) -> LeaseState:
        """Take the lease if it is free, or read who holds it."""
        shown = ("HMGET", self._status, "last_poll", "next_poll", "fence")
        value, left, written = self.client.ask([("GET", self._lease), ("PTTL", self._lease), shown])
        holder = _VALUE.fullmatch(value or "")
        if holder and holder[2] == self._logger_id:
            self._held, self.fence = value, int(holder[1])  # our own, from before a restart
            return self._renew(due)
        next_poll, now = seconds_of(f"{written[1]}") if written else None, self._clock.monotonic()
        is_due = next_poll is None or next_poll <= self._clock.utc()
        is_invalid = left != _NOT_THERE and not (holder and 0 <= left <= MAX_LEASE_SECONDS * 1000)
        if self._seen != (seen := (value, is_invalid, written, is_due)):
            self._seen, self._seen_at = seen, now
        self.silent_seconds = now - self._seen_at if is_due else 0.0
        # A standby waits: Redis may only have been away, or have lost the lease.
        waited = now - self._watched_since
        if left == _NOT_THERE and (not self._stood_by or self._has_seen or waited >= LEASE_SECONDS):
            return self._take(due)
        if is_invalid and now - self._seen_at >= INVALID_LEASE_GRACE:
            self.was_invalid = True
            return self._take(due, "XX")
        announced = f"{self._logger_id} {self.machine}"
        self.client.ask([("SET", self._standby, announced, "PX", round(3 * LEASE_SECONDS * 1000))])
        self._stood_by = True
        self._left = left / 1000 if left > 0 else self.renewal
        if left != _NOT_THERE:
            self._has_seen = True
            self.other_machine = holder[3] if holder else "?"
        return LeaseState.HELD_BY_OTHER

    def _take(self, due: float, condition: str = "NX") -> LeaseState:
        (number,) = self.client.ask([("INCR", self._fence)])
        fence = max(number or 0, self.fence + 1)
        held = f"{fence} {self._logger_id} {self.machine}"
        if self.client.ask([("SET", self._lease, held, condition, "PX", self._milliseconds(due))]) != [True]:
            return self._acquire(due)
        self._held, self.fence, self._is_shown = held, fence, False
        return self._renew(due)

    def _milliseconds(self, due: float) -> int:
        longest = LEASE_SECONDS if self._is_contested else max(LEASE_SECONDS, due + UNCONTESTED_SECONDS)
        return round(1000 * longest)
