"""Plays in order of time and the gaps between them: the newest, those of a day, and of this day years ago."""

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
from spotify_logger.queries.gaps import Gap, gap_data, gap_words, since
from spotify_logger.queries.phrases import called, moment, nothing
from spotify_logger.queries.ranking import ranked
from spotify_logger.queries.reader import Reading
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import counted, listened, utc_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from spotify_logger.core.periods import Zone
    from spotify_logger.queries.question import Question
    from spotify_logger.report.csv_output import Row as SheetRow
    from spotify_logger.storage.store import Store

FOUND_LATER = "found later"
"""How a play ended that nobody saw: there is only a guess."""
ENDINGS = {"trackdone": "finished", "skipped": "skipped", "stopped": "stopped", "unknown": "unknown"}
HEADINGS = ("when", "what", "heard", "ended", "device")
_NUMBERS = INTEGER_FIELDS | {"ms_played"}
_SHEET_TEXTS = ("name", "artists", "album", "end_reason", "device_name", "source", "uri")
FIRST_YEAR = 2006
"""Spotify is no older."""

Play = tuple[int, Mapping[str, str]]
"""The second that names a play's key, and its hash."""
Row = tuple[str, str, str, str, str]
"""When it began, what it was, how much of it was heard, how it ended, and on which device."""


class Memory(TypedDict):
    """What was played on a day of another year: how much, and what most."""

    day: str
    plays: int
    heard_ms: int
    most: str
    key: str


def recent(store: Store, question: Question) -> Answer:
    """The newest plays, newest first, and the gaps between them and since."""
    asked = question.stretch
    is_all = asked.begin is None and asked.end is None
    plays: list[Play] = [*store.recent(question.number)] if is_all else _newest(store, question)
    if not plays:
        return Answer([], [nothing(asked)])
    gaps = [gap for gap in since(store.gaps(), plays[-1][0]) if asked.end is None or gap[0] < asked.end]
    lines = _lines(store, question.zone, plays, gaps)
    lines.reverse()
    return Answer([data for *_, data in lines], [_table(lines)], sheet=_sheet(plays))


def day(store: Store, question: Question, which: date) -> Answer:
    """A local day from its first play to its last, with its gaps."""
    asked = periods.day(question.zone, which)
    reading = Reading(store.archive(), question)
    sums, seconds = Totals(), []
    for rows, counts in reading.days(asked):
        sums.add(rows, counts)
        seconds += rows.seconds
    plays: list[Play] = list(reading.archive.plays(seconds))
    begin, end = asked.begin or 0, min(asked.end or 0, int(question.now))
    gaps = [gap for gap in store.gaps() if gap[1] > begin and gap[0] < end]
    lines = _lines(store, question.zone, plays, gaps)
    data = {
        "day": which.isoformat(),
        "plays": sums.plays,
        "heard_ms": sums.ms_played,
        "timeline": [data for *_, data in lines],
    }
    if not lines:
        return Answer(data, [nothing(asked)])
    in_all = f"{counted(sums.plays, 'play')} {question.rule_words}, {listened(sums.ms_played)} heard"
    return Answer(data, [_table(lines), f"{which:%A}, {which}: {in_all}"], sheet=_sheet(plays))


def on_this_day(store: Store, question: Question) -> Answer:
    """What was played on this day of the calendar in other years, the latest first."""
    today = question.today
    reading = Reading(store.archive(), question)
    found = [_remembered(reading, when) for when in _same_days(today)]
    memories = [memory for memory in found if memory]
    if not memories:
        return Answer([], [f"Nothing is known of a {today:%-d %B} before this one."])
    rows = [
        (memory["day"], memory["most"], f"{memory['plays']:,}", listened(memory["heard_ms"]))
        for memory in memories
    ]
    page = [Table(rows, ("day", "most played", "plays", "heard"), [2, 3])]
    return Answer(memories, page, sheet=[_memory_row(memory) for memory in memories])


def _memory_row(memory: Memory) -> SheetRow:
    return {
        "day": memory["day"],
        "plays": memory["plays"],
        "heard_ms": memory["heard_ms"],
        "most": memory["most"],
    }


