"""The login: its token, the token file, and how it is renewed when the API refuses it, and never lost.

A refused login is kept, since Spotify has refused logins by mistake (metabrainz/listenbrainz-server#3766). It
is retried once an hour, and a new one in the file is picked up at once.
"""

import base64
import calendar
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

from spotify_logger.config.settings import Settings, is_visible_ascii
from spotify_logger.config.sources import TOKEN_FILE
from spotify_logger.core.times import EPOCH, MAX_STAMP_MS
from spotify_logger.spotify.http import Request, Response, Send
from spotify_logger.spotify.rate_limit import DEFAULT_COOLDOWN, RateLimit
from spotify_logger.system import atomic_file, log
from spotify_logger.system.clock import DATE_TOLERANCE, Clock
from spotify_logger.system.errors import LOGIN_ADVICE, LoginNeeded, Misconfigured, NotBefore, TryLater
from spotify_logger.system.state import from_json, to_json

LIFETIME_MONTHS = 6  # of a refresh token after the consent, refreshed or not (Spotify's blog, 2026-06-18)
DEAD_LOGIN_RETRY_INTERVAL = 3600.0  # seconds between two attempts to refresh a refused login


class UnknownClient(Misconfigured):
    """Spotify does not know the client ID, or refuses its secret."""


@dataclass(frozen=True)
class Token:
    """A login. Times are seconds since the epoch, UTC; None if unknown."""

    refresh_token: str = field(repr=False)
    access_token: str = field(default="", repr=False)  # "" if there is none yet
    scope: str = ""  # the granted ones, separated by spaces; "" if unknown
    authorized_at: float | None = None  # when the listener consented
    dead_reason: str = ""  # why the token endpoint refuses the refresh token; "" if it does not
    asked_at: float | None = None  # when a refused refresh token was last tried
    account: str = ""  # the ID of the Spotify account; "" if unknown, as in files of version 0.5


