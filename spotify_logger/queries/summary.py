"""Answer `stats`: how much was played in a period, how it spread over the days, and what was new."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from spotify_logger.core.catalog import album_keys
from spotify_logger.core.periods import LocalClock, Period
from spotify_logger.core.statistics import (
    CalendarCounts,
    ItemCounts,
    SessionCounter,
    Streak,
    Totals,
    date_of,
    streaks,
)
from spotify_logger.queries.phrases import format_time, gap_note, nothing_played, unseen_data
from spotify_logger.queries.ranking import ARTISTS, SHOWS, TRACKS, amounts_data, groups_of
from spotify_logger.queries.reader import PlayReader
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import counted, listening_time, percentage, utc_time

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping
    from datetime import date

    from spotify_logger.core.play_rows import PlayRows
    from spotify_logger.queries.question import Question
    from spotify_logger.storage.bulk import Archive


@dataclass(slots=True)
class Figures:
    """Running statistics of a period: by day and hour, in total, by item, and of its sessions."""

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
        return Figures(self.calendar.copy(), replace(self.sums), self.tallies.copy(), deepcopy(self.sessions))

    def session_data(self) -> dict[str, object]:
        """Return the sessions for JSON."""
        number, longest = self.sessions.number, self.sessions.longest
        data = longest and {"from": utc_time(longest.begin), "ms": longest.length_ms}
        return {"sessions": number, "longest_session": data}

    def days_data(self, today: date) -> dict[str, Any]:
        """Return for JSON the days with plays, the streaks, and the day with the most listening time.

        The earliest wins a tie.
        """
        heard = self.calendar.ms_played
        played = [day for day, plays in self.calendar.plays.items() if plays]
        longest, current = map(_streak_data, streaks(played, today))
        busiest = None
        if heard:
            day = min(heard, key=lambda day: (-heard[day], day))
            busiest = {"day": str(date_of(day)), **amounts_data(self.calendar.plays[day], heard[day])}
        streak_data = {"longest_streak": longest, "current_streak": current}
        return {"days": len(played), **streak_data, "busiest_day": busiest}


def _streak_data(streak: Streak) -> dict[str, object]:
    return {"days": streak.days, "from": None if streak.first is None else str(streak.first)}


def skip_data(sums: Totals) -> dict[str, object]:
    """Return the number of skips, and their share of the plays that are over, for JSON."""
    return {"skips": sums.skips, "skip_rate": round(sums.skips / sums.closed, 6) if sums.closed else None}


def day_rows(data: Mapping[str, Any], of: str = "") -> list[tuple[str, str]]:
    """Format what `Figures.days_data` returns; `of` follows the number of days with plays, like " of 366"."""
    streak_words = [
        f"{counted(streak['days'], 'day')}, from {streak['from']}" if streak["days"] else ""
        for streak in (data["longest_streak"], data["current_streak"])
    ]
    busiest_words = ""
    if busiest := data["busiest_day"]:
        plays = counted(busiest["plays"], "play")
        busiest_words = f"{busiest['day']}, {listening_time(busiest['heard_ms'])}, {plays}"
    return [
        ("days", f"{data['days']:,}{of} with plays"),
        ("longest streak", streak_words[0]),
        ("current streak", streak_words[1]),
        ("busiest day", busiest_words),
    ]


def stats(archive: Archive, question: Question) -> Answer:
    """Return the statistics of a period."""
    reader = PlayReader(archive, question)
    figures = Figures.of(reader)
    sums, period = figures.sums, question.period
    variety = _variety(reader, figures)
    data: dict[str, Any] = {
        "from": utc_time(period.begin),
        "to": utc_time(period.end),
        "plays": sums.plays,
        "shorter": sums.rows - sums.plays,
        "heard_ms": sums.ms_played,
        **variety,
        **skip_data(sums),
        **figures.session_data(),
        **figures.days_data(question.today),
        "unseen": unseen_data(reader),
    }
    if not sums.rows:
        return Answer(data, [nothing_played(period)])
    longest, session = "", figures.sessions.longest
    if session:
        begin = format_time(question.zone, session.begin)
        longest = f"; the longest {listening_time(session.length_ms)}, from {begin}"
    has_past = period.begin is not None
    new_tracks, new_artists = (
        f", {variety[name]:,} of them new" if has_past else "" for name in ("new_tracks", "new_artists")
    )
    rows = [
        ("period", period.words),
        ("plays", f"{sums.plays:,} {question.rule_words}, {counted(sums.rows - sums.plays, 'other')}"),
        ("heard", listening_time(sums.ms_played)),
        ("tracks", f"{variety['tracks']:,}{new_tracks}"),
        ("artists", f"{variety['artists']:,}{new_artists}"),
        ("albums", f"{variety['albums']:,}"),
        ("shows", f"{variety['shows']:,}" if variety["shows"] else ""),
        ("skips", f"{sums.skips:,}, {percentage(sums.skips, sums.closed)}"),
        ("sessions", f"{figures.sessions.number:,}{longest}"),
        *day_rows(data),
    ]
    table = Table([row for row in rows if row[1]])
    flat = [{"figure": name, "value": _flat(value)} for name, value in data.items()]
    return Answer(data, [table, *gap_note(reader)], csv_rows=flat)


def _variety(reader: PlayReader, figures: Figures) -> dict[str, int]:
    """Count the different things with plays that count, and those never heard before, not even in part."""
    exact = reader.question.exact
    # Include what does not count: the number of artists on an album decides how it is identified.
    heard = reader.entries(figures.tallies.ms_played)
    album_of = album_keys(heard, exact=exact)
    entries = {key: heard[key] for key, plays in figures.tallies.plays.items() if plays}
    known = reader.entries_before(heard) if heard else {}
    groups = {kind: groups_of(kind, known | heard, exact=exact) for kind in (TRACKS, ARTISTS, SHOWS)}
    tracks, artists, shows = (distinct_groups(each, entries) for each in groups.values())
    return {
        "tracks": len(tracks),
        "artists": len(artists),
        "albums": len({album_of[key] for key in entries.keys() & album_of.keys()}),
        "shows": len(shows),
        "new_tracks": len(tracks - distinct_groups(groups[TRACKS], known)),
        "new_artists": len(artists - distinct_groups(groups[ARTISTS], known)),
    }


def distinct_groups(groups: Mapping[str, Iterable[Hashable]], keys: Iterable[str]) -> set[Hashable]:
    """Return the groups to which items belong, of those by catalog key."""
    return {group for key in keys for group in groups.get(key, ())}


def _flat(value: object) -> str | int | float | None:
    """Return a value as a CSV cell; the parts of an object are joined by spaces."""
    if isinstance(value, dict):
        return " ".join(str(part) for part in value.values())
    return value if isinstance(value, str | int | float) else None
