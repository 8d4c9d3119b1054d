"""Alerts for a person, each sent once, whatever is restarted; and a heartbeat for a dead man's switch."""

from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

from spotify_logger.config.settings import Settings
from spotify_logger.core.backoff import Backoff
from spotify_logger.core.times import local
from spotify_logger.spotify.http import Request, Send
from spotify_logger.storage.outbox import Outbox
from spotify_logger.system import log
from spotify_logger.system.clock import Clock
from spotify_logger.system.errors import LOGIN_ADVICE, TryLater
from spotify_logger.system.state import from_json, to_json

ALERTS_NOTE = "alerts"
DAY = 86400.0
REMINDER_DAYS = (30, 14, 7, 3, 1)  # days before a login expires at which a reminder is sent
MAX_TEXT_LENGTH = 600  # the maximum number of characters in an alert
MIN_RETRY, MAX_RETRY = 60.0, 3600.0  # seconds before a failed request is tried again
HEARTBEAT_INTERVAL, HEARTBEAT_RETRY = 300.0, 60.0  # seconds between heartbeats, and after a failed one

_NO_REMINDER = REMINDER_DAYS[0] + 1  # no reminder has been sent for this login yet
_LOGIN, _DAYS_LEFT = "login", "login-days"


class _Webhook:
    """An address that gets requests; of several failures in a row, the first one is logged."""

    def __init__(self, send: Send, url: str, setting: str, failure: str) -> None:
        self._send, self.url, self._setting, self._failure = send, url, setting, failure
        self._is_failing = False

    def request(self, method: str, text: str | None = None) -> bool:
        """Send a request, and return whether it succeeded."""
        try:
            status = self._send(Request(method, self.url, text=text)).status
            problem = "" if status in range(200, 300) else f"{self._setting} answered {status}"
        except TryLater as error:
            problem = str(error)
        if problem and not self._is_failing:
            log.warning(f"{self._failure} ({problem}); retrying")
        elif self._is_failing and not problem:
            log.info(f"{self._setting} works again")
        self._is_failing = bool(problem)
        return not problem


@dataclass
class _AlertState:
    """State that survives a restart; the field names are JSON keys in the note."""

    ends: float | None = None  # when the login expires, in seconds since the epoch, if it is known
    days: int = _NO_REMINDER  # the last reminder sent, one of `REMINDER_DAYS`
    raised: list[str] = field(default_factory=list)  # keys of alerts that are not resolved yet
    queue: dict[str, str] = field(default_factory=dict)  # texts to deliver, by key, oldest first


class Alerts:
    """Sends each alert once, as a plain-text POST, and retries until it arrives; nothing without a URL."""

    def __init__(
        self, send: Send, settings: Settings, clock: Clock, outbox: Outbox, chance: Callable[[], float]
    ) -> None:
        self._webhook = _Webhook(send, settings.alert_url, "ALERT_URL", "cannot deliver the alert")
        self._heartbeat = _Webhook(send, settings.heartbeat_url, "HEARTBEAT_URL", "cannot send the heartbeat")
        self._clock, self._outbox = clock, outbox
        self._backoff = Backoff(MIN_RETRY, MAX_RETRY, chance)
        self._retry_at = self._beat_at = float("-inf")
        note = outbox.note(ALERTS_NOTE).replace('"told":', '"raised":', 1)  # as version 0.5.0 named it
        self._state = from_json(_AlertState, note) or _AlertState()
        if not settings.alert_url:
            self._state.queue.clear()

    def check_login(self, valid_until: float | None, trouble: str) -> None:
        """Remind of a login that expires (seconds since the epoch), and alert when it fails or recovers."""
        now = self._clock.utc()
        if trouble:
            self._state.queue.pop(_DAYS_LEFT, None)  # too late for a reminder
            advice = "" if LOGIN_ADVICE in trouble else f"; if this persists, {LOGIN_ADVICE}"
            reason = trouble[:1].upper() + trouble[1:] + advice
            trouble = f"the Spotify login does not work, so nothing is logged. {reason}"
        end = "" if valid_until is None else f" It expires on {local(valid_until):%Y-%m-%d}."
        since = f"{local(now):%Y-%m-%d %H:%M}"
        over = f"The Spotify login has worked again since {since}; plays are logged.{end}"
        self.follow(_LOGIN, trouble, over)
        if valid_until is not None and not trouble:
            self._remind(valid_until, now)
            self._save()

    def follow(self, key: str, trouble: str, over: str = "") -> None:
        """Send an alert once while there is `trouble`, and one that it is `over`, if that has a text."""
        is_raised = key in self._state.raised
        if trouble and not is_raised:
            self._state.raised.append(key)
            self._queue(key, f"{trouble[:1].upper()}{trouble[1:]}.")
        elif is_raised and not trouble:
            self._state.raised.remove(key)
            self._state.queue.pop(key, None)
            if over:  # even if the first alert is still queued: a POST with a lost response may have arrived
                self._queue(key, over)
        self._save()

    def deliver(self) -> None:
        """Send the oldest queued alert, unless its retry is not due yet."""
        queue = self._state.queue
        if not queue or self._clock.monotonic() < self._retry_at:
            return
        key = next(iter(queue))
        # The note drops an alert only after it has arrived. A crash in between sends it twice, and so does a
        # lost response; that is better than an alert nobody receives.
        if self._webhook.request("POST", queue[key]):
            del queue[key]
            self._save()
            self._backoff.succeeded()
        else:
            self._retry_at = self._clock.monotonic() + self._backoff.failed()

    def beat(self) -> None:
        """Ping the dead man's switch, if there is one and it is due; it raises the alarm when that stops."""
        now = self._clock.monotonic()
        if self._heartbeat.url and now >= self._beat_at:
            self._beat_at = now + (HEARTBEAT_INTERVAL if self._heartbeat.request("GET") else HEARTBEAT_RETRY)

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
        in_days = f"{ceil(left)} day{'' if ceil(left) == 1 else 's'}"
        text = f"The Spotify login expires in {in_days}, on {local(valid_until):%Y-%m-%d}: {LOGIN_ADVICE}"
        say = log.error if days == REMINDER_DAYS[-1] else log.warning
        say(text)
        self._queue(_DAYS_LEFT, text)

    def _queue(self, key: str, text: str) -> None:
        if self._webhook.url:
            self._state.queue[key] = log.sanitize(f"Spotify Logger: {text}", MAX_TEXT_LENGTH)

    def _save(self) -> None:
        self._outbox.set_note(ALERTS_NOTE, to_json(self._state))
