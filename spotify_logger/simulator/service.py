"""All simulated endpoints, with faults and the `Date` header; the time is passed in."""

from __future__ import annotations

from collections import Counter
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from spotify_logger.simulator.accounts import Accounts, AppLogin, OAuthRefusal
from spotify_logger.simulator.bodies import text
from spotify_logger.simulator.faults import AUTHORIZE_PATH, TOKEN_PATH, Faults, WireFault, respond
from spotify_logger.simulator.player import Player
from spotify_logger.simulator.recently_played import RecentlyPlayed
from spotify_logger.spotify.http import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spotify_logger.simulator.timeline import ListeningHistory
    from spotify_logger.spotify.http import Request

PLAYER_PATH = "/v1/me/player"
RECENTLY_PATH = "/v1/me/player/recently-played"
PROFILE_PATH = "/v1/me"

_SCOPE_OF = {
    PLAYER_PATH: "user-read-playback-state",
    RECENTLY_PATH: "user-read-recently-played",
    PROFILE_PATH: "",  # of the fields here, none needs a scope
}


class Service:
    """Spotify, as far as a play logger uses it.

    Args:
        record: What the listener does.
        seed: Random seed of jitter, lags, tokens and faults that have a probability.
        login: The app, and a refresh token that is valid from the start.
        rotating: Whether each refresh returns a new refresh token.
        consented_at: When the listener consented (default: when the history begins).
        late_rate: Probability that `recently-played` lists a play only hours later.
    """

    def __init__(  # noqa: PLR0913 - the options of a simulation
        self,
        record: ListeningHistory,
        *,
        seed: int = 0,
        login: AppLogin | None = None,
        rotating: bool = False,
        consented_at: float | None = None,
        late_rate: float = 0.0,
    ) -> None:
        self.record = record
        self.faults = Faults(seed)
        self.requests: Counter[tuple[str, str]] = Counter()
        """The number of requests by path and outcome: a status code, or the name of a connection fault."""
        consented = record.start if consented_at is None else consented_at
        login = login or AppLogin()
        self.account = login.account
        """The ID of the account that is logged in."""
        self._accounts = Accounts(login, consented, seed=seed, rotating=rotating)
        self._player = Player(record, seed)
        self.recently = RecentlyPlayed(record, seed, late_rate)
        self._last: dict[str, Response] = {}

    def log_in(self, now: float) -> str:
        """Let the listener log in, and return the new refresh token."""
        return self._accounts.consent(now)

    def handle(self, request: Request, now: float) -> Response:
        """Answer a request.

        Args:
            request: The request; its host is ignored.
            now: True seconds since the epoch, UTC.

        Raises:
            WireFault: A fault of the connection, which the caller has to carry out.
        """
        path, query = _split(request.url)
        strike = self.faults.take(path, now)
        date = {"date": formatdate(now, usegmt=True)}

        def normal() -> Response:
            response = self._answer(request, path, query, now)
            return Response(response.status, {**date, **response.headers}, response.body)

        try:
            response = normal() if strike is None else strike.answer(normal, self._last.get(path))
        except WireFault as fault:
            self.requests[path, fault.name] += 1
            raise
        if strike is None:
            self._last[path] = response
        self.requests[path, str(response.status)] += 1
        return Response(response.status, {**response.headers, **date}, response.body)

    def _answer(self, request: Request, path: str, query: Mapping[str, str], now: float) -> Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        if path == AUTHORIZE_PATH and request.method == "GET":
            return self._authorize(query, now)
        if path == TOKEN_PATH and request.method == "POST":
            return self._token(headers, request.form or {}, now)
        if path not in _SCOPE_OF or request.method != "GET":
            return _error(404, "Service not found")
        refusal = self._check(headers.get("authorization", ""), _SCOPE_OF[path], now)
        if refusal is not None:
            return refusal
        if path == PROFILE_PATH:
            return self._profile()
        return self._play(query, now) if path == PLAYER_PATH else self._page(query, now)

    def _authorize(self, query: Mapping[str, str], now: float) -> Response:
        try:
            return Response(302, {"location": self._accounts.authorize(query, now)}, b"")
        except OAuthRefusal as refusal:
            return respond(400, refusal.description, "text/plain")

    def _token(self, headers: Mapping[str, str], form: Mapping[str, str], now: float) -> Response:
        try:
            return respond(200, text(self._accounts.token(headers, form, now)))
        except OAuthRefusal as refusal:
            return respond(400, text({"error": refusal.error, "error_description": refusal.description}))

    def _check(self, authorization: str, scope: str, now: float) -> Response | None:
        """Return the error response to an unauthorized request; None if it is authorized."""
        if not authorization:
            return _error(401, "No token provided")
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return _error(400, "Only valid bearer authentication supported")
        try:
            scopes = self._accounts.scopes_of(token, now)
        except KeyError:
            return _error(401, "Invalid access token")
        if scopes is None:
            return _error(401, "The access token expired")
        return None if not scope or scope in scopes else _error(401, "Permissions missing")

    def _profile(self) -> Response:
        uri = f"spotify:user:{self.account}"
        return respond(200, text({"id": self.account, "display_name": "Demo", "type": "user", "uri": uri}))

    def _play(self, query: Mapping[str, str], now: float) -> Response:
        body = self._player.answer(now, query.get("additional_types", "track"))
        return respond(204, "") if body is None else respond(200, body)

    def _page(self, query: Mapping[str, str], now: float) -> Response:
        try:
            limit = int(query.get("limit", "20"))
            after, before = (int(query[name]) if name in query else None for name in ("after", "before"))
        except ValueError:
            return _error(400, "Invalid request")
        if not 1 <= limit <= 50:  # noqa: PLR2004 - the documented bounds
            return _error(400, "Invalid limit")
        if after is not None and before is not None:
            return _error(400, "Only one of before and after may be given")
        return respond(200, self.recently.page(now, limit, after, before))


def _error(status: int, message: str) -> Response:
    return respond(status, text({"error": {"status": status, "message": message}}))


@lru_cache(maxsize=64)
def _split(url: str) -> tuple[str, Mapping[str, str]]:
    parts = urlsplit(url)
    return parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))
