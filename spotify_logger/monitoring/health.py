"""Judge whether the logger is well, from its status in Redis and other evidence. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.coverage import GAP_MS, UNOBSERVED_AFTER_MS
from spotify_logger.core.forwarding import ReceiverStatus
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.times import local, seconds_of
from spotify_logger.storage.redis_replies import FORGETS
from spotify_logger.system.errors import LOGIN_ADVICE
from spotify_logger.system.log import sanitize
from spotify_logger.system.state import from_json

if TYPE_CHECKING:
    from collections.abc import Mapping

LATE_AFTER = 120.0
"""Seconds after the announced poll by which a live logger has written its status: a poll takes at most 90."""
OVERDUE_AFTER = 30.0
"""Seconds after the announced poll at which `now_playing` expires: from then on, what plays is unknown."""
UNANSWERED_AFTER = 900.0
"""Seconds without an answer from Spotify, beyond the longest poll interval, that are a problem to report."""
MAX_WAITING_PLAYS = 1000
"""Plays that may wait in the outbox: more than there are in a day, as those of a whole day are always waiting
if Redis never confirms that plays are on disk."""
LOGIN_EXPIRED = f"the login has expired: {LOGIN_ADVICE}"
FORWARD_ADVICE = "correct it and restart the logger, or run `spotify-logger forward retry`"
NOT_RUNNING = "the logger is not running: start it, or check its log"


class LoggerEvidence(NamedTuple):
    """What is known of the logger and its Redis besides the status.

    Attributes:
        refusal: Why Redis cannot be reached or rejects writes; "" if it accepts them.
        standby: The machine of a logger on standby; "" if there is none.
        is_running: Whether a logger runs on this machine; None if unknown.
        waiting: The number of plays in its outbox; None if unknown.
    """

    refusal: str = ""
    standby: str = ""
    is_running: bool | None = None
    waiting: int | None = None


NO_EVIDENCE = LoggerEvidence()

# Below, `status` are the fields of the status hash, `now` is in seconds since the epoch, and
# `max_poll_interval` is the longest interval between two polls in seconds.


def status_time(status: Mapping[str, str], name: str) -> float | None:
    """Return a time from the status in seconds since the epoch; None if it is missing or malformed."""
    return seconds_of(status.get(name, ""))


def problems(
    status: Mapping[str, str], now: float, max_poll_interval: float, evidence: LoggerEvidence = NO_EVIDENCE
) -> list[str]:
    """Return what is wrong and what to do about it, one line each; empty if all is well."""
    is_gone = is_overdue(status, now, OVERDUE_AFTER if evidence.is_running is False else LATE_AFTER)
    if evidence.refusal:
        found = [_refused(status, now, evidence)]
        return [*found, NOT_RUNNING] if is_gone and evidence.is_running is False else found
    if is_gone:
        return [_why_silent(status, evidence)]
    found = [_login_trouble(status)] if is_login_expired(status, now) else []
    answered = status_time(status, "last_poll")
    if answered is None or now > answered + max_poll_interval + UNANSWERED_AFTER:
        found.append("Spotify is not answering: see the state of the logger below")
    return found + _at_risk(status)


def is_overdue(status: Mapping[str, str], now: float, patience: float = OVERDUE_AFTER) -> bool:
    """Return whether the logger has not written for `patience` seconds longer than it announced."""
    due = status_time(status, "next_poll")
    return due is None or now > due + patience


def is_login_expired(status: Mapping[str, str], now: float) -> bool:
    """Return whether Spotify has rejected the login, or it has expired."""
    until = status_time(status, "login_valid_until")
    return status.get("login") == "needed" or (until is not None and until < now)


def _login_trouble(status: Mapping[str, str]) -> str:
    """Return why a new login is needed: as the logger says, unless the time is just over."""
    state = sanitize(status.get("state", ""))
    return state if status.get("login") == "needed" and LOGIN_ADVICE in state else LOGIN_EXPIRED


def why_unknown(
    status: Mapping[str, str], now: float, max_poll_interval: float, evidence: LoggerEvidence = NO_EVIDENCE
) -> str:
    """Return in one line why what plays is unknown; "" if the logger has polled recently."""
    if is_overdue(status, now):
        found = problems(status, now, max_poll_interval, evidence)
        silent = is_overdue(status, now, LATE_AFTER) or evidence.refusal or evidence.is_running is False
        return found[0] if silent else "the logger is late: its last update is overdue"
    answered = status_time(status, "last_poll")
    sees = not status.get("blind") and unobserved_since(status, now, max_poll_interval) is None
    if answered is not None and (sees or now <= answered + OVERDUE_AFTER):
        return ""
    reason = sanitize(status.get("blind", ""))
    why = f" ({reason})" if reason else ""
    return _login_trouble(status) if is_login_expired(status, now) else f"Spotify is not answering{why}"


def unobserved_since(status: Mapping[str, str], now: float, max_poll_interval: float) -> float | None:
    """Return when Spotify stopped answering, in seconds since the epoch; None if it answers or never did."""
    answered = status_time(status, "last_poll")
    patience = max(GAP_MS / 1000, max_poll_interval + UNOBSERVED_AFTER_MS / 1000)
    return answered if answered is not None and now > answered + patience else None


def receivers(status: Mapping[str, str]) -> list[ReceiverStatus]:
    """Return the receivers to which plays are forwarded."""
    return from_json(list[ReceiverStatus], status.get("forwarding", "")) or []


def describe_receiver(receiver: ReceiverStatus) -> str:
    """Describe what waits for a receiver, and why."""
    parts = [f"{receiver.waiting:,} waiting" if receiver.waiting else "everything sent"]
    parts += [f"stopped: {receiver.setting} is refused" if receiver.stopped else "", receiver.trouble]
    parts += [f"{receiver.refused:,} refused, at last {receiver.last_refused}" if receiver.refused else ""]
    return sanitize("; ".join(filter(None, parts)))


def _refused(status: Mapping[str, str], now: float, evidence: LoggerEvidence) -> str:
    """Describe why Redis rejects writes, since when, and how many plays are waiting."""
    text, written = evidence.refusal, status_time(status, "last_poll")
    if written is not None and is_overdue(status, now):
        text += f"; nothing written since {local(written):%Y-%m-%d %H:%M}"
    return f"{text}; plays waiting in the outbox: {evidence.waiting:,}" if evidence.waiting else text


def _why_silent(status: Mapping[str, str], evidence: LoggerEvidence) -> str:
    """Explain why no logger writes although Redis accepts writes."""
    if evidence.standby:
        return (
            f"the logger on {evidence.standby} is on standby, but the one that holds the lease writes"
            " nothing: check the logs of both"
        )
    if evidence.is_running:
        return "the logger is running but writes nothing to this Redis: check its log"
    if status_time(status, "next_poll") is None:
        return "the logger has never run here: start it with `python run.py`"
    return NOT_RUNNING


def _at_risk(status: Mapping[str, str]) -> list[str]:
    """Return the reasons why logged plays might be lost."""
    outbox, redis, persistence = (
        sanitize(status.get(f"{name}_trouble", "")) for name in ("outbox", "redis", "persistence")
    )
    found = [outbox and f"{outbox} (until that is fixed, plays are kept in memory only)", redis]
    if (waiting := whole_number(status.get("outbox")) or 0) > MAX_WAITING_PLAYS:
        logs = "check the logs of the logger and of Redis"
        found.append(f"{waiting:,} plays are waiting to be stored safely: {logs}")
    if status.get("persistence") == FORGETS:
        found.append("this Redis loses everything when it restarts: set `appendonly yes` in redis.conf")
    stopped = [each for each in receivers(status) if each.stopped]
    refused = [f"{each.host} refuses {each.setting}: {FORWARD_ADVICE}" for each in stopped]
    return list(filter(None, [*found, persistence, *refused]))
