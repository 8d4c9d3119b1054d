"""The file with the secret key, the generated password and the sessions of the page."""

from __future__ import annotations

import hashlib
import json
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from spotify_logger.system import atomic_file, log
from spotify_logger.system.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILENAME = "web.json"
"""In STATE_DIR: a key, a password for when WEB_PASSWORD is not set, and the digests of the sessions."""
READABLE_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
"""Letters of a generated password: none that can be mistaken for another."""
GROUPS, GROUP_LENGTH = 4, 5
"""Shape of a generated password, which has about 100 random bits."""


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
