"""The lease: of all loggers that keep the same log, the one that has it asks Spotify.

It is a key in Redis that expires unless it is renewed (`SET NX PX`). Its value is a fencing number, which is
greater than that of any lease before, the holder's id, and its machine's name. A logger that waits for it
says so under another key: only then does the holder renew it every few seconds, and let it expire soon.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from spotify_logger.core.redis_keys import FENCE, LEASE, STANDBY, STATUS
from spotify_logger.core.times import seconds_of
from spotify_logger.storage.connection import StoreError
from spotify_logger.storage.redis_errors import Refusal
from spotify_logger.system.log import sanitize

if TYPE_CHECKING:
    from spotify_logger.storage.connection import Command, Link, Reply
    from spotify_logger.system.clock import Clock

SECONDS = 25.0
"""So long the lease is good after it was renewed last, while somebody waits for it: longer than the 20 s that
a request to Spotify takes at most, and short enough to be taken over within 30 s."""
RENEWED_EVERY = 5.0
"""Seconds between two renewals while somebody waits, and between two looks of the one who waits."""
ALONE_SECONDS = 60.0
"""For so long it is good beyond the next turn, while nobody waits."""
RETRY = 10.0
"""Seconds before Redis is asked again after it gave no answer; each try may take a few."""
LONGEST = 8 * 3600.0
"""Seconds that no logger asks for: the largest POLL_MAX, nothing playing, and rate limits make it 7 hours."""
VOID_AFTER = 60.0
"""Seconds without a write after which a lease that does not end by itself is taken over."""

_IF_HELD = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end "
RENEW = _IF_HELD + "return redis.call('PEXPIRE', KEYS[1], ARGV[2])"
RELEASE = _IF_HELD + "return redis.call('DEL', KEYS[1])"
"""What only the holder may do, as scripts: every server that is new enough for the rest knows these."""
DROP = (
    "local held = redis.pcall('GET', KEYS[1]) "
    "if type(held) == 'string' and held ~= ARGV[1] and string.match(held, '^%d+ %x+ [ -~]+$')"
    " then return 0 end "
    "return redis.call('DEL', KEYS[1])"
)
"""Delete a void lease, unless a logger has put its own there since; other types make `GET` fail."""
_READS = frozenset({"GET", "HGET", "HMGET"})
_VALUE = re.compile(r"([0-9]{1,18}) ([0-9a-f]{1,32}) ([ -~]{1,80})")


class Standing(Enum):
    """What is known about the lease."""

    OURS = "it is ours"
    ANOTHERS = "another logger has it"
    UNKNOWN = "Redis gives no answer"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who has the lease.

    Attributes:
        number: The fencing number.
        identity: The logger's id.
        machine: Its machine's name.
    """

    number: int
    identity: str
    machine: str

    def __str__(self) -> str:
        return f"{self.number} {self.identity} {self.machine}"


def read_holder(value: object) -> Holder | None:
    """Who has the lease, by its value; None where that makes no sense."""
    found = _VALUE.fullmatch(value) if isinstance(value, str) else None
    return None if found is None else Holder(int(found[1]), found[2], found[3])


class _Unchanged:
    """Measures for how long something has been the same."""

    def __init__(self) -> None:
        self._what: object = None
        self._since = 0.0

    def seconds(self, what: object, now: float) -> float:
        """Return the seconds since `what` was first seen in a row; `now` is monotonic."""
        if what != self._what:
            self._what, self._since = what, now
        return now - self._since


