"""The password of the page, and how a browser shows that it knows it."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from typing import TYPE_CHECKING

from spotify_logger import files, journal
from spotify_logger.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE = "web.json"
"""In STATE_DIR: the key that signs, and the password, if the page made it."""
VALID = 90 * 86_400
"""Seconds after which a browser is asked again."""
FREE_TRIES, TRIES_SPAN = 5, 60.0
"""So many wrong passwords in so many seconds are taken; then nobody's is, until some of them are older."""
LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
"""Of a password that is made: nothing that looks like something else."""
GROUPS, GROUP = 4, 5


class Keep:
    """What the page keeps on the disk: a key of its own, and the password that it made.

    Args:
        folder: STATE_DIR.

    Attributes:
        path: The file.

    Raises:
        Misconfigured: It cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        try:
            files.make_state_folder(folder)
            told = _read(self.path)
            if told is None:
                told = {"key": secrets.token_hex(32), "password": _make()}
                files.write_atomically(self.path, json.dumps(told) + "\n")
        except OSError as error:
            raise Misconfigured(
                f"{self.path} cannot be read or written ({error.strerror}): correct its owner or mode, or "
                "set STATE_DIR"
            ) from None
        self.key = bytes.fromhex(told["key"])
        self.password = told["password"]
        journal.conceal(self.password)


def _read(path: Path) -> dict[str, str] | None:
    """What the file holds; None where it is not there, or holds something else."""
    try:
        told = json.loads(files.read(path) or b"null")
        good = len(bytes.fromhex(told["key"])) >= hashlib.sha256().digest_size and bool(told["password"])
    except (ValueError, TypeError, KeyError):
        return None
    return {name: str(told[name]) for name in ("key", "password")} if good else None


def _make() -> str:
    """A password of a hundred bits."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(GROUP)) for _ in range(GROUPS))


class Door:
    """Lets in who knows the password.

    Args:
        password: What it is.
        key: Signs what a browser shows afterwards. With another password, what was signed before is void.
        now: Seconds since the epoch.
        monotonic: Seconds since some fixed moment.
    """

    def __init__(
        self,
        password: str,
        key: bytes,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._password = password.encode()
        self._key = hmac.digest(key, self._password, "sha256")
        self._now = now
        self._monotonic = monotonic
        self._wrong: list[float] = []

    def wait(self) -> float:
        """Seconds until a password is taken again; 0 when it is at once."""
        now = self._monotonic()
        self._wrong = [moment for moment in self._wrong if now - moment < TRIES_SPAN]
        return 0.0 if len(self._wrong) < FREE_TRIES else TRIES_SPAN - (now - self._wrong[-FREE_TRIES])

    def open(self, password: str) -> str | None:
        """What a browser that gave the right password shows from now on; None for a wrong one."""
        if self.wait():
            return None
        if not hmac.compare_digest(password.strip().encode(), self._password):
            self._wrong.append(self._monotonic())
            return None
        until = str(int(self._now()) + VALID)
        return f"{until}.{self._sign(until)}"

    def lets_in(self, shown: str) -> bool:
        """Whether what a browser shows is good."""
        until, _, signature = shown.partition(".")
        if not (until.isascii() and until.isdigit() and signature.isascii()):
            return False
        return hmac.compare_digest(signature, self._sign(until)) and self._now() < int(until[:12])

    def _sign(self, until: str) -> str:
        return hmac.new(self._key, until.encode(), "sha256").hexdigest()
