"""Figures that several answers share: streaks, sessions, and what was played most."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.redis_keys import EPOCH_DAY
from spotify_logger.core.sessions import sessions
from spotify_logger.core.times import utc_time
from spotify_logger.queries.tallies import ARTISTS, KINDS, bounds, by_group, make_tally, order
from spotify_logger.queries.top import Group, Line, Titled, lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spotify_logger.queries.local_time import LocalSums
    from spotify_logger.queries.log import Log
    from spotify_logger.queries.question import Question


TOP_COUNT = 5  # lines of each kind in a review


@dataclass(frozen=True, slots=True)
class Session:
    """A listening session."""

    from_: str
    ms: int


@dataclass(frozen=True, slots=True)
class Streak:
    """Consecutive days with at least one play that counts."""

    days: int = 0
    from_: str | None = None


@dataclass(frozen=True, slots=True)
class Sums:
    """How much was played on a day, in an hour, a month or another unit of time."""

    unit: str  # names `when` in JSON
    when: str | int
    plays: int
    heard_ms: int

    @classmethod
    def of_day(cls, day: LocalSums) -> Sums:
        """Return the sums of a day."""
        return cls("day", str(date_of(day.number)), day.plays, day.heard_ms)


class DayFigures(NamedTuple):
    """How the plays of a period spread over the local days."""

    days: int  # with plays that count
    longest_streak: Streak  # the first of equal ones
    current_streak: Streak
    busiest_day: Sums | None  # with the most listening time, the first of equal ones


class SessionFigures(NamedTuple):
    """The number of sessions in a period, and the longest one, the first of equal ones."""

    sessions: int
    longest_session: Session | None


@dataclass(frozen=True, slots=True)
class ReviewLine(Titled):
    """A line of a review: what was played, how much, and when, as far as that is known."""

    name: str
    artists: str
    plays: int | None
    heard_ms: int | None
    when: str | None
    key: str

    @classmethod
    def of(cls, line: Line) -> ReviewLine:
        """Return a line of a ranking as one of a review."""
        return cls(line.name, line.artists, line.plays, line.heard_ms, None, line.key)


@dataclass(frozen=True, slots=True)
class Best:
    """What was played most."""

    tracks: Sequence[ReviewLine]
    artists: Sequence[ReviewLine]
    albums: Sequence[ReviewLine]
    shows: Sequence[ReviewLine]


def date_of(day: int) -> date:
    """Return the date that is `day` days after the epoch."""
    return EPOCH_DAY + timedelta(days=day)


def day_figures(days: Sequence[LocalSums], today: date) -> DayFigures:
    """Return the figures of local days, given in order."""
    longest, current = streaks([day.number for day in days if day.plays], today)
    busiest = max(days, key=lambda day: day.heard_ms, default=None)
    return DayFigures(sum(day.plays > 0 for day in days), longest, current, busiest and Sums.of_day(busiest))


def streaks(days: Iterable[int], today: date) -> tuple[Streak, Streak]:
    """Return the longest streak of days since the epoch, given in order, and the current one."""
    longest = current = Streak()
    run, previous = 0, None
    for day in days:
        run = run + 1 if previous is not None and day == previous + 1 else 1
        previous = day
        current = Streak(run, str(date_of(day - run + 1)))
        longest = max(longest, current, key=lambda streak: streak.days)
    # A streak that reaches yesterday is still current.
    is_over = previous is None or date_of(previous) < today - timedelta(days=1)
    return longest, Streak() if is_over else current


def skip_rate(sums: LocalSums) -> float | None:
    """Return the share of skips among the plays that are over; None without such plays."""
    closed = sums.all_plays - sums.open
    return round(sums.skips / closed, 6) if closed else None


def session_figures(log: Log, question: Question) -> SessionFigures:
    """Return the sessions of the period; its bounds cut those that reach beyond them."""
    begin, end = bounds(question.period)
    within = "FROM sessions WHERE begin >= ? AND begin < ?"
    query = f"SELECT ifnull(min(begin), ?), ifnull(max(begin), ?) {within}"
    ((first, last),) = log.rows(query, end, end, begin, end)
    query = "SELECT second, ms_played FROM plays WHERE second >= ? AND second < ? AND ms_played > 0"
    at_the_edges = [
        each for edge in ((begin, first), (last, end)) for each in sessions(log.rows(query, *edge))
    ]
    ((number,),) = log.rows(f"SELECT count(*) {within}", first, last)
    query = f"SELECT begin, end_ms {within} ORDER BY end_ms - begin * 1000 DESC, begin LIMIT 1"
    lengths = {begin: end_ms - begin * 1000 for begin, end_ms in at_the_edges + log.rows(query, first, last)}
    longest = min(lengths, key=lambda begin: (-lengths[begin], begin), default=None)
    session = None if longest is None else Session(str(utc_time(longest)), lengths[longest])
    return SessionFigures(number + len(at_the_edges), session)


def make_ranking(log: Log, question: Question, kind: str, table: str = "tally") -> None:
    """Make a temporary table, like `tracks_of_tally`, of the groups with plays that count."""
    query = f"SELECT grouped, plays, ms_played, item FROM ({by_group(question, kind, table)}) WHERE plays > 0"
    log.make_table(f"{kind}_of_{table}", query)


def make_rankings(log: Log, question: Question) -> None:
    """Make the tables of all kinds for the period, and `tally`."""
    make_tally(log, question, question.period)
    for kind in KINDS:
        make_ranking(log, question, kind)


def number_of(log: Log, kind: str, which: str = "TRUE") -> int:
    """Return how many groups `make_ranking` has found, of those for which `which` is true."""
    return int(log.rows(f"SELECT count(*) FROM {kind}_of_tally WHERE {which}")[0][0])


def best(  # noqa: PLR0913 - most have defaults
    log: Log,
    question: Question,
    kind: str,
    number: int,
    which: str = "TRUE",
    *values: object,
    table: str = "tally",
) -> list[Line]:
    """Return the first groups `make_ranking` has found, of those for which `which` is true."""
    query = f"""SELECT grouped, plays, ms_played, (SELECT key FROM items WHERE id = item)
        FROM {kind}_of_{table} WHERE {which} {order(question)} LIMIT ?"""
    return lines(log, kind, [Group(*row) for row in log.rows(query, *values, number)])


def best_of_all(log: Log, question: Question) -> Best:
    """Return the first of each kind after `make_rankings`."""
    lines = (best(log, question, kind, TOP_COUNT) for kind in KINDS)
    return Best(*(list(map(ReviewLine.of, each)) for each in lines))


def is_new(question: Question, kind: str) -> str:
    """Return the SQL condition for a track or an artist not to have been heard before, not even in part."""
    same = "artists WHERE person"
    if kind != ARTISTS:
        same = f"items WHERE {'key' if question.exact else 'recording'}"
    return f"NOT EXISTS (SELECT 1 FROM {same} = grouped AND first < {bounds(question.period).begin})"
