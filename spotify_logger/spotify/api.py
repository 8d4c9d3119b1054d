"""The client of Spotify's Web API: every response becomes a value, or one of the few errors of this project.

The status decides; the body of an error only adds detail, since it can be JSON, plain text, HTML or empty.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, NoReturn

from spotify_logger.spotify.http import Request
from spotify_logger.spotify.oauth import retry_after, server_time
from spotify_logger.spotify.token_manager import TokenManager
from spotify_logger.system.errors import LOGIN_ADVICE, LoginNeeded, TryLater, bounded_nesting
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
"""Seconds to wait once the daily quota is used up, without `Retry-After`; 8 to 14 h have been observed."""
FIRST_RETRY_DELAY = 60.0
"""Seconds before the first retry of a refused call; doubled for each further one."""
MAX_REFUSAL_RETRY_DELAY = 600.0
"""The longest delay before a retry for an account or app that Spotify refuses, in seconds."""
MAX_RENEWAL_RETRY_DELAY = 3600.0
"""The longest delay before another renewal while the API refuses even fresh access tokens, in seconds."""
MAX_ACCURATE_LATENCY = 2.0
"""Seconds a response may take for its `Date` to set the clock; later ones only reveal gross errors."""

_MAX_ERROR_LENGTH = 200
_SUCCESS = range(200, 300)


@dataclass(frozen=True)
class ApiResponse:
    """The body of a successful response, and its time.

    Attributes:
        body: The JSON object; None for 204 No Content.
        monotonic: The middle of the request, by `Clock.monotonic`.
        utc: The same moment by `Clock.utc`.
    """

    body: dict[str, object] | None
    monotonic: float
    utc: float


@dataclass(frozen=True)
class _Reply:
    """A response of any status; `monotonic` is the middle of its request, `token` the one it used."""

    response: Response
    monotonic: float
    token: Token

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def error_detail(self) -> str:
        """The text of an error of any shape, as " (…)" to append to its status; "" if there is none."""
        message = _error_object(self.response.body).get("message")
        text = message if isinstance(message, str) else self.response.body.decode("utf-8", "replace").strip()
        if self.token.access_token:
            text = text.replace(self.token.access_token, "***")
        is_page = text.startswith("<")  # HTML has no useful text
        return f" ({sanitize(text, _MAX_ERROR_LENGTH)})" if text and not is_page else ""


class _RetryDelay:
    """A retry delay that doubles with every failure."""

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
    """Remembers that an endpoint refuses a login, which only a person can change."""

    def __init__(self, clock: Clock) -> None:
        self._retry_delay = _RetryDelay(clock, MAX_REFUSAL_RETRY_DELAY)
        self._message = ""
        self._login_count = 0

    def begin(self, message: str, login_count: int) -> LoginNeeded:
        """Start or prolong the refusal of a login, and return the error to raise."""
        self._retry_delay.postpone()
        self._message, self._login_count = message, login_count
        return LoginNeeded(message)

    def check(self, login_count: int) -> None:
        """Raise the same error again until a retry is due or somebody has logged in."""
        if self._retry_delay.is_waiting() and login_count == self._login_count:
            raise LoginNeeded(self._message)

    def end(self) -> None:
        self._retry_delay.reset()


class Spotify:
    """The player endpoints, for one listener.

    Args:
        send: Sends the requests.
        settings: The app, and the URLs of the services.
        token_file: The login.
        clock: The clock, which is set by the `Date` of the responses.
        rate_limit: The cooldowns.

    Attributes:
        requests: The number of requests sent, including those to the token endpoint.
        is_time_known: Whether a response has set the clock in this process.
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
        """When the login expires, in seconds since the epoch; None if there is none, or unknown."""
        return self._token_manager.valid_until

    @property
    def slowdown(self) -> float:
        """The factor on the time between polls: 1.0, or more after several recent rate limits."""
        return self._rate_limit.slowdown()

    def player_state(self) -> ApiResponse:
        """Get the player state (`GET /v1/me/player`).

        Raises:
            TryLater: There was no response, or an unexpected one.
            NotBefore: There is a rate limit; during a known cooldown nothing is sent.
            LoginNeeded: There is no login, it is refused, or lacks permission (403; 401 for a missing scope).
                Until a retry is due, it is raised again without a request.
        """
        # Without `additional_types`, the item of an episode is null (spotipy-dev/spotipy#562).
        return self._get(PLAYER_PATH, "additional_types=track,episode")

    def recently_played(self, limit: int = 50, after_ms: int | None = None) -> ApiResponse:
        """Get the tracks played last, the newest first (`GET /v1/me/player/recently-played`).

        Args:
            limit: The number of tracks, at most 50; paging does not give more (spotify/web-api#1405).
            after_ms: Only plays that ended after it, in milliseconds since the epoch.

        Raises:
            TryLater: There was no response, or an unexpected one.
            NotBefore: There is a rate limit.
            LoginNeeded: There is no login, it is refused, or it lacks permission.
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
        """Send a request to either service, count it, and set the clock by its response."""
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
        """Set the clock by the `Date` of a response, unless the clock may be more accurate.

        The server read its clock at some moment of the `latency` seconds, on average in their middle, and
        truncated it to whole seconds. So a slow response can only reveal a grossly wrong clock.
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
    """Return whether a new access token can help.

    A malformed one, unlike an expired one, is answered with 400 and this sentence (spotipy-dev/spotipy#687).
    """
    is_malformed = (
        reply.status == HTTPStatus.BAD_REQUEST and "valid bearer authentication" in reply.error_detail
    )
    return is_malformed or (reply.status == HTTPStatus.UNAUTHORIZED and not _lacks_permission(reply))


def _lacks_permission(reply: _Reply) -> bool:
    """Return whether a scope is missing, which no refresh adds (FoxxMD/multi-scrobbler, SpotifySource.ts)."""
    return reply.status == HTTPStatus.UNAUTHORIZED and "Permissions missing" in reply.error_detail


def _parse_body(response: Response) -> dict[str, object] | None:
    """Return the JSON object of a successful response; None for an empty one.

    Raises:
        TryLater: The body is something else.
    """
    empty = response.status != HTTPStatus.OK and not response.body.strip()
    if empty or response.status == HTTPStatus.NO_CONTENT:
        return None
    body = _parse_object(response.body)
    if body is None:
        raise TryLater(f"Spotify answers {response.status} without a JSON object")
    return body


def _error_object(body: bytes) -> dict[str, object]:
    """Return the error object of a Web API error; empty if the body has another shape."""
    error = (_parse_object(body) or {}).get("error")
    return error if isinstance(error, dict) else {}


def _parse_object(body: bytes) -> dict[str, object] | None:
    """Parse a JSON object; None if it is anything else."""
    try:
        with bounded_nesting():
            value = json.loads(body, parse_constant=_reject_constant)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are not JSON, although Python accepts them
