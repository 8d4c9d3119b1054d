"""The client of Spotify's Web API: every response becomes a value, or one of the few errors of this project.

The status decides; the body of an error only adds detail, since it can be JSON, plain text, HTML or empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.spotify.http import Request
from spotify_logger.spotify.oauth import TokenManager
from spotify_logger.system.errors import LOGIN_ADVICE, LoginNeeded, SpotifyLoggerError, TryLater
from spotify_logger.system.log import sanitize

if TYPE_CHECKING:
    from spotify_logger.config.settings import Settings
    from spotify_logger.spotify.http import Response, Send
    from spotify_logger.spotify.oauth import Token, TokenFile
    from spotify_logger.spotify.rate_limit import RateLimit
    from spotify_logger.system.clock import Clock

PLAYER_PATH = "/v1/me/player"
RECENTLY_PLAYED_PATH = "/v1/me/player/recently-played"

QUOTA_COOLDOWN = 3600.0  # seconds, if no `Retry-After` says how long; 8 to 14 h have been observed
FIRST_RETRY_DELAY = 60.0  # seconds before a refused call is retried; doubled for each further time
MAX_REFUSAL_RETRY_DELAY = 600.0  # seconds, while Spotify refuses this account or app
MAX_RENEWAL_RETRY_DELAY = 3600.0  # seconds, while the API refuses even fresh access tokens
MAX_ACCURATE_LATENCY = 2.0  # seconds; the `Date` of a later response only reveals gross errors

_MAX_ERROR_LENGTH = 200
_SUCCESS = range(200, 300)


@dataclass(frozen=True)
class ApiResponse:
    """The JSON object of a success (None for 204), and the middle of its request by both clocks."""

    body: dict[str, object] | None
    monotonic: float
    utc: float


class _Reply(NamedTuple):
    """A response of any status, the middle of its request, and the text of an error, as " (…)" or ""."""

    response: Response
    monotonic: float
    error_detail: str

    @property
    def lacks_permission(self) -> bool:
        """Whether a scope is missing, which no refresh adds (FoxxMD/multi-scrobbler, SpotifySource.ts)."""
        return self.response.status == HTTPStatus.UNAUTHORIZED and "Permissions missing" in self.error_detail

    @property
    def can_renewal_help(self) -> bool:
        """Whether a new access token can help."""
        if self.response.status == HTTPStatus.BAD_REQUEST:  # for a malformed one (spotipy-dev/spotipy#687)
            return "valid bearer authentication" in self.error_detail
        return self.response.status == HTTPStatus.UNAUTHORIZED and not self.lacks_permission


class _Refusal:
    """What Spotify refuses, and when to try again: after a delay that doubles every time."""

    def __init__(self, clock: Clock, longest: float) -> None:
        self._clock = clock
        self._longest = longest
        self._next_delay = FIRST_RETRY_DELAY
        self._until = 0.0
        self.message = ""
        self.login_count = 0

    def begin(self, message: str = "", login_count: int = 0) -> None:
        """Start or prolong it, with the message to repeat for as long as the login is the same."""
        self.message, self.login_count = message, login_count
        self._until = self._clock.monotonic() + self._next_delay
        self._next_delay = min(2 * self._next_delay, self._longest)

    def is_current(self) -> bool:
        """Return whether no retry is due yet."""
        return self._clock.monotonic() < self._until

    def end(self) -> None:
        """Forget it."""
        self._next_delay, self._until = FIRST_RETRY_DELAY, 0.0


class Spotify:
    """The player endpoints, for one listener; the `Date` of the responses sets the clock."""

    def __init__(
        self, send: Send, settings: Settings, token_file: TokenFile, clock: Clock, rate_limit: RateLimit
    ) -> None:
        self.requests = 0  # sent, including those to the token endpoint
        self.is_time_known = False  # whether a response has set the clock in this process
        self._send = send
        self._url = settings.api_url
        self._clock = clock
        self._rate_limit = rate_limit
        self._token_manager = TokenManager(self._send_counted, settings, token_file, clock, rate_limit)
        self._renewal = _Refusal(clock, MAX_RENEWAL_RETRY_DELAY)
        paths = (PLAYER_PATH, RECENTLY_PLAYED_PATH)
        self._refusals = {path: _Refusal(clock, MAX_REFUSAL_RETRY_DELAY) for path in paths}

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
            NotBefore: There is a rate limit; until it is over, nothing is sent.
            LoginNeeded: The login is missing, refused, or lacks permission; the same until a retry is due.
        """
        # Without `additional_types`, the item of an episode is null (spotipy-dev/spotipy#562).
        return self._get(PLAYER_PATH, "additional_types=track,episode")

    def recently_played(self) -> ApiResponse:
        """Get the last 50 tracks, the newest first; the errors are those of `player_state`."""
        return self._get(RECENTLY_PLAYED_PATH, "limit=50")  # paging gives no more (spotify/web-api#1405)

    def _get(self, path: str, query: str) -> ApiResponse:
        self._rate_limit.check("api")
        token = self._token_manager.token()
        refusal = self._refusals[path]
        if refusal.is_current() and refusal.login_count == self._token_manager.login_count:
            raise LoginNeeded(refusal.message)
        url = f"{self._url}{path}?{query}"
        reply = self._request(url, token)
        if reply.can_renewal_help:
            if self._renewal.is_current():
                raise TryLater(f"Spotify refuses even a fresh access token{reply.error_detail}")
            token = self._token_manager.renew(token)
            self._renewal.begin()
            reply = self._request(url, token)
        if reply.response.status in _SUCCESS:
            self._rate_limit.end_cooldown("api")
            self._renewal.end()
            refusal.end()
            utc = self._clock.utc() - (self._clock.monotonic() - reply.monotonic)
            return ApiResponse(_parse_body(reply.response), reply.monotonic, utc)
        raise self._error(reply, refusal)

    def _error(self, reply: _Reply, refusal: _Refusal) -> SpotifyLoggerError:
        response, detail = reply.response, reply.error_detail
        if reply.lacks_permission or response.status == HTTPStatus.FORBIDDEN:
            message = f"Spotify refuses this account or app{detail}"
            if reply.lacks_permission:
                message = f"this login may not see what plays{detail}: {LOGIN_ADVICE}"
            refusal.begin(message, self._token_manager.login_count)
            return LoginNeeded(message)
        if response.status != HTTPStatus.TOO_MANY_REQUESTS:
            return TryLater(f"Spotify answers {response.status}{detail}")
        asked = response.retry_after(self._clock.utc())
        if _error_object(response).get("reason") == "QUOTA_EXCEEDED":
            reason = "Spotify's daily quota is used up"
            return self._rate_limit.start_cooldown("api", asked, reason, QUOTA_COOLDOWN)
        return self._rate_limit.start_cooldown("api", asked, "Spotify's rate limit is reached")

    def _request(self, url: str, token: Token) -> _Reply:
        before = self._clock.monotonic()
        response = self._send_counted(Request("GET", url, {"Authorization": f"Bearer {token.access_token}"}))
        middle = (before + self._clock.monotonic()) / 2
        return _Reply(response, middle, _error_detail(response, token.access_token))

    def _send_counted(self, request: Request) -> Response:
        """Send a request to either service, count it, and set the clock by its response."""
        self.requests += 1
        before = self._clock.monotonic()
        response = self._send(request)
        if response.date is not None:
            self.is_time_known = True
            # The server read its clock within these seconds, on average in their middle, and truncated it.
            latency = self._clock.monotonic() - before
            is_possible = 0 <= self._clock.utc() - response.date <= latency + 1
            if latency <= MAX_ACCURATE_LATENCY or not is_possible:
                self._clock.correct(response.date + latency / 2)
        return response


def _parse_body(response: Response) -> dict[str, object] | None:
    """Return the JSON object of a successful response; None for an empty one. May raise TryLater."""
    empty = response.status != HTTPStatus.OK and not response.body.strip()
    if empty or response.status == HTTPStatus.NO_CONTENT:
        return None
    body = response.json
    if body is None:
        raise TryLater(f"Spotify answers {response.status} without a JSON object")
    return body


def _error_object(response: Response) -> dict[str, object]:
    """Return the error object of a Web API error; empty if the body has another shape."""
    error = (response.json or {}).get("error")
    return error if isinstance(error, dict) else {}


def _error_detail(response: Response, secret: str) -> str:
    """Return the text of an error of any shape, as " (…)" to append to its status; "" if there is none."""
    if response.status in _SUCCESS:
        return ""
    message = _error_object(response).get("message")
    text = message if isinstance(message, str) else response.body.decode("utf-8", "replace").strip()
    if secret:
        text = text.replace(secret, "***")
    is_page = text.startswith("<")  # HTML has no useful text
    return f" ({sanitize(text, _MAX_ERROR_LENGTH)})" if text and not is_page else ""
