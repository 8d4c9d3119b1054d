"""Reads and writes the log in Redis. Every write goes to one key and may be repeated: no transactions."""

import time
from collections import ChainMap
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import chain, compress, islice, starmap, takewhile

from spotify_logger.core import redis_keys as keys
from spotify_logger.core.batched import batched
from spotify_logger.core.matching import naming_seconds, next_free_second
from spotify_logger.core.play import PLAY_FIELDS, Play
from spotify_logger.core.times import to_iso
from spotify_logger.storage.client import SKIP_LOG, Command, RedisClient, Refusal, Reply, StoreError
from spotify_logger.system.log import sanitize

HASHES_PER_BATCH = 200  # whole hashes read at once; for plays, about 200 KB
ITEMS_PER_BATCH = 1000  # hashes of which a few fields are read at once
LOG_INTERVAL = 900.0  # maximum seconds for which the append-only file may lack what changes with every answer
# Runs a command in memory and on replicas only: it is not worth a write to an SD card.
UNLOGGED = (
    f"{SKIP_LOG} local said = redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2)) "
    "return type(said) == 'number' and said or 1"
)


class Batch:
    """Writes that are sent in one round trip at the end of a `with store.batch()` block."""

    def __init__(self, prefix: str, revision: str) -> None:
        self._prefix, self._revision = prefix, revision
        self.hashes: dict[str, dict[str, str]] = {}  # fields to write, by key
        self.replaced: set[str] = set()  # keys of plays whose other fields are deleted
        self.now_playing: Command | None = None
        self.is_final = False  # whether there is more in it than what the next answer changes again

    def write_play(self, key_second: int, fields: Mapping[str, str | int], index: str) -> None:
        """Replace the hash of a play, and its line in the index of the UTC day, as `Play.index` has it."""
        key = keys.play_key(key_second)
        self.hashes.pop(self._prefix + key, None)
        self.replaced.add(self._prefix + key)
        self.is_final |= "end_reason" in fields
        self.write_hash(key, fields)
        day = keys.day_of(key_second)
        self.write_hash(keys.index_key(day), {str(key_second): index})
        self.write_hash(keys.REVISIONS, dict.fromkeys((str(day), keys.NEWEST), self._revision))

    def write_gap(self, second: int, fields: Mapping[str, str]) -> None:
        """Write a gap by the second of its start, and its line in the index of gaps."""
        self.is_final = True
        self.write_hash(keys.gap_key(second), fields)
        self.write_hash(keys.GAPS, {str(second): keys.gap_value(second, fields)})

    def write_status(self, fields: Mapping[str, str | int]) -> None:
        """Write fields of the status; the others stay."""
        self.write_hash(keys.STATUS, fields)

    def set_now_playing(self, key_second: int, expires: float) -> None:
        """Point `now_playing` to the open play, for `expires` seconds."""
        name, key = (self._prefix + each for each in (keys.NOW_PLAYING, keys.play_key(key_second)))
        self.now_playing = ("SET", name, key, "PX", max(1, round(expires * 1000)))

    def clear_now_playing(self) -> None:
        """Delete `now_playing`."""
        self.now_playing = ("DEL", self._prefix + keys.NOW_PLAYING)

    def write_hash(self, key: str, fields: Mapping[str, str | int]) -> None:
        """Write fields of a hash, such as an item of the catalog; other fields in Redis stay."""
        texts = {name: str(value) for name, value in fields.items()}
        self.hashes.setdefault(self._prefix + key, {}).update(texts)


