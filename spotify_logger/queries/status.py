"""What the command answers about now: is the logger alive and well, and what plays."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from spotify_logger import __version__
from spotify_logger.core.display import format_duration, format_title
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.times import from_iso
from spotify_logger.queries.gaps import Gap, gap_data, gaps_words, since
from spotify_logger.queries.health import (
    FORGETS,
    LATE,
    Evidence,
    blind_since,
    is_login_over,
    is_overdue,
    moment,
    problems,
    why_unknown,
)
from spotify_logger.queries.timeline import Play, ending, heard_words, play_data
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import DAY, counted, local_time, span, utc_time
from spotify_logger.storage.outbox import OUTBOX_FILE, count_waiting
from spotify_logger.storage.store import Store, StoreError
from spotify_logger.system import lock_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spotify_logger.config.settings import Settings

UNNAMED = "(no name)"
"""What the listener is called who has none."""
DAYS = 30
"""Days of which the status tells the gaps."""


def status(store: Store, now: float, longest_pause: float, state_dir: Path | None = None) -> Answer:
    """Is the logger alive and well? Exit code 1 when it is not.

    Args:
        store: The log.
        now: Seconds since the epoch.
        longest_pause: Seconds between two polls at most.
        state_dir: The logger's folder, should it run on this machine, whether it can be read or not.
    """
    try:
        about = store.where, store.version(), store.gaps()
        fields, last = store.read_status(), store.latest_play()
        evidence = _evidence(store, fields, now, state_dir)
    except StoreError as error:
        evidence = _local_evidence(Evidence(refusal=str(error)), state_dir)
        wrong = problems({}, now, longest_pause, evidence)
        nothing = _status_data(_Found({}, None, store.where, "", [], evidence), None, now)
        data = {"well": False, "problems": wrong, **nothing, "redis": None}
        return Answer(data, [f"NOT WELL: {'; '.join(wrong)}"], code=1)
    found = _Found(fields, last, *about, evidence)
    wrong = problems(fields, now, longest_pause, evidence)
    is_told = not evidence.refusal or evidence.is_running is False  # a logger that cannot write may well see
    blind = blind_since(fields, now, longest_pause) if is_told else None
    data = {"well": not wrong, "problems": wrong, **_status_data(found, blind, now)}
    health = ("health", "NOT WELL: " + "; ".join(wrong) if wrong else "well")
    rows = [health, *_status_rows(found, blind, now)]
    return Answer(data, [Table([row for row in rows if row[1]])], code=bool(wrong))


def _evidence(store: Store, fields: Mapping[str, str], now: float, state_dir: Path | None) -> Evidence:
    refusal = store.write_refusal()
    if refusal is not None and refusal.codes == {"READONLY"} and not is_overdue(fields, now):
        refusal = None  # a replica that follows is as good to read from
    found = Evidence("" if refusal is None else str(refusal), store.standby())
    return _local_evidence(found, state_dir)


def _local_evidence(found: Evidence, state_dir: Path | None) -> Evidence:
    """Add what the logger's folder tells."""
    if state_dir is None:
        return found
    waiting = count_waiting(state_dir / OUTBOX_FILE) if found.refusal else None
    return replace(found, is_running=lock_file.is_held(state_dir), waiting=waiting)


def statuses(settings: Settings, now: float) -> Answer:
    """Are the loggers of all listeners alive and well? Exit code 1 when one is not.

    Args:
        settings: Of any of them.
        now: Seconds since the epoch.
    """
    with closing(Store(settings.redis_url, settings.redis_prefix, listener=settings.listener)) as store:
        try:
            names = store.listeners()
        except StoreError:
            return status(store, now, 2 * settings.poll_max, settings.state_dir)
    if not names:
        return Answer({"listeners": []}, ["No logger has written here yet."], code=1)
    told = {}
    for name in names:
        theirs = settings.of(name)
        with closing(Store(settings.redis_url, theirs.redis_prefix)) as store:
            told[name] = status(store, now, 2 * settings.poll_max, theirs.state_dir)
    return Answer(
        {"listeners": [{"name": name, **_of(answer)} for name, answer in told.items()]},
        [Table([_line(name, _of(answer)) for name, answer in told.items()], wide=2)],
        code=max(answer.code for answer in told.values()),
    )


def _of(answer: Answer) -> Mapping[str, Any]:
    data: Any = answer.data
    return cast("Mapping[str, Any]", data)


def _line(name: str, data: Mapping[str, Any]) -> tuple[str, str, str]:
    wrong = "; ".join(data["problems"])
    return name or UNNAMED, "well" if data["well"] else "NOT WELL", wrong or data["state"] or ""


@dataclass(frozen=True, slots=True)
class _Found:
    """What Redis knows of the logger, which server that is, and what else can be seen."""

    fields: Mapping[str, str]
    last: Play | None
    where: str
    server: str
    gaps: list[Gap]
    evidence: Evidence

    @property
    def waiting(self) -> int | None:
        """How many plays wait in the outbox, as far as anybody tells."""
        seen = self.evidence.waiting
        return whole_number(self.fields.get("outbox")) if seen is None else seen

    def lately(self, blind: float | None, now: float) -> list[Gap]:
        """The gaps of the last days, without the one that is under way if nothing can be seen."""
        gaps = since(self.gaps, now - DAYS * DAY)
        return [gap for gap in gaps if blind is None or gap[0] < int(blind)]

    def why_blind(self, blind: float) -> str:
        """Why nothing can be seen, where the logger has said so."""
        return next((f", {reason}" for begin, _, reason in self.gaps if begin >= int(blind)), "")


