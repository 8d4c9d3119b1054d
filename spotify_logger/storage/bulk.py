"""The log as commands and the page read it: a million plays in batches, and questions about the server."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date
from itertools import chain

from spotify_logger.core import redis_keys as keys
from spotify_logger.core.batched import batched
from spotify_logger.core.player_state import BOOLEAN_FIELDS, INTEGER_FIELDS, FieldValue, whole_number
from spotify_logger.core.times import utc_time
from spotify_logger.storage.client import Command, Refusal, StoreError
from spotify_logger.storage.store import Store
from spotify_logger.system.log import sanitize

Progress = Callable[[int, int], object]  # gets how many days with plays are done, and how many there are
PlayData = Mapping[str, str | int | bool | None]  # the key of a play, and the fields of its hash
GapData = Mapping[str, str | None]  # from, to, reason

DAYS_PER_BATCH = 64  # days of the index read in one batch: half a megabyte for a busy listener
KEYS_PER_SCAN = 1000  # the COUNT of a SCAN
ITEM_KEYS = ("track:", "episode:", "local:")  # what the keys of the catalog begin with
FIRST_SECOND = keys.second_of_day(keys.FIRST_DAY)  # the first second with a play: none is older than Spotify


class Archive(Store):
    """The log with bulk access. For one thread. Data that cannot belong to the log is skipped."""

    def rows(
        self, begin: int = FIRST_SECOND, end: int | None = None, progress: Progress | None = None
    ) -> Iterator[keys.Row]:
        """Yield the rows of the plays that started from `begin` to before `end`, in chronological order."""
        end = self.end() if end is None else min(end, self.end())
        midnights = range(max(begin, FIRST_SECOND) // keys.ONE_DAY * keys.ONE_DAY, end, keys.ONE_DAY)
        done, total = 0, self.count_days(map(keys.day_of, midnights)) if progress else 0
        for some in batched(map(keys.day_of, midnights), DAYS_PER_BATCH):
            for lines in self.hashes(map(keys.index_key, some)):
                yield from (row for row in keys.read_day(lines) if begin <= row[0] < end)
                done += bool(lines)
                if progress and lines:
                    progress(done, total)

    def count_days(self, days: Iterable[date]) -> int:
        """Return how many of these UTC days have plays."""
        names = [self.key(keys.index_key(day)) for day in days]
        whole = [[name] for name in names] if self.client.is_cluster else batched(names, KEYS_PER_SCAN)
        return sum(int(reply or 0) for reply in self.send([("EXISTS", *some) for some in whole]))

    def fields(self, names: Iterable[str], fields: Sequence[str]) -> Iterator[dict[str, str]]:
        """Yield a few fields of the hashes under many keys, without those that are missing."""
        for _, values in self.catalog(names, fields):
            yield {field: value for field, value in zip(fields, values, strict=True) if value}

    def known_owner(self) -> str:
        """Return the Spotify account whose plays the log has; "" if unknown, or Redis is away."""
        with suppress(StoreError):
            return self.owner("")
        return ""

    def set_owner(self, account: str) -> None:
        """Let the log be that of another Spotify account."""
        self.write([("HSET", self.key(keys.STATUS), keys.OWNER_FIELD, account)])

    def latest_play(self) -> tuple[int, dict[str, str]] | None:
        """Return the play that started last: the second in its key, and its hash."""
        return next((play for play in self.recent(3) if play[1]), None)

    def now_playing(self) -> int | None:
        """Return the second in the key of the open play; None without a `now_playing`."""
        (reply,) = self.send([("GET", self.key(keys.NOW_PLAYING))])
        return keys.second_of_key(str(reply))

    def listeners(self) -> list[str]:
        """Return the names of the listeners with a log here; "" first if there is an unnamed one."""
        # One that only has imports has no status.
        questions = (("HKEYS", keys.LISTENERS), ("EXISTS", keys.STATUS), ("EXISTS", keys.REVISIONS))
        names, *unnamed = self.send([(command, self.shared_key(key)) for command, key in questions])
        return [*([""] if any(unnamed) else []), *sorted(filter(keys.is_listener_name, names or []))]

    def has_log(self) -> bool:
        """Return whether this listener, who has a name, has a log here, registered or not."""
        written = [("EXISTS", self.key(name)) for name in (keys.STATUS, keys.REVISIONS)]
        return any(self.send([*written, ("HEXISTS", self.shared_key(keys.LISTENERS), self._listener)]))

    def standby_machine(self) -> str:
        """Return the machine of a standby logger; "" if there is none."""
        (waiting,) = self.send([("GET", self.key(keys.STANDBY))])
        return sanitize(str(waiting or "").partition(" ")[2], 80)

    def version(self) -> str:
        """Return name and version of the server, e.g. "valkey 9.1.0"; just "redis" if INFO is not allowed."""
        said = next(self.client.infos())
        name = "valkey" if "valkey_version" in said else "redis"
        return sanitize(f"{name} {said.get(f'{name}_version', '')}", 40).rstrip()

    def is_in_sync(self) -> bool:
        """Return whether a replica has contact with its primary, or does not say."""
        return next(self.client.infos()).get("master_link_status") != "down"

    def eviction(self) -> str:
        """Return that Redis may delete plays when its memory is full, and what to do; "" if not."""
        for info in self.client.infos():
            policy = str(info.get("maxmemory_policy", ""))
            if info.get("maxmemory") and policy.startswith("allkeys-"):
                fault = f"this Redis deletes plays when its memory is full (maxmemory-policy {policy})"
                return f"{fault}: set `maxmemory-policy noeviction`"
        return ""

    def persistence_trouble(self) -> str:
        """Return why plays may be lost although Redis saves them, and what to do; "" if all is well."""
        for info in self.client.infos():
            if info.get("aof_enabled") == 1 and info.get("aof_last_write_status", "ok") != "ok":
                return "this Redis cannot write its append-only file: check its disk and its log"
            if info.get("rdb_last_bgsave_status", "ok") != "ok":
                return "this Redis cannot save its snapshots: check its disk and its log"
        return self.eviction()

    def write_refusal(self) -> StoreError | None:
        """Return why the server accepts no writes; None if it does, or if this user may not write."""
        try:
            (reply,) = self.client.send([("SET", self.key(keys.PROBE), "", "XX")])  # changes nothing
        except StoreError:
            self.version()  # raises if the server does not answer at all
            advice = "answers, but does not accept writes: it is paused (CLIENT PAUSE), or its disk hangs"
            return StoreError(f"Redis at {self.where} {advice}")
        if isinstance(reply, Refusal) and reply.code != "NOPERM":
            return StoreError(f"Redis at {self.where} {reply.advice}", codes=[reply.code])
        return None

    def scan(self, pattern: str) -> Iterator[list[str]]:
        """Yield all keys that match a pattern such as "listening:*", in batches; some may occur twice."""
        wanted = re.sub(r"([*?\[\]\\^-])", r"\\\1", self._prefix) + pattern
        for server in self.client.servers():
            cursor = None
            while cursor != 0:
                command = ("SCAN", cursor or 0, "MATCH", wanted, "COUNT", KEYS_PER_SCAN)
                ((cursor, names),) = self.client.ask([command], server)
                if names:
                    yield [name.removeprefix(self._prefix) for name in names]

    def hset(self, name: str, fields: Mapping[str, FieldValue]) -> Command:
        """Return the command that writes fields of a hash."""
        return ("HSET", self.key(name), *chain.from_iterable(fields.items()))

    def write(self, commands: Sequence[Command]) -> None:
        """Send writes, and the revisions of what they change; raises StoreError if some were refused."""
        names = [str(command[1]).removeprefix(self._prefix) for command in commands]
        touched = {name.removeprefix("plays:") for name in names if name.startswith("plays:")}
        if not touched and any(name.startswith(ITEM_KEYS) for name in names):
            touched = {keys.CATALOG}
        if touched:
            # First, in case the rest is cut off: readers trust no revision that is a few seconds old.
            commands = [self.touch(sorted(touched)), *commands]
        for command, reply in zip(commands, self.client.send(commands), strict=True):
            if isinstance(reply, Refusal):
                raise StoreError(f"Redis at {self.where} {reply.advice} ({command[1]})", codes=[reply.code])


def play_data(play: tuple[int, Mapping[str, str]]) -> dict[str, str | int | bool | None]:
    """Return a play, given by its second and hash, with its key, and with numbers and booleans converted."""
    second, texts = play
    data: dict[str, str | int | bool | None] = {"key": keys.play_key(second), **texts}
    for name in texts.keys() & (INTEGER_FIELDS | {"ms_played"}):
        data[name] = whole_number(texts[name])
    for name in texts.keys() & BOOLEAN_FIELDS:
        data[name] = texts[name] == "1"
    return data


def gap_data(begin: int, end: int, reason: str) -> GapData:
    """Return a gap, given by its begin and end in seconds since the epoch."""
    return {"from": utc_time(begin), "to": utc_time(end), "reason": reason}
