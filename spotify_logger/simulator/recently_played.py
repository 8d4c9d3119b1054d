"""The simulated `GET /v1/me/player/recently-played`: late, incomplete, and limited to the last 50 items.

`played_at` is when the play ended, pauses included, as recorded responses from 2020 to 2026 show.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from spotify_logger.simulator.bodies import API

if TYPE_CHECKING:
    from spotify_logger.simulator.bodies import ContextObject, ItemObject
    from spotify_logger.simulator.habits import Span
    from spotify_logger.simulator.timeline import FinishedTrack, ListeningHistory

MAX_ITEMS = 50
"""Items that the endpoint can return, over all pages (spotify/web-api#1405, #627)."""

ALWAYS_LISTED_MS = 30_000
"""Plays shorter than this are listed only sometimes, see `SHORT_PLAY_RATE`."""
SHORT_PLAY_RATE = 0.5
OTHER_ID_RATE = 0.3
"""How often an item that has two IDs is listed under the other one (spotify/web-api#1232)."""
MISSING_CONTEXT_RATE = 0.2
"""How often the context is null although there was one (spotify/web-api#966)."""
MEAN_LAG = 25.0
"""Seconds from the end of a play until it is listed, on average; at least 2, at most 300."""
LATE_LAG: Span = (600.0, 6 * 3600.0)
"""Seconds from the end of a play until it is listed, if it is late (spotify/web-api#1083)."""
MAX_PLAYED_AT_ERROR = 1.0
"""Seconds by which `played_at` may be later than the end of the play."""


@dataclass(frozen=True, slots=True)
class _Entry:
    played_at: int  # ms since the epoch
    visible_at: float
    item: ItemObject
    context: ContextObject | None
    track: FinishedTrack

    @property
    def json(self) -> str:
        context = "null" if self.context is None else self.context.json
        return f'{{"track":{self.item.json},"played_at":"{_stamp(self.played_at)}","context":{context}}}'


class RecentlyPlayed:
    """The endpoint for one listening history.

    Args:
        record: The history.
        seed: Random seed for what is listed, how late, and under which ID.
        late_rate: Probability that a play is listed only hours later, after newer ones.
    """

    def __init__(self, record: ListeningHistory, seed: int, late_rate: float = 0.0) -> None:
        self._rng = random.Random(f"recently {seed}")
        self._tardy = late_rate
        self._pace = record.pace
        listed = [self._entry(track) for track in record.finished_tracks if self._is_listed(track)]
        self._entries = sorted(listed, key=lambda entry: entry.played_at)
        self._ends = [entry.played_at for entry in self._entries]

    def offered(self, now: float, after: int | None = None) -> list[FinishedTrack]:
        """Return the tracks that a request for 50 items would get at `now`, newest first."""
        entries = (self._entries[index] for index in self._window(now))
        return [entry.track for entry in entries if after is None or entry.played_at > after]

    def page(self, now: float, limit: int, after: int | None, before: int | None) -> str:
        """Return the body of the answer at `now`.

        Args:
            now: True seconds since the epoch, UTC.
            limit: The maximum number of items, 1 to 50.
            after: Only items that ended later, in milliseconds since the epoch.
            before: Only items that ended earlier.
        """
        first = 0 if after is None else bisect_right(self._ends, after)
        last = len(self._ends) if before is None else bisect_left(self._ends, before)
        window = self._window(now)
        chosen = [self._entries[index] for index in window if first <= index < last][:limit]
        return _page(chosen, limit)

    def _window(self, now: float) -> list[int]:
        """Return the indices of the items that are listed at `now`, newest first."""
        indices: list[int] = []
        index = bisect_right(self._ends, now * 1000)
        while index > 0 and len(indices) < MAX_ITEMS:
            index -= 1
            if self._entries[index].visible_at <= now:
                indices.append(index)
        return indices

    def _is_listed(self, track: FinishedTrack) -> bool:
        return track.ms_played * self._pace >= ALWAYS_LISTED_MS or self._rng.random() < SHORT_PLAY_RATE

    def _entry(self, track: FinishedTrack) -> _Entry:
        rng = self._rng
        lag = min(300.0, 2.0 + rng.expovariate(1 / MEAN_LAG))
        if self._tardy and rng.random() < self._tardy:
            lag = rng.uniform(*LATE_LAG)
        late = rng.uniform(0.0, MAX_PLAYED_AT_ERROR)
        item = track.item
        other = item.twin if item.twin is not None and rng.random() < OTHER_ID_RATE else item
        context = None if rng.random() < MISSING_CONTEXT_RATE else track.context
        ended = track.left_at + late / self._pace
        return _Entry(int(ended * 1000), ended + lag / self._pace, other, context, track)


def _page(entries: list[_Entry], limit: int) -> str:
    href = f"{API}/me/player/recently-played"
    items = ",".join(entry.json for entry in entries)
    following = cursors = "null"
    if entries:
        oldest, newest = entries[-1].played_at, entries[0].played_at
        following = f'"{href}?before={oldest}&limit={limit}"'
        cursors = f'{{"after":"{newest}","before":"{oldest}"}}'
    tail = f'"next":{following},"cursors":{cursors},"limit":{limit},"href":"{href}?limit={limit}"'
    return f'{{"items":[{items}],{tail}}}'


def _stamp(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03}Z"