class Store:
    """The log in Redis. For one thread.

    Only changed fields are sent: the last batch is cached until an error or a new connection. What every
    answer changes reaches the append-only file when a play begins or ends, and every `LOG_INTERVAL`.
    What others wrote is skipped if it cannot belong to the log. The errors are those of the `client`.
    Methods take and return keys without the prefix, which ends with the name of the listener.
    """

    def __init__(
        self,
        url: str,
        prefix: str = "",
        utc: Callable[[], float] = time.time,
        connect: Callable[[str], RedisClient] = RedisClient,  # tests pass a fake server
        listener: str = "",
    ) -> None:
        self.client, self._utc = connect(url), utc
        self.send, self.close = self.client.ask, self.client.close
        self._prefix, self._listener = prefix, listener
        self._shared_prefix = keys.remove_listener(prefix, listener)
        self._connection = 0
        self._written: dict[str, dict[str, str]] = {}
        self._logged_at = float("-inf")
        self._may_skip_log = True
        self.has_lost_data = False  # whether Redis lacks fields that were written over this connection

    @property
    def where(self) -> str:
        """The address of the server, without credentials."""
        return self.client.where

    def key(self, name: str) -> str:
        """Return a key with the prefix."""
        return self._prefix + name

    def shared_key(self, name: str) -> str:
        """Return a key that all listeners share, with the prefix."""
        return self._shared_prefix + name

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Collect writes, and send them at the end of the block; all may be repeated after an error."""
        batch = Batch(self._prefix, self.revision())
        yield batch
        self._write(batch)

    def register_listener(self) -> None:
        """Add this listener to the list of listeners."""
        if self._listener:
            since = to_iso(int(self.revision()))
            self.send([("HSETNX", self.shared_key(keys.LISTENERS), self._listener, since)])

    def invalidate(self) -> None:
        """Send whole hashes next, because others may have changed or deleted some."""
        self._written.clear()

    def delete_play(self, key_second: int) -> None:
        """Delete a play, and its line in the index of its day."""
        day = keys.day_of(key_second)
        from_index = ("HDEL", self.key(keys.index_key(day)), key_second)
        self.send([from_index, ("DEL", self.key(keys.play_key(key_second))), self.touch([str(day)])])
        self.invalidate()

    def touch(self, names: Iterable[str]) -> Command:
        """Return the command that tells readers which days, or `CATALOG`, they have to read again."""
        fields = dict.fromkeys((*names, keys.NEWEST), self.revision())
        return ("HSET", self.key(keys.REVISIONS), *chain.from_iterable(fields.items()))

    def revision(self) -> str:
        """Return the revision of what is written now: the milliseconds since the epoch."""
        return str(round(self._utc() * 1000))

    def claim(self, key_second: int, started_at: str, uri: str, is_taken: Callable[[int], bool]) -> int:
        """Return the first second from `key_second` on that is not taken, and free in Redis or its own."""

        def is_unavailable(second: int) -> bool:
            if second not in naming_seconds(key_second):
                raise StoreError(f"Redis at {self.where} has no free key from {keys.play_key(key_second)} on")
            if is_taken(second):
                return True
            key, ours = self.key(keys.play_key(second)), [started_at, uri]
            fields = ("HMGET", key, "started_at", "uri")
            exists, names, values = self.send([("EXISTS", key), ("HKEYS", key), fields])
            # A play that has lost fields gets them back.
            is_rest = PLAY_FIELDS.issuperset(names or [""]) and {None, *ours}.issuperset(values)
            return bool(exists) and values != ours and not is_rest

        return next_free_second(key_second, is_unavailable)

    def owner(self, account: str) -> str:
        """Return the Spotify account whose plays the log has; a new log gets `account`, "" if unknown."""
        field = (self.key(keys.STATUS), keys.OWNER_FIELD)
        (found,) = self.send([("HGET", *field)])
        if not found and account:
            self.send([("HSET", *field, account)])
        return str(found or account)

    def log_id(self, new: str | None = None) -> str | None:
        """Return the IDs of the log, separated by spaces; None without. That gets `new`, if given."""
        field = (self.key(keys.STATUS), keys.LOG_ID_FIELD)
        commands: list[Command] = [] if new is None else [("HSETNX", *field, new)]
        found = self.client.send([*commands, ("HGET", *field)])[-1]
        return found if isinstance(found, str) else None  # refused, as plays will be

    def hash(self, name: str) -> dict[str, str]:
        """Return the hash under a key; empty if there is none."""
        return next(self.hashes([name]))

    def hashes(self, names: Iterable[str]) -> Iterator[dict[str, str]]:
        """Yield the hashes under many keys, empty if there is none."""
        for chunk in batched(names, HASHES_PER_BATCH):
            for reply in self.send([("HGETALL", self.key(name)) for name in chunk]):
                yield reply or {}

    def catalog(self, items: Iterable[str], names: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield each key with the values of some fields of its hash, "" if missing."""
        for chunk in batched(items, ITEMS_PER_BATCH):
            replies = self.send([("HMGET", self.key(key), *names) for key in chunk])
            for key, reply in zip(chunk, replies, strict=True):
                yield key, tuple(value or "" for value in reply or [None] * len(names))

    def gaps(self) -> list[tuple[int, int, str]]:
        """Return the gaps, oldest first: from and to in seconds, and the reason."""
        return sorted(filter(None, starmap(keys.read_gap, self.hash(keys.GAPS).items())))

    def tombstones(self) -> dict[int, int]:
        """Return the tombstones: second in the key of each deleted play -> second of its end."""
        return dict(filter(None, starmap(keys.read_tombstone, self.hash(keys.TOMBSTONES).items())))

    def plays(self, key_seconds: Iterable[int]) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield the second in the key of each play, and its hash, empty if there is none."""
        for chunk in batched(key_seconds, HASHES_PER_BATCH):
            yield from zip(chunk, self.hashes(map(keys.play_key, chunk)), strict=True)

    def recent(self, count: int) -> list[tuple[int, dict[str, str]]]:
        """Return the newest plays, newest first: the seconds in their keys, and their hashes."""
        newest = (second for day in self.days() for second in reversed(self.index(day)))
        return list(self.plays(islice(newest, count)))

    def foreign_plays(self, since: int, known: Container[int]) -> list[Play]:
        """Return plays that others wrote from a second on: those whose key is not `known`."""
        days = takewhile(lambda day: day >= keys.day_of(since), self.days())
        seconds = chain.from_iterable(map(self.index, days))
        unknown = sorted(second for second in seconds if second >= since and second not in known)
        return list(filter(None, starmap(Play.from_hash, self.plays(unknown))))

    def index(self, day: date) -> dict[int, tuple[str, int]]:
        """Return the plays that started on a UTC day: second -> catalog key and milliseconds played."""
        rows = keys.read_day(self.hash(keys.index_key(day)))
        return {second: (item, ms_played) for second, item, ms_played, _ in rows}

    def index_lines(self, key_seconds: Sequence[int]) -> dict[int, str]:
        """Return the lines of plays in the indexes of their days, by the seconds in their keys."""
        days = dict.fromkeys(map(keys.day_of, key_seconds))
        lines = dict(ChainMap(*self.hashes(map(keys.index_key, days))))
        return {second: lines[str(second)] for second in key_seconds if str(second) in lines}

    def end(self) -> int:
        """Return the second up to which there may be plays; a Pi may boot in 1970, so the status counts."""
        (last,) = self.send([("HGET", self.key(keys.STATUS), "last_play")])
        return max(keys.second_of_key(str(last)) or 0, int(self._utc())) + keys.ONE_DAY

    def days(self) -> Iterator[date]:
        """Yield the UTC days on which plays started, newest first, without scanning other keys."""
        day, span = keys.day_of(self.end()), 8
        while day >= keys.FIRST_DAY:
            block = [day - timedelta(days=back) for back in range(span)]
            names = [self.key(keys.index_key(day)) for day in block]
            # Most blocks of a young log are empty.
            if self.client.is_cluster or any(self.send([("EXISTS", *names)])):
                replies = self.send([("EXISTS", name) for name in names])
                yield from compress(block, replies)
            day, span = block[-1] - timedelta(days=1), min(4 * span, 1000)

    def _write(self, batch: Batch) -> None:
        self.client.connect()
        if self.client.connections != self._connection:
            self._written.clear()  # the server may have lost data
            self._connection, self._may_skip_log = self.client.connections, True
        # The append-only file gets a batch as a whole, or nothing of it.
        is_recent = 0 <= self._utc() - self._logged_at < LOG_INTERVAL  # or the clock was set back
        is_known = batch.hashes.keys() <= self._written.keys()
        is_logged = batch.is_final or not (is_recent and is_known and self._may_skip_log)
        known = {} if is_logged else self._written
        writes = [write for key in batch.hashes for write in _changes(batch, key, known.get(key, {}))]
        writes += [batch.now_playing] if batch.now_playing else []
        replies = self.client.send(writes if is_logged else [*map(_unlogged, writes)])
        has_lost = any(map(self._lacks_fields, writes, replies))
        is_refused = not is_logged and any(isinstance(reply, Refusal) for reply in replies)
        if has_lost or is_refused:
            # Everything again, in plain commands: they may be accepted, or it is clearer why not.
            self._written.clear()
            self.has_lost_data |= has_lost
            self._may_skip_log &= not is_refused
            self._write(batch)
            return
        self._logged_at = self._utc() if is_logged else self._logged_at
        self._confirm(batch, writes, replies)

    def _lacks_fields(self, command: Command, reply: Reply) -> bool:
        """Return whether a hash was written of which Redis has lost fields: it had to add some again."""
        known = self._written.get(str(command[1])) if command[0] == "HSET" else None
        return isinstance(reply, int) and bool(known and reply > len(set(command[2::2]) - known.keys()))

    def _confirm(self, batch: Batch, commands: Sequence[Command], replies: Sequence[Reply]) -> None:
        """Cache what was written; raise StoreError if some of it was refused."""
        answers = zip(commands, replies, strict=True)
        refusals = {str(command[1]): reply for command, reply in answers if isinstance(reply, Refusal)}
        self._written = {
            key: fields if key in batch.replaced else {**self._written.get(key, {}), **fields}
            for key, fields in batch.hashes.items()
        }
        if refusals:
            self._written.clear()
            (key, first), more = next(iter(refusals.items())), len(refusals) - 1
            is_all = refusals.keys() >= {command[1] for command in commands}  # it is not about these keys
            names = sanitize(key, 100) + (f" and {more} more" if more else "")
            raise StoreError(
                f"Redis at {self.where} {first.advice}" + ("" if is_all else f" ({names})"),
                (key.removeprefix(self._prefix) for key in refusals),
                (refusal.code for refusal in refusals.values()),
            )


def _changes(batch: Batch, key: str, known: Mapping[str, str]) -> Iterator[Command]:
    """Yield the commands that bring a hash up to date, of which Redis is `known` to have some fields."""
    fields = batch.hashes[key]
    if changed := {name: value for name, value in fields.items() if known.get(name) != value}:
        yield ("HSET", key, *chain.from_iterable(changed.items()))
    # If the key is not cached, an earlier process may have written any field of a play.
    gone = (known.keys() or PLAY_FIELDS) - fields.keys() if key in batch.replaced else ()
    if gone:
        yield ("HDEL", key, *sorted(gone))


def _unlogged(command: Command) -> Command:
    name, key, *rest = command
    if name == "HDEL":
        return command  # repeated later, it would delete nothing, and so not be logged
    return ("EVAL", UNLOGGED, 1, key, name, *rest)
