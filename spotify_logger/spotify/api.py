"""The client of Spotify's Web API. The status decides; the body of an error, of any shape, adds detail."""

from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from spotify_logger.config.settings import Settings
from spotify_logger.core.backoff import Backoff
from spotify_logger.spotify import oauth
from spotify_logger.spotify.http import Request, Response, Send
from spotify_logger.spotify.rate_limit import RateLimit
from spotify_logger.system.clock import Clock
from spotify_logger.system.errors import LOGIN_ADVICE, LoginNeeded, SpotifyLoggerError, TryLater
from spotify_logger.system.log import DETAIL_LIMIT, sanitize

PLAYER_PATH = "/v1/me/player"
RECENTLY_PLAYED_PATH = "/v1/me/player/recently-played"

QUOTA_COOLDOWN = 3600.0  # seconds, if no `Retry-After` says how long; 8 to 14 h have been observed
FIRST_RETRY_DELAY = 60.0  # seconds before a refused call is retried; doubled for each further time
MAX_REFUSAL_RETRY_DELAY = 600.0  # seconds, while Spotify refuses this account or app
MAX_RENEWAL_RETRY_DELAY = 3600.0  # seconds, while the API refuses even fresh access tokens
MAX_ACCURATE_LATENCY = 2.0  # seconds; the `Date` of a later response only reveals gross errors

_SUCCESS = range(200, 300)
_LACKS_PERMISSION = "Permissions missing"  # which no refresh adds (FoxxMD/multi-scrobbler, SpotifySource.ts)


@dataclass(frozen=True)
class ApiResponse:
    """The JSON object of a success (None for 204), and the middle of its request by both clocks."""

    body: dict[str, object] | None
    monotonic: float
    utc: float


class _Refusal:
    """What Spotify refuses, to which login; the delay before the next attempt doubles every time."""

    def __init__(self, clock: Clock, longest: float) -> None:
        self._clock, self._backoff = clock, Backoff(FIRST_RETRY_DELAY, longest, lambda: 1.0)
        self.end()

    def begin(self, message: str = "", login_count: int = 0) -> None:
        """Start or prolong it."""
        self.message, self.login_count = message, login_count
        self._until = self._clock.monotonic() + self._backoff.failed()

    def is_current(self) -> bool:
        """Return whether no retry is due yet."""
        return self._clock.monotonic() < self._until

    def end(self) -> None:
        """Forget it."""
        self._backoff.succeeded()
        self.message, self.login_count, self._until = "", 0, 0.0


