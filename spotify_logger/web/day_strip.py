"""The plays and gaps of a day as segments from midnight to midnight, in local time. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from spotify_logger.core.play import SKIPPED
from spotify_logger.core.times import from_iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date

    from spotify_logger.core.periods import Zone

DAY_MINUTES = 1440
HEARD, SKIPPED_PLAY, UNOBSERVED = "heard", "skipped", "unobserved"


class Segment(NamedTuple):
    """A segment of the day.

    Attributes:
        kind: `HEARD`, `SKIPPED_PLAY` or `UNOBSERVED`.
        begin: Minutes after midnight.
        length: Minutes.
        title: Times and name, for a tooltip.
    """

    kind: str
    begin: int
    length: int
    title: str


def day_segments(zone: Zone, day: date, timeline: Iterable[Mapping[str, Any]]) -> list[Segment]:
    """Return the segments of a day.

    Args:
        zone: The local time zone.
        day: The local day.
        timeline: Its plays and gaps, as `spotify-logger day --json` lists them.
    """
    return [part for each in timeline if (part := _segment(zone, day, each)) is not None]


def _segment(zone: Zone, day: date, each: Mapping[str, Any]) -> Segment | None:
    gap = each.get("gap")
    stamps = (gap["from"], gap["to"]) if gap else (each.get("started_at", ""), each.get("ended_at", ""))
    begin, end = (from_iso(str(stamp)) for stamp in stamps)
    if begin is None or end is None:
        return None
    moments = [zone.local(stamp / 1000) for stamp in (begin, end)]
    # Cut at midnight what began the day before or ends the day after.
    first, last = (
        min(DAY_MINUTES, max(0, (moment.date() - day).days * DAY_MINUTES + moment.hour * 60 + moment.minute))
        for moment in moments
    )
    kind = UNOBSERVED if gap else SKIPPED_PLAY if each.get("end_reason") == SKIPPED else HEARD
    what = "not observed" if gap else str(each.get("name") or "?")
    title = f"{moments[0]:%H:%M} to {moments[1]:%H:%M}: {what}"
    return Segment(kind, first, max(0, last - first), title)
