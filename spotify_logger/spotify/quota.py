"""The number of requests of the last 24 hours, to compare with Spotify's quota. Pure."""

from __future__ import annotations

import re

HOUR = 3600
WINDOW_HOURS = 24  # Spotify counts its daily quota over a rolling 24 hours


class Quota:
    """Counts requests by the hour in which they were sent; begins with the `to_text` of another process."""

    def __init__(self, text: str = "") -> None:
        pairs = re.findall(r"(?:^|,)([0-9]{1,9}):([0-9]{1,9})(?=,|$)", text)  # ignores invalid parts
        self._by_hour = {int(hour): int(count) for hour, count in pairs}

    def add(self, requests: int, utc: float) -> None:
        """Count requests sent at a moment, in seconds since the epoch."""
        hour = int(utc // HOUR)
        if requests:
            self._by_hour[hour] = self._by_hour.get(hour, 0) + requests
        self._by_hour = self._of_last_day(hour)

    def merge(self, text: str) -> None:
        """Add the counts of another process, which may have been added before."""
        for hour, count in Quota(text)._by_hour.items():  # noqa: SLF001 - of the same class
            self._by_hour[hour] = max(count, self._by_hour.get(hour, 0))

    def total(self, utc: float) -> int:
        """Return the number of requests in the current hour and the 23 before it."""
        return sum(self._of_last_day(int(utc // HOUR)).values())

    def to_text(self) -> str:
        """Return the counts for another process: "<hour since the epoch>:<requests>", comma-separated."""
        return ",".join(f"{hour}:{count}" for hour, count in sorted(self._by_hour.items()))

    def _of_last_day(self, hour: int) -> dict[int, int]:
        return {known: count for known, count in self._by_hour.items() if hour - WINDOW_HOURS < known <= hour}
