"""A fake Redis server: in this process, in virtual time, on a disk whose power may fail.

It replies as a real server does through `RedisClient`; `test_fake_redis` compares the two. It is simpler in
this: `crash` is a power failure (a process that is killed loses nothing that it wrote); the append-only file
is synced when a whole second begins (a real server does so at once where it has not for a second); a batch
that hangs is lost (a real server may get to it later); it knows only the commands and options that the logger
uses.
"""

from __future__ import annotations

import errno
import math
import os
from typing import TYPE_CHECKING, Literal, NoReturn, cast

from redis import exceptions

from spotify_logger.storage.client import ANSWER_TIMEOUT, RedisClient, StoreError, explain, to_refusal
from spotify_logger.storage.lease import RELEASE, RENEW
from spotify_logger.storage.store import UNLOGGED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spotify_logger.storage.client import Command, Reply

Persistence = Literal["aof", "rdb"]
"""An append-only file that is synced every second, or snapshots now and then."""
Code = Literal["", "OOM", "MISCONF", "READONLY", "NOPERM", "LOADING", "NOAUTH"]
"""The first word of the error that a server refuses with; empty when it does not."""

SAVE_SECONDS = 300.0
"""How long after a snapshot the next one is made, if there is something new; that is `save 300 1`."""
SNAPSHOT_SECONDS = 2.0
"""How long a snapshot takes; what is written meanwhile is not in it."""

_Value = str | dict[str, str]
_Entry = tuple[str, str | None, _Value | None, float | None]
"""A key, and its value and expiry before a change; or a key, a field, and that field's value before."""

_WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"

_WRITES = frozenset({"SET", "DEL", "HSET", "HDEL"})
_REFUSED = {"OOM": {"SET", "HSET"}, "MISCONF": _WRITES, "READONLY": _WRITES}
_WHILE_LOADING = frozenset({"INFO", "CONFIG GET"})


class ConnectionLost(Exception):  # noqa: N818 - it is an event on the wire
    """There is no connection, or no answer. It says why, in words that follow on the server's name."""


def _unreachable() -> str:
    error = exceptions.ConnectionError()
    error.__context__ = ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    return explain(error)


_UNREACHABLE = _unreachable()
_CLOSED = explain(exceptions.ConnectionError())
_HANGS = explain(exceptions.TimeoutError())
_LOADING = explain(exceptions.BusyLoadingError())
_LOCKED = explain(exceptions.AuthenticationError("Authentication required."))


class _Disk:
    """What has changed and is not on the disk yet. A save begins at some time, and counts from its end on.

    Args:
        every: Seconds from a snapshot to the next; None for a file that is synced when a second begins.

    Attributes:
        journal: What the changes since the last save began have replaced, oldest first.
        saving: The same for those that the save under way will keep; None when there is none.
        due: When the next save begins, or the one under way ends.
        unlogged: By key and field, what the file has of values that were changed in memory only.
    """

    def __init__(self, every: float | None) -> None:
        self._every = every
        self._handed_over = 0
        self.unlogged: dict[tuple[str, str | None], _Entry] = {}
        self.stalled = False
        self.reset(0.0)

    def reset(self, time: float) -> None:
        """Begin anew, with everything on the disk."""
        self.journal: list[_Entry] = []
        self.unlogged.clear()
        self.saving: list[_Entry] | None = None
        self.due = math.inf
        self.saved_at = time
        self.durable = self._handed_over

    @property
    def changes(self) -> int:
        """How many changes there were."""
        return self._handed_over + len(self.journal)

    def note(self, entry: _Entry, *, is_logged: bool) -> None:
        """Note what a change has replaced; a snapshot has what the append-only file may lack."""
        key, name, *_ = entry
        if is_logged or self._every is not None:
            self.journal.append(self.unlogged.pop((key, name), entry))
        else:
            self.unlogged.setdefault((key, name), entry)

    @property
    def unsaved(self) -> list[_Entry]:
        """All that is lost when the power fails now."""
        return [*(self.saving or ()), *self.journal, *self.unlogged.values()]

    def plan(self, time: float) -> None:
        """See to it that what was changed by now will be saved."""
        if self.journal and self.due == math.inf:
            self.due = self._next_save(time)

    def flush(self, time: float) -> None:
        """Let everything happen that was due by now."""
        while time >= self.due and not self.stalled:
            if self.saving is None:
                self._begin()
            else:
                self._end()

    def stall(self, time: float, *, stalled: bool) -> None:
        """Let the disk take nothing from now on, or go on with what was due meanwhile."""
        if self.stalled:
            self.due = max(self.due, time)
        self.stalled = stalled

    def _begin(self) -> None:
        self.saving, self.journal = self.journal, []
        self._handed_over += len(self.saving)
        self.due += 0.0 if self._every is None else SNAPSHOT_SECONDS

    def _end(self) -> None:
        self.saving = None
        self.saved_at = self.due
        self.durable = self._handed_over
        self.due = math.inf
        self.plan(self.saved_at)

    def _next_save(self, time: float) -> float:
        return math.floor(time) + 1 if self._every is None else max(time, self.saved_at + self._every)


