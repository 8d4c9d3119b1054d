"""Show the results of `queries.timeline`."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from spotify_logger.core.display import format_duration, format_title
from spotify_logger.core.play import BACKFILL
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.redis_keys import second_of_key
from spotify_logger.core.times import seconds_of, utc_time
from spotify_logger.queries.timeline import DayTimeline, GapLine, Memories, Timeline
from spotify_logger.report.answers import blocks, csv_rows, to_json
from spotify_logger.report.blocks import Block, Note, Table
from spotify_logger.report.cells import heard
from spotify_logger.report.phrases import format_time, nothing_played
from spotify_logger.report.words import counted, exact_duration, listening_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spotify_logger.core.periods import Zone
    from spotify_logger.queries.question import Question
    from spotify_logger.queries.timeline import PlayData
    from spotify_logger.report.csv_output import CsvRow

ENDINGS = {"trackdone": "finished"}
CSV_FIELDS = (
    "name", "artists", "album", "end_reason", "device_name", "source", "uri", "ms_played", "duration_ms",
)  # fmt: skip


@blocks.register(Timeline)
def _(result: Timeline, question: Question) -> list[Block]:
    if not result.lines:
        return [nothing_played(question.period)]
    rows = [_row(question.zone, line, result.now_playing) for line in result.lines]
    return [Table(rows, ("when", "what", "heard", "ended", "device"), [2])]


@blocks.register(DayTimeline)
def _(result: DayTimeline, question: Question) -> list[Block]:
    if not result.timeline.lines:
        return [Note(f"Nothing was played: {result.day}.")]
    plays = f"{counted(result.plays, 'play')} {question.rule_words}, {listening_time(result.heard_ms)} heard"
    note = Note(f"{date.fromisoformat(result.day):%A}, {result.day}: {plays}")
    return [*blocks(result.timeline, question), note]


@blocks.register(Memories)
def _(result: Memories, question: Question) -> list[Block]:
    if not result.days:
        return [Note(f"Nothing was logged on {question.today:%-d %B} in earlier years.")]
    rows = [(day.day, day.most, day.plays, heard(day.heard_ms)) for day in result.days]
    return [Table(rows, ("day", "most played", "plays", "heard"), [2, 3])]


@csv_rows.register(Timeline)
def _(result: Timeline) -> list[CsvRow]:
    plays = [line for line in result.lines if not isinstance(line, GapLine)]
    return [
        {"started": utc_time(_second(play))} | {name: play.get(name) for name in CSV_FIELDS} for play in plays
    ]


@csv_rows.register(DayTimeline)
def _(result: DayTimeline) -> list[CsvRow]:
    return list(csv_rows(result.timeline))


@csv_rows.register(Memories)
def _(result: Memories) -> list[CsvRow]:
    return [
        {"day": day.day, "plays": day.plays, "heard_ms": day.heard_ms, "most": day.most}
        for day in result.days
    ]


@to_json.register(Timeline)
def _(value: Timeline) -> list[Any]:
    return [to_json(line) for line in value.lines]


@to_json.register(Memories)
def _(value: Memories) -> list[Any]:
    return [to_json(day) for day in value.days]


def _row(zone: Zone, line: PlayData | GapLine, now_playing: str) -> tuple[str, str, str, str, str]:
    """Return when a play or gap began, what it was, and how much of it was heard, how it ended, and where."""
    if isinstance(line, GapLine):
        begin, end = seconds_of(line.gap.from_ or ""), seconds_of(line.gap.to or "")
        length = exact_duration((end or 0) - (begin or 0))
        return format_time(zone, begin), f"({line.gap.reason} for {length})", "", "gap", ""
    when, what = format_time(zone, _second(line)), format_title(line)
    ended = ending(line, is_now=line["key"] == now_playing)
    return when, what, progress(line), ended, str(line.get("device_name", ""))


def _second(play: PlayData) -> int | None:
    return second_of_key(str(play["key"]))


def progress(play: Mapping[str, object]) -> str:
    """Format the time heard and the duration of an item: "3:35/5:45"."""
    done, length = whole_number(play.get("ms_played")), whole_number(play.get("duration_ms"))
    words = "?" if done is None else format_duration(done)
    return words if length is None else f"{words}/{format_duration(length)}"


def ending(play: PlayData, *, is_now: bool) -> str:
    """Return how a play ended, or its current state: "finished", "found later", "playing"."""
    if play.get("source") == BACKFILL:
        return "found later"  # its actual end reason is unknown
    if "end_reason" in play:
        return ENDINGS.get(str(play["end_reason"]), str(play["end_reason"]))
    if not is_now:
        return "open"
    return "playing" if play.get("playing") else "paused"
