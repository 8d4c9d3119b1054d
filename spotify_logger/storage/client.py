"""The client for Redis, made of redis-py's: for one server, for Sentinels, or for a cluster."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, parse_url
from redis.retry import Retry

from spotify_logger.config.redis_url import URL_FORMS, parse_topology
from spotify_logger.storage.redis_errors import explain, to_refusal
from spotify_logger.system.deadline import deadline
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from spotify_logger.config.redis_url import RedisTopology

CONNECT_TIMEOUT = 3.0
"""Seconds for a connection to be made; `?socket_connect_timeout=` in the URL overrides it."""
ANSWER_TIMEOUT = 5.0
"""Seconds in which the next part of a reply has to come; `?socket_timeout=` in the URL overrides it."""
EXCHANGE_TIMEOUTS = 2
"""How many times `ANSWER_TIMEOUT` all replies to one batch may take, however the server drips them."""

Command = tuple[str | int, ...]
"""A Redis command and its arguments."""
Reply = Any
"""What redis-py makes of a reply, or a `Refusal`."""

SKIP_LOG = "pcall(redis.set_repl, redis.REPL_REPLICA)"
"""The beginning of a script whose writes the append-only file need not get, if the server can do that."""

_SERVER_ONLY = frozenset({"host", "port", "db", "username", "password"})
_SENTINEL_ONLY = {"sentinel_username": "username", "sentinel_password": "password"}


class StoreError(SpotifyLoggerError):
    """Redis did not answer or refused. The message says what is wrong and what to do.

    Attributes:
        refused: Keys, without prefix, whose write Redis refused while it carried out the others of the batch.
            Empty when there was no answer, or none to make sense of: then nothing is known of any of them.
        codes: The first words of its errors, such as "WRONGTYPE", where it understood what it was asked.
    """

    def __init__(self, message: str, refused: Iterable[str] = (), codes: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.refused = frozenset(refused)
        self.codes = frozenset(codes)


class Client(Protocol):
    """Sends commands to Redis; tests have one that needs no server.

    Attributes:
        where: The server's address without credentials.
        connections: How many connections there have been.
        is_cluster: Whether a command has to be about one key, because others may lie elsewhere.
    """

    where: str
    connections: int
    is_cluster: bool

    def connect(self) -> int:
        """Make sure that there is a live connection.

        Returns:
            How many there have been. With every new one the server may have lost data.

        Raises:
            StoreError: There is none to be had.
        """

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one pipeline, outside of any transaction; over a new connection if need be.

        Returns:
            A reply to each, in order.

        Raises:
            StoreError: Some or all replies are missing.
        """

    def send_to_each(self, commands: Sequence[Command]) -> list[list[Reply]]:
        """Send the same commands to each server that has keys of its own: one, or the masters of a cluster.

        Returns:
            The replies of each server.

        Raises:
            StoreError: Some or all replies are missing.
        """

    def scan(self, pattern: str, count: int) -> Iterator[list[str]]:
        """Yield all keys that match a pattern, in batches of about `count`; some may occur twice.

        Raises:
            StoreError: A reply is missing.
        """

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""


