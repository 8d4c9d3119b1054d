"""Phrases that several answers share: times, titles, and notes about missing data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.display import format_title
from spotify_logger.report.words import counted, exact_duration, utc_time

if TYPE_CHECKING:
    from spotify_logger.core.catalog import CatalogEntry
    from spotify_logger.core.periods import Period, Zone
    from spotify_logger.queries.question import Question
    from spotify_logger.queries.reader import PlayReader


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
        return "Nothing has been logged yet."
    return f"Nothing was played: {period.words}."


def asked_data(question: Question) -> dict[str, str | None]:
    """Return the period of a question, and what it ranks by, for JSON."""
    period = question.period
    return {"from": utc_time(period.begin), "to": utc_time(period.end), "by": question.by}


def gap_note(reader: PlayReader) -> list[str]:
    """Return the note that marks figures as a minimum, in a list; an empty list without gaps."""
    gaps, seconds = reader.unobserved()
    verb = "was" if gaps == 1 else "were"
    note = f"At least: {counted(gaps, 'gap')} ({exact_duration(seconds)}) {verb} not observed."
    return [note] if gaps else []


def unseen_data(reader: PlayReader) -> dict[str, int]:
    """Return the number of gaps and their seconds, for JSON."""
    gaps, seconds = reader.unobserved()
    return {"gaps": gaps, "seconds": seconds}
