"""Log to stderr: one line per event, without control characters and secrets. Standard library only."""

import atexit
import contextlib
import os
import sys
import time
import unicodedata
from functools import partial

LINE_LIMIT = 1000  # the maximum length of a log line in characters; servers may send longer texts
DETAIL_LIMIT = 200  # the same of what a server says, inside a line
JOINERS = "\u200c\u200d"  # of no width; Persian, Hindi and emoji need them
MIN_SECRET_LENGTH = 4  # characters; hiding shorter texts would garble every line

_secrets: set[str] = set()


def add_secret(secret: str) -> None:
    """From now on, print `secret` as "***" wherever it occurs in a line."""
    if len(secret) >= MIN_SECRET_LENGTH:
        _secrets.add(secret)


def sanitize(text: str, limit: int = LINE_LIMIT) -> str:
    """Return `text` as one line of at most `limit` characters, without control characters and secrets."""
    for secret in sorted(_secrets, key=len, reverse=True):  # a shorter one may be part of a longer one
        text = text.replace(secret, "***")
    text = " ".join(text[: 4 * limit].split())
    if not text.isprintable():
        text = "".join(c if unicodedata.category(c)[0] != "C" or c in JOINERS else "�" for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _write(priority: str, text: str) -> None:  # a syslog priority, as journald reads it
    prefix = priority if _is_journald() else time.strftime("%Y-%m-%d %H:%M:%S ")
    # The write fails if the reader is gone; that must never stop the logger.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(f"{prefix}{sanitize(text)}\n")
        sys.stderr.flush()


info = partial(_write, "<6>")  # logs what happened
warning = partial(_write, "<4>")  # a problem that may resolve itself, and what happens next
error = partial(_write, "<3>")  # what the user has to do


def _is_journald() -> bool:
    # systemd sets JOURNAL_STREAM to device:inode of the stream it reads (systemd.exec(5)).
    with contextlib.suppress(OSError, ValueError, AttributeError):
        stat = os.fstat(sys.stderr.fileno())
        return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"
    return False


@atexit.register
def _discard_unwritten() -> None:
    # Unwritten text is still buffered. Python would try to flush it at exit, fail, and exit with code 120
    # instead of the code that says why the logger ended.
    try:
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        sys.stderr = None
