"""The log read in bulk, for whom a play is one of a million; and written in bulk.

What is asked for is answered in portions, so that memory does not grow with the years.
"""

from __future__ import annotations

import hashlib
import re
import time
from datetime import date, timedelta
from typing import TYPE_CHECKING, TypeVar

from spotify_logger.core.batched import batched
from spotify_logger.core.play_rows import (
    PlayRows,
    read_day,
    read_days,
    read_hashes,
    read_items,
    read_numbers,
    read_values,
)
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
from spotify_logger.storage.connection import StoreError
from spotify_logger.storage.redis_errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from spotify_logger.storage.connection import Command, Link, Reply

T = TypeVar("T")

DAYS_PER_BATCH = 64
"""Days of the index that are read in one go: half a megabyte, of a busy listener."""
ITEMS_PER_BATCH = 1000
"""Hashes of which a few fields are read in one go."""
HASHES_PER_BATCH = 200
"""Hashes that are read whole in one go; so many plays are about 200 KB."""
KEYS_PER_SCAN = 1000
"""Keys that the server looks at in one step of a search through all of them."""
RECENT_DAYS = 3
"""Days back from now on which plays may still change: later, they come and go at most."""
ONE_DAY = 86_400
FIRST_SECOND = second_of_day(FIRST_DAY)
"""No play is older than Spotify."""


