"""How things and moments are called in answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.display import format_title
from spotify_logger.report.words import counted, length

if TYPE_CHECKING:
    from spotify_logger.core.catalog import CatalogEntry
    from spotify_logger.core.periods import Period, Zone
    from spotify_logger.queries.reader import Reading

NOTHING_YET = "Nothing is logged yet."


def moment(zone: Zone, second: float | None) -> str:
    """A moment as clocks show it, "2026-11-22 19:00"; empty for none."""
    return "" if second is None else f"{zone.local(second):%Y-%m-%d %H:%M}"


def called(key: str, entry: CatalogEntry | None) -> str:
    """What to call an item: "Daft Punk – Veridis Quo"; by its key where the catalogue does not know it."""
    if entry is None:
        return key
    return format_title({"name": entry.name, "artists": entry.artists, "album": entry.album, "uri": key})


def nothing(stretch: Period) -> str:
    """What is said where nothing was played."""
    if stretch.begin is None and stretch.end is None:
        return NOTHING_YET
    return f"Nothing was played: {stretch.words}."


def at_least(reading: Reading, stretch: Period | None = None) -> list[str]:
    """What is said below figures that may be too small; nothing where all could be seen."""
    gaps = reading.gaps(stretch)
    if not gaps:
        return []
    blind = length(reading.seconds_blind(gaps, stretch))
    return [f"At least: in {counted(len(gaps), 'gap')}, {blind} in all, nothing could be seen."]


def unseen_data(reading: Reading, stretch: Period | None = None) -> dict[str, int]:
    """The same for programs."""
    gaps = reading.gaps(stretch)
    return {"gaps": len(gaps), "seconds": reading.seconds_blind(gaps, stretch)}
