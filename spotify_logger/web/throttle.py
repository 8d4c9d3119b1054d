"""How soon an address may try another password."""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_FAILURES, WINDOW = 5, 60.0
"""So many wrong passwords in so many seconds are taken from one address."""
MAX_ADDRESSES = 100
"""So many addresses may be wrong in `SPAN`: it bounds the memory, and the guesses of a whole botnet."""


class Throttle:
    """Slows down the addresses that wrong passwords come from, and nobody else.

    Args:
        monotonic: Seconds since some fixed moment.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._wrong: dict[str, list[float]] = {}

    def retry_after(self, address: str) -> float:
        """Return the seconds until a password is taken from an address; 0 when it is at once."""
        now = self._monotonic()
        recent = {each: [at for at in times if now - at < WINDOW] for each, times in self._wrong.items()}
        self._wrong = {each: times for each, times in recent.items() if times}
        times = self._wrong.get(_network(address), [])
        if len(times) >= MAX_FAILURES:
            return times[-MAX_FAILURES] + WINDOW - now
        if not times and len(self._wrong) >= MAX_ADDRESSES:
            return min(each[-1] for each in self._wrong.values()) + WINDOW - now
        return 0.0

    def record_failure(self, address: str) -> None:
        """Remember that a wrong password came from an address."""
        self._wrong.setdefault(_network(address), []).append(self._monotonic())


def _network(address: str) -> str:
    """Return what counts as one address: of IPv6 a /64, because everybody has that many."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.IPv6Address(int(found) >> 64 << 64))
    return str(found)
