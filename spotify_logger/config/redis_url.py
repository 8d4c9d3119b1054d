"""REDIS_URL parsed: a single server, Sentinels, or a cluster. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

SENTINEL_PORT, REDIS_PORT = 26379, 6379

URL_FORMS = (
    "redis://[user:password@]host[:port][/database], rediss://... for TLS, "
    "unix://[user:password@]/path[?db=database], redis+sentinel://host[:port],host,host/service[/database] "
    "or redis+cluster://host[:port],host,host; a password's / ? # @ are written %2F %3F %23 %40"
)
"""The accepted forms, for error messages."""


@dataclass(frozen=True, slots=True)
class RedisTopology:
    """The addresses of Sentinels or cluster nodes; any one of them knows the others."""

    kind: str  # "sentinel" or "cluster"
    hosts: tuple[tuple[str, int], ...]  # host names or IP addresses, and ports
    service: str  # the name of the master as the Sentinels know it; "" for a cluster
    server_url: str = field(repr=False)  # of any server, with `%s` in place of its host and port

    def url(self, host: str, port: int) -> str:
        """Return the URL of one server."""
        return self.server_url.replace("%s", f"[{host}]:{port}" if ":" in host else f"{host}:{port}", 1)


def parse_topology(url: str) -> RedisTopology | None:
    """Parse the URL of Sentinels or of a cluster, see `URL_FORMS`; None for the URL of a single server.

    Credentials and query apply to the Redis servers. Raises ValueError if the URL is malformed.
    """
    parts = urlsplit(url)
    scheme, plus, kind = parts.scheme.partition("+")
    if not plus:
        return None
    pattern = r"/([A-Za-z0-9._-]+)(/[0-9]{0,5})?" if kind == "sentinel" else r"()(/0?)?"
    credentials, at, hosts = parts.netloc.rpartition("@")
    path = re.fullmatch(pattern, parts.path)
    is_known = scheme in {"redis", "rediss"} and kind in {"sentinel", "cluster"}
    if not is_known or path is None or parts.fragment or "%s" in credentials:
        raise ValueError(kind)
    default_port = SENTINEL_PORT if kind == "sentinel" else REDIS_PORT
    query = f"?{parts.query}" if parts.query else ""
    return RedisTopology(
        kind,
        tuple(_host(host, default_port) for host in hosts.split(",")),
        path[1],
        f"{scheme}://{credentials}{at}%s{path[2] or ''}{query}",
    )


def _host(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname or parts.port == 0 or text.endswith(":"):
        raise ValueError(text)
    return parts.hostname, parts.port or default_port
