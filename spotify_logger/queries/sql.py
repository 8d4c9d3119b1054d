"""What questions are asked of: the index of a log, and the SQL that they share.

How much each item, track, artist, album or show was played in a period is in temporary tables. They hide
those of the index that have the same names, and are about all time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from spotify_logger.core import redis_keys as keys
from spotify_logger.core.times import utc_time
from spotify_logger.queries.question import FINISHED, HALF, MIN_LISTENED_MS, TIME

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

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
PREVIOUS = "previous"  # a tally of the period before
LAST_SECOND = 10**10  # keys have no more digits
ONE_OF = "IN (SELECT value FROM json_each(?))"  # of the values in a collection

FIRST_ARTISTS = "JOIN artists ON artists.id = first_artist"
TALLY = "(item INTEGER PRIMARY KEY, plays INTEGER, ms_played INTEGER)"
RANKING = "(grouped TEXT PRIMARY KEY, plays INTEGER, ms_played INTEGER) WITHOUT ROWID"
# Makes one row of those with the same key. sum() would allocate memory for each key, one thread at a time.
ADD_UP = """ON CONFLICT DO UPDATE
    SET plays = plays + excluded.plays, ms_played = ms_played + excluded.ms_played"""
ALBUMS_OF_ITEMS = f"""SELECT items.id AS item,
    album || char(10) || CASE WHEN {{}} THEN album_id ELSE ifnull(person, '') END AS grouped
    FROM items LEFT {FIRST_ARTISTS} WHERE NOT is_episode AND album <> ''"""


@dataclass(frozen=True, slots=True)
class Log:
    """A log, and an index of it that is up to date."""

    database: sqlite3.Connection
    store: Archive
    made: dict[str, object] = field(default_factory=dict)  # what each temporary table was made of

    def rows(self, query: str, *values: object) -> list[Any]:
        """Return the rows that a query of the index finds; its values may be collections, for `ONE_OF`."""
        return self.database.execute(query, values).fetchall()

    def make_table(self, name: str, query: str, *values: object, of: str = "", columns: str = "") -> None:
        """Make a temporary table of what a query finds in the index and the table `of`, unless it exists."""
        made = query, values, self.made.get(of)
        if self.made.get(name) != made:
            self.drop_table(name)
            if columns:
                self.database.execute(f"CREATE TEMP TABLE {name} {columns}")
            make = f"INSERT INTO temp.{name}" if columns else f"CREATE TEMP TABLE {name} AS"
            self.rows(f"{make} {query}", *values)
            self.made[name] = made

    def drop_table(self, name: str) -> None:
        """Delete a temporary table, which uncovers the one of the index."""
        self.database.execute(f"DROP TABLE IF EXISTS temp.{name}")
        self.made.pop(name, None)


@dataclass(frozen=True, slots=True)
class Unseen:
    """What could not be observed in a period: figures are at least so much."""

    gaps: int
    seconds: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """What was found about a period."""

    from_: str | None
    to: str | None
    unseen: Unseen


@dataclass(frozen=True, kw_only=True)
class MeasuredResult(Result):
    """How much was played in a period, by plays or time."""

    by: str
    plays: int
    heard_ms: int


def about_period(log: Log, question: Question) -> dict[str, Any]:
    """Return the fields of `Result`; unseen are the gaps from the first play of the period on."""
    begin, end = bounds(question.period)
    end = min(end, int(question.now)) if question.period.end is None else end
    if question.period.begin is None:
        ((begin,),) = log.rows(f"SELECT ifnull(min(second), {LAST_SECOND}) FROM plays")
    query = "SELECT max(0, min(end, ?) - max(begin, ?)) FROM gaps WHERE begin < ? AND end > ?"
    seconds = [length for (length,) in log.rows(query, end, begin, end, begin)]
    unseen = Unseen(len(seconds), sum(seconds))
    return {"from_": utc_time(question.period.begin), "to": utc_time(question.period.end), "unseen": unseen}


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


def _amounts(question: Question, begin: int, end: int) -> tuple[str, Sequence[int]]:
    """Return the query for the rows of a tally of a period, and its values."""
    counting, plays = counts(question), source(question)
    query = f"SELECT item, {counting}, ms_played FROM {plays} WHERE second >= ? AND second < ?"
    first, last = keys.day_of(begin - 1).year + 1, keys.day_of(end).year  # whole UTC years: from, until
    if first >= last:
        return f"{query} {ADD_UP}", (begin, end)
    if question.threshold == MIN_LISTENED_MS:  # the index has their sums
        years = "SELECT item, plays, ms_played FROM years WHERE year >= ? AND year < ?"
        since, until = (keys.second_of_day(date(year, 1, 1)) for year in (first, last))
        values = first, last, begin, since, until, end
        return f"{years} UNION ALL {query} UNION ALL {query} {ADD_UP}", values
    query = f"SELECT item, sum({counting}), sum(ms_played) FROM {plays}"
    # Because of the signs, SQLite reads plays by item: of a long period, that is faster.
    return f"{query} WHERE +second >= ? AND +second < ? GROUP BY item", (begin, end)


def make_tally(log: Log, question: Question, period: Period, *kinds: str, table: str = "tally") -> None:
    """Make a temporary table of how much each item was played in a period, and rankings of it by kind."""
    begin, end = bounds(period)
    ((first, last),) = log.rows("SELECT (SELECT min(second) FROM logged), (SELECT max(second) FROM logged)")
    is_all = begin <= (first or 0) and (last or 0) < end
    if is_all and question.threshold == MIN_LISTENED_MS and table == "tally":  # the index has it
        log.drop_table(table)
    else:
        query, values = _amounts(question, begin, end)
        log.make_table(table, query, *values, columns=TALLY)
    for kind in kinds:
        make_ranking(log, question, kind, table)


def make_ranking(log: Log, question: Question, kind: str, table: str = "tally") -> None:
    """Make a temporary table of how much groups were played."""
    name = f"{kind}_of_{table}"
    if table == "tally" and table not in log.made and kind in KINDS and not question.exact:
        log.drop_table(name)
        return
    plays = f"{table} CROSS JOIN ({groups(kind, exact=question.exact)}) USING (item)"
    query = f"SELECT grouped, plays, ms_played FROM {plays} WHERE TRUE {ADD_UP}"
    log.make_table(name, query, of=table, columns=RANKING)


def groups(kind: str, *, exact: bool) -> str:
    """Return the query for what each item belongs to as `grouped`: those of a kind in `KINDS`, or `ANY`.

    With `exact`, each ID of a recording or an album is a group of its own.
    """
    if exact and kind == ALBUMS:
        return ALBUMS_OF_ITEMS.format("album_id <> ''")
    if kind in (ANY, EPISODES) or (exact and kind == TRACKS):
        name = "key" if exact or kind else "recording"
        of_kind = {TRACKS: "WHERE NOT is_episode", EPISODES: "WHERE is_episode"}.get(kind, "")
        return f"SELECT id AS item, {name} AS grouped FROM items {of_kind}"
    return f"SELECT item, grouped FROM items_of_{kind}"


def everything(log: Log, kind: str) -> tuple[int, int]:
    """Return the plays and the milliseconds of the tally: of all music, or of all podcasts."""
    name, which = ("podcasts", "IN") if kind in (SHOWS, EPISODES) else ("music", "NOT IN")
    query = f"""SELECT ifnull(sum(plays), 0), ifnull(sum(ms_played), 0) FROM tally
        WHERE item {which} (SELECT id FROM items WHERE is_episode)"""
    log.make_table(name, query, of="tally")
    ((plays, ms_played),) = log.rows(f"SELECT * FROM {name}")
    return plays, ms_played


def order(question: Question) -> str:
    """Return the columns that a ranking is ordered by: what the question asks; the other breaks ties."""
    other = "plays" if question.by == TIME else "ms_played"
    return f"{question.column} DESC, {other} DESC, grouped"
