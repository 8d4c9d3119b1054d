"""Answer `recent`, `day` and `on-this-day`: plays in chronological order, with the gaps between them."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, TypedDict

from spotify_logger.core import periods
from spotify_logger.core.catalog import recording_key
from spotify_logger.core.display import format_duration, format_title
from spotify_logger.core.play import BACKFILL
from spotify_logger.core.player_state import BOOLEAN_FIELDS, INTEGER_FIELDS, whole_number
from spotify_logger.core.redis_keys import play_key
from spotify_logger.core.statistics import ItemCounts, Totals
from spotify_logger.queries.gaps import Gap, ending_after, gap_data, gap_words
from spotify_logger.queries.phrases import format_time, item_title, nothing_played
from spotify_logger.queries.ranking import ranked
from spotify_logger.queries.reader import PlayReader
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import counted, listening_time, utc_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from spotify_logger.core.periods import Zone
    from spotify_logger.queries.question import Question
    from spotify_logger.report.csv_output import CsvRow as SheetRow
    from spotify_logger.storage.bulk import Archive

FOUND_LATER = "found later"
"""The ending shown for a backfilled play, whose actual end reason is unknown."""
ENDINGS = {"trackdone": "finished", "skipped": "skipped", "stopped": "stopped", "unknown": "unknown"}
HEADINGS = ("when", "what", "heard", "ended", "device")
_NUMBERS = INTEGER_FIELDS | {"ms_played"}
_SHEET_TEXTS = ("name", "artists", "album", "end_reason", "device_name", "source", "uri")
FIRST_YEAR = 2006
"""The year Spotify was founded."""

StoredPlay = tuple[int, Mapping[str, str]]
"""The second in the key of a play, and the fields of its hash."""
TimelineRow = tuple[str, str, str, str, str]
"""The cells of a line: start, title, progress, ending and device."""


class SameDay(TypedDict):
    """What was played on the same day of an earlier year: how much, and what most."""

    day: str
    plays: int
    heard_ms: int
    most: str
    key: str


def recent(store: Archive, question: Question) -> Answer:
    """List the most recent plays, newest first, with the gaps between and after them."""
    period = question.period
    is_all = period.begin is None and period.end is None
    plays: list[StoredPlay] = [*store.recent(question.limit)] if is_all else _newest(store, question)
    if not plays:
        return Answer([], [nothing_played(period)])
    gaps = [
        gap for gap in ending_after(store.gaps(), plays[-1][0]) if period.end is None or gap[0] < period.end
    ]
    lines = _lines(store, question.zone, plays, gaps)
    lines.reverse()
    return Answer([data for *_, data in lines], [_table(lines)], csv_rows=_csv_rows(plays))


def day(store: Archive, question: Question, which: date) -> Answer:
    """List the plays of a local day in order, with the gaps between them."""
    period = periods.day(question.zone, which)
    reader = PlayReader(store, question)
    sums, seconds = Totals(), []
    for rows, counts in reader.days(period):
        sums.add(rows, counts)
        seconds += rows.seconds
    plays: list[StoredPlay] = list(reader.archive.plays(seconds))
    begin, end = period.begin or 0, min(period.end or 0, int(question.now))
    gaps = [gap for gap in store.gaps() if gap[1] > begin and gap[0] < end]
    lines = _lines(store, question.zone, plays, gaps)
    data = {
        "day": which.isoformat(),
        "plays": sums.plays,
        "heard_ms": sums.ms_played,
        "timeline": [data for *_, data in lines],
    }
    if not lines:
        return Answer(data, [nothing_played(period)])
    in_all = f"{counted(sums.plays, 'play')} {question.rule_words}, {listening_time(sums.ms_played)} heard"
    return Answer(data, [_table(lines), f"{which:%A}, {which}: {in_all}"], csv_rows=_csv_rows(plays))


def on_this_day(store: Archive, question: Question) -> Answer:
    """Show what was played on this date in earlier years, the latest year first."""
    today = question.today
    reader = PlayReader(store, question)
    found = [_remembered(reader, when) for when in _same_days(today)]
    memories = [memory for memory in found if memory]
    if not memories:
        return Answer([], [f"Nothing was logged on {today:%-d %B} in earlier years."])
    rows = [
        (memory["day"], memory["most"], f"{memory['plays']:,}", listening_time(memory["heard_ms"]))
        for memory in memories
    ]
    page = [Table(rows, ("day", "most played", "plays", "heard"), [2, 3])]
    return Answer(memories, page, csv_rows=[_memory_row(memory) for memory in memories])


def _memory_row(memory: SameDay) -> SheetRow:
    return {
        "day": memory["day"],
        "plays": memory["plays"],
        "heard_ms": memory["heard_ms"],
        "most": memory["most"],
    }


def _same_days(today: date) -> Iterable[date]:
    """Yield the same date in each earlier year, back to `FIRST_YEAR`; 29 February in leap years only."""
    for year in range(today.year - 1, FIRST_YEAR - 1, -1):
        try:
            yield today.replace(year=year)
        except ValueError:
            continue


def _remembered(reader: PlayReader, when: date) -> SameDay | None:
    tallies, sums = ItemCounts(), Totals()
    for rows, counts in reader.days(periods.day(reader.question.zone, when)):
        tallies.add(rows, counts)
        sums.add(rows, counts)
    if not sums.rows:
        return None
    entries = reader.entries(tallies.ms_played)
    groups = {key: [recording_key(key, entry.isrc, exact=False)] for key, entry in entries.items()}
    best = ranked(tallies, groups, reader.question.by, counted_only=False)[0].keys[0]
    most = item_title(best, entries[best])
    return SameDay(day=str(when), plays=sums.plays, heard_ms=sums.ms_played, most=most, key=best)


def _newest(store: Archive, question: Question) -> list[StoredPlay]:
    archive, period = store, question.period
    seconds: deque[int] = deque(maxlen=question.limit)
    for rows, _ in PlayReader(archive, question).days(period):
        seconds.extend(rows.seconds)
    return list(archive.plays(reversed(seconds)))


def _lines(
    store: Archive, zone: Zone, plays: Iterable[StoredPlay], gaps: Iterable[Gap]
) -> list[tuple[int, TimelineRow, dict[str, object]]]:
    """Return plays and gaps in chronological order, as table rows and as JSON."""
    open_second = store.now_playing()
    lines: list[tuple[int, TimelineRow, dict[str, object]]] = [
        (play[0], _play_row(zone, play, open_second), play_data(play)) for play in plays
    ]
    lines += [(gap[0], _gap_row(zone, gap), {"gap": gap_data(gap)}) for gap in gaps]
    return sorted(lines, key=itemgetter(0))


def _table(lines: Sequence[tuple[int, TimelineRow, object]]) -> Table:
    return Table([row for _, row, _ in lines], HEADINGS, [2])


def _csv_rows(plays: Iterable[StoredPlay]) -> list[SheetRow]:
    return [
        {
            "started": utc_time(second),
            **{name: fields.get(name) for name in _SHEET_TEXTS},
            **{name: whole_number(fields.get(name)) for name in ("ms_played", "duration_ms")},
        }
        for second, fields in plays
    ]


def _play_row(zone: Zone, play: StoredPlay, open_second: int | None) -> TimelineRow:
    second, fields = play
    ended = ending(fields, is_now=second == open_second)
    return (
        format_time(zone, second),
        format_title(fields),
        progress_words(fields),
        ended,
        fields.get("device_name", ""),
    )


def _gap_row(zone: Zone, gap: Gap) -> TimelineRow:
    return format_time(zone, gap[0]), gap_words(gap), "", "gap", ""


def play_data(play: StoredPlay) -> dict[str, object]:
    """Return a play for JSON: its key and the fields of its hash, with numbers and booleans converted."""
    second, fields = play
    data: dict[str, object] = {"key": play_key(second), **fields}
    for name in fields.keys() & _NUMBERS:
        data[name] = whole_number(fields[name])
    for name in fields.keys() & BOOLEAN_FIELDS:
        data[name] = fields[name] == "1"
    return data


def progress_words(fields: Mapping[str, str]) -> str:
    """Format the time heard and the duration of an item: "3:35/5:45"."""
    heard, length = whole_number(fields.get("ms_played")), whole_number(fields.get("duration_ms"))
    return ("?" if heard is None else format_duration(heard)) + (
        "" if length is None else f"/{format_duration(length)}"
    )


def ending(fields: Mapping[str, str], *, is_now: bool) -> str:
    """Return how a play ended, or its current state: "finished", "found later", "playing"."""
    if fields.get("source") == BACKFILL:
        return FOUND_LATER
    if "end_reason" in fields:
        return ENDINGS.get(fields["end_reason"], fields["end_reason"])
    if not is_now:
        return "open"
    return "playing" if fields.get("playing") == "1" else "paused"
