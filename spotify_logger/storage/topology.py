"""Opens redis-py's clients for Sentinels and clusters."""

from collections.abc import Mapping
from typing import Any

from redis.cluster import ClusterNode, RedisCluster
from redis.sentinel import Sentinel

from spotify_logger.config.topology import RedisTopology
from spotify_logger.storage.client import SENTINEL_ONLY


def open_topology(topology: RedisTopology, server_options: Mapping[str, Any]) -> Any:  # noqa: ANN401 - redis-py's clients have no common type
    """Return a client for the master of Sentinels or for a cluster, with the options for one server."""
    options = {name: value for name, value in server_options.items() if name not in {"host", "port"}}
    options["ssl"] = options.pop("connection_class", None) is not None
    own = {name.partition("_")[2]: options.pop(name) for name in SENTINEL_ONLY & options.keys()}
    if topology.kind == "sentinel":
        of_server = {"db", "username", "password", "redis_connect_func"}
        shared = {name: value for name, value in options.items() if name not in of_server}
        sentinel = Sentinel(topology.hosts, sentinel_kwargs=shared | own)  # type: ignore[no-untyped-call]
        return sentinel.master_for(topology.service, **options)  # type: ignore[no-untyped-call]
    options.pop("db", None)
    nodes = [ClusterNode(host, port) for host, port in topology.hosts]  # type: ignore[no-untyped-call]
    return RedisCluster(startup_nodes=nodes, reinitialize_steps=1, **options)
