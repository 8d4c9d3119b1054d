"""Answer `top`: the most played tracks, artists, albums and shows, and the most used devices and contexts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.times import utc_time
from spotify_logger.queries.log import Log, Unseen, unseen
from spotify_logger.queries.question import TIME, Question, measure
from spotify_logger.queries.tallies import (
    ALBUMS,
    ARTISTS,
    CONTEXTS,
    DETAILS,
    FIRST_ARTISTS,
    SHOWS,
    TRACKS,
    bounds,
    by_group,
    make_tally,
    order,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spotify_logger.core.periods import Period

VARIOUS = "various artists"


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
    key: str  # in the catalog, of the item that was played most; the device, or the URI of the context


@dataclass(frozen=True, slots=True)
class Top:
    """A ranking, and the sums of all things of its kind."""

    kind: str
    from_: str | None
    to: str | None
    by: str
    plays: int
    heard_ms: int
    number: int  # of things with plays that count
    unseen: Unseen
    top: Sequence[RankedLine]


class Group(NamedTuple):
    """A recording, an artist, an album, a show, a device or a context, and how much it was played."""

    grouped: str  # what identifies it
    plays: int
    ms_played: int
    key: str  # of the item that was played most; of a device or a context, what identifies it


def top(log: Log, question: Question, kind: str) -> Top:
    """Return what was played most; `kind` is one of `tallies.CHOICES`."""
    period = question.period
    found, sums = _ranking(log, question, kind, period)
    before = {} if period.previous is None else _sums(log, question, kind, period.previous)
    whole = sums[question.by == TIME]
    ranked = []
    for rank, (group, line) in enumerate(zip(found, lines(log, kind, found), strict=True), 1):
        share = round(measure(line, question.by) / whole, 6) if whole else 0.0
        plays, ms = (None, None) if period.previous is None else before.get(group.grouped, (0, 0))
        amounts = (line.plays, line.heard_ms, share, plays, ms)
        ranked.append(RankedLine(rank, line.name, line.artists, *amounts, line.key))
    begin, end = utc_time(period.begin), utc_time(period.end)
    return Top(kind, begin, end, question.by, *sums, unseen(log, question), ranked)


def _ranking(
    log: Log, question: Question, kind: str, period: Period
) -> tuple[Sequence[Group], tuple[int, int, int]]:
    """Return the groups that were played most, and plays, milliseconds and number of all; make `tally`."""
    values: Sequence[int] = ()
    if kind in DETAILS:
        _read_details(log, period)
        values = bounds(period)
        sums = "SELECT sum(plays), sum(ms_played) FROM found"
    else:
        make_tally(log, question, period)
        of_kind = f"is_episode = {kind == SHOWS}"
        sums = f"SELECT sum(plays), sum(ms_played) FROM tally JOIN items ON id = item WHERE {of_kind}"
    found = f"WITH found AS MATERIALIZED ({by_group(question, kind)})"
    key = "grouped" if kind in DETAILS else "(SELECT key FROM items WHERE id = item)"
    query = f"""{found} SELECT grouped, plays, ms_played, {key}, count(*) OVER ()
        FROM found WHERE plays > 0 {order(question)} LIMIT ?"""
    rows = log.rows(query, *values, question.limit)
    ((plays, heard_ms),) = log.rows(f"{found} {sums}", *values)
    return [Group(*row[:-1]) for row in rows], (plays or 0, heard_ms or 0, rows[0][-1] if rows else 0)


def lines(log: Log, kind: str, found: Sequence[Group]) -> list[Line]:
    """Return groups as lines of a ranking."""
    named = zip(names(log, kind, found), found, strict=True)
    return [Line(*name, each.plays, each.ms_played, each.key) for name, each in named]


def names(log: Log, kind: str, found: Sequence[Group]) -> list[tuple[str, str]]:
    """Return the name and the artists of groups."""
    if kind == ARTISTS:
        return [(newest_name(log, group.grouped), "") for group in found]
    if kind == TRACKS:
        query = "SELECT name, artists FROM items WHERE key = ?"
        items = [log.rows(query, group.key)[0] for group in found]
        return [
            (name, artists) if name else (group.key, "")
            for group, (name, artists) in zip(found, items, strict=True)
        ]
    if kind == ALBUMS:
        return [_album_name(log, group.grouped) for group in found]
    return [_context_name(log, group.grouped) if kind == CONTEXTS else (group.grouped, "") for group in found]


def _context_name(log: Log, uri: str) -> tuple[str, str]:
    """Return the name and the artists of a context: a link if the catalog does not have it."""
    if uri.endswith(":collection"):  # Spotify has several for Liked Songs
        return "Liked Songs", ""
    if not uri.startswith("spotify:"):
        return uri, ""
    kind, _, identity = uri.removeprefix("spotify:").partition(":")
    found: list[tuple[str, str]] = []
    if kind == "artist":
        query = "SELECT name, '' FROM artists WHERE spotify_id = ? ORDER BY last DESC LIMIT 1"
        found = log.rows(query, identity)
    elif kind in ("album", "show"):
        query = f"""SELECT album, iif(count(DISTINCT person) > 1, ?, ifnull(max(artists.name), ''))
            FROM items LEFT {FIRST_ARTISTS} WHERE album_id = ? AND album <> '' GROUP BY album_id"""
        found = log.rows(query, VARIOUS, identity)
    return found[0] if found else (f"https://open.spotify.com/{kind}/{identity.replace(':', '/')}", "")


def newest_name(log: Log, person: str) -> str:
    """Return the name under which an artist was played last; "" without an artist."""
    rows = log.rows("SELECT name FROM artists WHERE person = ? ORDER BY last DESC, name LIMIT 1", person)
    return str(rows[0][0]) if rows else ""


def _album_name(log: Log, grouped: str) -> tuple[str, str]:
    """Return the name of an album, and its artist if all tracks that were played have the same first one."""
    name, _, identity = grouped.partition("\n")  # the artist, or the ID of the album
    query = f"""SELECT DISTINCT ifnull(person, '') FROM items LEFT {FIRST_ARTISTS}
        WHERE album_id = ? AND album_id <> '' AND items.id IN (SELECT item FROM tally)"""
    artists = [person for (person,) in log.rows(query, identity)] or [identity]
    return name, newest_name(log, artists[0]) if len(artists) == 1 else VARIOUS


def _sums(log: Log, question: Question, kind: str, period: Period) -> Mapping[str, tuple[int, int]]:
    """Return plays and milliseconds of all groups of a kind in a period."""
    if kind in DETAILS:
        _read_details(log, period)
        rows = log.rows(by_group(question, kind), *bounds(period))
    else:
        make_tally(log, question, period, "tally_before")
        rows = log.rows(by_group(question, kind, "tally_before"))
    return {grouped: (plays, ms_played) for grouped, plays, ms_played, *_ in rows}


def _read_details(log: Log, period: Period) -> None:
    """Read the details of all plays of a period that are not in the index yet."""
    query = """SELECT second FROM plays
        WHERE second >= ? AND second < ? AND second NOT IN (SELECT second FROM details)"""
    missing = log.rows(query, *bounds(period))
    seconds = (second for (second,) in missing)
    found = log.store.fields(seconds, ("source", "device_name", "context_uri"))
    with log.database:
        log.database.execute("BEGIN IMMEDIATE")
        rows = ((second, *values) for second, values in found)
        log.database.executemany("INSERT OR IGNORE INTO details VALUES (?, ?, ?, ?)", rows)
