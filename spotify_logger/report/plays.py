"""Show the answers about plays and the logger: `recent`, `day`, `on-this-day`, `now` and `status`."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from spotify_logger.core.display import format_duration, format_title
from spotify_logger.core.play import BACKFILL
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.redis_keys import second_of_key
from spotify_logger.core.times import seconds_of, utc_time
from spotify_logger.monitoring.health import LATE_AFTER, OVERDUE_AFTER, describe_receiver
from spotify_logger.monitoring.status import GAP_SECONDS, UNNAMED, NowPlaying, Status, Statuses
from spotify_logger.queries.timeline import DayTimeline, GapLine, Memories, Timeline
from spotify_logger.report.answers import blocks, columns, csv_rows, nothing_played, to_json
from spotify_logger.report.blocks import Block, Note, Table
from spotify_logger.report.cells import heard
from spotify_logger.report.words import (
    DAY,
    counted,
    exact_duration,
    format_time,
    listening_time,
    local_period,
    local_time,
    rough_duration,
)
from spotify_logger.storage.redis_replies import FORGETS
from spotify_logger.system.log import sanitize

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spotify_logger.core.periods import Zone
    from spotify_logger.queries.question import Question
    from spotify_logger.report.csv_output import CsvRow
    from spotify_logger.storage.bulk import PlayData


# recent, day, on-this-day

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
    return [columns(day, ("day", "plays", "heard_ms", "most")) for day in result.days]


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


# status, now


@blocks.register(Status)
def _(result: Status, question: Question) -> list[Block]:
    health = "well" if result.well else f"NOT WELL: {'; '.join(result.problems)}"
    if result.redis is None:
        return [health]
    return [Table([row for row in [("health", health), *_rows(result, question.now)] if row[1]])]


@blocks.register(Statuses)
def _(result: Statuses, question: Question) -> list[Block]:  # noqa: ARG001 - they need no period
    if not result.listeners:
        return ["No logger has written to this Redis yet."]
    names = [each.name or UNNAMED for each in result.listeners]
    health = ["well" if each.well else "NOT WELL" for each in result.listeners]
    states = ["; ".join(each.problems) or each.state or "" for each in result.listeners]
    return [Table(list(zip(names, health, states, strict=True)), flexible=2)]


@blocks.register(NowPlaying)
def _(result: NowPlaying, question: Question) -> list[Block]:  # noqa: ARG001 - it needs no period
    play = result.now
    if result.problem:
        since = seconds_of(result.unknown_since or "")
        return [f"Unknown{'' if since is None else f' since {local_time(since)}'}: {result.problem}"]
    if play is None:
        return ["Nothing is playing."]
    position, length = (whole_number(play.get(name)) for name in ("position_ms", "duration_ms"))
    at = "" if position is None else format_duration(position)
    if at and length is not None:
        at += f"/{format_duration(length)}"
    row = (ending(play, is_now=True), format_title(play), at, str(play.get("device_name", "")))
    return [Table([row], right_aligned=[2])]


def _rows(result: Status, now: float) -> list[tuple[str, str]]:
    """Return the state for people; what is unknown or normal is blank."""
    redis, last = result.redis, result.last_play
    if redis is None:
        return []
    due, polled, since = (
        seconds_of(each or "") for each in (result.next_poll, result.last_poll, result.blind_since)
    )
    is_overdue, is_late = (due is None or now > due + patience for patience in (OVERDUE_AFTER, LATE_AFTER))
    machine = "" if is_late else f"{result.machine or '?'}; "
    kept = "not saved to disk" if redis.persistence == FORGETS else redis.persistence or ""
    version = result.version or result.command_version
    if version != result.command_version:
        version = f"{version} is running, this command is {result.command_version}"
    last_poll, last_play = "never", ""
    if polled is not None:
        last_poll = f"{rough_duration(max(0.0, now - polled))} ago, {local_time(polled)}"
    if last is not None:
        begun = second_of_key(str(last["key"])) or 0
        last_play = f"{local_time(begun)} {format_title(last)}, {progress(last)}"
    blind = "" if since is None else f"since {local_time(since)}"
    if blind and result.blind_reason:
        blind += f", {result.blind_reason}"
    waiting, requests = result.outbox, result.requests_24h
    return [
        ("did last" if is_overdue else "doing", result.state or ""),
        ("last poll", last_poll),
        ("no data", blind),
        ("last play", last_play),
        ("gaps", _gaps(result, now)),
        ("login", _login(result, now)),
        ("requests", "" if requests is None else f"{requests:,} in 24 hours"),
        ("outbox", f"{counted(waiting, 'play')} not yet in Redis" if waiting else ""),
        *(("forwarding", f"{each.host}: {describe_receiver(each)}") for each in result.forwarding),
        ("machine", f"{machine}{result.standby} is on standby" if result.standby else ""),
        ("Redis", f"{redis.version} at {redis.address}{kept and f', {kept}'}"),
        ("restored", _restored(result)),
        ("version", version),
    ]


def _gaps(result: Status, now: float) -> str:
    if not result.gaps_30_days:
        return ""
    spans = [
        (seconds_of(gap.from_ or "") or 0.0, seconds_of(gap.to or "") or 0.0) for gap in result.gaps_30_days
    ]
    in_all = exact_duration(sum(int(end - max(begin, now - GAP_SECONDS)) for begin, end in spans))
    last = f"{local_period(*spans[-1])}, {result.gaps_30_days[-1].reason}"
    return f"{len(spans):,} in {GAP_SECONDS // DAY} days, {in_all} in all; the last {last}"


def _login(result: Status, now: float) -> str:
    until = seconds_of(result.login_valid_until or "")
    if until is not None and until <= now:
        return f"expired on {local_time(until)}"
    if result.login == "needed":
        return "needed"
    return (
        "unknown" if until is None else f"valid for {rough_duration(until - now)}, until {local_time(until)}"
    )


def _restored(result: Status) -> str:
    """Describe how many plays Redis had lost and the logger has written again, and when and why."""
    redis = result.redis
    at = seconds_of((redis and redis.restored_at) or "")
    if redis is None or not redis.restored_plays or at is None:
        return ""
    plays, why = counted(redis.restored_plays, "play"), sanitize(redis.restored_why or "")
    return f"{plays} that Redis had lost, written again on {local_time(at)}: {why}"
