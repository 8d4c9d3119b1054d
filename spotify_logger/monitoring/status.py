"""Answer `status` and `now`: whether the logger is alive and well, what to do if not, and what is playing."""

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from spotify_logger import __version__
from spotify_logger.config.settings import Settings
from spotify_logger.config.sources import DEFAULTS
from spotify_logger.core.coverage import GAP_MS, UNOBSERVED_AFTER_MS
from spotify_logger.core.forwarding import ReceiverStatus
from spotify_logger.core.player_state import whole_number
from spotify_logger.core.redis_keys import LOG_ID_FIELD, STATUS, play_key
from spotify_logger.core.times import from_iso, local, seconds_of, utc_time
from spotify_logger.storage.bulk import Archive, GapData, PlayData, gap_data, play_data
from spotify_logger.storage.client import FORGETS, StoreError
from spotify_logger.storage.embedded_server import missing_server
from spotify_logger.storage.outbox import COUNT_WAITING, OUTBOX_FILE, known_log, log_trouble, look_up
from spotify_logger.system import disk, lock_file
from spotify_logger.system.clock import DATE_TOLERANCE, Clock, boot_id
from spotify_logger.system.errors import LOGIN_ADVICE
from spotify_logger.system.log import sanitize
from spotify_logger.system.state import from_json

DAY = 86_400
GAP_SECONDS = 30 * DAY  # for which the status shows gaps
LATE_AFTER = 120.0  # seconds after the announced poll by which a live logger has written: it takes at most 90
OVERDUE_AFTER = 30.0  # seconds after the announced poll at which `now_playing` expires
UNANSWERED_AFTER = 900.0  # seconds without an answer, beyond the longest poll interval, that are reported
MAX_WAITING_PLAYS = 1000  # more than a day has: those always wait if Redis never confirms what is on disk
COPY_FOLDER = "plays"  # in the state folder: the second copy of the log; no listener has this name
COPY_LATE_AFTER = 3 * DAY  # it is updated once a day
REMINDER_DAYS = 30  # before a login expires from which to remind of it, as the first alert does
NOT_RUNNING = "the logger is not running: start it, or check its log"
OF_REDIS = ("persistence", "restored_plays", "restored_at", "restored_why")
TEXTS = ("state", "login", "disk_trouble", "outbox_trouble", "machine", "version", *OF_REDIS)
TIMES = ("last_poll", "next_poll", "login_valid_until", "restored_at")
NUMBERS = ("requests_24h", "outbox", "pid", "restored_plays")
"""What the status in Redis has, by the type of its values."""


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
    gaps_30_days: Sequence[GapData]
    login: str | None
    login_valid_until: str | None
    requests_24h: int | None
    polls: Mapping[str, int]  # by result, since the start of the logger
    outbox: int | None  # plays that wait
    outbox_trouble: str | None
    disk_trouble: str | None
    clock_offset: int | None  # seconds by which this machine's clock is ahead of Spotify's; None if unknown
    forwarding: Sequence[ReceiverStatus]
    copied_until: str | None  # when the second copy was last updated, if that is long ago
    redis: Mapping[str, Any] | None  # address, version and persistence, and plays that were written again
    machine: str | None
    standby: str | None  # the machine of a logger on standby
    running_here: bool | None
    version: str | None  # of the logger
    command_version: str
    pid: int | None


@dataclass(frozen=True, slots=True)
class Statuses:
    """The states of all loggers."""

    listeners: Mapping[str, Status]  # by name

    @property
    def well(self) -> bool:
        """Whether all are well, and there are any; a listener whose plays were only imported has none."""
        loggers = [each for each in self.listeners.values() if each.state or not each.redis]
        return bool(loggers) and all(each.well for each in loggers)


@dataclass(frozen=True, slots=True)
class NowPlaying:
    """What is playing, with its estimated current position; or since when, and why, that is unknown."""

    now: PlayData | None
    unknown_since: str | None
    problem: str | None

    @property
    def well(self) -> bool:
        """Whether it is known what is playing."""
        return self.problem is None


class Notice(NamedTuple):
    """What to say about a logger, one line each; empty if all is well."""

    lines: Sequence[str]
    since: str | None  # when it stopped observing, if it did
    is_urgent: bool  # plays are being missed, or are at risk
    needs_login: bool  # now or soon