class Spotify:
    """The player endpoints, for one listener; the `Date` of the responses sets the clock."""

    def __init__(self, send: Send, settings: Settings, clock: Clock, rate_limit: RateLimit) -> None:
        self.requests = 0  # sent, including those to the token endpoint
        self.is_time_known = False  # whether a response has set the clock in this process
        self.owner: str | None = None  # whose plays the log has, "" if nobody's; None until it is known
        self._send, self._settings, self._clock, self._rate_limit = send, settings, clock, rate_limit
        self._asked_with = ""  # the access token with which the account was asked for
        self._token_manager = oauth.TokenManager(self._send_counted, settings, clock, rate_limit)
        self._renewal = _Refusal(clock, MAX_RENEWAL_RETRY_DELAY)
        paths = (PLAYER_PATH, RECENTLY_PLAYED_PATH)
        self._refusals = {path: _Refusal(clock, MAX_REFUSAL_RETRY_DELAY) for path in paths}

    @property
    def token(self) -> oauth.Token | None:
        """The login; None if there is none."""
        return self._token_manager.current

    def player_state(self) -> ApiResponse:
        """Get the player state (`GET /v1/me/player`).

        Raises TryLater without a usable response; NotBefore during a rate limit, when nothing is sent; and
        LoginNeeded if the login is missing, refused, of another account than the log, or lacks permission.
        """
        # Without `additional_types`, the item of an episode is null (spotipy-dev/spotipy#562).
        return self._get(PLAYER_PATH, "additional_types=track,episode")

    def recently_played(self) -> ApiResponse:
        """Get the last 50 tracks, the newest first; the errors are those of `player_state`."""
        return self._get(RECENTLY_PLAYED_PATH, "limit=50")  # paging gives no more (spotify/web-api#1405)

    def _get(self, path: str, query: str) -> ApiResponse:
        self._rate_limit.check("api")
        token = self._of_owner(self._token_manager.token())
        refusal = self._refusals[path]
        if refusal.is_current() and refusal.login_count == self._token_manager.login_count:
            raise LoginNeeded(refusal.message)
        url = f"{self._settings.api_url}{path}?{query}"
        response, detail, monotonic = self._request(url, token)
        # A malformed access token gets a 400 (spotipy-dev/spotipy#687).
        is_malformed = response.status == HTTPStatus.BAD_REQUEST and "valid bearer authentication" in detail
        if is_malformed or (response.status == HTTPStatus.UNAUTHORIZED and _LACKS_PERMISSION not in detail):
            if self._renewal.is_current():
                raise TryLater(f"Spotify refuses even a fresh access token{detail}")
            token = self._of_owner(self._token_manager.renew(token))
            self._renewal.begin()
            response, detail, monotonic = self._request(url, token)
        if response.status not in _SUCCESS:
            raise self._error(response, detail, refusal)
        self._rate_limit.end_cooldown("api")
        self._renewal.end()
        refusal.end()
        utc, body = self._clock.utc() - (self._clock.monotonic() - monotonic), response.json
        is_empty = response.status == HTTPStatus.NO_CONTENT or not response.body.strip()
        if body is None and not (is_empty and response.status != HTTPStatus.OK):
            raise TryLater(f"Spotify answers {response.status} without a JSON object")
        return ApiResponse(body, monotonic, utc)

    def _of_owner(self, token: oauth.Token) -> oauth.Token:
        """Return `token`, and look up its account; raise LoginNeeded if the log is of another one."""
        if not token.account and token.access_token != self._asked_with:
            self._asked_with, unknown = token.access_token, token
            with suppress(TryLater):
                token, response = oauth.with_account(self._send_counted, self._settings, token)
                if response.status == HTTPStatus.TOO_MANY_REQUESTS:
                    raise self._error(response, "", self._refusals[PLAYER_PATH])
            if token.account:
                self._token_manager.adopt(token, unknown)
        if conflict := oauth.account_conflict(token, self.owner or ""):
            raise LoginNeeded(
                f"{conflict}: {LOGIN_ADVICE} with that account, or set LISTENER for a second log"
            )
        return token

    def _error(self, response: Response, detail: str, refusal: _Refusal) -> SpotifyLoggerError:
        lacks_permission = response.status == HTTPStatus.UNAUTHORIZED and _LACKS_PERMISSION in detail
        if lacks_permission or response.status == HTTPStatus.FORBIDDEN:
            message = f"Spotify refuses this account or app{detail}"
            if lacks_permission:
                message = f"this login does not allow reading what is playing{detail}: {LOGIN_ADVICE}"
            refusal.begin(message, self._token_manager.login_count)
            return LoginNeeded(message)
        if response.status != HTTPStatus.TOO_MANY_REQUESTS:
            return TryLater(f"Spotify answers {response.status}{detail}")
        asked = response.retry_after(self._clock.utc())
        if _error_object(response).get("reason") == "QUOTA_EXCEEDED":
            reason = "Spotify's daily quota is used up"
            return self._rate_limit.start_cooldown("api", asked, reason, QUOTA_COOLDOWN)
        return self._rate_limit.start_cooldown("api", asked, "Spotify's rate limit is reached")

    def _request(self, url: str, token: oauth.Token) -> tuple[Response, str, float]:
        """Return the response, its error for people, and the middle of the request by the monotonic clock."""
        before = self._clock.monotonic()
        response = self._send_counted(Request("GET", url, {"Authorization": f"Bearer {token.access_token}"}))
        detail = _error_detail(response, token.access_token)
        return response, detail, (before + self._clock.monotonic()) / 2

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


def _error_object(response: Response) -> dict[str, object]:
    error = (response.json or {}).get("error")
    return error if isinstance(error, dict) else {}


def _error_detail(response: Response, secret: str) -> str:
    """Return the text of an error of any shape, as " (…)" to append to its status; "" if there is none."""
    if response.status in _SUCCESS:
        return ""
    message = _error_object(response).get("message")
    text = message if isinstance(message, str) else response.body.decode("utf-8", "replace").strip()
    if not text or text.startswith("<"):  # HTML has no useful text
        return ""
    text = text.replace(secret, "***") if secret else text
    return f" ({sanitize(text, DETAIL_LIMIT)})"
