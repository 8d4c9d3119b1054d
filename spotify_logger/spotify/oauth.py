"""The Authorization Code flow with PKCE, its token, and the token file."""

from __future__ import annotations

import base64
import calendar
import hashlib
import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeGuard
from urllib.parse import urlencode

from spotify_logger.config.settings import conceal, is_visible_ascii
from spotify_logger.core.times import EPOCH, is_second
from spotify_logger.spotify.http import Request, parse_http_date
from spotify_logger.system import atomic_file, log
from spotify_logger.system.clock import DATE_TOLERANCE
from spotify_logger.system.errors import LoginNeeded, Misconfigured, NotBefore, TryLater
from spotify_logger.system.state import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spotify_logger.config.settings import Settings
    from spotify_logger.spotify.http import Response, Send

SCOPES = "user-read-playback-state user-read-recently-played"
TOKEN_FILE = "token.json"  # noqa: S105 - the name of a file
"""The name of the token file in the state folder."""
LIFETIME_MONTHS = 6
"""Lifetime of a refresh token after the consent, in months; refreshing does not extend it.

Source: Spotify's developer blog, 2026-06-18.
"""
DEFAULT_ACCESS_LIFETIME = 3600.0
"""Lifetime of an access token without `expires_in`, in seconds."""
DEFAULT_RETRY_AFTER = 60.0
"""Seconds to wait after a 429 without `Retry-After`."""

_PLAUSIBLE_DATES = 1.6e9, 4.1e9  # seconds since the epoch, 2020 and 2099: a plausible `Date`
_MAX_ACCESS_LIFETIME = 86400.0
_MAX_RETRY_AFTER = 366 * 86400.0
_MAX_ERROR_LENGTH = 200


@dataclass(frozen=True)
class Token:
    """A login. Times are seconds since the epoch, UTC.

    Attributes:
        refresh_token: The refresh token.
        access_token: The access token; "" if there is none yet.
        expires_at: When the access token expires.
        scope: The granted scopes, separated by spaces; "" if unknown.
        authorized_at: When the listener consented; None if unknown.
        dead_at: When the token endpoint first refused the refresh token; None while it works.
        dead_reason: Why it did.
        asked_at: When a refused token was last tried; None while it works.
    """

    refresh_token: str = field(repr=False)
    access_token: str = field(default="", repr=False)
    expires_at: float = 0.0
    scope: str = ""
    authorized_at: float | None = None
    dead_at: float | None = None
    dead_reason: str = ""
    asked_at: float | None = None


