"""The report on one artist, album or track, as text, JSON and CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotify_logger.core.periods import Period
from spotify_logger.core.statistics import date_of
from spotify_logger.queries.phrases import format_time
from spotify_logger.queries.question import PLAYS, TIME
from spotify_logger.queries.top import NOUNS, VARIOUS
from spotify_logger.report.blocks import BarChart, Columns, Sparkline, Table
from spotify_logger.report.words import counted, listening_time, percentage, utc_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spotify_logger.queries.item_stats import ItemStats
    from spotify_logger.queries.question import Question
    from spotify_logger.queries.top import RankedLine
    from spotify_logger.report.blocks import Block
    from spotify_logger.report.csv_output import CsvRow, CsvValue

IDS = "ids"
"""The parts of a track: each of its IDs, with the name of its album."""
LONGEST_BY_MONTH = 366 * 86_400 + 3600
"""Longest period reported by month, in seconds: a leap year and an hour of daylight saving time."""
DAY_HOURS, MINUTE_MS = 24, 60_000


@dataclass(frozen=True, slots=True)
class ItemReport:
    """The report on a thing.

    Attributes:
        question: The question.
        kind: ARTISTS, ALBUMS or TRACKS.
        line: The thing.
        stats: The statistics of its plays.
        place: Its rank, from 1; None if it has no play that counts.
        number: The number of things of its kind.
        whole: Plays and milliseconds of everything that was played.
        parts: Its parts, the most played first: an artist's tracks and albums, an album's tracks, and a
            track's `IDS`.
        others: Search texts for other things with the same name, and the number of plays of each.
    """

    question: Question
    kind: str
    line: RankedLine
    stats: ItemStats
    place: int | None
    number: int
    whole: tuple[int, int]
    parts: Mapping[str, Sequence[RankedLine]]
    others: Sequence[tuple[str, int]]

    def best_day(self) -> tuple[int, int, int]:
        """Return the peak day, the earliest in a tie: days since the epoch, plays, milliseconds."""
        calendar = self.stats.calendar
        amounts = calendar.ms_played if self.question.by == TIME else calendar.plays
        day = min(amounts, key=lambda day: (-amounts[day], day))
        return day, calendar.plays[day], calendar.ms_played[day]

    def hours(self) -> list[tuple[int, int]]:
        """Return plays and milliseconds by hour of the day."""
        calendar = self.stats.calendar
        plays, heard = calendar.hour_plays, calendar.hour_ms_played
        return [(sum(plays[hour::DAY_HOURS]), sum(heard[hour::DAY_HOURS])) for hour in range(DAY_HOURS)]

    def periods(self) -> list[tuple[str, int, int]]:
        """Return plays and milliseconds by year, or by month in a short period."""
        calendar, letters = self.stats.calendar, 7 if _is_short(self.question.period) else 4
        periods: dict[str, tuple[int, int]] = {}
        for day in range(min(calendar.ms_played), max(calendar.ms_played) + 1):
            name = str(date_of(day))[:letters]
            plays, ms_played = periods.get(name, (0, 0))
            periods[name] = plays + calendar.plays[day], ms_played + calendar.ms_played.get(day, 0)
        return [(name, *amounts) for name, amounts in periods.items()]


def _is_short(period: Period) -> bool:
    begin, end = period.begin, period.end
    return begin is not None and end is not None and end - begin <= LONGEST_BY_MONTH


# Text


def to_blocks(found: ItemReport) -> list[Block]:
    """Return the report as blocks."""
    by, number = found.question.by, found.question.limit
    page: list[Block] = [Table([row for row in _rows(found) if row[1]])]
    tables = [_table(found, part, lines[:number]) for part, lines in found.parts.items() if len(lines) > 1]
    page += [Columns(*tables)] if len(tables) == 2 else tables  # noqa: PLR2004 - left and right
    periods = [(name, (plays, ms_played)) for name, plays, ms_played in found.periods()]
    if len(periods) > 1:
        page.append(BarChart([(name, both[by == TIME], _amount(*both, by)) for name, both in periods]))
    page.append(_clock(found))
    others = [(words, f"{plays:,}") for words, plays in found.others[:number]]
    return [*page, Table(others, ("others with this name", PLAYS), [1], flexible=0)] if others else page


def _rows(found: ItemReport) -> list[tuple[str, str]]:
    question, stats = found.question, found.stats
    zone, sums, run = question.zone, stats.sums, stats.run
    day, plays, ms_played = found.best_day()
    most = f"{_amount(plays, ms_played, question.by)} on {date_of(day)}" if sums.plays else ""
    return [
        (NOUNS[found.kind], found.line.title),
        *_only_id(found),
        ("period", "" if question.period == Period() else question.period.words),
        ("plays", f"{sums.plays:,} {question.rule_words}, {counted(sums.rows - sums.plays, 'other')}"),
        ("heard", listening_time(sums.ms_played)),
        ("rank", _rank(found)),
        *((part, f"{len(lines):,}") for part, lines in found.parts.items() if part != IDS),
        ("skips", f"{sums.skips:,}, {percentage(sums.skips, sums.closed)}"),
        ("first", format_time(zone, stats.first)),
        ("last", format_time(zone, stats.last)),
        ("most in a day", most),
        ("most in a row", f"{run.plays:,} from {format_time(zone, run.begin)}" if run.plays > 1 else ""),
    ]


def _only_id(found: ItemReport) -> list[tuple[str, str]]:
    ids = found.parts.get(IDS, ())
    return [("album", ids[0].name), ("key", ids[0].now.keys[0])] if len(ids) == 1 else []


def _rank(found: ItemReport) -> str:
    if found.place is None:
        return ""
    by, place = found.question.by, f"{found.place:,} of {counted(found.number, NOUNS[found.kind])}"
    if by == TIME:
        return f"{place}, {percentage(found.line.now.ms_played, found.whole[1])} of all time heard"
    return f"{place}, {percentage(found.line.now.plays, found.whole[0])} of all plays"


def _clock(found: ItemReport) -> Sparkline:
    names, hours = list(map(str, range(DAY_HOURS))), found.hours()
    if found.question.by == TIME:
        return Sparkline(names, [ms_played // MINUTE_MS for _, ms_played in hours], "minutes")
    return Sparkline(names, [plays for plays, _ in hours], PLAYS)


def _table(found: ItemReport, part: str, lines: Sequence[RankedLine]) -> Table:
    by = found.question.by
    heading = "heard" if by == TIME else PLAYS
    amounts = [_amount(line.now.plays, line.now.ms_played, by) for line in lines]
    if part == IDS:
        names = [f"{line.now.keys[0]} on {line.name}" for line in lines]
        return Table(list(zip(names, amounts, strict=True)), (IDS, heading), [1], flexible=0)
    # The name that all of them share is in the heading.
    names = [line.title if found.line.artists == VARIOUS else line.name for line in lines]
    places = map(str, range(1, len(lines) + 1))
    return Table(list(zip(places, names, amounts, strict=True)), ("", NOUNS[part], heading), [0, 2])


def _amount(plays: int, ms_played: int, by: str) -> str:
    return listening_time(ms_played) if by == TIME else f"{plays:,}"


# JSON and CSV


def to_json(found: ItemReport) -> dict[str, object]:
    """Return the report for JSON."""
    stats, sums, run = found.stats, found.stats.sums, found.stats.run
    day, day_plays, day_ms = found.best_day()
    number = found.question.limit
    return {
        **to_csv_row(found.line),
        "shorter": sums.rows - sums.plays,
        "skips": sums.skips,
        "skip_rate": round(sums.skips / sums.closed, 6) if sums.closed else None,
        "first": utc_time(stats.first),
        "last": utc_time(stats.last),
        "rank": found.place,
        "ranked": found.number,
        "most_in_a_day": {"day": str(date_of(day)), "plays": day_plays, "heard_ms": day_ms},
        "most_in_a_row": {"plays": run.plays, "from": utc_time(run.begin)},
        "periods": [
            {"period": name, "plays": plays, "heard_ms": ms_played}
            for name, plays, ms_played in found.periods()
        ],
        "hours": [
            {"hour": hour, "plays": plays, "heard_ms": ms_played}
            for hour, (plays, ms_played) in enumerate(found.hours())
        ],
        **{part: [to_csv_row(line) for line in lines[:number]] for part, lines in found.parts.items()},
        "others": [{"text": words, "plays": plays} for words, plays in found.others],
    }


def to_csv_rows(found: ItemReport) -> list[CsvRow]:
    """Return the report as CSV rows: the thing, its years or months, and its parts."""
    stats, line = found.stats, found.line
    times = {"first": utc_time(stats.first), "last": utc_time(stats.last)}
    whole = {**to_csv_row(line), "rank": found.place, "skips": stats.sums.skips, **times}
    rows: list[CsvRow] = [{"what": NOUNS[found.kind], **whole}]
    nothing: dict[str, CsvValue] = dict.fromkeys(whole)
    for name, plays, ms_played in found.periods():
        rows.append({"what": "period", **nothing, "name": name, "plays": plays, "heard_ms": ms_played})
    for part, lines in found.parts.items():
        for place, each in enumerate(lines[: found.question.limit], 1):
            rows.append({"what": part.removesuffix("s"), **nothing, **to_csv_row(each), "rank": place})
    return rows


def to_csv_row(line: RankedLine) -> dict[str, CsvValue]:
    """Return a thing as a CSV row."""
    now = line.now
    return {
        "name": line.name,
        "artists": line.artists,
        "plays": now.plays,
        "heard_ms": now.ms_played,
        "key": now.keys[0],
    }
