"""The access token in use: loaded from its file, renewed when the API refuses it, and never lost.

A refused login is kept, since Spotify has refused logins by mistake (metabrainz/listenbrainz-server#3766). It
is retried once an hour, and a new one in the file is picked up at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from spotify_logger.spotify import oauth
from spotify_logger.system import log
from spotify_logger.system.errors import LOGIN_ADVICE, LoginNeeded, NotBefore

if TYPE_CHECKING:
    from spotify_logger.config.settings import Settings
    from spotify_logger.spotify.http import Send
    from spotify_logger.spotify.oauth import Token, TokenFile
    from spotify_logger.spotify.rate_limit import RateLimit
    from spotify_logger.system.clock import Clock

DEAD_LOGIN_RETRY_INTERVAL = 3600.0
"""Seconds between two attempts to refresh a login that the token endpoint has refused."""

ACCOUNTS_LIMITED = "Spotify's accounts service asks to wait"


class TokenManager:
    """Provides the token for calls to the API.

    Args:
        send: Carries requests to the token endpoint.
        settings: The app; and a refresh token, for a machine without a token file.
        token_file: Shared with the login command, whose token takes precedence.
        clock: The clock.
        rate_limit: Knows the cooldown of the token endpoint.

    Attributes:
        login_count: How often a token was loaded from the file; grows with every login.
    """

    def __init__(
        self, send: Send, settings: Settings, token_file: TokenFile, clock: Clock, rate_limit: RateLimit
    ) -> None:
        self.login_count = 0
        self._send = send
        self._settings = settings
        self._file = token_file
        self._clock = clock
        self._rate_limit = rate_limit
        self._token = oauth.token_from_settings(settings)
        self._is_unsaved = False
        self._has_loaded = False

    @property
    def valid_until(self) -> float | None:
        """When the login expires, in seconds since the epoch; None if there is none, or unknown."""
        return None if self._token is None else oauth.valid_until(self._token)

    def token(self) -> Token:
        """Return a token with an access token that is not known to be refused.

        Raises:
            LoginNeeded: There is no login, or it is refused; within an hour of a refusal nothing is sent.
            TryLater: The token endpoint does not answer.
            NotBefore: The token endpoint is in a cooldown.
        """
        self._sync_with_file()
        token = self._current()
        if token.dead_at is not None:
            self._wait_before_retry(token)
            return self.renew(replace(token, asked_at=self._clock.utc()))
        return token if token.access_token else self.renew(token)

    def renew(self, token: Token) -> Token:
        """Return a token with a new access token, because the API refuses the one of `token`.

        Raises:
            LoginNeeded: The token endpoint refuses the login.
            TryLater: It does not answer; the refused access token is not returned again.
            NotBefore: It is in a cooldown.
        """
        self._token = replace(token, access_token="")
        self._rate_limit.check("accounts")
        try:
            renewed = oauth.refresh(self._send, self._settings, token, self._clock.utc())
        except NotBefore as limit:
            raise self._rate_limit.start_cooldown("accounts", limit.seconds, ACCOUNTS_LIMITED) from None
        except LoginNeeded as refusal:
            if self._adopt(self._mark_dead(token, str(refusal)), token):
                raise
        else:
            self._adopt(renewed, token)
        self._rate_limit.end_cooldown("accounts")
        return self._current()

    def _current(self) -> Token:
        if self._token is None:
            raise LoginNeeded(f"nobody is logged in: {LOGIN_ADVICE}")
        return self._token

    def _wait_before_retry(self, token: Token) -> None:
        asked = token.asked_at
        # A time in the future was written by a wrong clock.
        if asked is not None and 0 <= self._clock.utc() - asked < DEAD_LOGIN_RETRY_INTERVAL:
            raise LoginNeeded(token.dead_reason)

    def _mark_dead(self, token: Token, reason: str) -> Token:
        now = self._clock.utc()
        return replace(token, dead_at=token.dead_at or now, dead_reason=reason, asked_at=now)

    def _sync_with_file(self) -> None:
        """Load the file if another process has changed it; otherwise retry a save that failed."""
        if not self._has_loaded or self._file.changed():
            self._load()
        elif self._is_unsaved and self._token is not None:
            self._save(self._token)

    def _load(self) -> None:
        self._has_loaded = True
        token = self._file.load()
        if token is None:
            return  # missing or invalid: keep the known token
        if "invalid_client" in token.dead_reason:
            token = replace(token, asked_at=None)  # the settings may have been corrected since
        self._token = token
        self._is_unsaved = False
        self.login_count += 1

    def _adopt(self, token: Token, origin: Token) -> bool:
        """Use and save `token`, derived from `origin`, and return True; False if a login came first."""
        if self._file.changed():
            self._load()
            if self._current().refresh_token != origin.refresh_token:
                return False
        self._token = token
        self._save(token)
        return True

    def _save(self, token: Token) -> None:
        try:
            self._file.save(token)
        except OSError as error:
            if not self._is_unsaved:
                log.warning(
                    f"the login cannot be saved ({error.strerror}): kept in memory, saving is retried"
                )
            self._is_unsaved = True
        else:
            self._is_unsaved = False