class Evidence(NamedTuple):
    """What is known of the logger and its Redis besides the status."""

    refusal: str = ""  # why Redis cannot be reached or rejects writes
    standby: str = ""  # the machine of a logger on standby
    is_running: bool | None = None  # a logger on this machine; None if unknown
    waiting: int | None = None  # plays in its outbox; None if unknown
    disk_trouble: str = ""  # why the disk of its state folder takes no files; "" if it does, or if unknown
    log_trouble: str = ""  # why this Redis does not have the log that its state folder belongs to


# Below, `now` is in seconds since the epoch, `found` is the status hash, `max_interval` is the longest pause
# between two polls in seconds, and `state_dir` is the state folder of a logger on this machine.


def status(store: Archive, now: float, max_interval: float, state_dir: Path) -> Status:
    """Return whether the logger is alive and well."""
    by_clock, monotonic = now, Clock().monotonic()  # at the same moment: Redis may take seconds
    try:
        server, gaps, found, last = store.version(), store.gaps(), store.hash(STATUS), store.latest_play()
        now, found["persistence_trouble"] = true_time(found, now, monotonic), store.persistence_trouble()
        evidence = _evidence(store, found, now, state_dir)
    except StoreError as error:
        server, gaps, found, last = "", [], {}, None
        evidence = _evidence(store, found, now, state_dir, error)
    said: dict[str, Any] = {name: found.get(name) for name in TEXTS}
    said |= {name: utc_time(seconds_of(found.get(name))) for name in TIMES}
    said |= {name: whole_number(found.get(name)) for name in NUMBERS}
    if evidence.waiting is not None:
        said["outbox"] = evidence.waiting
    said["disk_trouble"] = evidence.disk_trouble or said["disk_trouble"]
    if _login_trouble(found, now):
        said["login"] = "needed"
    redis = {"address": store.where, "version": server} | {name: said.pop(name) for name in OF_REDIS}
    # A logger that cannot write may still be polling.
    may_be_polling = evidence.refusal and evidence.is_running is not False
    since = None if may_be_polling else unobserved_since(found, now, max_interval)
    current = [reason for begin, _, reason in gaps if since is not None and begin >= int(since)]
    past = [gap_data(*gap) for gap in gaps[: len(gaps) - len(current)] if gap[1] > now - GAP_SECONDS]
    found_problems = problems(found, now, max_interval, evidence)
    return Status(
        well=not found_problems,
        problems=found_problems,
        blind_since=utc_time(since),
        blind_reason=current[0] if current else None,
        last_play=None if last is None else play_data(last),
        gaps_30_days=past,
        polls=from_json(dict[str, int], found.get("polls", "")) or {},
        forwarding=receivers(found),
        copied_until=utc_time(_late_copy(state_dir, last[0] if last else 0)),
        redis=redis if server else None,
        standby=evidence.standby or None,
        running_here=evidence.is_running,
        clock_offset=round(by_clock - now) if found.get("clock") else None,
        command_version=__version__,
        **said,
    )


def _evidence(
    store: Archive, found: Mapping[str, str], now: float, folder: Path, error: StoreError | None = None
) -> Evidence:
    """Return what Redis shows, unless it has failed with an error, and what the state folder shows."""
    refusal = error or store.write_refusal()
    if refusal and refusal.codes == {"READONLY"} and store.is_in_sync() and not is_overdue(found, now):
        refusal = None  # such a replica is fine to read from
    why, standby = str(refusal or ""), "" if error else store.standby_machine()
    waiting = whole_number(look_up(folder / OUTBOX_FILE, COUNT_WAITING)) if refusal else None
    own = folder / "redis"
    if error and urlsplit(DEFAULTS["REDIS_URL"]).netloc == store.where and own.is_dir():
        why = missing_server(own) or why
    trouble = "" if error else log_trouble(store.where, known_log(folder), found.get(LOG_ID_FIELD))
    return Evidence(why, standby, lock_file.is_held(folder), waiting, disk.trouble(folder), trouble)


def true_time(found: Mapping[str, str], now: float, monotonic: float) -> float:
    """Return `now` as a logger on this machine knows it from Spotify: a wrong clock makes it look dead."""
    boot, _, booted_at = found.get("clock", "").partition(" ")
    began = whole_number(booted_at)
    if began is None or boot != boot_id():
        return now
    told = began + monotonic
    return now if abs(now - told) <= DATE_TOLERANCE else told


