"""Alerts for a person, and a heartbeat for a dead man's switch.

What has been sent is kept in a note, so that neither the next turn nor a restart sends it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from math import ceil
from typing import TYPE_CHECKING, Protocol

from spotify_logger.core.backoff import Backoff
from spotify_logger.core.times import is_second, local
from spotify_logger.spotify.http import Request
from spotify_logger.system import log
from spotify_logger.system.errors import LOGIN_ADVICE, TryLater
from spotify_logger.system.state import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from spotify_logger.spotify.http import Send
    from spotify_logger.system.clock import Clock

ALERTS_NOTE = "alerts"
"""The note with the alerts that were raised, and those waiting to be delivered."""
DAY = 86400.0
REMINDER_DAYS = (30, 14, 7, 3, 1)
"""Days before a login expires at which a reminder is sent."""
MAX_QUEUED = 10
"""Most alerts that wait for delivery; ten are enough to read on coming back."""
MAX_TEXT_LENGTH = 600
"""Characters in an alert at most."""
MIN_RETRY, MAX_RETRY = 60.0, 3600.0
"""Seconds before an undelivered alert is retried."""
HEARTBEAT_INTERVAL = 300.0
"""Seconds between heartbeats."""
HEARTBEAT_RETRY = 60.0
"""Seconds before a failed heartbeat is retried."""

_NO_REMINDER = REMINDER_DAYS[0] + 1  # no reminder has been sent for this login yet
_LOGIN, _DAYS_LEFT = "login", "login-days"
_SUCCESS = range(200, 300)
_REJECTED = range(300, 500)
_TRANSIENT = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


class Notes(Protocol):
    """Short texts that survive a restart."""

    def note(self, name: str) -> str:
        """Return the note called `name`; "" when there is none."""

    def set_note(self, name: str, text: str) -> None:
        """Save a note durably."""


@dataclass
class _AlertState:
    """State that survives a restart; the field names are JSON keys in the note.

    Attributes:
        ends: When the current login expires, in seconds since the epoch; None if not known yet.
        days: The last reminder sent, one of `REMINDER_DAYS`; `_NO_REMINDER` before the first.
        raised: The keys of alerts that were raised and are not resolved yet.
        queue: Texts waiting for delivery, by key, oldest first.
    """

    ends: float | None
    days: int
    raised: list[str]
    queue: dict[str, str]


class Alerts:
    """Sends each alert once, as a plain-text POST, and retries until it is delivered.

    Args:
        send: Sends the requests.
        url: ALERT_URL; "" turns alerts off, and only the log has the messages.
        clock: The time, for retries.
        notes: Where the state is kept.
        chance: Returns a number from 0 to 1, for jitter.
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
        """Remind of an expiring login, and alert when it fails and when it works again.

        Args:
            valid_until: When the login expires, in seconds since the epoch; None if unknown.
            trouble: Why the login does not work, one line; "" while it does.
            now: Seconds since the epoch, from a clock known to be right: a reminder sent too early is
                not sent again.
        """
        state = self._state
        if trouble:
            state.queue.pop(_DAYS_LEFT, None)  # too late for a reminder
            self.notify(_LOGIN, _login_failed_text(trouble))
            return
        if _LOGIN in state.raised:
            state.raised.remove(_LOGIN)
            # Replaces the failure alert if it is still queued. It cannot be dropped together with it: a POST
            # with a lost response may have arrived.
            self._queue(_LOGIN, _login_works_text(valid_until, now))
        if valid_until is not None:
            self._remind(valid_until, now)
        self._save()

    def notify(self, key: str, text: str) -> None:
        """Queue an alert, once until it is resolved. Nothing is logged.

        Args:
            key: What the alert is about.
            text: One or two sentences without secrets; the name of the project is prefixed.
        """
        if key not in self._state.raised:
            self._state.raised.append(key)
            self._queue(key, text)
        self._save()

    def resolve(self, key: str) -> None:
        """Mark an alert as over: drop it if it is still queued, and allow it to be raised again."""
        if key in self._state.raised:
            self._state.raised.remove(key)
            self._state.queue.pop(key, None)
            self._save()

    def deliver(self) -> None:
        """Send the oldest queued alert, unless its retry is not due yet."""
        queue = self._state.queue
        if not queue or self._clock.monotonic() < self._retry_at:
            return
        key = next(iter(queue))
        # The note drops an alert only after it has arrived. A crash in between sends it twice, and so does a
        # lost response; that is better than an alert nobody receives.
        status, problem = _attempt(self._send, Request("POST", self._url, text=queue[key]), "ALERT_URL")
        if problem:
            self._failed(status, problem)
            return
        del queue[key]
        self._save()
        self._backoff.succeeded()
        if self._failing:
            self._failing = False
            log.info("alerts are delivered again")

    def _remind(self, valid_until: float, now: float) -> None:
        state = self._state
        if state.ends is None or abs(valid_until - state.ends) > DAY:  # a new login
            state.ends, state.days = valid_until, _NO_REMINDER
            state.queue.pop(_DAYS_LEFT, None)
        left = (valid_until - now) / DAY
        days = min((days for days in REMINDER_DAYS if left <= days), default=_NO_REMINDER)
        # A login that works past its expiry is about to be refused, or lasts longer than documented.
        if left <= 0 or days >= state.days:
            return
        state.days = days
        text = _login_ends_text(valid_until, ceil(left))
        say = log.error if days == REMINDER_DAYS[-1] else log.warning
        say(text)
        self._queue(_DAYS_LEFT, text)

    def _queue(self, key: str, text: str) -> None:
        """Queue a text, replacing an older one with the same key."""
        queue = self._state.queue
        if self._url:
            queue[key] = log.sanitize(f"Spotify Logger: {text}", MAX_TEXT_LENGTH)
        while len(queue) > MAX_QUEUED:
            del queue[next(iter(queue))]

    def _save(self) -> None:
        """Write the note if it changed: this runs every turn, and SD cards wear out."""
        text = self._to_note()
        if text != self._saved:
            self._notes.set_note(ALERTS_NOTE, text)
            self._saved = text

    def _to_note(self) -> str:
        return to_json(self._state)

    def _failed(self, status: int, problem: str) -> None:
        wait = self._backoff.failed()
        if status in _REJECTED and status not in _TRANSIENT:
            wait = MAX_RETRY  # only a person can fix that, and there is no other way to reach one
        self._retry_at = self._clock.monotonic() + wait
        if not self._failing:
            self._failing = True
            log.warning(f"cannot deliver the alert ({problem}); retrying")


