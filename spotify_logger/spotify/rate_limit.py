"""Nothing is sent before its time: rate limits, kept on disk, so that no restart forgets them.

While the machine runs, a wait is measured by the monotonic clock, whichever process looks: no step of the
other clock opens or prolongs it. A reboot starts the monotonic clock anew; then the UTC clock has a say, but
only once the kernel knows it to be right: a Pi wakes up with the time of its last shutdown, or any other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from spotify_logger.system import atomic_file, log
from spotify_logger.system.errors import NotBefore
from spotify_logger.system.state import from_json, from_plain, to_json

if TYPE_CHECKING:
    from spotify_logger.system.clock import Clock

RATE_LIMIT_FILE = "not_before.json"
"""The gate's file in the state folder."""
MAX_COOLDOWN = 48 * 3600.0
"""Seconds after which one careful try is made, whatever a server asked for. The longest ever seen is 24 h."""
DEFAULT_COOLDOWN = 60.0
"""Seconds to wait where the server left it open: two windows of Spotify's rate limit, which has 30 s."""
MAX_DEFAULT_COOLDOWN = 3600.0
"""Seconds that a wait which the server left open grows to."""
MAX_EXTRA_WAIT = 60.0
"""Seconds that are added at most to what a server asked for."""
RECENT_LIMIT_AGE = 6 * 3600.0
"""Seconds after its end for which a limit is remembered: those that come again within it slow the pace."""
MAX_SLOWDOWN = 4.0
"""Times as long that is waited between two questions at most, because of limits."""
MAX_REMEMBERED_LIMITS = 8
"""Limits that are remembered."""
PROGRESS_SAVE_INTERVAL = 600.0
"""Seconds of a wait after which the disk is told how much of it has passed."""

EndpointGroup = Literal["api", "accounts"]
"""The endpoints that share a limit: the Web API's, and the token endpoint."""

_MAX_SECONDS = 1e12  # seconds; no clock goes as far
_MAX_REASON_LENGTH = 200
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Cooldown:
    """A wait. It ends `seconds` after `utc`, however often it is counted anew.

    Attributes:
        seconds: How long, at most `LONGEST`.
        monotonic: Since when, by the monotonic clock.
        utc: The same moment, in seconds since the epoch; an earlier one if `rebooted`.
        times: How many limits in a row, this one included.
        boot: Which run of the machine the monotonic clock is of; "" when unknown.
        reason: Said when it keeps somebody waiting.
        rebooted: Whether the machine has been off meanwhile, for longer than the monotonic clock knows.
    """

    seconds: float
    monotonic: float
    utc: float
    times: int
    boot: str = ""
    reason: str = ""
    rebooted: bool = False

    def resumed(self, monotonic: float, boot: str) -> Cooldown:
        """Return the same wait for a process that begins now, perhaps in another run of the machine.

        There at least the time since the boot has passed, at which the monotonic clock was 0.
        """
        if boot and boot == self.boot:
            return replace(self, monotonic=min(self.monotonic, monotonic))
        maybe_same_run = "" in {boot, self.boot} and self.monotonic <= monotonic
        return replace(self, monotonic=self.monotonic if maybe_same_run else 0.0, boot=boot, rebooted=True)

    def remaining(self, clock: Clock) -> float:
        """Return the seconds still to wait.

        For how long the machine was off only the other clock tells, and it has to be known to be right.
        """
        passed = clock.monotonic() - self.monotonic
        if self.rebooted and clock.is_synchronized():
            passed = max(passed, clock.utc() - self.utc)
        return max(0.0, self.seconds - max(0.0, passed))

    def rebased(self, clock: Clock) -> Cooldown:
        """Return the same wait, counted from now on."""
        left = self.remaining(clock)
        utc = self.utc + self.seconds - left
        return replace(self, seconds=left, monotonic=clock.monotonic(), utc=utc)


def cooldown_seconds(asked: float | None, guess: float, times: int) -> float:
    """Return the seconds to wait; whoever is limited again and again waits longer.

    Args:
        asked: What the server asked for; None when it left it open.
        guess: What to wait then.
        times: How many limits in a row, this one included.
    """
    growth = 2.0 ** min(times - 1, 16)
    seconds = min(guess * growth, max(guess, MAX_DEFAULT_COOLDOWN))
    if asked is not None:
        seconds = max(0.0, asked) + min(growth, MAX_EXTRA_WAIT)
    return min(seconds, MAX_COOLDOWN)