def _same_days(today: date) -> Iterable[date]:
    """The same day of all years back to the first; 29 February has one every four years."""
    for year in range(today.year - 1, FIRST_YEAR - 1, -1):
        try:
            yield today.replace(year=year)
        except ValueError:
            continue


def _remembered(reading: Reading, when: date) -> Memory | None:
    tallies, sums = ItemCounts(), Totals()
    for rows, counts in reading.days(periods.day(reading.question.zone, when)):
        tallies.add(rows, counts)
        sums.add(rows, counts)
    if not sums.rows:
        return None
    entries = reading.entries(tallies.heard)
    groups = {key: [recording_key(key, entry.isrc, exact=False)] for key, entry in entries.items()}
    best = ranked(tallies, groups, reading.question.by, counted=False)[0].keys[0]
    most = called(best, entries[best])
    return Memory(day=str(when), plays=sums.plays, heard_ms=sums.ms_played, most=most, key=best)


def _newest(store: Store, question: Question) -> list[Play]:
    archive, asked = store.archive(), question.stretch
    seconds: deque[int] = deque(maxlen=question.number)
    for rows, _ in Reading(archive, question).days(asked):
        seconds.extend(rows.seconds)
    return list(archive.plays(reversed(seconds)))


def _lines(
    store: Store, zone: Zone, plays: Iterable[Play], gaps: Iterable[Gap]
) -> list[tuple[int, Row, dict[str, object]]]:
    """Plays and gaps in order of time, for people and for programs."""
    open_second = store.now_playing()
    lines: list[tuple[int, Row, dict[str, object]]] = [
        (play[0], _play_row(zone, play, open_second), play_data(play)) for play in plays
    ]
    lines += [(gap[0], _gap_row(zone, gap), {"gap": gap_data(gap)}) for gap in gaps]
    return sorted(lines, key=itemgetter(0))


def _table(lines: Sequence[tuple[int, Row, object]]) -> Table:
    return Table([row for _, row, _ in lines], HEADINGS, [2])


def _sheet(plays: Iterable[Play]) -> list[SheetRow]:
    return [
        {
            "started": utc_time(second),
            **{name: fields.get(name) for name in _SHEET_TEXTS},
            **{name: whole_number(fields.get(name)) for name in ("ms_played", "duration_ms")},
        }
        for second, fields in plays
    ]


def _play_row(zone: Zone, play: Play, open_second: int | None) -> Row:
    second, fields = play
    ended = ending(fields, is_now=second == open_second)
    return (
        moment(zone, second),
        format_title(fields),
        heard_words(fields),
        ended,
        fields.get("device_name", ""),
    )


def _gap_row(zone: Zone, gap: Gap) -> Row:
    return moment(zone, gap[0]), gap_words(gap), "", "gap", ""


def play_data(play: Play) -> dict[str, object]:
    """A play for programs: its hash with numbers and flags as such, and its key."""
    second, fields = play
    data: dict[str, object] = {"key": play_key(second), **fields}
    for name in fields.keys() & _NUMBERS:
        data[name] = whole_number(fields[name])
    for name in fields.keys() & BOOLEAN_FIELDS:
        data[name] = fields[name] == "1"
    return data


def heard_words(fields: Mapping[str, str]) -> str:
    """How much of it: "3:35/5:45"."""
    heard, length = whole_number(fields.get("ms_played")), whole_number(fields.get("duration_ms"))
    return ("?" if heard is None else format_duration(heard)) + (
        "" if length is None else f"/{format_duration(length)}"
    )


def ending(fields: Mapping[str, str], *, is_now: bool) -> str:
    """How a play ended, or what it does at this moment: "finished", "found later", "playing"."""
    if fields.get("source") == BACKFILL:
        return FOUND_LATER
    if "end_reason" in fields:
        return ENDINGS.get(fields["end_reason"], fields["end_reason"])
    if not is_now:
        return "open"
    return "playing" if fields.get("playing") == "1" else "paused"
