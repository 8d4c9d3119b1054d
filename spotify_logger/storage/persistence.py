"""How a Redis server keeps its data, from what it reports. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

UNKNOWN = "unknown"
FORGETS = "none: it forgets with its next restart"
SNAPSHOTS = "snapshots"
APPEND_ONLY_FILE = "append-only file"
_WORST_FIRST = (UNKNOWN, FORGETS, SNAPSHOTS, APPEND_ONLY_FILE)


class Persistence(NamedTuple):
    """How a server persists data; of several servers, the worst counts."""

    run: str = ""  # the server's `run_id`, which changes with every start; "" if it does not tell
    words: str = UNKNOWN  # a description for people
    eviction: str = ""  # that plays may be deleted when its memory is full, and what to do; "" if not
    trouble: str = ""  # why plays may be lost nevertheless, and what to do; "" if all is well


def read_persistence(replies: Iterable[Sequence[object]]) -> Persistence:
    """Read what each server replied to `INFO` and `CONFIG GET save`; either may have been refused."""
    known = [[reply if isinstance(reply, dict) else {} for reply in server] for server in replies]
    infos = [info for info, _ in known]
    return Persistence(
        run=" ".join(sorted(str(info.get("run_id", "")) for info in infos)),
        words=min((_words(info, save) for info, save in known), key=_WORST_FIRST.index),
        eviction=next(filter(None, map(_eviction, infos)), ""),
        trouble=next(filter(None, map(_trouble, infos)), ""),
    )


def _words(info: Mapping[str, object], save: Mapping[str, object]) -> str:
    if info.get("aof_enabled") == 1:
        return APPEND_ONLY_FILE
    if "save" not in save:
        return UNKNOWN
    return SNAPSHOTS if str(save["save"]).strip() else FORGETS


def _eviction(info: Mapping[str, object]) -> str:
    policy = str(info.get("maxmemory_policy", ""))
    if info.get("maxmemory") and policy.startswith("allkeys-"):
        return (
            f"this Redis deletes plays when its memory is full (maxmemory-policy {policy}): set "
            "`maxmemory-policy noeviction`"
        )
    return ""


def _trouble(info: Mapping[str, object]) -> str:
    if info.get("aof_enabled") == 1 and info.get("aof_last_write_status", "ok") != "ok":
        return "this Redis cannot write its append-only file: check its disk and its log"
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        return "this Redis cannot save its snapshots: check its disk and its log"
    return _eviction(info)
