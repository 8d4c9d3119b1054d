"""Answer `year`: a year in review, on one screen to share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotify_logger.core.display import format_title
from spotify_logger.core.times import utc_time
from spotify_logger.queries.charts import days_of_year, sums_of, year_of
from spotify_logger.queries.figures import (
    ReviewLine,
    Session,
    Streak,
    Sums,
    best,
    best_of_all,
    date_of,
    day_figures,
    is_new,
    make_ranking,
    make_rankings,
    number_of,
    session_figures,
)
from spotify_logger.queries.local_time import BY_DAY, DAY, HOUR, local_plays, sums_by, total
from spotify_logger.queries.log import Log, Unseen, unseen
from spotify_logger.queries.tallies import ARTISTS, TRACKS, bounds, counts, groups, source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.queries.figures import Best
    from spotify_logger.queries.question import Question
    from spotify_logger.queries.top import Line

NIGHT_ENDS = 5 * HOUR
"""Seconds after midnight at which the late night ends; it begins at midnight."""


@dataclass(frozen=True, slots=True)
class FirstPlay(ReviewLine):
    """The first play of the year that counts."""

    album: str  # the show of an episode

    @property
    def title(self) -> str:
        """Artists, or the show, and name in one string."""
        return format_title({"name": self.name or self.key, "artists": self.artists, "album": self.album})


@dataclass(frozen=True, slots=True)
class Review:
    """A year in review."""

    year: int
    over: bool
    from_: str | None
    to: str | None
    by: str
    plays: int  # that count
    shorter: int  # those that do not
    skips: int
    heard_ms: int
    days: int  # with plays that count
    new_tracks: int | None  # never heard before, not even in part; None if nothing was logged before the year
    new_artists: int | None
    sessions: int
    longest_session: Session | None
    longest_streak: Streak
    busiest_day: Sums | None
    first_play: FirstPlay | None
    most_repeated: ReviewLine | None  # the track with the most plays in a day
    late_night: ReviewLine | None  # the track that was played most after midnight
    discovery: ReviewLine | None  # the track that was played most of those that are new
    months: Sequence[Sums]
    top: Best
    unseen: Unseen


def year(log: Log, question: Question) -> Review:
    """Return a year in review; the period of the question is a calendar year."""
    period, number = question.period, year_of(question)
    days = sums_by(log, question, BY_DAY)
    sums, of_days = total(days), day_figures(days, question.today)
    make_rankings(log, question)
    has_past, new = _has_past(log, question), is_new(question, TRACKS)
    plays = local_plays(log, question)
    months = sums_of(days, days_of_year(number), "month", lambda day: f"{day:%Y-%m}")
    return Review(
        number,
        period.end is not None and question.now >= period.end,
        utc_time(period.begin),
        utc_time(period.end),
        question.by,
        sums.plays,
        sums.all_plays - sums.plays,
        sums.skips,
        sums.heard_ms,
        of_days.days,
        number_of(log, TRACKS, new) if has_past else None,
        number_of(log, ARTISTS, is_new(question, ARTISTS)) if has_past else None,
        *session_figures(log, question),
        of_days.longest_streak,
        of_days.busiest_day,
        _first_play(log, question),
        _most_repeated(log, question, plays),
        _late_night(log, question, plays),
        _first(best(log, question, TRACKS, 1, new)) if has_past else None,
        months,
        best_of_all(log, question),
        unseen(log, question),
    )


def _first(lines: Sequence[Line]) -> ReviewLine | None:
    return ReviewLine.of(lines[0]) if lines else None


def _has_past(log: Log, question: Question) -> bool:
    """Return whether any music was played before the period."""
    query = "SELECT EXISTS (SELECT 1 FROM items WHERE first < ? AND NOT is_episode)"
    return bool(log.rows(query, bounds(question.period).begin)[0][0])


def _first_play(log: Log, question: Question) -> FirstPlay | None:
    first = f"""SELECT second, item FROM {source(question)}
        WHERE second >= ? AND second < ? AND {counts(question)} ORDER BY second LIMIT 1"""
    query = f"SELECT second, name, artists, key, album FROM ({first}) JOIN items ON id = item"
    for second, name, artists, key, album in log.rows(query, *bounds(question.period)):
        return FirstPlay(name, artists, None, None, utc_time(second), key, album)
    return None


def _most_repeated(log: Log, question: Question, plays: str) -> ReviewLine | None:
    """Return the track with the most plays in a day, the first one in a tie; None without repeats."""
    query = f"""SELECT {BY_DAY}, grouped, sum(plays) AS times
        FROM ({plays}) JOIN ({groups(TRACKS, exact=question.exact)}) USING (item) WHERE plays
        GROUP BY 1, 2 HAVING times > 1 ORDER BY times DESC, min(second) LIMIT 1"""
    for day, group, times in log.rows(query):
        for line in best(log, question, TRACKS, 1, "grouped = ?", group):
            return ReviewLine(line.name, line.artists, times, None, str(date_of(day)), line.key)
    return None


def _late_night(log: Log, question: Question, plays: str) -> ReviewLine | None:
    """Return the track that was played most after midnight."""
    query = f"""SELECT item, sum(plays) AS plays, sum(ms_played) AS ms_played
        FROM ({plays}) WHERE local % {DAY} < {NIGHT_ENDS} GROUP BY item"""
    log.make_table("night", query)
    make_ranking(log, question, TRACKS, "night")
    return _first(best(log, question, TRACKS, 1, table="night"))
