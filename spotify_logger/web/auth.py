"""The password of the page, and what the page keeps on the disk."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spotify_logger.web.sessions import Sessions
    from spotify_logger.web.throttle import Throttle


class PasswordAuth:
    """Lets in who knows the password.

    Args:
        password: What it is.
        sessions: Who is signed in.
        throttle: Slows down who guesses.
    """

    def __init__(self, password: str, sessions: Sessions, throttle: Throttle) -> None:
        self._password = password.encode()
        self._sessions = sessions
        self._throttle = throttle

    def retry_after(self, address: str) -> float:
        """Return the seconds until a password is taken from an address; 0 when it is at once."""
        return self._throttle.retry_after(address)

    def sign_in(self, password: str, address: str) -> str | None:
        """Return the token of a new session; None for a wrong password, or one that came too soon."""
        if self.retry_after(address):
            return None
        if not hmac.compare_digest(password.strip().encode(), self._password):
            self._throttle.record_failure(address)
            return None
        return self._sessions.begin()

    def is_signed_in(self, token: str) -> bool:
        """Return whether the session of a token has begun and not ended."""
        return self._sessions.is_valid(token)

    def sign_out(self, token: str) -> None:
        """End the session of a token."""
        self._sessions.end(token)
