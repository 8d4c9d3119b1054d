"""REDIS_URL parsed: a single server, Sentinels, or a cluster. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

SENTINEL_PORT, REDIS_PORT = 26379, 6379
"""Default ports."""

URL_FORMS = (
    "redis://[user:password@]host[:port][/database], rediss://... for TLS, "
    "unix://[user:password@]/path[?db=database], redis+sentinel://host[:port],host,host/service[/database] "
    "or redis+cluster://host[:port],host,host; a password's / ? # @ are written %2F %3F %23 %40"
)
"""The accepted forms, for error messages."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:@/?#,]+)(?::([0-9]{1,5}))?")
_PATHS = {
    "cluster": re.compile(r"(/0?)?()()", re.ASCII),
    "sentinel": re.compile(r"/([A-Za-z0-9._-]+)(/[0-9]{0,5})?()", re.ASCII),
}


@dataclass(frozen=True, slots=True)
class RedisTopology:
    """The addresses of Sentinels or cluster nodes; any one of them knows the others.

    Attributes:
        kind: "sentinel" or "cluster".
        hosts: Host names or IP addresses, and ports.
        service: The name of the master as the Sentinels know it; "" for a cluster.
        server_url: The redis:// or rediss:// URL of any server, with `%s` in place of its host and port.
    """

    kind: str
    hosts: tuple[tuple[str, int], ...]
    service: str
    server_url: str = field(repr=False)

    def url(self, host: str, port: int) -> str:
        """Return the URL of one server."""
        return self.server_url.replace("%s", f"[{host}]:{port}" if ":" in host else f"{host}:{port}", 1)


def parse_topology(url: str) -> RedisTopology | None:
    """Parse the URL of Sentinels or of a cluster.

    Args:
        url: redis+sentinel://[user:password@]host[:port],host.../service[/database], or
            redis+cluster://[user:password@]host[:port],host...; rediss+... for TLS. Credentials and query
            apply to the Redis servers.

    Returns:
        None for the URL of a single server.

    Raises:
        ValueError: It is malformed.
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
    if host is None or not 0 < int(host[2] or port) < 65536:  # noqa: PLR2004 - the number of ports
        raise ValueError(text)
    return host[1].strip("[]"), int(host[2] or port)
