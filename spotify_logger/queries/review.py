"""Answer `year`: a year in review, on one screen to share."""

from __future__ import annotations

from collections import Counter
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.periods import LocalClock
from spotify_logger.core.statistics import DAY, HOUR, CalendarCounts, ItemCounts, date_of
from spotify_logger.queries.charts import HOUR_MS, MINUTE_MS, days_of_year, sums_by
from spotify_logger.queries.phrases import asked_data, format_time, item_title, nothing_played, unseen_data
from spotify_logger.queries.question import PLAYS, TIME, Question
from spotify_logger.queries.ranking import (
    ALBUMS,
    ARTISTS,
    KINDS,
    NOUNS,
    SHOWS,
    TRACKS,
    RankedLine,
    groups_of,
    lines_of,
    ranked,
)
from spotify_logger.queries.reader import PlayReader, first_second
from spotify_logger.queries.summary import Figures, distinct_groups
from spotify_logger.report.blocks import Answer, Block, Columns, Heading, Sparkline, Table
from spotify_logger.report.words import MONTHS, counted, exact_duration, listening_time, utc_time

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping
    from datetime import date

    from spotify_logger.core.play_rows import PlayRows
    from spotify_logger.report.csv_output import CsvRow, CsvValue
    from spotify_logger.storage.bulk import Archive

TOP_COUNT = 5
"""Number of lines for each kind."""
FEW_HOURS = 10
"""Below this many hours, minutes are shown."""
NIGHT_ENDS = 5 * HOUR
"""Seconds after midnight at which the late night ends; it begins at midnight."""
FIRST, REPEATED, LATE, DISCOVERY = HIGHLIGHTS = ("first play", "most repeated", "late night", "discovery")


class Highlight(NamedTuple):
    """One of the `HIGHLIGHTS`, for people (when or how much, and a title), and for JSON and CSV (`cells`)."""

    what: str
    words: str
    title: str
    cells: Mapping[str, CsvValue]


