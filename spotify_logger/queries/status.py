"""Answer `status` and `now`: whether the logger is alive and well, and what is playing."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from spotify_logger import __version__
from spotify_logger.core.display import format_duration, format_title
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.times import from_iso
from spotify_logger.queries.gaps import Gap, ending_after, gap_data, gaps_words
from spotify_logger.queries.health import (
    LATE_AFTER,
    LoggerEvidence,
    is_login_expired,
    is_overdue,
    problems,
    status_time,
    unobserved_since,
    why_unknown,
)
from spotify_logger.queries.timeline import StoredPlay, ending, play_data, progress_words
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import DAY, counted, local_time, rough_duration, utc_time
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.outbox import OUTBOX_FILE, count_waiting
from spotify_logger.storage.persistence import FORGETS
from spotify_logger.storage.store import StoreError
from spotify_logger.system import lock_file
from spotify_logger.system.log import sanitize

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spotify_logger.config.settings import Settings

UNNAMED = "(no name)"
"""Stands for the listener without a name."""
GAP_DAYS = 30
"""Days of gaps that the status shows."""


def status(store: Archive, now: float, max_poll_interval: float, state_dir: Path | None = None) -> Answer:
    """Report whether the logger is alive and well; exit code 1 if not.

    Args:
        store: The log.
        now: Seconds since the epoch.
        max_poll_interval: Longest interval between two polls, in seconds.
        state_dir: The state folder of a logger on this machine, readable or not.
    """
    try:
        about = store.where, store.version(), store.gaps()
        fields, last = store.read_status(), store.latest_play()
        evidence = _evidence(store, fields, now, state_dir)
    except StoreError as error:
        evidence = _local_evidence(LoggerEvidence(refusal=str(error)), state_dir)
        wrong = problems({}, now, max_poll_interval, evidence)
        nothing = _status_data(_LoggerState({}, None, store.where, "", [], evidence), None, now)
        data = {"well": False, "problems": wrong, **nothing, "redis": None}
        return Answer(data, [f"NOT WELL: {'; '.join(wrong)}"], code=1)
    found = _LoggerState(fields, last, *about, evidence)
    wrong = problems(fields, now, max_poll_interval, evidence)
    # A logger that cannot write may still be polling.
    is_current = not evidence.refusal or evidence.is_running is False
    since = unobserved_since(fields, now, max_poll_interval) if is_current else None
    data = {"well": not wrong, "problems": wrong, **_status_data(found, since, now)}
    health = ("health", "NOT WELL: " + "; ".join(wrong) if wrong else "well")
    rows = [health, *_status_rows(found, since, now)]
    return Answer(data, [Table([row for row in rows if row[1]])], code=bool(wrong))


def _evidence(
    store: Archive, fields: Mapping[str, str], now: float, state_dir: Path | None
) -> LoggerEvidence:
    refusal = store.write_refusal()
    if refusal is not None and refusal.codes == {"READONLY"} and not is_overdue(fields, now):
        refusal = None  # a replica in sync is fine to read from
    found = LoggerEvidence("" if refusal is None else str(refusal), store.standby_machine())
    return _local_evidence(found, state_dir)


def _local_evidence(found: LoggerEvidence, state_dir: Path | None) -> LoggerEvidence:
    """Add what the state folder of the logger shows."""
    if state_dir is None:
        return found
    waiting = count_waiting(state_dir / OUTBOX_FILE) if found.refusal else None
    return replace(found, is_running=lock_file.is_held(state_dir), waiting=waiting)


def statuses(settings: Settings, now: float) -> Answer:
    """Report whether the loggers of all listeners are alive and well; exit code 1 if one is not.

    Args:
        settings: The settings of any of the listeners.
        now: Seconds since the epoch.
    """
    with closing(Archive(settings.redis_url, settings.redis_prefix, listener=settings.listener)) as store:
        try:
            names = store.listeners()
        except StoreError:
            return status(store, now, 2 * settings.poll_max, settings.state_dir)
    if not names:
        return Answer({"listeners": []}, ["No logger has written to this Redis yet."], code=1)
    answers = {}
    for name in names:
        theirs = settings.for_listener(name)
        with closing(Archive(settings.redis_url, theirs.redis_prefix)) as store:
            answers[name] = status(store, now, 2 * settings.poll_max, theirs.state_dir)
    return Answer(
        {"listeners": [{"name": name, **_of(answer)} for name, answer in answers.items()]},
        [Table([_line(name, _of(answer)) for name, answer in answers.items()], flexible=2)],
        code=max(answer.code for answer in answers.values()),
    )


def _of(answer: Answer) -> Mapping[str, Any]:
    data: Any = answer.data
    return cast("Mapping[str, Any]", data)


def _line(name: str, data: Mapping[str, Any]) -> tuple[str, str, str]:
    wrong = "; ".join(data["problems"])
    return name or UNNAMED, "well" if data["well"] else "NOT WELL", wrong or data["state"] or ""


@dataclass(frozen=True, slots=True)
class _LoggerState:
    """What is known of the logger: its status in Redis, the server, and other evidence."""

    fields: Mapping[str, str]
    last: StoredPlay | None
    where: str
    server: str
    gaps: list[Gap]
    evidence: LoggerEvidence

    @property
    def waiting(self) -> int | None:
        """The number of plays waiting in the outbox; None if unknown."""
        seen = self.evidence.waiting
        return whole_number(self.fields.get("outbox")) if seen is None else seen

    def recent_gaps(self, since: float | None, now: float) -> list[Gap]:
        """Return the gaps of the last days, without the current one."""
        gaps = ending_after(self.gaps, now - GAP_DAYS * DAY)
        return [gap for gap in gaps if since is None or gap[0] < int(since)]

    def gap_reason(self, since: float) -> str:
        """Return the reason of the current gap after a comma; "" if none is recorded."""
        return next((f", {reason}" for begin, _, reason in self.gaps if begin >= int(since)), "")


def _status_data(found: _LoggerState, since: float | None, now: float) -> dict[str, object]:
    fields = found.fields
    return {
        "state": fields.get("state"),
        "last_poll": utc_time(status_time(fields, "last_poll")),
        "next_poll": utc_time(status_time(fields, "next_poll")),
        "blind_since": utc_time(since),
        "last_play": None if found.last is None else play_data(found.last),
        f"gaps_{GAP_DAYS}_days": [gap_data(gap) for gap in found.recent_gaps(since, now)],
        "login": "needed" if is_login_expired(fields, now) else fields.get("login"),
        "login_valid_until": utc_time(status_time(fields, "login_valid_until")),
        "requests_24h": whole_number(fields.get("requests_24h")),
        "outbox": found.waiting,
        "outbox_trouble": fields.get("outbox_trouble"),
        "redis": {
            "address": found.where,
            "version": found.server,
            "persistence": fields.get("persistence"),
            "restored_plays": whole_number(fields.get("restored_plays")),
            "restored_at": utc_time(status_time(fields, "restored_at")),
            "restored_why": fields.get("restored_why"),
        },
        "machine": fields.get("machine"),
        "standby": found.evidence.standby or None,
        "running_here": found.evidence.is_running,
        "version": fields.get("version"),
        "command_version": __version__,
        "pid": whole_number(fields.get("pid")),
    }


def _status_rows(found: _LoggerState, since: float | None, now: float) -> list[tuple[str, str]]:
    fields, last = found.fields, found.last
    requests = whole_number(fields.get("requests_24h"))
    waiting = found.waiting or 0
    standby = found.evidence.standby
    machine = "" if is_overdue(fields, now, LATE_AFTER) else f"{fields.get('machine', '?')}; "
    running = fields.get("version")
    return [
        ("did last" if is_overdue(fields, now) else "doing", fields.get("state", "")),
        ("last poll", _past(status_time(fields, "last_poll"), now)),
        ("blind", "" if since is None else f"since {local_time(since)}{found.gap_reason(since)}"),
        (
            "last play",
            ""
            if last is None
            else f"{local_time(last[0])} {format_title(last[1])}, {progress_words(last[1])}",
        ),
        ("gaps", gaps_words(found.recent_gaps(since, now), GAP_DAYS, now - GAP_DAYS * DAY)),
        ("login", _login(fields, now)),
        ("requests", "" if requests is None else f"{requests:,} in 24 hours"),
        ("outbox", f"{counted(waiting, 'play')} not yet in Redis" if waiting else ""),
        ("machine", f"{machine}{standby} is on standby" if standby else ""),
        ("Redis", f"{found.server} at {found.where}{_kept_in(fields)}"),
        ("restored", _restored(fields)),
        (
            "version",
            __version__
            if running in (None, __version__)
            else f"{running} is running, this command is {__version__}",
        ),
    ]


def now_playing(
    store: Archive, now: float, max_poll_interval: float, state_dir: Path | None = None
) -> Answer:
    """Report what is playing, with its estimated current position; exit code 1 if unknown.

    Args:
        store: The log.
        now: Seconds since the epoch.
        max_poll_interval: Longest interval between two polls, in seconds.
        state_dir: The state folder of a logger on this machine, readable or not.
    """
    status_fields = store.read_status()
    second = store.now_playing()
    fields = None if second is None else store.play(second)
    # Without a status, trust the key: it expires by itself.
    is_vouched_for = fields is not None and not (status_fields and is_overdue(status_fields, now))
    if not is_vouched_for and why_unknown(status_fields, now, max_poll_interval):
        why = why_unknown(
            status_fields, now, max_poll_interval, _evidence(store, status_fields, now, state_dir)
        )
        return _unknown(status_time(status_fields, "last_poll"), why)
    if second is None or fields is None:
        return Answer({"now": None, "unknown_since": None, "problem": None}, ["Nothing is playing."])
    position = _position(fields, now)
    data = {**play_data((second, fields)), "position_ms": position}
    length = whole_number(fields.get("duration_ms"))
    at = (
        ""
        if position is None
        else format_duration(position) + ("" if length is None else f"/{format_duration(length)}")
    )
    row = (ending(fields, is_now=True), format_title(fields), at, fields.get("device_name", ""))
    known = {"now": data, "unknown_since": None, "problem": None}
    return Answer(known, [Table([row], right_aligned=[2])])


def _unknown(ending_after: float | None, why: str) -> Answer:
    data = {"now": None, "unknown_since": utc_time(ending_after), "problem": why}
    return Answer(
        data,
        [f"Unknown{'' if ending_after is None else f' since {local_time(ending_after)}'}: {why}"],
        code=1,
    )


def _past(second: float | None, now: float) -> str:
    return (
        "never" if second is None else f"{rough_duration(max(0.0, now - second))} ago, {local_time(second)}"
    )


def _login(fields: Mapping[str, str], now: float) -> str:
    if fields.get("login") == "needed":
        return "needed"
    until = status_time(fields, "login_valid_until")
    if until is None:
        return "unknown"
    return (
        f"valid for {rough_duration(until - now)}, until {local_time(until)}"
        if until > now
        else f"expired on {local_time(until)}"
    )


def _restored(fields: Mapping[str, str]) -> str:
    """Describe how many plays Redis had lost and the logger has written again, when and why."""
    plays, at = whole_number(fields.get("restored_plays")), status_time(fields, "restored_at")
    if not plays or at is None:
        return ""
    why = sanitize(fields.get("restored_why", ""))
    return f"{counted(plays, 'play')} that Redis had lost, written again on {local_time(at)}: {why}"


def _kept_in(fields: Mapping[str, str]) -> str:
    """Describe the persistence of Redis as the logger has recorded it, with a comma before it."""
    kept = fields.get("persistence", "")
    return ", not saved to disk" if kept == FORGETS else kept and f", {kept}"


def _position(fields: Mapping[str, str], now: float) -> int | None:
    """Estimate the current position in the item, in milliseconds, from that at the last poll (`ended_at`)."""
    position, seen = whole_number(fields.get("progress_ms")), from_iso(fields.get("ended_at", ""))
    if position is None or seen is None or fields.get("playing") != "1":
        return position
    position += max(0, round(now * 1000) - seen)
    length = whole_number(fields.get("duration_ms"))
    return position if length is None else min(position, length)
