"""What the log keeps in Redis, written and read.

Every write goes to one key and may be repeated. No transaction, no counter, nothing that spans two keys:
whatever is lost in between, writing again makes it whole.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING

from spotify_logger.core.batched import batched
from spotify_logger.core.matching import naming_seconds, next_free_second
from spotify_logger.core.play import Play
from spotify_logger.core.redis_keys import (
    FIRST_DAY,
    GAPS,
    LISTENERS,
    NOW_PLAYING,
    PLAY_FIELDS,
    PROBE,
    STANDBY,
    STATUS,
    TOMBSTONES,
    day_of,
    gap_key,
    index_key,
    is_listener_name,
    play_key,
    read_gap,
    read_row,
    read_tombstone,
    remove_listener,
    second_of_key,
)
from spotify_logger.core.times import from_iso, to_iso
from spotify_logger.storage.bulk import Archive
from spotify_logger.storage.connect import open_link
from spotify_logger.storage.connection import Command, Link, Reply, StoreError
from spotify_logger.storage.durability import Persistence, combine, count_replicas, read_persistence
from spotify_logger.storage.redis_errors import READ_ONLY_CODES, Refusal
from spotify_logger.system.log import sanitize

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
    from datetime import date

__all__ = ["Batch", "Store", "StoreError"]

MAX_CACHED_KEYS = 64
"""Keys whose last written fields are kept in mind."""
HASHES_PER_BATCH = 200
"""Hashes that are read in one go; so many plays are about 200 KB."""
ONE_DAY = 86_400
SYNC_TIMEOUT_MS = 10
"""Milliseconds that the server may take to say that it has synced; it is asked again with the next answer."""


class Batch:
    """Writes that go to Redis in one round trip, when the `with` block of `Store.batch` ends.

    Attributes:
        hashes: Fields to be written, by key.
        whole: Those of the keys whose hash shall hold no other field of a play.
        now_playing: The command for that key, if there is one.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.hashes: dict[str, dict[str, str]] = {}
        self.replaced: set[str] = set()
        self.now_playing: Command | None = None

    def write_play(self, key_second: int, fields: Mapping[str, str | int], index: str) -> None:
        """Write a play, and its line in the index of the day on which it started.

        Args:
            key_second: Whole seconds since the epoch, UTC, that name its key.
            fields: The whole hash; fields of a play that are missing here are taken away in Redis.
            index: "<catalogue key> <milliseconds heard> <end>".
        """
        key = self._prefix + play_key(key_second)
        self.hashes.pop(key, None)
        self.replaced.add(key)
        self._add(play_key(key_second), fields)
        self._add(index_key(day_of(key_second)), {str(key_second): index})

    def write_catalog(self, key: str, fields: Mapping[str, str | int]) -> None:
        """Write what is known of an item. What Redis has and is not given here stays.

        Args:
            key: "track:<id>", "episode:<id>" or "local:<digest>".
            fields: Name, artists and so on.
        """
        self._add(key, fields)

    def write_gap(self, second: int, fields: Mapping[str, str]) -> None:
        """Write a stretch in which nothing could be seen, and its line in the index of gaps.

        Args:
            second: Where it begins: whole seconds since the epoch, UTC.
            fields: "from", "to" (ISO 8601, UTC) and "reason".
        """
        ended_ms = from_iso(fields["to"]) or 0
        self._add(gap_key(second), fields)
        self._add(GAPS, {str(second): f"{-(-ended_ms // 1000)} {fields['reason']}"})

    def write_tombstones(self, tombstones: Mapping[int, int]) -> None:
        """Write what nobody shall bring back, see `Store.forgotten`. What Redis has of it stays."""
        self._add(TOMBSTONES, {str(second): end for second, end in tombstones.items()})

    def write_status(self, fields: Mapping[str, str | int]) -> None:
        """Write fields of the status. What Redis has and is not given here stays."""
        self._add(STATUS, fields)

    def set_now_playing(self, key_second: int, expires: float) -> None:
        """Say which play is open.

        Args:
            key_second: The second that names its key.
            expires: Seconds from now after which this is no longer true, unless it is said again.
        """
        milliseconds = max(1, round(expires * 1000))
        key = self._prefix + play_key(key_second)
        self.now_playing = ("SET", self._prefix + NOW_PLAYING, key, "PX", milliseconds)

    def clear_now_playing(self) -> None:
        """Say that no play is open."""
        self.now_playing = ("DEL", self._prefix + NOW_PLAYING)

    def _add(self, key: str, fields: Mapping[str, str | int]) -> None:
        texts = {name: str(value) for name, value in fields.items()}
        self.hashes.setdefault(self._prefix + key, {}).update(texts)