class DailyPlays:
    """Collects the plays of each day: a few megabytes per year.

    Attributes:
        night: Plays between midnight and five, by item.
        first: The second and the item of the first play that counts.
    """

    def __init__(self, clock: LocalClock) -> None:
        self.night = ItemCounts()
        self.first: tuple[int, str] | None = None
        self._clock = clock
        self._days: Counter[tuple[int, str]] = Counter()

    def add(self, rows: PlayRows, counts: list[bool]) -> None:
        """Add a day; days come in chronological order."""
        local = self._clock.to_local(rows.seconds)
        days = [second // DAY for second in local]
        self._days.update(compress(zip(days, rows.items, strict=True), counts))
        late = [second % DAY < NIGHT_ENDS for second in local]
        if any(late):
            self.night.add(rows.select(late), list(compress(counts, late)))
        if self.first is None:
            self.first = next(compress(zip(rows.seconds, rows.items, strict=True), counts), None)

    def most_repeated(self, tracks: Mapping[str, Iterable[Hashable]]) -> tuple[date, Hashable, int] | None:
        """Return the day and the track with the most plays (the first in a tie), and how many those are.

        Without repeats it returns None. `tracks` are those of each item, as returned by `groups_of`.
        """
        plays: Counter[tuple[int, Hashable]] = Counter()
        for (day, item), number in self._days.items():
            for group in tracks.get(item, ()):
                plays[day, group] += number
        most = max(plays.values(), default=0)
        if most <= 1:
            return None
        day, group = next(which for which, number in plays.items() if number == most)
        return date_of(day), group, most


def year(archive: Archive, question: Question) -> Answer:
    """Return a year in review; the period of the question is a calendar year."""
    reader = PlayReader(archive, question)
    figures = Figures(CalendarCounts(LocalClock(question.zone)))
    daily = DailyPlays(LocalClock(question.zone))
    for rows, counts in reader.days():
        figures.add(rows, counts)
        daily.add(rows, counts)
    review = _Review(reader, figures, daily)
    if not figures.sums.rows:
        return Answer(review.data(), [nothing_played(question.period)])
    return Answer(review.data(), review.page(), csv_rows=review.csv_rows())


class _Review:
    """Everything in the review of a year.

    Attributes:
        best: The most played things of each kind.
        new: The number of tracks and artists never heard before, not even in part; None if nothing was logged
            before the year.
        months: Plays and time of each month, for JSON.
    """

    def __init__(self, reader: PlayReader, figures: Figures, daily: DailyPlays) -> None:
        question = self.question = reader.question
        self.reader, self.figures = reader, figures
        exact, by = question.exact, question.by
        entries = reader.entries(figures.tallies.ms_played)
        known = reader.entries_before(entries)
        # The newest names come last.
        everything_heard = {key: known[key] for key in known.keys() - entries.keys()} | entries
        groups = {kind: groups_of(kind, everything_heard, exact=exact) for kind in KINDS}
        everything = {kind: ranked(figures.tallies, groups[kind], by) for kind in KINDS}
        self.best = {kind: lines_of(kind, everything[kind][:TOP_COUNT], entries) for kind in KINDS}
        before = {kind: distinct_groups(groups[kind], known) for kind in (TRACKS, ARTISTS)}
        new = {kind: [each for each in everything[kind] if each.group not in before[kind]] for kind in before}
        has_past = any(before.values())
        self.new = (len(new[TRACKS]), len(new[ARTISTS])) if has_past else None
        self.highlights: list[Highlight] = []
        if daily.first:
            second, key = daily.first
            entry, when = entries[key], format_time(question.zone, second)
            cells = _cells(name=entry.name, artists=entry.artists, when=utc_time(second), key=key)
            self.highlights.append(Highlight(FIRST, when, item_title(key, entry), cells))
        if repeated := daily.most_repeated(groups[TRACKS]):
            day, group, plays = repeated
            on_repeat = [each for each in everything[TRACKS] if each.group == group]
            for line in lines_of(TRACKS, on_repeat, entries):
                cells = {**_cells(**line.data), "plays": plays, "heard_ms": None, "when": str(day)}
                words = f"{plays} × {day}"  # noqa: RUF001 - times
                self.highlights.append(Highlight(REPEATED, words, line.title, cells))
        late = ranked(daily.night, groups[TRACKS], by)
        for what, most in (LATE, late[:1]), (DISCOVERY, new[TRACKS][:has_past]):
            for line in lines_of(TRACKS, most, entries):
                self.highlights.append(Highlight(what, _amount(line, by), line.title, _cells(**line.data)))
        days = days_of_year(question.zone.day(first_second(question.period)).year)
        self.months = sums_by(figures.calendar, days, "month", lambda day: f"{day:%Y-%m}")
        self.days = figures.days_data(question.today)
        end = question.period.end
        self.is_over = end is not None and question.now >= end

    def page(self) -> list[Block]:
        tracks, artists, albums = map(self._top, (TRACKS, ARTISTS, ALBUMS))
        heard = [month["heard_ms"] for month in self.months]
        unit, unit_ms = ("minutes", MINUTE_MS) if max(heard) < FEW_HOURS * HOUR_MS else ("hours", HOUR_MS)
        rows = [(each.what, each.words, each.title) for each in self.highlights]
        if lines := self.best[SHOWS]:  # in one line: most listeners have none or few
            by = self.question.by
            names = [f"{line.name} ({_amount(line, by).removesuffix(' plays')})" for line in lines]
            rows.append(("shows", "", ", ".join(names)))
        return [
            Heading(self._headline()),
            Sparkline(MONTHS, [milliseconds // unit_ms for milliseconds in heard], unit),
            Columns(tracks, artists),
            Columns(albums, Table(self._facts())),
            *([Table(rows, flexible=2, single_line=True)] if rows else []),
        ]

    def _headline(self) -> str:
        question, sums = self.question, self.figures.sums
        when = question.period.words + ("" if self.is_over else " so far")
        at_least = "at least " if self.reader.unobserved()[0] else ""
        plays = f"{counted(sums.plays, 'play')} {question.rule_words}"
        return f"{when}: {at_least}{listening_time(sums.ms_played)}, {plays}"

    def _top(self, kind: str) -> Table:
        by = self.question.by
        rows = [
            (str(place), line.title, _heard(line) if by == TIME else f"{line.now.plays:,}")
            for place, line in enumerate(self.best[kind], 1)
        ]
        return Table(rows, ("", NOUNS[kind], "heard" if by == TIME else PLAYS), [0, 2])

    def _facts(self) -> list[tuple[str, str]]:
        session = self.figures.sessions.longest
        streak, busiest = self.days["longest_streak"], self.days["busiest_day"]
        rows = [("days", f"{self.days['days']:,} with plays")]
        if self.new:
            rows.append(("new", f"{counted(self.new[0], 'track')}, {counted(self.new[1], 'artist')}"))
        if streak["days"]:
            rows.append(("streak", f"{counted(streak['days'], 'day')} from {streak['from']}"))
        if session:
            day = self.question.zone.day(session.begin)
            rows.append(("session", f"{listening_time(session.length_ms)}, {day}"))
        if busiest:
            rows.append(("busiest", f"{listening_time(busiest['heard_ms'])}, {busiest['day']}"))
        gaps, seconds = self.reader.unobserved()
        if gaps:
            rows.append(("missing", f"{exact_duration(seconds)} in {counted(gaps, 'gap')}"))
        return rows

    def data(self) -> dict[str, object]:
        question, sums = self.question, self.figures.sums
        cells = {each.what: each.cells for each in self.highlights}
        return {
            "year": question.zone.day(first_second(question.period)).year,
            "over": self.is_over,
            **asked_data(question),
            "plays": sums.plays,
            "shorter": sums.rows - sums.plays,
            "skips": sums.skips,
            "heard_ms": sums.ms_played,
            "days": self.days["days"],
            "new_tracks": self.new and self.new[0],
            "new_artists": self.new and self.new[1],
            **self.figures.session_data(),
            "longest_streak": self.days["longest_streak"],
            "busiest_day": self.days["busiest_day"],
            **{what.replace(" ", "_"): cells.get(what) for what in HIGHLIGHTS},
            "months": self.months,
            "top": {kind: [_cells(**line.data) for line in self.best[kind]] for kind in KINDS},
            "unseen": unseen_data(self.reader),
        }

    def csv_rows(self) -> list[CsvRow]:
        sums = self.figures.sums
        whole = _cells(name=self.question.period.words, plays=sums.plays, heard_ms=sums.ms_played)
        rows: list[CsvRow] = [{"what": "year", "rank": None, **whole}]
        for month in self.months:
            cells = _cells(name=month["month"], plays=month["plays"], heard_ms=month["heard_ms"])
            rows.append({"what": "month", "rank": None, **cells})
        for kind in KINDS:
            for place, line in enumerate(self.best[kind], 1):
                rows.append({"what": NOUNS[kind], "rank": place, **_cells(**line.data)})
        return [*rows, *({"what": each.what, "rank": None, **each.cells} for each in self.highlights)]


def _amount(line: RankedLine, by: str) -> str:
    return _heard(line) if by == TIME else counted(line.now.plays, "play")


def _heard(line: RankedLine) -> str:
    """Format a listening time briefly: in whole hours if there are many."""
    ms_played = line.now.ms_played
    return listening_time(ms_played - ms_played % HOUR_MS if ms_played >= FEW_HOURS * HOUR_MS else ms_played)


def _cells(**cells: CsvValue) -> dict[str, CsvValue]:
    """Return values by column name, always with the same columns."""
    return {**dict.fromkeys(("name", "artists", "plays", "heard_ms", "when", "key")), **cells}
