"""The client for Redis, made of redis-py's, for one server, Sentinels or a cluster; what its errors mean."""

from collections import ChainMap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import NoneType
from typing import Any, NamedTuple

import redis
from redis import exceptions
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, parse_url
from redis.retry import Retry

from spotify_logger.config.settings import URL_FORMS, RedisTopology, parse_redis_url
from spotify_logger.system.clock import Deadline
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError, chain
from spotify_logger.system.log import DETAIL_LIMIT, sanitize

ANSWER_TIMEOUT = 5.0  # seconds in which the next part of a reply has to come, unless the URL has another
Command = tuple[str | int, ...]  # with its arguments
Reply = Any  # what redis-py makes of a reply, or a `Refusal`

# The beginning of a script whose writes the append-only file need not get, if the server can do that.
SKIP_LOG = "pcall(redis.set_repl, redis.REPL_REPLICA)"

_DEFAULTS = {"socket_connect_timeout": 3.0, "socket_timeout": ANSWER_TIMEOUT}
_FIXED = {
    "protocol": 2,  # Redis 5 knows no other
    "decode_responses": True,
    "encoding_errors": "replace",  # what others wrote need not be UTF-8
    "retry": Retry(NoBackoff(), 0),
}
SENTINEL_ONLY = frozenset({"sentinel_username", "sentinel_password"})

# Commands with a number for a reply; redis-py makes True or None of that of `SET`.
_NUMBERS = {
    *("DEL", "EVAL", "EXISTS", "HDEL", "HEXISTS", "HLEN", "HSET", "HSETNX"),
    *("INCR", "PEXPIRE", "PTTL", "SET"),
}

NO_RIGHTS = "denies this user permission: allow the command in its ACL, on keys that begin with REDIS_PREFIX"
REPLICA = "is a read-only replica: point REDIS_URL at the primary"
NOT_SAVED = "cannot save to disk and does not accept writes: is the disk full or read-only? See its log"
CLUSTER = "is a node of a Redis Cluster: write redis+cluster:// instead of redis:// in REDIS_URL"

# What is wrong and what to do, by the code of an error, in phrases that follow the name of the server. Some
# codes redis-py strips from the text, in later versions even more, and turns them into classes.
ADVICE_BY_CODE = {
    "WRONGTYPE": (None, "has a key of another type there: rename or delete it, or set REDIS_PREFIX"),
    "OOM": (exceptions.OutOfMemoryError, "is out of memory: raise maxmemory, or free some"),
    "MISCONF": (None, NOT_SAVED),
    "NOPERM": (exceptions.NoPermissionError, NO_RIGHTS),
    "NOREPLICAS": (None, "has too few replicas to accept writes (min-replicas-to-write)"),
    "READONLY": (exceptions.ReadOnlyError, REPLICA),
    "MASTERDOWN": (exceptions.MasterDownError, REPLICA),
    "MOVED": (exceptions.MovedError, CLUSTER),
    "ASK": (exceptions.AskError, CLUSTER),
    "CLUSTERDOWN": (exceptions.ClusterDownError, "is an incomplete cluster: some of its masters are down"),
}
# For errors without a code of their own, by a part of their text.
ADVICE_BY_TEXT = (
    ("max number of clients", "has too many clients: close some, or raise maxclients"),
    ("without any password", "has no password, but REDIS_URL has one: remove it"),
    ("no password is set", "has no password, but REDIS_URL has one: remove it"),
    ("Authentication required", "requires a password: set it in REDIS_URL, redis://:password@host"),
    ("cluster support disabled", "is not a node of a cluster: write redis:// in REDIS_URL"),
    ("slots are not covered", "is an incomplete cluster: some of its slots have no server"),
    ("No master found", "is unknown to its Sentinels, or down: check the name and addresses in REDIS_URL"),
    ("DB index", "does not have that database: check the number at the end of REDIS_URL"),
)
ADVICE_BY_CLASS = (
    (exceptions.BusyLoadingError, "is still loading its data: wait until it is done"),
    (exceptions.AuthenticationError, "rejected the user name or password: check both in REDIS_URL"),
    (exceptions.TimeoutError, "did not answer in time: it hangs, is overloaded, or REDIS_URL is wrong"),
    ((exceptions.ConnectionError, ConnectionError), "closed the connection: it may be restarting"),
)
UNKNOWN = "unknown"
FORGETS = "none: it forgets with its next restart"
SNAPSHOTS = "snapshots"
APPEND_ONLY_FILE = "append-only file"
_WORST_FIRST = (UNKNOWN, FORGETS, SNAPSHOTS, APPEND_ONLY_FILE)


class Refusal(NamedTuple):
    """An error reply to one command; other commands in the batch are not affected."""

    code: str  # the first word of the error, such as "WRONGTYPE" or "OOM"; "ERR" if there is none
    advice: str  # what is wrong and what to do, without naming server or key


