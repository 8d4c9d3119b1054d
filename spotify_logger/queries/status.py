"""Answer `status` and `now`: whether the logger is alive and well, and what is playing."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from spotify_logger import __version__
from spotify_logger.config.listeners import for_listener
from spotify_logger.core.display import format_duration, format_title
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.redis_keys import STATUS, play_key
from spotify_logger.core.times import from_iso
from spotify_logger.queries import health
from spotify_logger.queries.health import LoggerEvidence, is_overdue, status_time
from spotify_logger.queries.timeline import Gap, StoredPlay, ending, gap_data, play_data, progress_words
from spotify_logger.report import words
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import counted, local_time, rough_duration, utc_time
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.client import StoreError
from spotify_logger.storage.outbox import OUTBOX_FILE
from spotify_logger.storage.redis_replies import FORGETS
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


# Below, `now` is in seconds since the epoch, `max_interval` is the longest interval between two polls in
# seconds, and `state_dir` is the state folder of a logger on this machine, readable or not.


def status(store: Archive, now: float, max_interval: float, state_dir: Path | None = None) -> Answer:
    """Report whether the logger is alive and well; exit code 1 if not."""
    try:
        server, gaps = store.version(), store.gaps()
        fields, last = store.hash(STATUS), store.latest_play()
        evidence = _evidence(store, fields, now, state_dir)
    except StoreError as error:
        evidence = _local_evidence(str(error), "", state_dir)
        wrong = health.problems({}, now, max_interval, evidence)
        nothing = _LoggerState(now, {}, None, store.where, "", [], None, evidence)
        data = {"well": False, "problems": wrong, **nothing.data(), "redis": None}
        return Answer(data, [f"NOT WELL: {'; '.join(wrong)}"], code=1)
    wrong = health.problems(fields, now, max_interval, evidence)
    # A logger that cannot write may still be polling.
    is_current = not evidence.refusal or evidence.is_running is False
    since = health.unobserved_since(fields, now, max_interval) if is_current else None
    found = _LoggerState(now, fields, last, store.where, server, gaps, since, evidence)
    data = {"well": not wrong, "problems": wrong, **found.data()}
    rows = [("health", "NOT WELL: " + "; ".join(wrong) if wrong else "well"), *found.rows()]
    return Answer(data, [Table([row for row in rows if row[1]])], code=bool(wrong))


def _evidence(store: Archive, fields: Mapping[str, str], now: float, folder: Path | None) -> LoggerEvidence:
    refusal = store.write_refusal()
    if refusal is not None and refusal.codes == {"READONLY"} and not is_overdue(fields, now):
        refusal = None  # a replica in sync is fine to read from
    return _local_evidence("" if refusal is None else str(refusal), store.standby_machine(), folder)


def _local_evidence(refusal: str, standby: str, folder: Path | None) -> LoggerEvidence:
    """Add what the state folder of the logger shows."""
    if folder is None:
        return LoggerEvidence(refusal, standby)
    waiting = count_waiting(folder / OUTBOX_FILE) if refusal else None
    return LoggerEvidence(refusal, standby, lock_file.is_held(folder), waiting)


def count_waiting(outbox: Path) -> int | None:
    """Return the number of closed plays that wait in the outbox of a logger; None if it cannot be read."""
    address = f"{outbox.absolute().as_uri()}?mode=ro"
    with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True, timeout=1.0)) as database:
        query = "SELECT count(*) FROM plays WHERE safe = 0 AND closed = 1"
        return int(database.execute(query).fetchone()[0])
    return None


def statuses(settings: Settings, now: float) -> Answer:
    """Report whether the loggers of all listeners are alive and well; exit code 1 if one is not."""
    with closing(Archive(settings.redis_url, settings.redis_prefix, listener=settings.listener)) as store:
        try:
            names = store.listeners()
        except StoreError:
            return status(store, now, 2 * settings.poll_max, settings.state_dir)
    if not names:
        return Answer({"listeners": []}, ["No logger has written to this Redis yet."], code=1)
    listeners, rows, codes = [], [], []
    for name in names:
        theirs = for_listener(settings, name)
        with closing(Archive(settings.redis_url, theirs.redis_prefix)) as store:
            answer = status(store, now, 2 * settings.poll_max, theirs.state_dir)
        data: Any = answer.data
        wrong = "; ".join(data["problems"])
        listeners.append({"name": name, **data})
        rows.append((name or UNNAMED, "NOT WELL" if wrong else "well", wrong or data["state"] or ""))
        codes.append(answer.code)
    return Answer({"listeners": listeners}, [Table(rows, flexible=2)], code=max(codes))


class _LoggerState(NamedTuple):
    """What is known of the logger.

    Attributes:
        fields: Its status in Redis.
        where: The address of Redis.
        server: The name and the version of Redis.
        since: When Spotify stopped answering; None if it answers.
    """

    now: float
    fields: Mapping[str, str]
    last: StoredPlay | None
    where: str
    server: str
    gaps: list[Gap]
    since: float | None
    evidence: LoggerEvidence

    @property
    def waiting(self) -> int | None:
        """The number of plays waiting in the outbox; None if unknown."""
        seen = self.evidence.waiting
        return whole_number(self.fields.get("outbox")) if seen is None else seen

    @property
    def past_gaps(self) -> list[Gap]:
        """The gaps of the last `GAP_DAYS` days, without the current one."""
        gaps = [gap for gap in self.gaps if gap[1] > self.now - GAP_DAYS * words.DAY]
        return [gap for gap in gaps if self.since is None or gap[0] < int(self.since)]

    def data(self) -> dict[str, object]:
        fields, now = self.fields, self.now
        return {
            "state": fields.get("state"),
            "last_poll": utc_time(status_time(fields, "last_poll")),
            "next_poll": utc_time(status_time(fields, "next_poll")),
            "blind_since": utc_time(self.since),
            "last_play": None if self.last is None else play_data(self.last),
            f"gaps_{GAP_DAYS}_days": [gap_data(gap) for gap in self.past_gaps],
            "login": "needed" if health.is_login_expired(fields, now) else fields.get("login"),
            "login_valid_until": utc_time(status_time(fields, "login_valid_until")),
            "requests_24h": whole_number(fields.get("requests_24h")),
            "outbox": self.waiting,
            "outbox_trouble": fields.get("outbox_trouble"),
            "redis": {
                "address": self.where,
                "version": self.server,
                "persistence": fields.get("persistence"),
                "restored_plays": whole_number(fields.get("restored_plays")),
                "restored_at": utc_time(status_time(fields, "restored_at")),
                "restored_why": fields.get("restored_why"),
            },
            "machine": fields.get("machine"),
            "standby": self.evidence.standby or None,
            "running_here": self.evidence.is_running,
            "version": fields.get("version"),
            "command_version": __version__,
            "pid": whole_number(fields.get("pid")),
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return the state for people; what is unknown or normal is blank."""
        fields, now, last, since = self.fields, self.now, self.last, self.since
        requests, waiting = whole_number(fields.get("requests_24h")), self.waiting or 0
        standby = self.evidence.standby
        machine = "" if is_overdue(fields, now, health.LATE_AFTER) else f"{fields.get('machine', '?')}; "
        kept = fields.get("persistence", "")
        kept_in = "not saved to disk" if kept == FORGETS else kept
        version = fields.get("version", __version__)
        if version != __version__:
            version = f"{version} is running, this command is {__version__}"
        polled = status_time(fields, "last_poll")
        last_poll = "never"
        if polled is not None:
            last_poll = f"{rough_duration(max(0.0, now - polled))} ago, {local_time(polled)}"
        last_play = last and f"{local_time(last[0])} {format_title(last[1])}, {progress_words(last[1])}"
        return [
            ("did last" if is_overdue(fields, now) else "doing", fields.get("state", "")),
            ("last poll", last_poll),
            ("no data", "" if since is None else f"since {local_time(since)}{self._gap_reason(since)}"),
            ("last play", last_play or ""),
            ("gaps", self._gaps()),
            ("login", self._login()),
            ("requests", "" if requests is None else f"{requests:,} in 24 hours"),
            ("outbox", f"{counted(waiting, 'play')} not yet in Redis" if waiting else ""),
            ("machine", f"{machine}{standby} is on standby" if standby else ""),
            ("Redis", f"{self.server} at {self.where}{kept_in and f', {kept_in}'}"),
            ("restored", self._restored()),
            ("version", version),
        ]

    def _gap_reason(self, since: float) -> str:
        return next((f", {reason}" for begin, _, reason in self.gaps if begin >= int(since)), "")

    def _gaps(self) -> str:
        gaps, first = self.past_gaps, self.now - GAP_DAYS * words.DAY
        if not gaps:
            return ""
        begin, end, reason = gaps[-1]
        in_all = words.exact_duration(sum(int(end - max(begin, first)) for begin, end, _ in gaps))
        last = words.local_period(begin, end)
        return f"{len(gaps):,} in {GAP_DAYS} days, {in_all} in all; the last {last}, {reason}"

    def _login(self) -> str:
        if self.fields.get("login") == "needed":
            return "needed"
        until = status_time(self.fields, "login_valid_until")
        if until is None:
            return "unknown"
        if until <= self.now:
            return f"expired on {local_time(until)}"
        return f"valid for {rough_duration(until - self.now)}, until {local_time(until)}"

    def _restored(self) -> str:
        """Describe how many plays Redis had lost and the logger has written again, and when and why."""
        fields = self.fields
        plays, at = whole_number(fields.get("restored_plays")), status_time(fields, "restored_at")
        if not plays or at is None:
            return ""
        why = sanitize(fields.get("restored_why", ""))
        return f"{counted(plays, 'play')} that Redis had lost, written again on {local_time(at)}: {why}"


