"""A made-up log: the plays that the logger would have kept of a simulated listener's past, gaps included.

For demos and screenshots, which need some history. It uses the same catalog as the simulated Spotify.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, takewhile
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.batched import batched
from spotify_logger.core.coverage import NOT_RUNNING, OFFLINE, RATE_LIMITED
from spotify_logger.core.matching import next_free_second
from spotify_logger.core.play import BACKFILL, LIVE, Play
from spotify_logger.core.player_state import read_item
from spotify_logger.core.redis_keys import day_of, gap_key, index_key, play_key
from spotify_logger.core.times import to_iso
from spotify_logger.simulator.bodies import DeviceObject
from spotify_logger.simulator.demo_catalog import make_demo_catalog
from spotify_logger.simulator.habits import DEVICES, Habits
from spotify_logger.simulator.listener import DEFAULT_START, SimulatedListener
from spotify_logger.simulator.taste import Taste

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from spotify_logger.core.player_state import FieldValue, Item
    from spotify_logger.simulator.catalog import Catalog
    from spotify_logger.simulator.timeline import ListeningHistory, PlaybackSettings, TruePlay
    from spotify_logger.storage.bulk import Archive
    from spotify_logger.storage.client import Command

DAY = 86_400
DAYS_PER_GAP = 24.0
GAP_SECONDS = (20 * 60, 5 * 3600)
REASONS = (OFFLINE, NOT_RUNNING, OFFLINE, RATE_LIMITED, NOT_RUNNING)
MAX_BACKFILLED = 12
"""Plays in a gap that `recently-played` can still return."""
PLAYS_PER_BATCH = 500

USUAL = replace(
    Habits(),
    audiobook=0.0,
    local=0.01,
    podcast=0.05,
    session=(20 * 60, 110 * 60),
    hours=((6.8, 8.0, 0.7), (9, 15, 0.35), (17, 18.5, 0.55), (19.5, 22, 0.6)),
)
WEEKEND = replace(USUAL, hours=((9.5, 12, 0.7), (14, 17.5, 0.5), (19.5, 23, 0.8)))
HOLIDAY = replace(
    USUAL,
    hours=((10.5, 12.5, 0.5), (16, 18.5, 0.7), (21.5, 23.5, 0.9)),
    devices=(DEVICES[0], DeviceObject("Beach Speaker", "Speaker", None, 60, restricted=True)),
)
HOLIDAY_DAYS = ((8, 3), (8, 16))  # the first and the last month and day


class SimulatedGap(NamedTuple):
    """A gap in the log: its start and end in whole seconds since the epoch, and the reason."""

    begin: int
    end: int
    reason: str


@dataclass(frozen=True, slots=True)
class LoggedHistory:
    """The plays and gaps of a made-up log.

    Attributes:
        plays: In chronological order; no two have the same `second`.
        gaps: In chronological order.
    """

    plays: list[Play]
    gaps: list[SimulatedGap]

    def write(self, archive: Archive) -> None:
        """Write it to an empty Redis."""
        items = {play.item.key: play.item for play in self.plays}
        for some in batched(items.values(), PLAYS_PER_BATCH):
            archive.write([("HSET", archive.key(item.key), *_flat(item.catalog.items())) for item in some])
        for batch in batched(self.plays, PLAYS_PER_BATCH):
            archive.write([command for play in batch for command in _commands(archive, play)])
        for gap in self.gaps:
            fields = {"from": to_iso(gap.begin * 1000), "to": to_iso(gap.end * 1000), "reason": gap.reason}
            archive.write(
                [
                    ("HSET", archive.key(gap_key(gap.begin)), *_flat(fields.items())),
                    ("HSET", archive.key("gaps"), str(gap.begin), f"{gap.end} {gap.reason}"),
                ]
            )


def make_logged_history(seed: int, days: int, until: float, catalog: Catalog | None = None) -> LoggedHistory:
    """Make up a log; the same arguments give the same one.

    Args:
        seed: Random seed.
        days: How many days it covers.
        until: When it ends, in seconds since the epoch.
        catalog: What can be played (default: the demo catalog of this seed).
    """
    # Simulate whole days, and cut off the last one.
    begin = until // DAY * DAY + DEFAULT_START % DAY - days * DAY
    catalog = catalog or make_demo_catalog(seed)
    listener, taste = SimulatedListener(seed, USUAL, catalog, begin), Taste(seed, catalog, begin, days)
    for day in range(days + 1):
        moment = begin + day * DAY
        listener.change(_habits_on(datetime.fromtimestamp(moment, UTC)), taste.catalog_at(moment))
        listener.simulate(moment, 1)
    record = listener.finish()
    gaps = list(_gaps(random.Random(f"gaps {seed}"), begin, until))
    plays = takewhile(lambda play: play.ended_ms < until * 1000, _complete_log(record))
    return LoggedHistory(list(_logged(plays, gaps)), gaps)


def _habits_on(day: datetime) -> Habits:
    first, last = HOLIDAY_DAYS
    if first <= (day.month, day.day) <= last:
        return HOLIDAY
    return WEEKEND if day.isoweekday() > 5 else USUAL  # noqa: PLR2004 - Saturday and Sunday


def _gaps(rng: random.Random, begin: float, end: float) -> Iterator[SimulatedGap]:
    moment = begin + DAY * rng.uniform(1, DAYS_PER_GAP)
    while moment < end - DAY:
        length = rng.uniform(*GAP_SECONDS)
        yield SimulatedGap(int(moment), int(moment + length), rng.choice(REASONS))
        moment += length + DAY * rng.expovariate(1 / DAYS_PER_GAP)


def _complete_log(record: ListeningHistory) -> Iterator[Play]:
    """Yield the plays as a logger without gaps would keep them."""
    settings_of: dict[int, PlaybackSettings] = {}
    items: dict[str, Item] = {}
    for segment in record.segments:
        if segment.play is not None and segment.item is not None:
            settings_of.setdefault(segment.play, segment.settings)
            if segment.item.uri not in items and (item := read_item(segment.item.body)):
                items[segment.item.uri] = item
    taken: set[int] = set()
    for number, play in enumerate(record.plays):
        if play.uri in items and play.end_reason:
            second = next_free_second(round(play.started_at * 1000) // 1000, taken.__contains__)
            taken.add(second)
            yield _play(second, play, items[play.uri], settings_of[number])


def _play(second: int, play: TruePlay, item: Item, settings: PlaybackSettings) -> Play:
    started_ms, ended_ms = round(play.started_at * 1000), round(play.ended_at * 1000)
    ms_played = min(play.ms_played, ended_ms - started_ms)
    named = ("name", "artists", "album")
    fields: dict[str, FieldValue] = {
        "uri": item.uri,
        "type": str(item.catalog["type"]),
        **{name: item.catalog[name] for name in named if name in item.catalog},
        "duration_ms": play.duration_ms,
        "device_name": settings.device.name,
        "device_type": settings.device.type,
        "shuffle_state": int(settings.shuffle),
        "repeat_state": settings.repeat,
        "timestamp": started_ms,
        "progress_ms": min(ms_played, play.duration_ms),
        "playing": 1,
    }
    if not item.key.startswith("local:"):
        fields["id"] = item.key.partition(":")[2]
    if settings.context is not None:
        fields["context_uri"] = settings.context.uri
    return Play(second, item, started_ms, ended_ms, ms_played, play.end_reason, LIVE, fields)


def _logged(plays: Iterable[Play], gaps: list[SimulatedGap]) -> Iterator[Play]:
    """Return the plays that were polled, and those of the gaps that were backfilled."""
    hidden: dict[SimulatedGap, list[Play]] = {gap: [] for gap in gaps}
    seen: list[Play] = []
    for play in plays:
        gap = next((gap for gap in gaps if gap.begin <= play.second < gap.end), None)
        (seen if gap is None else hidden[gap]).append(play)
    found = (_backfilled(play) for some in hidden.values() for play in some[-MAX_BACKFILLED:])
    return iter(sorted(chain(seen, filter(None, found)), key=lambda play: play.second))


def _backfilled(play: Play) -> Play | None:
    """Return a play as `recently-played` reports it: only tracks, without the device and `ms_played`."""
    if not play.item.key.startswith("track:"):
        return None
    kept = ("id", "uri", "type", "name", "artists", "album", "duration_ms", "context_uri")
    fields = {name: play.fields[name] for name in kept if name in play.fields}
    return replace(play, end_reason="unknown", source=BACKFILL, fields=fields)


def _commands(archive: Archive, play: Play) -> list[Command]:
    return [
        ("HSET", archive.key(play_key(play.second)), *_flat(play.to_hash().items())),
        ("HSET", archive.key(index_key(day_of(play.second))), str(play.second), play.index),
    ]


def _flat(fields: Iterable[tuple[str, FieldValue]]) -> list[str | int]:
    return list(chain.from_iterable(fields))
