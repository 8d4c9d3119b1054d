"""Show the answers about periods: `stats`, `clock`, `calendar`, `course` and `year`."""

from collections.abc import Sequence

from spotify_logger.core.batched import batched
from spotify_logger.core.periods import WEEKDAYS
from spotify_logger.core.play import format_title
from spotify_logger.core.times import seconds_of
from spotify_logger.queries import charts, summary
from spotify_logger.queries.question import PLAYS, TIME, Question, measure
from spotify_logger.queries.sql import KINDS, NOUNS
from spotify_logger.report import answers, words
from spotify_logger.report.answers import Block, Chart, Columns, Note, Table, blocks, figures, gap_note
from spotify_logger.report.words import MINUTE_MS, Cell, Formatted, counted, filled, heard, phrase

HOUR_MS = 60 * MINUTE_MS
FEW_HOURS = 10  # below which minutes are shown
HIGHLIGHTS = ("first_play", "most_repeated", "late_night", "discovery")
OF_DAYS = ("longest streak", "current streak", "busiest day")
COLUMNS = ("what", "rank", "name", "artists", "plays", "heard_ms", "when", "key")


@blocks.register(summary.Stats)
def _(result: summary.Stats, question: Question) -> Sequence[Block]:
    new = "{}, {} of them new" if result.from_ else "{}"
    tracks = filled(new, result.tracks, result.new_tracks)
    artists = filled(new, result.artists, result.new_artists)
    rate = words.share(result.skip_rate or 0, result.skip_rate is not None)
    new_ones = ("tracks", tracks), ("artists", artists)
    others = ("shows", result.shows or None), ("skips", phrase(result.skips, f"({rate})"))
    days = ("days", phrase(result.days, "with plays")), *OF_DAYS
    rows = "period", "plays", "heard", *new_ones, "albums", *others, "sessions", "longest session", *days
    return [figures(result, question, *rows), *gap_note(result.unseen)]


@answers.csv_rows.register(summary.Stats)
def _(result: summary.Stats) -> Sequence[answers.CsvRow]:
    return [
        {"figure": name, "value": " ".join(map(str, each.values())) if isinstance(each, dict) else each}
        for name, each in answers.to_json(result).items()
    ]