def now_playing(store: Archive, now: float, max_interval: float, state_dir: Path | None = None) -> Answer:
    """Report what is playing, with its estimated current position; exit code 1 if unknown."""
    status_fields = store.hash(STATUS)
    second = store.now_playing()
    fields = None if second is None else store.hash(play_key(second)) or None
    # Without a status, trust the key: it expires by itself.
    is_vouched_for = fields is not None and not (status_fields and is_overdue(status_fields, now))
    if not is_vouched_for and health.why_unknown(status_fields, now, max_interval):
        evidence = _evidence(store, status_fields, now, state_dir)
        why = health.why_unknown(status_fields, now, max_interval, evidence)
        since = status_time(status_fields, "last_poll")
        data = {"now": None, "unknown_since": utc_time(since), "problem": why}
        when = "" if since is None else f" since {local_time(since)}"
        return Answer(data, [f"Unknown{when}: {why}"], code=1)
    known = {"unknown_since": None, "problem": None}
    if second is None or fields is None:
        return Answer({"now": None, **known}, ["Nothing is playing."])
    position, length = _position(fields, now), whole_number(fields.get("duration_ms"))
    at = "" if position is None else format_duration(position)
    if at and length is not None:
        at += f"/{format_duration(length)}"
    row = (ending(fields, is_now=True), format_title(fields), at, fields.get("device_name", ""))
    playing = {**play_data((second, fields)), "position_ms": position}
    return Answer({"now": playing, **known}, [Table([row], right_aligned=[2])])


def _position(fields: Mapping[str, str], now: float) -> int | None:
    """Estimate the current position in the item, in milliseconds, from that at the last poll (`ended_at`)."""
    position, seen = whole_number(fields.get("progress_ms")), from_iso(fields.get("ended_at", ""))
    if position is None or seen is None or fields.get("playing") != "1":
        return position
    position += max(0, round(now * 1000) - seen)
    length = whole_number(fields.get("duration_ms"))
    return position if length is None else min(position, length)
