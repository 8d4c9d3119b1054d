"""Rate limits: cooldowns during which nothing is sent, kept on disk; and the requests of the last 24 hours.

A cooldown is measured by the monotonic clock: steps of the UTC clock neither shorten nor prolong it. A reboot
resets the monotonic clock, so a cooldown of an earlier process also ends by the UTC clock, but only
once the kernel reports it as synchronised: a Pi boots with the time of its last shutdown, or any other.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from spotify_logger.system.clock import Clock
from spotify_logger.system.errors import NotBefore
from spotify_logger.system.state import from_json, to_json

RATE_LIMIT_NOTE = "not_before"
OLD_RATE_LIMIT_FILE = "not_before.json"  # in the state folder, up to version 0.5
MAX_COOLDOWN = 48 * 3600.0  # seconds, whatever a server asks for; the longest observed is 24 h
DEFAULT_COOLDOWN, MAX_DEFAULT_COOLDOWN = 60.0, 3600.0  # seconds, at first and at most, if none are asked for
MAX_EXTRA_WAIT = 60.0  # the maximum seconds added to a `Retry-After`
RECENT_LIMIT_AGE = 6 * 3600.0  # seconds since its end; several recent cooldowns slow down polling
MAX_SLOWDOWN = 4.0  # the largest factor on the time between polls
MAX_REMEMBERED_LIMITS = 8  # how many ends of cooldowns are kept
HOUR, WINDOW_HOURS = 3600, 24  # Spotify counts its daily quota over a rolling 24 hours

EndpointGroup = Literal["api", "accounts"]  # the Web API and the token endpoint have a rate limit each


@dataclass(frozen=True)
class Cooldown:
    """A time during which nothing is sent: it ends `seconds` after `utc`."""

    seconds: float
    monotonic: float  # its start
    utc: float  # the same moment, in seconds since the epoch
    times: int  # the number of limits in a row, including this one
    reason: str = ""  # for errors raised during the cooldown
    is_resumed: bool = False  # from another process, perhaps before a reboot

    def remaining(self, clock: Clock) -> float:
        """Return the seconds that are left."""
        passed = clock.monotonic() - self.monotonic
        # Only the UTC clock knows how long the machine was off, and only if it is synchronised.
        if self.is_resumed and clock.is_synchronized():
            passed = max(passed, clock.utc() - self.utc)
        return max(0.0, self.seconds - max(0.0, passed))


@dataclass
class _Kept:
    """What is kept on disk: the cooldown of each group, and the ends of the last ones of the API."""

    api: Cooldown | None = None
    accounts: Cooldown | None = None
    limits: list[float] = field(default_factory=list)


class RateLimit:
    """The current cooldowns, at most one per endpoint group; `save` keeps them for the next process."""

    def __init__(self, kept_text: str | bytes, save: Callable[[str], object], clock: Clock) -> None:
        self._save, self._clock = save, clock
        self._kept = from_json(_Kept, kept_text) or _Kept()
        for group in get_args(EndpointGroup):
            if cooldown := getattr(self._kept, group):
                # A reboot sets the clock to 0. If it has gone further by now, less counts than has passed.
                began = cooldown.monotonic if cooldown.monotonic <= clock.monotonic() else 0.0
                seconds = min(cooldown.seconds, MAX_COOLDOWN)
                resumed = replace(cooldown, seconds=seconds, monotonic=began, is_resumed=True)
                setattr(self._kept, group, resumed)

    def check(self, group: EndpointGroup) -> None:
        """Raise NotBefore if nothing may be sent yet."""
        cooldown: Cooldown | None = getattr(self._kept, group)
        if cooldown and (left := cooldown.remaining(self._clock)) > 0:
            raise NotBefore(cooldown.reason, left)

    def slowdown(self) -> float:
        """Return the factor on the time between polls: above 1 after several recent limits of the API."""
        now = self._clock.utc()
        recent = sum(-MAX_COOLDOWN <= now - end < RECENT_LIMIT_AGE for end in self._kept.limits)
        return min(MAX_SLOWDOWN, 2.0 ** max(0, recent - 1))

    def start_cooldown(
        self, group: EndpointGroup, asked: float | None, reason: str, guess: float = DEFAULT_COOLDOWN
    ) -> NotBefore:
        """Start a cooldown of `asked` seconds, or of `guess` and ever more; return the error to raise."""
        last: Cooldown | None = getattr(self._kept, group)
        times = last.times + 1 if last else 1
        growth = 2.0 ** min(times - 1, 16)
        seconds = min(guess * growth, max(guess, MAX_DEFAULT_COOLDOWN))
        if asked is not None:
            seconds = max(0.0, asked) + min(growth, MAX_EXTRA_WAIT)
        seconds, now = min(seconds, MAX_COOLDOWN), self._clock.utc()
        setattr(self._kept, group, Cooldown(seconds, self._clock.monotonic(), now, times, reason))
        if group == "api":
            self._kept.limits = [*self._kept.limits, now + seconds][-MAX_REMEMBERED_LIMITS:]
        self._save(to_json(self._kept))
        return NotBefore(reason, seconds)

    def end_cooldown(self, group: EndpointGroup) -> None:
        """Forget the last cooldown, because an answer other than 429 arrived."""
        if getattr(self._kept, group) is not None:
            setattr(self._kept, group, None)
            self._save(to_json(self._kept))


class Quota:
    """Counts the requests of the last 24 hours; begins with the `to_text` of another process."""

    def __init__(self, text: str = "") -> None:
        self._by_hour = Counter[int]()
        self.merge(text)

    def add(self, requests: int, utc: float) -> None:
        """Count requests sent at a moment, in seconds since the epoch."""
        now = int(utc // HOUR)
        counts = self._by_hour + Counter({now: requests})
        self._by_hour = Counter({hour: n for hour, n in counts.items() if 0 <= now - hour < WINDOW_HOURS})

    def merge(self, text: str) -> None:
        """Add the counts of another process, which may have been added before."""
        pairs = re.findall(r"(?:^|,)([0-9]{1,9}):([0-9]{1,9})(?=,|$)", text)  # ignores invalid parts
        self._by_hour |= Counter({int(hour): int(count) for hour, count in pairs})  # the larger count of each

    def total(self) -> int:
        """Return the number of requests in the hour that was last added to, and the 23 before it."""
        return self._by_hour.total()

    def to_text(self) -> str:
        """Return the counts for another process: "<hour since the epoch>:<requests>", comma-separated."""
        return ",".join(f"{hour}:{count}" for hour, count in sorted(self._by_hour.items()))