@blocks.register(charts.Clock)
def _(result: charts.Clock, question: Question) -> Sequence[Block]:
    unit, unit_ms = answers.UNITS[question.by]
    amounts = [measure(each, question.by) for each in result.week]
    values = [amount // unit_ms for amount in amounts]
    most, days = max(values), zip(WEEKDAYS, batched(values, charts.DAY_HOURS), strict=True)
    busiest = result.week[values.index(most)]
    of = counted(most, unit.removesuffix("s"))
    when = phrase(f"{busiest.weekday} {busiest.hour}:00,", of) if most else None
    hours = [(str(hour), sum(values[hour :: charts.DAY_HOURS])) for hour in range(charts.DAY_HOURS)]
    by_day = [sum(day) for day in batched(amounts, charts.DAY_HOURS)]
    unit_of_days, size = ("hours", HOUR_MS) if question.by == TIME else (PLAYS, 1)
    weekdays: list[Sequence[Cell]] = [(unit_of_days, *(amount // size for amount in (*by_day, sum(by_day))))]
    weekdays.append(("share", *(words.share(amount, sum(by_day) or 1) for amount in by_day), None))
    return [
        Chart("week", [(day, *hours) for day, hours in days], unit),
        Note(Chart("heights", hours, unit)),
        Note(Table(weekdays, ("", *WEEKDAYS, "all"), range(1, len(WEEKDAYS) + 2), flexible=0)),
        Note(figures(result, question, "period", "plays", "heard", ("busiest hour", when))),
        *gap_note(result.unseen),
    ]


@blocks.register(charts.Calendar)
def _(result: charts.Calendar, question: Question) -> Sequence[Block]:
    unit, unit_ms = answers.UNITS[question.by]
    days = [(str(each.when), measure(each, question.by) // unit_ms) for each in result.calendar]
    with_plays = phrase(result.days, f"of {len(days)} with plays")
    table = figures(result, question, "period", "plays", "heard", ("days", with_plays), *OF_DAYS)
    return [Chart("year", days, unit), Note(table), *gap_note(result.unseen)]


@blocks.register(charts.Course)
def _(result: charts.Course, question: Question) -> Sequence[Block]:
    plays = f"{counted(result.plays, 'play')} {question.rule_words}"
    note = f"{question.period.words}: {plays}, {words.listening_time(result.heard_ms)} heard"
    return [answers.bars(result.periods, question.by), Note(note), *gap_note(result.unseen)]


@blocks.register(summary.Review)
def _(result: summary.Review, question: Question) -> Sequence[Block]:
    most = max(month.heard_ms for month in result.months)
    unit, unit_ms = ("minutes", MINUTE_MS) if most < FEW_HOURS * HOUR_MS else ("hours", HOUR_MS)
    months = [month.heard_ms // unit_ms for month in result.months]
    best = {kind: [(line.title, _rounded(line, result.by)) for line in result.top[kind]] for kind in KINDS}
    tracks, artists, albums, _ = (answers.ranking(NOUNS[kind], result.by, best[kind]) for kind in KINDS)
    when = result.year if result.over else f"{result.year} so far"
    at_least = "at least " if result.unseen.gaps else ""
    plays = f"{counted(result.plays, 'play')} {question.rule_words}"
    highlights = _highlights(result, question)
    return [
        Note(f"{when}: {at_least}{words.listening_time(result.heard_ms)}, {plays}"),
        Chart("heights", [*zip(words.MONTHS, months, strict=True)], unit),
        Note(Columns(tracks, artists)),
        Note(Columns(albums, _facts(result, question))),
        *([Note(Table(highlights, flexible=2, single_line=True))] if highlights else []),
    ]


@answers.csv_rows.register(summary.Review)
def _(result: summary.Review) -> Sequence[answers.CsvRow]:
    if not result.plays and not result.shorter:
        return ()
    ranked = [(NOUNS[kind], *each) for kind in KINDS for each in enumerate(result.top[kind], 1)]
    return [
        answers.columns(result, COLUMNS, what="year", name=str(result.year), artists=None),
        *(answers.columns(each, COLUMNS, what="month", name=each.when, when=None) for each in result.months),
        *(answers.columns(line, COLUMNS, what=noun, rank=rank) for noun, rank, line in ranked),
        *(answers.columns(line, COLUMNS, what=what) for what, line in _lines(result)),
    ]


def _lines(result: summary.Review) -> list[tuple[str, summary.ReviewLine]]:
    """Return the highlights that there are, with their names."""
    return [(name.replace("_", " "), line) for name in HIGHLIGHTS if (line := getattr(result, name))]


def _highlights(result: summary.Review, question: Question) -> list[Sequence[Cell]]:
    rows: list[Sequence[Cell]] = []
    for what, line in _lines(result):
        title = line.title
        how: Cell = _rounded(line, TIME) if result.by == TIME else counted(line.plays or 0, "play")
        if line is result.first_play:
            how = answers.cell(line.when, question)
            title = format_title(answers.to_json(line) | {"uri": line.key})
        elif line.when:
            how = phrase(line.plays, f"× {line.when}")  # noqa: RUF001 - times
        rows.append((what, how, title))
    if shows := result.top["shows"]:  # in one line: most listeners have none or few
        names = (filled("{} ({})", line.name, _rounded(line, result.by)) for line in shows)
        rows.append(("shows", None, phrase(*names, sep=", ")))
    return rows


def _facts(result: summary.Review, question: Question) -> Table:
    session, busiest, unseen = result.longest_session, result.busiest_day, result.unseen
    artists = counted(result.new_artists or 0, "artist")
    new = None if result.new_tracks is None else f"{counted(result.new_tracks, 'track')}, {artists}"
    session_day = session and question.zone.day(seconds_of(session.from_) or 0)
    missing = f"{words.exact_duration(unseen.seconds)} in {counted(unseen.gaps, 'gap')}"
    return figures(
        result,
        question,
        ("days", phrase(result.days, "with plays")),
        ("new", new),
        ("streak", answers.cell(result.longest_streak, question)),
        ("session", filled("{}, {}", heard(session.ms), str(session_day)) if session else None),
        ("busiest", filled("{}, {}", heard(busiest.heard_ms), str(busiest.when)) if busiest else None),
        ("missing", missing if unseen.gaps else None),
    )


def _rounded(line: summary.ReviewLine, by: str) -> int | Formatted:
    """Return plays, or a listening time in whole hours if there are many."""
    if by != TIME:
        return line.plays or 0
    heard_ms = line.heard_ms or 0
    return heard(heard_ms - heard_ms % HOUR_MS if heard_ms >= FEW_HOURS * HOUR_MS else heard_ms)
