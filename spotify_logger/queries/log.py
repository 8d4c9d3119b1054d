"""What questions are asked of: the index of a log, and the log itself for what the index lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from spotify_logger.queries.tallies import bounds

if TYPE_CHECKING:
    import sqlite3

    from spotify_logger.queries.question import Question
    from spotify_logger.storage.bulk import Archive


class Log(NamedTuple):
    """A log, and an index of it that is up to date."""

    database: sqlite3.Connection
    store: Archive

    def rows(self, query: str, *values: object) -> list[Any]:
        """Return the rows that a query of the index finds."""
        return self.database.execute(query, values).fetchall()

    def make_table(self, name: str, query: str, *values: object) -> None:
        """Make a temporary table of what a query finds."""
        self.database.execute(f"DROP TABLE IF EXISTS temp.{name}")
        self.database.execute(f"CREATE TEMP TABLE {name} AS {query}", values)


@dataclass(frozen=True, slots=True)
class Unseen:
    """What could not be observed in a period: figures are at least so much."""

    gaps: int
    seconds: int


def unseen(log: Log, question: Question) -> Unseen:
    """Return the gaps in a period, from its first play on."""
    begin, end = bounds(question.period)
    end = min(end, int(question.now)) if question.period.end is None else end
    ((first,),) = log.rows("SELECT min(second) FROM plays WHERE second >= ?", begin)
    if question.period.begin is None:
        if first is None:
            return Unseen(0, 0)
        begin = first
    query = "SELECT min(end, ?) - max(begin, ?) FROM gaps WHERE begin < ? AND end > ?"
    seconds = [max(0, length) for (length,) in log.rows(query, end, begin, end, begin)]
    return Unseen(len(seconds), sum(seconds))
