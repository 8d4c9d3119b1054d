"""What the page keeps on the disk: its key, its password, and the sessions."""

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
"""In STATE_DIR: a key, a password, for when no other one is set, and the digests of the sessions."""


READABLE_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
"""Of a password that is made: nothing that looks like something else."""


GROUPS, GROUP_LENGTH = 4, 5


class SecretsFile:
    """What the page keeps on the disk: a key of its own, the password that it made, and who is signed in.

    Args:
        folder: STATE_DIR.

    Attributes:
        path: The file.

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
                f"{self.path} cannot be read or written ({error.strerror}): correct its owner or mode, or "
                "set STATE_DIR"
            ) from None
        self.key = bytes.fromhex(kept["key"])
        self.password = kept["password"]
        self._sessions: Mapping[str, int] = {}
        self._version: tuple[int, ...] = ()
        log.add_secret(self.password)

    def sessions(self) -> Mapping[str, int]:
        """Return when each session ends, in seconds since the epoch, by its digest."""
        with suppress(OSError):  # what was read last holds
            version = _version(self.path)
            if version != self._version:  # another page has signed somebody in or out
                self._sessions, self._version = _read_sessions(self.path), version
        return self._sessions

    def save_sessions(self, sessions: Mapping[str, int]) -> None:
        """Replace the sessions.

        Raises:
            OSError: They are replaced until the page ends, and could not be written.
        """
        self._sessions = sessions
        kept = {"key": self.key.hex(), "password": self.password, "sessions": sessions}
        atomic_file.write_atomically(self.path, json.dumps(kept) + "\n")
        self._version = _version(self.path)


def _version(path: Path) -> tuple[int, ...]:
    """Return what is another one whenever the file is replaced."""
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: Path) -> dict[str, str] | None:
    """What the file holds; None where it is not there, or holds something else."""
    try:
        told = json.loads(atomic_file.read(path) or b"null")
        good = len(bytes.fromhex(told["key"])) >= hashlib.sha256().digest_size and bool(told["password"])
    except (ValueError, TypeError, KeyError):
        return None
    return {name: str(told[name]) for name in ("key", "password")} if good else None


def _read_sessions(path: Path) -> dict[str, int]:
    """Return the sessions in the file; it has none when it is as 0.5.0 wrote it."""
    try:
        kept = json.loads(atomic_file.read(path) or b"null")
        return {str(digest): int(until) for digest, until in kept["sessions"].items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _generate_password() -> str:
    """A password of a hundred bits."""
    return "-".join(
        "".join(secrets.choice(READABLE_LETTERS) for _ in range(GROUP_LENGTH)) for _ in range(GROUPS)
    )
