"""Show the answers about periods: `stats`, `clock`, `calendar`, `course` and `year`."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from spotify_logger.core.batched import batched
from spotify_logger.core.display import format_title
from spotify_logger.core.periods import WEEKDAYS
from spotify_logger.core.times import seconds_of
from spotify_logger.queries.charts import DAY_HOURS, Calendar, Clock, Course
from spotify_logger.queries.question import PLAYS, TIME, Amount, Question, measure
from spotify_logger.queries.sql import KINDS, NOUNS
from spotify_logger.queries.summary import Review, Stats
from spotify_logger.report import answers, words
from spotify_logger.report.answers import blocks, csv_rows, figures, gap_note, nothing_played, to_json
from spotify_logger.report.blocks import Block, Columns, Heading, Heatmap, Note, Sparkline, Table, YearHeatmap
from spotify_logger.report.words import MINUTE_MS, Cell, Formatted, counted, filled, heard, phrase, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spotify_logger.core.day_sums import Streak
    from spotify_logger.queries.summary import ReviewLine
    from spotify_logger.report.answers import Row
    from spotify_logger.report.blocks import CsvRow

HOUR_MS = 60 * MINUTE_MS
FEW_HOURS = 10  # below which minutes are shown
HIGHLIGHTS = ("first play", "most repeated", "late night", "discovery")
COLUMNS = ("name", "artists", "plays", "heard_ms", "when", "key")


@blocks.register(Stats)
def _(result: Stats, question: Question) -> Sequence[Block]:
    if not result.plays and not result.shorter:
        return [nothing_played(question.period)]
    tracks, artists = (
        filled("{}, {} of them new", number, new) if result.from_ else number
        for number, new in ((result.tracks, result.new_tracks), (result.artists, result.new_artists))
    )
    session, longest = result.longest_session, None
    if session:
        longest = filled("{} from {}", heard(session.ms), words.format_iso(question.zone, session.from_))
    rate = "–" if result.skip_rate is None else words.percentage(result.skip_rate, 1)
    rows: list[Row] = [
        ("period", question.period.words),
        ("plays", answers.plays_and_others(result.plays, result.shorter, question)),
        ("heard", heard(result.heard_ms)),
        ("tracks", tracks),
        ("artists", artists),
        ("albums", result.albums),
        ("shows", result.shows or None),
        ("skips", phrase(result.skips, f"({rate})")),
        ("sessions", result.sessions),
        ("longest session", longest),
        *_day_rows(result),
    ]
    return [figures(rows), *gap_note(result.unseen)]


@csv_rows.register(Stats)
def _(result: Stats) -> Sequence[CsvRow]:
    flat = {
        name: " ".join(map(str, value.values())) if isinstance(value, dict) else value
        for name, value in to_json(result).items()
    }
    return [{"figure": name, "value": value} for name, value in flat.items()]


def _day_rows(result: Stats | Calendar, of: str = "") -> list[Row]:
    """Return how the plays spread over the days; `of` follows the number of days, like "of 366"."""
    busiest = None
    if day := result.busiest_day:
        plays = plural(day.plays, "play")
        busiest = filled(f"{day.when}, {{}}, {{}} {plays}", heard(day.heard_ms), day.plays)
    return [
        ("days", phrase(result.days, f"{of} with plays".lstrip())),
        ("longest streak", _streak(result.longest_streak)),
        ("current streak", _streak(result.current_streak)),
        ("busiest day", busiest),
    ]


def _streak(streak: Streak) -> Cell:
    return phrase(streak.days, f"{plural(streak.days, 'day')} from {streak.from_}") if streak.days else None


@blocks.register(Clock)
def _(result: Clock, question: Question) -> Sequence[Block]:
    if not result.plays and not result.heard_ms:
        return [nothing_played(question.period)]
    unit, values = _in_unit(result.week, question.by)
    most, hours = max(values), range(DAY_HOURS)
    busiest = result.week[values.index(most)]
    of = plural(most, unit.removesuffix("s"))
    when = filled(f"{busiest.weekday} {busiest.hour}:00, {{}} {of}", most) if most else None
    return [
        Heatmap(list(batched(values, DAY_HOURS)), unit),
        Note(Sparkline([*map(str, hours)], [sum(values[hour::DAY_HOURS]) for hour in hours], unit)),
        Note(_weekdays(result, question.by)),
        Note(figures([*_sums(result, question), ("busiest hour", when)])),
        *gap_note(result.unseen),
    ]


@blocks.register(Calendar)
def _(result: Calendar, question: Question) -> Sequence[Block]:
    if not result.plays and not result.heard_ms:
        return [nothing_played(question.period)]
    unit, numbers = _in_unit(result.calendar, question.by)
    days = (date.fromisoformat(str(each.when)) for each in result.calendar)
    table = figures([*_sums(result, question), *_day_rows(result, f"of {len(numbers)}")])
    heatmap = YearHeatmap(result.year, dict(zip(days, numbers, strict=True)), unit)
    return [heatmap, Note(table), *gap_note(result.unseen)]


@blocks.register(Course)
def _(result: Course, question: Question) -> Sequence[Block]:
    if not result.periods:
        return [nothing_played(question.period)]
    plays = f"{counted(result.plays, 'play')} {question.rule_words}"
    note = f"{question.period.words}: {plays}, {words.listening_time(result.heard_ms)} heard"
    return [answers.bars(result.periods, question.by), Note(note), *gap_note(result.unseen)]


def _in_unit(sums: Iterable[Amount], by: str) -> tuple[str, list[int]]:
    """Return the unit of a chart, and the values in it."""
    if by == TIME:
        return "minutes", [each.heard_ms // MINUTE_MS for each in sums]
    return PLAYS, [each.plays for each in sums]


def _sums(result: Clock | Calendar, question: Question) -> list[Row]:
    return [
        ("period", question.period.words),
        ("plays", phrase(result.plays, question.rule_words)),
        ("heard", heard(result.heard_ms)),
    ]


def _weekdays(result: Clock, by: str) -> Table:
    """Return the weekdays as columns, which takes fewer lines than rows."""
    unit, unit_ms = ("hours", HOUR_MS) if by == TIME else (PLAYS, 1)
    days = [sum(day) for day in batched([measure(each, by) for each in result.week], DAY_HOURS)]
    numbers = [amount // unit_ms for amount in (*days, sum(days))]
    shares = [words.share(day, sum(days) or 1) for day in days]
    rows: list[Sequence[Cell]] = [(unit, *numbers), ("share", *shares, None)]
    return Table(rows, ("", *WEEKDAYS, "all"), range(1, len(WEEKDAYS) + 2), flexible=0)


@blocks.register(Review)
def _(result: Review, question: Question) -> Sequence[Block]:
    if not result.plays and not result.shorter:
        return [nothing_played(question.period)]
    times = [month.heard_ms for month in result.months]
    unit, unit_ms = ("minutes", MINUTE_MS) if max(times) < FEW_HOURS * HOUR_MS else ("hours", HOUR_MS)
    best = {kind: [(line.title, _rounded(line, result.by)) for line in result.top[kind]] for kind in KINDS}
    tracks, artists, albums, _ = (answers.ranking(NOUNS[kind], result.by, best[kind]) for kind in KINDS)
    when = result.year if result.over else f"{result.year} so far"
    at_least = "at least " if result.unseen.gaps else ""
    plays = f"{counted(result.plays, 'play')} {question.rule_words}"
    highlights = _highlights(result, question)
    return [
        Note(Heading(f"{when}: {at_least}{words.listening_time(result.heard_ms)}, {plays}")),
        Sparkline(words.MONTHS, [time // unit_ms for time in times], unit),
        Note(Columns(tracks, artists)),
        Note(Columns(albums, _facts(result, question))),
        *([Note(Table(highlights, flexible=2, single_line=True))] if highlights else []),
    ]


@csv_rows.register(Review)
def _(result: Review) -> Sequence[CsvRow]:
    if not result.plays and not result.shorter:
        return ()
    whole: CsvRow = {"name": str(result.year), "plays": result.plays, "heard_ms": result.heard_ms}
    rows: list[tuple[str, int | None, CsvRow]] = [("year", None, whole)]
    rows += [("month", None, to_json(each) | {"name": each.when}) for each in result.months]
    for kind in KINDS:
        rows += [(NOUNS[kind], rank, to_json(line)) for rank, line in enumerate(result.top[kind], 1)]
    rows += [(what, None, to_json(line)) for what, line in _lines(result)]
    return [
        {"what": what, "rank": rank, **{name: values.get(name) for name in COLUMNS}}
        for what, rank, values in rows
    ]


def _lines(result: Review) -> list[tuple[str, ReviewLine]]:
    """Return the highlights that there are, with their names."""
    lines = (result.first_play, result.most_repeated, result.late_night, result.discovery)
    return [(what, line) for what, line in zip(HIGHLIGHTS, lines, strict=True) if line]


def _highlights(result: Review, question: Question) -> list[Sequence[Cell]]:
    rows: list[Sequence[Cell]] = []
    for what, line in _lines(result):
        plays, title = line.plays or 0, line.title
        how: Cell = _rounded(line, TIME) if result.by == TIME else phrase(plays, plural(plays, "play"))
        if line is result.first_play:
            how = words.format_iso(question.zone, line.when)
            title = format_title(to_json(line) | {"uri": line.key})
        elif line.when:
            how = phrase(line.plays, f"× {line.when}")  # noqa: RUF001 - times
        rows.append((what, how, title))
    if shows := result.top["shows"]:  # in one line: most listeners have none or few
        names = (filled("{} ({})", line.name, _rounded(line, result.by)) for line in shows)
        people, programs = zip(*names, strict=True)
        rows.append(("shows", None, Formatted(", ".join(people), ", ".join(programs))))
    return rows


def _facts(result: Review, question: Question) -> Table:
    session, busiest, unseen = result.longest_session, result.busiest_day, result.unseen
    new = None
    if result.new_tracks is not None and result.new_artists is not None:
        new = f"{counted(result.new_tracks, 'track')}, {counted(result.new_artists, 'artist')}"
    session_day = session and question.zone.day(seconds_of(session.from_) or 0)
    missing = f"{words.exact_duration(unseen.seconds)} in {counted(unseen.gaps, 'gap')}"
    return figures(
        [
            ("days", phrase(result.days, "with plays")),
            ("new", new),
            ("streak", _streak(result.longest_streak)),
            ("session", filled("{}, {}", heard(session.ms), str(session_day)) if session else None),
            ("busiest", filled("{}, {}", heard(busiest.heard_ms), str(busiest.when)) if busiest else None),
            ("missing", missing if unseen.gaps else None),
        ]
    )


def _rounded(line: ReviewLine, by: str) -> int | Formatted:
    """Return plays, or a listening time in whole hours if there are many."""
    if by != TIME:
        return line.plays or 0
    heard_ms = line.heard_ms or 0
    return heard(heard_ms - heard_ms % HOUR_MS if heard_ms >= FEW_HOURS * HOUR_MS else heard_ms)