class Persistence(NamedTuple):
    """How a server persists data; of several servers, the worst counts."""

    run: str = ""  # the server's `run_id`, which changes with every start; "" if it does not tell
    words: str = UNKNOWN  # a description for people


class StoreError(SpotifyLoggerError):
    """Redis did not answer or refused. The message says what is wrong and what to do."""

    def __init__(self, message: str, refused: Iterable[str] = (), codes: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.refused = frozenset(refused)  # keys, without prefix, of which only the writes were refused
        self.codes = frozenset(codes)  # first words of its errors, such as "WRONGTYPE"; empty if it is away


class RedisClient:
    """Redis 5 or newer, Valkey, or what speaks the same. For one thread.

    redis-py's own retries are off: the caller decides when to try again. Every method that talks to the
    server raises StoreError if a reply is missing, and closes the connection. The constructor raises
    Misconfigured for an invalid URL.
    """

    def __init__(self, url: str) -> None:
        self._topology, self._options = _parse(url)
        # In a cluster a command has to be about one key, because others may lie elsewhere.
        self.is_cluster = self._topology is not None and self._topology.kind == "cluster"
        seconds = 2 * float(self._options["socket_timeout"] or ANSWER_TIMEOUT)  # for all replies to a batch
        self._deadline = Deadline(seconds, self.close)
        address = f"{self._options.get('host', 'localhost')}:{self._options.get('port', 6379)}"
        self.where = str(self._topology or self._options.get("path") or address)  # without credentials
        self._redis: Any = None
        self._opened: set[Any] = set()
        self.connections = 0  # with each new one the server may have lost data

    def connect(self) -> int:
        """Connect if necessary, and return the number of connections so far."""
        servers = self.servers()
        with self._exchange():
            for server in servers:
                pool = server.connection_pool
                pool.release(pool.get_connection())  # not PING: servers that can be read refuse it, too
        return self.connections

    def send(self, commands: Sequence[Command], server: Any = None) -> list[Reply]:  # noqa: ANN401 - as below
        """Send commands without a transaction, to where their keys are or one of the `servers`."""
        with self._exchange() as client, (server or client).pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            return list(map(_checked, commands, pipeline.execute(raise_on_error=False)))

    def ask(self, commands: Sequence[Command], server: Any = None) -> list[Reply]:  # noqa: ANN401
        """Send commands and return the replies; None for keys of another type, which are not ours."""
        replies = self.send(commands, server)
        for reply in replies:
            if isinstance(reply, Refusal) and reply.code != "WRONGTYPE":
                raise StoreError(f"Redis at {self.where} {reply.advice}", codes=[reply.code])
        return [None if isinstance(reply, Refusal) else reply for reply in replies]

    def servers(self) -> list[Any]:
        """Return the servers that have keys: the one, or the masters of a cluster."""
        with self._exchange() as client:
            nodes = client.get_primaries() if self.is_cluster else ()
            return [client.get_redis_connection(node) for node in nodes] or [client]

    def infos(self) -> Iterator[dict[str, Any]]:
        """Yield what each server says about itself, and its setting `save`; without what it refuses."""
        for server in self.servers():
            replies = self.send([("INFO",), ("CONFIG GET", "save")], server)
            yield dict(ChainMap(*(reply for reply in replies if isinstance(reply, dict))))

    def persistence(self) -> Persistence:
        """Return how the server persists data, as far as it says."""
        runs, words = [], []
        for info in self.infos():
            saves = str(info.get("save", "")).strip()
            by_snapshots = UNKNOWN if "save" not in info else SNAPSHOTS if saves else FORGETS
            runs.append(str(info.get("run_id", "")))
            words.append(APPEND_ONLY_FILE if info.get("aof_enabled") == 1 else by_snapshots)
        return Persistence(" ".join(sorted(runs)), min(words, key=_WORST_FIRST.index))

    def close(self) -> None:
        """Close the connection, which ends a read in another thread; the next use opens a new one."""
        opened, self._opened, self._redis = self._opened, set(), None
        for connection in tuple(opened):
            connection.disconnect()

    @contextmanager
    def _exchange(self) -> Iterator[Any]:
        """Yield redis-py's client for an exchange; limit its time, and explain its failure."""
        try:
            with self._deadline:
                if self._redis is None:
                    self._redis = self._open()
                yield self._redis
        except Exception as error:  # noqa: BLE001 - whatever redis-py makes of a server that may not be Redis
            self.close()  # replies still to come would be taken for those to the next commands
            reason = explain(redis.TimeoutError() if isinstance(error, TimeoutError) else error)
            raise StoreError(f"Redis at {self.where} {reason}") from None

    def _open(self) -> Any:  # noqa: ANN401 - redis-py's clients have no common type
        options, topology = {**self._options, "redis_connect_func": self._on_connect}, self._topology
        if topology is None:
            return redis.Redis(connection_pool=ConnectionPool(**options))
        from redis.cluster import ClusterNode, RedisCluster  # noqa: PLC0415 - start-up time: few need it
        from redis.sentinel import Sentinel  # noqa: PLC0415

        options = {name: value for name, value in options.items() if name not in {"host", "port"}}
        options["ssl"] = options.pop("connection_class", None) is not None
        own = {name.partition("_")[2]: options.pop(name) for name in SENTINEL_ONLY & options.keys()}
        if topology.kind == "sentinel":
            of_server = {"db", "username", "password", "redis_connect_func"}
            shared = {name: value for name, value in options.items() if name not in of_server}
            sentinel = Sentinel(topology.hosts, sentinel_kwargs=shared | own)  # type: ignore[no-untyped-call]
            return sentinel.master_for(topology.service, **options)  # type: ignore[no-untyped-call]
        options.pop("db", None)
        nodes = [ClusterNode(host, port) for host, port in topology.hosts]  # type: ignore[no-untyped-call]
        return RedisCluster(startup_nodes=nodes, reinitialize_steps=1, **options)

    def _on_connect(self, connection: Any) -> None:  # noqa: ANN401
        self.connections += 1
        self._opened.add(connection)
        if self.is_cluster:
            return  # redis-py has called `on_connect`
        if self._topology is not None:
            self.where = f"{self._topology}, now {connection.host}:{connection.port}"
        connection.on_connect()


def _checked(command: Command, reply: Reply) -> Reply:
    """Return a reply of the type that the command has, or a `Refusal`; raise an error if it is neither."""
    name, is_valid = command[0], False
    match reply:
        case redis.ResponseError():
            return to_refusal(reply)
        case Exception():
            raise reply
        case int():
            is_valid = name in _NUMBERS
        case str() | None:
            is_valid = name in {"GET", "HGET", "SET"}
        case list():
            is_whole = name == "HKEYS" or (name == "HMGET" and len(reply) == len(command) - 2)
            is_valid = is_whole and set(map(type, reply)) <= {str, NoneType}
        case dict():
            is_text = set(map(type, (*reply, *reply.values()))) <= {str}
            is_valid = name == "INFO" or (name in {"CONFIG GET", "HGETALL"} and is_text)
        case (int(), list(keys)):
            is_valid = name == "SCAN" and set(map(type, keys)) <= {str}
    if not is_valid:
        raise TypeError  # that is not Redis
    return reply


def _parse(url: str) -> tuple[RedisTopology | None, dict[str, Any]]:
    """Return Sentinels or a cluster, if any, and redis-py's options for a server."""
    # What is raised here could hold a part of the password, also as the context of another error.
    with suppress(ValueError, TypeError, redis.RedisError):
        topology, server_url = parse_redis_url(url)
        options = {**_DEFAULTS, **parse_url(server_url), **_FIXED}  # type: ignore[no-untyped-call]
        known = {name: options[name] for name in options.keys() - SENTINEL_ONLY}
        known.pop("connection_class", Connection)(**known)  # refuses the options that it does not know
        return topology, options
    raise Misconfigured(
        "REDIS_URL is not the address of a Redis server, or has a query option that redis-py does not know:"
        f" it has to look like {URL_FORMS}"
    )


def to_refusal(error: redis.ResponseError) -> Refusal:
    """Convert an error reply of redis-py."""
    text = str(error)
    first = text.split(" ", 1)[0]
    for code, (kind, advice) in ADVICE_BY_CODE.items():
        if type(error) is kind or first == code:
            return Refusal(code, advice)
    advice = _advice_by_text(text) or f"says: {sanitize(text, DETAIL_LIMIT)}"
    return Refusal(first if first.isupper() else "ERR", advice)


def _advice_by_text(text: str) -> str:
    return next((words for part, words in ADVICE_BY_TEXT if part in text), "")


def explain(error: BaseException) -> str:
    """Explain why there is no connection, or no answer."""
    causes = chain(error)
    for link in causes:  # redis-py raises while handling the system's error
        if isinstance(link, redis.ResponseError):
            return to_refusal(link).advice
        was_closed = isinstance(link, (BrokenPipeError, ConnectionResetError, ConnectionAbortedError))
        if isinstance(link, OSError) and link.strerror and not was_closed:
            reason = sanitize(link.strerror, DETAIL_LIMIT)
            return f"cannot be reached ({reason}): is it running, and is REDIS_URL right?"
    if advice := _advice_by_text(" ".join(map(str, causes))):
        return advice
    what_it_is = (words for kind, words in ADVICE_BY_CLASS if any(isinstance(link, kind) for link in causes))
    return next(what_it_is, "is not a Redis server: something else answers there. Check REDIS_URL")
