"""Answer `year`: a year in review, on one screen to share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.periods import LocalClock
from spotify_logger.core.statistics import CalendarCounts, date_of, streaks
from spotify_logger.queries.highlights import Highlights, MostRepeated
from spotify_logger.queries.phrases import format_time, item_title, nothing_played, unobserved_data
from spotify_logger.queries.question import PLAYS, TIME
from spotify_logger.queries.ranking import ALBUMS, ARTISTS, KINDS, SHOWS, TRACKS, groups_of, ranked
from spotify_logger.queries.reader import PlayReader, first_second
from spotify_logger.queries.summary import Figures, busiest_data, streak_data
from spotify_logger.queries.top import NOUNS, RankedLine, lines_of
from spotify_logger.report.blocks import Answer, Columns, Heading, Sparkline, Table
from spotify_logger.report.words import MONTHS, counted, exact_duration, listening_time, utc_time

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from spotify_logger.core.catalog import CatalogEntry
    from spotify_logger.core.periods import Zone
    from spotify_logger.queries.question import Question
    from spotify_logger.report.blocks import Block
    from spotify_logger.report.csv_output import CsvRow, CsvValue
    from spotify_logger.storage.bulk import Archive

TOP_COUNT = 5
"""Number of lines for each kind."""
HOUR_MS, MINUTE_MS = 3_600_000, 60_000
FEW_HOURS = 10
"""Below this many hours, minutes are shown."""
FIRST, REPEATED, LATE, DISCOVERY = "first play", "most repeated", "late night", "discovery"


class Highlight(NamedTuple):
    """A play or a track worth highlighting.

    Attributes:
        what: The kind of highlight: "first play".
        words: When, or how much.
        title: Artists and name.
        cells: The values for JSON and CSV.
    """

    what: str
    words: str
    title: str
    cells: Mapping[str, CsvValue]


@dataclass(frozen=True, slots=True)
class YearReview:
    """Everything in the review of a year.

    Attributes:
        reader: Reads the plays of the year.
        figures: The figures of the year.
        best: The most played things of each kind.
        new: The number of tracks and artists never heard before, not even in part; None if nothing was logged
            before the year.
        highlights: The highlights.
    """

    reader: PlayReader
    figures: Figures
    best: Mapping[str, Sequence[RankedLine]]
    new: tuple[int, int] | None
    highlights: Sequence[Highlight]

    @property
    def is_over(self) -> bool:
        """Whether the year is over."""
        end = self.reader.question.period.end
        return end is not None and self.reader.question.now >= end


def year(archive: Archive, question: Question) -> Answer:
    """Return a year in review.

    Args:
        archive: The log.
        question: The question to answer; its period is a calendar year.
    """
    reader = PlayReader(archive, question)
    figures = Figures(CalendarCounts(LocalClock(question.zone)))
    found = Highlights(LocalClock(question.zone))
    for rows, counts in reader.days():
        figures.add(rows, counts)
        found.add(rows, counts)
    review = _review(reader, figures, found)
    if not figures.sums.rows:
        return Answer(_data(review), [nothing_played(question.period)])
    return Answer(_data(review), _page(review), csv_rows=_sheet(review))


def _review(reader: PlayReader, figures: Figures, found: Highlights) -> YearReview:
    exact, by = reader.question.exact, reader.question.by
    entries = reader.entries(figures.tallies.ms_played)
    groups = {kind: groups_of(kind, entries, exact=exact) for kind in KINDS}
    everything = {kind: ranked(figures.tallies, groups[kind], by) for kind in KINDS}
    before = _before(reader, entries)
    new = {kind: [each for each in everything[kind] if each.group not in before[kind]] for kind in before}
    has_past = any(before.values())
    repeated = found.repeated(groups[TRACKS])
    on_repeat = [each for each in everything[TRACKS] if repeated and each.group == repeated.group]
    late = ranked(found.night, groups[TRACKS], by)
    return YearReview(
        reader,
        figures,
        {kind: lines_of(kind, everything[kind][:TOP_COUNT], entries) for kind in KINDS},
        (len(new[TRACKS]), len(new[ARTISTS])) if has_past else None,
        [
            *_first(found, entries, reader.question.zone),
            *_repeated(repeated, lines_of(TRACKS, on_repeat, entries)),
            *_most_played(LATE, lines_of(TRACKS, late[:1], entries), by),
            *_most_played(DISCOVERY, lines_of(TRACKS, new[TRACKS][:has_past], entries), by),
        ],
    )


def _before(reader: PlayReader, entries: Mapping[str, CatalogEntry]) -> dict[str, set[Hashable]]:
    """Return the tracks and artists heard before the year."""
    known = reader.entries_before(entries)
    groups = {kind: groups_of(kind, known, exact=reader.question.exact) for kind in (TRACKS, ARTISTS)}
    return {kind: {group for own in found.values() for group in own} for kind, found in groups.items()}


# Highlights


def _first(found: Highlights, entries: Mapping[str, CatalogEntry], zone: Zone) -> list[Highlight]:
    if found.first is None:
        return []
    second, key = found.first
    entry = entries[key]
    cells = _cells(name=entry.name, artists=entry.artists, when=utc_time(second), key=key)
    return [Highlight(FIRST, format_time(zone, second), item_title(key, entry), cells)]


def _repeated(found: MostRepeated | None, lines: Sequence[RankedLine]) -> list[Highlight]:
    if found is None:
        return []
    words = f"{found.plays} × {found.day}"  # noqa: RUF001 - times
    changes = {"plays": found.plays, "heard_ms": None, "when": str(found.day)}
    return [Highlight(REPEATED, words, line.title, {**_line_cells(line), **changes}) for line in lines]


def _most_played(what: str, lines: Sequence[RankedLine], by: str) -> list[Highlight]:
    return [Highlight(what, _amount(line, by), line.title, _line_cells(line)) for line in lines]


def _amount(line: RankedLine, by: str) -> str:
    return _heard(line) if by == TIME else counted(line.now.plays, "play")


def _heard(line: RankedLine) -> str:
    """Format a listening time briefly: in whole hours if there are many."""
    ms_played = line.now.ms_played
    return listening_time(ms_played - ms_played % HOUR_MS if ms_played >= FEW_HOURS * HOUR_MS else ms_played)


# Text


def _page(review: YearReview) -> list[Block]:
    by = review.reader.question.by
    tracks, artists, albums = (_top(kind, review.best[kind], by) for kind in (TRACKS, ARTISTS, ALBUMS))
    highlights = [(each.what, each.words, each.title) for each in review.highlights]
    last = Table([*highlights, *_shows(review)], flexible=2, single_line=True)
    return [
        Heading(_headline(review)),
        _hours(review.figures.calendar),
        Columns(tracks, artists),
        Columns(albums, Table(_facts(review))),
        *([last] if last.rows else []),
    ]


def _headline(review: YearReview) -> str:
    question, sums = review.reader.question, review.figures.sums
    when = question.period.words + ("" if review.is_over else " so far")
    threshold = "at least " if review.reader.gaps() else ""
    plays = f"{counted(sums.plays, 'play')} {question.rule_words}"
    return f"{when}: {threshold}{listening_time(sums.ms_played)}, {plays}"


def _hours(calendar: CalendarCounts) -> Sparkline:
    _, heard = _months(calendar)
    if max(heard) < FEW_HOURS * HOUR_MS:
        return Sparkline(MONTHS, [milliseconds // MINUTE_MS for milliseconds in heard], "minutes")
    return Sparkline(MONTHS, [milliseconds // HOUR_MS for milliseconds in heard], "hours")


def _months(calendar: CalendarCounts) -> tuple[list[int], list[int]]:
    """Return plays and milliseconds of each month."""
    plays, heard = [0] * len(MONTHS), [0] * len(MONTHS)
    for day, milliseconds in calendar.ms_played.items():
        month = date_of(day).month - 1
        plays[month] += calendar.plays[day]
        heard[month] += milliseconds
    return plays, heard


def _top(kind: str, lines: Sequence[RankedLine], by: str) -> Table:
    rows = [
        (str(place), line.title, _heard(line) if by == TIME else f"{line.now.plays:,}")
        for place, line in enumerate(lines, 1)
    ]
    return Table(rows, ("", NOUNS[kind], "heard" if by == TIME else PLAYS), [0, 2])


def _facts(review: YearReview) -> list[tuple[str, str]]:
    reader, figures = review.reader, review.figures
    played, session, busiest = figures.days_with_plays(), figures.sessions.longest, figures.busiest()
    streak, _ = streaks(played, reader.question.today)
    rows = [("days", f"{len(played):,} with plays")]
    if review.new:
        rows.append(("new", f"{counted(review.new[0], 'track')}, {counted(review.new[1], 'artist')}"))
    if streak.first:
        rows.append(("streak", f"{counted(streak.days, 'day')} from {streak.first}"))
    if session:
        rows.append(
            ("session", f"{listening_time(session.length_ms)}, {reader.question.zone.day(session.begin)}")
        )
    if busiest:
        rows.append(("busiest", f"{listening_time(busiest[2])}, {busiest[0]}"))
    if gaps := reader.gaps():
        rows.append(
            ("unseen", f"{exact_duration(reader.unobserved_seconds(gaps))} in {counted(len(gaps), 'gap')}")
        )
    return rows


def _shows(review: YearReview) -> list[tuple[str, str, str]]:
    """Return the shows in one line: most listeners have none or few."""
    by, lines = review.reader.question.by, review.best[SHOWS]
    names = ", ".join(f"{line.name} ({_amount(line, by).removesuffix(' plays')})" for line in lines)
    return [("shows", "", names)] if lines else []


# JSON and CSV


def _data(review: YearReview) -> dict[str, object]:
    reader, figures = review.reader, review.figures
    question, sums, session = reader.question, figures.sums, figures.sessions.longest
    streak, _ = streaks(figures.days_with_plays(), question.today)
    cells = {each.what: each.cells for each in review.highlights}
    return {
        "year": question.zone.day(first_second(question.period)).year,
        "over": review.is_over,
        "from": utc_time(question.period.begin),
        "to": utc_time(question.period.end),
        "by": question.by,
        "plays": sums.plays,
        "shorter": sums.rows - sums.plays,
        "skips": sums.skips,
        "heard_ms": sums.ms_played,
        "days": len(figures.days_with_plays()),
        "new_tracks": review.new and review.new[0],
        "new_artists": review.new and review.new[1],
        "sessions": figures.sessions.number,
        "longest_session": session and {"from": utc_time(session.begin), "ms": session.length_ms},
        "longest_streak": streak_data(streak),
        "busiest_day": busiest_data(figures),
        **{what.replace(" ", "_"): cells.get(what) for what in (FIRST, REPEATED, LATE, DISCOVERY)},
        "months": _month_cells(review),
        "top": {kind: [_line_cells(line) for line in review.best[kind]] for kind in KINDS},
        "unseen": unobserved_data(reader),
    }


def _sheet(review: YearReview) -> list[CsvRow]:
    sums, question = review.figures.sums, review.reader.question
    whole = _cells(name=question.period.words, plays=sums.plays, heard_ms=sums.ms_played)
    rows: list[CsvRow] = [{"what": "year", "rank": None, **whole}]
    for month, plays, ms_played in map(dict.values, _month_cells(review)):
        rows.append({"what": "month", "rank": None, **_cells(name=month, plays=plays, heard_ms=ms_played)})
    for kind in KINDS:
        for place, line in enumerate(review.best[kind], 1):
            rows.append({"what": NOUNS[kind], "rank": place, **_line_cells(line)})
    return [*rows, *({"what": each.what, "rank": None, **each.cells} for each in review.highlights)]


def _month_cells(review: YearReview) -> list[dict[str, str | int]]:
    months = enumerate(zip(*_months(review.figures.calendar), strict=True), 1)
    year = review.reader.question.period.words
    return [
        {"month": f"{year}-{month:02}", "plays": plays, "heard_ms": ms_played}
        for month, (plays, ms_played) in months
    ]


def _line_cells(line: RankedLine) -> dict[str, CsvValue]:
    now = line.now
    return _cells(
        name=line.name, artists=line.artists, plays=now.plays, heard_ms=now.ms_played, key=now.keys[0]
    )


def _cells(**cells: CsvValue) -> dict[str, CsvValue]:
    """Return values by column name, always with the same columns."""
    return {**dict.fromkeys(("name", "artists", "plays", "heard_ms", "when", "key")), **cells}
