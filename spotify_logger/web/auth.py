"""Password authentication: a file of secrets, sessions that survive a restart, a throttle for guesses."""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from spotify_logger.system import atomic_file, log
from spotify_logger.system.errors import Misconfigured
from spotify_logger.system.state import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

Seconds: TypeAlias = "Callable[[], float]"

FILENAME = "web.json"  # in STATE_DIR
READABLE_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # none that can be mistaken for another
GROUPS, GROUP_LENGTH = 4, 5  # of letters in a generated password, which has about 100 random bits
SESSION_LIFETIME = 90 * 86_400  # seconds after which a browser has to sign in again
MAX_SESSIONS = 100  # beyond this number, the oldest session ends
WINDOW = 60.0  # seconds for which a wrong password counts
MAX_FAILURES = 5  # wrong passwords from one address in `WINDOW`
MAX_REMEMBERED = 2000  # addresses with wrong passwords; the one seen longest ago goes first


@dataclass
class Secrets:
    """What the file holds; `sessions` are the end of each, in seconds since the epoch, by its digest."""

    key: str = ""  # hexadecimal
    password: str = ""  # for when WEB_PASSWORD is not set
    sessions: dict[str, int] = field(default_factory=dict)  # missing in files of version 0.5.0


class PasswordAuth:
    """Signs browsers in and out, with a password, or with one that is generated once if that is empty.

    The file in `folder` holds a keyed digest of each session's token, never the token itself. The key depends
    on the password: a new one ends all sessions. Several processes may share the file, so every request looks
    at it. Misconfigured if it cannot be read or written.
    """

    def __init__(
        self, folder: Path, password: str, now: Seconds = time.time, monotonic: Seconds = time.monotonic
    ) -> None:
        self.path = folder / FILENAME
        self._version: tuple[int, ...] = ()
        self._now = now
        self.throttle = Throttle(monotonic)
        try:
            atomic_file.make_state_dir(folder)
            self._secrets = self._read()
            if not re.fullmatch(r"[0-9a-f]{64,}", self._secrets.key) or not self._secrets.password:
                letters = [secrets.choice(READABLE_LETTERS) for _ in range(GROUPS * GROUP_LENGTH)]
                generated = "-".join("".join(letters[number::GROUPS]) for number in range(GROUPS))
                self._secrets = Secrets(secrets.token_hex(32), generated)
                self._write()
        except OSError as error:
            trouble = f"cannot read or write {self.path} ({error.strerror})"
            raise Misconfigured(f"{trouble}: fix its owner or mode, or set STATE_DIR") from None
        self.password = password or self._secrets.password
        log.add_secret(self.password)
        self._key = hmac.digest(bytes.fromhex(self._secrets.key), self.password.encode(), "sha256")

    def sign_in(self, password: str, address: str) -> str | None:
        """Return the token of a new session; None if the password is wrong, which `throttle` counts."""
        if not hmac.compare_digest(password.strip().encode(), self.password.encode()):
            self.throttle.record_failure(address)
            return None
        token = secrets.token_urlsafe(32)
        self._save({**self._sessions(), self._digest(token): int(self._now()) + SESSION_LIFETIME})
        return token

    def sign_out(self, token: str) -> None:
        """End the session of `token`, if there is one."""
        sessions = dict(self._sessions())
        if sessions.pop(self._digest(token), None):
            self._save(sessions)

    def is_signed_in(self, token: str) -> bool:
        """Return whether `token` belongs to an open session."""
        return self._now() < self._sessions().get(self._digest(token), 0)

    def _digest(self, token: str) -> str:
        return hmac.digest(self._key, token.encode(), "sha256").hex()

    def _sessions(self) -> dict[str, int]:
        with suppress(OSError):  # keep what was read last
            version = self._current_version()
            if version != self._version:  # another process has signed somebody in or out
                self._secrets.sessions, self._version = self._read().sessions, version
        return self._secrets.sessions

    def _save(self, sessions: dict[str, int]) -> None:
        now = self._now()
        current = sorted((until, digest) for digest, until in sessions.items() if until > now)
        self._secrets.sessions = {digest: until for until, digest in current[-MAX_SESSIONS:]}
        try:
            self._write()
        except OSError as error:
            trouble = f"cannot write {self.path} ({error.strerror})"
            log.warning(f"{trouble}: signing in or out lasts only until the web server restarts")

    def _read(self) -> Secrets:
        return from_json(Secrets, atomic_file.read(self.path) or b"") or Secrets()

    def _write(self) -> None:
        atomic_file.write_atomically(self.path, to_json(self._secrets) + "\n")
        self._version = self._current_version()

    def _current_version(self) -> tuple[int, ...]:
        found = self.path.stat()
        return found.st_ino, found.st_mtime_ns, found.st_size


class Throttle:
    """Throttles the addresses that send wrong passwords or tokens, by a clock of monotonic seconds."""

    def __init__(self, monotonic: Seconds, max_failures: int = MAX_FAILURES) -> None:
        self._monotonic, self._max_failures = monotonic, max_failures
        self._wrong: dict[str, list[float]] = {}

    def retry_after(self, address: str) -> float:
        """Return the seconds until a password is accepted from an address; 0 if it is accepted now."""
        since = self._monotonic() - WINDOW
        recent = [at for at in self._wrong.get(_source(address), ()) if at > since]
        return recent[-self._max_failures] - since if len(recent) >= self._max_failures else 0.0

    def record_failure(self, address: str) -> None:
        """Record a wrong password from `address`."""
        times = self._wrong.pop(_source(address), [])
        self._wrong[_source(address)] = [*times, self._monotonic()][-self._max_failures :]
        while len(self._wrong) > MAX_REMEMBERED:
            del self._wrong[next(iter(self._wrong))]


def _source(address: str) -> str:
    """Return what an address counts as: a machine may use all of an IPv6 network (/64), so that is one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    found = getattr(found, "ipv4_mapped", None) or found
    return found.packed[:8].hex()


def set_cookie(request: Request, answer: Response, name: str, value: str) -> None:
    """Set a cookie that scripts cannot read and other sites cannot send, for `SESSION_LIFETIME`."""
    secure = request.url.scheme == "https"
    answer.set_cookie(name, value, SESSION_LIFETIME, secure=secure, httponly=True, samesite="strict")
