"""Answer `stats`: how much was played in a period, how it spread over the days, and what was new.

The page shows the same of the last twelve months, with what was played most and the weeks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotify_logger.core.times import utc_time
from spotify_logger.queries.charts import by_interval
from spotify_logger.queries.figures import (
    Session,
    Streak,
    Sums,
    best_of_all,
    day_figures,
    is_new,
    make_rankings,
    number_of,
    session_figures,
    skip_rate,
)
from spotify_logger.queries.local_time import BY_DAY, sums_by, total
from spotify_logger.queries.log import Log, Unseen, unseen
from spotify_logger.queries.question import WEEK
from spotify_logger.queries.tallies import ARTISTS, KINDS, TRACKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.queries.figures import Best
    from spotify_logger.queries.local_time import LocalSums
    from spotify_logger.queries.question import Question


@dataclass(frozen=True, slots=True)
class Stats:
    """The statistics of a period. What is new was never heard before it, not even in part."""

    from_: str | None
    to: str | None
    plays: int  # that count
    shorter: int  # those that do not
    heard_ms: int
    tracks: int  # different ones, with plays that count
    artists: int
    albums: int
    shows: int
    new_tracks: int
    new_artists: int
    skips: int
    skip_rate: float | None  # of the plays that are over
    sessions: int
    longest_session: Session | None
    days: int  # with plays that count
    longest_streak: Streak
    current_streak: Streak
    busiest_day: Sums | None
    unseen: Unseen


@dataclass(frozen=True, slots=True)
class Overview:
    """The period up to now at a glance, for the page."""

    stats: Stats
    top: Best
    weeks: Sequence[Sums]


def stats(log: Log, question: Question) -> Stats:
    """Return the statistics of a period."""
    return _stats(log, question, sums_by(log, question, BY_DAY))


def overview(log: Log, question: Question) -> Overview:
    """Return an overview of a period that begins at a local midnight and includes the present."""
    days = sums_by(log, question, BY_DAY)
    return Overview(
        _stats(log, question, days), best_of_all(log, question), by_interval(days, question, WEEK)
    )


def _stats(log: Log, question: Question, days: Sequence[LocalSums]) -> Stats:
    period, sums = question.period, total(days)
    make_rankings(log, question)
    tracks, artists, albums, shows = (number_of(log, kind) for kind in KINDS)
    new_tracks, new_artists = (number_of(log, kind, is_new(question, kind)) for kind in (TRACKS, ARTISTS))
    of_sessions = session_figures(log, question)
    return Stats(
        utc_time(period.begin),
        utc_time(period.end),
        sums.plays,
        sums.all_plays - sums.plays,
        sums.heard_ms,
        *(tracks, artists, albums, shows, new_tracks, new_artists),
        sums.skips,
        skip_rate(sums),
        of_sessions.sessions,
        of_sessions.longest_session,
        *day_figures(days, question.today),
        unseen(log, question),
    )