class _Keys:
    """Strings and hashes by key. A change is noted on the disk's journal; only what is changed is copied."""

    def __init__(self, disk: _Disk) -> None:
        self.time = 0.0
        self.is_logged = True
        self._disk = disk
        self._values: dict[str, _Value] = {}
        self._expires: dict[str, float] = {}

    def value(self, key: str) -> _Value | None:
        """What a key holds, unless that has expired."""
        if key in self._expires and self.time > self._expires[key]:
            del self._values[key], self._expires[key]
        return self._values.get(key)

    def text(self, key: str) -> str | None:
        """A string; None where there is nothing."""
        value = self.value(key)
        if isinstance(value, dict):
            raise exceptions.ResponseError(_WRONG_TYPE)
        return value

    def fields(self, key: str) -> dict[str, str]:
        """A hash, to be looked at; empty where there is none."""
        value = self.value(key)
        if isinstance(value, str):
            raise exceptions.ResponseError(_WRONG_TYPE)
        return {} if value is None else value

    def expires(self, key: str) -> float | None:
        """When a key expires; None for never."""
        return self._expires.get(key)

    def expire(self, key: str, when: float) -> bool:
        """Let a key expire; return whether there is one."""
        value = self.value(key)
        if value is None:
            return False
        kept = value if isinstance(value, str) else dict(value)
        self._disk.note((key, None, kept, self._expires.get(key)), is_logged=self.is_logged)
        self._expires[key] = when
        return True

    def put(self, key: str, value: str | None, expires: float | None = None) -> None:
        """Replace whatever a key holds; None takes the key away."""
        entry = (key, None, self._values.get(key), self._expires.get(key))
        self._disk.note(entry, is_logged=self.is_logged)
        self._place(key, value, expires)

    def put_fields(self, key: str, names: Sequence[str], values: Sequence[str]) -> int:
        """Set fields of a hash; return how many are new."""
        fields = self.fields(key)
        before = len(fields)
        if not fields:
            self._values[key] = fields
        note, is_logged = self._disk.note, self.is_logged
        for name, value in zip(names, values, strict=True):
            note((key, name, fields.get(name), None), is_logged=is_logged)
            fields[name] = value
        return len(fields) - before

    def take_fields(self, key: str, names: Sequence[str]) -> int:
        """Take fields of a hash away, and the hash with the last of them; return how many there were."""
        fields = self.fields(key)
        gone = [name for name in dict.fromkeys(names) if name in fields]
        for name in gone:
            self._disk.note((key, name, fields.pop(name), None), is_logged=self.is_logged)
        if gone and not fields:
            del self._values[key]
        return len(gone)

    def names(self) -> list[str]:
        """All keys, those included that have expired."""
        return list(self._values)

    def undo(self, entries: Sequence[_Entry]) -> None:
        """Take changes back; the last one is taken back first."""
        for key, name, value, expires in reversed(entries):
            if name is None:
                self._place(key, value, expires)
            else:
                self._undo_field(key, name, cast("str | None", value))

    def _place(self, key: str, value: _Value | None, expires: float | None) -> None:
        self._expires.pop(key, None)
        if value is None:
            self._values.pop(key, None)
            return
        self._values[key] = value
        if expires is not None:
            self._expires[key] = expires

    def _undo_field(self, key: str, name: str, value: str | None) -> None:
        fields = cast("dict[str, str]", self._values.setdefault(key, {}))
        if value is not None:
            fields[name] = value
            return
        fields.pop(name, None)
        if not fields:
            del self._values[key]


