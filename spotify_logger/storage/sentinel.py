"""The link to the current master of a service, which the Sentinels report."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from spotify_logger.storage.connection import RedisLink, StoreError, read_options
from spotify_logger.storage.redis_errors import Refusal, explain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.config.redis_url import RedisTopology
    from spotify_logger.storage.connection import Command, Link, Part, Reply

REPLACED = frozenset({"READONLY", "MASTERDOWN"})
"""Error codes of a server that is no longer the master."""


_SERVERS_OWN = frozenset({"host", "port", "db", "username", "password"})
_FOR_SENTINELS = frozenset({"sentinel_username", "sentinel_password"})


class SentinelLink:
    """A connection to the master of a service. For one thread.

    For every new connection, the Sentinels are asked for the master, and that server for its role.

    Args:
        topology: The Sentinels. In the query of the URL, `sentinel_username` and `sentinel_password` are for
            them only; TLS options are for both, and all others for the server.

    Attributes:
        where: The service, and the server's host and port once it is known.

    Raises:
        Misconfigured: The query of the URL has an option that redis-py does not know.
    """

    def __init__(self, topology: RedisTopology) -> None:
        self._service = topology.service
        self.where = f"{topology.service} (Sentinel)"
        self._topology, credentials = _apart(topology)
        some_url = self._topology.url(*topology.hosts[0])
        RedisLink(some_url)  # checks the options
        options = {name: value for name, value in read_options(some_url).items() if name not in _SERVERS_OWN}
        if options.pop("connection_class", None) is not None:
            options["ssl"] = True
        # One attempt: the caller decides when to retry, and nothing sleeps silently.
        options |= credentials | {"retry": Retry(NoBackoff(), 0), "decode_responses": True}
        self._sentinel: Any = Sentinel(topology.hosts, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        self._link: RedisLink | None = None
        self._connections = 0

    def connect(self) -> int:
        """See `Link.connect`."""
        if self._link is None or not self._link.is_alive():
            self.close()
            self._link = self._master()
            self._connections += 1
        return self._connections

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        """See `Link.send`."""
        replies = self._connected().send(commands)
        if any(isinstance(reply, Refusal) and reply.code in REPLACED for reply in replies):
            self.close()  # the next connection goes to its successor
        return replies

    def nodes(self) -> Sequence[Link]:
        """See `Link.nodes`."""
        return [self]

    def ask(self, verb: str, keys: Sequence[str], arguments: Sequence[str] = ()) -> list[Part] | None:
        """See `Link.ask`."""
        self.connect()
        return self._connected().ask(verb, keys, arguments)

    def close(self) -> None:
        """See `Link.close`."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _connected(self) -> RedisLink:
        if self._link is None:
            raise StoreError(f"Redis at {self.where} closed the connection: it is being replaced")
        return self._link

    def _master(self) -> RedisLink:
        try:
            host, port = self._sentinel.discover_master(self._service)
        except MasterNotFoundError:
            raise StoreError(
                f"none of {len(self._topology.hosts)} Sentinels knows a master called {self._service} "
                "that is up: check the name and the addresses in REDIS_URL, if it is not just being replaced"
            ) from None
        except Exception as error:  # noqa: BLE001 - whatever redis-py raises if the server is not a Sentinel
            raise StoreError(f"the Sentinels of {self._service}: one {explain(error)}") from None
        link = RedisLink(self._topology.url(host, port))
        link.connect()
        (role,) = link.send([("ROLE",)])
        if isinstance(role, list) and role[:1] != ["master"]:
            link.close()
            raise StoreError(f"Redis at {link.where} is not the master yet: it is being replaced")
        self.where = f"{self._service} (Sentinel), now {link.where}"
        return link


def _apart(topology: RedisTopology) -> tuple[RedisTopology, dict[str, str]]:
    """Split the options for the Sentinels off the topology, and return both."""
    parts = urlsplit(topology.server_url)
    query = parse_qsl(parts.query)
    own = {name.removeprefix("sentinel_"): value for name, value in query if name in _FOR_SENTINELS}
    rest = urlencode([(name, value) for name, value in query if name not in _FOR_SENTINELS])
    return replace(topology, server_url=urlunsplit(parts._replace(query=rest))), own
