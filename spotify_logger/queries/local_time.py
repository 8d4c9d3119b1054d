"""Plays by local days and hours. SQLite knows no time zones: it gets the UTC offsets as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.queries.index_schema import OPEN, SKIPPED
from spotify_logger.queries.question import MIN_LISTENED_MS
from spotify_logger.queries.tallies import bounds, counts, source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.queries.log import Log
    from spotify_logger.queries.question import Question

HOUR, DAY = 3600, 86_400
DAY_HOURS, WEEK_HOURS = 24, 168
BY_DAY = f"local / {DAY}"  # since the epoch
BY_HOUR = f"local / {HOUR} % {DAY_HOURS}"  # of the day
BY_WEEK_HOUR = f"(local / {HOUR} + 3 * {DAY_HOURS}) % {WEEK_HOURS}"  # from Monday; the epoch was a Thursday


class LocalSums(NamedTuple):
    """The plays of a local day or hour, or of several."""

    number: int  # of the day or hour
    plays: int  # those that count
    all_plays: int
    heard_ms: int
    skips: int
    open: int


def local_plays(log: Log, question: Question) -> str:
    """Return the query for the plays in the period, with the local second in which each started."""
    return _from_plays(question, _clock(log, question))


def sums_by(log: Log, question: Question, unit: str, items: str = "") -> list[LocalSums]:
    """Return the plays of the period by `BY_DAY`, `BY_HOUR` or `BY_WEEK_HOUR`, in order.

    With `items`, a query for items, it returns only theirs.
    """
    clock = _clock(log, question)
    is_hourly = question.threshold == MIN_LISTENED_MS and not items
    if is_hourly and not any(second % HOUR for span in clock for second in span):
        plays = _from_hours(clock)
    else:
        plays = _from_plays(question, clock) + (f" AND item IN ({items})" if items else "")
    query = f"""SELECT {unit}, sum(plays), sum(all_plays), sum(ms_played), sum(skips), sum(open)
        FROM ({plays}) GROUP BY 1"""
    return [LocalSums(*row) for row in log.rows(query)]


def total(sums: Sequence[LocalSums]) -> LocalSums:
    """Return the sums of all days or hours."""
    return LocalSums(*map(sum, zip(*sums, strict=True))) if sums else LocalSums(0, 0, 0, 0, 0, 0)


Clock = list[tuple[int, int, int]]
"""Spans of seconds, up to the one after the last, each with its UTC offset."""


def _clock(log: Log, question: Question) -> Clock:
    """Return the UTC offsets from the hour of the first play in the period to that of the last one."""
    begin, end = bounds(question.period)
    within = "FROM plays WHERE second >= ? AND second < ?"
    query = f"SELECT (SELECT min(second) {within}), (SELECT max(second) {within})"
    ((first, last),) = log.rows(query, begin, end, begin, end)
    if first is None:
        return [(0, 0, 0)]
    begin, end = max(begin, first // HOUR * HOUR), min(end, (last // HOUR + 1) * HOUR)
    offsets = question.zone.offsets(begin, end)
    ends = [since for since, _ in offsets[1:]]
    return [(since, until, ahead) for (since, ahead), until in zip(offsets, [*ends, end], strict=True)]


def _spans(clock: Clock) -> str:
    """Return the table of UTC offsets for SQL."""
    rows = ", ".join(map(str, clock))
    return f"(SELECT column1 AS since, column2 AS until, column3 AS ahead FROM (VALUES {rows}))"


def _from_plays(question: Question, clock: Clock) -> str:
    return f"""SELECT second, item, second + ahead AS local, {counts(question)} AS plays, 1 AS all_plays,
        ms_played, ending = {SKIPPED} AS skips, ending = {OPEN} AS open
        FROM {_spans(clock)} CROSS JOIN {source(question)} WHERE second >= since AND second < until"""


def _from_hours(clock: Clock) -> str:
    return f"""SELECT hour * {HOUR} + ahead AS local, plays, all_plays, ms_played, skips, open
        FROM {_spans(clock)} CROSS JOIN hours ON hour >= since / {HOUR} AND hour < until / {HOUR}"""
