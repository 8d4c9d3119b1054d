"""Writes plays and the status of the logger, as the logger does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from spotify_logger.core.periods import Zone
from spotify_logger.core.play import SKIPPED, TRACKDONE
from spotify_logger.core.times import to_iso
from tests.indexed_log import CatalogItem, IndexedLog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spotify_logger.storage.bulk import Archive

QUO = CatalogItem("track:quo", "Veridis Quo", ["Daft Punk"], "Discovery", "d", "GBDUW0000061")
ORDINARY = (
    QUO,
    CatalogItem("track:aero", "Aerodynamic", ["Daft Punk"], "Discovery", "d", "GBDUW0000058"),
    CatalogItem("track:sexy", "Sexy Boy", ["Air"], "Moon Safari", "m", "FRZ"),
    CatalogItem("episode:e", "On Daft Punk", [], "A Show"),
)
HOSTILE = """<script>document.title="caught"</script><img src=x onerror="alert('caught')">"""
LONG = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft" * 3
SENTENCE = " ".join(["A title of a hundred and eighty characters, as of a symphony:"] * 3)[:180]
BAD = CatalogItem("track:bad", HOSTILE, [HOSTILE], HOSTILE, "bad", "XX1")
WEIRD = (
    BAD,
    CatalogItem("track:long", LONG, [LONG], LONG, "long", "XX2"),
    CatalogItem("track:right", "\u202eطائر الليل", ["فيروز"], "ليل 🌙", "right", "XX3"),  # noqa: RUF001 - Arabic
    CatalogItem("track:sentence", SENTENCE, [SENTENCE], SENTENCE, "sentence", "XX4"),
    CatalogItem("track:emoji", "👩‍👩‍👧‍👦" * 12, ["🌙"], "🎹🎹", "emoji", "XX5"),
)


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


def fill(url: str, days: int, items: Sequence[CatalogItem], per_day: int = 4) -> None:
    """Write plays of all kinds on so many days up to today, and the status of a logger that is well."""
    zone, now = Zone(), int(time.time())
    log = IndexedLog(url, zone, f"{zone.local(now):%Y-%m-%d %H:%M}")
    plays = [
        (
            items[(day * (number + 3) + number) % len(items)],
            now - 7200 - 86_400 * day - 600 * number,
            200.0,
            SKIPPED if (day + number) % 5 == 4 else TRACKDONE,
        )
        for day in range(days)
        for number in range(per_day)
    ]
    log.all(plays)
    for item, second, _, end in plays[:60]:
        write_play(log.store, item, second, end=end)
    if days > 1:
        log.gap(*(f"{zone.local(now - ago):%Y-%m-%d %H:%M}" for ago in (90_000, 87_000)))
    write_status(log.store, next_in=3600, requests_24h=2000, outbox=0, version="0", login="ok")
    log.store.close()