def _status_data(found: _Found, blind: float | None, now: float) -> dict[str, object]:
    fields = found.fields
    return {
        "state": fields.get("state"),
        "last_poll": utc_time(moment(fields, "last_poll")),
        "next_poll": utc_time(moment(fields, "next_poll")),
        "blind_since": utc_time(blind),
        "last_play": None if found.last is None else play_data(found.last),
        f"gaps_{DAYS}_days": [gap_data(gap) for gap in found.lately(blind, now)],
        "login": "needed" if is_login_over(fields, now) else fields.get("login"),
        "login_valid_until": utc_time(moment(fields, "login_valid_until")),
        "requests_24h": whole_number(fields.get("requests_24h")),
        "outbox": found.waiting,
        "outbox_trouble": fields.get("outbox_trouble"),
        "redis": {
            "address": found.where,
            "version": found.server,
            "persistence": fields.get("persistence"),
        },
        "machine": fields.get("machine"),
        "standby": found.evidence.standby or None,
        "running_here": found.evidence.is_running,
        "version": fields.get("version"),
        "command_version": __version__,
        "pid": whole_number(fields.get("pid")),
    }


def _status_rows(found: _Found, blind: float | None, now: float) -> list[tuple[str, str]]:
    fields, last = found.fields, found.last
    requests = whole_number(fields.get("requests_24h"))
    waiting = found.waiting or 0
    standby = found.evidence.standby
    machine = "" if is_overdue(fields, now, LATE) else f"{fields.get('machine', '?')}; "
    running = fields.get("version")
    return [
        ("did last" if is_overdue(fields, now) else "doing", fields.get("state", "")),
        ("last poll", _past(moment(fields, "last_poll"), now)),
        ("blind", "" if blind is None else f"since {local_time(blind)}{found.why_blind(blind)}"),
        (
            "last play",
            "" if last is None else f"{local_time(last[0])} {format_title(last[1])}, {heard_words(last[1])}",
        ),
        ("gaps", gaps_words(found.lately(blind, now), DAYS, now - DAYS * DAY)),
        ("login", _login(fields, now)),
        ("requests", "" if requests is None else f"{requests:,} in 24 hours"),
        ("outbox", f"{counted(waiting, 'play')}, not yet safe in Redis" if waiting else ""),
        ("machine", f"{machine}{standby} stands by" if standby else ""),
        ("Redis", f"{found.server} at {found.where}{_kept_in(fields)}"),
        (
            "version",
            __version__ if running in (None, __version__) else f"{running} runs, this is {__version__}",
        ),
    ]


def now_playing(store: Store, now: float, longest_pause: float, state_dir: Path | None = None) -> Answer:
    """What plays at this moment, with the position that it should have reached by now.

    Exit code 1 where nobody knows. The arguments are those of `status`.
    """
    told = store.read_status()
    second = store.now_playing()
    fields = None if second is None else store.play(second)
    # Without a status the key is believed, which expires by itself.
    is_vouched_for = fields is not None and not (told and is_overdue(told, now))
    if not is_vouched_for and why_unknown(told, now, longest_pause):
        why = why_unknown(told, now, longest_pause, _evidence(store, told, now, state_dir))
        return _unknown(moment(told, "last_poll"), why)
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
    return Answer(known, [Table([row], numbers=[2])])


def _unknown(since: float | None, why: str) -> Answer:
    data = {"now": None, "unknown_since": utc_time(since), "problem": why}
    return Answer(data, [f"Unknown{'' if since is None else f' since {local_time(since)}'}: {why}"], code=1)


def _past(second: float | None, now: float) -> str:
    return "never" if second is None else f"{span(max(0.0, now - second))} ago, {local_time(second)}"


def _login(fields: Mapping[str, str], now: float) -> str:
    if fields.get("login") == "needed":
        return "needed"
    until = moment(fields, "login_valid_until")
    if until is None:
        return "nobody knows until when"
    return (
        f"valid for {span(until - now)}, until {local_time(until)}"
        if until > now
        else f"over since {local_time(until)}"
    )


def _kept_in(fields: Mapping[str, str]) -> str:
    """How Redis keeps what it is given, as the logger has seen it."""
    kept = fields.get("persistence", "")
    return ", nothing on its disk" if kept == FORGETS else kept and f", {kept}"


def _position(fields: Mapping[str, str], now: float) -> int | None:
    """Where in the item the player should be by now, in milliseconds; it was last heard at `ended_at`."""
    position, seen = whole_number(fields.get("progress_ms")), from_iso(fields.get("ended_at", ""))
    if position is None or seen is None or fields.get("playing") != "1":
        return position
    position += max(0, round(now * 1000) - seen)
    length = whole_number(fields.get("duration_ms"))
    return position if length is None else min(position, length)
