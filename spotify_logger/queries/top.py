"""Answer `top`: the most played tracks, artists, albums and shows, and the most used devices and contexts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.core.catalog import ARTIST_FIELDS, RECORDING_FIELDS, CatalogEntry
from spotify_logger.core.play_rows import PlayRows
from spotify_logger.core.statistics import ItemCounts
from spotify_logger.queries.phrases import asked_data, gap_note, nothing_played, unseen_data
from spotify_logger.queries.question import TIME, Question
from spotify_logger.queries.ranking import (
    ALBUMS,
    ARTISTS,
    CONTEXTS,
    DEVICES,
    NOUNS,
    SHOWS,
    TRACKS,
    RankedLine,
    groups_of,
    lines_of,
    top_ranked,
)
from spotify_logger.queries.reader import PlayReader
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import change, counted, listening_time, percentage

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from spotify_logger.core.periods import Period
    from spotify_logger.storage.bulk import Archive

NEEDED: Mapping[str, Sequence[str]] = {
    TRACKS: RECORDING_FIELDS,
    ARTISTS: ARTIST_FIELDS,
    ALBUMS: CatalogEntry._fields,
    SHOWS: ("album",),
}
"""The catalog fields that decide which groups of a kind an item belongs to."""
PLAY_FIELD = {DEVICES: "device_name", CONTEXTS: "context_uri"}
"""The field of a play that names its device or context: the index has neither."""


def top(archive: Archive, question: Question, kind: str) -> Answer:
    """Return what was played most; `kind` is one of `ranking.CHOICES`."""
    reader, noun, by, period = PlayReader(archive, question), NOUNS[kind], question.by, question.period
    tallies = _tally(reader, kind, period)
    earlier = ItemCounts() if period.previous is None else _tally(reader, kind, period.previous)
    items = [*(item for item in earlier.ms_played if item not in tallies.ms_played), *tallies.ms_played]
    groups: Mapping[str, Iterable[Hashable]] = (
        {name: [name] for name in items}
        if kind in PLAY_FIELD
        else groups_of(kind, reader.entries(items, NEEDED[kind]), exact=question.exact)
    )
    shown, number = top_ranked(tallies, groups, by, question.limit)
    keys = [key for each in shown for key in each.keys] if kind in (TRACKS, ALBUMS) else []
    lines = lines_of(kind, shown, reader.entries(keys))
    if period.previous is not None:
        before = _before(earlier, groups, lines)
        lines = [line._replace(before=before[line.now.group]) for line in lines]
    plays, heard = totals(tallies)
    whole = heard if by == TIME else plays
    rows = [_line_data(place, line, by, whole) for place, line in enumerate(lines, 1)]
    data = {
        "kind": kind,
        **asked_data(question),
        "plays": plays,
        "heard_ms": heard,
        "number": number,
        "unseen": unseen_data(reader),
        "top": rows,
    }
    if not shown:
        no_plays = f"No {noun} has plays {question.rule_words}: {period.words}."
        return Answer(data, [no_plays if tallies.ms_played else nothing_played(period)])
    table = Table(
        [_row(place, line, by, whole) for place, line in enumerate(lines, 1)],
        ["", noun, "plays", "heard", "share", *([period.previous.words] if period.previous else [])],
        [0, 2, 3, 4, 5],
    )
    total = f"{period.words}: {counted(plays, 'play')} {question.rule_words}, of {counted(number, noun)}"
    in_all = f"{total}; {listening_time(heard)} heard in all"
    return Answer(data, [table, in_all, *gap_note(reader)], csv_rows=rows)


def _tally(reader: PlayReader, kind: str, period: Period) -> ItemCounts:
    """Count the plays of a period by item, or by device or context for these kinds."""
    tallies = ItemCounts()
    for rows, counts in reader.days(period):
        if kind in PLAY_FIELD:
            found = reader.archive.fields(rows.seconds, [PLAY_FIELD[kind]])
            names = [name or "unknown" for _, (name,) in found]
            tallies.add(PlayRows(rows.seconds, names, rows.ms_played, rows.ends), counts)
        else:
            tallies.add(rows, counts)
    return tallies


def _before(
    earlier: ItemCounts, groups: Mapping[str, Iterable[Hashable]], lines: Sequence[RankedLine]
) -> dict[Hashable, tuple[int, int]]:
    """Return plays and milliseconds of the groups of lines in the period before."""
    before = {line.now.group: (0, 0) for line in lines}
    for key, milliseconds in earlier.ms_played.items():
        for group in groups.get(key, ()):
            if group in before:
                plays, heard = before[group]
                before[group] = plays + earlier.plays[key], heard + milliseconds
    return before


def totals(tallies: ItemCounts) -> tuple[int, int]:
    """Return the total of plays and of milliseconds."""
    return tallies.plays.total(), sum(tallies.ms_played.values())


def _row(place: int, line: RankedLine, by: str, whole: int) -> list[str]:
    now = line.now
    share = percentage(now.measure(by), whole)
    row = [str(place), line.title, f"{now.plays:,}", listening_time(now.ms_played), share]
    if line.before is None:
        return row
    plays, ms_played = line.before
    if by != TIME:
        return [*row, change(now.plays, plays)]
    more = now.ms_played // 60_000 - ms_played // 60_000
    return [*row, (f"{more:+,} min" if more else "=") if ms_played else change(now.ms_played, 0)]


def _line_data(place: int, line: RankedLine, by: str, whole: int) -> dict[str, str | int | float | None]:
    data, (plays, ms_played) = line.data, line.before or (None, None)
    key = data.pop("key")
    share = round(line.now.measure(by) / whole, 6) if whole else 0.0
    more = {"share": share, "plays_before": plays, "heard_ms_before": ms_played, "key": key}
    return {"rank": place, **data, **more}
