"""Redis keys, and the format of index rows. Pure; parsers return None for values that are not ours."""

import re
from collections.abc import Mapping
from datetime import date, timedelta
from itertools import starmap

from spotify_logger.core.times import from_iso

STATUS = "spotify_logger:status"
OWNER_FIELD = "account"  # of the status: the Spotify account whose plays the log has
LOG_ID_FIELD = "log_id"  # of the status: its IDs, by which state folders know it; "" if Redis has lost it
NOW_PLAYING = "now_playing"
GAPS = "gaps"  # the index of gaps: start -> end and reason; a year has a few dozen of them
TOMBSTONES = "forgotten"  # deleted plays: the second that named each -> the second in which it ended
RESTORED = "restored"  # instead of the end: the play was imported again on purpose
UNDO = "undo"  # deleted plays that can be brought back: the second that named each -> all of it; expires
HIDDEN = "hidden"  # from statistics: the key of a track, artist or show -> since when, and its title
LISTENERS = "spotify_logger:listeners"  # named ones -> the start of their log; never prefixed with a listener
TOKENS = "spotify_logger:tokens"  # of the API, by name; never prefixed with a listener either
LEASE = "spotify_logger:lease"  # the holder of the polling lease: fencing number, ID and machine; expires
FENCE = "spotify_logger:fence"  # the last fencing number issued
STANDBY = "spotify_logger:standby"  # the machine of a logger on standby; expires
REVISIONS = "spotify_logger:revisions"  # UTC day -> when it was last written: what readers read again
CATALOG = "catalog"  # the field of the revisions for changes to the catalog alone
NEWEST = "newest"  # the field of the revisions that every writer touches: whether there is anything to read
PROBE = "spotify_logger:probe"  # never exists: a write that would only modify it tests if writes are accepted

END_REASONS = ("trackdone", "skipped", "stopped", "unknown")
OPEN = "open"  # in index rows, for a play that is not over
Row = tuple[int, str, int, str]  # of the index: second, catalog key, milliseconds played, and end reason

EPOCH_DAY = date(1970, 1, 1)
ONE_DAY = 86_400
FIRST_DAY = date(2006, 4, 23)  # on which Spotify was founded; no play is older

# Names that no listener can have: keys begin with them, or files in the state folder have them.
RESERVED_NAMES = {
    "listening", "plays", "track", "episode", "local", "gap", "gaps", "now_playing", "forgotten",
    "spotify_logger", "redis", "lock",
}  # fmt: skip

_LISTENER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_SECOND = re.compile(r"[0-9]{1,10}")
_GAP = re.compile(r"([0-9]{1,10}) ([ -~]{1,100})")
_ROW = re.compile(rf"((?:track|episode|local):\S+) ([0-9]{{1,12}})(?: ({OPEN}|{'|'.join(END_REASONS)}))?")


def is_listener_name(name: str) -> bool:
    """Return whether a name is valid for a listener."""
    return _LISTENER.fullmatch(name) is not None and name not in RESERVED_NAMES


def add_listener(prefix: str, listener: str) -> str:
    """Return the key prefix of a listener; `prefix` itself if the listener has no name."""
    return f"{prefix}{listener}:" if listener else prefix


def remove_listener(prefix: str, listener: str) -> str:
    """Return the prefix of the keys that all listeners share: the inverse of `add_listener`."""
    return prefix.removesuffix(f"{listener}:") if listener else prefix


def play_key(second: int) -> str:
    """Return the key of the play that a second since the epoch names."""
    return f"listening:{second}"


def index_key(day: date) -> str:
    """Return the key of the index of a UTC day."""
    return f"plays:{day.isoformat()}"


def gap_key(second: int) -> str:
    """Return the key of the gap that begins at a second since the epoch."""
    return f"gap:{second}"


def day_of(second: int) -> date:
    """Return the UTC date of a second since the epoch."""
    # Not `fromtimestamp`: on a 32-bit system it ends in 2038.
    return EPOCH_DAY + timedelta(days=second // ONE_DAY)


def second_of_day(day: date) -> int:
    """Return the first second of a UTC day."""
    return (day - EPOCH_DAY).days * ONE_DAY


def read_date(text: str) -> date | None:
    """Parse a day as the names of keys have it: "2026-11-22"; other forms are invalid."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if str(day) == text else None


def second_of_key(key: str) -> int | None:
    """Return the second in the key of a play, with any prefix; None for other keys."""
    _, colon, digits = key.rpartition("listening:")
    return int(digits) if colon and _SECOND.fullmatch(digits) else None


def row_value(item: str, ms_played: int, end: str | None) -> str:
    """Return the value of an index row: catalog key, milliseconds played, and end reason."""
    return f"{item} {ms_played} {OPEN if end is None else end if end in END_REASONS else 'unknown'}"


def read_row(second: str, value: str) -> Row | None:
    """Parse an index row; those of the first versions have no end reason, which becomes "unknown"."""
    row = _ROW.fullmatch(value)
    if row is None or not _SECOND.fullmatch(second):
        return None
    return int(second), row[1], int(row[2]), row[3] or "unknown"


def read_day(lines: Mapping[str, str]) -> list[Row]:
    """Return the rows of a day's index in chronological order; invalid ones are skipped."""
    return sorted(filter(None, starmap(read_row, lines.items())))


def gap_value(second: int, fields: Mapping[str, str]) -> str:
    """Return the value in the index of gaps for the hash of a gap; "" if it is not a gap."""
    ended_ms = from_iso(fields.get("to", ""))
    value = "" if ended_ms is None else f"{-(-ended_ms // 1000)} {fields.get('reason', '')}"
    return "" if read_gap(str(second), value) is None else value


def read_gap(second: str, value: str) -> tuple[int, int, str] | None:
    """Parse an entry of the index of gaps into its first and last second, and reason."""
    gap = _GAP.fullmatch(value)
    if gap is None or not _SECOND.fullmatch(second) or int(gap[1]) < int(second):
        return None
    return int(second), int(gap[1]), gap[2]


def read_tombstone(second: str, value: str) -> tuple[int, int] | None:
    """Parse a tombstone into the second that named the play, and the second in which it ended."""
    if not _SECOND.fullmatch(second) or not _SECOND.fullmatch(value) or int(value) < int(second):
        return None
    return int(second), int(value)