def _late_copy(folder: Path, last: int) -> float | None:
    """Return when the newest part of the second copy was written, if the last play is days later."""
    with suppress(OSError, ValueError):  # there may be none
        written = max(folder.glob(f"{COPY_FOLDER}/*.jsonl.gz")).stat().st_mtime
        return written if last > written + COPY_LATE_AFTER else None
    return None


def statuses(store: Archive, settings: Settings, now: float) -> Statuses | Status:
    """Return whether the loggers of all listeners are alive and well; one status while Redis is away."""
    try:
        names = store.listeners()
    except StoreError:
        return status(store, now, 2 * settings.poll_max, settings.state_dir)
    listeners, begun = {}, Clock().monotonic()
    for name in names:
        theirs = settings.for_listener(name)
        with closing(Archive(settings.redis_url, theirs.redis_prefix)) as log:
            current = now + Clock().monotonic() - begun
            listeners[name] = status(log, current, 2 * settings.poll_max, theirs.state_dir)
    return Statuses(listeners)


def now_playing(store: Archive, now: float, max_interval: float, state_dir: Path) -> NowPlaying:
    """Return what is playing."""
    monotonic = Clock().monotonic()
    found, second = store.hash(STATUS), store.now_playing()
    now = true_time(found, now, monotonic)
    play = {} if second is None else store.hash(play_key(second))
    # Without a status, trust the key: it expires by itself.
    is_vouched_for = play and not (found and is_overdue(found, now))
    if not is_vouched_for and why_unknown(found, now, max_interval, Evidence()):
        why = why_unknown(found, now, max_interval, _evidence(store, found, now, state_dir))
        return NowPlaying(None, utc_time(seconds_of(found.get("last_poll"))), why)
    if second is None or not play:
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


def notice(found: Status, now: float) -> Notice:
    """Return what a person should know about the logger at first sight."""
    lines = [*found.problems]
    if found.blind_since and not lines:  # too short for a problem so far
        lines.append(unanswered(found.state or ""))
    is_urgent, days = bool(lines), days_of_login(found, now)
    if days is not None:
        until = local(seconds_of(found.login_valid_until) or 0)
        in_days = f"{days} day{'' if days == 1 else 's'}"
        lines.append(f"the Spotify login expires in {in_days}, on {until:%Y-%m-%d}: {LOGIN_ADVICE}")
    return Notice(lines, found.blind_since, is_urgent, days is not None or found.login == "needed")


def days_of_login(found: Status, now: float) -> int | None:
    """Return the days until the login expires, rounded up; None if they are many, none or unknown."""
    until = seconds_of(found.login_valid_until)
    days = 0 if until is None or found.login == "needed" else ceil((until - now) / DAY)
    return days if 0 < days <= REMINDER_DAYS else None


def problems(found: Mapping[str, str], now: float, max_interval: float, evidence: Evidence) -> list[str]:
    """Return what is wrong and what to do about it, one line each; empty if all is well."""
    is_gone = is_overdue(found, now, OVERDUE_AFTER if evidence.is_running is False else LATE_AFTER)
    answered = seconds_of(found.get("last_poll"))
    texts = [evidence.log_trouble, evidence.disk_trouble]
    if text := evidence.refusal:
        if answered is not None and is_overdue(found, now):
            text += f"; nothing written since {local(answered):%Y-%m-%d %H:%M}"
        if evidence.waiting:
            text += f"; plays waiting in the outbox: {evidence.waiting:,}"
        texts += [text, NOT_RUNNING if is_gone and evidence.is_running is False else ""]
    elif is_gone:
        texts.append(_why_silent(found, evidence))
    else:
        texts.append("" if evidence.disk_trouble else sanitize(found.get("disk_trouble", "")))
        texts.append(_login_trouble(found, now))
        if answered is None or now > answered + max_interval + UNANSWERED_AFTER:
            texts.append(unanswered(found.get("state", "")))
        texts += _at_risk(found)
    return list(dict.fromkeys(filter(None, texts)))  # the logger may say the same


