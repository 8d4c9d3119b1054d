"""What questions are asked of: the index of a log, and the SQL that they share.

How much each item, track, artist, album or show was played in a period is in temporary tables. They hide
those of the index that have the same names, and are about all time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from spotify_logger.core import redis_keys as keys
from spotify_logger.core.times import utc_time
from spotify_logger.queries.question import FINISHED, HALF, MIN_LISTENED_MS, TIME

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
PREVIOUS = "previous"  # a tally of the period before
LAST_SECOND = 2**40
ONE_OF = "IN (SELECT value FROM json_each(?))"  # of the values in a collection
LONG_PERIOD = 3 * 366 * 86_400  # in seconds: its plays are read faster by item than by second

FIRST_ARTISTS = "JOIN artists ON artists.id = first_artist"
TALLY = "item INTEGER PRIMARY KEY, plays INTEGER, ms_played INTEGER, first INTEGER"
SUMS = "item, sum({0}), sum(ms_played), min(CASE WHEN {0} THEN second END)"  # by `counts`, for a tally
RANKING = "SELECT grouped, sum(plays) AS plays, sum(ms_played) AS ms_played"
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
                self.database.execute(f"CREATE TEMP TABLE {name} ({columns})")
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


def within(question: Question, begin: int, end: int) -> str:
    """Return the SQL condition for a play to be in a period; in a long one, SQLite reads plays by item."""
    second = "+second" if min(end, question.now) - begin > LONG_PERIOD else "second"
    return f"{second} >= ? AND {second} < ?"


def make_tally(log: Log, question: Question, period: Period, *kinds: str, table: str = "tally") -> None:
    """Make a temporary table of how much each item was played in a period, and rankings of it by kind."""
    begin, end = bounds(period)
    ((first, last),) = log.rows("SELECT (SELECT min(second) FROM logged), (SELECT max(second) FROM logged)")
    is_all = begin <= (first or 0) and (last or 0) < end
    if is_all and question.threshold == MIN_LISTENED_MS and table == "tally":  # the index has it
        log.drop_table(table)
    else:
        plays = f"{source(question)} WHERE {within(question, begin, end)}"
        query = f"SELECT {SUMS.format(counts(question))} FROM {plays} GROUP BY item"
        log.make_table(table, query, begin, end, columns=TALLY)
    for kind in kinds:
        make_ranking(log, question, kind, table)


def make_ranking(log: Log, question: Question, kind: str, table: str = "tally") -> None:
    """Make a temporary table of how much groups were played; of a previous period, row IDs are ranks."""
    name = f"{kind}_of_{table}"
    if table == "tally" and table not in log.made and kind in KINDS and not question.exact:
        log.drop_table(name)
        return
    plays = f"{table} CROSS JOIN ({groups(kind, exact=question.exact)}) USING (item)"
    ranked = f"ORDER BY sum(plays) > 0 DESC, {order(question)}" if table == PREVIOUS else ""
    log.make_table(name, f"{RANKING} FROM {plays} GROUP BY grouped {ranked}", of=table)


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


def everything(kind: str) -> str:
    """Return what to select from for the sums of the tally: those of music, or of podcasts."""
    spoken = "FROM tally WHERE item IN (SELECT id FROM items WHERE is_episode)"
    if kind in (SHOWS, EPISODES):
        return f"(SELECT plays, ms_played {spoken})"
    return f"(SELECT plays, ms_played FROM tally UNION ALL SELECT -plays, -ms_played {spoken})"


def order(question: Question) -> str:
    """Return the columns that a ranking is ordered by: what the question asks; the other breaks ties."""
    other = "plays" if question.by == TIME else "ms_played"
    return f"{question.column} DESC, {other} DESC, grouped"
