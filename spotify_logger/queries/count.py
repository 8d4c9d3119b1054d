"""Answer `count`: how often something was played, with all its editions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from spotify_logger.core.search_text import Match, TextSearch, bare_title, indexed_words, search_words
from spotify_logger.core.times import utc_time
from spotify_logger.queries.index_schema import SKIPPED
from spotify_logger.queries.log import Log, Unseen, unseen
from spotify_logger.queries.question import FINISHED, HALF, TIME, Question
from spotify_logger.queries.search import close_names, contains
from spotify_logger.queries.tallies import TRACKS, bounds, by_group, counts, make_tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Edition:
    """One of the Spotify IDs of a recording."""

    key: str  # in the catalog
    name: str
    album: str
    plays: int
    heard_ms: int


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
    editions: Sequence[Edition]

    @property
    def title(self) -> str:
        """Artists and name in one string; for an episode, show and name."""
        artist = self.artists or self.album
        return f"{artist} – {self.name or self.keys[0]}" if artist else self.name or self.keys[0]

    @property
    def song(self) -> tuple[str, str]:
        """What all recordings of a song share that differ by their editions only."""
        return search_words(bare_title(self.name)), self.artist_names[
            0
        ] if self.artist_names else self.artists


@dataclass(frozen=True, slots=True)
class Count:
    """How often everything that matches a text was played."""

    text: str
    whole: bool  # whether it is the whole name of what is counted, of its artist or its album
    at_least_ms: int | None  # for a play to count; None for "half" and "finished"
    from_: str | None
    to: str | None
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
    unseen: Unseen
    tracks: Sequence[CountedTrack]  # the closest and most played first

    @property
    def exit_code(self) -> int:
        """The exit code of the command: 1 if nothing matches."""
        return 0 if self.known else 1

    @property
    def song(self) -> CountedTrack | None:
        """The most played track if all are editions of one song."""
        return self.tracks[0] if len({track.song for track in self.tracks}) == 1 else None


def count(log: Log, question: Question, text: str) -> Count:
    """Count how often something was played.

    The text has words of its title, artists and album in any order. If it is one of these names in full, only
    what has this name counts.
    """
    searches = map(TextSearch, dict.fromkeys([text, bare_title(text)]))
    found = next(filter(None, (_find(log, question, search) for search in searches)), [])
    is_whole = any(each.match >= Match.NAMED for each in found)
    least = Match.NAMED if is_whole else Match.WITHIN
    matches = _choose(log, question, found, least)
    ranks, number = _ranks(log, question)
    counted = _tracks(log, question, ranks)
    order = {group: _order(track, question, matches[group]) for group, track in counted.items()}
    tracks = [counted[group] for group in sorted(counted, key=lambda group: order[group])]
    threshold = question.threshold
    return Count(
        text=text,
        whole=is_whole,
        at_least_ms=None if threshold in (HALF, FINISHED) else int(threshold),
        from_=utc_time(question.period.begin),
        to=utc_time(question.period.end),
        plays=sum(track.plays for track in tracks),
        shorter=sum(track.shorter for track in tracks),
        skips=sum(track.skips for track in tracks),
        heard_ms=sum(track.heard_ms for track in tracks),
        first=min((track.first for track in tracks if track.first), default=None),
        last=max((track.last for track in tracks if track.last), default=None),
        ranked=number,
        less_close=len({each.grouped for each in found} - matches.keys()),
        known=bool(found),
        close=[] if found else close_names(log, text),
        unseen=unseen(log, question),
        tracks=tracks,
    )


class _Found(NamedTuple):
    """An item that matches."""

    item: int
    grouped: str  # its recording
    match: Match
    match_by_name: Match  # without its album


def _find(log: Log, question: Question, search: TextSearch) -> list[_Found]:
    """Return the items that match, whenever they were played."""
    key = search.text.removeprefix("spotify:")
    condition, words = contains(search)
    # Whoever is called so, or was.
    named = """SELECT item FROM credits WHERE artist IN
        (SELECT id FROM artists WHERE person IN (SELECT person FROM artists WHERE words = ?))"""
    query = f"""WITH named AS ({named})
        SELECT id, {_recording(question)}, key, name, words, id IN named FROM items
        WHERE last IS NOT NULL AND (key = ? OR id IN named OR {condition})"""
    found = []
    for item, grouped, own_key, name, folded, is_artist in log.rows(
        query, indexed_words(search.text), key, *words
    ):
        _, artists, album = (line.strip() for line in folded.split("\n"))
        by_name = Match.KEY if own_key == key else search.match_title(name, artists)
        if is_artist or search.whole == artists:
            by_name = max(by_name, Match.NAMED)
        match = max(by_name, search.match_item(name, artists, album))
        found.append(_Found(item, grouped, match, by_name))
    return found


def _recording(question: Question) -> str:
    return "key" if question.exact else "recording"


def _choose(log: Log, question: Question, found: Sequence[_Found], least: Match) -> dict[str, Match]:
    """Make the table `wanted` of the items to count; return how well their recordings match."""
    log.database.executescript("""
        DROP TABLE IF EXISTS temp.wanted;
        CREATE TEMP TABLE wanted (item INTEGER PRIMARY KEY, grouped TEXT NOT NULL);
        DROP TABLE IF EXISTS temp.whole;
        CREATE TEMP TABLE whole (grouped TEXT PRIMARY KEY) WITHOUT ROWID;
    """)
    chosen = [each for each in found if each.match >= least]
    # A recording that matches counts under all its IDs; one that matches by its album, on that album only.
    named = {(each.grouped,) for each in chosen if each.match_by_name >= least}
    log.database.executemany("INSERT INTO whole VALUES (?)", named)
    log.database.executemany("INSERT INTO wanted VALUES (?, ?)", (each[:2] for each in chosen))
    recording = _recording(question)
    log.database.execute(f"""INSERT OR IGNORE INTO wanted
        SELECT id, {recording} FROM items WHERE {recording} IN (SELECT grouped FROM whole)""")
    matches: dict[str, Match] = {}
    for each in chosen:
        matches[each.grouped] = max(each.match, matches.get(each.grouped, Match.NONE))
    return matches


def _ranks(log: Log, question: Question) -> tuple[dict[str, int], int]:
    """Return the ranks of the wanted recordings, where ties share one, and the number of all."""
    make_tally(log, question, question.period)
    measure = "ms_played" if question.by == TIME else "plays"
    query = f"""WITH ranked AS (
            SELECT grouped, rank() OVER (ORDER BY {measure} DESC) AS place, count(*) OVER () AS number
            FROM ({by_group(question, TRACKS)}) WHERE plays > 0
        )
        SELECT * FROM ranked WHERE place = 1 OR grouped IN (SELECT grouped FROM wanted)"""
    rows = log.rows(query)
    return {grouped: place for grouped, place, _ in rows}, rows[0][-1] if rows else 0


def _tracks(log: Log, question: Question, ranks: Mapping[str, int]) -> dict[str, CountedTrack]:
    """Return the wanted recordings that were played in the period."""
    counting = counts(question)
    query = f"""SELECT wanted.grouped, items.id, key, name, artists, album, sum({counting}) AS plays,
            sum(ms_played) AS heard_ms, count(*), sum(ending = {SKIPPED}),
            min(CASE WHEN {counting} THEN second END), max(CASE WHEN {counting} THEN second END)
        FROM wanted CROSS JOIN plays ON plays.item = wanted.item JOIN items ON items.id = plays.item
        WHERE second >= ? AND second < ? GROUP BY plays.item ORDER BY plays DESC, heard_ms DESC, key"""
    groups: dict[str, list[Any]] = {}
    for grouped, *row in log.rows(query, *bounds(question.period)):
        groups.setdefault(grouped, []).append(row)
    # Under the name that an artist had last.
    names: dict[int, list[str]] = {}
    credited = """SELECT DISTINCT item, (SELECT name FROM artists other WHERE other.person = artists.person
            ORDER BY last DESC, name LIMIT 1)
        FROM wanted JOIN credits USING (item) JOIN artists ON artists.id = artist ORDER BY item, position"""
    for item, name in log.rows(credited):
        names.setdefault(item, []).append(name)
    tracks = {}
    for grouped, rows in groups.items():
        items, keys, titles, artists, albums, plays, heard_ms, every, skips, firsts, lasts = zip(
            *rows, strict=True
        )
        tracks[grouped] = CountedTrack(
            keys=keys,
            artist_names=names.get(items[0], []),
            name=titles[0],
            artists=artists[0],
            album=albums[0],
            plays=sum(plays),
            shorter=sum(every) - sum(plays),
            skips=sum(skips),
            heard_ms=sum(heard_ms),
            first=utc_time(min(filter(None, firsts), default=None)),
            last=utc_time(max(filter(None, lasts), default=None)),
            rank=ranks.get(grouped),
            editions=[*map(Edition, keys, titles, albums, plays, heard_ms)],
        )
    return tracks


def _order(track: CountedTrack, question: Question, match: Match) -> tuple[int, int, int, str, Sequence[str]]:
    """Return what to sort by: how closely a track matches, and how much it was played."""
    most = (track.heard_ms, track.plays) if question.by == TIME else (track.plays, track.heard_ms)
    return -match, -most[0], -most[1], track.title, track.keys
