"""The simulated accounts service: Spotify's authorization code flow as of 2026."""

from __future__ import annotations

import base64
import binascii
import calendar
import hashlib
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from spotify_logger.simulator.bodies import Body, make_id

if TYPE_CHECKING:
    from collections.abc import Mapping

DEMO_CLIENT_ID = "5b0d1e60c0ffee00c0ffee00c0ffee00"
DEMO_CLIENT_SECRET = "made-up-secret-of-the-simulator"  # noqa: S105 - opens nothing but the simulator
DEMO_REFRESH_TOKEN = "AQ-made-up-refresh-token-of-the-simulator"  # noqa: S105 - the same
DEMO_SCOPES = "user-read-playback-state user-read-recently-played"

ACCESS_TOKEN_SECONDS = 3600
CODE_SECONDS = 600
CONSENT_MONTHS = 6
"""Months from the consent until a refresh token expires, even if it is used (Spotify's blog, 2026-06-18)."""

_SCOPES = frozenset(
    {
        *("user-read-playback-state", "user-modify-playback-state", "user-read-currently-playing"),
        *("user-read-recently-played", "user-top-read", "user-read-playback-position", "user-library-read"),
        *("user-read-private", "user-read-email", "playlist-read-private", "streaming"),
    }
)


class OAuthRefusal(Exception):  # noqa: N818 - an answer, not a failure
    """The service refuses a request; has the `error` and `error_description` of OAuth."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error
        self.description = description


@dataclass(frozen=True)
class AppLogin:
    """An app, and the refresh token of a listener who has already consented."""

    client_id: str = DEMO_CLIENT_ID
    client_secret: str = field(default=DEMO_CLIENT_SECRET, repr=False)
    refresh_token: str = field(default=DEMO_REFRESH_TOKEN, repr=False)
    scopes: str = DEMO_SCOPES
    account: str = "listener-of-the-demo"


@dataclass(frozen=True)
class _Code:
    redirect_uri: str
    scopes: str
    challenge: str
    made_at: float


@dataclass(frozen=True)
class _Grant:
    scopes: str
    consented_at: float


@dataclass(frozen=True)
class _AccessToken:
    scopes: str
    expires_at: float


class Accounts:
    """The accounts service of one app.

    Args:
        login: The app, and a refresh token that works from the start.
        consented_at: When the listener consented, in seconds since the epoch.
        seed: Random seed of the tokens.
        rotating: Whether each refresh rotates the refresh token and ends the old one (as until mid-2026).
    """

    def __init__(
        self, login: AppLogin, consented_at: float, *, seed: int = 0, rotating: bool = False
    ) -> None:
        self.rotating = rotating
        self._login = login
        self._rng = random.Random(f"accounts {seed}")
        self._codes: dict[str, _Code] = {}
        self._grants = {login.refresh_token: _Grant(login.scopes, consented_at)}
        self._revoked: set[str] = set()
        self._access: dict[str, _AccessToken] = {}

    def consent(self, now: float) -> str:
        """Let the listener log in, and return the new refresh token."""
        token = self._make("AQ")
        self._grants[token] = _Grant(self._login.scopes, now)
        return token

    def authorize(self, query: Mapping[str, str], now: float) -> str:
        """Return the URL that the listener's browser is redirected to after consenting.

        Raises:
            OAuthRefusal: The page shows an error, without a redirect.
        """
        self._check_consent(query)
        code = self._make("AQ")
        self._codes[code] = _Code(
            query["redirect_uri"], query.get("scope", ""), query.get("code_challenge", ""), now
        )
        answer = {"code": code, **({"state": query["state"]} if "state" in query else {})}
        return f"{query['redirect_uri']}?{urlencode(answer)}"

    def token(self, headers: Mapping[str, str], form: Mapping[str, str], now: float) -> Body:
        """Return the answer to a token request.

        Args:
            headers: The headers of the request, with lower-case names.
            form: The form fields of the request.
            now: True seconds since the epoch, UTC.

        Raises:
            OAuthRefusal: The request is invalid.
        """
        kind = form.get("grant_type", "")
        if not kind:
            raise OAuthRefusal("unsupported_grant_type", "grant_type parameter is missing")
        with_secret = self._check_client(headers, form)
        if kind == "authorization_code":
            return self._exchange(form, now, with_secret=with_secret)
        if kind == "refresh_token":
            return self._refresh(form, now)
        if kind == "client_credentials" and with_secret:
            return self._issue_access_token("", now)
        raise OAuthRefusal(
            "unsupported_grant_type",
            "grant_type must be client_credentials, authorization_code or refresh_token",
        )

    def scopes_of(self, access_token: str, now: float) -> frozenset[str] | None:
        """Return the scopes of an access token; None if it has expired.

        Raises:
            KeyError: There is no such token.
        """
        access = self._access[access_token]
        return None if now >= access.expires_at else frozenset(access.scopes.split())

    def _make(self, prefix: str) -> str:
        return f"{prefix}{''.join(make_id(self._rng) for _ in range(4))}"

    def _check_consent(self, query: Mapping[str, str]) -> None:
        if query.get("client_id") != self._login.client_id:
            raise OAuthRefusal("invalid_client", "INVALID_CLIENT: Invalid client")
        if not _may_redirect(query.get("redirect_uri", "")):
            raise OAuthRefusal("invalid_client", "INVALID_CLIENT: Invalid redirect URI")
        if query.get("response_type") != "code":
            raise OAuthRefusal("invalid_request", "response_type must be code")
        if not set(query.get("scope", "").split()) <= _SCOPES:
            raise OAuthRefusal("invalid_scope", "INVALID_SCOPE: Invalid scope")
        if "code_challenge" in query and query.get("code_challenge_method") != "S256":
            raise OAuthRefusal("invalid_request", "code_challenge_method must be S256")

    def _check_client(self, headers: Mapping[str, str], form: Mapping[str, str]) -> bool:
        """Return whether the client has sent its secret; without it, PKCE is required."""
        identity, secret = _basic(headers.get("authorization", ""))
        identity = identity or form.get("client_id", "")
        secret = secret or form.get("client_secret", "")
        if identity != self._login.client_id:
            raise OAuthRefusal("invalid_client", "Invalid client")
        if secret and secret != self._login.client_secret:
            raise OAuthRefusal("invalid_client", "Invalid client secret")
        return bool(secret)

    def _exchange(self, form: Mapping[str, str], now: float, *, with_secret: bool) -> Body:
        code = self._codes.pop(form.get("code", ""), None)
        if code is None:
            raise OAuthRefusal("invalid_grant", "Invalid authorization code")
        if now - code.made_at > CODE_SECONDS:
            raise OAuthRefusal("invalid_grant", "Authorization code expired")
        if form.get("redirect_uri") != code.redirect_uri:
            raise OAuthRefusal("invalid_grant", "Invalid redirect URI")
        if not code.challenge and not with_secret:
            raise OAuthRefusal("invalid_client", "Invalid client secret")
        _check_verifier(code.challenge, form.get("code_verifier", ""))
        token = self._make("AQ")
        self._grants[token] = _Grant(code.scopes, now)
        return {**self._issue_access_token(code.scopes, now), "refresh_token": token}

    def _refresh(self, form: Mapping[str, str], now: float) -> Body:
        token = form.get("refresh_token", "")
        if not token:
            raise OAuthRefusal("invalid_request", "refresh_token must be supplied")
        if token in self._revoked:
            raise OAuthRefusal("invalid_grant", "Refresh token revoked")
        if token not in self._grants:
            raise OAuthRefusal("invalid_grant", "Invalid refresh token")
        grant = self._grants[token]
        if now >= six_months_after(grant.consented_at):
            raise OAuthRefusal("invalid_grant", "Refresh token expired")
        answer = self._issue_access_token(grant.scopes, now)
        return {**answer, "refresh_token": self._rotate(token, grant)} if self.rotating else answer

    def _rotate(self, token: str, grant: _Grant) -> str:
        del self._grants[token]
        self._revoked.add(token)
        successor = self._make("AQ")
        self._grants[successor] = grant
        return successor

    def _issue_access_token(self, scopes: str, now: float) -> Body:
        token = self._make("BQ")
        self._access[token] = _AccessToken(scopes, now + ACCESS_TOKEN_SECONDS)
        return {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": ACCESS_TOKEN_SECONDS,
            "scope": scopes,
        }


def six_months_after(moment: float) -> float:
    """Return the same day and time six calendar months later, or the last day of a shorter month."""
    then = datetime.fromtimestamp(moment, UTC)
    year, month = divmod(then.year * 12 + then.month - 1 + CONSENT_MONTHS, 12)
    day = min(then.day, calendar.monthrange(year, month + 1)[1])
    return then.replace(year=year, month=month + 1, day=day).timestamp()


def _may_redirect(uri: str) -> bool:
    """Return whether Spotify accepts a redirect URI: HTTPS or a loopback IP, since November 2025."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return False
    loopback = parts.scheme == "http" and parts.hostname in {"127.0.0.1", "::1"}
    return bool(parts.hostname) and (loopback or parts.scheme == "https")


def _basic(header: str) -> tuple[str, str]:
    """Return the client ID and secret of a Basic authorization header; two empty strings without one."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        identity, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise OAuthRefusal("invalid_client", "Invalid client") from None
    return identity, secret


def _check_verifier(challenge: str, verifier: str) -> None:
    """Check a code verifier against the earlier challenge (RFC 7636, S256)."""
    if not challenge:
        return
    if not verifier:
        raise OAuthRefusal("invalid_request", "code_verifier must be supplied")
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
    if digest != challenge:
        raise OAuthRefusal("invalid_grant", "code_verifier was incorrect")
