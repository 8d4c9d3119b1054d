"""The addresses of Redis Sentinels, or of the nodes of a cluster, in a URL."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

SENTINEL_PORT, REDIS_PORT = 26379, 6379


@dataclass(frozen=True, slots=True)
class RedisTopology:
    """The addresses of Sentinels or cluster nodes; any one of them knows the others."""

    kind: str  # "sentinel" or "cluster"
    hosts: tuple[tuple[str, int], ...]  # host names or IP addresses, and ports
    service: str  # the name of the master as the Sentinels know it; "" for a cluster
    server_url: str = field(repr=False)  # as if the first host were a single server

    def __str__(self) -> str:
        if self.kind == "sentinel":
            return f"{self.service} (Sentinel)"
        return ",".join(f"{host}:{port}" for host, port in self.hosts) + " (cluster)"


def parse(url: str) -> RedisTopology:
    """Parse the URL of Sentinels or of a cluster, redis+KIND://...; may raise ValueError."""
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    path = re.fullmatch(r"/([\w.-]+)(/\d{0,5})?" if kind == "sentinel" else r"()(/0?)?", parts.path, re.ASCII)
    is_known = scheme in {"redis", "rediss"} and kind in {"sentinel", "cluster"}
    if not is_known or path is None or parts.fragment:
        raise ValueError(kind)
    credentials, at, netloc = parts.netloc.rpartition("@")
    hosts, default_port = netloc.split(","), SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
    server = parts._replace(scheme=scheme, netloc=f"{credentials}{at}{hosts[0]}", path=path[2] or "")
    return RedisTopology(kind, tuple(_host(host, default_port) for host in hosts), path[1], server.geturl())


def _host(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port == 0 or text.endswith(":"):
        raise ValueError(text)
    return parts.hostname, parts.port or default_port
