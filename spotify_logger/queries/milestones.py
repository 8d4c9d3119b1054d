"""Find the milestones of a period, for the page: the 1,000th play, the 100th of an artist or a track."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import MAXYEAR, date

from spotify_logger.core import redis_keys as keys
from spotify_logger.core.periods import Period
from spotify_logger.core.times import utc_time
from spotify_logger.queries import sql
from spotify_logger.queries.question import MIN_LISTENED_MS, Question
from spotify_logger.queries.sql import Log
from spotify_logger.queries.top import names

OF_ALL = [digit * 10**zeros for zeros in range(3, 7) for digit in range(1, 10)]
OF_ONE = [10**zeros for zeros in range(2, 6)]
MOST = 10  # milestones of a kind in a period: those with the largest numbers


@dataclass(frozen=True, order=True, slots=True)
class Milestone:
    """A play that counts with a round number, among all plays or those of an artist or a track."""

    when: str
    kind: str  # `sql.ANY`, `sql.ARTISTS` or `sql.TRACKS`
    number: int
    name: str  # of the artist; otherwise of what was played
    key: str  # of what was played, in the catalog


def milestones(log: Log, question: Question) -> Sequence[Milestone]:
    """Return the milestones of a period, in order."""
    columns = "item INTEGER PRIMARY KEY, plays INTEGER"
    sql.make_tally(log, question, question.period)
    log.make_table("within", "SELECT item, plays FROM tally", of="tally", columns=columns)
    _, end = sql.bounds(question.period)
    year, their_begin = MAXYEAR, sql.LAST_SECOND
    if question.threshold == MIN_LISTENED_MS:  # the index has what was played in later years
        year = keys.day_of(end - 1).year + 1
        their_begin = keys.second_of_day(date(year, 1, 1))
    # Two tables, not a union: SQLite would sort it, but has the years in order.
    query = "SELECT item, sum(plays) FROM years WHERE year >= ? GROUP BY item"
    log.make_table("later", query, year, columns=columns)
    query = f"""SELECT item, sum({sql.counts(question)}) FROM {sql.source(question)}
        WHERE {sql.within(question, end, their_begin)} GROUP BY item"""
    log.make_table("soon", query, end, their_begin, columns=columns)
    sql.make_tally(log, question, Period(), sql.ARTISTS, sql.TRACKS)
    query = """SELECT item, until - ifnull(within.plays, 0) AS before, until AS plays
        FROM (SELECT item, tally.plays - ifnull(later.plays, 0) - ifnull(soon.plays, 0) AS until
            FROM tally LEFT JOIN later USING (item) LEFT JOIN soon USING (item))
        LEFT JOIN within USING (item)"""
    log.make_table("counted", query, of="within")
    kinds = sql.ANY, sql.ARTISTS, sql.TRACKS
    return sorted(each for kind in kinds for each in _of_kind(log, question, kind))


def _of_kind(log: Log, question: Question, kind: str) -> Iterator[Milestone]:
    counted, is_of_group = "(SELECT *, '' AS grouped FROM counted)", "'' = ?"
    if kind:
        often = f"SELECT grouped FROM {kind}_of_tally WHERE plays >= {OF_ONE[0]}"
        groups = f"SELECT * FROM ({sql.groups(kind, exact=question.exact)}) WHERE grouped"
        counted = f"counted JOIN ({groups} IN ({often})) USING (item)"
        is_of_group = f"item IN (SELECT item FROM ({groups} = ?))"
    numbers = ", ".join(f"({number})" for number in (OF_ONE if kind else OF_ALL))
    sums = f"SELECT grouped, sum(before) AS before, sum(plays) AS plays FROM {counted} GROUP BY grouped"
    query = f"""SELECT grouped, column1, column1 - before - 1
        FROM ({sums}) JOIN (VALUES {numbers}) ON column1 > before AND column1 <= plays
        ORDER BY column1 DESC, plays DESC, grouped LIMIT {MOST}"""
    for grouped, number, offset in log.rows(query):
        query = f"""SELECT second, (SELECT key FROM items named WHERE named.id = item)
            FROM {sql.source(question)} WHERE second >= ? AND {sql.counts(question)} AND {is_of_group}
            ORDER BY second LIMIT 1 OFFSET ?"""
        ((second, key),) = log.rows(query, sql.bounds(question.period)[0], grouped, offset)
        name, _ = names(log, kind if kind == sql.ARTISTS else sql.TRACKS, grouped, key)
        yield Milestone(str(utc_time(second)), kind, number, name, key)
