"""Log lines: stderr, one line an event, never a control character, never a secret.

Standard library only: the supervisor speaks through it too.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import time
import unicodedata

LINE_LIMIT = 1000
"""Characters of a log line; what a server sends may be longer, a log is no dump."""

_PREFIX = {"error": "<3>", "warning": "<4>", "info": "<6>"}  # syslog's priorities, as journald reads them
_secrets: set[str] = set()
_silent = False


def add_secret(secret: str) -> None:
    """From now on print `secret` as "***", wherever it turns up in a line."""
    if secret:
        _secrets.add(secret)


def sanitize(text: str, limit: int = LINE_LIMIT) -> str:
    """Make `text` fit for a terminal: one bounded line without control characters and secrets."""
    for secret in sorted(_secrets, key=len, reverse=True):  # a shorter one may be a part of a longer one
        text = text.replace(secret, "***")
    text = " ".join(text[: 4 * limit].split())
    if not text.isprintable():
        text = "".join(c if unicodedata.category(c)[0] != "C" else "�" for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def mute() -> None:
    """From now on say nothing, as a benchmark wants it that lives through years."""
    global _silent  # noqa: PLW0603 - one process, one voice
    _silent = True


def info(text: str) -> None:
    """Say what happened."""
    _write("info", text)


def warning(text: str) -> None:
    """Say what is wrong and what happens next; it may heal by itself."""
    _write("warning", text)


def error(text: str) -> None:
    """Say what a person has to do."""
    _write("error", text)


def _write(priority: str, text: str) -> None:
    if _silent:
        return
    prefix = _PREFIX[priority] if _is_journald() else time.strftime("%Y-%m-%d %H:%M:%S ")
    # Where nobody reads any more, the write fails; logging must never stop the logger.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{prefix}{sanitize(text)}\n")
        sys.stderr.flush()


def _is_journald() -> bool:
    # systemd sets JOURNAL_STREAM to device:inode of the stream it reads (systemd.exec(5)).
    expected = os.environ.get("JOURNAL_STREAM")
    if not expected:
        return False
    try:
        stat = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return expected == f"{stat.st_dev}:{stat.st_ino}"


@atexit.register
def _give_up() -> None:
    # What could not be written is still in a buffer. Python would try again as it ends, and fail with an exit
    # code of its own, 120, instead of that which says why the logger ends.
    try:
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        sys.stderr = None
