"""The poll loop: ask Spotify, track the plays, backfill, record, wait."""

import os
import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from spotify_logger import __version__
from spotify_logger.config.settings import Settings
from spotify_logger.core.backoff import Backoff
from spotify_logger.core.coverage import LOGIN_DEAD, OFFLINE, RATE_LIMITED, SPOTIFY_DOWN
from spotify_logger.core.matching import identity, remaining_ms
from spotify_logger.core.play import Play, format_play, format_title
from spotify_logger.core.player_state import FieldValue, PlayerState, read_player_state
from spotify_logger.core.poll_schedule import MAX_IDLE_FACTOR, PollSchedule
from spotify_logger.core.times import from_iso, local, to_iso
from spotify_logger.core.tracker import Tracker
from spotify_logger.daemon.alerts import Alerts
from spotify_logger.daemon.backfiller import LISTENED_INTERVAL_MS, Backfiller, GapMonitor
from spotify_logger.daemon.recorder import Recorder
from spotify_logger.spotify.api import ApiResponse, Spotify
from spotify_logger.spotify.http import Send
from spotify_logger.spotify.oauth import valid_until
from spotify_logger.spotify.rate_limit import OLD_RATE_LIMIT_FILE, RATE_LIMIT_NOTE, Quota, RateLimit
from spotify_logger.storage.client import RedisClient
from spotify_logger.storage.lease import RENEW_INTERVAL
from spotify_logger.storage.outbox import LOG_ID_NOTE, OUTBOX_FILE, Outbox
from spotify_logger.storage.sqlite_file import DISK_RETRY
from spotify_logger.storage.store import Store
from spotify_logger.system import atomic_file, log
from spotify_logger.system.clock import Clock, boot_id
from spotify_logger.system.errors import LoginNeeded, NotBefore, TryLater, Unreachable
from spotify_logger.system.state import to_json

SAVE_INTERVAL = 120.0  # seconds between saves of what changes with every answer: what a power cut loses
IDLE_SAVE_INTERVAL = 900.0  # the same while nothing plays: only the time of the last answer changes
MAX_PENDING_ANSWERS = 20  # answers held back, with a new state folder, until Redis tells what to continue
REFUSAL_PATIENCE = 60.0  # seconds for which Redis may refuse writes, as in a failover, without an alert
REQUESTS_NOTE = "requests"
OWNER_NOTE = "owner"  # the account that the log is of, as Redis said last


class DaemonTimings(NamedTuple):
    """How long the logger process waits, in seconds."""

    # Until the loop counts as hung: four requests of 20 s, two of 4 s, queued plays (10 s), a hanging Redis.
    max_turn: float = 120.0
    max_wait: float = 60.0  # between two turns: the supervisor waits for heartbeats; between tries of Redis
    read_timeout: float = 10.0  # silence after which a request to Spotify is given up
    request_deadline: float = 20.0  # the longest a request to Spotify may take
    login_check_interval: float = 5.0  # between checks of the token file while a login is needed
    disk_retry: float = DISK_RETRY
    lease_renewal: float = RENEW_INTERVAL
    orphan_timeout: float = 10.0  # for a lock that the children of a killed supervisor still hold


class Environment(NamedTuple):
    """What a logger needs from the outside."""

    clock: Clock
    send: Send
    send_alert: Send  # for heartbeats and forwarded plays too
    chance: Callable[[], float] = random.random
    connect: Callable[[str], RedisClient] = RedisClient
    open_database: Callable[[str], sqlite3.Connection] | None = None  # of the outbox
    may_write: Callable[[], bool] = lambda: True  # whether no other logger has taken over
    timings: DaemonTimings = DaemonTimings()


class Turn(NamedTuple):
    """The result of one turn of the loop."""

    due: float  # when the next turn is due, in seconds of the monotonic clock
    ok: bool  # whether Spotify answered and Redis took the result
    words: str  # what the logger is doing, for people


