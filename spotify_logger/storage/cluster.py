"""The link to a cluster: every key is on one of its masters, and may move to another one at any time.

redis-py's cluster client takes connections from a pool and retries by itself, so the connection of a write is
unknown; but `WAIT` and `WAITAOF` only cover their own connection. So each master has a `RedisLink` here. The
cluster reports which keys it has, and a command sent to the wrong master, which does not execute it, is
resent.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from redis.crc import key_slot

from spotify_logger.storage.connection import RedisLink, StoreError
from spotify_logger.storage.redis_errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spotify_logger.config.redis_url import RedisTopology
    from spotify_logger.storage.connection import Command, Link, Part, Reply

    Address = tuple[str, int]

SLOTS = 16384
"""Hash slots of a cluster (redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec)."""
REDIRECTIONS = 8
"""Redirections that are followed before giving up."""
KEYLESS = frozenset({"INFO"})
"""Commands without a key that any master can answer; callers that need all masters use `nodes`."""


class ClusterLink:
    """Connections to all masters of a Redis Cluster. For one thread.

    Args:
        topology: The addresses of some nodes; any of them knows all others.

    Attributes:
        where: The address of one node, for people.

    Raises:
        Misconfigured: The query of the URL has an option that redis-py does not know.
    """

    def __init__(self, topology: RedisTopology) -> None:
        self._topology = topology
        self.where = ",".join(f"{host}:{port}" for host, port in topology.hosts) + " (cluster)"
        self._links: dict[Address, RedisLink] = {}
        self._starts: list[int] = []
        self._owners: list[Address] = []
        self._known: dict[Address, tuple[RedisLink, int]] = {}
        self._connections = 0
        RedisLink(topology.url(*topology.hosts[0]))  # checks the options

    def connect(self) -> int:
        """See `Link.connect`."""
        try:
            if not self._owners:
                self._learn()
            known = {address: self._counted(address) for address in self._owners}
        except StoreError:
            self._owners = []  # another node may have its keys by now
            raise
        if known != self._known:
            self._known = known
            self._connections += 1
        return self._connections

    def send(self, commands: Sequence[Command]) -> list[Reply]:
        """See `Link.send`."""
        replies: list[Reply] = [None] * len(commands)
        waiting = {place: (self._owner(_key(command)), False) for place, command in enumerate(commands)}
        for _ in range(REDIRECTIONS):
            waiting = self._send(commands, waiting, replies)
            if not waiting:
                return replies
        raise StoreError(
            f"Redis at {self.where} keeps redirecting: the nodes of the cluster do not agree yet"
        )

    def nodes(self) -> Sequence[Link]:
        """See `Link.nodes`."""
        return [self._links[address] for address in self._known]

    def ask(self, verb: str, keys: Sequence[str], arguments: Sequence[str] = ()) -> list[Part] | None:
        """See `Link.ask`."""
        self.connect()
        positions: dict[Address, list[int]] = {}
        for position, key in enumerate(keys):
            positions.setdefault(self._owner(key), []).append(position)
        parts: list[Part] = []
        for address, which in positions.items():
            found = self._link(address).ask(verb, [keys[position] for position in which], arguments)
            if found is None:
                return None
            parts += [(which, text) for _, text in found]
        return parts

    def close(self) -> None:
        """See `Link.close`."""
        for link in self._links.values():
            link.close()
        self._owners = []

    def _send(
        self, commands: Sequence[Command], waiting: dict[int, tuple[Address, bool]], replies: list[Reply]
    ) -> dict[int, tuple[Address, bool]]:
        """Send commands to their nodes, and note the replies.

        Returns:
            The commands to send to another node, and whether each needs an `ASKING` before it, because the
            slot of the key is being moved there.
        """
        elsewhere: dict[int, tuple[Address, bool]] = {}
        for address, asking in dict.fromkeys(waiting.values()):
            positions = [position for position, where in waiting.items() if where == (address, asking)]
            sent = [commands[position] for position in positions]
            received = self._link(address).send(_asking(sent) if asking else sent)
            for position, reply in zip(positions, received[1::2] if asking else received, strict=True):
                replies[position] = reply
                if isinstance(reply, Refusal) and reply.elsewhere is not None:
                    host, port = reply.elsewhere
                    elsewhere[position] = (host or address[0], port), reply.code == "ASK"
        if not all(asking for _, asking in elsewhere.values()):
            self._learn()  # the slot has moved permanently
        return elsewhere

    def _owner(self, key: str | None) -> Address:
        """Return the node that has a key; any node for None."""
        if not self._owners:
            raise StoreError(f"Redis at {self.where} closed the connection: it may be restarting")
        slot = 0 if key is None else key_slot(key.encode(errors="replace"))
        return self._owners[bisect_right(self._starts, slot) - 1]

    def _link(self, address: Address) -> RedisLink:
        if address not in self._links:
            link = RedisLink(self._topology.url(*address))
            link.connect()
            self._links[address] = link
        return self._links[address]

    def _counted(self, address: Address) -> tuple[RedisLink, int]:
        """Return a connected link to a node, and the number of its connections so far."""
        link = self._link(address)
        return link, link.connect()

    def _learn(self) -> None:
        """Read the slots from one node after the other, until one answers."""
        complaint = StoreError("")
        for address in dict.fromkeys([*self._known, *self._topology.hosts]):
            try:
                self._read_slots(address)
            except StoreError as error:
                complaint = error
            else:
                return
        raise complaint

    def _read_slots(self, address: Address) -> None:
        link, _ = self._counted(address)
        (reply,) = link.send([("CLUSTER", "SLOTS")])
        if isinstance(reply, Refusal):
            no_cluster = "cluster support disabled" in reply.advice
            advice = "is not a cluster node: write redis:// in REDIS_URL" if no_cluster else reply.advice
            raise StoreError(f"Redis at {link.where} {advice}", codes=[reply.code])
        ranges = sorted((first, last, (node[0] or address[0], node[1])) for first, last, node, *_ in reply)
        served = sum(last - first + 1 for first, last, _ in ranges)
        if served != SLOTS:
            raise StoreError(
                f"Redis at {self.where} is an incomplete cluster: {SLOTS - served} of its {SLOTS} slots"
                " have no server"
            )
        self._starts = [first for first, _, _ in ranges]
        self._owners = [owner for _, _, owner in ranges]
        for left in self._links.keys() - set(self._owners):
            self._links.pop(left).close()


def _key(command: Command) -> str | None:
    """Return the key of a command; all of ours have one or none."""
    if command[0] in KEYLESS:
        return None
    return str(command[3] if command[0] == "EVAL" else command[1])


def _asking(commands: Iterable[Command]) -> list[Command]:
    return [word for command in commands for word in (("ASKING",), command)]