class FakeRedis:
    """The server. It runs from the start, with nothing in it.

    Args:
        now: Gives the true time, in virtual seconds since the epoch.
        take_time: Lets virtual seconds pass.
        persistence: What survives a crash: "aof", what was written before the present second began; "rdb",
            what is in the last snapshot.

    Attributes:
        hanging: It accepts connections and answers nothing; what is sent is lost.
        slow: Seconds before each batch is carried out. From `ANSWER_TIMEOUT` on nobody waits for the answer.
        deaf_after_write: How many of the next batches that change something are carried out without an
            answer; `math.inf` for all.
        before_send: Called with the commands of a batch before they are carried out. It may raise what it
            likes, or crash the server.
        after_send: The same, afterwards.
        session: A new number whenever all connections break.
    """

    def __init__(
        self,
        now: Callable[[], float],
        take_time: Callable[[float], None],
        persistence: Persistence = "aof",
    ) -> None:
        self.hanging = False
        self.slow = 0.0
        self.deaf_after_write: float = 0
        self.before_send: Callable[[Sequence[Command]], object] | None = None
        self.after_send: Callable[[Sequence[Command]], object] | None = None
        self.session = 1
        self._now = now
        self._take_time = take_time
        self._persistence = persistence
        self._disk = _Disk(SAVE_SECONDS if persistence == "rdb" else None)
        self._keys = _Keys(self._disk)
        self._commands = self._table()
        self._down = False
        self._refusing: Code = ""
        self._starts = 0
        self._start()

    def names(self) -> list[str]:
        """The keys that it holds."""
        return self._keys.names()

    def fields(self, key: str) -> dict[str, str]:
        """A hash, whatever is wrong with the server."""
        return self._keys.fields(key)

    def client(self, url: str = "") -> FakeRedisClient:
        """Return a client of it; fit to be the `connect` of a `Store`."""
        return FakeRedisClient(self)

    @property
    def down(self) -> bool:
        """Whether it is out of reach: connections break and none comes about, but the server goes on."""
        return self._down

    @down.setter
    def down(self, down: bool) -> None:
        self._down = down
        if down:
            self.session += 1

    @property
    def refusing(self) -> Code:
        """The error code it refuses with, as a real server does.

        OOM refuses what needs memory. MISCONF refuses writes, and nothing gets to the disk. READONLY refuses
        writes, NOPERM everything. LOADING answers no more than a few questions about the server.
        NOAUTH lets nobody in and breaks all connections, like a server that is restarted with a password.
        """
        return self._refusing

    @refusing.setter
    def refusing(self, code: Code) -> None:
        self._look_at_the_clock()
        self._disk.stall(self._keys.time, stalled=code == "MISCONF")
        self._refusing = code
        if code == "NOAUTH":
            self.session += 1

    def crash(self) -> None:
        """Let the power fail: what is not on the disk is undone, and it does not run until `restart`."""
        self._look_at_the_clock()
        self._keys.undo(self._disk.unsaved)
        self.stop()

    def stop(self) -> None:
        """Shut it down in good order; it does not run until `restart`."""
        self._keys.undo(list(self._disk.unlogged.values()))
        self._disk.reset(self._keys.time)
        self.running = False
        self.session += 1

    def restart(self) -> None:
        """Start it with what is on its disk, after shutting it down if need be."""
        self.stop()
        self._start()

    def accept(self) -> int:
        """Return the session that a new connection belongs to.

        Raises:
            ConnectionLost: It does not come about.
        """
        if self._down or not self.running:
            raise ConnectionLost(_UNREACHABLE)
        if self.hanging:
            self._say_nothing()
        if self._refusing == "NOAUTH":
            raise ConnectionLost(_LOCKED)
        return self.session

    def answer(self, client: FakeRedisClient, commands: Sequence[Command]) -> list[Reply]:
        """Carry out the commands that a client has sent.

        Raises:
            ConnectionLost: The replies do not get there.
        """
        self._check(client)
        is_late = self.slow >= ANSWER_TIMEOUT
        if self.slow or self.hanging or self.before_send:
            self._hold_up(commands)
            self._check(client)
        changes = self._disk.changes
        replies = self._carry_out(commands)
        if self.after_send:
            self.after_send(commands)
            self._check(client)
        if self.deaf_after_write and self._disk.changes > changes:
            self.deaf_after_write -= 1
            self._say_nothing()
        if is_late:
            raise ConnectionLost(_HANGS)
        return replies

    def _start(self) -> None:
        self.running = True
        self._starts += 1
        self._started_at = self._keys.time = self._now()
        self._disk.reset(self._started_at)

    def _look_at_the_clock(self) -> None:
        time = self._keys.time = self._now()
        if time >= self._disk.due:
            self._disk.flush(time)

    def _check(self, client: FakeRedisClient) -> None:
        if client.session != self.session:
            raise ConnectionLost(_CLOSED)

    def _say_nothing(self) -> NoReturn:
        self._take_time(ANSWER_TIMEOUT)
        raise ConnectionLost(_HANGS)

    def _hold_up(self, commands: Sequence[Command]) -> None:
        if self.hanging:
            self._say_nothing()
        if self.slow:
            self._take_time(min(self.slow, ANSWER_TIMEOUT))
        if self.before_send:
            self.before_send(commands)

    def _carry_out(self, commands: Sequence[Command]) -> list[Reply]:
        self._look_at_the_clock()
        replies = [self._reply(command) for command in commands]
        self._disk.plan(self._keys.time)
        return replies

    def _reply(self, command: Command) -> Reply:
        name, *arguments = map(str, command)
        self._keys.is_logged = True
        try:
            if name not in self._commands:
                raise _unknown(name, arguments)
            carry_out, least, most = self._commands[name]
            if not least <= len(arguments) <= most:
                raise _wrong_number(name)
            if self._refusing:
                self._refuse(name)
            return carry_out(*arguments)
        except exceptions.ResponseError as error:
            return to_refusal(error)

    def _refuse(self, name: str) -> None:
        """Refuse a command, if it is one that is refused at present."""
        code = self._refusing
        if code == "LOADING" and name not in _WHILE_LOADING:
            raise ConnectionLost(_LOADING)
        if code == "NOPERM" or name in _REFUSED.get(code, ()):
            raise exceptions.ResponseError(code)

    def _table(self) -> dict[str, tuple[Callable[..., Reply], float, float]]:
        """Return the commands: what carries them out, and their least and most arguments."""
        return {
            "INFO": (self._info, 0, 0),
            "CONFIG GET": (self._config, 1, 1),
            "EXISTS": (self._exists, 1, math.inf),
            "DEL": (self._del, 1, math.inf),
            "GET": (self._keys.text, 1, 1),
            "SET": (self._set, 2, 5),
            "INCR": (self._incr, 1, 1),
            "PTTL": (self._pttl, 1, 1),
            "PEXPIRE": (self._pexpire, 2, 2),
            "EVAL": (self._eval, 2, math.inf),
            "HGET": (self._hget, 2, 2),
            "HMGET": (self._hmget, 2, math.inf),
            "HGETALL": (self._hgetall, 1, 1),
            "HKEYS": (self._hkeys, 1, 1),
            "HLEN": (self._hlen, 1, 1),
            "HSET": (self._hset, 3, math.inf),
            "HSETNX": (self._hsetnx, 3, 3),
            "HDEL": (self._hdel, 2, math.inf),
        }

    def _info(self) -> dict[str, str | int]:
        is_snapshot = self._persistence == "rdb"
        state = "err" if self._disk.stalled else "ok"
        return {
            "redis_version": "7.2.4",
            "run_id": f"{round(self._started_at * 1_000_000):030x}{self._starts:010x}",
            "rdb_last_bgsave_status": state if is_snapshot else "ok",
            "aof_enabled": int(self._persistence == "aof"),
            "aof_last_write_status": "ok" if is_snapshot else state,
            "maxmemory": 0,
            "maxmemory_policy": "noeviction",
        }

    def _config(self, name: str) -> dict[str, str]:
        """Answer CONFIG GET save; nothing else is asked for."""
        assert name == "save"
        return {name: f"{SAVE_SECONDS:.0f} 1" if self._persistence == "rdb" else ""}

    def _exists(self, *keys: str) -> int:
        return sum(self._keys.value(key) is not None for key in keys)

    def _del(self, *keys: str) -> int:
        gone = [key for key in dict.fromkeys(keys) if self._keys.value(key) is not None]
        for key in gone:
            self._keys.put(key, None)
        return len(gone)

    def _set(self, key: str, value: str, *options: str) -> bool | None:
        condition = options[0] if options and options[0] in {"NX", "XX"} else ""
        options = options[bool(condition) :]
        expires = self._expiry(*options) if options else None
        is_there = self._keys.value(key) is not None
        if (condition == "NX" and is_there) or (condition == "XX" and not is_there):
            return None
        self._keys.put(key, value, expires)
        return True

    def _incr(self, key: str) -> int:
        try:
            number = int(self._keys.text(key) or "0") + 1
        except ValueError:
            raise exceptions.ResponseError("value is not an integer or out of range") from None
        self._keys.put(key, str(number), self._keys.expires(key))
        return number

    def _pttl(self, key: str) -> int:
        if self._keys.value(key) is None:
            return -2
        expires = self._keys.expires(key)
        return -1 if expires is None else round(1000 * (expires - self._keys.time))

    def _pexpire(self, key: str, milliseconds: str) -> int:
        return int(self._keys.expire(key, self._keys.time + int(milliseconds) / 1000))

    def _eval(self, script: str, keys: str, key: str = "", *arguments: str) -> int:
        """The scripts of a lease and of the store, and no others: there is no Lua here."""
        if script == UNLOGGED and keys == "1":
            command, *rest = arguments
            self._keys.is_logged = False
            said = self._commands[command][0](key, *rest)
            return said if isinstance(said, int) and said is not True else 1
        if script not in {RENEW, RELEASE} or keys != "1":
            raise exceptions.ResponseError("this script is not known here")
        held, *milliseconds = arguments
        if self._keys.text(key) != held:
            return 0
        if script == RELEASE:
            return self._del(key)
        self._keys.is_logged = False
        self._keys.put(key, held, self._keys.time + int(milliseconds[0]) / 1000)
        return 1

    def _expiry(self, option: str, milliseconds: str) -> float:
        assert option == "PX"
        if int(milliseconds) <= 0:
            raise exceptions.ResponseError("invalid expire time in 'set' command")
        return self._keys.time + int(milliseconds) / 1000

    def _hget(self, key: str, name: str) -> str | None:
        return self._keys.fields(key).get(name)

    def _hmget(self, key: str, *names: str) -> list[str | None]:
        fields = self._keys.fields(key)
        return [fields.get(name) for name in names]

    def _hkeys(self, key: str) -> list[str]:
        return list(self._hgetall(key))

    def _hgetall(self, key: str) -> dict[str, str]:
        return dict(self._keys.fields(key))

    def _hlen(self, key: str) -> int:
        return len(self._keys.fields(key))

    def _hset(self, key: str, *pairs: str) -> int:
        return self._keys.put_fields(key, pairs[::2], pairs[1::2])

    def _hsetnx(self, key: str, name: str, value: str) -> int:
        return 0 if name in self._keys.fields(key) else self._hset(key, name, value)

    def _hdel(self, key: str, *names: str) -> int:
        return self._keys.take_fields(key, names)