def why_unknown(found: Mapping[str, str], now: float, max_interval: float, evidence: Evidence) -> str:
    """Return in one line why what plays is unknown; "" if the logger has polled recently."""
    if is_overdue(found, now):
        silent = is_overdue(found, now, LATE_AFTER) or evidence.refusal or evidence.is_running is False
        late = "the logger is late: its last update is overdue"
        return problems(found, now, max_interval, evidence)[0] if silent else late
    answered = seconds_of(found.get("last_poll"))
    sees = not found.get("blind") and unobserved_since(found, now, max_interval) is None
    if answered is not None and (sees or now <= answered + OVERDUE_AFTER):
        return ""
    return _login_trouble(found, now) or unanswered(found.get("blind", ""))


def is_overdue(found: Mapping[str, str], now: float, patience: float = OVERDUE_AFTER) -> bool:
    """Return whether the logger was stopped, or has been silent `patience` seconds longer than announced."""
    due = seconds_of(found.get("next_poll"))
    return due is None or now > due + patience


def unobserved_since(found: Mapping[str, str], now: float, max_interval: float) -> float | None:
    """Return when Spotify stopped answering, in seconds since the epoch; None if it answers or never did."""
    answered = seconds_of(found.get("last_poll"))
    patience = max(GAP_MS / 1000, max_interval + UNOBSERVED_AFTER_MS / 1000)
    return answered if answered is not None and now > answered + patience else None


def unanswered(why: str) -> str:
    """Say that Spotify is not answering, and why, and maybe until when, as the logger has it."""
    return f"Spotify is not answering: {sanitize(why) or 'check the log of the logger'}"


def receivers(found: Mapping[str, str]) -> list[ReceiverStatus]:
    """Return the receivers to which plays are forwarded."""
    return from_json(list[ReceiverStatus], found.get("forwarding", "")) or []


def describe_receiver(receiver: ReceiverStatus) -> str:
    """Describe what waits for a receiver, and why."""
    parts = [f"{receiver.waiting:,} waiting" if receiver.waiting else "everything sent"]
    parts += [f"stopped: {receiver.setting} is refused" if receiver.stopped else "", receiver.trouble]
    parts += [f"{receiver.refused:,} refused, last {receiver.last_refused}" if receiver.refused else ""]
    return sanitize("; ".join(filter(None, parts)))


def _login_trouble(found: Mapping[str, str], now: float) -> str:
    """Return why a new login is needed: as the logger says, unless the time is just over; "" if it is not."""
    state, until = sanitize(found.get("state", "")), seconds_of(found.get("login_valid_until"))
    is_rejected = found.get("login") == "needed"
    if is_rejected and LOGIN_ADVICE in state:
        return state
    is_needed = is_rejected or (until is not None and until < now)
    return f"the login has expired: {LOGIN_ADVICE}" if is_needed else ""


def _why_silent(found: Mapping[str, str], evidence: Evidence) -> str:
    """Explain why no logger writes although Redis accepts writes."""
    if evidence.standby:
        why = "is on standby, but the one that holds the lease writes nothing: check the logs of both"
        return f"the logger on {evidence.standby} {why}"
    if evidence.is_running:
        return "the logger is running but writes nothing to this Redis: check its log"
    if seconds_of(found.get("next_poll")) is None and not found.get("state"):
        return "the logger has never run here: start it with `python run.py`"
    return NOT_RUNNING


def _at_risk(found: Mapping[str, str]) -> list[str]:
    """Return the reasons why logged plays might be lost, and empty texts."""
    troubles = ("outbox_trouble", "redis_trouble", "persistence_trouble")
    outbox, redis, persistence = (sanitize(found.get(name, "")) for name in troubles)
    texts = [outbox and f"{outbox} (until that is fixed, plays are kept in memory only)", redis]
    if (waiting := whole_number(found.get("outbox")) or 0) > MAX_WAITING_PLAYS:
        plays = f"{waiting:,} plays are waiting to be stored safely"
        texts.append(f"{plays}: check the logs of the logger and of Redis")
    if found.get("persistence") == FORGETS:
        texts.append("this Redis loses everything when it restarts: set `appendonly yes` in redis.conf")
    texts.append(persistence)
    advice = "correct it and restart the logger, or run `spotify-logger forward retry`"
    stopped = (each for each in receivers(found) if each.stopped)
    return [*texts, *(f"{each.host} refuses {each.setting}: {advice}" for each in stopped)]