class Store:
    """The log in Redis. For one thread.

    Only what changed is sent: what was last written is kept in mind for as long as there is no error and the
    connection stays the same. What others wrote is taken as it is, and passed over where it cannot be ours.

    Args:
        url: As REDIS_URL, see `redis_address`.
        prefix: Put before every key; no method takes or returns a key with it.
        utc: Seconds since the epoch; tells from which day on to look back.
        connect: Opens the link; another one is a stand-in for a server.
        listener: Whose log it is; the prefix ends with that name.

    Raises:
        Misconfigured: `url` is no address of a Redis.
        StoreError: By every method: there is no answer, or a refusal.
    """

    def __init__(
        self,
        url: str,
        prefix: str = "",
        utc: Callable[[], float] = time.time,
        connect: Callable[[str], Link] = open_link,
        listener: str = "",
    ) -> None:
        self._link = connect(url)
        self._prefix = prefix
        self._listener = listener
        self._shared_prefix = remove_listener(prefix, listener)
        self._utc = utc
        self._connection = 0
        self._written: dict[str, dict[str, str]] = {}
        self._claims: dict[int, tuple[str, str]] = {}

    @property
    def where(self) -> str:
        """The server's address without credentials."""
        return self._link.where

    def archive(self) -> Archive:
        """The same log for reading and writing in bulk, over the same connection."""
        return Archive(self._link, self._prefix, self._utc)

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""
        self._link.close()

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Collect writes and send them together at the end of the block.

        A key that is refused does not keep the others from being written.

        Raises:
            StoreError: Not everything is written, see its `refused`. Writing all of it again does no harm.
        """
        batch = Batch(self._prefix)
        yield batch
        self._write(batch)

    def connect(self) -> int:
        """Make sure that there is a connection, and tell how many there have been."""
        return self._link.connect()

    def write_refusal(self) -> StoreError | None:
        """Ask whether the server takes writes, with one that changes nothing.

        Returns:
            Why it does not; None where it does, or where this user may not write.
        """
        try:
            (reply,) = self._send([("SET", self._prefix + PROBE, "", "XX")])
        except StoreError:
            self.version()  # where this gets no answer either, the server is away
            advice = "answers, but takes no writes: it is paused (CLIENT PAUSE), or its disk hangs"
            return StoreError(f"Redis at {self.where} {advice}")
        if isinstance(reply, Refusal) and reply.code in READ_ONLY_CODES:
            return StoreError(f"Redis at {self.where} {reply.advice}", codes=[reply.code])
        return None

    def persistence(self) -> Persistence:
        """How the server keeps what it is given, as far as it says."""
        questions: list[Command] = [("INFO", "server"), ("INFO", "persistence"), ("CONFIG", "GET", "save")]
        return combine([read_persistence(*node.send(questions)) for node in self._link.nodes()])

    def is_synced(self) -> bool | None:
        """Whether all that was written over this connection is on the server's disk (`WAITAOF`).

        None where the server does not say: before Redis 7.2, or without an append-only file.
        """
        replies = [node.send([("WAITAOF", 1, 0, SYNC_TIMEOUT_MS)])[0] for node in self._link.nodes()]
        if not all(isinstance(reply, list) and reply for reply in replies):
            return None
        if any(isinstance(reply[0], Refusal) for reply in replies):
            return None
        return all(str(reply[0]).isdigit() and int(reply[0]) >= 1 for reply in replies)

    def is_replicated(self) -> bool:
        """Whether the server's replicas, as many as it has, hold all that was written over this connection.

        Which of them is to take its place some day nobody knows, so all of them are waited for (`WAIT`).
        """
        return all(map(_is_replicated, self._link.nodes()))

    def server_second(self) -> int:
        """The server's clock, in whole seconds since the epoch; 0 where it does not tell."""
        replies = [node.send([("TIME",)])[0] for node in self._link.nodes()]
        if not all(isinstance(reply, list) and reply and str(reply[0]).isdigit() for reply in replies):
            return 0
        return max(int(reply[0]) for reply in replies)

    def missing(self, key_seconds: Sequence[int]) -> list[int]:
        """Which of these seconds name no play that is over; an old copy may know one only as open."""
        missing: list[int] = []
        for chunk in batched(key_seconds, HASHES_PER_BATCH):
            ends = self._read([("HGET", self._prefix + play_key(second), "end_reason") for second in chunk])
            missing += [second for second, end in zip(chunk, ends, strict=True) if not end]
        return missing

    def gaps(self) -> list[tuple[int, int, str]]:
        """The stretches in which nothing could be seen, oldest first: from, to (seconds), and why."""
        lines = self._hashes([GAPS])[0]
        gaps = (read_gap(second, value) for second, value in lines.items())
        return sorted(gap for gap in gaps if gap is not None)

    def tombstones(self) -> dict[int, int]:
        """The plays that nobody shall bring back: second that named each -> second at which it ended."""
        lines = self._hashes([TOMBSTONES])[0]
        found = map(read_tombstone, lines.keys(), lines.values())
        return dict(line for line in found if line is not None)

    def count_tombstones(self) -> int:
        """How many there are."""
        (count,) = self._read([("HLEN", self._prefix + TOMBSTONES)])
        return int(count or 0)

    def invalidate(self, *keys: str) -> None:
        """Take what is known to be written under keys for unknown: somebody may have taken it away since."""
        for key in keys:
            self._written.pop(self._prefix + key, None)

    def invalidate_all(self) -> None:
        """Take all that is known to be written for unknown."""
        self._written.clear()

    def claim(
        self,
        key_second: int,
        started_at: str,
        uri: str,
        is_taken: Callable[[int], bool] = lambda _: False,
    ) -> int:
        """Find the second that names a play's key: the first that is free, or is this very play's already.

        It is that play's from now on, for this object at least; Redis learns of it when the play is written.

        Args:
            key_second: The second in which the play started; none before it is looked at.
            started_at: As in its hash.
            uri: As in its hash.
            is_taken: Tells which seconds name plays that Redis is still to be given.
        """

        def is_anothers(second: int) -> bool:
            if second not in naming_seconds(key_second):
                raise StoreError(f"Redis at {self.where} has no free key from {play_key(key_second)} on")
            if is_taken(second):
                return True
            holder = self._claims.get(second) or self._holder(second)
            return holder not in (None, (started_at, uri))

        second = next_free_second(key_second, is_anothers)
        self._claims[second] = (started_at, uri)
        return second

    def register_listener(self) -> None:
        """Let others know that this listener has a log."""
        if self._listener:
            key, since = self._shared_prefix + LISTENERS, to_iso(round(self._utc() * 1000))
            self._read([("HSETNX", key, self._listener, since)])

    def listeners(self) -> list[str]:
        """The listeners that have a log here, by name; "" first, where the one without a name has one."""
        names, unnamed = self._read(
            [("HKEYS", self._shared_prefix + LISTENERS), ("EXISTS", self._shared_prefix + STATUS)]
        )
        return [*([""] if unnamed else []), *sorted(filter(is_listener_name, names or []))]

    def standby_machine(self) -> str:
        """The machine of a logger that stands by; "" where there is none."""
        (waiting,) = self._read([("GET", self._prefix + STANDBY)])
        return sanitize(str(waiting or "").partition(" ")[2], 80)

    def read_status(self) -> dict[str, str]:
        """All fields of the status; empty when there is none."""
        return self._hashes([STATUS])[0]

    def foreign_plays(self, since: int, known: Container[int]) -> list[Play]:
        """The plays that started from a second on and that somebody else wrote: an import, another logger.

        Args:
            since: The second.
            known: The seconds that name the plays which need not be read.
        """
        archive = self.archive()
        seconds = chain.from_iterable(rows.seconds for rows in archive.rows(since))
        unknown = [second for second in seconds if second not in known]
        plays = (Play.from_hash(second, fields) for second, fields in archive.plays(unknown))
        return [play for play in plays if play is not None]

    def now_playing(self) -> int | None:
        """The second that names the open play's key; None when nothing plays, or nobody says so any more."""
        (reply,) = self._read([("GET", self._prefix + NOW_PLAYING)])
        return second_of_key(str(reply))

    def latest_play(self) -> tuple[int, dict[str, str]] | None:
        """The play that started last: the second that names its key, and its hash."""
        return next((play for play in self.recent(3) if play[1]), None)

    def recent(self, count: int) -> list[tuple[int, dict[str, str]]]:
        """The newest plays, newest first: the seconds that name their keys, and their hashes."""
        newest = (second for day in self._days_back() for second in sorted(self.index(day), reverse=True))
        seconds = list(islice(newest, count))
        keys = [play_key(second) for second in seconds]
        return list(
            zip(seconds, chain.from_iterable(map(self._hashes, batched(keys, HASHES_PER_BATCH))), strict=True)
        )

    def play(self, key_second: int) -> dict[str, str] | None:
        """The hash of one play, None where there is none."""
        return self._hashes([play_key(key_second)])[0] or None

    def days(self) -> list[date]:
        """The UTC days on which plays started, oldest first."""
        return sorted(self._days_back())

    def index(self, day: date) -> dict[int, tuple[str, int]]:
        """The plays that started on a UTC day: second -> catalogue key and milliseconds heard."""
        lines = self._hashes([index_key(day)])[0]
        rows = sorted(row for row in map(read_row, lines.keys(), lines.values()) if row is not None)
        return {second: (item, ms_played) for second, item, ms_played, _ in rows}

    def item(self, key: str) -> dict[str, str]:
        """What the catalogue has of "track:<id>", "episode:<id>" or "local:<digest>"; empty if nothing."""
        return self._hashes([key])[0]

    def catalog(self, keys: Iterable[str], names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        """Look many items up.

        Args:
            keys: As for `item`.
            names: The fields that are wanted.

        Yields:
            Each key with its values of those fields, "" where one is missing.
        """
        for chunk in batched(keys, HASHES_PER_BATCH):
            replies = self._read([("HMGET", self._prefix + key, *names) for key in chunk])
            for key, values in zip(chunk, replies, strict=True):
                yield key, [value or "" for value in values or [None] * len(names)]

    def version(self) -> str:
        """Which server it is, such as "redis 7.0.15" or "valkey 9.1.0"; just "redis" when it must not say."""
        (reply,) = self._send([("INFO", "server")])
        said = dict(line.partition(":")[::2] for line in str(reply).splitlines())
        name = "valkey" if "valkey_version" in said else "redis"
        return sanitize(f"{name} {said.get(f'{name}_version', '')}", 40).rstrip()

    def _send(self, commands: Sequence[Command]) -> list[Reply]:
        self._link.connect()
        return self._link.send(commands)

    def _read(self, commands: Sequence[Command]) -> list[Reply]:
        """The replies to reading commands; None where a key holds another type, and so nothing of ours."""
        replies = self._send(commands)
        for reply in replies:
            if isinstance(reply, Refusal) and reply.code != "WRONGTYPE":
                raise StoreError(f"Redis at {self.where} {reply.advice}", codes=[reply.code])
        return [None if isinstance(reply, Refusal) else reply for reply in replies]

    def _hashes(self, keys: Sequence[str]) -> list[dict[str, str]]:
        replies = self._read([("HGETALL", self._prefix + key) for key in keys])
        return [
            dict(zip(reply[::2], reply[1::2], strict=False)) if isinstance(reply, list) else {}
            for reply in replies
        ]

    def _holder(self, second: int) -> tuple[str | None, ...] | None:
        """Whose key that is, by start and uri, as far as it has them; None if it is nobody's."""
        key = self._prefix + play_key(second)
        exists, values = self._read([("EXISTS", key), ("HMGET", key, "started_at", "uri")])
        return tuple(values or ()) if exists else None

    def _days_back(self) -> Iterator[date]:
        """The days of the index, newest first, found without looking at any other key.

        A Pi may wake up in 1970, so the status has a say in where to begin.
        """
        last = second_of_key(self.read_status().get("last_play", "")) or 0
        day, span = day_of(max(last, int(self._utc()) + ONE_DAY)), 8
        while day >= FIRST_DAY:
            block = [day - timedelta(days=back) for back in range(span)]
            replies = self._read([("EXISTS", self._prefix + index_key(day)) for day in block])
            yield from (day for day, exists in zip(block, replies, strict=True) if exists)
            day, span = block[-1] - timedelta(days=1), min(4 * span, 1000)

    def _write(self, batch: Batch) -> None:
        connection = self._link.connect()
        if connection != self._connection:
            self._written.clear()  # the server may have come back with less than it had
            self._connection = connection
        commands = [command for key in batch.hashes for command in self._changes(batch, key)]
        if batch.now_playing:
            commands.append(batch.now_playing)
        self._confirm(batch, commands, self._link.send(commands))

    def _changes(self, batch: Batch, key: str) -> Iterator[Command]:
        """The commands that bring a hash up to date."""
        fields = batch.hashes[key]
        known = self._written.get(key, {})
        changed = {name: value for name, value in fields.items() if known.get(name) != value}
        if changed:
            yield ("HSET", key, *chain.from_iterable(changed.items()))
        # Without memory of the key, an earlier process may have left any field of a play there.
        gone = (known.keys() or PLAY_FIELDS) - fields.keys() if key in batch.replaced else ()
        if gone:
            yield ("HDEL", key, *sorted(gone))

    def _confirm(self, batch: Batch, commands: Sequence[Command], replies: Sequence[Reply]) -> None:
        """Keep in mind what is written.

        Raises:
            StoreError: Some of it is not.
        """
        refusals = {
            str(command[1]): reply
            for command, reply in zip(commands, replies, strict=True)
            if isinstance(reply, Refusal)
        }
        for key in batch.hashes.keys() - refusals.keys():
            self._remember(key, batch.hashes[key], replaced=key in batch.replaced)
        if refusals:
            self._written.clear()
            raise self._refused(refusals)

    def _remember(self, key: str, fields: dict[str, str], *, replaced: bool) -> None:
        known = self._written.pop(key, {})
        self._written[key] = fields if replaced else known | fields
        if len(self._written) > MAX_CACHED_KEYS:
            del self._written[next(iter(self._written))]
        self._claims.pop(second_of_key(key) or 0, None)

    def _refused(self, refusals: Mapping[str, Refusal]) -> StoreError:
        keys_by_advice: dict[str, list[str]] = {}
        for key, refusal in refusals.items():
            keys_by_advice.setdefault(refusal.advice, []).append(sanitize(key, 100))
        complaints = (f"{advice} ({_some(keys)})" for advice, keys in keys_by_advice.items())
        refused = (key.removeprefix(self._prefix) for key in refusals)
        codes = (refusal.code for refusal in refusals.values())
        return StoreError(f"Redis at {self.where} {'; and '.join(complaints)}", refused, codes)


def _is_replicated(node: Link) -> bool:
    replicas = count_replicas(*node.send([("INFO", "replication")]))
    if not replicas:
        return True
    (reply,) = node.send([("WAIT", replicas, SYNC_TIMEOUT_MS)])
    return isinstance(reply, int) and reply >= replicas


def _some(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{keys[0]} and {len(keys) - 1} more"
