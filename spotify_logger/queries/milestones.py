"""Find the milestones of a period, for the page: the 1,000th play, the 100th of an artist or a track."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spotify_logger.core.periods import Period
from spotify_logger.core.times import utc_time
from spotify_logger.queries import sql
from spotify_logger.queries.question import Question
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
    _, end = sql.bounds(question.period)
    sql.make_tally(log, question, question.period)
    log.make_table("within", "SELECT * FROM tally", of="tally", columns=sql.TALLY)
    sql.make_tally(log, question, Period(end), table="later")
    kinds = sql.ANY, sql.ARTISTS, sql.TRACKS
    sql.make_tally(log, question, Period(), sql.ARTISTS, sql.TRACKS)
    return sorted(each for kind in kinds for each in _of_kind(log, question, kind))


def _of_kind(log: Log, question: Question, kind: str) -> Iterator[Milestone]:
    numbers, is_of_group = OF_ALL, "'' = ?"
    sums = """SELECT '' AS grouped, (SELECT ifnull(sum(plays), 0) FROM within) AS inside,
        (SELECT sum(plays) FROM tally) - (SELECT ifnull(sum(plays), 0) FROM later) AS plays"""
    if kind:
        often = f"SELECT grouped FROM {kind}_of_tally WHERE plays >= {OF_ONE[0]}"
        groups = f"SELECT * FROM ({sql.groups(kind, exact=question.exact)}) WHERE grouped"
        numbers, is_of_group = OF_ONE, f"item IN (SELECT item FROM ({groups} = ?))"
        sums = f"""SELECT grouped, ifnull(sum(within.plays), 0) AS inside,
                sum(tally.plays) - ifnull(sum(later.plays), 0) AS plays
            FROM ({groups} IN ({often})) CROSS JOIN tally USING (item)
                LEFT JOIN within USING (item) LEFT JOIN later USING (item) GROUP BY grouped"""
    values = ", ".join(f"({number})" for number in numbers)
    query = f"""SELECT grouped, column1, column1 - plays + inside - 1
        FROM ({sums}) JOIN (VALUES {values}) ON column1 > plays - inside AND column1 <= plays
        ORDER BY column1 DESC, plays DESC, grouped LIMIT {MOST}"""
    for grouped, number, offset in log.rows(query):
        query = f"""SELECT second, (SELECT key FROM items named WHERE named.id = item)
            FROM {sql.source(question)} WHERE second >= ? AND {sql.counts(question)} AND {is_of_group}
            ORDER BY second LIMIT 1 OFFSET ?"""
        ((second, key),) = log.rows(query, sql.bounds(question.period)[0], grouped, offset)
        name, _ = names(log, kind if kind == sql.ARTISTS else sql.TRACKS, grouped, key)
        yield Milestone(str(utc_time(second)), kind, number, name, key)
