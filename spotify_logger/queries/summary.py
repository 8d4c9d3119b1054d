"""Answer `stats`: how much was played in a period, how it spread over the days, and what was new."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from spotify_logger.core.catalog import album_keys, artist_names, is_episode, recording_key
from spotify_logger.core.periods import LocalClock
from spotify_logger.core.statistics import (
    CalendarCounts,
    ItemCounts,
    Session,
    SessionCounter,
    Streak,
    Totals,
    date_of,
    streaks,
)
from spotify_logger.queries.phrases import format_time, gap_note, nothing_played, unobserved_data
from spotify_logger.queries.reader import PlayReader
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import counted, listening_time, percentage, utc_time

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping
    from datetime import date

    from spotify_logger.core.catalog import CatalogEntry
    from spotify_logger.core.periods import Period, Zone
    from spotify_logger.core.play_rows import PlayRows
    from spotify_logger.queries.question import Question
    from spotify_logger.storage.bulk import Archive


@dataclass(slots=True)
class Figures:
    """Running statistics of a period.

    Attributes:
        calendar: The plays by day and hour.
        sums: The totals.
        tallies: The plays by item.
        sessions: The number of sessions, and the longest.
    """

    calendar: CalendarCounts
    sums: Totals = field(default_factory=Totals)
    tallies: ItemCounts = field(default_factory=ItemCounts)
    sessions: SessionCounter = field(default_factory=SessionCounter)

    @classmethod
    def of(cls, reader: PlayReader, period: Period | None = None) -> Figures:
        """Collect the figures of a period, by default that of the question."""
        figures = cls(CalendarCounts(LocalClock(reader.question.zone)))
        for rows, counts in reader.days(period):
            figures.add(rows, counts)
        return figures

    def add(self, rows: PlayRows, counts: list[bool]) -> None:
        """Add a day."""
        self.calendar.add(rows, counts)
        self.sums.add(rows, counts)
        self.tallies.add(rows, counts)
        self.sessions.add(rows)

    def copy(self) -> Figures:
        """Return an independent copy."""
        return Figures(self.calendar.copy(), replace(self.sums), self.tallies.copy(), self.sessions.copy())

    def busiest(self) -> tuple[date, int, int] | None:
        """Return the day with the most listening time, its plays and milliseconds; the earliest in a tie."""
        heard = self.calendar.ms_played
        day = min(heard, key=lambda day: (-heard[day], day), default=None)
        return None if day is None else (date_of(day), self.calendar.plays[day], heard[day])

    def days_with_plays(self) -> list[int]:
        """Return the days with plays that count, in days since the epoch."""
        return [day for day, plays in self.calendar.plays.items() if plays]


@dataclass(frozen=True, slots=True)
class Variety:
    """The number of different things with plays that count, and how many of them were new.

    Attributes:
        tracks: Recordings, without episodes.
        artists: Artists.
        albums: Albums.
        shows: Shows with episodes played.
        new_tracks: Recordings never heard before the period, not even in part.
        new_artists: Artists never heard before the period, not even in part.
    """

    tracks: int
    artists: int
    albums: int
    shows: int
    new_tracks: int
    new_artists: int


def variety(reader: PlayReader, figures: Figures) -> Variety:
    """Count the different things played in the period of the question, and those never heard before it."""
    exact = reader.question.exact
    # Include what does not count: the number of artists on an album decides how it is identified.
    heard = reader.entries(figures.tallies.ms_played)
    album_of = album_keys(heard, exact=exact)
    entries = {key: heard[key] for key, plays in figures.tallies.plays.items() if plays}
    known = reader.entries_before(heard)
    tracks, artists = _tracks(entries, exact=exact), _artists(entries)
    return Variety(
        tracks=len(tracks),
        artists=len(artists),
        albums=len({album_of[key] for key in entries.keys() & album_of.keys()}),
        shows=len({entry.album for key, entry in entries.items() if is_episode(key) and entry.album}),
        new_tracks=len(tracks - _tracks(known, exact=exact)),
        new_artists=len(artists - _artists(known)),
    )


def _tracks(entries: Mapping[str, CatalogEntry], *, exact: bool) -> set[Hashable]:
    return {
        recording_key(key, entry.isrc, exact=exact) for key, entry in entries.items() if not is_episode(key)
    }


def _artists(entries: Mapping[str, CatalogEntry]) -> set[str]:
    return {name for key, entry in entries.items() if not is_episode(key) for name in artist_names(entry)}


def stats(archive: Archive, question: Question) -> Answer:
    """Return the statistics of a period."""
    reader = PlayReader(archive, question)
    figures = Figures.of(reader)
    if not figures.sums.rows:
        return Answer(_data(reader, figures, None), [nothing_played(question.period)])
    found = variety(reader, figures)
    data = _data(reader, figures, found)
    rows = [(name, value) for name, value in _rows(reader, figures, found) if value]
    flat = [{"figure": name, "value": _flat(value)} for name, value in data.items()]
    return Answer(data, [Table(rows), *gap_note(reader)], csv_rows=flat)


def _rows(reader: PlayReader, figures: Figures, found: Variety) -> list[tuple[str, str]]:
    question, sums = reader.question, figures.sums
    longest, current = streaks(figures.days_with_plays(), question.today)
    fresh = question.period.begin is not None
    return [
        ("period", question.period.words),
        ("plays", f"{sums.plays:,} {question.rule_words}, {sums.rows - sums.plays:,} others"),
        ("heard", listening_time(sums.ms_played)),
        ("tracks", _with_new(found.tracks, found.new_tracks, fresh=fresh)),
        ("artists", _with_new(found.artists, found.new_artists, fresh=fresh)),
        ("albums", f"{found.albums:,}"),
        ("shows", f"{found.shows:,}" if found.shows else ""),
        ("skips", f"{sums.skips:,}, {percentage(sums.skips, sums.closed)}"),
        ("sessions", f"{figures.sessions.number:,}{_longest(figures.sessions.longest, question.zone)}"),
        ("days", f"{len(figures.days_with_plays()):,} with plays"),
        ("longest streak", streak_words(longest)),
        ("current streak", streak_words(current)),
        ("busiest day", busiest_words(figures)),
    ]


def _with_new(number: int, new: int, *, fresh: bool) -> str:
    return f"{number:,}, {new:,} of them new" if fresh else f"{number:,}"


def _longest(session: Session | None, zone: Zone) -> str:
    if session is None:
        return ""
    return f"; the longest {listening_time(session.length_ms)}, from {format_time(zone, session.begin)}"


def streak_words(streak: Streak) -> str:
    """Format a streak, "12 days, from 2026-11-11"; return "" for none."""
    return "" if streak.first is None else f"{counted(streak.days, 'day')}, from {streak.first}"


def busiest_words(figures: Figures) -> str:
    """Format the busiest day, "2026-11-22, 7 h 41 min, 130 plays"; return "" for none."""
    found = figures.busiest()
    if found is None:
        return ""
    day, plays, ms_played = found
    return f"{day}, {listening_time(ms_played)}, {counted(plays, 'play')}"


def _data(reader: PlayReader, figures: Figures, found: Variety | None) -> dict[str, object]:
    question, sums = reader.question, figures.sums
    longest, current = streaks(figures.days_with_plays(), question.today)
    session = figures.sessions.longest
    return {
        "from": utc_time(question.period.begin),
        "to": utc_time(question.period.end),
        "plays": sums.plays,
        "shorter": sums.rows - sums.plays,
        "heard_ms": sums.ms_played,
        "tracks": found.tracks if found else 0,
        "artists": found.artists if found else 0,
        "albums": found.albums if found else 0,
        "shows": found.shows if found else 0,
        "new_tracks": found.new_tracks if found else 0,
        "new_artists": found.new_artists if found else 0,
        "skips": sums.skips,
        "skip_rate": round(sums.skips / sums.closed, 6) if sums.closed else None,
        "sessions": figures.sessions.number,
        "longest_session": session and {"from": utc_time(session.begin), "ms": session.length_ms},
        "days": len(figures.days_with_plays()),
        "longest_streak": streak_data(longest),
        "current_streak": streak_data(current),
        "busiest_day": busiest_data(figures),
        "unseen": unobserved_data(reader),
    }


def busiest_data(figures: Figures) -> dict[str, object] | None:
    """Return the busiest day for JSON."""
    found = figures.busiest()
    return found and {"day": str(found[0]), "plays": found[1], "heard_ms": found[2]}


def streak_data(streak: Streak) -> dict[str, object]:
    """Return a streak for JSON."""
    return {"days": streak.days, "from": None if streak.first is None else str(streak.first)}


def _flat(value: object) -> str | int | float | None:
    """Return a value as a CSV cell; the parts of an object are joined by spaces."""
    if isinstance(value, dict):
        return " ".join(str(part) for part in value.values())
    return value if isinstance(value, str | int | float) else None
