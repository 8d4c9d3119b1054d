"""The stretches in which nothing could be seen, as the answers tell of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.report.words import exact_duration, local_period, utc_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Gap = tuple[int, int, str]
"""From and to, in whole seconds since the epoch, and why nothing could be seen between them."""


def ending_after(gaps: Iterable[Gap], second: float) -> list[Gap]:
    """Those of the gaps that were not over at a moment."""
    return [gap for gap in gaps if gap[1] > second]


def unobserved_seconds(gaps: Iterable[Gap], second: float) -> int:
    """How long nothing could be seen since a moment, in whole seconds."""
    return sum(int(end - max(begin, second)) for begin, end, _ in ending_after(gaps, second))


def gap_data(gap: Gap) -> dict[str, str | None]:
    """A gap for programs."""
    begin, end, reason = gap
    return {"from": utc_time(begin), "to": utc_time(end), "reason": reason}


def gap_words(gap: Gap) -> str:
    """A gap among plays: "(offline for 1 h 50 min)"."""
    begin, end, reason = gap
    return f"({reason} for {exact_duration(end - begin)})"


def gaps_words(gaps: Sequence[Gap], days: int, second: float) -> str:
    """Gaps in a line; empty when there are none.

    Args:
        gaps: Oldest first, all of the last days.
        days: How many days these are.
        second: The moment at which they began.
    """
    if not gaps:
        return ""
    begin, end, reason = gaps[-1]
    in_all = exact_duration(unobserved_seconds(gaps, second))
    return f"{len(gaps):,} in {days} days, {in_all} in all; the last {local_period(begin, end)}, {reason}"
