"""Asking Spotify's Web API: every answer becomes a value, or one of the few errors that say what to do now.

The status decides; the body of an error is only read for what it adds, for it can be JSON, plain text, HTML,
or not there at all.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn

from spotify_logger.spotify.http import Request
from spotify_logger.spotify.oauth import retry_after, server_time
from spotify_logger.spotify.token_manager import LOGIN_ADVICE, TokenManager
from spotify_logger.system.errors import LoginNeeded, TryLater
from spotify_logger.system.log import sanitize

if TYPE_CHECKING:
    from spotify_logger.config.settings import Settings
    from spotify_logger.spotify.http import Response, Send
    from spotify_logger.spotify.oauth import Token, TokenFile
    from spotify_logger.spotify.rate_limit import RateLimit
    from spotify_logger.system.clock import Clock
    from spotify_logger.system.errors import NotBefore

PLAYER_PATH = "/v1/me/player"
RECENTLY_PLAYED_PATH = "/v1/me/player/recently-played"

QUOTA_COOLDOWN = 3600.0
"""Seconds to wait where the daily quota is used up and nothing says until when; 8 to 14 h have been seen."""
FIRST_RETRY_DELAY = 60.0
"""Seconds before something that was refused is tried again; they double as long as it stays refused."""
MAX_REFUSAL_RETRY_DELAY = 600.0
"""The longest of these waits for an account or app that Spotify refuses."""
MAX_RENEWAL_RETRY_DELAY = 3600.0
"""The longest of these waits for another access token, while the API refuses even fresh ones."""
MAX_ACCURATE_LATENCY = 2.0
"""Seconds within which an answer comes, as a rule; the `Date` of one that takes longer may be out of date."""

_MAX_ERROR_LENGTH = 200
_SUCCESS = range(200, 300)


@dataclass(frozen=True)
class ApiResponse:
    """What Spotify said, and when.

    Attributes:
        body: The JSON object; None where there is nothing to say (204).
        monotonic: The middle of the request that brought it, by `Clock.monotonic`.
        utc: The same moment by `Clock.utc`.
    """

    body: dict[str, object] | None
    monotonic: float
    utc: float


@dataclass(frozen=True)
class _Reply:
    """A response; `monotonic` is the middle of its request, `token` the one that it was asked for with."""

    response: Response
    monotonic: float
    token: Token

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def error_detail(self) -> str:
        """What an error says, in whichever shape it comes: " (…)" to put behind its status, or ""."""
        message = _error_object(self.response.body).get("message")
        text = message if isinstance(message, str) else self.response.body.decode("utf-8", "replace").strip()
        if self.token.access_token:
            text = text.replace(self.token.access_token, "***")
        is_page = text.startswith("<")  # HTML says nothing
        return f" ({sanitize(text, _MAX_ERROR_LENGTH)})" if text and not is_page else ""


class _RetryDelay:
    """Something that keeps being refused, and when it is worth another try."""

    def __init__(self, clock: Clock, longest: float) -> None:
        self._clock = clock
        self._longest = longest
        self._next = FIRST_RETRY_DELAY
        self._until = 0.0

    def postpone(self) -> None:
        self._until = self._clock.monotonic() + self._next
        self._next = min(2 * self._next, self._longest)

    def reset(self) -> None:
        self._next, self._until = FIRST_RETRY_DELAY, 0.0

    def is_waiting(self) -> bool:
        return self._clock.monotonic() < self._until


class _Refusal:
    """An endpoint that refuses a login until a person acts."""

    def __init__(self, clock: Clock) -> None:
        self._retry_delay = _RetryDelay(clock, MAX_REFUSAL_RETRY_DELAY)
        self._message = ""
        self._login_count = 0

    def begin(self, message: str, login_count: int) -> LoginNeeded:
        """Begin, or go on; `login` is `Access.logins`. The error to raise is returned."""
        self._retry_delay.postpone()
        self._message, self._login_count = message, login_count
        return LoginNeeded(message)

    def check(self, login_count: int) -> None:
        """Raise the same error again, unless it is worth another try or somebody has logged in."""
        if self._retry_delay.is_waiting() and login_count == self._login_count:
            raise LoginNeeded(self._message)

    def end(self) -> None:
        self._retry_delay.reset()


class Spotify:
    """The player endpoints, for one listener.

    Args:
        send: Carries the requests.
        settings: The app, and where the services are.
        token_file: Holds the login.
        clock: Tells the time, and is told it by the `Date` of every answer.
        gate: Knows when nothing may be sent.

    Attributes:
        requests: How many were sent so far, those to the token endpoint included.
        is_time_known: Whether an answer has told the time, to this process.
    """

    def __init__(
        self, send: Send, settings: Settings, token_file: TokenFile, clock: Clock, rate_limit: RateLimit
    ) -> None:
        self.requests = 0
        self.is_time_known = False
        self._send = send
        self._url = settings.api_url
        self._clock = clock
        self._rate_limit = rate_limit
        self._token_manager = TokenManager(self._send_counted, settings, token_file, clock, rate_limit)
        self._renewal = _RetryDelay(clock, MAX_RENEWAL_RETRY_DELAY)
        self._refusals = {path: _Refusal(clock) for path in (PLAYER_PATH, RECENTLY_PLAYED_PATH)}

    @property
    def login_valid_until(self) -> float | None:
        """When the login ends, in seconds since the epoch; None when there is none, or nobody knows."""
        return self._token_manager.valid_until

    @property
    def slowdown(self) -> float:
        """By how much to slow the pace, 1.0 as a rule: Spotify has limited us again and again."""
        return self._rate_limit.slowdown()

    def player_state(self) -> ApiResponse:
        """Ask what the player does at this moment (`GET /v1/me/player`).

        Raises:
            TryLater: No answer, or one that makes no sense.
            NotBefore: Spotify asked to wait; nothing was sent if that was known before.
            LoginNeeded: There is no login, it is dead, or it may not see this (403; 401 for a missing scope).
                Most of these come without asking, until it is worth another try.
        """
        # Without `additional_types` an episode comes as a null item (spotipy-dev/spotipy#562).
        return self._get(PLAYER_PATH, "additional_types=track,episode")

    def recently_played(self, limit: int = 50, after_ms: int | None = None) -> ApiResponse:
        """Ask for the tracks that were played last, the newest first (`GET /v1/me/player/recently-played`).

        Args:
            limit: How many, at most 50; there are never more, not by paging either (spotify/web-api#1405).
            after_ms: Only what ended after it, milliseconds since the epoch.

        Raises:
            TryLater: See `playback`.
            NotBefore: See `playback`.
            LoginNeeded: See `playback`.
        """
        after = "" if after_ms is None else f"&after={after_ms}"
        return self._get(RECENTLY_PLAYED_PATH, f"limit={limit}{after}")

    def _get(self, path: str, query: str) -> ApiResponse:
        self._rate_limit.check("api")
        token = self._token_manager.token()
        refusal = self._refusals[path]
        refusal.check(self._token_manager.login_count)
        url = f"{self._url}{path}?{query}"
        reply = self._request(url, token)
        if _can_renewal_help(reply):
            reply = self._request(url, self._renewed_token(reply))
        return self._interpret(reply, refusal)

    def _send_counted(self, request: Request) -> Response:
        """Send a request, to either service, and take the time from its answer."""
        self.requests += 1
        before = self._clock.monotonic()
        response = self._send(request)
        self._sync_clock(response, self._clock.monotonic() - before)
        return response

    def _request(self, url: str, token: Token) -> _Reply:
        headers = {"Authorization": f"Bearer {token.access_token}"}
        before = self._clock.monotonic()
        response = self._send_counted(Request("GET", url, headers))
        return _Reply(response, (before + self._clock.monotonic()) / 2, token)

    def _sync_clock(self, response: Response, latency: float) -> None:
        """Tell the clock what the answer's `Date` says, unless the clock may know it better.

        The server looked at its clock at some moment of the `taken` seconds, on average in their middle, and
        cut it to whole seconds. So a slow answer can only show that a clock is grossly wrong.
        """
        date = server_time(response.headers)
        if date is None:
            return
        self.is_time_known = True
        is_possible = 0 <= self._clock.utc() - date <= latency + 1
        if latency <= MAX_ACCURATE_LATENCY or not is_possible:
            self._clock.correct(date + latency / 2)

    def _renewed_token(self, reply: _Reply) -> Token:
        if self._renewal.is_waiting():
            raise TryLater(f"Spotify refuses even a fresh access token{reply.error_detail}")
        token = self._token_manager.renew(reply.token)
        self._renewal.postpone()
        return token

    def _interpret(self, reply: _Reply, refusal: _Refusal) -> ApiResponse:
        if reply.status in _SUCCESS:
            self._rate_limit.end_cooldown("api")
            self._renewal.reset()
            refusal.end()
            return self._to_response(reply)
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise self._rate_limited(reply)
        if _lacks_permission(reply):
            message = f"this login may not see what plays{reply.error_detail}: {LOGIN_ADVICE}"
            raise refusal.begin(message, self._token_manager.login_count)
        if reply.status == HTTPStatus.FORBIDDEN:
            raise refusal.begin(
                f"Spotify refuses this account or app{reply.error_detail}", self._token_manager.login_count
            )
        raise TryLater(f"Spotify answers {reply.status}{reply.error_detail}")

    def _to_response(self, reply: _Reply) -> ApiResponse:
        utc = self._clock.utc() - (self._clock.monotonic() - reply.monotonic)
        return ApiResponse(_parse_body(reply.response), reply.monotonic, utc)

    def _rate_limited(self, reply: _Reply) -> NotBefore:
        asked = retry_after(reply.response.headers, self._clock.utc())
        if _error_object(reply.response.body).get("reason") == "QUOTA_EXCEEDED":
            return self._rate_limit.start_cooldown(
                "api", asked, "Spotify's daily quota is used up", QUOTA_COOLDOWN
            )
        return self._rate_limit.start_cooldown("api", asked, "Spotify's rate limit is reached")


def _can_renewal_help(reply: _Reply) -> bool:
    """Return whether another access token can help.

    One that is garbled, not just old, is answered with 400 and this sentence (spotipy-dev/spotipy#687).
    """
    garbled = reply.status == HTTPStatus.BAD_REQUEST and "valid bearer authentication" in reply.error_detail
    return garbled or (reply.status == HTTPStatus.UNAUTHORIZED and not _lacks_permission(reply))


def _lacks_permission(reply: _Reply) -> bool:
    """Return whether a scope is missing: no refresh adds one (FoxxMD/multi-scrobbler, SpotifySource.ts)."""
    return reply.status == HTTPStatus.UNAUTHORIZED and "Permissions missing" in reply.error_detail


def _parse_body(response: Response) -> dict[str, object] | None:
    """Return the object that a successful response holds; None where there is none, as there need not be.

    Raises:
        TryLater: It holds something else.
    """
    empty = response.status != HTTPStatus.OK and not response.body.strip()
    if empty or response.status == HTTPStatus.NO_CONTENT:
        return None
    body = _parse_object(response.body)
    if body is None:
        raise TryLater(f"Spotify answers {response.status} without a JSON object")
    return body


def _error_object(body: bytes) -> dict[str, object]:
    """Return the error object of a Web API error, empty where the body has another shape."""
    error = (_parse_object(body) or {}).get("error")
    return error if isinstance(error, dict) else {}


def _parse_object(body: bytes) -> dict[str, object] | None:
    """Return the JSON object that `body` is, or None."""
    try:
        value = json.loads(body, parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are no JSON, although Python takes them
