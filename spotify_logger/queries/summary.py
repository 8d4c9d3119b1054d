"""Answer `stats`: how much was played in a period, how it spread over the days, and what was new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotify_logger.core.times import utc_time
from spotify_logger.queries.figures import (
    DaySums,
    Session,
    Streak,
    day_figures,
    is_new,
    make_ranking,
    number_of,
    session_figures,
    skip_rate,
)
from spotify_logger.queries.local_time import BY_DAY, sums_by, total
from spotify_logger.queries.log import Log, Unseen, unseen
from spotify_logger.queries.tallies import ARTISTS, KINDS, TRACKS, make_tally

if TYPE_CHECKING:
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
    busiest_day: DaySums | None
    unseen: Unseen


def stats(log: Log, question: Question) -> Stats:
    """Return the statistics of a period."""
    period = question.period
    days = sums_by(log, question, BY_DAY)
    sums = total(days)
    make_tally(log, question, period)
    for kind in KINDS:
        make_ranking(log, question, kind)
    tracks, artists, albums, shows = (number_of(log, kind) for kind in KINDS)
    new_tracks, new_artists = (number_of(log, kind, is_new(question, kind)) for kind in (TRACKS, ARTISTS))
    of_sessions = session_figures(log, question)
    return Stats(
        utc_time(period.begin),
        utc_time(period.end),
        sums.plays,
        sums.all_plays - sums.plays,
        sums.heard_ms,
        tracks,
        artists,
        albums,
        shows,
        new_tracks,
        new_artists,
        sums.skips,
        skip_rate(sums),
        of_sessions.sessions,
        of_sessions.longest_session,
        *day_figures(days, question.today),
        unseen(log, question),
    )
