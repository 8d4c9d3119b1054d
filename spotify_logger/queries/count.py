"""Answer `count`: how often something was played, with all its editions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from spotify_logger.core.play import format_title
from spotify_logger.core.search_text import Match, bare_title, search_words
from spotify_logger.core.times import utc_time
from spotify_logger.queries import sql
from spotify_logger.queries.question import FINISHED, HALF, Question, measure
from spotify_logger.queries.search import close_names, find, matches
from spotify_logger.queries.sql import Log
from spotify_logger.queries.top import artist_names

Edition = Mapping[str, Any]  # the `COLUMNS` of an item

EDITION = ("key", "name", "album", "plays", "heard_ms")
COLUMNS = (*EDITION, "artists", "shorter", "skips", "first", "last")


@dataclass(frozen=True, slots=True)
class CountedTrack:
    """A recording and its plays under all its IDs; if an album matched, under those on it."""

    keys: Sequence[str]  # in the catalog, the most played first; names are those of the first
    artist_names: Sequence[str]
    name: str
    artists: str
    album: str
    plays: int
    shorter: int  # that do not count
    skips: int  # whether they count or not
    heard_ms: int
    first: str | None  # play that counts
    last: str | None
    rank: int | None  # among all recordings, from 1; None for an episode, and without plays
    editions: Sequence[Mapping[str, Any]]  # an `EDITION` for each of its Spotify IDs

    @property
    def title(self) -> str:
        """Artists and name in one string; for an episode, show and name."""
        return format_title(
            {"artists": self.artists, "album": self.album, "name": self.name, "uri": self.keys[0]}
        )


@dataclass(frozen=True, kw_only=True)
class Count(sql.Result):
    """How often everything that matches a text was played."""

    text: str
    whole: bool  # whether it is the whole name of what is counted, of its artist or its album
    at_least_ms: int | None  # for a play to count; None for "half" and "finished"
    plays: int
    shorter: int
    skips: int
    heard_ms: int
    first: str | None
    last: str | None
    ranked: int  # recordings in the ranking
    less_close: int  # recordings that match less closely, and are not counted
    known: bool  # whether anything matches, even if it was not played in the period
    close: Sequence[str]  # names that may have been meant if nothing matches
    tracks: Sequence[CountedTrack]  # the closest and most played first

    @property
    def song(self) -> CountedTrack | None:
        """The most played track if all are editions of one song."""
        songs = {
            (search_words(bare_title(each.name)), *(each.artist_names or [each.artists])[:1])
            for each in self.tracks
        }
        return self.tracks[0] if len(songs) == 1 else None


def count(log: Log, question: Question, text: str) -> Count:
    """Count how often something was played.

    The text has words of its title, artists and album in any order. If it is one of these names in full, only
    what has this name counts.
    """
    found = find(log, text, sql.ANY, exact=question.exact)
    is_whole = any(each.match >= Match.NAMED for each in found)
    least = Match.NAMED if is_whole else Match.WITHIN
    chosen = [each for each in found if each.match >= least]
    # A recording that matches counts under all its IDs; one that matches by its album, on that album only.
    query = f"""{sql.groups(sql.ANY, exact=question.exact)}
        WHERE item {sql.ONE_OF} OR grouped {sql.ONE_OF}"""
    whole = [each.grouped for each in chosen if each.match_by_name >= least]
    log.make_table("wanted", query, [each.item for each in chosen], whole)
    sql.make_tally(log, question, question.period, sql.TRACKS)
    editions, closeness = _editions(log, question), matches(chosen)
    amount, played, ranked = question.column, "FROM tracks_of_tally WHERE plays > 0", 0
    first_ranks = {}
    for own, number in log.rows(f"SELECT {amount}, count(*) {played} GROUP BY 1 ORDER BY 1 DESC"):
        first_ranks[own], ranked = ranked + 1, ranked + number
    rows = log.rows(f"SELECT grouped, {amount} {played} AND grouped IN (SELECT grouped FROM wanted)")
    ranks = {grouped: first_ranks[own] for grouped, own in rows}
    names = artist_names(log, [own[0]["key"] for own in editions.values()])
    tracks = {
        grouped: CountedTrack(
            keys=[each["key"] for each in own],
            artist_names=names.get(own[0]["key"], []),
            **{name: own[0][name] for name in ("name", "artists", "album")},
            **_sums(own),
            rank=ranks.get(grouped),
            editions=[{name: each[name] for name in EDITION} for each in own],
        )
        for grouped, own in editions.items()
    }

    def order(grouped: str) -> tuple[Any, ...]:
        it = tracks[grouped]
        most = measure(it, question.by)
        return -closeness[grouped], -most, -it.plays, -it.heard_ms, it.title, it.keys

    return Count(
        text=text,
        whole=is_whole,
        at_least_ms=None if question.threshold in (HALF, FINISHED) else int(question.threshold),
        **_sums([*chain.from_iterable(editions.values())]),
        ranked=ranked,
        less_close=len({each.grouped for each in found} - closeness.keys()),
        known=bool(found),
        close=[] if found else close_names(log, text, sql.ANY),
        tracks=[tracks[grouped] for grouped in sorted(tracks, key=order)],
        **sql.about_period(log, question),
    )


def _editions(log: Log, question: Question) -> dict[str, list[Edition]]:
    """Return the wanted items that were played in the period by recording, the most played first."""
    counting = sql.counts(question)
    query = f"""SELECT wanted.grouped, key, name, album, sum({counting}) AS plays, sum(ms_played) AS heard_ms,
            artists, count(*) - sum({counting}), sum(ending = {sql.SKIPPED}),
            min(CASE WHEN {counting} THEN second END), max(CASE WHEN {counting} THEN second END)
        FROM wanted CROSS JOIN plays ON plays.item = wanted.item JOIN items ON items.id = plays.item
        WHERE second >= ? AND second < ? GROUP BY plays.item ORDER BY plays DESC, heard_ms DESC, key"""
    groups: dict[str, list[Edition]] = {}
    for grouped, *row in log.rows(query, *sql.bounds(question.period)):
        groups.setdefault(grouped, []).append(dict(zip(COLUMNS, row, strict=True)))
    return groups


def _sums(editions: Sequence[Edition]) -> dict[str, Any]:
    """Return the sums of editions, and their first and last plays that count."""
    first = min((each["first"] for each in editions if each["first"]), default=None)
    last = max((each["last"] for each in editions if each["last"]), default=None)
    sums = {name: sum(each[name] for each in editions) for name in ("plays", "shorter", "skips", "heard_ms")}
    return {**sums, "first": utc_time(first), "last": utc_time(last)}
