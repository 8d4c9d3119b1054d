"""Slow down wrong passwords, by the address that they come from."""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW = 60.0
"""Seconds for which a wrong password counts."""
MAX_FAILURES = 5
"""Wrong passwords from one address in `WINDOW`."""
MAX_PER_NETWORK = 50
"""Wrong passwords from one IPv6 network (/64) in `WINDOW`: a single machine may use all of its addresses."""
MAX_REMEMBERED = 2000
"""Addresses and networks with wrong passwords that are remembered; the one seen longest ago goes first."""


class Throttle:
    """Throttles the addresses that send wrong passwords.

    Args:
        monotonic: Returns the seconds since some fixed moment.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._wrong: dict[str, list[float]] = {}

    def retry_after(self, address: str) -> float:
        """Return the seconds until a password is accepted from an address; 0 if it is accepted now."""
        since = self._monotonic() - WINDOW
        waits = [0.0]
        for source, limit in _limits(address):
            recent = [at for at in self._wrong.get(source, ()) if at > since]
            if len(recent) >= limit:
                waits.append(recent[-limit] - since)
        return max(waits)

    def record_failure(self, address: str) -> None:
        """Record a wrong password from `address`."""
        for source, limit in _limits(address):
            times = self._wrong.pop(source, [])
            self._wrong[source] = [*times, self._monotonic()][-limit:]
        while len(self._wrong) > MAX_REMEMBERED:
            del self._wrong[next(iter(self._wrong))]


def _limits(address: str) -> list[tuple[str, int]]:
    """Return what an address counts as, and how many wrong passwords each may send in `WINDOW`."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return [("", MAX_FAILURES)]
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    if isinstance(found, ipaddress.IPv4Address):
        return [(str(found), MAX_FAILURES)]
    network = ipaddress.IPv6Network((int(found) >> 64 << 64, 64))
    return [(f"{int(found):x}", MAX_FAILURES), (str(network), MAX_PER_NETWORK)]
