"""Answer `recent`, `day` and `on-this-day`: plays in chronological order, with the gaps between them."""

from __future__ import annotations

from calendar import isleap
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from spotify_logger.core import periods
from spotify_logger.core.catalog import recordings
from spotify_logger.core.display import format_duration, format_title
from spotify_logger.core.play import BACKFILL
from spotify_logger.core.player_state import BOOLEAN_FIELDS, INTEGER_FIELDS, whole_number
from spotify_logger.core.redis_keys import FIRST_DAY, play_key
from spotify_logger.core.statistics import ItemCounts, Totals
from spotify_logger.queries.phrases import format_time, item_title, nothing_played
from spotify_logger.queries.ranking import ranked
from spotify_logger.queries.reader import PlayReader
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import counted, exact_duration, listening_time, utc_time

if TYPE_CHECKING:
    from datetime import date

    from spotify_logger.core.periods import Zone
    from spotify_logger.queries.question import Question
    from spotify_logger.report.csv_output import CsvRow
    from spotify_logger.storage.bulk import Archive

ENDINGS = {"trackdone": "finished", "skipped": "skipped", "stopped": "stopped", "unknown": "unknown"}

StoredPlay = tuple[int, Mapping[str, str]]
"""The second in the key of a play, and the fields of its hash."""
Gap = tuple[int, int, str]
"""Begin and end in whole seconds since the epoch, and the reason."""
TimelineLine = tuple[int, tuple[str, str, str, str, str], dict[str, object]]
"""The second of a play or a gap; start, title, progress, ending and device for people; the line for JSON."""


def recent(store: Archive, question: Question) -> Answer:
    """List the most recent plays, newest first, with the gaps between and after them."""
    period = question.period
    plays: list[StoredPlay]
    if period.begin is None and period.end is None:
        plays = [*store.recent(question.limit)]
    else:
        seconds: deque[int] = deque(maxlen=question.limit)
        for rows, _ in PlayReader(store, question).days():
            seconds.extend(rows.seconds)
        plays = [*store.plays(reversed(seconds))]
    if not plays:
        return Answer([], [nothing_played(period)])
    oldest = plays[-1][0]
    gaps = [gap for gap in store.gaps() if gap[1] > oldest and (period.end is None or gap[0] < period.end)]
    lines = _lines(store, question.zone, plays, gaps)[::-1]
    return Answer([data for *_, data in lines], [_table(lines)], csv_rows=_csv_rows(plays))


def day(store: Archive, question: Question, which: date) -> Answer:
    """List the plays of a local day in order, with the gaps between them."""
    period = periods.day(question.zone, which)
    sums, seconds = Totals(), []
    for rows, counts in PlayReader(store, question).days(period):
        sums.add(rows, counts)
        seconds += rows.seconds
    plays: list[StoredPlay] = list(store.plays(seconds))
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
    today, reader = question.today, PlayReader(store, question)
    is_leap_day = (today.month, today.day) == (2, 29)
    memories = [
        memory
        for year in range(today.year - 1, FIRST_DAY.year - 1, -1)
        if not is_leap_day or isleap(year)
        if (memory := _remembered(reader, today.replace(year=year)))
    ]
    if not memories:
        return Answer([], [f"Nothing was logged on {today:%-d %B} in earlier years."])
    rows = [
        (memory["day"], memory["most"], f"{memory['plays']:,}", listening_time(memory["heard_ms"]))
        for memory in memories
    ]
    csv_rows = [{name: memory[name] for name in ("day", "plays", "heard_ms", "most")} for memory in memories]
    return Answer(
        memories, [Table(rows, ("day", "most played", "plays", "heard"), [2, 3])], csv_rows=csv_rows
    )


def _remembered(reader: PlayReader, when: date) -> dict[str, Any] | None:
    """Return how much was played on a day, and what most, for JSON; None if nothing was."""
    tallies, sums = ItemCounts(), Totals()
    for rows, counts in reader.days(periods.day(reader.question.zone, when)):
        tallies.add(rows, counts)
        sums.add(rows, counts)
    if not sums.rows:
        return None
    entries = reader.entries(tallies.ms_played)
    groups = {key: [recording] for key, recording in recordings(entries, exact=False).items()}
    best = ranked(tallies, groups, reader.question.by, counted_only=False)[0].keys[0]
    amounts = {"plays": sums.plays, "heard_ms": sums.ms_played}
    return {"day": str(when), **amounts, "most": item_title(best, entries[best]), "key": best}


def _lines(
    store: Archive, zone: Zone, plays: Iterable[StoredPlay], gaps: Iterable[Gap]
) -> list[TimelineLine]:
    """Return plays and gaps in chronological order."""
    open_second = store.now_playing()
    lines: list[TimelineLine] = []
    for second, fields in plays:
        what = format_title(fields), progress_words(fields), ending(fields, is_now=second == open_second)
        row = (format_time(zone, second), *what, fields.get("device_name", ""))
        lines.append((second, row, play_data((second, fields))))
    for begin, end, reason in gaps:
        words = f"({reason} for {exact_duration(end - begin)})"
        row = (format_time(zone, begin), words, "", "gap", "")
        lines.append((begin, row, {"gap": gap_data((begin, end, reason))}))
    return sorted(lines, key=itemgetter(0))


def _table(lines: Sequence[TimelineLine]) -> Table:
    return Table([row for _, row, _ in lines], ("when", "what", "heard", "ended", "device"), [2])


def _csv_rows(plays: Iterable[StoredPlay]) -> list[CsvRow]:
    texts = ("name", "artists", "album", "end_reason", "device_name", "source", "uri")
    return [
        {
            "started": utc_time(second),
            **{name: fields.get(name) for name in texts},
            **{name: whole_number(fields.get(name)) for name in ("ms_played", "duration_ms")},
        }
        for second, fields in plays
    ]


def play_data(play: StoredPlay) -> dict[str, object]:
    """Return a play for JSON: its key and the fields of its hash, with numbers and booleans converted."""
    second, fields = play
    data: dict[str, object] = {"key": play_key(second), **fields}
    for name in fields.keys() & (INTEGER_FIELDS | {"ms_played"}):
        data[name] = whole_number(fields[name])
    for name in fields.keys() & BOOLEAN_FIELDS:
        data[name] = fields[name] == "1"
    return data


def gap_data(gap: Gap) -> dict[str, str | None]:
    """Return a gap for JSON."""
    begin, end, reason = gap
    return {"from": utc_time(begin), "to": utc_time(end), "reason": reason}


def progress_words(fields: Mapping[str, str]) -> str:
    """Format the time heard and the duration of an item: "3:35/5:45"."""
    heard, length = whole_number(fields.get("ms_played")), whole_number(fields.get("duration_ms"))
    words = "?" if heard is None else format_duration(heard)
    return words if length is None else f"{words}/{format_duration(length)}"


def ending(fields: Mapping[str, str], *, is_now: bool) -> str:
    """Return how a play ended, or its current state: "finished", "found later", "playing"."""
    if fields.get("source") == BACKFILL:
        return "found later"  # its actual end reason is unknown
    if "end_reason" in fields:
        return ENDINGS.get(fields["end_reason"], fields["end_reason"])
    if not is_now:
        return "open"
    return "playing" if fields.get("playing") == "1" else "paused"
