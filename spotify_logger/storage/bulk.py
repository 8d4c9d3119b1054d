"""Bulk access to the log, for a million plays.

Results are yielded in batches, so that memory does not grow with the size of the log.
"""

from __future__ import annotations

import hashlib
import re
import time
from datetime import date, timedelta
from typing import TYPE_CHECKING

from spotify_logger.core.batched import batched
from spotify_logger.core.play_rows import PlayRows, read_day
from spotify_logger.core.redis_keys import (
    FIRST_DAY,
    GAPS,
    STATUS,
    day_of,
    index_key,
    play_key,
    read_gap,
    second_of_day,
    second_of_key,
)
from spotify_logger.storage.client import StoreError
from spotify_logger.storage.redis_errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from spotify_logger.storage.client import Client, Command, Reply

DAYS_PER_BATCH = 64
"""Days of the index read in one batch: half a megabyte for a busy listener."""
ITEMS_PER_BATCH = 1000
"""Hashes of which a few fields are read in one batch."""
HASHES_PER_BATCH = 200
"""Whole hashes read in one batch; for plays, about 200 KB."""
KEYS_PER_SCAN = 1000
"""The COUNT of a SCAN."""
RECENT_DAYS = 3
"""Latest days on which plays may still change; on earlier ones they are only added or deleted."""
ONE_DAY = 86_400
FIRST_SECOND = second_of_day(FIRST_DAY)
"""The first second with a play: none is older than Spotify."""


