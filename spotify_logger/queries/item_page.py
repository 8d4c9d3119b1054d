"""Answer `artist`, `album` and `track`: find the thing by its name, and report on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotify_logger.core.text import fold
from spotify_logger.core.times import utc_time
from spotify_logger.queries import charts
from spotify_logger.queries.charts import Sums
from spotify_logger.queries.log import Log, Unseen, unseen
from spotify_logger.queries.question import TIME, Question, measure
from spotify_logger.queries.search import close_names, find_items
from spotify_logger.queries.summary import best, make_ranking
from spotify_logger.queries.tallies import (
    ALBUMS,
    ARTISTS,
    NOUNS,
    TRACKS,
    bounds,
    by_group,
    counts,
    groups,
    make_tally,
    order,
    source,
)
from spotify_logger.queries.top import Group, Line, lines, newest_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spotify_logger.core.search_text import Match
    from spotify_logger.queries.charts import LocalSums

LONGEST_BY_MONTH = 366 * 86_400 + 3600
"""Longest period reported by month, in seconds: a leap year and an hour of daylight saving time."""
OWN = "SELECT item FROM own"  # the items of the thing that is reported on


@dataclass(frozen=True, slots=True)
class Candidate(Line):
    """One of several things that a text may mean."""

    text: str  # that selects it among others with its name: its key, if it has one


@dataclass(frozen=True, slots=True)
class Other:
    """Another thing with the same name, ignoring case and accents."""

    text: str
    plays: int


@dataclass(frozen=True, slots=True)
class Run:
    """The longest run of its plays without a counting play of anything else, the earliest in a tie."""

    plays: int
    from_: str | None  # the start of the first one; None without plays


@dataclass(frozen=True, slots=True)
class ItemReport(Line):
    """The report on a thing. `tracks`, `albums` and `ids` are its parts, most played first."""

    artist_names: Sequence[str]  # of a track, or of an album's most played track
    shorter: int  # plays that do not count
    skips: int
    skip_rate: float | None  # None if all are open
    first: str | None
    last: str | None
    rank: int | None  # None without plays that count
    ranked: int  # things of its kind with plays that count
    share: float  # of all plays of music, or of the time
    most_in_a_day: Sums  # the earliest in a tie
    most_in_a_row: Run
    periods: Sequence[Sums]
    hours: Sequence[Sums]
    number_of_tracks: int
    number_of_albums: int
    tracks: Sequence[Line]  # of an artist or an album
    albums: Sequence[Line]  # of an artist
    ids: Sequence[Line]  # of a track, each with the name of its album
    others: Sequence[Other]


@dataclass(frozen=True, slots=True)
class ItemPage:
    """The thing that a text names, or the candidates if it may mean several."""

    kind: str
    text: str
    from_: str | None
    to: str | None
    by: str
    candidates: Sequence[Candidate]
    found: ItemReport | None
    known: bool  # whether anything matches, even if it was not played in the period
    close: Sequence[str]  # names that may have been meant if nothing matches
    unseen: Unseen

    @property
    def exit_code(self) -> int:
        """The exit code of the command: 1 if nothing matches."""
        return 0 if self.known else 1


def page(log: Log, question: Question, kind: str, text: str) -> ItemPage:
    """Report on the thing of a kind with a name or key, or list the candidates if several match."""
    make_tally(log, question, question.period)
    log.make_table("ranking", by_group(question, kind))
    matches = find_items(log, text, kind, exact=question.exact)
    played = _played(log, question, matches)
    found = lines(log, kind, played)
    is_one = len({fold(line.title) for line in found}) == 1
    candidates = [_candidate(log, kind, *each) for each in zip(played, found, strict=True)]
    return ItemPage(
        kind=NOUNS[kind],
        text=text,
        from_=utc_time(question.period.begin),
        to=utc_time(question.period.end),
        by=question.by,
        candidates=[] if is_one else candidates,
        found=_report(log, question, kind, played[0].grouped, candidates) if is_one else None,
        known=bool(matches),
        close=[] if matches else close_names(log, text, kind),
        unseen=unseen(log, question),
    )


def _played(log: Log, question: Question, matches: Mapping[str, Match]) -> list[Group]:
    """Return those in `ranking` that match best, most played first."""
    query = f"""SELECT grouped, plays, ms_played, (SELECT key FROM items WHERE id = item) FROM ranking
        WHERE grouped IN (SELECT value FROM json_each(?)) {order(question)}"""
    found = [Group(*row) for row in log.rows(query, json.dumps([*matches]))]
    best = max((matches[each.grouped] for each in found), default=None)
    return [each for each in found if matches[each.grouped] == best]


def _candidate(log: Log, kind: str, group: Group, line: Line) -> Candidate:
    """Add the text that selects a thing among others with its name: its key, if it has one."""
    text = line.key
    if kind != TRACKS:
        query = "SELECT 'artist:' || spotify_id FROM artists WHERE spotify_id = ?"
        if kind == ALBUMS:
            query = "SELECT 'album:' || album_id FROM items WHERE key = ? AND album_id <> ''"
        rows = log.rows(query, group.grouped if kind == ARTISTS else line.key)
        text = rows[0][0] if rows else " ".join(filter(None, (line.artists, line.name)))
    return Candidate(line.name, line.artists, line.plays, line.heard_ms, line.key, text)


def _report(log: Log, question: Question, kind: str, grouped: str, lines: Sequence[Candidate]) -> ItemReport:
    line, *others = lines
    members = groups(kind, exact=question.exact)
    log.make_table(
        "own", f"SELECT tally.* FROM tally JOIN ({members}) USING (item) WHERE grouped = ?", grouped
    )
    days = charts.sums_by(log, question, charts.BY_DAY, OWN)
    by_hour = charts.sums_by(log, question, charts.BY_HOUR, OWN)
    hours = {each.number: (each.plays, each.heard_ms) for each in by_hour}
    sums, peak = charts.total(days), max(days, key=lambda day: measure(day, question.by))
    rank, ranked, share = _rank(log, question, line)
    run, first, last = _runs(log, question)
    tracks, number_of_tracks = _parts(log, question, TRACKS) if kind != TRACKS else ([], 0)
    albums, number_of_albums = _parts(log, question, ALBUMS) if kind == ARTISTS else ([], 0)
    return ItemReport(
        *(line.name, line.artists, line.plays, line.heard_ms, line.key),
        artist_names=[] if kind == ARTISTS else _artist_names(log, line.key),
        shorter=sums.all_plays - sums.plays,
        skips=sums.skips,
        skip_rate=sums.skip_rate,
        first=utc_time(first),
        last=utc_time(last),
        rank=rank,
        ranked=ranked,
        share=share,
        most_in_a_day=peak.as_day(),
        most_in_a_row=run,
        periods=_periods(question, days),
        hours=[Sums("hour", hour, *hours.get(hour, (0, 0))) for hour in range(charts.DAY_HOURS)],
        number_of_tracks=number_of_tracks,
        number_of_albums=number_of_albums,
        tracks=tracks,
        albums=albums,
        ids=_ids(log, question) if kind == TRACKS else [],
        others=[Other(other.text, other.plays) for other in others],
    )


def _rank(log: Log, question: Question, line: Line) -> tuple[int | None, int, float]:
    """Return the rank of a thing, the number of things that have one, and its share of all plays or time."""
    column = "ms_played" if question.by == TIME else "plays"
    query = f"SELECT count(*), count(*) FILTER (WHERE {column} > ?) FROM ranking WHERE plays > 0"
    own = measure(line, question.by)
    ((number, above),) = log.rows(query, own)
    query = f"SELECT sum(tally.{column}) FROM tally JOIN items ON id = item WHERE NOT is_episode"
    ((whole,),) = log.rows(query)
    return above + 1 if line.plays else None, number, round(own / whole, 6) if whole else 0.0


def _runs(log: Log, question: Question) -> tuple[Run, int | None, int | None]:
    """Return the longest run of `own` plays, and the seconds of the first and the last of them that count."""
    begin, end = bounds(question.period)
    counting = f"{source(question)} WHERE {counts(question)} AND second < ?"
    query = f"""WITH mine AS MATERIALIZED (SELECT second FROM {counting} AND second >= ? AND item IN ({OWN}))
        SELECT second, (SELECT second FROM {counting} AND second > mine.second ORDER BY second LIMIT 1)
        FROM mine ORDER BY second"""
    longest, plays, since, expected, first, second = Run(0, None), 0, 0, None, None, None
    for second, following in log.database.execute(query, (end, begin, end)):
        first = second if first is None else first
        if second != expected:
            plays, since = 0, second
        plays, expected = plays + 1, following
        if plays > longest.plays:
            longest = Run(plays, utc_time(since))
    return longest, first, second


def _periods(question: Question, days: Sequence[LocalSums]) -> list[Sums]:
    """Return the sums of each year, or of each month in a short period, from the first play to the last."""
    begin, end = question.period.begin, question.period.end
    is_short = begin is not None and end is not None and end - begin <= LONGEST_BY_MONTH
    length = len("2026-11" if is_short else "2026")
    wanted = range(days[0].number, days[-1].number + 1)
    return charts.sums_of(days, wanted, "period", lambda day: str(day)[:length])


def _parts(log: Log, question: Question, kind: str) -> tuple[list[Line], int]:
    """Return the tracks or albums of `own` that were played most, and the number of all."""
    make_ranking(log, question, kind, "own")
    ((number,),) = log.rows(f"SELECT count(*) FROM {kind}_of_own")
    return best(log, question, kind, question.limit, table="own"), number


def _ids(log: Log, question: Question) -> list[Line]:
    query = f"""SELECT album, '', plays, ms_played, key, key AS grouped FROM own JOIN items ON id = item
        {order(question)} LIMIT ?"""
    return [Line(*row[:-1]) for row in log.rows(query, question.limit)]


def _artist_names(log: Log, key: str) -> list[str]:
    query = """SELECT DISTINCT person FROM items JOIN credits ON item = items.id
        JOIN artists ON artists.id = artist WHERE key = ? ORDER BY position"""
    return [newest_name(log, person) for (person,) in log.rows(query, key)]
