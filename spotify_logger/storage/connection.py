"""The connection to Redis: sends commands, returns replies, and explains failures in one line."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import parse_qsl, urlsplit

from redis import exceptions
from redis.connection import Connection, parse_url

from spotify_logger.config.redis_url import URL_FORMS
from spotify_logger.storage.redis_errors import explain, to_refusal
from spotify_logger.system.errors import Misconfigured, SpotifyLoggerError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Sequence

CONNECT_TIMEOUT = 3.0
"""Seconds to establish a connection; `?socket_connect_timeout=` in the URL overrides it."""
ANSWER_TIMEOUT = 5.0
"""Seconds to wait for the next part of an answer; `?socket_timeout=` in the URL overrides it."""

_PIECE = 1 << 18
"""Bytes that are read from a socket at once."""
_END_WORD = secrets.token_hex(16)
_END_WANTED = b"*2\r\n$4\r\nPING\r\n$32\r\n%b\r\n" % _END_WORD.encode()
_END = b"$32\r\n%b\r\n" % _END_WORD.encode()
"""An unknown command, whose error reply marks the end of many replies: no other reply contains it."""

Command = tuple[str | int, ...]
"""A Redis command and its arguments."""
Reply = Any
"""What Redis answers: str, int, None, a list of these, or a `Refusal`."""
Part = tuple[list[int], str]
"""The replies of one server to the same command for many keys: the positions of its keys among all of them,
and the text of the replies, in that order."""


class StoreError(SpotifyLoggerError):
    """Redis did not answer or refused. The message says what is wrong and what to do.

    Attributes:
        refused: Keys, without prefix, whose write Redis refused while it executed the others of the batch.
            Empty if there was no usable answer: then nothing is known about any of them.
        codes: The first words of its error replies, such as "WRONGTYPE".
    """

    def __init__(self, message: str, refused: Iterable[str] = (), codes: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.refused = frozenset(refused)
        self.codes = frozenset(codes)


class Link(Protocol):
    """A connection to a server that speaks Redis: a real one, or a fake one in the same process.

    Attributes:
        where: The server's address without credentials.
    """

    where: str

    def connect(self) -> int:
        """Make sure that there is a live connection.

        Returns:
            The number of connections so far. If it has grown, the server may have lost data.

        Raises:
            StoreError: The server cannot be reached.
        """

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        """Send commands in one pipeline, without a transaction, over the connection that `connect` made.

        Returns:
            The replies, in order.

        Raises:
            StoreError: Some or all replies are missing.
        """

    def nodes(self) -> Sequence[Link]:
        """Return the servers that share the keys, over the connections that `connect` made."""

    def ask(self, verb: str, keys: Sequence[str], arguments: Sequence[str] = ()) -> list[Part] | None:
        """Send the same command for many keys, and return the raw text of all replies, for fast parsing.

        Args:
            verb: A command that only reads.
            keys: The keys; one command is sent for each.
            arguments: The arguments after each key.

        Returns:
            For each server that has some of the keys, its replies as they arrived (RESP2); None if that is
            not possible, and `send` has to be used.

        Raises:
            StoreError: There is no answer.
        """

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""


class _RedisPyConnection(Protocol):
    """The part of redis-py's connections that is used here; they have no type annotations."""

    _sock: socket.socket

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def can_read(self) -> bool: ...
    def send_packed_command(self, command: list[bytes]) -> None: ...
    def read_response(self) -> Reply: ...


