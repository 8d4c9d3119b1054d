"""Writes plays and the status of the logger, as the logger does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from spotify_logger.core.times import to_iso
from tests.indexed_log import CatalogItem

if TYPE_CHECKING:
    from spotify_logger.storage.bulk import Archive

QUO = CatalogItem("track:quo", "Veridis Quo", ["Daft Punk"], "Discovery", "d", "GBDUW0000061")


def write_play(
    store: Archive, item: CatalogItem = QUO, second: int | None = None, *, end: str = "open", **more: object
) -> int:
    """Write a play of a minute and its item; the play goes on unless `end` says why it ended.

    Returns:
        Its second: a minute ago if none is given.
    """
    second = int(time.time()) - 60 if second is None else second
    kind, _, identity = item.key.partition(":")
    fields: dict[str, Any] = {
        "id": identity,
        "type": kind,
        "uri": f"spotify:{item.key}",
        "name": item.name,
        "artists": ", ".join(item.artists),
        "album": item.album,
        "duration_ms": 345_000,
        "progress_ms": 60_000,
        "playing": 1,
        "device_name": "Kitchen",
        "started_at": to_iso(second * 1000),
        "ended_at": to_iso((second + 60) * 1000),
        "ms_played": 60_000,
        "source": "live",
        **({} if end == "open" else {"end_reason": end}),
        **more,
    }
    with store.batch() as batch:
        batch.write_play(second, fields, f"{item.key} {fields['ms_played']} {end}")
        batch.write_hash(item.key, dict(item.fields))
        if end == "open":
            batch.set_now_playing(second, 600)
    return second


def write_status(store: Archive, ago: float = 0.0, next_in: float = 60.0, **more: str | int) -> None:
    """Report that the logger polled so many seconds ago, and was to do so again after `next_in` seconds."""
    polled = time.time() - ago
    times = {"last_poll": polled, "next_poll": polled + next_in}
    with store.batch() as batch:
        batch.write_status({**{name: to_iso(round(at * 1000)) for name, at in times.items()}, **more})
