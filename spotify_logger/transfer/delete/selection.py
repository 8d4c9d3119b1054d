"""Select the plays to delete."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from spotify_logger.core.redis_keys import (
    NOW_PLAYING,
    ONE_DAY,
    OPEN,
    day_of,
    index_key,
    play_key,
    second_of_key,
)
from spotify_logger.core.text import MatchQuality, TextMatcher
from spotify_logger.storage.bulk import FIRST_SECOND

if TYPE_CHECKING:
    from spotify_logger.storage.bulk import Archive


@dataclass(frozen=True, slots=True)
class Selection:
    """A selection of plays.

    Attributes:
        text: A key ("listening:<second>", or only the second), which ignores the period; a title, an album or
            an artist, in full or, if nothing has that name, in part; or "" for all plays.
        begin: The first second of the period.
        end: The second after the last one; None for no limit.
    """

    text: str = ""
    begin: int = FIRST_SECOND
    end: int | None = None


def find_plays(archive: Archive, selection: Selection) -> list[int]:
    """Return the seconds of the selected plays, in ascending order."""
    second = _second_of_key(archive, selection.text)
    if second is not None:
        return [second] if _is_known(archive, second) else []
    days = archive.rows(selection.begin, selection.end)
    if not selection.text:
        return [second for rows in days for second in rows.seconds]
    keys = _matching_items(archive, selection)
    lines = (line for rows in days for line in zip(rows.seconds, rows.items, strict=True))
    return [second for second, item in lines if item in keys]


def open_plays(archive: Archive, now: float) -> set[int]:
    """Return the seconds of plays in progress; normally there is at most one.

    A running logger keeps writing its open play, so deleting it would be futile. A play that began more than
    a day ago is no longer in progress.

    Args:
        archive: The log.
        now: Seconds since the epoch.
    """
    (named,) = archive.send([("GET", archive.key(NOW_PLAYING))])
    newest = None
    for rows in archive.rows(int(now) - ONE_DAY):
        newest = rows.seconds[-1] if rows.ends[-1] == OPEN else None
    return {second for second in (second_of_key(str(named)), newest) if second is not None}


def indexed_days(archive: Archive) -> list[date]:
    """Return all UTC days that have an index, in ascending order, those of wrong clocks included."""
    names = {name for names in archive.scan("plays:*") for name in names}
    return sorted(day for day in map(day_of_index_key, names) if day is not None)


def day_of_index_key(name: str) -> date | None:
    """Return the day of an index key; None if it is not an index key."""
    try:
        day = date.fromisoformat(name.removeprefix("plays:"))
    except ValueError:
        return None
    return day if index_key(day) == name else None


def _second_of_key(archive: Archive, text: str) -> int | None:
    """Return the second of a play's key, in full or as a bare number; None if the text is neither."""
    if text.isascii() and text.isdigit() and len(text) == len(str(FIRST_SECOND)):
        return int(text) if int(text) >= FIRST_SECOND else None
    second = second_of_key(text)
    return (
        second if second is not None and text in {play_key(second), archive.key(play_key(second))} else None
    )


def _is_known(archive: Archive, second: int) -> bool:
    exists, line = archive.send(
        [
            ("EXISTS", archive.key(play_key(second))),
            ("HEXISTS", archive.key(index_key(day_of(second))), second),
        ]
    )
    return bool(exists or line)


def _matching_items(archive: Archive, selection: Selection) -> set[str]:
    finder = TextMatcher(selection.text)
    found: dict[MatchQuality, set[str]] = {how: set() for how in MatchQuality}
    items = {item for rows in archive.rows(selection.begin, selection.end) for item in rows.items}
    for key, (name, artists, album) in archive.catalog(items, ("name", "artists", "album")):
        found[finder.match(name, artists, album)].add(key)
    return found[MatchQuality.EXACT] or found[MatchQuality.SUBSTRING]
