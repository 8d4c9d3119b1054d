"""Answer `stats` and `year`: how much was played in a period, what most, what was new, and how it spread."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spotify_logger.core import day_sums
from spotify_logger.core.day_sums import LocalSums, Session, Streak, Sums, sessions
from spotify_logger.core.times import utc_time
from spotify_logger.queries import charts, sql
from spotify_logger.queries.charts import BY_DAY, DAY, HOUR
from spotify_logger.queries.question import Question
from spotify_logger.queries.sql import Log, Result
from spotify_logger.queries.top import Line, Titled, best

TOP_COUNT = 5  # lines of each kind in a review
LIKELIEST = 20  # tracks that were played most, and may be the most repeated
NIGHT_ENDS = 5 * HOUR  # after midnight, when it begins


@dataclass(frozen=True, kw_only=True)
class Stats(Result):
    """The statistics of a period. What is new was never heard before it, not even in part."""

    plays: int  # that count
    shorter: int  # those that do not
    heard_ms: int
    new_tracks: int | None  # that count; None in a review if nothing was logged before
    new_artists: int | None
    skips: int
    sessions: int
    longest_session: Session | None  # the first of equal ones
    days: int  # with plays that count
    longest_streak: Streak
    busiest_day: Sums | None
    tracks: int  # different ones, with plays that count
    artists: int
    albums: int
    shows: int
    skip_rate: float | None  # of the plays that are over
    current_streak: Streak


@dataclass(frozen=True, slots=True)
class ReviewLine(Titled):
    """A line of a review: what was played, how much, and when, as far as that is known."""

    name: str
    artists: str
    plays: int | None
    heard_ms: int | None
    when: str | None
    key: str


@dataclass(frozen=True, slots=True)
class FirstPlay(ReviewLine):
    """The first play of the period that counts."""

    album: str  # the show of an episode


@dataclass(frozen=True, kw_only=True)
class Highlights:
    """Plays of a period that stand out."""

    first_play: FirstPlay | None = None
    most_repeated: ReviewLine | None = None  # the track with the most plays in a day
    late_night: ReviewLine | None = None  # the track that was played most after midnight


@dataclass(frozen=True, kw_only=True)
class Review(Stats, Highlights):
    """A year or a month in review."""

    year: int
    over: bool
    by: str
    discovery: ReviewLine | None  # the track that was played most of those that are new
    months: Sequence[Sums]  # or the days of a month
    top: Mapping[str, Sequence[ReviewLine]]  # what was played most, by kind


def stats(log: Log, question: Question, days: Sequence[LocalSums] | None = None) -> Stats:
    """Return the statistics of a period; `days` saves reading its days. Makes `tally`, ranked by kind."""
    days = charts.sums_by(log, question, BY_DAY) if days is None else days
    sums = day_sums.total(days)
    sql.make_tally(log, question, question.period, *sql.KINDS)
    counted = {kind: (kind, "plays > 0") for kind in sql.KINDS}
    counted |= {f"new_{kind}": (kind, _is_new(question, kind)) for kind in (sql.TRACKS, sql.ARTISTS)}
    numbers: dict[str, Any] = {}
    for name, (kind, which) in counted.items():
        ((numbers[name],),) = log.rows(f"SELECT count(*) FROM {kind}_of_tally WHERE {which}")
    return Stats(
        plays=sums.plays,
        shorter=sums.all_plays - sums.plays,
        heard_ms=sums.heard_ms,
        **numbers,
        skips=sums.skips,
        skip_rate=sums.skip_rate,
        **_session_figures(log, question),
        **day_sums.day_figures(days, question.today),
        **sql.about_period(log, question),
    )


def review(log: Log, question: Question, highlights: Highlights | None = None) -> Review:
    """Return the calendar year or month of the question in review."""
    days = charts.sums_by(log, question, BY_DAY)
    sums, whole = stats(log, question, days), day_sums.days_of(question.zone, question.period)
    unit, layout = ("month", "%Y-%m") if len(whole) > day_sums.LONGEST_MONTH else ("day", "%Y-%m-%d")
    query = "SELECT EXISTS (SELECT 1 FROM items WHERE first < ? AND NOT is_episode)"
    ((has_past,),) = log.rows(query, sql.bounds(question.period)[0])
    new = best(log, question, sql.TRACKS, 1, which=_is_new(question, sql.TRACKS))
    found = find_highlights(log, question) if highlights is None else highlights
    shared = vars(sums) | vars(found)
    if not has_past:
        shared |= {"new_tracks": None, "new_artists": None}
    return Review(
        year=day_sums.date_of(whole.start).year,
        over=question.period.end is not None and question.now >= question.period.end,
        by=question.by,
        discovery=next(iter(_review_lines(new)), None) if has_past else None,
        months=day_sums.sums_of(days, whole, unit, lambda day: f"{day:{layout}}"),
        top={kind: _review_lines(best(log, question, kind, TOP_COUNT)) for kind in sql.KINDS},
        **shared,
    )


def find_highlights(log: Log, question: Question) -> Highlights:
    """Return the plays of a period that stand out."""
    sql.make_tally(log, question, question.period, sql.TRACKS)
    charts.make_spans(log, question)
    return Highlights(
        first_play=_first_play(log, question),
        most_repeated=_most_repeated(log, question),
        late_night=_late_night(log, question),
    )


def _session_figures(log: Log, question: Question) -> dict[str, Any]:
    """Return the number of sessions and the longest; the bounds of the period cut those that reach beyond."""
    begin, end = sql.bounds(question.period)
    within = "FROM sessions WHERE begin >= ? AND begin < ?"
    query = f"SELECT ifnull(min(begin), ?), ifnull(max(begin), ?) {within}"
    ((first, last),) = log.rows(query, end, end, begin, end)
    query = "SELECT second, ms_played FROM plays WHERE second >= ? AND second < ? AND ms_played > 0"
    edges = (begin, first), (last, end)
    at_the_edges = [each for edge in edges for each in sessions(log.rows(query, *edge))]
    ((number,),) = log.rows(f"SELECT count(*) {within}", first, last)
    query = f"SELECT begin, end_ms {within} ORDER BY end_ms - begin * 1000 DESC, begin LIMIT 1"
    found = [(begin * 1000 - end_ms, begin) for begin, end_ms in at_the_edges + log.rows(query, first, last)]
    longest = [Session(str(utc_time(begin)), -length) for length, begin in sorted(found)]
    return {"sessions": number + len(at_the_edges), "longest_session": longest[0] if longest else None}


def _is_new(question: Question, kind: str) -> str:
    """Return the SQL condition for a track or an artist not to have been heard before, not even in part."""
    same = "items WHERE " + ("key" if question.exact else "recording")
    same = "artists WHERE person" if kind == sql.ARTISTS else same
    begin = question.period.begin or 0
    return f"plays > 0 AND NOT EXISTS (SELECT 1 FROM {same} = grouped AND first < {begin})"


def _review_lines(lines: Mapping[str, Line]) -> list[ReviewLine]:
    return [ReviewLine(it.name, it.artists, it.plays, it.heard_ms, None, it.key) for it in lines.values()]


def _first_play(log: Log, question: Question) -> FirstPlay | None:
    first = f"""SELECT second, item FROM {sql.source(question)}
        WHERE second >= ? AND second < ? AND {sql.counts(question)} ORDER BY second LIMIT 1"""
    query = f"SELECT second, name, artists, key, album FROM ({first}) JOIN items ON id = item"
    for second, name, artists, key, album in log.rows(query, *sql.bounds(question.period)):
        return FirstPlay(name, artists, None, None, utc_time(second), key, album)
    return None


def _most_repeated(log: Log, question: Question) -> ReviewLine | None:
    """Return the track with the most plays in a day, the first one in a tie; None without repeats."""
    often = "SELECT grouped FROM tracks_of_tally WHERE plays >= ? ORDER BY plays DESC LIMIT ?"
    groups = sql.groups(sql.TRACKS, exact=question.exact)
    query = f"""SELECT {BY_DAY}, grouped, sum(plays) AS times
        FROM ({charts.local_plays(question)})
        JOIN (SELECT * FROM ({groups}) WHERE grouped IN ({often})) USING (item)
        WHERE plays GROUP BY 1, 2 HAVING times > 1 ORDER BY times DESC, min(second) LIMIT 1"""
    rows, least = [], 2
    for limit in (LIKELIEST, -1):  # the first ones say how often another one was played at least
        rows = log.rows(query, least, limit)
        least = max([least, *(times for _, _, times in rows)])
    for day, group, times in rows:
        (line,) = best(log, question, sql.TRACKS, 1, "grouped = ?", group).values()
        return ReviewLine(line.name, line.artists, times, None, str(day_sums.date_of(day)), line.key)
    return None


def _late_night(log: Log, question: Question) -> ReviewLine | None:
    """Return the track that was played most after midnight."""
    query = f"""SELECT item, plays, ms_played FROM ({charts.local_plays(question)})
        WHERE local % {DAY} < {NIGHT_ENDS} {sql.ADD_UP}"""
    log.make_table("night", query, columns=sql.TALLY)
    sql.make_ranking(log, question, sql.TRACKS, "night")
    return next(iter(_review_lines(best(log, question, sql.TRACKS, 1, table="night"))), None)
