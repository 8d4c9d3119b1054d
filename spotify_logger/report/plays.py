"""Show the answers about plays and the logger: `recent`, `day`, `on-this-day`, `now` and `status`."""

from collections.abc import Mapping
from datetime import date
from functools import partial
from typing import Any

from spotify_logger.core.periods import Zone
from spotify_logger.core.play import BACKFILL, TRACKDONE, format_duration, format_title
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.redis_keys import second_of_key
from spotify_logger.core.times import seconds_of, utc_time
from spotify_logger.monitoring import status
from spotify_logger.queries.question import Question
from spotify_logger.queries.timeline import DayTimeline, Memories, Timeline
from spotify_logger.report import answers, words
from spotify_logger.report.answers import Block, CsvRow, Note, Table, blocks, csv_rows, to_json
from spotify_logger.report.words import counted, exact_duration, format_time, heard, rough_duration
from spotify_logger.storage.client import FORGETS
from spotify_logger.system.log import sanitize

NAMES = ("name", "artists", "album", "end_reason", "device_name", "source", "uri", "ms_played", "duration_ms")
local_time = partial(format_time, Zone())  # the status has no --tz


@blocks.register(Timeline)
def _(result: Timeline, question: Question) -> list[Block]:
    if not result.lines:
        return [answers.nothing_played(question.period)]
    rows = [_row(question.zone, line, result.now_playing) for line in result.lines]
    return [Table(rows, ("when", "what", "heard", "ended", "device"), [2])]


@blocks.register(DayTimeline)
def _(result: DayTimeline, question: Question) -> list[Block]:
    if not result.timeline.lines:
        return [Note(f"No plays on {result.day}.")]
    plays = f"{counted(result.plays, 'play')} {question.rule_words}"
    day = f"{date.fromisoformat(result.day):%A}, {result.day}"
    note = f"{day}: {plays}, {words.listening_time(result.heard_ms)} heard"
    return [*blocks(result.timeline, question), Note(note)]


@blocks.register(Memories)
def _(result: Memories, _: Question) -> list[Block]:
    if not result.lines:
        return [Note(f"Nothing was logged on {result.date:%-d %B} in earlier years.")]
    rows = [(day.day, day.most, day.plays, heard(day.heard_ms)) for day in result.lines]
    return [Table(rows, ("day", "most played", "plays", "heard"), [2, 3])]


@csv_rows.register
def _(result: Timeline | DayTimeline) -> list[CsvRow]:
    timeline = result.timeline if isinstance(result, DayTimeline) else result
    return [
        {"started": utc_time(second_of_key(line["key"]))} | {name: line.get(name) for name in NAMES}
        for line in timeline.lines
        if "gap" not in line
    ]


def _row(zone: Zone, line: Mapping[str, Any], now_playing: str) -> tuple[str, str, str, str, str]:
    """Return when a play or gap began, what it was, and how much of it was heard, how it ended, and where."""
    if gap := line.get("gap"):
        begin, end = seconds_of(gap["from"]) or 0, seconds_of(gap["to"]) or 0
        what = f"({gap['reason']} for {exact_duration(end - begin)})"
        return format_time(zone, begin), what, "", "gap", ""
    when, ended = second_of_key(line["key"]), ending(line, is_now=line["key"] == now_playing)
    device, ended = str(line.get("device_name", "")), f"{ended}, hidden" if "hidden" in line else ended
    return format_time(zone, when), format_title(line), _progress(line, "ms_played"), ended, device


def _progress(play: Mapping[str, object], name: str) -> str:
    """Format the time heard, or the position, and the duration of an item: "3:35/5:45"."""
    done, length = whole_number(play.get(name)), whole_number(play.get("duration_ms"))
    text = "?" if done is None else format_duration(done)
    return text if length is None else f"{text}/{format_duration(length)}"


def ending(play: Mapping[str, Any], *, is_now: bool) -> str:
    """Return how a play ended, or its current state: "finished", "found later", "playing"."""
    if play.get("source") == BACKFILL:
        return "found later"  # its actual end reason is unknown
    if reason := play.get("end_reason"):
        return "finished" if reason == TRACKDONE else str(reason)
    if not is_now:
        return "open"
    return "playing" if play.get("playing") else "paused"


