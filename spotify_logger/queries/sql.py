"""What questions are asked of: the index of a log, and the SQL that they share.

How much each item, track, artist, album or show was played in a period is in temporary tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from spotify_logger.core import redis_keys as keys
from spotify_logger.queries.question import FINISHED, HALF, TIME

if TYPE_CHECKING:
    import sqlite3

    from spotify_logger.core.periods import Period
    from spotify_logger.queries.question import Question
    from spotify_logger.storage.bulk import Archive

ENDINGS = (keys.OPEN, *keys.END_REASONS)
OPEN, TRACKDONE, SKIPPED = (ENDINGS.index(ending) for ending in (keys.OPEN, "trackdone", "skipped"))
TRACKS, ARTISTS, ALBUMS, SHOWS = KINDS = ("tracks", "artists", "albums", "shows")
DEVICES, CONTEXTS = "devices", "contexts"
EPISODES = "episodes"  # of shows
ANY = ""  # recordings and episodes
CHOICES = (*KINDS, DEVICES, CONTEXTS)
NOUNS = {kind: kind.removesuffix("s") for kind in (*CHOICES, EPISODES)}
LAST_SECOND = 2**40
LONG_PERIOD = 3 * 366 * 86_400  # in seconds: its plays are read faster by item than by second
MORE_THAN_MS = 10**12  # more milliseconds than anything was ever played

FIRST_ARTISTS = "JOIN artists ON artists.id = first_artist"


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
    if question.period.begin is None:
        ((begin,),) = log.rows(f"SELECT ifnull(min(second), {LAST_SECOND}) FROM plays")
    query = "SELECT max(0, min(end, ?) - max(begin, ?)) FROM gaps WHERE begin < ? AND end > ?"
    seconds = [length for (length,) in log.rows(query, end, begin, end, begin)]
    return Unseen(len(seconds), sum(seconds))


def bounds(period: Period) -> tuple[int, int]:
    """Return the first second of a period, and the one after its last."""
    return period.begin or 0, LAST_SECOND if period.end is None else period.end


def counts(question: Question) -> str:
    """Return the SQL condition for a row of `plays`, joined with `items`, to count as a play."""
    threshold = question.threshold
    if threshold == FINISHED:
        return f"ending = {TRACKDONE}"
    if threshold == HALF:
        return f"(ending = {TRACKDONE} OR ifnull(duration_ms, 0) > 0 AND 2 * ms_played >= duration_ms)"
    return f"ms_played >= {int(threshold)}"


def source(question: Question) -> str:
    """Return what to select from for `counts`: durations are only looked up where they matter."""
    return "plays JOIN items ON items.id = item" if question.threshold == HALF else "plays"


def make_tally(log: Log, question: Question, period: Period, *kinds: str, table: str = "tally") -> None:
    """Make a temporary table of how much each item was played in a period, and rankings of it by kind."""
    log.database.execute(f"DROP TABLE IF EXISTS temp.{table}")
    columns = "item INTEGER PRIMARY KEY, plays INTEGER, ms_played INTEGER, all_plays INTEGER"
    log.database.execute(f"CREATE TEMP TABLE {table} ({columns})")
    begin, end = bounds(period)
    second = "+second" if min(end, question.now) - begin > LONG_PERIOD else "second"  # "+" avoids the index
    query = f"""INSERT INTO {table} SELECT item, sum({counts(question)}), sum(ms_played), count(*)
        FROM {source(question)} WHERE {second} >= ? AND {second} < ? GROUP BY item"""
    log.database.execute(query, (begin, end))
    for kind in kinds:
        make_ranking(log, question, kind, table)


def make_ranking(log: Log, question: Question, kind: str, table: str = "tally") -> None:
    """Make a temporary table, like `tracks_of_tally`, of the groups of a kind, with the most played item."""
    grouped = groups(kind, exact=question.exact, table=table)
    query = f"""SELECT grouped, sum(plays) AS plays, sum(ms_played) AS ms_played, item,
        max(plays * {MORE_THAN_MS} + ms_played) AS most -- makes `item` the one of which this is true
        FROM {table} CROSS JOIN ({grouped}) USING (item) GROUP BY grouped"""
    log.make_table(f"{kind}_of_{table}", query)


def groups(kind: str, *, exact: bool, table: str = "") -> str:
    """Return the query for what each item belongs to as `grouped`: those of a kind in `KINDS`, or `ANY`.

    With `exact`, each ID of a recording or an album is a group of its own. `table` may limit the items.
    """
    if kind == ARTISTS:
        credited = f"{table} CROSS JOIN credits USING (item)" if table else "credits"
        return f"SELECT DISTINCT item, person AS grouped FROM {credited} JOIN artists ON artists.id = artist"
    if kind in (SHOWS, EPISODES):
        name = "album" if kind == SHOWS else "key"
        return f"SELECT id AS item, {name} AS grouped FROM items WHERE is_episode AND {name} <> ''"
    if kind == ALBUMS:
        by_id = "album_id <> ''" if exact else "album_id IN compilations"
        return f"""SELECT items.id AS item,
            album || char(10) || CASE WHEN {by_id} THEN album_id ELSE ifnull(person, '') END AS grouped
            FROM items LEFT {FIRST_ARTISTS} WHERE NOT is_episode AND album <> ''"""
    of_kind = "WHERE NOT is_episode" if kind == TRACKS else ""
    return f"SELECT id AS item, {'key' if exact else 'recording'} AS grouped FROM items {of_kind}"


def order(question: Question) -> str:
    """Return the columns that a ranking is ordered by: what the question asks; the other breaks ties."""
    first, second = ("ms_played", "plays") if question.by == TIME else ("plays", "ms_played")
    return f"{first} DESC, {second} DESC, grouped"
