"""Answer `recent`, `day` and `on-this-day`: plays in chronological order, with the gaps between them."""

from __future__ import annotations

from calendar import isleap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotify_logger.core import periods
from spotify_logger.core.display import format_title
from spotify_logger.core.redis_keys import FIRST_DAY, play_key
from spotify_logger.queries.tallies import MORE_THAN_MS, bounds, counts, make_tally, order, source
from spotify_logger.storage.bulk import Gap, play_data

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from spotify_logger.queries.log import Log
    from spotify_logger.queries.question import Question
    from spotify_logger.storage.bulk import PlayData

    Line = tuple[int, PlayData | "GapLine"]  # with the second of its begin


@dataclass(frozen=True, slots=True)
class GapLine:
    """A gap among plays."""

    gap: Gap


@dataclass(frozen=True, slots=True)
class Timeline:
    """Plays and gaps. Its JSON is the lines alone."""

    lines: Sequence[PlayData | GapLine]
    now_playing: str  # the key of the open play; "" without one


@dataclass(frozen=True, slots=True)
class DayTimeline:
    """The plays and gaps of a local day."""

    day: str
    plays: int
    heard_ms: int
    timeline: Timeline


@dataclass(frozen=True, slots=True)
class Memory:
    """How much was played on a day of an earlier year, and what most."""

    day: str
    plays: int
    heard_ms: int
    most: str
    key: str  # of what was played most


@dataclass(frozen=True, slots=True)
class Memories:
    """The days with plays, the latest first. Its JSON is the days alone."""

    days: Sequence[Memory]


def recent(log: Log, question: Question) -> Timeline:
    """Return the most recent plays of a period, newest first, with the gaps between and after them."""
    begin, end = bounds(question.period)
    query = "SELECT second FROM plays WHERE second >= ? AND second < ? ORDER BY second DESC LIMIT ?"
    seconds = [second for (second,) in log.rows(query, begin, end, question.limit)]
    gaps = _gaps(log, seconds[-1], end) if seconds else []
    return _timeline(log, sorted([*_plays(log, seconds), *gaps], key=_second)[::-1])


def day(log: Log, question: Question, which: date) -> DayTimeline:
    """Return the plays of a local day in order, with the gaps between them."""
    begin, end = bounds(periods.day(question.zone, which))
    query = f"""SELECT second, {counts(question)}, ms_played FROM {source(question)}
        WHERE second >= ? AND second < ? ORDER BY second"""
    rows = log.rows(query, begin, end)
    plays, gaps = _plays(log, [row[0] for row in rows]), _gaps(log, begin, min(end, int(question.now)))
    timeline = _timeline(log, sorted([*plays, *gaps], key=_second))
    return DayTimeline(str(which), sum(row[1] for row in rows), sum(row[2] for row in rows), timeline)


def on_this_day(log: Log, question: Question) -> Memories:
    """Return what was played on this date in earlier years, the latest year first."""
    today = question.today
    is_leap_day = (today.month, today.day) == (2, 29)
    years = range(today.year - 1, FIRST_DAY.year - 1, -1)
    days = [today.replace(year=year) for year in years if not is_leap_day or isleap(year)]
    return Memories([memory for each in days for memory in _remembered(log, question, each)])


def _remembered(log: Log, question: Question, which: date) -> Iterable[Memory]:
    """Return how much was played on a day, and what most, in a list; an empty one if nothing was."""
    make_tally(log, question, periods.day(question.zone, which))
    query = f"""WITH found AS (
            SELECT recording AS grouped, sum(plays) AS plays, sum(ms_played) AS ms_played, item,
                max(plays * {MORE_THAN_MS} + ms_played) -- makes `item` the one of which this is true
            FROM tally JOIN items ON id = item GROUP BY recording
        ) SELECT sum(plays) OVER (), sum(ms_played) OVER (), name, items.artists, album, key
        FROM found JOIN items ON id = item {order(question)} LIMIT 1"""
    for plays, ms_played, name, artists, album, key in log.rows(query):
        title = format_title({"name": name, "artists": artists, "album": album, "uri": key})
        yield Memory(str(which), plays, ms_played, title, key)


def _plays(log: Log, seconds: Iterable[int]) -> list[Line]:
    return [(play[0], play_data(play)) for play in log.store.plays(seconds)]


def _gaps(log: Log, begin: int, end: int) -> list[Line]:
    """Return the gaps in a period, also those that reach into it."""
    rows = log.rows("SELECT * FROM gaps WHERE end > ? AND begin < ?", begin, end)
    return [(row[0], GapLine(Gap.of(*row))) for row in rows]


def _second(line: Line) -> int:
    return line[0]


def _timeline(log: Log, lines: Iterable[Line]) -> Timeline:
    second = log.store.now_playing()
    return Timeline([each for _, each in lines], "" if second is None else play_key(second))
