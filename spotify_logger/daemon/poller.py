"""The poll loop: ask Spotify, track the plays, backfill, record, wait."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotify_logger import __version__
from spotify_logger.core.coverage import LOGIN_DEAD, OFFLINE, RATE_LIMITED, SPOTIFY_DOWN
from spotify_logger.core.display import format_play, format_title
from spotify_logger.core.player_state import PlayerState, StateKind, read_player_state
from spotify_logger.core.times import from_iso, to_iso
from spotify_logger.core.tracker import Tracker
from spotify_logger.daemon.timings import DEFAULT_TIMINGS
from spotify_logger.spotify.quota import Quota
from spotify_logger.system import log
from spotify_logger.system.errors import LoginNeeded, NotBefore, TryLater, Unreachable

if TYPE_CHECKING:
    from spotify_logger.core.backoff import Backoff
    from spotify_logger.core.play import Play
    from spotify_logger.core.player_state import FieldValue
    from spotify_logger.core.poll_schedule import PollSchedule
    from spotify_logger.daemon.backfiller import Backfiller
    from spotify_logger.daemon.gap_monitor import GapMonitor
    from spotify_logger.daemon.recorder import Recorder
    from spotify_logger.daemon.timings import DaemonTimings
    from spotify_logger.spotify.api import ApiResponse, Spotify
    from spotify_logger.storage.outbox import Outbox
    from spotify_logger.system.clock import Clock

MAX_PENDING_ANSWERS = 20
"""Answers held back, with a new state folder, until Redis tells which play to continue."""
REQUESTS_NOTE = "requests"
"""The note with the number of requests per hour."""


@dataclass(frozen=True, slots=True)
class Turn:
    """The result of one turn of the loop.

    Attributes:
        due: When the next turn is due, in seconds of the monotonic clock.
        ok: Whether Spotify answered and Redis took the result.
        words: What the logger is doing, for people.
    """

    due: float
    ok: bool
    words: str


@dataclass(frozen=True, slots=True)
class _Polled:
    """A player state and its times; `is_after_gap` after an unobserved span."""

    player_state: PlayerState
    stamp_ms: int
    monotonic_ms: int
    is_after_gap: bool

    def feed(self, tracker: Tracker) -> list[Play]:
        """Pass it to a tracker, and return the plays that it changes."""
        if self.is_after_gap:
            tracker.note_gap()
        return tracker.observe(self.player_state, self.stamp_ms, self.monotonic_ms)


class Poller:
    """Polls Spotify, passes the answers to the tracker, and its plays to the recorder.

    Args:
        spotify: The API client.
        recorder: Stores the plays.
        outbox: Keeps notes over a restart.
        backfiller: Finds missed plays.
        gap_monitor: Records gaps and reports health.
        clock: The time.
        schedule: When to poll after an answer.
        backoff: When to poll after a failure.
        timings: How long to wait for a rate limit or a login.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - all collaborators are passed in
        self,
        spotify: Spotify,
        recorder: Recorder,
        outbox: Outbox,
        backfiller: Backfiller,
        gap_monitor: GapMonitor,
        clock: Clock,
        schedule: PollSchedule,
        backoff: Backoff,
        timings: DaemonTimings = DEFAULT_TIMINGS,
    ) -> None:
        self._spotify = spotify
        self._recorder = recorder
        self._backfiller = backfiller
        self._gap_monitor = gap_monitor
        self._clock = clock
        self._schedule = schedule
        self._backoff = backoff
        self._timings = timings
        self._tracker = Tracker()  # until it is restored, only the schedule uses it
        self._is_restored = False
        self._memory = ""
        self._pending: list[_Polled] = []
        self._usage = Quota(outbox.note(REQUESTS_NOTE))
        self._counted = 0
        self._status: dict[str, FieldValue] = {"pid": os.getpid(), "version": __version__}
        self._trouble: str | None = ""  # None while Spotify answers, "" before the first answer
        self._login_trouble = ""

    def turn(self) -> Turn:
        """Poll once, and return when to poll again."""
        if not self._is_restored:
            self._restore()
        try:
            answer = self._spotify.player_state()
        except NotBefore as error:
            until = time.strftime("%Y-%m-%d %H:%M", time.localtime(self._clock.utc() + error.seconds))
            wait, what_next = min(error.seconds, self._timings.max_wait), f"; the next request is at {until}"
            turn = self._failed(error, RATE_LIMITED, wait, what_next)
        except LoginNeeded as error:
            self._login_trouble = str(error)
            turn = self._failed(error, LOGIN_DEAD, self._timings.login_check_interval)
        except TryLater as error:
            reason = OFFLINE if isinstance(error, Unreachable) else SPOTIFY_DOWN
            turn = self._failed(error, reason, self._backoff.failed(), "; retrying")
        else:
            self._backoff.succeeded()
            turn = self._answered(answer)
        self._gap_monitor.on_planned(turn.due)
        self._gap_monitor.report(
            self._spotify.login_valid_until,
            self._login_trouble,
            is_time_known=self._spotify.is_time_known,
            healthy=turn.ok,
        )
        return turn

    def flush(self) -> None:
        """Save what changes with every answer, before the process ends."""
        if self._is_restored:
            self._save()

    def _answered(self, answer: ApiResponse) -> Turn:
        player_state, stamp_ms = read_player_state(answer.body), round(answer.utc * 1000)
        if self._trouble is not None:
            log.info(f"Spotify answers{' again' if self._trouble else ''}: {describe(player_state)}")
            if not self._trouble:
                self._backfiller.on_start(stamp_ms)
            self._trouble = None
        self._login_trouble = ""
        span = self._gap_monitor.on_answer(stamp_ms, answer.monotonic)
        if span is not None:
            self._backfiller.on_gap()
        self._pending.append(
            _Polled(player_state, stamp_ms, round(answer.monotonic * 1000), span is not None)
        )
        self._status["login"] = "ok"
        self._status["blind"] = ""
        self._status["last_poll"] = to_iso(stamp_ms)
        if self._is_restored:
            self._track_pending()
            self._backfill()
        else:
            self._pending[-1].feed(self._tracker)
        self._schedule.slowdown = self._spotify.slowdown
        due = answer.monotonic + self._schedule.wait_after(self._tracker.seen, answer.monotonic)
        recorded = self._record(due, describe(player_state), player_state)
        return Turn(due, recorded, self._recorder.trouble or describe(player_state))

    def _failed(self, error: Exception, reason: str, wait: float, what_next: str = "") -> Turn:
        words = f"{error}{what_next}"
        if str(error) != self._trouble:
            say = log.error if isinstance(error, LoginNeeded) else log.warning
            say(words)
            self._trouble = str(error)
        due = self._clock.monotonic() + wait
        self._status["blind"] = reason
        if isinstance(error, LoginNeeded):  # other errors say nothing about the login
            self._status["login"] = "needed"
        self._gap_monitor.on_failure(reason)
        self._record(due, words, None)
        return Turn(due, ok=False, words=words)

    def _track_pending(self) -> None:
        """Pass pending answers to the tracker, and the plays to the recorder."""
        for polled in self._pending:
            before = self._tracker.play
            changed = polled.feed(self._tracker)
            self._memory = self._tracker.serialize()
            self._recorder.add(changed, self._memory)
            for play in changed:
                self._backfiller.on_listened(_newly_played_ms(before, play))
                if play.end_reason is not None:
                    log.info(format_play(play))
        self._pending.clear()

    def _backfill(self) -> None:
        if self._recorder.has_history:
            now_ms = round(self._clock.utc() * 1000)
            found = self._backfiller.fetch_if_due(self._tracker.play, now_ms, self._gap_monitor.unobserved)
            self._recorder.add([play for play in found if play.end_reason is not None], self._memory)

    def _restore(self) -> None:
        """Continue where an earlier process stopped, once that is known."""
        loaded = self._recorder.load()
        if loaded is not None:
            newest, self._memory, status = loaded
            self._usage.merge(status.get("requests_by_hour", ""))
            self._gap_monitor.resume(from_iso(status.get("last_poll", "")))
            self._tracker = Tracker.restore(newest, self._memory)
        elif len(self._pending) < MAX_PENDING_ANSWERS:
            return
        else:
            # Nothing is known to continue from, and the pending answers are not on disk yet.
            self._tracker = Tracker()
        self._is_restored = True

    def _record(self, due: float, words: str, player_state: PlayerState | None) -> bool:
        now = self._clock.utc()
        wait = due - self._clock.monotonic()
        until = self._spotify.login_valid_until
        self._usage.add(self._spotify.requests - self._counted, now)
        self._counted = self._spotify.requests
        status: dict[str, FieldValue] = {
            **self._status,
            "next_poll": to_iso(round((now + wait) * 1000)),
            "state": log.sanitize(words),
            "login_valid_until": "" if until is None else to_iso(round(until * 1000)),
        }
        if not self._is_restored:  # the status in Redis has not been read yet, and must not be overwritten
            return self._recorder.write(None, wait, status)
        if self._gap_monitor.is_save_due():
            self._save()
        status["requests_24h"] = self._usage.total(now)
        status["requests_by_hour"] = self._usage.to_text()
        status["tracker"] = self._memory
        shown = (
            None
            if player_state is None or player_state.kind is StateKind.NO_INFORMATION
            else self._tracker.play
        )
        return self._recorder.write(shown, wait, status)

    def _save(self) -> None:
        requests = {REQUESTS_NOTE: self._usage.to_text()}
        self._recorder.save({**self._gap_monitor.to_notes(), **requests, **self._backfiller.to_note()})


def _newly_played_ms(before: Play | None, play: Play) -> int:
    """Return the milliseconds of a play that were added since its previous state."""
    is_same = before is not None and (before.started_ms, before.item.uri) == (play.started_ms, play.item.uri)
    return play.ms_played - before.ms_played if is_same and before is not None else play.ms_played


def describe(player_state: PlayerState) -> str:
    """Describe what the player does, for people."""
    if player_state.private:
        return "private session, not logged"
    if player_state.kind is StateKind.NO_INFORMATION:
        return "nothing is playing"
    if player_state.kind is StateKind.ADVERTISEMENT:
        return "an advertisement is playing"
    doing = "playing" if player_state.playing else "paused"
    device = player_state.fields.get("device_name")
    return f"{doing} {format_title(player_state.fields)}" + (f", {device}" if device else "")
