"""Password authentication: sessions that survive a restart, and a throttle for wrong passwords."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import time
from typing import TYPE_CHECKING

from spotify_logger.system import log

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from spotify_logger.web.secrets_file import SecretsFile

SESSION_LIFETIME = 90 * 86_400
"""Seconds after which a browser has to sign in again."""
MAX_SESSIONS = 100
"""Beyond this number, the oldest session ends."""
WINDOW = 60.0
"""Seconds for which a wrong password counts."""
MAX_FAILURES = 5
"""Wrong passwords from one address in `WINDOW`."""
MAX_PER_NETWORK = 50
"""Wrong passwords from one IPv6 network (/64) in `WINDOW`: a single machine may use all of its addresses."""
MAX_REMEMBERED = 2000
"""Addresses and networks with wrong passwords that are remembered; the one seen longest ago goes first."""


class PasswordAuth:
    """Signs browsers in and out.

    The file holds a keyed digest of each session's token, never the token itself. The key depends on the
    password: a new one ends all sessions. Several processes may share the file, so every request reads it.

    Args:
        secrets_file: Stores the sessions and the secret key.
        password: The expected password.
        now: Returns the seconds since the epoch.
        monotonic: Returns the seconds since some fixed moment.
    """

    def __init__(
        self,
        secrets_file: SecretsFile,
        password: str,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secrets_file = secrets_file
        self._password = password.encode()
        self._key = hmac.digest(secrets_file.key, self._password, "sha256")
        self._now = now
        self._throttle = Throttle(monotonic)

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
        token = secrets.token_urlsafe(32)
        until = int(self._now()) + SESSION_LIFETIME
        self._save({**self._secrets_file.sessions(), self._digest(token): until})
        return token

    def sign_out(self, token: str) -> None:
        """End the session of `token`, if there is one."""
        sessions = dict(self._secrets_file.sessions())
        if sessions.pop(self._digest(token), None):
            self._save(sessions)

    def is_signed_in(self, token: str) -> bool:
        """Return whether `token` belongs to an open session."""
        return self._now() < self._secrets_file.sessions().get(self._digest(token), 0)

    def _digest(self, token: str) -> str:
        return hmac.digest(self._key, token.encode(), "sha256").hex()

    def _save(self, sessions: Mapping[str, int]) -> None:
        now = self._now()
        current = sorted((until, digest) for digest, until in sessions.items() if until > now)
        try:
            self._secrets_file.save_sessions({digest: until for until, digest in current[-MAX_SESSIONS:]})
        except OSError as error:
            log.warning(
                f"cannot write {self._secrets_file.path} ({error.strerror}): signing in or out lasts only "
                "until the web server restarts"
            )


class Throttle:
    """Throttles the addresses that send wrong passwords, by a clock of monotonic seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._wrong: dict[str, list[float]] = {}

    def retry_after(self, address: str) -> float:
        """Return the seconds until a password is accepted from an address; 0 if it is accepted now."""
        since = self._monotonic() - WINDOW
        waits = [0.0]
        for source, limit in _limits(address):
            recent = [at for at in self._wrong.get(source, ()) if at > since]
            if len(recent) >= limit:
                waits.append(recent[-limit] - since)
        return max(waits)

    def record_failure(self, address: str) -> None:
        """Record a wrong password from `address`."""
        for source, limit in _limits(address):
            times = self._wrong.pop(source, [])
            self._wrong[source] = [*times, self._monotonic()][-limit:]
        while len(self._wrong) > MAX_REMEMBERED:
            del self._wrong[next(iter(self._wrong))]


def _limits(address: str) -> list[tuple[str, int]]:
    """Return what an address counts as, and how many wrong passwords each may send in `WINDOW`."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return [("", MAX_FAILURES)]
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    if isinstance(found, ipaddress.IPv4Address):
        return [(str(found), MAX_FAILURES)]
    network = ipaddress.IPv6Network((int(found) >> 64 << 64, 64))
    return [(f"{int(found):x}", MAX_FAILURES), (str(network), MAX_PER_NETWORK)]


def set_cookie(request: Request, answer: Response, name: str, value: str) -> None:
    """Set a cookie that scripts cannot read and other sites cannot send, for `SESSION_LIFETIME`."""
    secure = request.url.scheme == "https"
    answer.set_cookie(name, value, SESSION_LIFETIME, secure=secure, httponly=True, samesite="strict")
