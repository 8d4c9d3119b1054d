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
"""Seconds for a connection to come about; `?socket_connect_timeout=` in the URL says otherwise."""
ANSWER_TIMEOUT = 5.0
"""Seconds in which the next piece of an answer has to come; `?socket_timeout=` in the URL says otherwise."""

_PIECE = 1 << 18
"""Bytes that are read from a socket at once."""
_END_WORD = secrets.token_hex(16)
_END_WANTED = b"*2\r\n$4\r\nPING\r\n$32\r\n%b\r\n" % _END_WORD.encode()
_END = b"$32\r\n%b\r\n" % _END_WORD.encode()
"""What is said to be the end of many replies: no other reply can hold a word that nobody knows."""

Command = tuple[str | int, ...]
"""A Redis command and its arguments."""
Reply = Any
"""What Redis answers: str, int, None, a list of these, or a `Refusal`."""
Part = tuple[list[int], str]
"""What one server answers to the same question about many keys: the places of those that it has among all of
them, and the text of its replies, in that order."""


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


class Link(Protocol):
    """A connection to a server that speaks Redis: a real one, or a stand-in in the same process.

    Attributes:
        where: The server's address without credentials.
    """

    where: str

    def connect(self) -> int:
        """Make sure that there is a live connection.

        Returns:
            How many there have been. When there are more than before, the server may have forgotten things.

        Raises:
            StoreError: There is none to be had.
        """

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        """Send the commands in one go, outside of any transaction, over the connection that `connect` made.

        Returns:
            A reply to each, in order.

        Raises:
            StoreError: Some or all replies are missing.
        """

    def nodes(self) -> Sequence[Link]:
        """The servers that hold the keys between them, over the connections that `connect` made."""

    def ask(self, verb: str, keys: Sequence[str], arguments: Sequence[str] = ()) -> list[Part] | None:
        """Ask the same of many keys, and give the text of all replies as it is, to be taken apart at once.

        Args:
            verb: A command that only reads.
            keys: Each is asked for with it.
            arguments: What follows on the key, every time.

        Returns:
            For each server that has some of the keys, its replies in the words of the protocol (RESP2); None
            where they cannot be had in this way, and `send` has to be used.

        Raises:
            StoreError: There is no answer.
        """

    def close(self) -> None:
        """Close the connection; the next use opens a new one."""


class _RedisPyConnection(Protocol):
    """What is used of redis-py's connections, which have no types of their own."""

    _sock: socket.socket

    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def can_read(self) -> bool: ...
    def send_packed_command(self, command: list[bytes]) -> None: ...
    def read_response(self) -> Reply: ...


class RedisLink:
    """A connection to Redis 5 or newer, to Valkey, or to what speaks the same. For one thread.

    It is made of redis-py's connection and not of its client, which tries again by itself, sleeps silently in
    between, and does not tell that the server behind it is a new one.

    Args:
        url: redis://, rediss:// or unix://, with redis-py's options in the query.

    Attributes:
        where: Host and port, or path.

    Raises:
        Misconfigured: `url` is none. The message names REDIS_URL and no part of it: it may hold a password.
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
        except Exception as error:  # noqa: BLE001 - whatever redis-py makes of a server that may be no Redis
            raise self._failure(error) from None
        return self._connections

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        """See `Link.send`."""
        try:
            return self._exchange(commands)
        except Exception as error:  # noqa: BLE001 - whatever redis-py makes of a server that may be no Redis
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
        except Exception as error:  # noqa: BLE001 - whatever redis-py makes of a server that may be no Redis
            raise self._failure(error) from None
        if text is None:
            self.close()
            return None
        return [(list(range(len(keys))), text)]

    def is_alive(self) -> bool:
        """Whether there is a connection, and nothing to be seen of its end."""
        # What can be read before anything was asked is the end of the stream, or belongs to no question.
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
            # redis-py would make a new connection, and nobody would know that the server may be another.
            raise exceptions.ConnectionError
        self._wire.send_packed_command([b"".join(map(_command, commands))])
        return [self._read() for _ in commands]

    def _read_until_end(self) -> str | None:
        # redis-py hands out objects only. What is read here has nothing of it in its buffers, for every
        # question is answered in full before the next one is asked.
        read = self._wire._sock.recv  # noqa: SLF001
        text = bytearray()
        while piece := read(_PIECE):
            text += piece
            if text.endswith(_END):
                return text[: -len(_END)].decode(errors="replace")
            if _ends_with_refusal(text):
                return None  # the end will not come
        raise exceptions.ConnectionError

    def _read(self) -> Reply:
        try:
            return self._wire.read_response()
        except exceptions.ResponseError as error:
            return to_refusal(error)

    def _failure(self, error: Exception) -> StoreError:
        self.close()  # answers still to come would be taken for those to the next question
        return StoreError(f"Redis at {self.where} {explain(error)}")


def _command(words: Command) -> bytes:
    """A command in the words of the protocol; the packing of redis-py takes half of the time of an import."""
    return b"*%d\r\n%b" % (len(words), b"".join(map(_bulk, map(str, words))))


def _packed(verb: str, keys: Sequence[str], arguments: Sequence[str]) -> bytes:
    """The same command for many keys, in the words of the protocol."""
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
    """The parts of a URL, as redis-py names them, and how patient a connection is.

    Raises:
        Misconfigured: `url` is none.
    """
    options = None
    try:
        if _is_plain(url):
            options = parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        pass  # its words, and so the error's context, could hold a part of the password
    if options is None:
        raise Misconfigured(
            f"REDIS_URL is not the address of a Redis server: it has to look like {URL_FORMS}"
        )
    return {"socket_connect_timeout": CONNECT_TIMEOUT, "socket_timeout": ANSWER_TIMEOUT, **options}


def _is_plain(url: str) -> bool:
    """Whether no part of a password was taken for host, port, path or query; redis-py would just go there."""
    parts = urlsplit(url)
    if parts.query:
        parse_qsl(parts.query, strict_parsing=True)
    if parts.scheme == "unix":
        return len(parts.path) > 1 and not parts.fragment
    return not parts.fragment and re.fullmatch(r"(/[0-9]*)?", parts.path) is not None


def _wire(options: dict[str, Any]) -> _RedisPyConnection:
    options = {
        **options,
        "protocol": 2,  # Redis 5 knows no other
        "decode_responses": True,
        "encoding_errors": "replace",  # what others wrote need not be UTF-8
    }
    kind = options.pop("connection_class", Connection)
    try:
        return cast("_RedisPyConnection", kind(**options))
    except (TypeError, ValueError, exceptions.RedisError):
        pass  # see above
    raise Misconfigured("REDIS_URL has a query option that redis-py does not know")
