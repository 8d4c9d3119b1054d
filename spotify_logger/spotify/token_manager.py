"""The access token in use: loaded from its file, renewed when the API refuses it, and never lost.

A refused login is kept, since Spotify has refused logins by mistake (metabrainz/listenbrainz-server#3766). It
is retried once an hour, and a new one in the file is picked up at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from spotify_logger.spotify import oauth
from spotify_logger.spotify.oauth import Token
from spotify_logger.system import log
from spotify_logger.system.errors import LOGIN_ADVICE, LoginNeeded, Misconfigured, NotBefore

if TYPE_CHECKING:
    from spotify_logger.config.settings import Settings
    from spotify_logger.spotify.http import Send
    from spotify_logger.spotify.oauth import TokenFile
    from spotify_logger.spotify.rate_limit import RateLimit
    from spotify_logger.system.clock import Clock

DEAD_LOGIN_RETRY_INTERVAL = 3600.0
"""Seconds between two attempts to refresh a login that the token endpoint has refused."""


class TokenManager:
    """Provides the token for calls to the API; the file is shared with the login command, which wins.

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
        # For a machine without a token file.
        self._token = Token(settings.refresh_token) if settings.refresh_token else None
        self._is_unsaved = False
        self._load()

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
        if self._file.changed():
            self._load()
        elif self._is_unsaved and self._token is not None:
            self._save(self._token)
        token = self._current()
        if token.dead_at is not None:
            # A time in the future was written by a wrong clock.
            if (
                token.asked_at is not None
                and 0 <= self._clock.utc() - token.asked_at < DEAD_LOGIN_RETRY_INTERVAL
            ):
                raise LoginNeeded(token.dead_reason)
            token = replace(token, asked_at=self._clock.utc())
        elif token.access_token:
            return token
        return self.renew(token)

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
            reason = "Spotify's accounts service asks to wait"
            raise self._rate_limit.start_cooldown("accounts", limit.seconds, reason) from None
        except (LoginNeeded, Misconfigured) as refusal:
            now = self._clock.utc()
            dead = replace(token, dead_at=token.dead_at or now, dead_reason=str(refusal), asked_at=now)
            if self._adopt(dead, token):
                raise LoginNeeded(str(refusal)) from None
        else:
            self._adopt(renewed, token)
        self._rate_limit.end_cooldown("accounts")
        return self._current()

    def _current(self) -> Token:
        if self._token is None:
            raise LoginNeeded(f"nobody is logged in: {LOGIN_ADVICE}")
        return self._token

    def _load(self) -> None:
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
