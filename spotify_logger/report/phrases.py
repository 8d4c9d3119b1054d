"""Phrases that several answers share: times, and notes about missing data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.times import seconds_of
from spotify_logger.report.blocks import Note
from spotify_logger.report.words import counted, exact_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.core.periods import Period, Zone
    from spotify_logger.queries.log import Unseen


def format_time(zone: Zone, second: float | None) -> str:
    """Format a time in a zone, "2026-11-22 19:00"; return "" for None."""
    return "" if second is None else f"{zone.local(second):%Y-%m-%d %H:%M}"


def format_iso(zone: Zone, time: str | None) -> str:
    """Format the ISO time of a result like `format_time`."""
    return format_time(zone, seconds_of(time or ""))


def nothing_played(period: Period) -> Note:
    """Return the message for a period without plays."""
    if period.begin is None and period.end is None:
        return Note("Nothing has been logged yet.")
    return Note(f"Nothing was played: {period.words}.")


def gap_note(unseen: Unseen) -> list[Note]:
    """Return the note that marks figures as a minimum, in a list; an empty list without gaps."""
    verb = "was" if unseen.gaps == 1 else "were"
    length = exact_duration(unseen.seconds)
    note = f"At least: {counted(unseen.gaps, 'gap')} ({length}) {verb} not observed."
    return [Note(note)] if unseen.gaps else []


def did_you_mean(problem: str, close: Sequence[str]) -> str:
    """Return that nothing was found, and ask for what is close to it."""
    *names, last = (f"“{name}”" for name in close) if close else ("",)
    words = f"{', '.join(names)} or {last}" if names else last
    return f"{problem} Did you mean {words}?" if close else problem