class FakeRedisClient(RedisClient):
    """A client of the fake server; its `session` is 0 while it is not connected."""

    def __init__(self, server: FakeRedis) -> None:
        self.where = "fake"
        self.connections = 0
        self.is_cluster = False
        self.session = 0
        self._server = server

    def connect(self) -> int:
        if self.session != self._server.session:
            self.close()
            try:
                self.session = self._server.accept()
            except ConnectionLost as broken:
                raise self._failure(broken) from None
            self.connections += 1
        return self.connections

    def send(self, commands: Sequence[Command], server: object = None) -> list[Reply]:
        self.connect()
        try:
            return self._server.answer(self, commands)
        except ConnectionLost as broken:
            raise self._failure(broken) from None

    def servers(self) -> list[object]:
        return [self._server]

    def close(self) -> None:
        self.session = 0

    def _failure(self, broken: ConnectionLost) -> StoreError:
        self.close()
        return StoreError(f"Redis at {self.where} {broken}")


def plain(command: Command) -> Command:
    """Return a command without the script that keeps it out of the append-only file."""
    if command[:2] != ("EVAL", UNLOGGED):
        return command
    return (command[4], command[3], *command[5:])


def _unknown(name: str, arguments: Sequence[str]) -> exceptions.ResponseError:
    listed = " ".join(f"'{argument}'" for argument in arguments)
    return exceptions.ResponseError(f"unknown command '{name}', with args beginning with: {listed}")


def _wrong_number(name: str) -> exceptions.ResponseError:
    return exceptions.ResponseError(f"wrong number of arguments for '{name.lower()}' command")
