"""Answer `artist`, `album` and `track`: find the thing by its name, and report on it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import Any

from spotify_logger.core import day_sums
from spotify_logger.core.day_sums import Sums
from spotify_logger.core.search_text import Match
from spotify_logger.core.text import fold
from spotify_logger.core.times import utc_time
from spotify_logger.queries import charts, sql
from spotify_logger.queries.milestones import OF_ONE
from spotify_logger.queries.question import TIME, Question, measure
from spotify_logger.queries.search import close_names, find, matches
from spotify_logger.queries.sql import Log
from spotify_logger.queries.top import Line, artist_names, best

OWN = "SELECT item FROM own"  # the items of the thing that is reported on
PARTS = {  # of what has some: the kind of its tracks, and of its albums
    sql.ARTISTS: {sql.TRACKS: sql.TRACKS, sql.ALBUMS: sql.ALBUMS},
    sql.ALBUMS: {sql.TRACKS: sql.TRACKS},
    sql.SHOWS: {sql.TRACKS: sql.EPISODES},
}


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
    share: float  # of all plays of music, or of podcasts; or of the time
    most_in_a_day: Sums  # the earliest in a tie
    most_in_a_row: Mapping[str, Any]  # without a counting play of anything else: plays, and from when
    milestones: Sequence[Mapping[str, Any]]  # the 100th play of the period, the 1,000th: number, and when
    periods: Sequence[Sums]
    hours: Sequence[Sums]
    number_of_tracks: int
    number_of_albums: int
    tracks: Sequence[Line]  # of an artist or an album; the episodes of a show
    albums: Sequence[Line]  # of an artist
    ids: Sequence[Line]  # of a track or an episode, each with the name of its album
    others: Sequence[Mapping[str, str | int]]  # of the same name: the text that selects each, and its plays


@dataclass(frozen=True, kw_only=True)
class ItemPage(sql.Result):
    """The thing that a text names, or the candidates if it may mean several."""

    kind: str
    text: str
    by: str
    candidates: Sequence[Line]
    found: ItemReport | None
    known: bool  # whether anything matches, even if it was not played in the period
    close: Sequence[str]  # names that may have been meant if nothing matches


@dataclass(frozen=True, slots=True)
class Suggestions:
    """What to suggest for a text in a search field."""

    found: Mapping[str, Sequence[Line]]  # by kind, the closest and most played first
    close: Sequence[str]  # names that may have been meant, if nothing is found


def page(log: Log, question: Question, kind: str, text: str) -> ItemPage:
    """Report on the thing of a kind with a name or key, or list the candidates if several match."""
    found = matches(find(log, text, kind, exact=question.exact))
    played = _played(log, question, kind, found)
    closest = [grouped for grouped in played if found[grouped] == found[played[0]]]
    lines = best(log, question, kind, -1, f"grouped {sql.ONE_OF}", closest)
    candidates = [*lines.values()]
    is_one = len({fold(line.title) for line in candidates}) == 1
    return ItemPage(
        kind=sql.NOUNS[kind],
        text=text,
        by=question.by,
        candidates=[] if is_one else candidates,
        found=_report(log, question, kind, closest[0], candidates) if is_one else None,
        known=bool(found),
        close=[] if found else close_names(log, text, kind),
        **sql.about_period(log, question),
    )


def suggestions(log: Log, question: Question, text: str) -> Suggestions:
    """Return the best matches of each kind, of all time; the last word of the text may be incomplete."""
    found = {}
    for kind in sql.KINDS:
        groups = _played(log, question, kind, matches(find(log, text, kind, exact=question.exact)))
        lines = best(log, question, kind, -1, f"grouped {sql.ONE_OF}", groups[: question.limit])
        found[kind] = [lines[grouped] for grouped in groups[: question.limit]]
    return Suggestions(found, [] if any(found.values()) else close_names(log, text, sql.ANY))


def _played(log: Log, question: Question, kind: str, found: Mapping[str, Match]) -> list[str]:
    """Make the tally, and return the groups that were played, the closest and most played first."""
    sql.make_tally(log, question, question.period, kind)
    query = f"SELECT grouped FROM {kind}_of_tally WHERE grouped {sql.ONE_OF} ORDER BY {sql.order(question)}"
    return sorted((grouped for (grouped,) in log.rows(query, found)), key=found.__getitem__, reverse=True)


def _report(log: Log, question: Question, kind: str, grouped: str, lines: Sequence[Line]) -> ItemReport:
    line, *others = lines
    members = sql.groups(kind, exact=question.exact)
    query = f"SELECT tally.* FROM tally JOIN ({members}) USING (item) WHERE grouped = ?"
    log.make_table("own", query, grouped, of="tally")
    days = charts.sums_by(log, question, charts.BY_DAY, OWN)
    hours = charts.amounts(charts.sums_by(log, question, charts.BY_HOUR, OWN), charts.DAY_HOURS)
    column, own = question.column, measure(line, question.by)
    query = f"SELECT count(*), count(*) FILTER (WHERE {column} > ?) FROM {kind}_of_tally WHERE plays > 0"
    ((ranked, above),) = log.rows(query, own)
    whole = sql.everything(log, kind)[question.by == TIME]
    query = f"""SELECT album, '', plays, ms_played, key, key AS grouped FROM own JOIN items ON id = item
        ORDER BY {sql.order(question)} LIMIT ?"""
    sums, peak = day_sums.total(days), max(days, key=lambda day: measure(day, question.by))
    return ItemReport(
        **asdict(line),
        artist_names=[] if kind == sql.ARTISTS else artist_names(log, [line.key]).get(line.key, []),
        shorter=sums.all_plays - sums.plays,
        skips=sums.skips,
        skip_rate=sums.skip_rate,
        rank=above + 1 if line.plays else None,
        ranked=ranked,
        share=round(own / whole, 6) if whole else 0.0,
        most_in_a_day=peak.as_day(),
        **_runs(log, question),
        periods=day_sums.by_year_or_month(days, question.period),
        hours=[Sums("hour", hour, *amount) for hour, amount in enumerate(hours)],
        **_parts(log, question, kind),
        ids=[] if kind in PARTS else [Line(*row) for row in log.rows(query, question.limit)],
        others=[{"text": other.text, "plays": other.plays} for other in others],
    )


# Parts of the report, as its fields


def _runs(log: Log, question: Question) -> dict[str, Any]:
    begin, end = sql.bounds(question.period)
    counting = f"{sql.source(question)} WHERE {sql.counts(question)} AND second < ?"
    query = f"""WITH mine AS MATERIALIZED (SELECT second FROM {counting} AND second >= ? AND item IN ({OWN}))
        SELECT second, (SELECT second FROM {counting} AND second > mine.second ORDER BY second LIMIT 1)
        FROM mine ORDER BY second"""
    seconds, expected, run, longest = [], None, (0, None), (0, None)
    for second, following in log.database.execute(query, (end, begin, end)):
        seconds.append(second)
        run = (run[0] + 1, run[1]) if second == expected else (1, second)
        longest, expected = max(longest, run, key=itemgetter(0)), following
    reached = [(number, seconds[number - 1]) for number in OF_ONE if number <= len(seconds)]
    return {
        "first": utc_time(seconds[0] if seconds else None),
        "last": utc_time(seconds[-1] if seconds else None),
        "most_in_a_row": {"plays": longest[0], "from": utc_time(longest[1])},
        "milestones": [{"number": number, "when": utc_time(second)} for number, second in reached],
    }


def _parts(log: Log, question: Question, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {"tracks": [], "albums": [], "number_of_tracks": 0, "number_of_albums": 0}
    for name, part in PARTS.get(kind, {}).items():
        sql.make_ranking(log, question, part, "own")
        found[name] = [*best(log, question, part, question.limit, table="own").values()]
        ((found[f"number_of_{name}"],),) = log.rows(f"SELECT count(*) FROM {part}_of_own WHERE plays > 0")
    return found
