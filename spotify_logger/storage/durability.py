"""Decide when Redis has saved what was written, from what it reports about its persistence. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SYNC_SECONDS = 2.0
"""Seconds after which a server that syncs every second has done so, if it reports no error."""
ONE_DAY = 86_400.0
"""Seconds for which plays are kept for a Redis that saves nothing: time for the user to notice and fix it."""


@dataclass(frozen=True, slots=True)
class Persistence:
    """How a server persists data.

    Attributes:
        run: The run ID of the server; "" if unknown.
        aof: Whether it has an append-only file.
        aof_ok: Whether its last write to that file succeeded.
        saved_before: The second, by the server's clock, before which everything is in its last snapshot.
        saves: Whether it makes snapshots; None if unknown.
    """

    run: str = ""
    aof: bool = False
    aof_ok: bool = False
    saved_before: int = 0
    saves: bool | None = None

    @property
    def words(self) -> str:
        """A short description for people."""
        if self.aof:
            return "append-only file"
        if self.saves is None:
            return "unknown"
        return "snapshots" if self.saves else "none: it forgets with its next restart"


def read_persistence(server: object, persistence: object, save: object) -> Persistence:
    """Read the replies to `INFO server`, `INFO persistence` and `CONFIG GET save`.

    A snapshot contains what was written before it was started; `rdb_last_save_time` is when it was finished.
    """
    said = _fields(server) | _fields(persistence)
    ready, took = _number(said.get("rdb_last_save_time")), _number(said.get("rdb_last_bgsave_time_sec"))
    went_well = said.get("rdb_last_bgsave_status", "ok") == "ok"
    known = isinstance(save, list) and len(save) == 2  # noqa: PLR2004 - name and value
    return Persistence(
        run=said.get("run_id", ""),
        aof=said.get("aof_enabled") == "1",
        aof_ok=said.get("aof_last_write_status", "ok") == "ok",
        saved_before=max(0, ready - took - 1) if went_well else 0,
        saves=bool(str(save[1]).strip()) if known and isinstance(save, list) else None,
    )


def combine(servers: Sequence[Persistence]) -> Persistence:
    """Combine the persistence of several servers: as good as the worst of them."""
    saves = {server.saves for server in servers}
    return Persistence(
        run=" ".join(sorted(server.run for server in servers)),
        aof=all(server.aof for server in servers),
        aof_ok=all(server.aof_ok for server in servers),
        saved_before=min(server.saved_before for server in servers),
        saves=None if None in saves else False not in saves,
    )


def count_replicas(replication: object) -> int:
    """Return the number of replicas from a reply to `INFO replication`; 0 if unknown."""
    return _number(_fields(replication).get("connected_slaves"))


def _fields(reply: object) -> dict[str, str]:
    lines = str(reply).splitlines() if isinstance(reply, str) else []
    return dict(line.partition(":")[::2] for line in lines if ":" in line)


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else 0  # noqa: PLR2004 - digits of a time


@dataclass(frozen=True, slots=True)
class Receipt:
    """When Redis accepted a write, by our monotonic clock and by the server's in whole seconds."""

    at: float
    server_second: int


class Receipts:
    """The writes that Redis has accepted over the current connection, and not yet saved."""

    def __init__(self) -> None:
        self._receipts: dict[str, Receipt] = {}

    def __len__(self) -> int:
        return len(self._receipts)

    def keys(self) -> set[str]:
        """Return the keys of these writes."""
        return set(self._receipts)

    def add(self, key: str, receipt: Receipt) -> None:
        """Note that Redis has accepted a write to a key."""
        self._receipts[key] = receipt

    def discard(self, key: str) -> None:
        """Drop the receipt of a key that has changed."""
        self._receipts.pop(key, None)

    def clear(self) -> None:
        """Drop all receipts, because the connection broke: the server may have lost data."""
        self._receipts.clear()

    def pop_saved(
        self, persistence: Persistence, now: float, *, synced: bool | None, replicated: bool
    ) -> list[str]:
        """Remove the receipts of writes that are saved by now, and return their keys.

        Args:
            persistence: The latest report of the server.
            now: Seconds of the monotonic clock.
            synced: The result of `WAITAOF`; None if it is not available.
            replicated: Whether all replicas have the writes; a replica without them could be promoted.
        """
        safe = [
            key
            for key, receipt in self._receipts.items()
            if _is_safe(receipt, persistence, now, synced=synced, replicated=replicated)
        ]
        for key in safe:
            del self._receipts[key]
        return safe


def _is_safe(
    receipt: Receipt, persistence: Persistence, now: float, *, synced: bool | None, replicated: bool
) -> bool:
    age = now - receipt.at
    if not replicated:
        return age >= ONE_DAY  # a replica may hang forever
    if persistence.aof and synced is not None:
        return synced or age >= ONE_DAY  # with `appendfsync no` it never confirms
    if persistence.aof:
        return persistence.aof_ok and age >= SYNC_SECONDS
    if 0 < receipt.server_second < persistence.saved_before:
        return True
    return persistence.saves is False and age >= ONE_DAY