class RedisClient:
    """Redis 5 or newer, Valkey, or what speaks the same. For one thread.

    redis-py's own retries are off: when to try again is decided by the caller.

    Args:
        url: REDIS_URL in any of its forms, with redis-py's options in the query.

    Attributes:
        where: Host and port, path, service or nodes.
        connections: See `Client`.
        is_cluster: See `Client`.

    Raises:
        Misconfigured: `url` is invalid. The message has no part of it: it may hold a password.
    """

    def __init__(self, url: str) -> None:
        topology, options = _parse(url)
        self._options = {
            "socket_connect_timeout": CONNECT_TIMEOUT,
            "socket_timeout": ANSWER_TIMEOUT,
            **options,
            "protocol": 2,  # Redis 5 knows no other
            "decode_responses": True,
            "encoding_errors": "replace",  # what others wrote need not be UTF-8
        }
        _check_options(self._options)
        self._topology = topology
        self.is_cluster = topology is not None and topology.kind == "cluster"
        self._seconds = EXCHANGE_TIMEOUTS * float(self._options["socket_timeout"] or ANSWER_TIMEOUT)
        self.where = _describe(topology, self._options)
        self._redis: Any = None
        self._opened: set[Any] = set()
        self.connections = 0

    def connect(self) -> int:
        """See `Client.connect`."""
        with self._exchange():
            for server in self._servers():
                pool = server.connection_pool
                pool.release(pool.get_connection())  # not PING: servers that can be read refuse it, too
        return self.connections

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        """See `Client.send`."""
        with self._exchange():
            return _run(self._connected(), commands)

    def send_to_each(self, commands: Sequence[Command]) -> list[list[Reply]]:
        """See `Client.send_to_each`."""
        with self._exchange():
            return [_run(server, commands) for server in self._servers()]

    def scan(self, pattern: str, count: int) -> Iterator[list[str]]:
        """See `Client.scan`."""
        with self._exchange():
            servers = self._servers()
        for server in servers:
            cursor, is_complete = 0, False
            while not is_complete:
                with self._exchange():
                    ((cursor, keys),) = _run(server, [("SCAN", cursor, "MATCH", pattern, "COUNT", count)])
                yield keys
                is_complete = cursor == 0

    def close(self) -> None:
        """See `Client.close`."""
        for connection in self._opened:
            connection.disconnect()
        self._opened.clear()
        self._redis = None

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        """Limit the time of an exchange, and explain its failure."""
        begun = time.monotonic()
        try:
            with deadline(self._seconds, self._disconnect):
                yield
        except Exception as error:  # noqa: BLE001 - whatever redis-py makes of a server that may be no Redis
            is_late = time.monotonic() - begun >= self._seconds
            self.close()  # replies still to come would be taken for those to the next commands
            raise StoreError(
                f"Redis at {self.where} {explain(TimeoutError() if is_late else error)}"
            ) from None

    def _disconnect(self) -> None:
        for connection in tuple(self._opened):
            connection.disconnect()  # ends a read in the other thread

    def _servers(self) -> list[Any]:
        client = self._connected()
        if not self.is_cluster:
            return [client]
        return [client.get_redis_connection(node) for node in client.get_primaries()]

    def _connected(self) -> Any:  # noqa: ANN401 - redis-py's clients have no common type
        if self._redis is None:
            if self._topology is None:
                pool = ConnectionPool(
                    **self._options, retry=Retry(NoBackoff(), 0), redis_connect_func=self._on_connect
                )
                self._redis = redis.Redis(connection_pool=pool)
            elif self._topology.kind == "sentinel":
                self._redis = _master(self._topology, self._options, self._on_connect)
            else:
                self._redis = _cluster(self._topology, self._options, self._count)
        return self._redis

    def _on_connect(self, connection: Any) -> None:  # noqa: ANN401 - there are several classes
        self._count(connection)
        if self._topology is not None:
            self.where = f"{self._topology.service} (Sentinel), now {connection.host}:{connection.port}"
        connection.on_connect()

    def _count(self, connection: Any) -> None:  # noqa: ANN401 - there are several classes
        self.connections += 1
        self._opened.add(connection)


def _master(topology: RedisTopology, options: dict[str, Any], on_connect: Callable[[Any], None]) -> Any:  # noqa: ANN401 - untyped
    from redis.sentinel import Sentinel  # noqa: PLC0415 - start-up time: few have Sentinels

    retry = {"retry": Retry(NoBackoff(), 0)}
    shared = {name: value for name, value in options.items() if name not in _SERVER_ONLY}
    own = {own: shared.pop(name) for name, own in _SENTINEL_ONLY.items() if name in shared}
    server = {name: value for name, value in options.items() if name not in {"host", "port", *_SENTINEL_ONLY}}
    for kind in (shared, server):
        if kind.pop("connection_class", None) is not None:
            kind["ssl"] = True
    sentinel = Sentinel(topology.hosts, sentinel_kwargs=shared | own | retry)  # type: ignore[no-untyped-call]
    return sentinel.master_for(  # type: ignore[no-untyped-call]
        topology.service, **server, **retry, redis_connect_func=on_connect
    )