class Lease:
    """The lease of one log, as one logger sees it. For one thread.

    Args:
        link: A connection of its own.
        prefix: Put before every key.
        identity: The logger's id: hexadecimal digits, the same ones after a restart.
        machine: Its machine's name, for people.
        clock: Tells how long ago it was renewed.
        stood_by: Whether another logger had it when this one looked last, be it before a restart.

    Attributes:
        machine: Its machine's name, as others see it.
        standing: What came of the last look.
        number: The fencing number of the lease that we have, or had last; 0 before the first.
        other: Where the logger runs that has it, or that waits for it; "" where there is none.
        is_awaited: Whether somebody waits for it, while it is ours.
        is_overwritten: Whether a holder before us has written since we do.
        refusal: What Redis said where it understood and refused; "" otherwise.
        void: What was wrong with a lease that was taken over without having ended; "" where none was.
        silence: Seconds since the last write of the logger on duty was due, while this one waits for it.
    """

    def __init__(  # noqa: PLR0913 - a lease is about all of these
        self, link: Link, prefix: str, identity: str, machine: str, clock: Clock, *, stood_by: bool
    ) -> None:
        self._link = link
        self._lease, self._fence, self._standby = prefix + LEASE, prefix + FENCE, prefix + STANDBY
        self._status = prefix + STATUS
        self._identity = identity
        self.machine = re.sub(r"[^ -~]", "?", sanitize(machine, 80)) or "?"
        self._clock = clock
        self._stood_by = stood_by
        self._held = ""
        self._renewed_at = self._expires_at = self._retry_at = self._watched_since = float("-inf")
        self._connection = 0
        self._left = RENEWED_EVERY
        self._is_shown = self._has_seen = False
        self.standing = Standing.UNKNOWN
        self.number = 0
        self.other = ""
        self.is_awaited = False
        self.is_overwritten = False
        self.refusal = ""
        self.void = ""
        self.silence = 0.0
        self._forget_seen()

    @property
    def wait(self) -> float:
        """Seconds until the next look is needed."""
        now = self._clock.monotonic()
        if self.standing is Standing.UNKNOWN:
            return max(0.0, self._retry_at - now)
        if self.standing is Standing.ANOTHERS:
            return min(self._left, RENEWED_EVERY)
        due = self._renewed_at + RENEWED_EVERY if self.is_awaited else self._expires_at - RENEWED_EVERY
        return max(0.0, due - now)

    def keep(self, due: float = 0.0) -> Standing:
        """Look at it, unless that was done a moment ago and it is good until the next turn.

        Args:
            due: Seconds until then.
        """
        now = self._clock.monotonic()
        lasts = self.is_awaited or self._expires_at >= now + due + RENEWED_EVERY
        if self.standing is Standing.OURS and lasts and now < self._renewed_at + RENEWED_EVERY:
            return self.standing
        return self.look(due)

    def look(self, due: float = 0.0) -> Standing:
        """Renew it, take it where it is free, or see who has it.

        Args:
            due: Seconds until the next turn.
        """
        if self._clock.monotonic() < self._retry_at:
            return self.standing
        try:
            self._meet()
            self.standing = self._renewed(due) if self._held else self._wanted(due)
            self._retry_at, self.refusal = float("-inf"), ""
        except StoreError as error:
            self.standing = Standing.UNKNOWN
            self.refusal = str(error) if error.codes else ""
            self._retry_at = self._clock.monotonic() + RETRY
        return self.standing

    def release(self) -> None:
        """Let another one have it at once."""
        if self.standing is Standing.OURS:
            # Without an answer it runs out by itself.
            with suppress(StoreError):
                self._meet()
                self._send(("EVAL", RELEASE, 1, self._lease, self._held))
        self._held, self.standing = "", Standing.UNKNOWN

    def close(self) -> None:
        """Close the connection."""
        self._link.close()

    def _meet(self) -> None:
        connection = self._link.connect()
        if connection != self._connection:
            self._connection = connection
            self._has_seen, self._watched_since = False, self._clock.monotonic()
            self._forget_seen()

    def _forget_seen(self) -> None:
        """Measure anew: while Redis was away, nobody could write."""
        self._same_lease, self._same_status = _Unchanged(), _Unchanged()

    def _renewed(self, due: float) -> Standing:
        asked_at, milliseconds = self._clock.monotonic(), self._milliseconds(due)
        renewed, awaited, shown = self._send(
            ("EVAL", RENEW, 1, self._lease, self._held, milliseconds),
            ("GET", self._standby),
            ("HGET", self._status, "fence"),
        )
        if renewed != 1:
            self._held = ""
            return self._wanted(due)
        self._stood_by = False
        self._renewed_at, self._expires_at = asked_at, asked_at + milliseconds / 1000
        waiting, was_awaited = read_holder(f"0 {awaited}"), self.is_awaited
        self.is_awaited = waiting is not None and waiting.identity != self._identity
        self.other = waiting.machine if waiting is not None and self.is_awaited else ""
        self.is_overwritten |= self._is_shown and _number(shown) < self.number
        self._is_shown = _number(shown) == self.number
        # Whoever has just come must not have to wait for what was taken alone.
        return self._renewed(due) if self.is_awaited and not was_awaited else Standing.OURS

    def _wanted(self, due: float) -> Standing:
        """See who has it, and take it where that is nobody."""
        value, left, written = self._send(
            ("GET", self._lease),
            ("PTTL", self._lease),
            ("HMGET", self._status, "last_poll", "next_poll", "fence"),
        )
        holder = read_holder(value)
        if holder is not None and holder.identity == self._identity:
            self._held, self.number = str(holder), holder.number  # that was ourselves, before a restart
            return self._renewed(due)
        self._measure_silence(written)
        if value is None and self._may_take():
            return self._taken(due)
        void = "" if value is None else _why_void(holder, left)
        same = self._same_lease.seconds((void, f"{value}", written), self._clock.monotonic())
        if void and same >= VOID_AFTER:
            self._send(("EVAL", DROP, 1, self._lease, value if isinstance(value, str) else ""))
            self.void = void
            return self._taken(due)
        announced = f"{self._identity} {self.machine}"
        self._send(("SET", self._standby, announced, "PX", round(3 * SECONDS * 1000)))
        self._stood_by = True
        self._has_seen |= value is not None
        self._left = left / 1000 if isinstance(left, int) and left > 0 else RENEWED_EVERY
        self.other = self.other if value is None else "?" if holder is None else holder.machine
        return Standing.ANOTHERS

    def _measure_silence(self, written: Reply) -> None:
        next_poll = seconds_of(f"{written[1]}") if isinstance(written, list) else None
        is_due = next_poll is None or next_poll <= self._clock.utc()
        same = self._same_status.seconds((is_due, written), self._clock.monotonic())
        self.silence = same if is_due else 0.0

    def _may_take(self) -> bool:
        """Whether its last holder gave it up: Redis may just have been away, or have forgotten it."""
        waited = self._clock.monotonic() - self._watched_since
        return not self._stood_by or self._has_seen or waited >= SECONDS

    def _taken(self, due: float) -> Standing:
        (number,) = self._send(("INCR", self._fence))
        holder = Holder(max(int(number), self.number + 1), self._identity, self.machine)
        (said,) = self._send(("SET", self._lease, str(holder), "NX", "PX", self._milliseconds(due)))
        if said != "OK":
            return self._wanted(due)
        self._held, self.number = str(holder), holder.number
        self._is_shown = False
        return self._renewed(due)

    def _milliseconds(self, due: float) -> int:
        return round(1000 * (SECONDS if self.is_awaited else max(SECONDS, due + ALONE_SECONDS)))

    def _send(self, *commands: Command) -> list[Reply]:
        """Send commands, and return the replies: to a question about a key of another type, the `Refusal`."""
        replies = self._link.send(commands)
        for command, reply in zip(commands, replies, strict=True):
            is_other_type = command[0] in _READS and isinstance(reply, Refusal) and reply.code == "WRONGTYPE"
            if isinstance(reply, Refusal) and not is_other_type:
                raise StoreError(f"Redis at {self._link.where} {reply.advice}", codes=[reply.code])
        return replies


def _why_void(holder: Holder | None, left: Reply) -> str:
    """What is wrong with a lease that does not end by itself; "" for one that does.

    Args:
        holder: Who has it; None where its value is none that a logger writes.
        left: Milliseconds to its end, as `PTTL` says.
    """
    if holder is None:
        return "is not one that a logger writes"
    if left == -1:
        return "cannot expire"
    return "lasts longer than any logger asks for" if left > LONGEST * 1000 else ""


def _number(text: object) -> int:
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() else 0
