"""Random fault schedules, reproducible by seed."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spotify_logger.simulator.habits import Span

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


@dataclass(frozen=True, slots=True)
class ScheduledFault:
    """One fault of a schedule.

    Attributes:
        at: When, in true seconds since the epoch.
        name: What, one of `FAULT_KINDS`.
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
class FaultKind:
    """A kind of fault: how often it happens compared with others, how long it lasts, and its variants."""

    weight: float
    seconds: Span = (0.0, 0.0)
    details: tuple[str, ...] = ("",)
    numbers: tuple[float, ...] = (0.0,)


WRITES = ("redis before", "redis after", "disk before", "disk after", "file before", "file after")
"""The moments around a write at which the loop can die."""

FAULT_KINDS = {
    "spotify": FaultKind(
        10, (20.0, 2 * HOUR), ("error_500", "error_502", "error_503", "html", "empty", "truncated")
    ),
    "offline": FaultKind(9, (20.0, 5 * HOUR), ("reset", "hang", "cut", "drip")),
    "limit": FaultKind(
        7, (5.0, 24 * HOUR), ("rate_limit", "rate_limit_date", "quota_exceeded", "rate_limit_text")
    ),
    "unauthorised": FaultKind(6, (0.0, 10 * MINUTE), ("expired",), (1, 2, 5, 50)),
    "invalid_grant": FaultKind(2, (MINUTE, 5 * HOUR), ("invalid_grant",)),
    "accounts": FaultKind(4, (MINUTE, HOUR), ("error_503", "reset", "rate_limit", "html_200")),
    "redis away": FaultKind(8, (5.0, 8 * HOUR)),
    "redis refuses": FaultKind(
        8, (MINUTE, 2 * HOUR), ("OOM", "MISCONF", "READONLY", "LOADING", "NOAUTH", "NOPERM")
    ),
    "redis hangs": FaultKind(3, (10.0, 20 * MINUTE)),
    "redis slow": FaultKind(3, (MINUTE, HOUR), numbers=(0.1, 1.0, 3.0)),
    "redis deaf": FaultKind(4, numbers=(1, 2, 5)),
    "redis crash": FaultKind(6, (1.0, 10 * MINUTE)),
    "crash": FaultKind(8, (1.0, 20.0)),
    "crash at a write": FaultKind(16, (1.0, 3.0), WRITES, (1, 2, 3, 7)),
    "stop": FaultKind(3, (5.0, 9 * HOUR)),
    "suspend": FaultKind(4, (30.0, 9 * HOUR)),
    "reboot": FaultKind(4, (20.0, HOUR), numbers=(0.0, -DAY, DAY, -400 * DAY, -HOUR)),
    "clock step": FaultKind(5, numbers=(DAY, -DAY, 3.0, -3.0, HOUR, -HOUR)),
    "disk full": FaultKind(2, (MINUTE, 3 * HOUR)),
}
"""Everything that can go wrong."""

MEMORY_LOSS = frozenset({"crash", "crash at a write", "stop", "reboot", "redis crash"})
"""What takes memory away: with a full disk at the same time, something is lost that nobody can keep."""
EXCLUSIVE = frozenset({"disk full"})


def make_fault_schedule(seed: int, begin: float, end: float, per_day: float) -> list[ScheduledFault]:
    """Return faults in the order of time; a full disk has an hour around it for itself.

    Args:
        seed: The same seed gives the same schedule.
        begin: True seconds since the epoch.
        end: The same; all are over by then.
        per_day: How many, on average.
    """
    chance = random.Random(f"mishaps {seed}")
    names, weights = list(FAULT_KINDS), [kind.weight for kind in FAULT_KINDS.values()]
    faults: list[ScheduledFault] = []
    now, free_from = begin, begin
    while True:
        now += chance.expovariate(per_day / DAY)
        (name,) = chance.choices(names, weights)
        kind = FAULT_KINDS[name]
        seconds = _length(chance, kind.seconds)
        fault = ScheduledFault(now, name, seconds, chance.choice(kind.details), chance.choice(kind.numbers))
        if now + seconds >= end:
            if now >= end:
                return faults
            continue
        if name in EXCLUSIVE and faults:
            fault = ScheduledFault(max(now, free_from) + HOUR, name, seconds, fault.detail, fault.number)
            now = fault.at + seconds + HOUR
            if now >= end:
                return faults
        free_from = max(free_from, fault.at + seconds)
        faults.append(fault)


def _length(chance: random.Random, span: Span) -> float:
    """Short ones are likelier."""
    shortest, longest = span
    if longest <= 0:
        return 0.0
    return math.exp(chance.uniform(math.log(max(shortest, 1.0)), math.log(longest)))
