"""Bulk access to the log, for a million plays.

Results are yielded in batches, so that memory does not grow with the size of the log.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date, timedelta
from typing import TYPE_CHECKING

from spotify_logger.core.batched import batched
from spotify_logger.core.play_rows import PlayRows, read_day
from spotify_logger.core.redis_keys import (
    FIRST_DAY,
    GAPS,
    ONE_DAY,
    STATUS,
    day_of,
    index_key,
    play_key,
    second_of_day,
    second_of_key,
)
from spotify_logger.storage.redis_errors import Refusal
from spotify_logger.storage.store import ITEMS_PER_BATCH, Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from spotify_logger.storage.client import Command

DAYS_PER_BATCH = 64
"""Days of the index read in one batch: half a megabyte for a busy listener."""
KEYS_PER_SCAN = 1000
"""The COUNT of a SCAN."""
RECENT_DAYS = 3
"""Latest days on which plays may still change; on earlier ones they are only added or deleted."""
FIRST_SECOND = second_of_day(FIRST_DAY)
"""The first second with a play: none is older than Spotify."""


class Archive(Store):
    """The log with bulk access. For one thread.

    Data that cannot belong to the log is skipped.
    """

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

    def fields(self, seconds: Iterable[int], names: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Look up a few fields of many plays; yield the second in the key of each, and the values."""
        for chunk in batched(seconds, ITEMS_PER_BATCH):
            yield from zip(chunk, self.values(map(play_key, chunk), names), strict=True)

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

    def write(self, commands: Sequence[Command]) -> None:
        """Send commands that write.

        Raises:
            StoreError: Some were refused; the message names one of the keys.
        """
        for command, reply in zip(commands, self._client.send(commands), strict=True):
            if isinstance(reply, Refusal):
                raise StoreError(f"Redis at {self.where} {reply.advice} ({command[1]})", codes=[reply.code])


def _days(begin: int, end: int) -> Iterator[date]:
    """Yield the UTC days of a period."""
    day = day_of(begin)
    while second_of_day(day) < end:
        yield day
        day += timedelta(days=1)
