"""Nothing is sent before its time: rate limits, kept on disk, so that no restart forgets them.

While the machine runs, a wait is measured by the monotonic clock, whichever process looks: no step of the
other clock opens or prolongs it. A reboot starts the monotonic clock anew; only then the UTC clock says how
much of the wait has passed, and where that clock lies before the wait's beginning, none of it has.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from spotify_logger import files, journal
from spotify_logger.errors import NotBefore

if TYPE_CHECKING:
    from spotify_logger.clock import Clock

GATE_FILE = "not_before.json"
"""The gate's file in the state folder."""
LONGEST = 48 * 3600.0
"""Seconds after which one careful try is made, whatever a server asked for. The longest ever seen is 24 h."""
USUAL_GUESS = 60.0
"""Seconds to wait where the server left it open: two windows of Spotify's rate limit, which has 30 s."""
LONGEST_GUESS = 3600.0
"""Seconds that a wait which the server left open grows to."""
LONGEST_COURTESY = 60.0
"""Seconds that are added at most to what a server asked for."""

Family = Literal["api", "accounts"]
"""The endpoints that share a limit: the Web API's, and the token endpoint."""

_LARGEST = 1e12  # seconds; no clock goes as far
_REASON_LIMIT = 200
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Hold:
    """A wait.

    Attributes:
        seconds: How long, at most `LONGEST`.
        monotonic: When it began, by the monotonic clock.
        utc: The same moment, in seconds since the epoch.
        boot: Which run of the machine the monotonic clock is of; "" when unknown.
        times: How many limits in a row, this one included.
        reason: Said when it keeps somebody waiting.
    """

    seconds: float
    monotonic: float
    utc: float
    boot: str
    times: int
    reason: str

    def left(self, monotonic: float) -> float:
        """Return the seconds still to wait, in the same run of the machine."""
        return max(0.0, self.seconds - max(0.0, monotonic - self.monotonic))

    def carried_over(self, monotonic: float, utc: float, boot: str) -> Hold:
        """Return what is left of it, counted from now on by the clock of this run of the machine."""
        if boot and boot == self.boot:
            return self
        left = max(0.0, self.seconds - max(0.0, utc - self.utc))
        return replace(self, seconds=left, monotonic=monotonic, utc=utc, boot=boot)


def wait(asked: float | None, guess: float, times: int) -> float:
    """Return the seconds to wait; whoever is limited again and again waits longer.

    Args:
        asked: What the server asked for; None when it left it open.
        guess: What to wait then.
        times: How many limits in a row, this one included.
    """
    growth = 2.0 ** min(times - 1, 16)
    seconds = min(guess * growth, max(guess, LONGEST_GUESS))
    if asked is not None:
        seconds = max(0.0, asked) + min(growth, LONGEST_COURTESY)
    return min(seconds, LONGEST)


def boot_id() -> str:
    """Return what tells one run of this machine from another; "" where the system (no Linux) does not say."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


class Gate:
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
        self._warned = False
        kept = _load(path)
        self._holds = {family: self._carry_over(hold) for family, hold in kept.items()}
        self._saved = self._holds == kept

    def check(self, family: Family) -> None:
        """Let pass who may ask now.

        Raises:
            NotBefore: The wait is not over.
        """
        self._save()
        hold = self._holds.get(family)
        if hold is not None and (left := hold.left(self._clock.monotonic())) > 0:
            raise NotBefore(hold.reason, left)

    def limited(
        self, family: Family, asked: float | None, reason: str, guess: float = USUAL_GUESS
    ) -> NotBefore:
        """Begin a wait, because a server asked for it.

        Args:
            family: Who has to wait.
            asked: Seconds that the server asked for; None when it left it open.
            reason: One line, without secrets.
            guess: Seconds to wait where it was left open, the first time.

        Returns:
            The error to raise.
        """
        before = self._holds.get(family)
        times = 1 if before is None else before.times + 1
        seconds = wait(asked, guess, times)
        self._holds[family] = Hold(
            seconds, self._clock.monotonic(), self._clock.utc(), self._boot, times, reason
        )
        self._saved = False
        self._save()
        return NotBefore(reason, seconds)

    def passed(self, family: Family) -> None:
        """Take note of an answer that is no limit: the next one is the first again."""
        if self._holds.pop(family, None) is not None:
            self._saved = False
            self._save()

    def _carry_over(self, hold: Hold) -> Hold:
        return hold.carried_over(self._clock.monotonic(), self._clock.utc(), self._boot)

    def _save(self) -> None:
        """Write what is not yet written; a disk that refuses is warned about once, and asked again."""
        if self._saved:
            return
        text = json.dumps({family: asdict(hold) for family, hold in self._holds.items()}, indent=1) + "\n"
        try:
            files.write_atomically(self._path, text)
        except OSError as error:
            if not self._warned:
                journal.warning(
                    f"{self._path} cannot be written ({error.strerror}): a restart may ask too early"
                )
            self._warned = True
        else:
            self._saved, self._warned = True, False


def _load(path: Path) -> dict[Family, Hold]:
    try:
        content = files.read(path)
        kept = {} if content is None else _object(json.loads(content))
        return {family: _hold(kept[family]) for family in get_args(Family) if family in kept}
    except (OSError, ValueError, RecursionError):
        journal.warning(f"{path} cannot be read: whether Spotify asked to wait is not known any more")
        return {}


def _hold(value: object) -> Hold:
    """Take a hold out of the file, where anything may stand.

    Raises:
        ValueError: It is none.
    """
    body = _object(value)
    return Hold(
        seconds=min(_number(body.get("seconds")), LONGEST),
        monotonic=_number(body.get("monotonic")),
        utc=_number(body.get("utc")),
        boot=str(body.get("boot")),
        times=max(1, int(_number(body.get("times")))),
        reason=journal.clean(str(body.get("reason")), _REASON_LIMIT),
    )


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError  # noqa: TRY004 - like every other content that makes no sense
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
        raise ValueError
    return float(value)