def boot_id() -> str:
    """Return what tells one run of this machine from another; "" where the system (no Linux) does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


class RateLimit:
    """The waits that are under way, at most one a family.

    Args:
        path: The file that keeps them; its folder must exist.
        clock: Tells the time.
        boot: Which run of the machine this is, see `boot_id`.
    """

    def __init__(self, path: Path, clock: Clock, boot: str) -> None:
        self._path = path
        self._clock = clock
        self._boot = boot
        self._has_warned = False
        cooldowns, self._limits = _load(path)
        self._cooldowns = {
            group: cooldown.resumed(clock.monotonic(), boot) for group, cooldown in cooldowns.items()
        }
        self._is_saved = True

    def check(self, group: EndpointGroup) -> None:
        """Let pass who may ask now.

        Raises:
            NotBefore: The wait is not over.
        """
        cooldown = self._cooldowns.get(group)
        left = 0.0 if cooldown is None else cooldown.remaining(self._clock)
        if cooldown is not None and cooldown.seconds - left >= PROGRESS_SAVE_INTERVAL:
            # After a reboot only what the disk was told has passed for sure.
            self._cooldowns[group] = cooldown.rebased(self._clock)
            self._is_saved = False
        self._save()
        if cooldown is not None and left > 0:
            raise NotBefore(cooldown.reason, left)

    def slowdown(self) -> float:
        """Return by how much to slow the pace: the API has limited us again and again in the last hours."""
        now = self._clock.utc()
        recent = sum(-MAX_COOLDOWN <= now - end < RECENT_LIMIT_AGE for end in self._limits)
        return min(MAX_SLOWDOWN, 2.0 ** max(0, recent - 1))

    def start_cooldown(
        self, group: EndpointGroup, asked: float | None, reason: str, guess: float = DEFAULT_COOLDOWN
    ) -> NotBefore:
        """Begin a wait, because a server asked for it.

        Args:
            group: The endpoints that have to wait.
            asked: Seconds that the server asked for; None when it left it open.
            reason: One line, without secrets.
            guess: Seconds to wait where it was left open, the first time.

        Returns:
            The error to raise.
        """
        before = self._cooldowns.get(group)
        times = 1 if before is None else before.times + 1
        seconds = cooldown_seconds(asked, guess, times)
        now = self._clock.utc()
        self._cooldowns[group] = Cooldown(seconds, self._clock.monotonic(), now, times, self._boot, reason)
        if group == "api":
            self._limits = [*self._limits, now + seconds][-MAX_REMEMBERED_LIMITS:]
        self._is_saved = False
        self._save()
        return NotBefore(reason, seconds)

    def end_cooldown(self, group: EndpointGroup) -> None:
        """Take note of an answer that is no limit: the next one is the first again."""
        if self._cooldowns.pop(group, None) is not None:
            self._is_saved = False
            self._save()

    def _save(self) -> None:
        """Write what is not yet written; a disk that refuses is warned about once, and asked again."""
        if self._is_saved:
            return
        kept: dict[str, object] = dict(self._cooldowns.items(), limits=self._limits)
        text = to_json(kept, indent=1) + "\n"
        try:
            atomic_file.write_atomically(self._path, text)
        except OSError as error:
            if not self._has_warned:
                log.warning(f"{self._path} cannot be written ({error.strerror}): a restart may ask too early")
            self._has_warned = True
        else:
            self._is_saved, self._has_warned = True, False


def _load(path: Path) -> tuple[dict[EndpointGroup, Cooldown], list[float]]:
    try:
        content = atomic_file.read(path)
    except OSError:
        content = b""
    kept = from_json(dict[str, object], b"{}" if content is None else content)
    found = {
        group: _parse_cooldown(kept[group]) for group in get_args(EndpointGroup) if kept and group in kept
    }
    cooldowns = {group: cooldown for group, cooldown in found.items() if cooldown is not None}
    if kept is None or len(cooldowns) < len(found):
        log.warning(f"{path} cannot be read: whether Spotify asked to wait is not known any more")
        return {}, []
    limits = from_plain(list[object], kept.get("limits")) or []
    ends = (from_plain(float, end) for end in limits[-MAX_REMEMBERED_LIMITS:])
    return cooldowns, [end for end in ends if end is not None]  # no odd one is worth the waits beside it


def _parse_cooldown(value: object) -> Cooldown | None:
    """Return what the file holds of a wait, within bounds; None where it is none."""
    cooldown = from_plain(Cooldown, value)
    if cooldown is None or not all(
        0 <= number <= _MAX_SECONDS
        for number in (cooldown.seconds, cooldown.monotonic, cooldown.utc, cooldown.times)
    ):
        return None
    return replace(
        cooldown,
        seconds=min(cooldown.seconds, MAX_COOLDOWN),
        times=max(1, cooldown.times),
        reason=log.sanitize(cooldown.reason, _MAX_REASON_LENGTH),
    )
