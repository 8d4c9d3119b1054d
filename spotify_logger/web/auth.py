"""Password authentication."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spotify_logger.web.sessions import Sessions
    from spotify_logger.web.throttle import Throttle


class PasswordAuth:
    """Signs browsers in and out.

    Args:
        password: The expected password.
        sessions: The open sessions.
        throttle: Limits wrong attempts per address.
    """

    def __init__(self, password: str, sessions: Sessions, throttle: Throttle) -> None:
        self._password = password.encode()
        self._sessions = sessions
        self._throttle = throttle

    def retry_after(self, address: str) -> float:
        """Return the seconds until `address` may try again; 0 if it may now."""
        return self._throttle.retry_after(address)

    def sign_in(self, password: str, address: str) -> str | None:
        """Return the token of a new session; None if the password is wrong or `address` is throttled."""
        if self.retry_after(address):
            return None
        if not hmac.compare_digest(password.strip().encode(), self._password):
            self._throttle.record_failure(address)
            return None
        return self._sessions.begin()

    def is_signed_in(self, token: str) -> bool:
        """Return whether `token` belongs to an open session."""
        return self._sessions.is_valid(token)

    def sign_out(self, token: str) -> None:
        """End the session that `token` belongs to."""
        self._sessions.end(token)
