"""Answer `status` and `now`: whether the logger is alive and well, and what is playing."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from spotify_logger import __version__
from spotify_logger.config.listeners import for_listener
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.redis_keys import STATUS, play_key
from spotify_logger.core.times import from_iso, utc_time
from spotify_logger.monitoring import health
from spotify_logger.monitoring.health import LoggerEvidence, is_overdue, status_time
from spotify_logger.storage.bulk import Archive, Gap, play_data
from spotify_logger.storage.client import StoreError
from spotify_logger.storage.outbox import OUTBOX_FILE
from spotify_logger.system import lock_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from spotify_logger.config.settings import Settings
    from spotify_logger.core.forwarding import ReceiverStatus
    from spotify_logger.storage.bulk import PlayData

UNNAMED = "(no name)"  # stands for the listener without a name
GAP_SECONDS = 30 * 86_400  # for which the status shows gaps


@dataclass(frozen=True, slots=True)
class RedisState:
    """The Redis server, and what the logger had to write to it again."""

    address: str
    version: str
    persistence: str | None
    restored_plays: int | None
    restored_at: str | None
    restored_why: str | None


@dataclass(frozen=True, slots=True)
class Status:
    """The state of a logger; what is unknown is None, most of it while Redis is away."""

    well: bool
    problems: Sequence[str]
    state: str | None
    last_poll: str | None
    next_poll: str | None
    blind_since: str | None  # when Spotify stopped answering
    blind_reason: str | None
    last_play: PlayData | None
    gaps_30_days: Sequence[Gap]
    login: str | None
    login_valid_until: str | None
    requests_24h: int | None
    outbox: int | None  # plays that wait
    outbox_trouble: str | None
    forwarding: Sequence[ReceiverStatus]
    redis: RedisState | None
    machine: str | None
    standby: str | None  # the machine of a logger on standby
    running_here: bool | None
    version: str | None  # of the logger
    command_version: str
    pid: int | None

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return int(not self.well)


@dataclass(frozen=True, slots=True)
class ListenerStatus(Status):
    """The state of the logger of a listener."""

    name: str


@dataclass(frozen=True, slots=True)
class Statuses:
    """The states of all loggers."""

    listeners: Sequence[ListenerStatus]

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return max((each.exit_code for each in self.listeners), default=1)


@dataclass(frozen=True, slots=True)
class NowPlaying:
    """What is playing, with its estimated current position; or since when, and why, that is unknown."""

    now: PlayData | None
    unknown_since: str | None
    problem: str | None

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        return int(self.problem is not None)


# Below, `now` is in seconds since the epoch, `max_interval` is the longest interval between two polls in
# seconds, and `state_dir` is the state folder of a logger on this machine, readable or not.


def status(store: Archive, now: float, max_interval: float, state_dir: Path | None = None) -> Status:
    """Return whether the logger is alive and well."""
    found: Mapping[str, str] = {}
    server, gaps, last, since = "", list[tuple[int, int, str]](), None, None
    try:
        server, gaps = store.version(), store.gaps()
        found, last = store.hash(STATUS), store.latest_play()
        evidence = _evidence(store, found, now, state_dir)
    except StoreError as error:
        found, server, gaps, last = {}, "", [], None
        evidence = _local_evidence(str(error), "", state_dir)
    # A logger that cannot write may still be polling.
    if not evidence.refusal or evidence.is_running is False:
        since = health.unobserved_since(found, now, max_interval)
    current = [reason for begin, _, reason in gaps if since is not None and begin >= int(since)]
    past = [Gap.of(*gap) for gap in gaps[: len(gaps) - len(current)] if gap[1] > now - GAP_SECONDS]
    problems = health.problems(found, now, max_interval, evidence)

    def time(name: str) -> str | None:
        return utc_time(status_time(found, name))

    def number(name: str) -> int | None:
        return whole_number(found.get(name))

    redis = RedisState(
        store.where,
        server,
        found.get("persistence"),
        number("restored_plays"),
        time("restored_at"),
        found.get("restored_why"),
    )
    return Status(
        well=not problems,
        problems=problems,
        state=found.get("state"),
        last_poll=time("last_poll"),
        next_poll=time("next_poll"),
        blind_since=utc_time(since),
        blind_reason=current[0] if current else None,
        last_play=None if last is None else play_data(last),
        gaps_30_days=past,
        login="needed" if health.is_login_expired(found, now) else found.get("login"),
        login_valid_until=time("login_valid_until"),
        requests_24h=number("requests_24h"),
        outbox=number("outbox") if evidence.waiting is None else evidence.waiting,
        outbox_trouble=found.get("outbox_trouble"),
        forwarding=health.receivers(found),
        redis=redis if server else None,
        machine=found.get("machine"),
        standby=evidence.standby or None,
        running_here=evidence.is_running,
        version=found.get("version"),
        command_version=__version__,
        pid=number("pid"),
    )


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


def statuses(settings: Settings, now: float) -> Statuses | Status:
    """Return whether the loggers of all listeners are alive and well; one status while Redis is away."""
    with closing(Archive(settings.redis_url, settings.redis_prefix, listener=settings.listener)) as store:
        try:
            names = store.listeners()
        except StoreError:
            return status(store, now, 2 * settings.poll_max, settings.state_dir)
    listeners = []
    for name in names:
        theirs = for_listener(settings, name)
        with closing(Archive(settings.redis_url, theirs.redis_prefix)) as store:
            found = status(store, now, 2 * settings.poll_max, theirs.state_dir)
        values = {each.name: getattr(found, each.name) for each in fields(Status)}
        listeners.append(ListenerStatus(name=name, **values))
    return Statuses(listeners)


def now_playing(store: Archive, now: float, max_interval: float, state_dir: Path | None = None) -> NowPlaying:
    """Return what is playing."""
    found, second = store.hash(STATUS), store.now_playing()
    play = None if second is None else store.hash(play_key(second)) or None
    # Without a status, trust the key: it expires by itself.
    is_vouched_for = play is not None and not (found and is_overdue(found, now))
    if not is_vouched_for and health.why_unknown(found, now, max_interval):
        why = health.why_unknown(found, now, max_interval, _evidence(store, found, now, state_dir))
        return NowPlaying(None, utc_time(status_time(found, "last_poll")), why)
    if second is None or play is None:
        return NowPlaying(None, None, None)
    return NowPlaying(play_data((second, play)) | {"position_ms": _position(play, now)}, None, None)


def _position(fields: Mapping[str, str], now: float) -> int | None:
    """Estimate the current position in the item, in milliseconds, from that at the last poll (`ended_at`)."""
    position, seen = whole_number(fields.get("progress_ms")), from_iso(fields.get("ended_at", ""))
    if position is None or seen is None or fields.get("playing") != "1":
        return position
    position += max(0, round(now * 1000) - seen)
    length = whole_number(fields.get("duration_ms"))
    return position if length is None else min(position, length)
