"""What goes wrong in a life: a schedule made of chance, the same one for the same seed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spotify_logger.simulator.habits import Span

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


@dataclass(frozen=True, slots=True)
class Mishap:
    """Something that goes wrong.

    Attributes:
        at: When, in true seconds since the epoch.
        name: What, one of `KINDS`.
        seconds: For how long.
        detail: Which of its kind.
        number: A figure that belongs to it: a count, or seconds by which a clock is wrong.
    """

    at: float
    name: str
    seconds: float = 0.0
    detail: str = ""
    number: float = 0.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of mishap: how often it comes compared with others, how long it lasts, and its varieties."""

    weight: float
    seconds: Span = (0.0, 0.0)
    details: tuple[str, ...] = ("",)
    numbers: tuple[float, ...] = (0.0,)


WRITES = ("redis before", "redis after", "disk before", "disk after", "file before", "file after")
"""The moments around a write at which the loop can die."""

KINDS = {
    "spotify": Kind(
        10, (20.0, 2 * HOUR), ("error_500", "error_502", "error_503", "html", "empty", "truncated")
    ),
    "offline": Kind(9, (20.0, 5 * HOUR), ("reset", "hang", "cut", "drip")),
    "limit": Kind(
        7, (5.0, 24 * HOUR), ("rate_limit", "rate_limit_date", "quota_exceeded", "rate_limit_text")
    ),
    "unauthorised": Kind(6, (0.0, 10 * MINUTE), ("expired",), (1, 2, 5, 50)),
    "invalid_grant": Kind(2, (MINUTE, 5 * HOUR)),
    "accounts": Kind(4, (MINUTE, HOUR), ("error_503", "reset", "rate_limit", "html_200")),
    "redis away": Kind(8, (5.0, 8 * HOUR)),
    "redis refuses": Kind(
        8, (MINUTE, 2 * HOUR), ("OOM", "MISCONF", "READONLY", "LOADING", "NOAUTH", "NOPERM")
    ),
    "redis hangs": Kind(3, (10.0, 20 * MINUTE)),
    "redis slow": Kind(3, (MINUTE, HOUR), numbers=(0.1, 1.0, 3.0)),
    "redis deaf": Kind(4, numbers=(1, 2, 5)),
    "redis crash": Kind(6, (1.0, 10 * MINUTE)),
    "crash": Kind(8, (1.0, 20.0)),
    "crash at a write": Kind(16, (1.0, 3.0), WRITES, (1, 2, 3, 7)),
    "stop": Kind(3, (5.0, 9 * HOUR)),
    "suspend": Kind(4, (30.0, 9 * HOUR)),
    "reboot": Kind(4, (20.0, HOUR), numbers=(0.0, -DAY, DAY, -400 * DAY, -HOUR)),
    "clock step": Kind(5, numbers=(DAY, -DAY, 3.0, -3.0, HOUR, -HOUR)),
    "disk full": Kind(2, (MINUTE, 3 * HOUR)),
}
"""Everything that can go wrong."""

BREAKS = frozenset({"crash", "crash at a write", "stop", "reboot", "redis crash"})
"""What takes memory away: with a full disk at the same time, something is lost that nobody can keep."""
EXCLUSIVE = frozenset({"disk full"})


def make_mishaps(seed: int, begin: float, end: float, per_day: float) -> list[Mishap]:
    """Return mishaps in the order of time; a full disk has the time around it for itself.

    Args:
        seed: Chance.
        begin: True seconds since the epoch.
        end: The same; all are over by then.
        per_day: How many, on average.
    """
    chance = random.Random(f"mishaps {seed}")
    names, weights = list(KINDS), [kind.weight for kind in KINDS.values()]
    mishaps: list[Mishap] = []
    now, free_from = begin, begin
    while True:
        now += chance.expovariate(per_day / DAY)
        (name,) = chance.choices(names, weights)
        kind = KINDS[name]
        seconds = _length(chance, kind.seconds)
        mishap = Mishap(now, name, seconds, chance.choice(kind.details), chance.choice(kind.numbers))
        if now + seconds >= end:
            if now >= end:
                return mishaps
            continue
        if name in EXCLUSIVE and mishaps:
            mishap = Mishap(max(now, free_from) + HOUR, name, seconds, mishap.detail, mishap.number)
            now = mishap.at + seconds + HOUR
            if now >= end:
                return mishaps
        free_from = max(free_from, mishap.at + seconds)
        mishaps.append(mishap)


def _length(chance: random.Random, span: Span) -> float:
    """Short ones are likelier."""
    shortest, longest = span
    if longest <= 0:
        return 0.0
    return math.exp(chance.uniform(math.log(max(shortest, 1.0)), math.log(longest)))
