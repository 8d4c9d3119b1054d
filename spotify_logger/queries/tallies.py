"""SQL that the questions share: how much each item, track, artist, album or show was played in a period."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.queries.index_schema import TRACKDONE
from spotify_logger.queries.question import FINISHED, HALF, TIME

if TYPE_CHECKING:
    from spotify_logger.core.periods import Period
    from spotify_logger.queries.log import Log
    from spotify_logger.queries.question import Question

TRACKS, ARTISTS, ALBUMS, SHOWS = KINDS = ("tracks", "artists", "albums", "shows")
DEVICES, CONTEXTS = "devices", "contexts"
CHOICES = (*KINDS, DEVICES, CONTEXTS)
NOUNS = {kind: kind.removesuffix("s") for kind in CHOICES}
DETAILS = {DEVICES: "device", CONTEXTS: "context"}  # the columns that name them
FIRST_SECOND, LAST_SECOND = 0, 2**40
LONG_PERIOD = 3 * 366 * 86_400  # in seconds: its plays are read faster by item than by second
MORE_THAN_MS = 10**12  # more milliseconds than anything was ever played

FIRST_ARTISTS = "JOIN artists ON artists.id = first_artist"
COMPILATIONS = f"""
    SELECT album_id FROM items {FIRST_ARTISTS}
    WHERE album_id <> '' GROUP BY album_id HAVING count(DISTINCT person) > 1
"""
"""Albums by several artists: Spotify has one ID for each. Pressings of other albums have several."""


class Bounds(NamedTuple):
    """The seconds of a period, for the parameters of a query."""

    begin: int
    end: int


def bounds(period: Period) -> Bounds:
    """Return the first second of a period, and the one after its last."""
    begin, end = period.begin, period.end
    return Bounds(FIRST_SECOND if begin is None else begin, LAST_SECOND if end is None else end)


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


def make_tally(log: Log, question: Question, period: Period, table: str = "tally") -> None:
    """Make a temporary table of how much each item was played in a period."""
    log.database.execute(f"DROP TABLE IF EXISTS temp.{table}")
    columns = "item INTEGER PRIMARY KEY, plays INTEGER, ms_played INTEGER, all_plays INTEGER"
    log.database.execute(f"CREATE TEMP TABLE {table} ({columns})")
    begin, end = bounds(period)
    second = "+second" if min(end, question.now) - begin > LONG_PERIOD else "second"  # "+" avoids the index
    query = f"""INSERT INTO {table} SELECT item, sum({counts(question)}), sum(ms_played), count(*)
        FROM {source(question)} WHERE {second} >= ? AND {second} < ? GROUP BY item"""
    log.database.execute(query, (begin, end))


def groups(kind: str, *, exact: bool, table: str = "") -> str:
    """Return the query for the groups of a kind that each item belongs to: pairs of `item` and `grouped`.

    A group is a recording, an artist, an album or a show. With `exact`, each ID of a recording or an album is
    a group of its own. `table` may limit the items.
    """
    if kind == ARTISTS:
        credited = f"{table} CROSS JOIN credits USING (item)" if table else "credits"
        return f"SELECT DISTINCT item, person AS grouped FROM {credited} JOIN artists ON artists.id = artist"
    if kind == SHOWS:
        return "SELECT id AS item, album AS grouped FROM items WHERE is_episode AND album <> ''"
    if kind == ALBUMS:
        by_id = "album_id <> ''" if exact else f"album_id IN ({COMPILATIONS})"
        return f"""SELECT items.id AS item,
            album || char(10) || CASE WHEN {by_id} THEN album_id ELSE ifnull(person, '') END AS grouped
            FROM items LEFT {FIRST_ARTISTS} WHERE NOT is_episode AND album <> ''"""
    return f"SELECT id AS item, {'key' if exact else 'recording'} AS grouped FROM items WHERE NOT is_episode"


def by_group(question: Question, kind: str, table: str = "tally") -> str:
    """Return the query for the plays of each group of a kind, and the item of it that was played most."""
    if kind in DETAILS:  # they are of plays, not of items; the parameters of the query are `Bounds`
        return f"""SELECT ifnull(nullif({DETAILS[kind]}, ''), 'unknown') AS grouped,
            sum({counts(question)}) AS plays, sum(ms_played) AS ms_played, item
            FROM {source(question)} LEFT JOIN details USING (second)
            WHERE second >= ? AND second < ? GROUP BY 1"""
    grouped = groups(kind, exact=question.exact, table=table)
    return f"""SELECT grouped, sum(plays) AS plays, sum(ms_played) AS ms_played, item,
        max(plays * {MORE_THAN_MS} + ms_played) -- makes `item` the one of which this is true
        FROM {table} CROSS JOIN ({grouped}) USING (item) GROUP BY grouped"""


def order(question: Question) -> str:
    """Return the ORDER BY of a ranking: by what the question asks; the other measure breaks ties."""
    first, second = ("ms_played", "plays") if question.by == TIME else ("plays", "ms_played")
    return f"ORDER BY {first} DESC, {second} DESC, grouped"
