"""Answer `recent`, `day` and `on-this-day`: plays in chronological order, with the gaps between them."""

from calendar import isleap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from operator import itemgetter
from typing import Any

from spotify_logger.core import periods
from spotify_logger.core.play import format_title
from spotify_logger.core.redis_keys import FIRST_DAY, play_key
from spotify_logger.queries import sql
from spotify_logger.queries.question import Question
from spotify_logger.queries.search import find, matches
from spotify_logger.queries.sql import Log
from spotify_logger.queries.top import DETAIL, DETAILS, best, read_details
from spotify_logger.storage.bulk import gap_data, play_data

Line = Mapping[str, Any]  # the data of a play, or of a gap under "gap"


@dataclass(frozen=True, slots=True)
class Timeline:
    """Plays and gaps. Its JSON is the lines alone."""

    lines: Sequence[Line]
    now_playing: str  # the key of the open play; "" without one
    older: int | None = None  # the second before which there are more plays
    newer: int | None = None  # the second before which the next newer ones are


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
    """The days with plays before a date, the latest first. Its JSON is the days alone."""

    lines: Sequence[Memory]
    date: date


def recent(log: Log, question: Question, kind: str = "", text: str = "") -> Timeline:
    """Return the most recent plays of a period, newest first, with the gaps between and after them.

    With a `kind` of `sql.CHOICES` or `sql.EPISODES`, only those of the thing that `text` names, without gaps.
    """
    begin, end = sql.bounds(question.period)
    which, values = _condition(log, question, kind, text)
    plays = f"SELECT second FROM logged WHERE {which} AND"
    query = f"{plays} second >= ? AND second < ? ORDER BY second DESC LIMIT ?"
    seconds = [second for (second,) in log.rows(query, *values, begin, end, question.limit + 1)]
    query = f"{plays} second >= ? ORDER BY second LIMIT ?"
    newer = [second for (second,) in log.rows(query, *values, end, question.limit)]
    older = seconds[question.limit - 1] if len(seconds) > question.limit else None
    del seconds[question.limit :]
    since = seconds[-1] if seconds and not kind else sql.LAST_SECOND
    found = _timeline(log, seconds, since, end)
    return Timeline(found.lines[::-1], found.now_playing, older, newer[-1] + 1 if newer else None)


def _condition(log: Log, question: Question, kind: str, text: str) -> tuple[str, Sequence[object]]:
    """Return the SQL condition for a play to be of a thing, and its values."""
    if not kind:
        return "TRUE", ()
    if kind in DETAILS:
        read_details(log, question.period)
        return f"second IN (SELECT second FROM details WHERE {DETAIL.format(DETAILS[kind])} = ?)", (text,)
    found = matches(find(log, text, kind, exact=question.exact))
    wanted = [grouped for grouped, match in found.items() if match == max(found.values())]
    same = f"SELECT item FROM ({sql.groups(kind, exact=question.exact)})"
    return f"item IN ({same} WHERE grouped {sql.ONE_OF})", (wanted,)


def day(log: Log, question: Question, which: date) -> DayTimeline:
    """Return the plays of a local day in order, with the gaps between them."""
    begin, end = sql.bounds(periods.day(question.zone, which))
    within = "WHERE second >= ? AND second < ?"
    query = f"""SELECT ifnull(sum({sql.counts(question)}), 0), ifnull(sum(ms_played), 0)
        FROM {sql.source(question)} {within}"""
    ((plays, heard_ms),) = log.rows(query, begin, end)
    seconds = [second for (second,) in log.rows(f"SELECT second FROM logged {within}", begin, end)]
    timeline = _timeline(log, seconds, begin, min(end, int(question.now)))
    return DayTimeline(str(which), plays, heard_ms, timeline)


def _timeline(log: Log, seconds: Sequence[int], begin: int, end: int) -> Timeline:
    """Return plays in order, with a mark on those that are hidden, and the gaps that reach into a period."""
    gaps = log.rows("SELECT * FROM gaps WHERE end > ? AND begin < ?", begin, end)
    query = f"SELECT second FROM logged WHERE is_hidden AND second {sql.ONE_OF}"
    marks = {second: {"hidden": True} for (second,) in log.rows(query, seconds)}
    lines: list[tuple[int, Line]] = [
        (play[0], {**play_data(play), **marks.get(play[0], {})}) for play in log.store.plays(seconds)
    ]
    lines += [(gap[0], {"gap": gap_data(*gap)}) for gap in gaps]
    now_playing = log.store.now_playing()
    key = "" if now_playing is None else play_key(now_playing)
    return Timeline([line for _, line in sorted(lines, key=itemgetter(0))], key)


def on_this_day(log: Log, question: Question, which: date) -> Memories:
    """Return what was played on a date in earlier years, the latest year first."""
    memories = []
    for year in range(which.year - 1, FIRST_DAY.year - 1, -1):
        if isleap(year) or (which.month, which.day) != (2, 29):
            day = which.replace(year=year)
            sql.make_tally(log, question, periods.day(question.zone, day), sql.ANY)
            for line in best(log, question, sql.ANY, 1, "TRUE").values():
                query = "SELECT sum(plays), sum(ms_played), album FROM tally, items WHERE key = ?"
                ((plays, heard_ms, album),) = log.rows(query, line.key)
                item = {"name": line.name, "artists": line.artists, "album": album, "uri": line.key}
                memories.append(Memory(str(day), plays, heard_ms, format_title(item), line.key))
    return Memories(memories, which)