class RedisLink:
    """A connection to Redis 5 or newer, Valkey, or another server with the same protocol. For one thread.

    It uses redis-py's connection rather than its client, which retries by itself, sleeps silently in between,
    and does not report that it has reconnected.

    Args:
        url: redis://, rediss:// or unix://, with redis-py's options in the query.

    Attributes:
        where: Host and port, or path.

    Raises:
        Misconfigured: `url` is invalid. The message names REDIS_URL but no part of it, which may be a
            password.
    """

    def __init__(self, url: str) -> None:
        options = read_options(url)
        self.where = options.get("path") or f"{options.get('host', 'localhost')}:{options.get('port', 6379)}"
        self._wire = _wire(options)
        self._connections = 0
        self._is_open = False

    def connect(self) -> int:
        """See `Link.connect`."""
        try:
            if not self.is_alive():
                self.close()
                self._wire.connect()
                self._is_open = True
                self._connections += 1
        except Exception as error:  # noqa: BLE001 - whatever redis-py raises if the server is not Redis
            raise self._failure(error) from None
        return self._connections

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        """See `Link.send`."""
        try:
            return self._exchange(commands)
        except Exception as error:  # noqa: BLE001 - whatever redis-py raises if the server is not Redis
            raise self._failure(error) from None

    def nodes(self) -> Sequence[Link]:
        """See `Link.nodes`."""
        return [self]

    def ask(self, verb: str, keys: Sequence[str], arguments: Sequence[str] = ()) -> list[Part] | None:
        """See `Link.ask`."""
        try:
            self.connect()
            self._wire.send_packed_command([_packed(verb, keys, arguments), _END_WANTED])
            text = self._read_until_end()
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever redis-py raises if the server is not Redis
            raise self._failure(error) from None
        if text is None:
            self.close()
            return None
        return [(list(range(len(keys))), text)]

    def is_alive(self) -> bool:
        """Whether there is a connection that has not been closed, as far as is known."""
        # Anything readable before a command is sent is the end of the stream, or belongs to no command.
        try:
            return self._is_open and not self._wire.can_read()
        except (exceptions.RedisError, OSError):
            return False

    def close(self) -> None:
        """See `Link.close`."""
        self._wire.disconnect()
        self._is_open = False

    def _exchange(self, commands: Sequence[Command]) -> list[Reply]:
        if not self._is_open:
            # redis-py would reconnect, and it would go unnoticed that the server may have lost data.
            raise exceptions.ConnectionError
        self._wire.send_packed_command([b"".join(map(_command, commands))])
        return [self._read() for _ in commands]

    def _read_until_end(self) -> str | None:
        # redis-py returns only parsed replies. Reading its socket directly is safe: every command is answered
        # in full before the next one is sent, so nothing is left in its buffers.
        read = self._wire._sock.recv  # noqa: SLF001
        text = bytearray()
        while piece := read(_PIECE):
            text += piece
            if text.endswith(_END):
                return text[: -len(_END)].decode(errors="replace")
            if _ends_with_refusal(text):
                return None  # the end marker will not come
        raise exceptions.ConnectionError

    def _read(self) -> Reply:
        try:
            return self._wire.read_response()
        except exceptions.ResponseError as error:
            return to_refusal(error)

    def _failure(self, error: Exception) -> StoreError:
        self.close()  # replies still to come would be taken for those of the next command
        return StoreError(f"Redis at {self.where} {explain(error)}")


def _command(words: Command) -> bytes:
    """Return an encoded command; redis-py's encoder would take half of the time of an import."""
    return b"*%d\r\n%b" % (len(words), b"".join(map(_bulk, map(str, words))))


def _packed(verb: str, keys: Sequence[str], arguments: Sequence[str]) -> bytes:
    """Return the encoded command for each of many keys."""
    tail = b"".join(map(_bulk, arguments))
    head = b"*%d\r\n%b" % (2 + len(arguments), _bulk(verb))
    return b"".join([head + _bulk(key) + tail for key in keys])


def _bulk(text: str) -> bytes:
    encoded = text.encode(errors="replace")
    return b"$%d\r\n%b\r\n" % (len(encoded), encoded)


def _ends_with_refusal(text: bytearray) -> bool:
    """Return whether the last line looks like an error reply."""
    before = text.rfind(b"\r\n", 0, -2)
    return text.endswith(b"\r\n") and text.startswith(b"-", 0 if before < 0 else before + 2)


def read_options(url: str) -> dict[str, Any]:
    """Return the parts of a URL as connection options of redis-py, with default timeouts.

    Raises:
        Misconfigured: `url` is invalid.
    """
    options = None
    try:
        if _is_plain(url):
            options = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        pass  # the text of the error, and so its context, could contain a part of the password
    if options is None:
        raise Misconfigured(
            f"REDIS_URL is not the address of a Redis server: it has to look like {URL_FORMS}"
        )
    return {"socket_connect_timeout": CONNECT_TIMEOUT, "socket_timeout": ANSWER_TIMEOUT, **options}


def _is_plain(url: str) -> bool:
    """Return whether no part of a password was parsed as host, port, path or query, and would be sent."""
    parts = urlsplit(url)
    if parts.query:
        parse_qsl(parts.query, strict_parsing=True)
    if parts.scheme == "unix":
        return len(parts.path) > 1 and not parts.fragment
    return not parts.fragment and re.fullmatch(r"(/[0-9]*)?", parts.path) is not None


def _wire(options: dict[str, Any]) -> _RedisPyConnection:
    options = {
        **options,
        "protocol": 2,  # Redis 5 supports no other
        "decode_responses": True,
        "encoding_errors": "replace",  # what other programs wrote need not be UTF-8
    }
    kind = options.pop("connection_class", Connection)
    try:
        return cast("_RedisPyConnection", kind(**options))
    except (TypeError, ValueError, exceptions.RedisError):
        pass  # see above
    raise Misconfigured("REDIS_URL has a query option that redis-py does not know")