class TokenFile:
    """The token file: mode 0600, replaced atomically, shared by daemon and login command.

    Args:
        path: The file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content: bytes | None = None

    def load(self) -> Token | None:
        """Return the token; None if there is none, or the file is invalid, which is logged."""
        self._content = None
        try:
            self._content = atomic_file.read(self.path)
        except OSError as error:
            log.warning(f"{self.path} cannot be read ({error.strerror}): correct its owner or mode")
        if self._content is None:
            return None
        token = _parse_token(self._content)
        if token is None:
            log.warning(f"{self.path} contains no token; it is kept, and a new login is needed")
        return token

    def save(self, token: Token) -> None:
        """Replace the file; an invalid one is kept beside it, with ".bad" appended to its name.

        Raises:
            OSError: The token could not be written.
        """
        if _parse_token(self._read() or b"") is None and self.path.exists():
            self.path.replace(self.path.with_name(f"{self.path.name}.bad"))
        text = to_json(token, indent=1) + "\n"
        atomic_file.write_atomically(self.path, text)
        self._content = text.encode()
        conceal(token.refresh_token)

    def changed(self) -> bool:
        """Return whether the file has changed since it was last loaded or saved here."""
        return self._read() != self._content

    def _read(self) -> bytes | None:
        try:
            return atomic_file.read(self.path)
        except OSError:
            return None


def token_from_settings(settings: Settings) -> Token | None:
    """Return a token made of SPOTIFY_REFRESH_TOKEN, for use without a token file; None if that is unset."""
    return Token(settings.refresh_token) if settings.refresh_token else None


def valid_until(token: Token) -> float | None:
    """Return when the refresh token expires, in seconds since the epoch; None if unknown."""
    return None if token.authorized_at is None else _six_months_after(token.authorized_at)


@lru_cache(maxsize=1)
def _six_months_after(moment: float) -> float:
    start = EPOCH + timedelta(seconds=moment)  # on a 32-bit system, `fromtimestamp` ends in 2038
    years, month = divmod(start.month - 1 + LIFETIME_MONTHS, 12)
    last_day = calendar.monthrange(start.year + years, month + 1)[1]
    end = start.replace(year=start.year + years, month=month + 1, day=min(start.day, last_day))
    return end.timestamp()


def authorize_url(settings: Settings, state: str, verifier: str) -> str:
    """Return the URL of the consent page (Spotify's tutorials "code-flow" and "code-pkce-flow").

    Args:
        settings: The app.
        state: Returned with the redirect.
        verifier: PKCE: 43 to 128 characters of A-Z a-z 0-9 - _; only its SHA-256 is in the URL.
    """
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    query = {
        "client_id": settings.client_id,
        "response_type": "code",
        "redirect_uri": settings.redirect_uri,
        "state": state,
        "scope": SCOPES,
        "code_challenge_method": "S256",
        "code_challenge": challenge,
        # Without the dialog there might be no new consent, and the six months would not restart.
        "show_dialog": "true",
    }
    return f"{settings.accounts_url}/authorize?{urlencode(query)}"


def exchange_code(send: Send, settings: Settings, code: str, verifier: str, now: float) -> Token:
    """Exchange an authorization code for a token.

    Args:
        send: Sends the request.
        settings: The app.
        code: The code of the redirect.
        verifier: The verifier of `authorize_url`.
        now: Seconds since the epoch, for `authorized_at`; the `Date` of the response takes precedence.

    Raises:
        LoginNeeded: The code was used, has expired, or belongs to another login.
        Misconfigured: Spotify does not know this client ID and secret.
        TryLater: There was no response, or an unexpected one.
        NotBefore: There is a rate limit.
    """
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": settings.redirect_uri,
        "code_verifier": verifier,
    }
    response = _post_token_request(send, settings, form)
    match _fatal_error(response):
        case "invalid_client", detail:
            raise Misconfigured(_unknown_client_message(detail))
        case _, detail:
            raise LoginNeeded(f"Spotify does not accept this code ({detail})")
    now = _corrected_time(now, response)
    token = _token_from_response(response, Token("", authorized_at=now), now)
    if not token.refresh_token:
        raise TryLater("Spotify's answer to the login contains no refresh token")
    return token


def refresh(send: Send, settings: Settings, token: Token, now: float) -> Token:
    """Return `token` with a new access token, and a new refresh token if the response has one.

    Args:
        send: Sends the request.
        settings: The app.
        token: The token to refresh.
        now: Seconds since the epoch; the `Date` of the response takes precedence.

    Raises:
        LoginNeeded: `invalid_grant` or `invalid_client`: only a person can help.
        TryLater: There was no response, or an unexpected one; the token may be valid.
        NotBefore: There is a rate limit.
    """
    response = _post_token_request(
        send, settings, {"grant_type": "refresh_token", "refresh_token": token.refresh_token}
    )
    match _fatal_error(response):
        case "invalid_client", detail:
            raise LoginNeeded(_unknown_client_message(detail))
        case _, detail:
            raise LoginNeeded(f"Spotify no longer accepts the login ({detail}): run `spotify-logger login`")
    return _token_from_response(response, token, _corrected_time(now, response))


def missing_scopes(token: Token) -> list[str]:
    """Return which of `SCOPES` were not granted; none if the granted scopes are unknown."""
    given = token.scope.split()
    return [scope for scope in SCOPES.split() if given and scope not in given]


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Parse a `Retry-After` header, given in seconds or as a date (RFC 9110, 10.2.3).

    Args:
        headers: The headers of the response, with lower-case names.
        now: Seconds since the epoch, for a response without `Date`.

    Returns:
        Seconds, at least 0 and at most a year; None if the header is missing or invalid.
    """
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d+(\.\d*)?", text, re.ASCII):
        return min(float(text), _MAX_RETRY_AFTER)
    until = parse_http_date(text)
    if until is None:
        return None
    return min(max(0.0, until - (parse_http_date(headers.get("date", "")) or now)), _MAX_RETRY_AFTER)


def server_time(headers: Mapping[str, str]) -> float | None:
    """Return the `Date` of a response in seconds since the epoch; None if it is missing or implausible.

    Args:
        headers: The headers of the response, with lower-case names.
    """
    date = parse_http_date(headers.get("date", ""))
    earliest, latest = _PLAUSIBLE_DATES
    return date if date is not None and earliest < date < latest else None


def _post_token_request(send: Send, settings: Settings, form: dict[str, str]) -> Response:
    headers = {"Accept": "application/json"}
    if settings.client_secret:
        pair = f"{settings.client_id}:{settings.client_secret}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        form = {**form, "client_id": settings.client_id}
    return send(Request("POST", f"{settings.accounts_url}/api/token", headers, form))


def _corrected_time(now: float, response: Response) -> float:
    """Return the `Date` of the response if `now` differs from it: the age of a login matters for months."""
    date = server_time(response.headers)
    return now if date is None or abs(date - now) <= DATE_TOLERANCE else date


def _fatal_error(response: Response) -> tuple[str, str] | None:
    """Return error code and description of an error that only a person can fix, otherwise None."""
    error = _json_body(response).get("error")
    if response.status not in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED):
        return None
    return (str(error), _error_detail(response)) if error in ("invalid_grant", "invalid_client") else None


