"""Rate limits: cooldowns during which nothing is sent, kept on disk; and the requests of the last 24 hours.

While the machine runs, a cooldown is measured by the monotonic clock, in whichever process: steps of the UTC
clock neither shorten nor prolong it. A reboot resets the monotonic clock; then the UTC clock counts, but only
once the kernel reports it as synchronised: a Pi boots with the time of its last shutdown, or any other.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from spotify_logger.core.times import is_second
from spotify_logger.system import atomic_file, log
from spotify_logger.system.errors import NotBefore
from spotify_logger.system.state import from_json, from_plain, to_json

if TYPE_CHECKING:
    from spotify_logger.system.clock import Clock

RATE_LIMIT_FILE = "not_before.json"  # the name of the file in the state folder
MAX_COOLDOWN = 48 * 3600.0  # seconds, whatever a server asks for; the longest observed is 24 h
DEFAULT_COOLDOWN, MAX_DEFAULT_COOLDOWN = 60.0, 3600.0  # seconds, at first and at most, if none are asked for
MAX_EXTRA_WAIT = 60.0  # the maximum seconds added to a `Retry-After`
RECENT_LIMIT_AGE = 6 * 3600.0  # seconds since its end; several recent cooldowns slow down polling
MAX_SLOWDOWN = 4.0  # the largest factor on the time between polls
MAX_REMEMBERED_LIMITS = 8  # how many ends of cooldowns are kept
PROGRESS_SAVE_INTERVAL = 600.0  # seconds between two saves of how much of a cooldown has passed
HOUR, WINDOW_HOURS = 3600, 24  # Spotify counts its daily quota over a rolling 24 hours

EndpointGroup = Literal["api", "accounts"]  # the Web API and the token endpoint have a rate limit each

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Cooldown:
    """A time during which nothing is sent: it ends `seconds` after `utc`."""

    seconds: float
    monotonic: float  # its start
    utc: float  # the same moment, in seconds since the epoch; an earlier one if `rebooted`
    times: int  # the number of limits in a row, including this one
    boot: str = ""  # the boot ID that `monotonic` belongs to
    reason: str = ""  # for errors raised during the cooldown
    rebooted: bool = False  # the machine was off for a time that the monotonic clock did not count

    def resumed(self, monotonic: float, boot: str) -> Cooldown:
        """Return the same cooldown for a process that starts now, perhaps after a reboot."""
        if boot and boot == self.boot:
            return replace(self, monotonic=min(self.monotonic, monotonic))
        # After a reboot, at least the time since then has passed: the monotonic clock began at 0.
        maybe_same_run = "" in {boot, self.boot} and self.monotonic <= monotonic
        return replace(self, monotonic=self.monotonic if maybe_same_run else 0.0, boot=boot, rebooted=True)

    def remaining(self, clock: Clock) -> float:
        """Return the seconds that are left."""
        passed = clock.monotonic() - self.monotonic
        # Only the UTC clock knows how long the machine was off, and only if it is synchronised.
        if self.rebooted and clock.is_synchronized():
            passed = max(passed, clock.utc() - self.utc)
        return max(0.0, self.seconds - max(0.0, passed))


def cooldown_seconds(asked: float | None, guess: float, times: int) -> float:
    """Return the length after `times` limits in a row; `guess` is the first if none is `asked` for."""
    growth = 2.0 ** min(times - 1, 16)
    seconds = min(guess * growth, max(guess, MAX_DEFAULT_COOLDOWN))
    if asked is not None:
        seconds = max(0.0, asked) + min(growth, MAX_EXTRA_WAIT)
    return min(seconds, MAX_COOLDOWN)


def boot_id() -> str:
    """Return the boot ID of this machine; "" if the system (not Linux) has none."""
    with suppress(OSError, ValueError):
        return _BOOT_ID.read_text(encoding="ascii").strip()
    return ""


class RateLimit:
    """The current cooldowns, at most one per endpoint group, kept in a file; `boot` is the boot ID."""

    def __init__(self, path: Path, clock: Clock, boot: str) -> None:
        self._path = path
        self._clock = clock
        self._boot = boot
        self._is_saved, self._has_warned = True, False
        cooldowns, self._limits = _load(path)
        self._cooldowns = {group: each.resumed(clock.monotonic(), boot) for group, each in cooldowns.items()}

    def check(self, group: EndpointGroup) -> None:
        """Raise NotBefore if nothing may be sent yet."""
        if cooldown := self._cooldowns.get(group):
            left = cooldown.remaining(self._clock)
            passed = cooldown.seconds - left
            if passed >= PROGRESS_SAVE_INTERVAL:  # after a reboot, only what was saved counts
                now, utc = self._clock.monotonic(), cooldown.utc + passed
                self._cooldowns[group] = replace(cooldown, seconds=left, monotonic=now, utc=utc)
                self._is_saved = False
        self._save()
        if cooldown and left > 0:
            raise NotBefore(cooldown.reason, left)

    def slowdown(self) -> float:
        """Return the factor on the time between polls: above 1 after several recent limits of the API."""
        now = self._clock.utc()
        recent = sum(-MAX_COOLDOWN <= now - end < RECENT_LIMIT_AGE for end in self._limits)
        return min(MAX_SLOWDOWN, 2.0 ** max(0, recent - 1))

    def start_cooldown(
        self, group: EndpointGroup, asked: float | None, reason: str, guess: float = DEFAULT_COOLDOWN
    ) -> NotBefore:
        """Start a cooldown after a 429, and return the error to raise; for the lengths, see above."""
        times = 1 if group not in self._cooldowns else self._cooldowns[group].times + 1
        seconds, now = cooldown_seconds(asked, guess, times), self._clock.utc()
        self._cooldowns[group] = Cooldown(seconds, self._clock.monotonic(), now, times, self._boot, reason)
        if group == "api":
            self._limits = [*self._limits, now + seconds][-MAX_REMEMBERED_LIMITS:]
        self._is_saved = False
        self._save()
        return NotBefore(reason, seconds)

    def end_cooldown(self, group: EndpointGroup) -> None:
        """Forget the last cooldown, because an answer other than 429 arrived."""
        if self._cooldowns.pop(group, None) is not None:
            self._is_saved = False
            self._save()

    def _save(self) -> None:
        """Save unsaved changes; a failure is logged once, and retried."""
        if self._is_saved:
            return
        kept: dict[str, object] = dict(self._cooldowns.items(), limits=self._limits)
        try:
            atomic_file.write_atomically(self._path, to_json(kept, indent=1) + "\n")
            self._is_saved, self._has_warned = True, False
        except OSError as error:
            if not self._has_warned:
                log.warning(
                    f"{self._path} cannot be written ({error.strerror}): a restart may poll too early"
                )
            self._has_warned = True


def _load(path: Path) -> tuple[dict[EndpointGroup, Cooldown], list[float]]:
    """Return the cooldowns and the ends of the last ones; none, and a warning, if one is invalid."""
    content: bytes | None = b""
    with suppress(OSError):
        content = atomic_file.read(path)
    kept = {} if content is None else from_json(dict[str, object], content)
    groups = [group for group in get_args(EndpointGroup) if kept and group in kept]
    cooldowns = {group: found for group in groups if kept and (found := _parse_cooldown(kept[group]))}
    if kept is None or len(cooldowns) < len(groups):
        log.warning(f"{path} cannot be read: a cooldown may have been lost")
        return {}, []
    ends = map(partial(from_plain, float), from_plain(list[object], kept.get("limits")) or [])
    return cooldowns, [end for end in ends if end is not None][-MAX_REMEMBERED_LIMITS:]


def _parse_cooldown(value: object) -> Cooldown | None:
    """Return a cooldown from the file, within bounds; None if it is invalid."""
    found = from_plain(Cooldown, value)
    if not found or not all(map(is_second, (found.seconds, found.monotonic, found.utc, found.times))):
        return None
    reason = log.sanitize(found.reason, log.DETAIL_LIMIT)
    return replace(found, seconds=min(found.seconds, MAX_COOLDOWN), times=max(1, found.times), reason=reason)


class Quota:
    """Counts the requests of the last 24 hours; begins with the `to_text` of another process."""

    def __init__(self, text: str = "") -> None:
        pairs = re.findall(r"(?:^|,)([0-9]{1,9}):([0-9]{1,9})(?=,|$)", text)  # ignores invalid parts
        self._by_hour = Counter({int(hour): int(count) for hour, count in pairs})

    def add(self, requests: int, utc: float) -> None:
        """Count requests sent at a moment, in seconds since the epoch."""
        hour = int(utc // HOUR)
        if hour not in self._by_hour:
            self._by_hour = self._of_last_day(hour)
        if requests:
            self._by_hour[hour] += requests

    def merge(self, text: str) -> None:
        """Add the counts of another process, which may have been added before."""
        self._by_hour |= Quota(text)._by_hour  # noqa: SLF001 - the larger count of each hour

    def total(self) -> int:
        """Return the number of requests in the hour that was last added to, and the 23 before it."""
        return self._by_hour.total()

    def to_text(self) -> str:
        """Return the counts for another process: "<hour since the epoch>:<requests>", comma-separated."""
        return ",".join(f"{hour}:{count}" for hour, count in sorted(self._by_hour.items()))

    def _of_last_day(self, now: int) -> Counter[int]:
        return Counter({hour: n for hour, n in self._by_hour.items() if n and 0 <= now - hour < WINDOW_HOURS})
