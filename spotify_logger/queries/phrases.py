"""Phrases that several answers share: times, titles, and notes about missing data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.display import format_title
from spotify_logger.report.words import counted, exact_duration

if TYPE_CHECKING:
    from spotify_logger.core.catalog import CatalogEntry
    from spotify_logger.core.periods import Period, Zone
    from spotify_logger.queries.reader import PlayReader

NOTHING_LOGGED = "Nothing has been logged yet."


def format_time(zone: Zone, second: float | None) -> str:
    """Format a time in a zone, "2026-11-22 19:00"; return "" for None."""
    return "" if second is None else f"{zone.local(second):%Y-%m-%d %H:%M}"


def item_title(key: str, entry: CatalogEntry | None) -> str:
    """Return the title of an item, "Daft Punk – Veridis Quo"; its key if it is not in the catalog."""
    if entry is None:
        return key
    return format_title({"name": entry.name, "artists": entry.artists, "album": entry.album, "uri": key})


def nothing_played(period: Period) -> str:
    """Return the message for a period without plays."""
    if period.begin is None and period.end is None:
        return NOTHING_LOGGED
    return f"Nothing was played: {period.words}."


def gap_note(reader: PlayReader, period: Period | None = None) -> list[str]:
    """Return the note that marks figures as a minimum, in a list; an empty list without gaps."""
    gaps = reader.gaps(period)
    if not gaps:
        return []
    duration = exact_duration(reader.unobserved_seconds(gaps, period))
    verb = "was" if len(gaps) == 1 else "were"
    return [f"At least: {counted(len(gaps), 'gap')} ({duration}) {verb} not observed."]


def unobserved_data(reader: PlayReader, period: Period | None = None) -> dict[str, int]:
    """Return the number of gaps and their seconds, for JSON."""
    gaps = reader.gaps(period)
    return {"gaps": len(gaps), "seconds": reader.unobserved_seconds(gaps, period)}
