"""How a Redis server keeps its data, from what it reports. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Persistence:
    """How a server persists data.

    Attributes:
        run: The server's `run_id`, which changes with every start; "" if it does not tell.
        aof: Whether it keeps an append-only file.
        saves: Whether it makes snapshots; None if it does not tell.
        eviction: That plays may be deleted when its memory is full, and what to do; "" if not.
        trouble: Why plays may be lost nevertheless, and what to do; "" if all is well.
    """

    run: str = ""
    aof: bool = False
    saves: bool | None = None
    eviction: str = ""
    trouble: str = ""

    @property
    def words(self) -> str:
        """A description for people."""
        if self.aof:
            return "append-only file"
        if self.saves is None:
            return "unknown"
        return "snapshots" if self.saves else "none: it forgets with its next restart"


def read_persistence(info: object, save: object) -> Persistence:
    """Read the replies to `INFO` and `CONFIG GET save`, either of which may have been refused."""
    known = info if isinstance(info, dict) else {}
    setting = save.get("save") if isinstance(save, dict) else None
    return Persistence(
        run=str(known.get("run_id", "")),
        aof=known.get("aof_enabled") == 1,
        saves=None if setting is None else bool(str(setting).strip()),
        eviction=_eviction(known),
        trouble=_eviction(known) or _trouble(known),
    )


def combine(servers: Sequence[Persistence]) -> Persistence:
    """Combine the persistence of several servers: as good as the worst of them."""
    saves = {server.saves for server in servers}
    return Persistence(
        run=" ".join(sorted(server.run for server in servers)),
        aof=all(server.aof for server in servers),
        saves=None if None in saves else False not in saves,
        eviction=next((server.eviction for server in servers if server.eviction), ""),
        trouble=next((server.trouble for server in servers if server.trouble), ""),
    )


def _eviction(info: dict[str, object]) -> str:
    policy = str(info.get("maxmemory_policy", ""))
    if info.get("maxmemory") and policy.startswith("allkeys-"):
        return (
            f"this Redis deletes plays when its memory is full (maxmemory-policy {policy}): set "
            "`maxmemory-policy noeviction`"
        )
    return ""


def _trouble(info: dict[str, object]) -> str:
    if info.get("aof_enabled") == 1 and info.get("aof_last_write_status", "ok") != "ok":
        return "this Redis cannot write its append-only file: check its disk and its log"
    if info.get("rdb_last_bgsave_status", "ok") != "ok":
        return "this Redis cannot save its snapshots: check its disk and its log"
    return ""