class TokenFile:
    """The token file: mode 0600, replaced atomically, shared by daemon and login command."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content: bytes | None = None  # as it was last loaded or saved here

    def load(self) -> Token | None:
        """Return the token; None if there is none, or the file is invalid, which is logged."""
        self._content = None
        try:
            self._content = atomic_file.read(self.path)
        except OSError as error:
            log.warning(f"{self.path} cannot be read ({error.strerror}): correct its owner or mode")
        token = _parse_token(self._content or b"")
        if token is None and self._content is not None:
            log.warning(f"{self.path} contains no token; it is kept, and a new login is needed")
        return token

    def save(self, token: Token) -> None:
        """Replace the file; one without a token is kept, with ".bad" after its name. May raise OSError."""
        with suppress(OSError):
            if (content := atomic_file.read(self.path)) is not None and _parse_token(content) is None:
                self.path.replace(self.path.with_name(f"{self.path.name}.bad"))
        text = to_json(token, indent=1) + "\n"
        atomic_file.write_atomically(self.path, text)
        self._content = text.encode()
        log.add_secret(token.refresh_token)

    def changed(self) -> bool:
        """Return whether the file is not as it was last loaded or saved here."""
        try:
            return atomic_file.read(self.path) != self._content
        except OSError:
            return self._content is not None


def _parse_token(content: bytes) -> Token | None:
    token = from_json(Token, content)
    if token is None or not is_visible_ascii(token.refresh_token):
        return None
    log.add_secret(token.refresh_token)
    access_token = token.access_token if is_visible_ascii(token.access_token) else ""
    return replace(token, access_token=access_token, dead_reason=log.sanitize(token.dead_reason))


class TokenManager:
    """Provides the token for calls to the API; the file is shared with the login command, which wins."""

    def __init__(self, send: Send, settings: Settings, clock: Clock, rate_limit: RateLimit) -> None:
        self.login_count = 0  # how often a token was loaded from the file; grows with every login
        self._send, self._settings, self._clock, self._rate_limit = send, settings, clock, rate_limit
        self._file = TokenFile(settings.state_dir / TOKEN_FILE)
        self.current = Token(settings.refresh_token) if settings.refresh_token else None  # without a file
        self._is_unsaved = False
        self._load()

    def token(self) -> Token:
        """Return a token whose access token is not known to be refused; the errors are those of `renew`."""
        if self._file.changed():
            self._load()
        elif self._is_unsaved and self.current is not None:
            self._save(self.current)
        token = self._require()
        if not token.dead_reason:
            return token if token.access_token else self.renew(token)
        now = self._clock.utc()
        if 0 <= now - (token.asked_at or 0.0) < DEAD_LOGIN_RETRY_INTERVAL:  # not below 0, by a wrong clock
            raise LoginNeeded(token.dead_reason)
        return self.renew(replace(token, asked_at=now))

    def renew(self, token: Token) -> Token:
        """Return a token with a new access token; that of `token`, which the API refuses, is not used again.

        Raises LoginNeeded if there is no login, or it is refused; and the errors of `request_token`.
        """
        self.current = replace(token, access_token="")
        self._rate_limit.check("accounts")
        try:
            renewed = request_token(self._send, self._settings, {}, token, self._clock.utc())
        except NotBefore as limit:
            reason = "Spotify's accounts service asks us to wait"
            raise self._rate_limit.start_cooldown("accounts", limit.seconds, reason) from None
        except (LoginNeeded, Misconfigured) as refusal:
            dead = replace(token, dead_reason=str(refusal), asked_at=self._clock.utc())
            if self.adopt(dead, token):
                raise LoginNeeded(str(refusal)) from None
        else:
            self.adopt(renewed, token)
        self._rate_limit.end_cooldown("accounts")
        return self._require()

    def _require(self) -> Token:
        if self.current is None:
            raise LoginNeeded(f"nobody is logged in: {LOGIN_ADVICE}")
        return self.current

    def _load(self) -> None:
        token = self._file.load()
        if token is None:
            return  # missing or invalid: keep the known token
        if "invalid_client" in token.dead_reason:
            token = replace(token, asked_at=None)  # the settings may have been corrected since
        self.current, self._is_unsaved = token, False
        self.login_count += 1

    def adopt(self, token: Token, origin: Token) -> bool:
        """Use and save `token`, derived from `origin`, and return True; False if a login came first."""
        if self._file.changed():
            self._load()
            if self._require().refresh_token != origin.refresh_token:
                return False
        self.current = token
        self._save(token)
        return True

    def _save(self, token: Token) -> None:
        try:
            self._file.save(token)
            self._is_unsaved = False
        except OSError as error:
            if not self._is_unsaved:
                log.warning(f"the login cannot be saved ({error.strerror}): kept in memory, and retried")
            self._is_unsaved = True


def valid_until(token: Token | None) -> float | None:
    """Return when a login expires, in seconds since the epoch; None if there is none, or it is unknown."""
    if token is None or token.authorized_at is None or not 0 <= token.authorized_at < MAX_STAMP_MS / 1000:
        return None
    start = EPOCH + timedelta(seconds=token.authorized_at)  # on 32 bits, `fromtimestamp` ends in 2038
    years, month = divmod(start.month - 1 + LIFETIME_MONTHS, 12)
    last_day = calendar.monthrange(start.year + years, month + 1)[1]
    return start.replace(year=start.year + years, month=month + 1, day=min(start.day, last_day)).timestamp()


def request_token(send: Send, settings: Settings, form: dict[str, str], token: Token, now: float) -> Token:
    """Request an access token by the grant in `form`, or by the refresh token, and return `token` with it.

    A login without a refresh token begins now (seconds since the epoch), or at the `Date` of the response.
    Raises LoginNeeded if the grant is not accepted, Misconfigured if the client is unknown, NotBefore for a
    rate limit, and TryLater for anything else: the grant may be valid.
    """
    form = form or {"grant_type": "refresh_token", "refresh_token": token.refresh_token}
    headers: dict[str, str] = {}
    if settings.client_secret:
        pair = f"{settings.client_id}:{settings.client_secret}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        form = {**form, "client_id": settings.client_id}
    response = send(Request("POST", f"{settings.accounts_url}/api/token", headers, form))
    body = response.json or {}
    texts = (body.get("error"), body.get("error_description"))  # RFC 6749, 5.2
    error = ": ".join(text for text in texts if isinstance(text, str))
    detail = log.sanitize(error, log.DETAIL_LIMIT) or "no reason given"
    is_refused = response.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}
    refusal = body.get("error") if is_refused else ""
    if refusal == "invalid_client":
        raise UnknownClient(
            f"Spotify does not know this client ({detail}): correct SPOTIFY_CLIENT_ID and "
            "SPOTIFY_CLIENT_SECRET, or client_id and client_secret in auth.py"
        )
    if refusal == "invalid_grant" and token.refresh_token:
        raise LoginNeeded(f"Spotify no longer accepts the login ({detail}): {LOGIN_ADVICE}")
    if refusal == "invalid_grant":
        raise LoginNeeded(f"Spotify does not accept this code ({detail})")
    if response.date is not None and abs(response.date - now) > DATE_TOLERANCE:
        now = response.date  # the age of a login matters for months
    if response.status == HTTPStatus.TOO_MANY_REQUESTS:
        asked = response.retry_after(now)
        wait = DEFAULT_COOLDOWN if asked is None else asked
        raise NotBefore(f"Spotify's accounts service asks us to wait for {wait:.0f} s", wait)
    if response.status != HTTPStatus.OK:
        raise TryLater(f"Spotify's accounts service answers {response.status} ({detail})")
    access, new, scope = body.get("access_token"), body.get("refresh_token"), body.get("scope")
    # Since mid-2026 a refresh rarely returns a new one; the old one stays valid (hrkfdn/ncspot#1861).
    refresh = new if is_visible_ascii(new) else token.refresh_token
    if not is_visible_ascii(access) or not refresh:
        raise TryLater("Spotify's accounts service answers 200 without a token")
    return Token(
        refresh_token=refresh,
        access_token=access,
        scope=log.sanitize(scope) if isinstance(scope, str) else token.scope,
        authorized_at=token.authorized_at if token.refresh_token else now,
        account=token.account,
    )


def with_account(send: Send, settings: Settings, token: Token) -> tuple[Token, Response]:
    """Return `token` with the ID of its account, if Spotify tells, and the response; may raise TryLater."""
    headers = {"Authorization": f"Bearer {token.access_token}"}
    response = send(Request("GET", f"{settings.api_url}/v1/me", headers))  # whose ID needs no scope
    account = (response.json or {}).get("id") if response.status == HTTPStatus.OK else None
    return (replace(token, account=log.sanitize(account)) if isinstance(account, str) else token), response


def account_conflict(token: Token, owner: str) -> str:
    """Return what is wrong if a login is not of the account `owner`; "" if it is, or either is unknown."""
    if not owner or token.account in {"", owner}:
        return ""
    return f"this login is for the Spotify account {token.account}, but the log holds the plays of {owner}"