class Archive:
    """Bulk access to the log. For one thread.

    Data that cannot belong to the log is skipped.

    Args:
        client: The connection.
        prefix: The prefix of every key; only `key` returns one with it.
        utc: Returns seconds since the epoch; the last day to read.

    Raises:
        StoreError: From every method: Redis did not answer, or refused.
    """

    def __init__(self, client: Client, prefix: str = "", utc: Callable[[], float] = time.time) -> None:
        self._client = client
        self._prefix = prefix
        self._utc = utc

    @property
    def where(self) -> str:
        """The address of the server, without credentials."""
        return self._client.where

    def key(self, name: str) -> str:
        """Return a key with the prefix."""
        return self._prefix + name

    # Plays

    def rows(self, begin: int = FIRST_SECOND, end: int | None = None) -> Iterator[PlayRows]:
        """Yield the plays that started in a period, one UTC day at a time, in order.

        Args:
            begin: The first second of the period.
            end: The second after the last one; None for no end.
        """
        end = self._end() if end is None else min(end, self._end())
        begin = max(begin, FIRST_SECOND)
        for days in batched(_days(begin, end), DAYS_PER_BATCH):
            for rows in self._indexes(days):
                inside = rows.between(begin, end)
                if inside:
                    yield inside

    def items_before(self, second: int) -> set[str]:
        """Return the catalog keys of all items played before a second."""
        found: set[str] = set()
        whole = second // ONE_DAY * ONE_DAY
        for days in batched(_days(FIRST_SECOND, min(whole, self._end())), DAYS_PER_BATCH):
            found.update(*(rows.items for rows in self._indexes(days)))
        for rows in self.rows(whole, second):
            found.update(rows.items)
        return found

    def mark(self, begin: int = FIRST_SECOND, end: int | None = None) -> tuple[str, int]:
        """Return a fingerprint of a period that changes with its plays, without reading all of them.

        Args:
            begin: The first second of the period.
            end: The second after the last one; None for no end.

        Returns:
            A text that changes when plays of the period are added or deleted, when any of its
            `RECENT_DAYS` have changed in any way, or when gaps have; and the number of plays on its UTC days.
        """
        last = self._end()
        end = last if end is None else min(end, last)
        days = list(_days(max(begin, FIRST_SECOND), end))
        lengths = [length for some in batched(days, DAYS_PER_BATCH) for length in self._lengths(some)]
        young = [
            index_key(day)
            for day in days[-RECENT_DAYS - 1 :]
            if second_of_day(day) > last - RECENT_DAYS * ONE_DAY
        ]
        hashes = list(self.hashes([*young, GAPS]))
        state = repr(
            (begin, end if end != last else None, lengths, [sorted(lines.items()) for lines in hashes])
        )
        return hashlib.blake2b(state.encode(), digest_size=16).hexdigest(), sum(lengths)

    def _lengths(self, days: Sequence[date]) -> list[int]:
        """Return the number of plays on each of some days."""
        if not self._may_have_plays(days):
            return [0] * len(days)
        return [reply or 0 for reply in self.send([("HLEN", self.key(index_key(day))) for day in days])]

    def _indexes(self, days: Sequence[date]) -> list[PlayRows]:
        if not self._may_have_plays(days):
            return []
        return [read_day(lines) for lines in self.hashes(map(index_key, days))]

    def _may_have_plays(self, days: Sequence[date]) -> bool:
        """Return whether any of some days may have plays, so that empty months take one question."""
        if self._client.is_cluster:
            return True
        (count,) = self.send([("EXISTS", *(self.key(index_key(day)) for day in days))])
        return bool(count != 0)

    def _end(self) -> int:
        """Return the second up to which there may be plays; a Pi may boot in 1970, so the status counts."""
        (last,) = self.send([("HGET", self.key(STATUS), "last_play")])
        return max(second_of_key(str(last)) or 0, int(self._utc())) + ONE_DAY

    # Hashes

    def catalog(self, keys: Iterable[str], names: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Look up many items.

        Args:
            keys: Catalog keys, "track:<id>", "episode:<id>" or "local:<digest>".
            names: The fields to return.

        Yields:
            Each key with the values of those fields, "" if missing.
        """
        for chunk in batched(keys, ITEMS_PER_BATCH):
            yield from zip(chunk, self._values(chunk, names), strict=True)

    def fields(self, seconds: Iterable[int], names: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Look up a few fields of many plays; yield the second in the key of each, and the values."""
        for chunk in batched(seconds, ITEMS_PER_BATCH):
            yield from zip(chunk, self._values(list(map(play_key, chunk)), names), strict=True)

    def plays(self, seconds: Iterable[int]) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield the second in the key of each play, and its hash, empty if there is none."""
        for chunk in batched(seconds, HASHES_PER_BATCH):
            yield from zip(chunk, self.hashes(map(play_key, chunk)), strict=True)

    def hashes(self, names: Iterable[str]) -> Iterator[dict[str, str]]:
        """Yield the hashes under many keys, empty if there is none."""
        for chunk in batched(names, HASHES_PER_BATCH):
            for reply in self.send([("HGETALL", self.key(name)) for name in chunk]):
                yield reply or {}

    def gaps(self) -> list[tuple[int, int, str]]:
        """Return the gaps, oldest first: from and to in seconds, and the reason."""
        (lines,) = self.hashes([GAPS])
        return sorted(gap for gap in map(read_gap, lines.keys(), lines.values()) if gap is not None)

    def _values(self, names: Sequence[str], fields: Sequence[str]) -> list[tuple[str, ...]]:
        replies = self.send([("HMGET", self.key(name), *fields) for name in names])
        return [tuple(value or "" for value in reply or [None] * len(fields)) for reply in replies]

    # Keys and commands

    def scan(self, pattern: str) -> Iterator[list[str]]:
        """Scan all keys.

        Args:
            pattern: A pattern without the prefix, such as "listening:*".

        Yields:
            Keys without the prefix, in batches; a key may occur more than once.
        """
        wanted = re.sub(r"([*?\[\]\\^-])", r"\\\1", self._prefix) + pattern
        for keys in self._client.scan(wanted, KEYS_PER_SCAN):
            if keys:
                yield [key.removeprefix(self._prefix) for key in keys]

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands and return the replies; None for keys of another type, which are not ours."""
        replies = self._exchange(commands)
        return [None if isinstance(reply, Refusal) else reply for reply in replies]

    def write(self, commands: Sequence[Command]) -> None:
        """Send commands that write.

        Raises:
            StoreError: Some were refused; the message names one of the keys.
        """
        for command, reply in zip(commands, self._exchange(commands), strict=True):
            if isinstance(reply, Refusal):
                raise StoreError(f"Redis at {self.where} {reply.advice} ({command[1]})", codes=[reply.code])

    def _exchange(self, commands: Sequence[Command]) -> list[Reply]:
        replies = self._client.send(commands)
        for reply in replies:
            if isinstance(reply, Refusal) and reply.code != "WRONGTYPE":
                raise StoreError(f"Redis at {self.where} {reply.advice}", codes=[reply.code])
        return replies


def _days(begin: int, end: int) -> Iterator[date]:
    """Yield the UTC days of a period."""
    day = day_of(begin)
    while second_of_day(day) < end:
        yield day
        day += timedelta(days=1)