class Archive:
    """The log in bulk. For one thread.

    What others wrote is passed over where it cannot be ours.

    Args:
        link: The connection.
        prefix: Put before every key; only `key` returns one with it.
        utc: Seconds since the epoch; tells up to which day to look.

    Raises:
        StoreError: By every method: there is no answer, or a refusal.
    """

    def __init__(self, link: Link, prefix: str = "", utc: Callable[[], float] = time.time) -> None:
        self._link = link
        self._prefix = prefix
        self._utc = utc

    @property
    def where(self) -> str:
        """The server's address without credentials."""
        return self._link.where

    def key(self, name: str) -> str:
        """A key with the prefix before it."""
        return self._prefix + name

    # What was played

    def rows(self, begin: int = FIRST_SECOND, end: int | None = None) -> Iterator[PlayRows]:
        """The plays that started in a stretch, a UTC day at a time, in order of time.

        Args:
            begin: Its first second; no play is older than Spotify.
            end: The second after its last one; None for all that there is.
        """
        end = self._end() if end is None else min(end, self._end())
        begin = max(begin, FIRST_SECOND)
        for days in batched(_days(begin, end), DAYS_PER_BATCH):
            for rows in self._indexes(days):
                inside = rows.between(begin, end)
                if inside:
                    yield inside

    def items_before(self, second: int) -> set[str]:
        """The catalogue keys of everything that was played, however shortly, before a second."""
        found: set[str] = set()
        whole = second // ONE_DAY * ONE_DAY
        for days in batched(_days(FIRST_SECOND, min(whole, self._end())), DAYS_PER_BATCH):
            parts = self._link.ask("HVALS", [self.key(index_key(day)) for day in days])
            items = [read_items(text, len(which)) for which, text in parts or ()]
            if parts is None or None in items:
                items = [set(rows.items) for rows in self._indexes(days)]
            found.update(*filter(None, items))
        for rows in self.rows(whole, second):
            found.update(rows.items)
        return found

    def mark(self, begin: int = FIRST_SECOND, end: int | None = None) -> tuple[str, int]:
        """Whether anything has changed since it was last asked, without reading all of it.

        Args:
            begin: The first second of the stretch in question.
            end: The second after its last one; None for all that there is.

        Returns:
            A text that is another one when plays of the stretch have come or gone, when some of its
            `YOUNG_DAYS` have changed in any way, or when gaps have; and how many plays its UTC days have.
        """
        last = self._end()
        end = last if end is None else min(end, last)
        days = list(_days(max(begin, FIRST_SECOND), end))
        names = [index_key(day) for day in days]
        lengths = self._lengths(names)
        young = [
            index_key(day)
            for day in days[-RECENT_DAYS - 1 :]
            if second_of_day(day) > last - RECENT_DAYS * ONE_DAY
        ]
        hashes = list(self.hashes([*young, GAPS]))
        told = repr(
            (begin, end if end != last else None, lengths, [sorted(lines.items()) for lines in hashes])
        )
        return hashlib.blake2b(told.encode(), digest_size=16).hexdigest(), sum(lengths)

    def _lengths(self, names: Sequence[str]) -> list[int]:
        """How many plays there are on many days, by the names of their indexes."""
        found = self._read_all("HLEN", names, read_numbers)
        if found is not None:
            return found
        return [reply or 0 for reply in self.send([("HLEN", self.key(name)) for name in names])]

    def _indexes(self, days: Sequence[date]) -> list[PlayRows]:
        names = list(map(index_key, days))
        found = self._read_all("HGETALL", names, read_days)
        return found if found is not None else [read_day(lines) for lines in self.hashes(names)]

    def _end(self) -> int:
        """The second up to which there may be plays: a Pi may wake up in 1970, so the status has a say."""
        (last,) = self.send([("HGET", self.key(STATUS), "last_play")])
        return max(second_of_key(str(last)) or 0, int(self._utc())) + ONE_DAY

    # What is known of it

    def catalog(self, keys: Iterable[str], names: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Look many items up.

        Args:
            keys: Catalogue keys, "track:<id>", "episode:<id>" or "local:<digest>".
            names: The fields that are wanted.

        Yields:
            Each key with its values of those fields, "" where one is missing.
        """
        for chunk in batched(keys, ITEMS_PER_BATCH):
            yield from zip(chunk, self._values(chunk, names), strict=True)

    def fields(self, seconds: Iterable[int], names: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
        """Look a few fields of many plays up, as `catalogue` does: the second that names each, its values."""
        for chunk in batched(seconds, ITEMS_PER_BATCH):
            yield from zip(chunk, self._values(list(map(play_key, chunk)), names), strict=True)

    def plays(self, seconds: Iterable[int]) -> Iterator[tuple[int, dict[str, str]]]:
        """The whole hashes of plays, empty where there is none: the second that names each, and its hash."""
        for chunk in batched(seconds, HASHES_PER_BATCH):
            yield from zip(chunk, self.hashes(map(play_key, chunk)), strict=True)

    def hashes(self, names: Iterable[str]) -> Iterator[dict[str, str]]:
        """Whole hashes, empty where there is none, by the names of their keys."""
        for chunk in batched(names, HASHES_PER_BATCH):
            found = self._read_all("HGETALL", chunk, read_hashes)
            if found is not None:
                yield from found
                continue
            for reply in self.send([("HGETALL", self.key(name)) for name in chunk]):
                is_hash = isinstance(reply, list)
                yield dict(zip(reply[::2], reply[1::2], strict=False)) if is_hash else {}

    def gaps(self) -> list[tuple[int, int, str]]:
        """The stretches in which nothing could be seen, oldest first: from, to (seconds), and why."""
        (lines,) = self.hashes([GAPS])
        return sorted(gap for gap in map(read_gap, lines.keys(), lines.values()) if gap is not None)

    def _values(self, names: Sequence[str], fields: Sequence[str]) -> list[tuple[str, ...]]:
        found = self._read_all(
            "HMGET", names, lambda text, keys: read_values(text, keys, len(fields)), fields
        )
        if found is not None:
            return found
        replies = self.send([("HMGET", self.key(name), *fields) for name in names])
        return [tuple(value or "" for value in reply or [None] * len(fields)) for reply in replies]

    def _read_all(
        self,
        verb: str,
        names: Sequence[str],
        read: Callable[[str, int], list[T] | None],
        arguments: Sequence[str] = (),
    ) -> list[T] | None:
        """What is answered about each of many keys, in their order, read as text all at once.

        Args:
            verb: What to ask.
            names: The keys, without what is put before them.
            read: Takes the text of so many replies apart; None when there is anything in it that it does not
                expect.
            arguments: What follows on each key.

        Returns:
            The answers; None where they cannot be had in this way.
        """
        parts = self._link.ask(verb, list(map(self.key, names)), arguments) if names else []
        told: dict[int, T] = {}
        for which, text in parts or ():
            found = read(text, len(which))
            if found is None:
                return None
            told.update(zip(which, found, strict=True))
        return None if parts is None else [told[place] for place in range(len(names))]

    # Keys and commands

    def scan(self, pattern: str) -> Iterator[list[str]]:
        """Search through all keys.

        Args:
            pattern: What is put before them aside, such as "listening:*".

        Yields:
            The names of some of the keys, without what is put before them; a key may come more than once.
        """
        wanted = re.sub(r"([*?\[\]\\^-])", r"\\\1", self._prefix) + pattern
        self._link.connect()
        for node in self._link.nodes():
            cursor = None
            while cursor != "0":
                command = ("SCAN", cursor or "0", "MATCH", wanted, "COUNT", KEYS_PER_SCAN)
                (reply,) = self._exchange([command], node)
                cursor, keys = str(reply[0]), reply[1]
                if keys:
                    yield [key.removeprefix(self._prefix) for key in keys]

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        """The replies to commands; None where a key holds another type, and so nothing of ours."""
        replies = self._exchange(commands)
        return [None if isinstance(reply, Refusal) else reply for reply in replies]

    def write(self, commands: Sequence[Command]) -> None:
        """Carry commands out that write.

        Raises:
            StoreError: Some of them are not carried out; what it says names one of the keys.
        """
        for command, reply in zip(commands, self._exchange(commands), strict=True):
            if isinstance(reply, Refusal):
                raise StoreError(f"Redis at {self.where} {reply.advice} ({command[1]})", codes=[reply.code])

    def _exchange(self, commands: Sequence[Command], node: Link | None = None) -> list[Reply]:
        link = node or self._link
        link.connect()
        replies = link.send(commands)
        for reply in replies:
            if isinstance(reply, Refusal) and reply.code != "WRONGTYPE":
                raise StoreError(f"Redis at {self.where} {reply.advice}", codes=[reply.code])
        return replies


def _days(begin: int, end: int) -> Iterator[date]:
    """The UTC days that a stretch touches."""
    day = day_of(begin)
    while second_of_day(day) < end:
        yield day
        day += timedelta(days=1)