def _token_from_response(response: Response, token: Token, now: float) -> Token:
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        asked = retry_after(response.headers, now)
        wait = DEFAULT_RETRY_AFTER if asked is None else asked
        raise NotBefore(f"Spotify's accounts service asks to wait for {wait:.0f} s", wait)
    if response.status != HTTPStatus.OK:
        raise TryLater(f"Spotify's accounts service answers {response.status} ({_error_detail(response)})")
    body = _json_body(response)
    access, new, scope = body.get("access_token"), body.get("refresh_token"), body.get("scope")
    if not _is_token_text(access):
        raise TryLater("Spotify's accounts service answers 200 without a token")
    lifetime = _bounded_number(body.get("expires_in")) or DEFAULT_ACCESS_LIFETIME
    return replace(
        token,
        # Since mid-2026 a refresh rarely returns a new one; the old one stays valid (hrkfdn/ncspot#1861).
        refresh_token=new if _is_token_text(new) else token.refresh_token,
        access_token=access,
        expires_at=now + min(lifetime, _MAX_ACCESS_LIFETIME),
        scope=log.sanitize(scope) if isinstance(scope, str) else token.scope,
        dead_at=None,
        dead_reason="",
        asked_at=None,
    )


def _unknown_client_message(detail: str) -> str:
    return (
        f"Spotify does not know this client ({detail}): "
        "correct SPOTIFY_CLIENT_ID and SPOTIFY_CLIENT_SECRET, or client_id and client_secret in auth.py"
    )


def _error_detail(response: Response) -> str:
    """Return the text of an OAuth error."""
    body = _json_body(response)
    detail = [body.get("error"), body.get("error_description")]
    said = ": ".join(word for word in detail if isinstance(word, str))
    return log.sanitize(said, _MAX_ERROR_LENGTH) or "no reason given"


def _json_body(response: Response) -> dict[str, object]:
    return from_json(dict[str, object], response.body) or {}


def _parse_token(text: bytes) -> Token | None:
    """Parse a token file; all fields except the refresh token may be missing or invalid."""
    token = from_json(Token, text)
    if token is None or not _is_token_text(token.refresh_token):
        return None
    conceal(token.refresh_token)
    return replace(
        token,
        access_token=token.access_token if _is_token_text(token.access_token) else "",
        expires_at=_bounded_number(token.expires_at) or 0.0,
        scope=log.sanitize(token.scope),
        authorized_at=_bounded_number(token.authorized_at),
        dead_at=_bounded_number(token.dead_at),
        dead_reason=log.sanitize(token.dead_reason),
        asked_at=_bounded_number(token.asked_at),
    )


def _is_token_text(value: object) -> TypeGuard[str]:
    """Return whether `value` can be a token: visible ASCII (RFC 6750, 2.1)."""
    return isinstance(value, str) and is_visible_ascii(value)


def _bounded_number(value: object) -> float | None:
    """Return `value` if it can be a time or a duration, otherwise None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not is_second(value):
        return None
    return float(value)