class Poller:
    """Polls Spotify, passes the answers to the tracker, and its plays to the recorder."""

    def __init__(self, settings: Settings, environment: Environment) -> None:
        clock, chance = environment.clock, environment.chance
        self._clock, self._timings = clock, (timings := environment.timings)
        url, prefix = settings.redis_url, settings.redis_prefix
        self.store = Store(url, prefix, clock.utc, environment.connect, settings.listener)
        path = settings.state_dir / OUTBOX_FILE
        self.outbox = Outbox(path, clock.monotonic, environment.open_database, timings.disk_retry)
        limits: str | bytes = self.outbox.note(RATE_LIMIT_NOTE)
        with suppress(OSError):
            limits = limits or atomic_file.read(settings.state_dir / OLD_RATE_LIMIT_FILE) or ""
        self._rate_limit = RateLimit(limits, partial(self.outbox.set_note, RATE_LIMIT_NOTE), clock)
        self.spotify = Spotify(environment.send, settings, clock, self._rate_limit)
        self.recorder = Recorder(self.store, self.outbox, clock, Backoff(1.0, timings.max_wait, chance))
        self.recorder.may_write, self.recorder.notes = environment.may_write, self._notes
        self.alerts = Alerts(environment.send_alert, settings, clock, self.outbox, chance)
        self.forwarder = None
        if settings.forward:
            from spotify_logger.daemon.forwarder import Forwarder  # noqa: PLC0415 - memory: most need none

            self.forwarder = Forwarder(settings, environment, self.outbox, self.alerts)
        self._backfiller = Backfiller(self.spotify, self.outbox, clock, self.recorder)
        self._gap_monitor = GapMonitor(self.outbox, clock, MAX_IDLE_FACTOR * settings.poll_max)
        self.schedule = PollSchedule(settings.poll_min, settings.poll_max)
        self._backoff = Backoff(settings.poll_min, 2 * settings.poll_max, chance)
        self._tracker = Tracker()  # until it is restored, only the schedule uses it
        self._is_restored = False
        self._pending: list[Callable[[Tracker], list[Play]]] = []  # answers that `_tracker` has not got yet
        self._usage = Quota(self.outbox.note(REQUESTS_NOTE))
        self._counted = 0
        self._polls: Counter[str] = Counter()  # by result, since the start
        self._status: dict[str, FieldValue] = {"pid": os.getpid(), "version": __version__}
        self._trouble: str | None = ""  # None while Spotify answers, "" before the first answer

    def close(self) -> None:
        """Close the connection to Redis and the outbox."""
        self.store.close()
        self.outbox.close()

    def turn(self) -> Turn:
        """Poll once, and return when to poll again."""
        if not self._is_restored:
            self._restore()
        account = self.spotify.token.account if self.spotify.token else ""
        if account != self.spotify.owner:
            read, known = partial(self.store.owner, account), self.outbox.note(OWNER_NOTE)
            self.spotify.owner = self.recorder.session.attempt(read, otherwise=known)
            self.outbox.set_note(OWNER_NOTE, self.spotify.owner)
        login_trouble = ""
        try:
            answer = self.spotify.player_state()
        except NotBefore as error:
            until = f"{local(self._clock.utc() + error.seconds):%Y-%m-%d %H:%M}"
            wait, what_next = min(error.seconds, self._timings.max_wait), f"; the next request is at {until}"
            turn = self._failed(error, RATE_LIMITED, wait, what_next)
        except LoginNeeded as error:
            login_trouble, self._status["login"] = str(error), "needed"
            turn = self._failed(error, LOGIN_DEAD, self._timings.login_check_interval)
        except TryLater as error:
            reason = OFFLINE if isinstance(error, Unreachable) else SPOTIFY_DOWN
            turn = self._failed(error, reason, self._backoff.failed(), "; retrying")
        else:
            self._backoff.succeeded()
            turn = self._answered(answer)
        self._gap_monitor.on_planned(turn.due)
        # Before its first answer, a process does not know whether the login works, nor when it will expire.
        if login_trouble or (self.spotify.is_time_known and self._status.get("login") == "ok"):
            self.alerts.check_login(valid_until(self.spotify.token), login_trouble)
        session, disk = self.recorder.session, str(self._status["disk_trouble"]) or self.outbox.trouble
        is_refused = self._clock.monotonic() >= session.refused_since + REFUSAL_PATIENCE
        self.alerts.follow("disk", disk, "The disk works again.")
        self.alerts.follow("redis", session.trouble if is_refused else "", "Redis accepts writes again.")
        self.send_alerts()
        if turn.ok:
            self.alerts.beat()
        return turn

    def send_alerts(self) -> None:
        """Send what is queued, and whether Redis has the log that this state folder belongs to."""
        if (trouble := self.recorder.reconciler.log_trouble) is not None:
            self.alerts.follow(LOG_ID_NOTE, trouble, "Redis has the log again.")
        self.alerts.deliver()

    def flush(self) -> None:
        """Save what changes with every answer, but not before it is restored."""
        if self._is_restored:
            self.recorder.save()

    def _notes(self) -> dict[str, str]:
        requests = {REQUESTS_NOTE: self._usage.to_text()}
        return {**self._gap_monitor.to_notes(), **requests, **self._backfiller.to_note()}

    def _answered(self, answer: ApiResponse) -> Turn:
        player_state, stamp_ms = read_player_state(answer.body), round(answer.utc * 1000)
        words = describe(player_state)
        if self._trouble is not None:
            log.info(f"Spotify answers{' again' if self._trouble else ''}: {words}")
            if not self._trouble:
                self._backfiller.on_start(stamp_ms)
            self._trouble = None
        before = self._tracker.seen.state
        resumes = not before.playing and (player_state.playing or player_state.uri != before.uri)
        span = self._gap_monitor.on_answer(stamp_ms, answer.monotonic, resumes=resumes)
        if span is not None:
            self._backfiller.on_gap()

        def feed(tracker: Tracker) -> list[Play]:
            if span is not None:
                tracker.note_gap()
            return tracker.observe(player_state, stamp_ms, round(answer.monotonic * 1000))

        self._pending.append(feed)
        self._polls["ok"] += 1
        self._status.update(login="ok", blind="", last_poll=to_iso(stamp_ms))
        if self._is_restored:
            self._track_pending()
            if self.recorder.has_history:
                found = self._backfiller.fetch_if_due(self._tracker.play, self._gap_monitor.unobserved)
                self.recorder.add([play for play in found if play.end_reason is not None])
        else:
            feed(self._tracker)
        self.schedule.slowdown = self._rate_limit.slowdown()
        due = answer.monotonic + self.schedule.wait_after(self._tracker.seen, answer.monotonic)
        if self.forwarder:
            self.forwarder.playing = self._tracker.play if player_state.playing else None
        is_recorded = self._record(due, words, self._tracker.play if player_state.item else None)
        return Turn(due, is_recorded, self.recorder.session.trouble or words)

    def _failed(self, error: Exception, reason: str, wait: float, what_next: str = "") -> Turn:
        words = f"{error}{what_next}"
        if str(error) != self._trouble:
            say = log.error if isinstance(error, LoginNeeded) else log.warning
            say(words)
            self._trouble = str(error)
        due = self._clock.monotonic() + wait
        self._polls[reason] += 1
        self._status["blind"] = reason
        self._gap_monitor.on_failure(reason)
        self._record(due, words, None)
        return Turn(due, ok=False, words=words)

    def _track_pending(self) -> None:
        for feed in self._pending:
            before = self._tracker.play
            changed = feed(self._tracker)
            self.recorder.add(changed, self._tracker.serialize())
            for play in changed:
                known_ms = before.ms_played if before and identity(before) == identity(play) else 0
                self._backfiller.listened_ms += play.ms_played - known_ms
                if play.end_reason is not None:
                    log.info(format_play(play))
                if remaining_ms(play):  # its end was not seen: ask soon
                    self._backfiller.listened_ms = LISTENED_INTERVAL_MS
        self._pending.clear()

    def _restore(self) -> None:
        """Continue where an earlier process stopped, once that is known."""
        loaded = self.recorder.load()
        self._is_restored = loaded is not None or len(self._pending) >= MAX_PENDING_ANSWERS
        if loaded is not None:
            newest, memory, status = loaded
            self._usage.merge(status.get("requests_by_hour", ""))
            self._gap_monitor.resume(from_iso(status.get("last_poll", "")))
            self._tracker = Tracker(newest, memory)
        elif self._is_restored:  # nothing is known to continue from, and the pending answers are not on disk
            self._tracker = Tracker()

    def _record(self, due: float, words: str, shown: Play | None) -> bool:
        now, wait = self._clock.utc(), due - self._clock.monotonic()
        until = valid_until(self.spotify.token)
        self._usage.add(self.spotify.requests - self._counted, now)
        self._counted = self.spotify.requests
        self._status["next_poll"] = to_iso(round((now + wait) * 1000))
        self._status["state"] = log.sanitize(words)
        if (disk := self.outbox.check_disk()) and disk != self._status.get("disk_trouble"):
            log.error(disk)
        self._status["disk_trouble"] = disk
        if self.spotify.is_time_known:
            self._status["clock"] = f"{boot_id()} {self._clock.utc() - self._clock.monotonic():.0f}"
        self._status["polls"] = to_json(self._polls)
        self._status["login_valid_until"] = "" if until is None else to_iso(round(until * 1000))
        if not self._is_restored:  # the rest of the status in Redis is not read yet, and has to stay
            return self.recorder.write(None, wait, self._status)
        interval = SAVE_INTERVAL if self._tracker.seen.state.playing else IDLE_SAVE_INTERVAL
        if self._trouble is None and self._clock.monotonic() >= self.recorder.saved_at + interval:
            self.flush()
        self._status["forwarding"] = self.forwarder.status() if self.forwarder else ""
        self._status["requests_24h"] = self._usage.total()
        self._status["requests_by_hour"] = self._usage.to_text()
        return self.recorder.write(shown, wait, self._status)


def describe(player_state: PlayerState) -> str:
    """Describe what the player does, for people."""
    if player_state.private:
        return "private session, not logged"
    if player_state.is_advertisement:
        return "an advertisement is playing"
    if player_state.item is None:
        return "nothing is playing"
    doing = "playing" if player_state.playing else "paused"
    device = player_state.fields.get("device_name")
    return f"{doing} {format_title(player_state.fields)}" + (f", {device}" if device else "")
