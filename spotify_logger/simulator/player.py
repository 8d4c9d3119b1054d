"""The simulated `GET /v1/me/player`."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spotify_logger.simulator.timeline import ListeningHistory, PlayerSegment

JITTER_MS = 250.0
"""Milliseconds by which the reported progress may lag behind the player's."""

HICCUP_SECONDS = 120.0
"""Seconds after which a hiccup that no request has met is over."""


class Player:
    """The player of one history.

    Args:
        record: The history.
        seed: Random seed of the jitter between one answer and the next.
    """

    def __init__(self, record: ListeningHistory, seed: int) -> None:
        self._record = record
        self._rng = random.Random(f"player {seed}")
        self._hiccups = [[moment, float(count)] for moment, count in record.hiccups]
        self._jitter_ms = JITTER_MS / record.pace

    def answer(self, now: float, additional_types: str) -> str | None:
        """Return the body of the answer at `now`, or None for a 204.

        Args:
            now: True seconds since the epoch, UTC.
            additional_types: The query's value; without "episode" in it, an episode is reported as a
                null item (spotipy#562).
        """
        segment = self._record.at(now)
        if segment.visible == "nothing" or self._hiccup(now, segment):
            return None
        if segment.visible == "unknown":
            return _body(segment, "null", "unknown", progress=0, timestamp=0)
        progress = max(0, int(segment.shown_at(now) - self._jitter_ms * self._rng.random()))
        timestamp = int(segment.changed_at * 1000)
        item, playing_type = _item(segment, additional_types)
        return _body(segment, item, playing_type, progress=progress, timestamp=timestamp)

    def _hiccup(self, now: float, segment: PlayerSegment) -> bool:
        """Return whether this answer is a 204 although music plays (spotify/web-api#662)."""
        while self._hiccups and self._hiccups[0][0] + HICCUP_SECONDS / self._record.pace < now:
            self._hiccups.pop(0)
        if not self._hiccups or now < self._hiccups[0][0] or not segment.playing:
            return False
        self._hiccups[0][1] -= 1
        if self._hiccups[0][1] <= 0:
            self._hiccups.pop(0)
        return True


def _item(segment: PlayerSegment, additional_types: str) -> tuple[str, str]:
    """Return the JSON of the item, and the currently playing type."""
    if segment.visible == "ad":
        return "null", "ad"
    if segment.visible == "withheld" or segment.item is None:
        return "null", "unknown"
    if segment.item.kind in {"episode", "chapter"}:
        return (segment.item.json if "episode" in additional_types.split(",") else "null"), "episode"
    return segment.item.json, "track"


def _body(segment: PlayerSegment, item: str, playing_type: str, *, progress: int, timestamp: int) -> str:
    settings = segment.settings
    hidden = settings.context is None or item == "null"
    context = "null" if hidden or settings.context is None else settings.context.json
    device = settings.device.private_json if settings.private else settings.device.json
    disallowed = "resuming" if segment.playing else "pausing"
    return (
        f'{{"device":{device},"shuffle_state":{_bool(settings.shuffle)},"smart_shuffle":false,'
        f'"repeat_state":"{settings.repeat}","timestamp":{timestamp},"context":{context},'
        f'"progress_ms":{progress},"item":{item},"currently_playing_type":"{playing_type}",'
        f'"actions":{{"disallows":{{"{disallowed}":true}}}},"is_playing":{_bool(segment.playing)}}}'
    )


def _bool(value: object) -> str:
    return "true" if value else "false"
