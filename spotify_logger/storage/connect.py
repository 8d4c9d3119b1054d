"""Open the link for a REDIS_URL: to one server, a server that Sentinels name, or a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spotify_logger.config.redis_url import URL_FORMS, parse_topology
from spotify_logger.storage.cluster import ClusterLink
from spotify_logger.storage.connection import RedisLink
from spotify_logger.storage.sentinel import SentinelLink
from spotify_logger.system.errors import Misconfigured

if TYPE_CHECKING:
    from spotify_logger.storage.connection import Link


def open_link(url: str) -> Link:
    """Return a link for a URL, without connecting yet.

    Args:
        url: REDIS_URL, in one of the `URL_FORMS`.

    Raises:
        Misconfigured: `url` is invalid. The message names REDIS_URL but no part of it, which may be a
            password.
    """
    topology, is_address = None, True
    try:
        topology = parse_topology(url)
    except ValueError:
        is_address = False  # raised below, where the error has no context that could contain a password
    if not is_address:
        raise Misconfigured(
            f"REDIS_URL is not the address of a Redis server: it has to look like {URL_FORMS}"
        )
    if topology is None:
        return RedisLink(url)
    if topology.kind == "cluster":
        return ClusterLink(topology)
    return SentinelLink(topology)
