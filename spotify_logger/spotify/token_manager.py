"""The login in use: read from its file, refreshed when it is refused, and never lost.

A dead login is kept: Spotify has refused logins by mistake (metabrainz/listenbrainz-server#3766). It is tried
again once an hour, and a new one in the file is taken at once.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from spotify_logger.spotify import oauth
from spotify_logger.system import log
from spotify_logger.system.errors import LoginNeeded, NotBefore

if TYPE_CHECKING:
    from spotify_logger.config.settings import Settings
    from spotify_logger.spotify.http import Send
    from spotify_logger.spotify.oauth import Token, TokenFile
    from spotify_logger.spotify.rate_limit import Gate
    from spotify_logger.system.clock import Clock

DEAD_RETRY = 3600.0
"""Seconds between two tries of a login that the token endpoint has refused."""
ADVICE = "run `spotify-logger login`"
"""What helps."""
LIMITED = "Spotify's accounts service asks to wait"


class Access:
    """Hands out the token that the API is asked with.

    Args:
        send: Carries requests to the token endpoint.
        settings: The app; and a refresh token, for a machine without a token file.
        token_file: Shared with the login command, whose token is always the better one.
        clock: Tells the time.
        gate: Knows when the token endpoint may be asked.

    Attributes:
        logins: How many times a token was taken from the file; it grows when somebody has logged in.
    """

    def __init__(
        self, send: Send, settings: Settings, token_file: TokenFile, clock: Clock, gate: Gate
    ) -> None:
        self.logins = 0
        self._send = send
        self._settings = settings
        self._file = token_file
        self._clock = clock
        self._gate = gate
        self._token = oauth.token_of_settings(settings)
        self._unsaved = False
        self._looked = False

    @property
    def valid_until(self) -> float | None:
        """When the login ends, in seconds since the epoch; None when there is none, or nobody knows."""
        return None if self._token is None else oauth.valid_until(self._token)

    def token(self) -> Token:
        """Return a token that has an access token, as far as is known a good one.

        Raises:
            LoginNeeded: There is no login, or a dead one; nothing was sent if that was found out lately.
            TryLater: The token endpoint gives no answer.
            NotBefore: The token endpoint asks to wait.
        """
        self._heed_file()
        token = self._current()
        if token.dead_at is not None:
            self._let_rest(token)
            return self.renew(replace(token, asked_at=self._clock.utc()))
        return token if token.access_token else self.renew(token)

    def renew(self, token: Token) -> Token:
        """Return a token with another access token, because the one of `token` is refused.

        Raises:
            LoginNeeded: The token endpoint refuses the login.
            TryLater: It gives no answer; even so, the refused access token is not handed out again.
            NotBefore: It asks to wait.
        """
        self._token = replace(token, access_token="")
        self._gate.check("accounts")
        try:
            renewed = oauth.refresh(self._send, self._settings, token, self._clock.utc())
        except NotBefore as limit:
            raise self._gate.limited("accounts", limit.seconds, LIMITED) from None
        except LoginNeeded as refusal:
            if self._keep(self._dead(token, str(refusal)), token):
                raise
        else:
            self._keep(renewed, token)
        self._gate.passed("accounts")
        return self._current()

    def _current(self) -> Token:
        if self._token is None:
            raise LoginNeeded(f"nobody is logged in: {ADVICE}")
        return self._token

    def _let_rest(self, token: Token) -> None:
        asked = token.asked_at
        # A stamp that lies ahead was made by a clock that was wrong.
        if asked is not None and 0 <= self._clock.utc() - asked < DEAD_RETRY:
            raise LoginNeeded(token.dead_reason)

    def _dead(self, token: Token, reason: str) -> Token:
        now = self._clock.utc()
        return replace(token, dead_at=token.dead_at or now, dead_reason=reason, asked_at=now)

    def _heed_file(self) -> None:
        """Take over what somebody else has written, and write what could not be written before."""
        if not self._looked or self._file.changed():
            self._load()
        elif self._unsaved and self._token is not None:
            self._save(self._token)

    def _load(self) -> None:
        self._looked = True
        token = self._file.load()
        if token is None:
            return  # gone or garbage: what is known is better than nothing
        if "invalid_client" in token.dead_reason:
            token = replace(token, asked_at=None)  # the settings may have been corrected before this start
        self._token = token
        self._unsaved = False
        self.logins += 1

    def _keep(self, token: Token, origin: Token) -> bool:
        """Use `token`, which was made of `origin`, and save it; unless somebody has logged in meanwhile."""
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
            if not self._unsaved:
                log.warning(f"the login cannot be saved ({error.strerror}): kept in memory, tried again")
            self._unsaved = True
        else:
            self._unsaved = False
