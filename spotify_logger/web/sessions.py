"""Sign-in sessions, stored beside the password in STATE_DIR so that they survive a restart."""

from __future__ import annotations

import hmac
import secrets
import time
from typing import TYPE_CHECKING

from spotify_logger.system import log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spotify_logger.web.secrets_file import SecretsFile

SESSION_LIFETIME = 90 * 86_400
"""Seconds after which a browser has to sign in again."""
MAX_SESSIONS = 100
"""Beyond this number, the oldest session ends."""


class Sessions:
    """Begins and ends sessions.

    The file holds a keyed digest of each session's token, never the token itself. The key depends on the
    password: a new one ends all sessions. Several processes may share the file, so every request reads it.

    Args:
        secrets_file: Stores the sessions and the secret key.
        password: The password of the page.
        now: Seconds since the epoch.
    """

    def __init__(
        self, secrets_file: SecretsFile, password: str, now: Callable[[], float] = time.time
    ) -> None:
        self._secrets_file = secrets_file
        self._key = hmac.digest(secrets_file.key, password.encode(), "sha256")
        self._now = now

    def begin(self) -> str:
        """Begin a session and return its token."""
        token = secrets.token_urlsafe(32)
        until = int(self._now()) + SESSION_LIFETIME
        self._save({**self._secrets_file.sessions(), self._digest(token): until})
        return token

    def end(self, token: str) -> None:
        """End the session of `token`, if there is one."""
        digest = self._digest(token)
        sessions = self._secrets_file.sessions()
        if digest in sessions:
            self._save({each: until for each, until in sessions.items() if each != digest})

    def is_valid(self, token: str) -> bool:
        """Return whether `token` belongs to an open session."""
        return self._now() < self._secrets_file.sessions().get(self._digest(token), 0)

    def _digest(self, token: str) -> str:
        return hmac.digest(self._key, token.encode(), "sha256").hex()

    def _save(self, sessions: Mapping[str, int]) -> None:
        now = self._now()
        current = sorted((until, digest) for digest, until in sessions.items() if until > now)
        kept = {digest: until for until, digest in current[-MAX_SESSIONS:]}
        try:
            self._secrets_file.save_sessions(kept)
        except OSError as error:
            log.warning(
                f"cannot write {self._secrets_file.path} ({error.strerror}): signing in or out lasts only "
                "until the web server restarts"
            )
