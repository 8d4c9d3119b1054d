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


class SecretsFile:
    """The secret key, the generated password and the sessions, in a file.

    Args:
        folder: STATE_DIR.

    Attributes:
        path: The file.
        key: Secret key for the digests of sessions.
        password: The generated password.

    Raises:
        Misconfigured: It cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILENAME
        try:
            atomic_file.make_state_dir(folder)
            kept = _read(self.path)
            if kept is None:
                kept = {"key": secrets.token_hex(32), "password": _generate_password()}
                atomic_file.write_atomically(self.path, json.dumps(kept) + "\n")
        except OSError as error:
            raise Misconfigured(
                f"cannot read or write {self.path} ({error.strerror}): fix its owner or mode, or set "
                "STATE_DIR"
            ) from None
        self.key = bytes.fromhex(kept["key"])
        self.password = kept["password"]
        self._sessions: Mapping[str, int] = {}
        self._version: tuple[int, ...] = ()
        log.add_secret(self.password)

    def sessions(self) -> Mapping[str, int]:
        """Return the end of each session, in seconds since the epoch, by its digest."""
        with suppress(OSError):  # keep what was read last
            version = _version(self.path)
            if version != self._version:  # another process has signed somebody in or out
                self._sessions, self._version = _read_sessions(self.path), version
        return self._sessions

    def save_sessions(self, sessions: Mapping[str, int]) -> None:
        """Replace the sessions.

        Raises:
            OSError: The file was not written; the change lasts until the process ends.
        """
        self._sessions = sessions
        kept = {"key": self.key.hex(), "password": self.password, "sessions": sessions}
        atomic_file.write_atomically(self.path, json.dumps(kept) + "\n")
        self._version = _version(self.path)


def _version(path: Path) -> tuple[int, ...]:
    """Return a value that changes whenever the file is replaced."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: Path) -> dict[str, str] | None:
    """Return the key and the password; None if the file is missing or malformed."""
    try:
        data = json.loads(atomic_file.read(path) or b"null")
        good = len(bytes.fromhex(data["key"])) >= hashlib.sha256().digest_size and bool(data["password"])
    except (ValueError, TypeError, KeyError):
        return None
    return {name: str(data[name]) for name in ("key", "password")} if good else None


def _read_sessions(path: Path) -> dict[str, int]:
    """Return the sessions in the file; files of version 0.5.0 have none."""
    try:
        kept = json.loads(atomic_file.read(path) or b"null")
        return {str(digest): int(until) for digest, until in kept["sessions"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _generate_password() -> str:
    """Return a random password of about 100 bits."""
    return "-".join(
        "".join(secrets.choice(READABLE_LETTERS) for _ in range(GROUP_LENGTH)) for _ in range(GROUPS)
    )
