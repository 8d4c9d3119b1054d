"""Gaps: periods that were not observed, filtered, summed up and formatted for answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.report.words import exact_duration, local_period, utc_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Gap = tuple[int, int, str]
"""Begin and end in whole seconds since the epoch, and the reason."""


def ending_after(gaps: Iterable[Gap], second: float) -> list[Gap]:
    """Return the gaps that end after `second`."""
    return [gap for gap in gaps if gap[1] > second]


def unobserved_seconds(gaps: Iterable[Gap], second: float) -> int:
    """Return the seconds of gaps after `second`."""
    return sum(int(end - max(begin, second)) for begin, end, _ in ending_after(gaps, second))


def gap_data(gap: Gap) -> dict[str, str | None]:
    """Return a gap for JSON."""
    begin, end, reason = gap
    return {"from": utc_time(begin), "to": utc_time(end), "reason": reason}


def gap_words(gap: Gap) -> str:
    """Format a gap as a line among plays: "(offline for 1 h 50 min)"."""
    begin, end, reason = gap
    return f"({reason} for {exact_duration(end - begin)})"


def gaps_words(gaps: Sequence[Gap], days: int, second: float) -> str:
    """Summarize gaps in one line; return "" if there are none.

    Args:
        gaps: All gaps of the last days, oldest first.
        days: The number of days.
        second: The time at which the first of these days began, in seconds since the epoch.
    """
    if not gaps:
        return ""
    begin, end, reason = gaps[-1]
    in_all = exact_duration(unobserved_seconds(gaps, second))
    return f"{len(gaps):,} in {days} days, {in_all} in all; the last {local_period(begin, end)}, {reason}"
