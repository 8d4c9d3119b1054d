"""Parse the day indexes in bulk, as columns. Pure: the text of Redis replies in, columns out.

A client library creates an object for every field and value, one by one: with a million plays that takes
longer than everything else. Here the text of a reply is split in a few steps over the whole of it, and then
checked to be what was expected. If it is not, the caller has to read it through the client library.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING

from spotify_logger.core.redis_keys import END_REASONS, OPEN, read_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WORDS = 6
"""Words per row in a reply: a length, the second, another length, catalog key, milliseconds, and end."""
_VALUE_WORDS = 4
"""Words of the value alone."""
_ENDS = frozenset((*END_REASONS, OPEN))
_FOREIGN = ("_", "+", "-", "\t", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x1f")
"""Characters that `int` and `split` accept, but that no valid row has."""
_FIRST_SECOND, _SECONDS, _LONGEST_MS = 10**9, 10**10, 10**12
"""Seconds have ten digits since 2001."""
_NOTHING, _EMPTY = "$-1\r\n", "$0\r\n\r\n"


@dataclass(slots=True)
class PlayRows:
    """The plays that started on one UTC day, in chronological order, as columns of equal length.

    Attributes:
        seconds: Whole seconds since the epoch, UTC, that name the plays.
        items: Catalog keys.
        ms_played: Milliseconds played.
        ends: "trackdone", "skipped", "stopped" or "unknown"; "open" while the play is not over.
    """

    seconds: list[int] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    ms_played: list[int] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.seconds)

    def between(self, begin: int, end: int) -> PlayRows:
        """Return the plays that started from the second `begin` on and before the second `end`."""
        if not self.seconds or (begin <= self.seconds[0] and self.seconds[-1] < end):
            return self
        part = slice(bisect_left(self.seconds, begin), bisect_left(self.seconds, end))
        return PlayRows(self.seconds[part], self.items[part], self.ms_played[part], self.ends[part])

    def select(self, which: Sequence[bool]) -> PlayRows:
        """Return the rows for which `which` is true."""
        return PlayRows(
            list(compress(self.seconds, which)),
            list(compress(self.items, which)),
            list(compress(self.ms_played, which)),
            list(compress(self.ends, which)),
        )


def read_day(lines: Mapping[str, str]) -> PlayRows:
    """Return the rows of a day's index; invalid ones are skipped."""
    read = sorted(row for row in map(read_row, lines.keys(), lines.values()) if row is not None)
    return PlayRows(*map(list, zip(*read, strict=True))) if read else PlayRows()


def read_days(text: str, days: int) -> list[PlayRows] | None:
    """Parse the indexes of many days.

    Args:
        text: The replies to `HGETALL` of the days' indexes.
        days: The number of replies.

    Returns:
        A `PlayRows` for each day; None if the text is not as expected.
    """
    replies = _replies(text, days)
    if replies is None:
        return None
    read = [_read_day(reply) for reply in replies]
    found = [rows for rows in read if rows is not None]
    return found if len(found) == days and _are_lines(text, days, sum(map(len, found)), 4) else None


def read_items(text: str, days: int) -> set[str] | None:
    """Parse the catalog keys from the indexes of many days.

    Args:
        text: The replies to `HVALS` of the days' indexes.
        days: The number of replies.

    Returns:
        The keys; None if the text is not as expected.
    """
    replies = _replies(text, days)
    found: set[str] = set()
    lines = 0
    for reply in replies or ():
        words = reply.split()
        plays = len(words) // _VALUE_WORDS
        if words[:1] != [str(plays)] or len(words) != 1 + _VALUE_WORDS * plays:
            return None
        if not _are_items(reply, plays) or not _ENDS.issuperset(words[4::_VALUE_WORDS]):
            return None
        found.update(words[2::_VALUE_WORDS])
        lines += plays
    return found if replies is not None and _are_lines(text, days, lines, 2) else None


