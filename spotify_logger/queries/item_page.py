"""Answer `artist`, `album` and `track`: find the thing by its name, and report on it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from spotify_logger.core.catalog import Artist, credited_artists
from spotify_logger.core.periods import Period
from spotify_logger.core.statistics import ItemCounts, date_of
from spotify_logger.core.text import fold
from spotify_logger.queries.charts import DAY_HOURS, HOURS, MINUTE_MS, MINUTES, bar_chart, sums_by
from spotify_logger.queries.find import ItemMatch, ItemSearch
from spotify_logger.queries.phrases import asked_data, format_time, gap_note, nothing_played, unseen_data
from spotify_logger.queries.question import PLAYS, TIME, Question
from spotify_logger.queries.ranking import (
    ALBUMS,
    ARTISTS,
    NOUNS,
    TRACKS,
    VARIOUS,
    RankedLine,
    amount_words,
    amounts_data,
    groups_of,
    lines_of,
    ranked,
)
from spotify_logger.queries.reader import PlayReader
from spotify_logger.queries.summary import skip_data
from spotify_logger.queries.top import totals
from spotify_logger.report.blocks import Answer, Block, Columns, Sparkline, Table
from spotify_logger.report.words import counted, listening_time, percentage, utc_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.report.csv_output import CsvRow, CsvValue
    from spotify_logger.storage.bulk import Archive

IDS = "ids"
"""The parts of a track: each of its IDs, with the name of its album."""
LONGEST_BY_MONTH = 366 * 86_400 + 3600
"""Longest period reported by month, in seconds: a leap year and an hour of daylight saving time."""


def page(archive: Archive, question: Question, kind: str, text: str) -> Answer:
    """Report on the thing of a kind with a name or key, or list the candidates if several match."""
    reader = PlayReader(archive, question)
    search = ItemSearch(reader, kind, text)
    lines = lines_of(kind, search.candidates, search.entries)
    is_one = len({fold(line.title) for line in lines}) == 1
    candidates = [] if is_one else [line.data for line in lines]
    data = {
        "kind": NOUNS[kind],
        "text": text,
        **asked_data(question),
        "candidates": candidates,
        "found": None,
        "unseen": unseen_data(reader),
    }
    if not search.entries:
        return Answer(data, [nothing_played(question.period)])
    if not lines:
        when = "" if question.period == Period() else f": {question.period.words}"
        return Answer(data, [f"No {NOUNS[kind]} with plays is called “{text}”{when}."])
    if not is_one:
        return Answer(data, _choice(search, lines, question.limit), csv_rows=candidates)
    found = _Report(reader, search, lines)
    return Answer(
        {**data, "found": found.data()}, [*found.blocks(), *gap_note(reader)], csv_rows=found.csv_rows()
    )


def _choice(search: ItemSearch, lines: Sequence[RankedLine], number: int) -> list[Block]:
    """Return the list of several candidates, and the commands that select the first of them."""
    noun = NOUNS[search.kind]
    rows = [(line.title, f"{line.now.plays:,}") for line in lines[:number]]
    page: list[Block] = [
        f"{counted(len(lines), noun)} match “{search.text}”:",
        Table(rows, (noun, PLAYS), [1], flexible=0),
    ]
    if len(lines) > number:
        page.append(f"and {counted(len(lines) - number, f'more {noun}')}")
    by_name = [] if lines[0].artists == VARIOUS else [_artists_and_name(lines[0])]
    texts = dict.fromkeys([*by_name, _search_text(search, lines[0])])
    commands = [f"spotify-logger {noun} {shlex.quote(text)}" for text in texts]
    return [*page, Table(list(zip(("try", "or"), commands, strict=False)))]


def _artists_and_name(line: RankedLine) -> str:
    return f"{line.artists} {line.name}".strip()


def _search_text(search: ItemSearch, line: RankedLine) -> str:
    """Return the text that selects this thing among others with its name: its key, if it has one."""
    if search.kind == TRACKS:
        return line.now.keys[0]
    if isinstance(line.now.group, Artist) and line.now.group.id:
        return f"artist:{line.now.group.id}"
    album = search.entries[line.now.keys[0]].album_id if search.kind == ALBUMS else ""
    return f"album:{album}" if album else _artists_and_name(line)


class _Report:
    """The report on the first of several things with the same name, as text, JSON and CSV.

    Attributes:
        place: Its rank, from 1; None if it has no play that counts.
        artist_names: The artists of a track or of an album's most played track.
        parts: Its parts, the most played first: an artist's tracks and albums, an album's tracks, and a
            track's `IDS`.
        best_day: The peak day, the earliest in a tie.
        periods: Plays and time by year, or by month in a short period.
    """

    def __init__(self, reader: PlayReader, search: ItemSearch, lines: Sequence[RankedLine]) -> None:
        question = self.question = reader.question
        self.kind = search.kind
        self.line = lines[0]
        self.stats = search.follow(self.line.now)
        measures = [each.measure(question.by) for each in search.ranking if each.plays]
        place = 1 + sum(measure > self.line.now.measure(question.by) for measure in measures)
        self.place = place if self.line.now.plays else None
        self.number = len(measures)
        self.whole = totals(search.tallies)
        self.parts = _parts(reader, search, self.line.now.keys)
        artists = credited_artists(search.entries) if self.kind != ARTISTS else {}
        self.artist_names = [artist.name for artist in artists.get(self.line.now.keys[0], ())]
        self.others = [
            {"text": _search_text(search, other), "plays": other.now.plays}
            for other in _others(search, lines)
        ]
        calendar = self.stats.calendar
        amounts = calendar.ms_played if question.by == TIME else calendar.plays
        day = min(amounts, key=lambda day: (-amounts[day], day))
        best_day = amounts_data(calendar.plays[day], calendar.ms_played[day])
        self.best_day: dict[str, Any] = {"day": str(date_of(day)), **best_day}
        begin, end = question.period.begin, question.period.end
        is_short = begin is not None and end is not None and end - begin <= LONGEST_BY_MONTH
        days = range(min(calendar.ms_played), max(calendar.ms_played) + 1)
        pattern = "%Y-%m" if is_short else "%Y"
        self.periods = sums_by(calendar, days, "period", lambda day: day.strftime(pattern))
        by_hour = (calendar.hour_plays, calendar.hour_ms_played)
        self.hours: list[dict[str, int]] = [
            {"hour": hour, **amounts_data(*(sum(values[hour::DAY_HOURS]) for values in by_hour))}
            for hour in range(DAY_HOURS)
        ]

    def blocks(self) -> list[Block]:
        by, number = self.question.by, self.question.limit
        page: list[Block] = [Table([row for row in self._rows() if row[1]])]
        tables = [self._table(part, lines[:number]) for part, lines in self.parts.items() if len(lines) > 1]
        page += [Columns(*tables)] if len(tables) == 2 else tables  # noqa: PLR2004 - left and right
        if len(self.periods) > 1:
            page.append(bar_chart(self.periods, "period", by))
        hours = [each["heard_ms"] // MINUTE_MS if by == TIME else each["plays"] for each in self.hours]
        page.append(Sparkline(HOURS, hours, MINUTES if by == TIME else PLAYS))
        if self.others:
            others = [(str(other["text"]), f"{other['plays']:,}") for other in self.others[:number]]
            page.append(Table(others, ("others with this name", PLAYS), [1], flexible=0))
        return page

    def _rows(self) -> list[tuple[str, str]]:
        question, stats, best, ids = self.question, self.stats, self.best_day, self.parts.get(IDS, ())
        zone, sums, (run, run_begin) = question.zone, stats.sums, stats.run
        most = f"{amount_words(best['plays'], best['heard_ms'], question.by)} on {best['day']}"
        return [
            (NOUNS[self.kind], self.line.title),
            *([("album", ids[0].name), ("key", ids[0].now.keys[0])] if len(ids) == 1 else []),
            ("period", "" if question.period == Period() else question.period.words),
            ("plays", f"{sums.plays:,} {question.rule_words}, {counted(sums.rows - sums.plays, 'other')}"),
            ("heard", listening_time(sums.ms_played)),
            ("rank", self._rank()),
            *((part, f"{len(lines):,}") for part, lines in self.parts.items() if part != IDS),
            ("skips", f"{sums.skips:,}, {percentage(sums.skips, sums.closed)}"),
            ("first", format_time(zone, stats.first)),
            ("last", format_time(zone, stats.last)),
            ("most in a day", most if sums.plays else ""),
            ("most in a row", f"{run:,} from {format_time(zone, run_begin)}" if run > 1 else ""),
        ]

    def _rank(self) -> str:
        if self.place is None:
            return ""
        by, now = self.question.by, self.line.now
        share = percentage(now.measure(by), self.whole[by == TIME])
        what = "time heard" if by == TIME else "plays"
        return f"{self.place:,} of {counted(self.number, NOUNS[self.kind])}, {share} of all {what}"

    def _table(self, part: str, lines: Sequence[RankedLine]) -> Table:
        by = self.question.by
        heading = "heard" if by == TIME else PLAYS
        amounts = [amount_words(line.now.plays, line.now.ms_played, by) for line in lines]
        if part == IDS:
            names = [f"{line.now.keys[0]} on {line.name}" for line in lines]
            return Table(list(zip(names, amounts, strict=True)), (IDS, heading), [1], flexible=0)
        # The name that all of them share is in the heading.
        names = [line.title if self.line.artists == VARIOUS else line.name for line in lines]
        places = map(str, range(1, len(lines) + 1))
        return Table(list(zip(places, names, amounts, strict=True)), ("", NOUNS[part], heading), [0, 2])

    def data(self) -> dict[str, object]:
        stats, number, (run, run_begin) = self.stats, self.question.limit, self.stats.run
        return {
            **self.line.data,
            "artist_names": self.artist_names,
            "shorter": stats.sums.rows - stats.sums.plays,
            **skip_data(stats.sums),
            "first": utc_time(stats.first),
            "last": utc_time(stats.last),
            "rank": self.place,
            "ranked": self.number,
            "most_in_a_day": self.best_day,
            "most_in_a_row": {"plays": run, "from": utc_time(run_begin)},
            "periods": self.periods,
            "hours": self.hours,
            **{part: [line.data for line in lines[:number]] for part, lines in self.parts.items()},
            "others": self.others,
        }

    def csv_rows(self) -> list[CsvRow]:
        """Return the report for CSV: the thing, its years or months, and its parts."""
        stats = self.stats
        times = {"first": utc_time(stats.first), "last": utc_time(stats.last)}
        whole = {**self.line.data, "rank": self.place, "skips": stats.sums.skips, **times}
        nothing: dict[str, CsvValue] = dict.fromkeys(whole)
        rows: list[CsvRow] = [{"what": NOUNS[self.kind], **whole}]
        for each in self.periods:
            amounts = amounts_data(each["plays"], each["heard_ms"])
            rows.append({"what": "period", **nothing, "name": each["period"], **amounts})
        for part, lines in self.parts.items():
            for place, line in enumerate(lines[: self.question.limit], 1):
                rows.append({"what": part.removesuffix("s"), **nothing, **line.data, "rank": place})
        return rows


def _others(search: ItemSearch, lines: Sequence[RankedLine]) -> list[RankedLine]:
    """Return things with the same name as the first one, ignoring case and accents."""
    less = lines_of(search.kind, search.matching(ItemMatch.EXACT), search.entries)
    name = fold(lines[0].title)
    alike = {line.now.group: line for line in (*lines, *less) if fold(line.title) == name}
    return list(alike.values())[1:]


def _parts(reader: PlayReader, search: ItemSearch, keys: Sequence[str]) -> dict[str, list[RankedLine]]:
    kind, by, exact = search.kind, reader.question.by, reader.question.exact
    own, entries = ItemCounts(), reader.entries(keys)
    for key in keys:
        own.plays[key], own.ms_played[key] = search.tallies.plays[key], search.tallies.ms_played[key]
    if kind == TRACKS:
        ids = ranked(own, {key: [key] for key in keys}, by, counted_only=False)
        return {IDS: [RankedLine(entries[each.keys[0]].album, "", each) for each in ids]}
    return {
        part: lines_of(part, ranked(own, groups_of(part, entries, exact=exact), by), entries)
        for part in ((TRACKS, ALBUMS) if kind == ARTISTS else (TRACKS,))
    }
