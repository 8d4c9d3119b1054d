"""Password authentication: a file of secrets, sessions that survive a restart, a throttle for guesses."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from spotify_logger.system import atomic_file, log
from spotify_logger.system.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

FILENAME = "web.json"
"""In STATE_DIR: a key, a password for when WEB_PASSWORD is not set, and the digests of the sessions."""
READABLE_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
"""Letters of a generated password: none that can be mistaken for another."""
GROUPS, GROUP_LENGTH = 4, 5
"""Shape of a generated password, which has about 100 random bits."""
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


class SecretsFile:
    """The secret key, the generated password and the sessions, in a file of STATE_DIR.

    Raises:
        Misconfigured: It cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILENAME
        self._sessions: Mapping[str, int] = {}
        self._version: tuple[int, ...] = ()
        try:
            atomic_file.make_state_dir(folder)
            self.key, self.password, _ = self._read()
            if len(self.key) < hashlib.sha256().digest_size or not self.password:
                letters = [secrets.choice(READABLE_LETTERS) for _ in range(GROUPS * GROUP_LENGTH)]
                groups = ("".join(letters[number::GROUPS]) for number in range(GROUPS))
                self.key, self.password = secrets.token_bytes(32), "-".join(groups)
                self.save_sessions({})
        except OSError as error:
            raise Misconfigured(
                f"cannot read or write {self.path} ({error.strerror}): fix its owner or mode, or set "
                "STATE_DIR"
            ) from None
        log.add_secret(self.password)

    def sessions(self) -> Mapping[str, int]:
        """Return the end of each session, in seconds since the epoch, by its digest."""
        with suppress(OSError):  # keep what was read last
            version = self._current_version()
            if version != self._version:  # another process has signed somebody in or out
                _, _, self._sessions = self._read()
                self._version = version
        return self._sessions

    def save_sessions(self, sessions: Mapping[str, int]) -> None:
        """Replace the sessions; an OSError means that the change lasts only until the process ends."""
        self._sessions = sessions
        kept = {"key": self.key.hex(), "password": self.password, "sessions": sessions}
        atomic_file.write_atomically(self.path, json.dumps(kept) + "\n")
        self._version = self._current_version()

    def _current_version(self) -> tuple[int, ...]:
        found = self.path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size

    def _read(self) -> tuple[bytes, str, dict[str, int]]:
        """Return key, password and sessions; empty ones for what is missing or malformed."""
        malformed = (ValueError, TypeError, KeyError, AttributeError)
        try:
            data = json.loads(atomic_file.read(self.path) or b"null")
            key, password = bytes.fromhex(data["key"]), str(data["password"] or "")
        except malformed:
            return b"", "", {}
        with suppress(*malformed):  # files of version 0.5.0 have no sessions
            return key, password, {str(digest): int(until) for digest, until in data["sessions"].items()}
        return key, password, {}


class PasswordAuth:
    """Signs browsers in and out.

    The file holds a keyed digest of each session's token, never the token itself. The key depends on the
    password: a new one ends all sessions. Several processes may share the file, so every request reads it.
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
        self.throttle = Throttle(monotonic)

    def sign_in(self, password: str, address: str) -> str | None:
        """Return the token of a new session; None if the password is wrong or `address` is throttled."""
        if self.throttle.retry_after(address):
            return None
        if not hmac.compare_digest(password.strip().encode(), self._password):
            self.throttle.record_failure(address)
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