class Heartbeat:
    """Pings a dead man's switch, which raises the alarm when the pings stop.

    Args:
        send: Sends the requests.
        url: HEARTBEAT_URL; "" turns heartbeats off.
        clock: The time, for the interval.
    """

    def __init__(self, send: Send, url: str, clock: Clock) -> None:
        self._send = send
        self._url = url
        self._clock = clock
        self._due = float("-inf")
        self._failing = False

    def beat(self, *, healthy: bool) -> None:
        """Send a heartbeat if the logger is healthy and one is due."""
        now = self._clock.monotonic()
        if not (healthy and self._url) or now < self._due:
            return
        _, problem = _attempt(self._send, Request("GET", self._url), "HEARTBEAT_URL")
        self._due = now + (HEARTBEAT_RETRY if problem else HEARTBEAT_INTERVAL)
        if problem and not self._failing:
            log.warning(f"cannot send the heartbeat ({problem}); retrying")
        if self._failing and not problem:
            log.info("the heartbeat works again")
        self._failing = bool(problem)


def _attempt(send: Send, request: Request, setting: str) -> tuple[int, str]:
    """Send a request; return the status (0 without a response) and the problem ("" on success)."""
    try:
        status = send(request).status
    except TryLater as error:
        return 0, str(error)
    return status, "" if status in _SUCCESS else f"{setting} answered {status}"


def _read_state(note: str) -> _AlertState:
    """Return the state in a note; an invalid note counts as none."""
    state = from_json(_AlertState, note.replace('"told":', '"raised":', 1))  # as version 0.5.0 named it
    return state if state is not None and _is_valid(state) else _AlertState(None, _NO_REMINDER, [], {})


def _is_valid(state: _AlertState) -> bool:
    is_time = state.ends is None or is_second(state.ends)
    return is_time and state.days in (*REMINDER_DAYS, _NO_REMINDER) and len(state.queue) <= MAX_QUEUED


def _login_ends_text(valid_until: float, days: int) -> str:
    left = f"{days} day{'' if days == 1 else 's'}"
    return f"The Spotify login expires in {left}, on {_local_time(valid_until)}: {LOGIN_ADVICE}"


def _login_failed_text(trouble: str) -> str:
    advice = "" if LOGIN_ADVICE in trouble else f"; if it stays like this, {LOGIN_ADVICE}"
    return (
        f"The Spotify login does not work, so nothing is logged. {trouble[:1].upper()}{trouble[1:]}{advice}"
    )


def _login_works_text(valid_until: float | None, now: float) -> str:
    end = "" if valid_until is None else f" It expires on {_local_time(valid_until)}."
    return f"The Spotify login works again since {_local_time(now, '%Y-%m-%d %H:%M')}; plays are logged.{end}"


def _local_time(second: float, form: str = "%Y-%m-%d") -> str:
    return f"{local(second):{form}}"
