"""What REDIS_URL says: one server, the Sentinels that know where it is, or a cluster. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

SENTINEL_PORT, REDIS_PORT = 26379, 6379
"""Where each listens unless told otherwise."""

URL_FORMS = (
    "redis://[user:password@]host[:port][/database], rediss://... for TLS, "
    "unix://[user:password@]/path[?db=database], redis+sentinel://host[:port],host,host/service[/database] "
    "or redis+cluster://host[:port],host,host; a password's / ? # @ are written %2F %3F %23 %40"
)
"""What it has to look like, for people."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:@/?#,]+)(?::([0-9]{1,5}))?")
_PATHS = {
    "cluster": re.compile(r"(/0?)?()()", re.ASCII),
    "sentinel": re.compile(r"/([A-Za-z0-9._-]+)(/[0-9]{0,5})?()", re.ASCII),
}


@dataclass(frozen=True, slots=True)
class RedisTopology:
    """Several servers, of which any one tells where the others are.

    Attributes:
        kind: "sentinel" or "cluster".
        hosts: Names or addresses, and ports.
        service: What the Sentinels call the server; "" for a cluster.
        server_url: The address of any server, redis:// or rediss://, without its host: where `%s` stands it
            has to be put.
    """

    kind: str
    hosts: tuple[tuple[str, int], ...]
    service: str
    server_url: str = field(repr=False)

    def url(self, host: str, port: int) -> str:
        """The address of one server."""
        return self.server_url.replace("%s", f"[{host}]:{port}" if ":" in host else f"{host}:{port}", 1)


def parse_topology(url: str) -> RedisTopology | None:
    """Take the address of Sentinels, or of a cluster, apart.

    Args:
        url: redis+sentinel://[user:password@]host[:port],host.../service[/database], or
            redis+cluster://[user:password@]host[:port],host...; rediss+... for TLS. What is put before the
            hosts and into the query is for the servers.

    Returns:
        None for the address of one server.

    Raises:
        ValueError: It is neither.
    """
    parts = urlsplit(url)
    scheme, plus, kind = parts.scheme.partition("+")
    if not plus:
        return None
    credentials, at, hosts = parts.netloc.rpartition("@")
    path = _PATHS[kind].fullmatch(parts.path) if kind in _PATHS else None
    if scheme not in {"redis", "rediss"} or path is None or parts.fragment or "%s" in credentials:
        raise ValueError(kind)
    service, database = path.group(1, 2) if kind == "sentinel" else ("", "")
    query = f"?{parts.query}" if parts.query else ""
    return RedisTopology(
        kind,
        tuple(_host(host, SENTINEL_PORT if kind == "sentinel" else REDIS_PORT) for host in hosts.split(",")),
        service,
        f"{scheme}://{credentials}{at}%s{database or ''}{query}",
    )


def _host(text: str, port: int) -> tuple[str, int]:
    host = _HOST.fullmatch(text)
    if host is None or not 0 < int(host[2] or port) < 65536:  # noqa: PLR2004 - there are so many ports
        raise ValueError(text)
    return host[1].strip("[]"), int(host[2] or port)