@blocks.register(status.NowPlaying)
def _(result: status.NowPlaying, _: Question) -> list[Block]:
    play = result.now
    if result.problem:
        since = local_time(seconds_of(result.unknown_since))
        return [f"Unknown{since and f' since {since}'}: {result.problem}"]
    if play is None:
        return ["Nothing is playing."]
    at = "" if play.get("position_ms") is None else _progress(play, "position_ms")
    row = (ending(play, is_now=True), format_title(play), at, str(play.get("device_name", "")))
    return [Table([row], right_aligned=[2])]


@blocks.register(status.Statuses)
def _(result: status.Statuses, _: Question) -> list[Block]:
    if not result.listeners:
        return ["No logger has written to this Redis yet."]
    rows = []
    for name, each in result.listeners.items():
        health = "well" if each.well else "NOT WELL"
        rows.append((name or words.UNNAMED, health, "; ".join(each.problems) or each.state or ""))
    return [Table(rows, flexible=2)]


@to_json.register(status.Statuses)
def _(value: status.Statuses) -> dict[str, Any]:
    return {"listeners": [to_json(each) | {"name": name} for name, each in value.listeners.items()]}


@blocks.register(status.Status)
def _(result: status.Status, question: Question) -> list[Block]:
    health = "well" if result.well else f"NOT WELL: {'; '.join(result.problems)}"
    redis, last, offset = result.redis, result.last_play, result.clock_offset or 0
    if redis is None:
        return [health]
    now, ahead = question.now - offset, "ahead" if offset > 0 else "behind"
    times = (result.next_poll, result.last_poll, result.blind_since, result.copied_until)
    due, polled, since, copied = map(seconds_of, times)
    late = float("inf") if due is None else now - due
    machine = f"{result.machine or '?'}; " if late <= status.LATE_AFTER else ""
    kept = "not saved to disk" if redis["persistence"] == FORGETS else redis["persistence"]
    version, requests = result.version or result.command_version, result.requests_24h
    if version != result.command_version:
        version = f"{version} is running, this command is {result.command_version}"
    ago = "never" if polled is None else f"{rough_duration(max(0.0, now - polled))} ago, {local_time(polled)}"
    again, number = seconds_of(redis["restored_at"]), redis["restored_plays"]
    lost = f"{counted(number or 0, 'play')} that Redis had lost, written again on {local_time(again)}"
    begun = last and local_time(second_of_key(str(last["key"])))
    rows = [
        ("health", health),
        ("did last" if due and late > status.OVERDUE_AFTER else "doing", result.state),
        ("last poll", ago),
        ("no data", since and ", ".join(filter(None, (f"since {local_time(since)}", result.blind_reason)))),
        ("last play", last and f"{begun} {format_title(last)}, {_progress(last, 'ms_played')}"),
        ("gaps", _gaps(result, now)),
        ("login", _login(result, now)),
        ("requests", None if requests is None else f"{requests:,} in 24 hours"),
        ("outbox", result.outbox and f"{counted(result.outbox, 'play')} not yet in Redis"),
        *(("forwarding", f"{each.host}: {status.describe_receiver(each)}") for each in result.forwarding),
        ("clock", offset and f"{exact_duration(abs(offset))} {ahead}: set it, see `timedatectl`"),
        ("machine", result.standby and f"{machine}{result.standby} is on standby"),
        ("Redis", ", ".join(filter(None, (f"{redis['version']} at {redis['address']}", kept)))),
        ("restored", number and again and f"{lost}: {sanitize(redis['restored_why'] or '')}"),
        ("copy", copied and f"nothing since {local_time(copied)}: see the logger's log"),
        ("version", version),
    ]
    return [Table([(name, value) for name, value in rows if value])]


def _gaps(result: status.Status, now: float) -> str:
    gaps, since = result.gaps_30_days, now - status.GAP_SECONDS
    if not gaps:
        return ""
    spans = [(seconds_of(gap["from"]) or 0.0, seconds_of(gap["to"]) or 0.0) for gap in gaps]
    in_all = exact_duration(sum(int(end - max(begin, since)) for begin, end in spans))
    first, last = map(local_time, spans[-1])
    latest = f"{first} to {last.removeprefix(f'{first.split()[0]} ')}, {gaps[-1]['reason']}"
    return f"{len(spans):,} in {status.GAP_SECONDS // words.DAY} days, {in_all} in all; the last {latest}"


def _login(result: status.Status, now: float) -> str:
    until = seconds_of(result.login_valid_until)
    if until is not None and until <= now:
        return f"expired on {local_time(until)}"
    if until is None or result.login == "needed":
        return "needed" if result.login == "needed" else "unknown"
    return f"valid for {rough_duration(until - now)}, until {local_time(until)}"
