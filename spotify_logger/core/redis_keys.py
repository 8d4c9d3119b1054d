"""The names of the keys, and how what lies under them is read. Pure.

Values may have been written by anyone: what cannot be ours is None.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

STATUS = "spotify_logger:status"
NOW_PLAYING = "now_playing"
GAPS = "gaps"
"""The index of the gaps: where each begins -> where it ends, and why. A year has a few dozen of them."""
TOMBSTONES = "forgotten"
"""The plays that somebody wanted to be forgotten: the second that named each -> the second at which it ended.
Nothing tells what they were. It keeps `recently-played` and exports from bringing them back."""
LISTENERS = "spotify_logger:listeners"
"""The listeners of a household that have a name -> since when each has a log; no name is put before it."""
LEASE = "spotify_logger:lease"
"""Who asks Spotify for this log, while it does: fencing number, id and machine. It expires."""
FENCE = "spotify_logger:fence"
"""The last fencing number that was given out."""
STANDBY = "spotify_logger:standby"
"""The machine of a logger that waits for the lease. It expires."""

PROBE = "spotify_logger:probe"
"""What is never there: whether Redis takes writes is asked with one that would only change it."""

PLAY_FIELDS = frozenset(
    (  # noqa: SIM905 - three lines to read instead of twenty-two
        "id uri type name artists album duration_ms explicit device_name device_type device_volume "
        "shuffle_state repeat_state context_uri timestamp progress_ms playing "
        "started_at ended_at ms_played end_reason source"
    ).split()
)
"""The fields of a play's hash."""

EPOCH_DAY = date(1970, 1, 1)
FIRST_DAY = date(2006, 4, 23)
"""Spotify was founded on this day; no play is older."""

RESERVED_NAMES = frozenset(
    (  # noqa: SIM905 - one line to read
        "listening plays track episode local gap gaps now_playing forgotten spotify_logger redis lock"
    ).split()
)
"""What no listener can be called: keys begin with it, or something in the state folder is called so."""

_LISTENER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_SECOND = re.compile(r"[0-9]{1,10}")
_GAP = re.compile(r"([0-9]{1,10}) ([ -~]{1,100})")
_ROW = re.compile(
    r"((?:track|episode|local):\S+) ([0-9]{1,12})(?: (open|trackdone|skipped|stopped|unknown))?"
)

END_REASONS = ("trackdone", "skipped", "stopped", "unknown")
"""How a play ends."""
OPEN = "open"
"""What stands in their place while it is not over."""


def is_listener_name(name: str) -> bool:
    """Whether a listener can be called so."""
    return _LISTENER.fullmatch(name) is not None and name not in RESERVED_NAMES


def add_listener(prefix: str, listener: str) -> str:
    """What is put before the keys of a listener of a household; the same where there is no name."""
    return f"{prefix}{listener}:" if listener else prefix


def remove_listener(prefix: str, listener: str) -> str:
    """The reverse of `with_listener`: what is put before the keys that all listeners share."""
    return prefix.removesuffix(f"{listener}:") if listener else prefix


def play_key(second: int) -> str:
    """The key of the play that a second since the epoch names."""
    return f"listening:{second}"


def index_key(day: date) -> str:
    """The key of the index of a UTC day."""
    return f"plays:{day.isoformat()}"


def gap_key(second: int) -> str:
    """The key of the gap that begins at a second since the epoch."""
    return f"gap:{second}"


def day_of(second: int) -> date:
    """The UTC day that a second since the epoch lies in."""
    # Not `fromtimestamp`: on a 32-bit system it ends in 2038.
    return EPOCH_DAY + timedelta(days=second // 86_400)


def second_of_day(day: date) -> int:
    """The first second of a UTC day."""
    return (day - EPOCH_DAY).days * 86_400


def second_of_key(key: str) -> int | None:
    """The reverse of `play_key`, whatever prefix is put before it."""
    _, colon, digits = key.rpartition("listening:")
    return int(digits) if colon and _SECOND.fullmatch(digits) else None


def row_value(item: str, ms_played: int, end: str | None) -> str:
    """What a day's index holds of a play: catalogue key, milliseconds heard, and how it ended, if it did."""
    return f"{item} {ms_played} {OPEN if end is None else end if end in END_REASONS else 'unknown'}"


def read_row(second: str, value: str) -> tuple[int, str, int, str] | None:
    """One line of a day's index: the play's second, its catalogue key, milliseconds heard, and its end.

    Lines of the first versions do not tell the end, which is "unknown" then.
    """
    row = _ROW.fullmatch(value)
    if row is None or not _SECOND.fullmatch(second):
        return None
    return int(second), row[1], int(row[2]), row[3] or "unknown"


def read_gap(second: str, value: str) -> tuple[int, int, str] | None:
    """One line of the index of gaps: the seconds between which nothing could be seen, and why."""
    gap = _GAP.fullmatch(value)
    if gap is None or not _SECOND.fullmatch(second) or int(gap[1]) < int(second):
        return None
    return int(second), int(gap[1]), gap[2]


def read_tombstone(second: str, value: str) -> tuple[int, int] | None:
    """A play that was forgotten: the second that named it, and the one at which it ended."""
    if not _SECOND.fullmatch(second) or not _SECOND.fullmatch(value) or int(value) < int(second):
        return None
    return int(second), int(value)