def _cluster(topology: RedisTopology, options: dict[str, Any], on_connect: Callable[[Any], None]) -> Any:  # noqa: ANN401 - untyped
    from redis.cluster import ClusterNode, RedisCluster  # noqa: PLC0415 - start-up time: few have a cluster

    options = {name: value for name, value in options.items() if name not in {"host", "port", "db"}}
    if options.pop("connection_class", None) is not None:
        options["ssl"] = True
    nodes = [ClusterNode(host, port) for host, port in topology.hosts]  # type: ignore[no-untyped-call]
    return RedisCluster(
        startup_nodes=nodes,
        retry=Retry(NoBackoff(), 0),
        reinitialize_steps=1,
        redis_connect_func=on_connect,
        **options,
    )


def _run(client: Any, commands: Sequence[Command]) -> list[Reply]:  # noqa: ANN401 - untyped
    with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        return list(map(_checked, commands, pipeline.execute(raise_on_error=False)))


def _checked(command: Command, reply: Reply) -> Reply:
    """Return a reply of the type that the command has, or a `Refusal`.

    Raises:
        RedisError: There is no reply.
        TypeError: It has another type: that is no Redis.
    """
    if isinstance(reply, redis.ResponseError):
        return to_refusal(reply)
    if isinstance(reply, Exception):
        raise reply
    if not _TYPES[str(command[0])](reply):
        raise TypeError
    return reply


def _is_text(reply: Reply) -> bool:
    return reply is None or isinstance(reply, str)


def _is_number(reply: Reply) -> bool:
    return isinstance(reply, int)


def _is_list(reply: Reply) -> bool:
    return isinstance(reply, list) and all(map(_is_text, reply))


def _is_hash(reply: Reply) -> bool:
    return isinstance(reply, dict) and all(isinstance(text, str) for pair in reply.items() for text in pair)


def _is_scan(reply: Reply) -> bool:
    cursor, keys = reply
    return isinstance(cursor, int) and _is_list(keys)


_TYPES: dict[str, Callable[[Reply], bool]] = {
    **dict.fromkeys(
        ("DEL", "EVAL", "EXISTS", "HDEL", "HEXISTS", "HLEN", "HSET", "HSETNX", "INCR", "PTTL"), _is_number
    ),
    **dict.fromkeys(("GET", "HGET"), _is_text),
    **dict.fromkeys(("HKEYS", "HMGET"), _is_list),
    **dict.fromkeys(("CONFIG GET", "HGETALL"), _is_hash),
    "INFO": lambda reply: isinstance(reply, dict),
    "SCAN": _is_scan,
    "SET": lambda reply: reply is None or reply is True,
}
"""By command, what its reply has to be."""


def _parse(url: str) -> tuple[RedisTopology | None, dict[str, Any]]:
    """Return Sentinels or a cluster, if any, and redis-py's options for a server.

    Raises:
        Misconfigured: The URL is invalid.
    """
    topology = options = None
    try:
        topology = parse_topology(url)
        server_url = url if topology is None else topology.url(*topology.hosts[0])
        if _is_plain(server_url):
            options = parse_url(server_url)  # type: ignore[no-untyped-call]
    except ValueError:
        pass  # its text, and so the error's context, could hold a part of the password
    if options is None:
        raise Misconfigured(
            f"REDIS_URL is not the address of a Redis server: it has to look like {URL_FORMS}"
        )
    return topology, options


def _is_plain(url: str) -> bool:
    """Return whether no part of a password was taken for host, port, path or query by redis-py."""
    parts = urlsplit(url)
    if parts.query:
        parse_qsl(parts.query, strict_parsing=True)
    if parts.scheme == "unix":
        return len(parts.path) > 1 and not parts.fragment
    return not parts.fragment and re.fullmatch(r"(/[0-9]*)?", parts.path) is not None


def _check_options(options: dict[str, Any]) -> None:
    """Check the options from the query.

    Raises:
        Misconfigured: redis-py does not know one of them.
    """
    is_valid = True
    plain = {name: value for name, value in options.items() if name not in _SENTINEL_ONLY}
    try:
        plain.pop("connection_class", Connection)(**plain)
    except (TypeError, ValueError, redis.RedisError):
        is_valid = False  # raised outside, where the error has no context that could hold a password
    if not is_valid:
        raise Misconfigured("REDIS_URL has a query option that redis-py does not know")


def _describe(topology: RedisTopology | None, options: dict[str, Any]) -> str:
    if topology is None:
        return options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
    if topology.kind == "sentinel":
        return f"{topology.service} (Sentinel)"
    return ",".join(f"{host}:{port}" for host, port in topology.hosts) + " (cluster)"