def read_numbers(text: str, number: int) -> list[int] | None:
    """Parse `number` integer replies; None if the text is anything else."""
    lines = text.split("\r\n")[:-1]
    if len(lines) != number or not all(line[:1] == ":" and line[1:].isdigit() for line in lines):
        return None
    return [int(line[1:]) for line in lines]


def _replies(text: str, number: int) -> list[str] | None:
    """Split the text into `number` array replies without their leading "*"; None if that fails."""
    replies = text[1:-2].split("\r\n*") if text.startswith("*") and text.endswith("\r\n") else []
    is_plain = text.isascii() and not any(sign in text for sign in _FOREIGN)
    return replies if len(replies) == number and is_plain else None


def _are_lines(text: str, days: int, plays: int, breaks: int) -> bool:
    """Return whether the text has the expected number of spaces and line breaks."""
    return text.count(" ") == 2 * plays and text.count("\n") == breaks * plays + days


def _read_day(reply: str) -> PlayRows | None:
    words = reply.split()
    plays = len(words) // _WORDS
    if words[:1] != [str(2 * plays)] or len(words) != 1 + _WORDS * plays:
        return None
    if not plays:
        return PlayRows()
    lengths, seconds, items, ms_played, ends = (words[column::_WORDS] for column in (1, 2, 4, 5, 6))
    if lengths.count("$10") != plays or not _ENDS.issuperset(ends) or not _are_items(reply, plays):
        return None
    try:
        rows = PlayRows(list(map(int, seconds)), items, list(map(int, ms_played)), ends)
    except ValueError:
        return None
    if rows.seconds != sorted(rows.seconds):
        rows = _sorted(rows)
    is_sound = rows.seconds[0] >= _FIRST_SECOND and rows.seconds[-1] < _SECONDS
    return rows if is_sound and max(rows.ms_played) < _LONGEST_MS else None


def _are_items(reply: str, plays: int) -> bool:
    tracks = reply.count("\r\ntrack:")
    return tracks == plays or tracks + reply.count("\r\nepisode:") + reply.count("\r\nlocal:") == plays


def _sorted(rows: PlayRows) -> PlayRows:
    ordered = sorted(zip(rows.seconds, rows.items, rows.ms_played, rows.ends, strict=True))
    return PlayRows(*map(list, zip(*ordered, strict=True)))


def read_hashes(text: str, keys: int) -> list[dict[str, str]] | None:
    """Parse whole hashes.

    Args:
        text: The replies to `HGETALL`.
        keys: The number of hashes.

    Returns:
        The fields and values of each; None if the text is not as expected.
    """
    lines = text.split("\r\n")
    size = len if text.isascii() else _bytes
    found, place, last = [], 0, len(lines) - 1
    for _ in range(keys):
        header = lines[place] if place < last else ""
        if not (header[:1] == "*" and header[1:].isdigit()):
            return None
        end = place + 1 + 2 * int(header[1:])
        lengths, words = lines[place + 1 : end : 2], lines[place + 2 : end + 1 : 2]
        if end > last or lengths != [f"${size(word)}" for word in words]:
            return None
        found.append(dict(zip(words[::2], words[1::2], strict=True)))
        place = end
    return found if place == last else None


def _bytes(word: str) -> int:
    return len(word.encode())


def read_values(text: str, keys: int, names: int) -> list[tuple[str, ...]] | None:
    """Parse the values of the same fields of many hashes.

    Args:
        text: The replies to `HMGET`.
        keys: The number of hashes.
        names: The number of fields of each.

    Returns:
        The values for each hash, "" for missing ones; None if the text is not as expected.
    """
    width = 1 + 2 * names
    lines = text.replace(_NOTHING, _EMPTY).split("\r\n")
    if len(lines) != 1 + keys * width or lines[:-1:width].count(f"*{names}") != keys:
        return None
    lengths = [lines[2 * name + 1 : -1 : width] for name in range(names)]
    if not all(line.startswith("$") for column in lengths for line in column):
        return None
    return list(zip(*(lines[2 * name + 2 :: width] for name in range(names)), strict=True))
