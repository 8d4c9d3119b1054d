"""The last twelve months at a glance, for the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotify_logger.core.times import utc_time
from spotify_logger.queries.arguments import WEEK
from spotify_logger.queries.charts import IntervalSums, by_interval
from spotify_logger.queries.figures import (
    DaySums,
    Line,
    Streak,
    best,
    day_figures,
    make_ranking,
    number_of,
    skip_rate,
)
from spotify_logger.queries.local_time import BY_DAY, sums_by, total
from spotify_logger.queries.log import Log, Unseen, unseen
from spotify_logger.queries.tallies import ALBUMS, ARTISTS, TRACKS, make_tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.queries.question import Question

KINDS = (TRACKS, ARTISTS, ALBUMS)
TOP_COUNT = 5


@dataclass(frozen=True, slots=True)
class TopOfOverview:
    """What was played most."""

    tracks: Sequence[Line]
    artists: Sequence[Line]
    albums: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Overview:
    """The period up to now at a glance."""

    from_: str | None
    plays: int  # that count
    shorter: int  # those that do not
    heard_ms: int
    skips: int
    skip_rate: float | None  # of the plays that are over
    days: int  # with plays that count
    longest_streak: Streak
    current_streak: Streak
    busiest_day: DaySums | None
    tracks: int  # different ones, with plays that count
    artists: int
    albums: int
    top: TopOfOverview
    weeks: Sequence[IntervalSums]
    unseen: Unseen


def overview(log: Log, question: Question) -> Overview:
    """Return an overview of a period that begins at a local midnight and includes the present."""
    days = sums_by(log, question, BY_DAY)
    sums = total(days)
    make_tally(log, question, question.period)
    for kind in KINDS:
        make_ranking(log, question, kind)
    tracks, artists, albums = (number_of(log, kind) for kind in KINDS)
    return Overview(
        utc_time(question.period.begin),
        sums.plays,
        sums.all_plays - sums.plays,
        sums.heard_ms,
        sums.skips,
        skip_rate(sums),
        *day_figures(days, question.today),
        tracks,
        artists,
        albums,
        TopOfOverview(*(best(log, question, kind, TOP_COUNT) for kind in KINDS)),
        by_interval(days, question, WEEK),
        unseen(log, question),
    )
