"""Calls a person when one is needed, and a dead man's switch while none is.

What was told is noted, so that neither the next turn of the loop nor a restart tells it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Protocol

from spotify_logger.core.backoff import Backoff
from spotify_logger.core.times import local
from spotify_logger.spotify.http import Request
from spotify_logger.system import log
from spotify_logger.system.errors import LOGIN_ADVICE, TryLater
from spotify_logger.system.state import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from spotify_logger.spotify.http import Send
    from spotify_logger.system.clock import Clock

ALERTS_NOTE = "alerts"
"""The note that keeps what was told, and what waits to be delivered."""
DAY = 86400.0
REMINDER_DAYS = (30, 14, 7, 3, 1)
"""Days before the end of a login at which a person is called."""
MAX_QUEUED = 10
"""Alerts that wait at most; whoever comes back to ten has read enough."""
MAX_TEXT_LENGTH = 600
"""Characters of an alert."""
MIN_RETRY, MAX_RETRY = 60.0, 3600.0
"""Seconds after which an alert that was not delivered is tried again."""
HEARTBEAT_INTERVAL = 300.0
"""Seconds between two heartbeats."""
HEARTBEAT_RETRY = 60.0
"""Seconds after which a heartbeat that failed is tried again."""

_NO_REMINDER = REMINDER_DAYS[0] + 1  # stands for the days ahead at which nothing was told yet
_MAX_SECOND = 2.0**40  # seconds since the epoch; what is later is no time but garbage
_LOGIN, _DAYS_LEFT = "login", "login-days"
_SUCCESS = range(200, 300)
_REJECTED = range(300, 500)
_TRANSIENT = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


class Notes(Protocol):
    """Small texts that survive a restart."""

    def note(self, name: str) -> str:
        """The text of that name; "" when there is none."""

    def set_note(self, name: str, text: str) -> None:
        """Keep a text; when this returns, a restart finds it."""


@dataclass
class _AlertState:
    """What a restart must not forget.

    Attributes:
        ends: When the login that is watched ends, in seconds since the epoch; None before one was.
        days: How many days ahead of that was told last, one of `DAYS_AHEAD`; `_UNTOLD` before the first.
        told: The keys of what was told and is not over.
        queue: The texts that wait to be delivered, by key, the oldest first.
    """

    ends: float | None
    days: int
    told: list[str]
    queue: dict[str, str]


class Alerts:
    """Tells each thing once, by a plain-text POST; what cannot be delivered is tried again.

    Args:
        send: Carries the alerts.
        url: Where to; "" when nobody wants any, then only the log is told.
        clock: Tells when to try again.
        notes: Remember over a restart what was told.
        chance: Gives a number from 0 to 1, for the jitter.
    """

    def __init__(self, send: Send, url: str, clock: Clock, notes: Notes, chance: Callable[[], float]) -> None:
        self._send = send
        self._url = url
        self._clock = clock
        self._notes = notes
        self._backoff = Backoff(MIN_RETRY, MAX_RETRY, chance)
        self._retry_at = float("-inf")
        self._failing = False
        self._state = _read_state(notes.note(ALERTS_NOTE))
        self._saved = self._to_note()
        if not url:
            self._state.queue.clear()

    def check_login(self, valid_until: float | None, trouble: str, now: float) -> None:
        """Watch over the login; its end is announced, its death and its recovery are told.

        Args:
            valid_until: When it ends, in seconds since the epoch; None when nobody knows.
            trouble: Why it does not work, one line; "" while it does.
            now: Seconds since the epoch; to be right, for what is told too early is never told again.
        """
        state = self._state
        if trouble:
            state.queue.pop(_DAYS_LEFT, None)  # too late for that
            self.notify(_LOGIN, _login_failed_text(trouble))
            return
        if _LOGIN in state.told:
            state.told.remove(_LOGIN)
            # Takes the place of the death where that waits still. It is not dropped with it: a POST whose
            # answer got lost may have arrived.
            self._queue(_LOGIN, _login_works_text(valid_until, now))
        if valid_until is not None:
            self._remind(valid_until, now)
        self._save()

    def notify(self, key: str, text: str) -> None:
        """Tell a person something, once until it is over. The log is not told.

        Args:
            key: What it is about, one of few.
            text: One or two sentences, without secrets; the name of the project is put before them.
        """
        if key not in self._state.told:
            self._state.told.append(key)
            self._queue(key, text)
        self._save()

    def resolve(self, key: str) -> None:
        """Take note that something is over: it may be told again, and need not be delivered any more."""
        if key in self._state.told:
            self._state.told.remove(key)
            self._state.queue.pop(key, None)
            self._save()

    def deliver(self) -> None:
        """Send the oldest alert that waits, unless it is too early to try again."""
        queue = self._state.queue
        if not queue or self._clock.monotonic() < self._retry_at:
            return
        key = next(iter(queue))
        # It was noted when it was queued, and leaves the note when it has arrived. A crash in between repeats
        # this one, and so does an answer that gets lost; better than an alert that nobody gets.
        status, problem = _attempt(self._send, Request("POST", self._url, text=queue[key]), "ALERT_URL")
        if problem:
            self._failed(status, problem)
            return
        del queue[key]
        self._save()
        self._backoff.succeeded()
        if self._failing:
            self._failing = False
            log.info("The alert is delivered at last")

    def _remind(self, valid_until: float, now: float) -> None:
        state = self._state
        if state.ends is None or abs(valid_until - state.ends) > DAY:  # another login
            state.ends, state.days = valid_until, _NO_REMINDER
            state.queue.pop(_DAYS_LEFT, None)
        left = (valid_until - now) / DAY
        days = min((days for days in REMINDER_DAYS if left <= days), default=_NO_REMINDER)
        # One that works beyond its end is about to be refused, or lives longer than we know.
        if left <= 0 or days >= state.days:
            return
        state.days = days
        text = _login_ends_text(valid_until, ceil(left))
        say = log.error if days == REMINDER_DAYS[-1] else log.warning
        say(text)
        self._queue(_DAYS_LEFT, text)

    def _queue(self, key: str, text: str) -> None:
        """Let a text wait, in the place of an older one about the same: that one has no use any more."""
        queue = self._state.queue
        if self._url:
            queue[key] = log.sanitize(f"Spotify Logger: {text}", MAX_TEXT_LENGTH)
        while len(queue) > MAX_QUEUED:
            del queue[next(iter(queue))]

    def _save(self) -> None:
        """Write the note, if it changed: this is called at every turn, and an SD card wears out."""
        text = self._to_note()
        if text != self._saved:
            self._notes.set_note(ALERTS_NOTE, text)
            self._saved = text

    def _to_note(self) -> str:
        return to_json(self._state)

    def _failed(self, status: int, problem: str) -> None:
        wait = self._backoff.failed()
        if status in _REJECTED and status not in _TRANSIENT:
            wait = MAX_RETRY  # only a person can help, but which one would be told?
        self._retry_at = self._clock.monotonic() + wait
        if not self._failing:
            self._failing = True
            log.warning(f"The alert cannot be delivered ({problem}); it is tried again")


class Heartbeat:
    """Tells a dead man's switch that all is well; it raises the alarm when it hears nothing.

    Args:
        send: Carries the heartbeats.
        url: What is asked for; "" when there is no such switch.
        clock: Tells when the next one is due.
    """

    def __init__(self, send: Send, url: str, clock: Clock) -> None:
        self._send = send
        self._url = url
        self._clock = clock
        self._due = float("-inf")
        self._failing = False

    def beat(self, *, healthy: bool) -> None:
        """Ask for the address if all is `well` and it is time."""
        now = self._clock.monotonic()
        if not (healthy and self._url) or now < self._due:
            return
        _, problem = _attempt(self._send, Request("GET", self._url), "HEARTBEAT_URL")
        self._due = now + (HEARTBEAT_RETRY if problem else HEARTBEAT_INTERVAL)
        if problem and not self._failing:
            log.warning(f"The heartbeat does not arrive ({problem}); it is tried again")
        if self._failing and not problem:
            log.info("The heartbeat arrives again")
        self._failing = bool(problem)


def _attempt(send: Send, request: Request, setting: str) -> tuple[int, str]:
    """Send, and return the status, 0 where no answer came; and what is wrong, "" for a success."""
    try:
        status = send(request).status
    except TryLater as error:
        return 0, str(error)
    return status, "" if status in _SUCCESS else f"{setting} answers {status}"


def _read_state(note: str) -> _AlertState:
    """Return what a note holds; one that makes no sense is as good as none."""
    state = from_json(_AlertState, note)
    return state if state is not None and _is_valid(state) else _AlertState(None, _NO_REMINDER, [], {})


def _is_valid(state: _AlertState) -> bool:
    is_time = state.ends is None or 0 <= state.ends < _MAX_SECOND
    return is_time and state.days in (*REMINDER_DAYS, _NO_REMINDER) and len(state.queue) <= MAX_QUEUED


def _login_ends_text(valid_until: float, days: int) -> str:
    left = f"{days} day{'' if days == 1 else 's'}"
    return f"The login at Spotify ends in {left}, on {_local_time(valid_until)}: {LOGIN_ADVICE}"


def _login_failed_text(trouble: str) -> str:
    advice = "" if LOGIN_ADVICE in trouble else f"; in doubt, {LOGIN_ADVICE}"
    return f"The login does not work, and nothing is logged. {trouble[:1].upper()}{trouble[1:]}{advice}"


def _login_works_text(valid_until: float | None, now: float) -> str:
    end = "" if valid_until is None else f" It ends on {_local_time(valid_until)}."
    return f"The login works again since {_local_time(now, '%Y-%m-%d %H:%M')}, and plays are logged.{end}"


def _local_time(second: float, form: str = "%Y-%m-%d") -> str:
    return f"{local(second):{form}}"
