"""Answer `top`: the most played tracks, artists, albums and shows, and the most used devices and contexts."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spotify_logger.core.periods import Period
from spotify_logger.core.redis_keys import play_key
from spotify_logger.queries import sql
from spotify_logger.queries.question import TIME, Question, measure
from spotify_logger.queries.sql import Log

DETAILS = {sql.DEVICES: "device", sql.CONTEXTS: "context"}  # the columns that name them
DETAIL = "ifnull(nullif({}, ''), 'unknown')"  # plays have no context if they were started by search
MORE_THAN_MS = 10**12  # more milliseconds than anything was ever played
VARIOUS = "various artists"
OWN_KEYS = {  # of what has no key of its own without an ID
    sql.ARTISTS: "(SELECT 'artist:' || spotify_id FROM artists WHERE spotify_id = grouped)",
    sql.ALBUMS: "nullif('album:' || album_id, 'album:')",
    sql.SHOWS: "nullif('show:' || album_id, 'show:')",
}
NEWEST_NAME = "SELECT name FROM artists WHERE person = {} ORDER BY last DESC, name LIMIT 1"


class Titled:
    """Something with a title."""

    __slots__ = ()
    name: str
    artists: str

    @property
    def title(self) -> str:
        """Artists and name in one string."""
        return f"{self.artists} – {self.name}" if self.artists else self.name


@dataclass(frozen=True, slots=True)
class Line(Titled):
    """A line of a ranking; `key` is that of the item that was played most."""

    name: str
    artists: str  # of a track or an album; "" otherwise
    plays: int
    heard_ms: int
    key: str
    text: str  # that selects it among others with its name: its own key, if it has one


@dataclass(frozen=True, slots=True)
class RankedLine(Titled):
    """A line of a ranking."""

    rank: int
    name: str
    artists: str  # of a track or an album; "" otherwise
    plays: int
    heard_ms: int
    share: float  # of all plays of the kind, or of the time
    plays_before: int | None  # in the period before; None without one
    heard_ms_before: int | None
    rank_before: int | None  # None without plays that count
    key: str  # in the catalog, of the item that was played most; the device, or the URI of the context
    text: str  # that selects it, see `Line`


@dataclass(frozen=True, kw_only=True)
class Top(sql.MeasuredResult):
    """A ranking, and the sums of all things of its kind."""

    kind: str
    number: int  # of things with plays that count
    compared_with: str | None  # the period before, in words
    top: Sequence[RankedLine]


def top(log: Log, question: Question, kind: str) -> Top:
    """Return what was played most; `kind` is one of `sql.CHOICES`."""
    period, by, table = question.period, question.by, f"{kind}_of_tally"
    before: dict[str, tuple[int | None, int | None, int | None]] = {}
    _make_ranking(log, question, kind, period, "tally")
    if period.previous:
        _make_ranking(log, question, kind, period.previous, sql.PREVIOUS)
        theirs, in_order = f"{kind}_of_{sql.PREVIOUS}", f"ORDER BY {sql.order(question)}"
        shown = f"SELECT grouped FROM {table} WHERE plays > 0 {in_order} LIMIT ?"
        log.make_table("shown", shown, question.limit, of=table)
        least = f"SELECT min({question.column}) FROM {theirs} WHERE plays > 0 AND grouped IN shown"
        ranked_so_far = f"""SELECT grouped FROM {theirs}
            WHERE plays > 0 AND {question.column} >= ({least}) {in_order}"""
        log.make_table("ranked", ranked_so_far, of="shown")
        query = f"""SELECT theirs.grouped, plays, ms_played, ranked.rowid
            FROM {theirs} AS theirs LEFT JOIN ranked USING (grouped) WHERE theirs.grouped IN shown"""
        before = {grouped: rest for grouped, *rest in log.rows(query)}
    query = "SELECT ifnull(sum(plays), 0), ifnull(sum(ms_played), 0), ifnull(sum(plays > 0), 0) FROM "
    ((plays, heard_ms, number),) = log.rows(query + table)
    if kind not in DETAILS:
        plays, heard_ms = sql.everything(log, kind)
    whole, unknown = heard_ms if by == TIME else plays, (0, 0, None) if period.previous else (None,) * 3
    ranked = []
    for rank, (group, line) in enumerate(best(log, question, kind, question.limit).items(), 1):
        share = round(measure(line, by) / whole, 6) if whole else 0.0
        earlier = before.get(group, unknown)
        amounts = line.plays, line.heard_ms, share, *earlier
        ranked.append(RankedLine(rank, line.name, line.artists, *amounts, line.key, line.text))
    return Top(
        kind=kind,
        by=by,
        plays=plays,
        heard_ms=heard_ms,
        number=number,
        compared_with=period.previous.words if period.previous else None,
        top=ranked,
        **sql.about_period(log, question),
    )


def _make_ranking(log: Log, question: Question, kind: str, period: Period, table: str) -> None:
    """Make the table of the groups of any kind, and except for devices and contexts that of the items."""
    if kind not in DETAILS:
        sql.make_tally(log, question, period, kind, table=table)
        return
    read_details(log, period)
    query = f"""SELECT {DETAIL.format(DETAILS[kind])}, {sql.counts(question)}, ms_played
        FROM {sql.source(question)} LEFT JOIN details USING (second)
        WHERE second >= ? AND second < ? {sql.ADD_UP}"""
    log.make_table(f"{kind}_of_{table}", query, *sql.bounds(period), columns=sql.RANKING)


def read_details(log: Log, period: Period) -> None:
    """Read the devices and contexts of the plays of a period that are not in the index yet."""
    query = """SELECT second FROM logged
        WHERE second >= ? AND second < ? AND second NOT IN (SELECT second FROM details)"""
    missing = [second for (second,) in log.rows(query, *sql.bounds(period))]
    found = log.store.catalog(map(play_key, missing), ("source", "device_name", "context_uri"))
    with log.database:
        log.database.execute("BEGIN IMMEDIATE")
        rows = ((second, *values) for second, (_, values) in zip(missing, found, strict=True))
        log.database.executemany("INSERT OR IGNORE INTO details VALUES (?, ?, ?, ?)", rows)


def best(  # noqa: PLR0913 - most have defaults
    log: Log,
    question: Question,
    kind: str,
    limit: int,
    which: str = "plays > 0",
    *values: object,
    table: str = "tally",
) -> dict[str, Line]:
    """Return the first lines of a ranking, of those for which `which` is true, by what identifies them."""
    query = f"""SELECT grouped, plays, ms_played, grouped, grouped FROM {kind}_of_{table}
        WHERE {which} ORDER BY {sql.order(question)} LIMIT ?"""
    if kind not in DETAILS:  # their key is that of the item that was played most
        groups = sql.groups(kind, exact=question.exact)
        if question.exact and kind == sql.ALBUMS:  # in a table, for which SQLite makes an index
            groups = f"WITH of_items AS MATERIALIZED ({groups}) SELECT * FROM of_items"
        query = f"""SELECT grouped, line.plays AS plays, line.ms_played AS ms_played, key,
                {OWN_KEYS.get(kind, "key")}, max(own.plays * {MORE_THAN_MS} + own.ms_played)
            FROM ({query}) AS line JOIN ({groups}) USING (grouped)
            JOIN {table} AS own USING (item) JOIN items ON items.id = item
            GROUP BY grouped ORDER BY {sql.order(question)}"""
    lines = {}
    for grouped, plays, ms_played, key, own_key, *_ in log.rows(query, *values, limit):
        both = names(log, kind, grouped, key)
        text = own_key or " ".join(filter(None, reversed(both)))
        lines[grouped] = Line(*both, plays, ms_played, key, text)
    return lines


def names(log: Log, kind: str, grouped: str, key: str) -> tuple[str, str]:
    """Return the name and the artists of a group, by what identifies it and the key of an item of it."""
    if kind == sql.ARTISTS:
        return newest_name(log, grouped), ""
    if kind in (sql.TRACKS, sql.EPISODES, sql.ANY):
        ((name, artists),) = log.rows("SELECT name, artists FROM items WHERE key = ?", key)
        return (name, artists) if name else (key, "")
    if kind == sql.ALBUMS:  # the artist of all tracks that were played
        name, _, identity = grouped.partition("\n")  # the artist, or the ID of the album
        query = f"""SELECT DISTINCT ifnull(person, '') FROM items LEFT {sql.FIRST_ARTISTS}
            WHERE album_id = ? AND album_id <> '' AND items.id IN (SELECT item FROM tally)"""
        people = [person for (person,) in log.rows(query, identity)] or [identity]
        return name, newest_name(log, people[0]) if len(people) == 1 else VARIOUS
    return _context_names(log, grouped) if kind == sql.CONTEXTS else (grouped, "")


def _context_names(log: Log, uri: str) -> tuple[str, str]:
    """Return the name and the artists of a context: a link if the catalog does not have it."""
    if uri.endswith(":collection"):  # Spotify has several for Liked Songs
        return "Liked Songs", ""
    if not uri.startswith("spotify:"):
        return uri, ""
    kind, _, identity = uri.removeprefix("spotify:").partition(":")
    query = "SELECT name, '' FROM artists WHERE spotify_id = ? ORDER BY last DESC LIMIT 1"
    if kind != "artist":
        query = f"""SELECT album, iif(count(DISTINCT person) > 1, '{VARIOUS}', ifnull(max(artists.name), ''))
            FROM items LEFT {sql.FIRST_ARTISTS} WHERE album_id = ? AND album <> '' GROUP BY album_id"""
    link = f"https://open.spotify.com/{kind}/{identity.replace(':', '/')}", ""
    return next(iter(log.rows(query, identity)), link)


def newest_name(log: Log, person: str) -> str:
    """Return the name under which an artist was played last; "" without an artist."""
    return next((str(name) for (name,) in log.rows(NEWEST_NAME.format("?"), person)), "")


def artist_names(log: Log, keys: Iterable[str]) -> dict[str, list[str]]:
    """Return the names under which the artists of items were played last, by the key of each item."""
    query = f"""SELECT DISTINCT key, ({NEWEST_NAME.format("credited.person")})
        FROM items JOIN credits ON item = items.id JOIN artists credited ON credited.id = artist
        WHERE key {sql.ONE_OF} ORDER BY key, position"""
    found: dict[str, list[str]] = {}
    for key, name in log.rows(query, keys):
        found.setdefault(key, []).append(name)
    return found
