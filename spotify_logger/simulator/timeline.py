"""What the player did, moment by moment, and the truth about it: which plays a perfect logger would have.

All times are true seconds since the epoch, UTC. A `Record` never changes once it is written; `history`
writes one by hand, `listener` by chance.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from spotify_logger.simulator.bodies import ContextObject, DeviceObject, ItemObject

Visible = Literal["item", "nothing", "unknown", "ad", "withheld"]
"""What an answer shows: the item, 204, an unknown item, an advertisement, or that it withholds the item."""


@dataclass(frozen=True, slots=True)
class PlaybackSettings:
    """What surrounds the item.

    Attributes:
        device: What plays.
        context: Where the item is played from.
        shuffle: Whether the order is shuffled.
        repeat: "off", "track" or "context".
        private: Empty, or how a private session looks from outside: "shown" (all is there, with a flag),
            "withheld" (no item) or "nothing" (204). All three were reported (spotify/web-api#685).
        frozen_at: What the field `timestamp` goes on saying, in seconds since the epoch, when it is stuck.
    """

    device: DeviceObject
    context: ContextObject | None = None
    shuffle: bool = False
    repeat: Literal["off", "track", "context"] = "off"
    private: Literal["", "shown", "withheld", "nothing"] = ""
    frozen_at: float | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A span of time in which only the position changed.

    Attributes:
        start: When it began; it lasts until the next one.
        face: What an answer shows meanwhile.
        scene: What surrounds the item.
        item: What is loaded in the player, even when the face does not show it.
        position_ms: Where in the item it began.
        playing: What `is_playing` says.
        moving: Whether the position really moves.
        changed_at: What `timestamp` says, in seconds since the epoch.
        cause: The event that began it; empty when it was none that a listener would name.
        play: The number of the play in the truth that this belongs to, if any.
    """

    start: float
    face: Visible
    scene: PlaybackSettings
    item: ItemObject | None
    position_ms: float
    playing: bool
    moving: bool
    changed_at: float
    cause: str
    play: int | None

    def position_at(self, moment: float) -> float:
        """Return the position in milliseconds at a moment inside this segment."""
        return self.position_ms + ((moment - self.start) * 1000 if self.moving else 0.0)


@dataclass(frozen=True, slots=True)
class TruePlay:
    """One play, as it really was.

    Attributes:
        started_at: When it began; for a play that began in private, when it became public.
        ended_at: When the player went on to something else; where it did not, the last moment heard.
        ms_played: Milliseconds really heard in public.
        item: `track:<id>`, `episode:<id>`, or the URI of a local file.
        uri: The item's URI.
        name: The item's title.
        artists: Names of its artists.
        album: Its album, show or book.
        duration_ms: Its length.
        end_reason: "trackdone", "skipped", "stopped" (nothing followed within half an hour, or the player
            was closed), "unknown" (it ended in private), or empty while it goes on.
        kind: "track", "episode", "chapter" or "local".
    """

    started_at: float
    ended_at: float
    ms_played: int
    item: str
    uri: str
    name: str
    artists: tuple[str, ...]
    album: str
    duration_ms: int
    end_reason: str
    kind: str


@dataclass(frozen=True, slots=True)
class FinishedTrack:
    """The moment a track was left after being heard in public, for the recently played ones.

    Attributes:
        item: The track.
        left_at: When the player went on to something else, pauses included.
        ms_played: Milliseconds heard since the player turned to it.
        context: Where it was played from.
    """

    item: ItemObject
    left_at: float
    ms_played: float
    context: ContextObject | None


@dataclass(frozen=True)
class ListeningHistory:
    """A whole history.

    Attributes:
        start: Its beginning.
        end: Its end; nothing plays from then on.
        segments: What the player did, in order; the first one began before all times.
        plays: The truth.
        leavings: When tracks were left.
        hiccups: Moments from which on so many answers say 204 although music plays.
        pace: How many times as fast as in life everything goes.
    """

    start: float
    end: float
    segments: tuple[Segment, ...]
    plays: tuple[TruePlay, ...]
    leavings: tuple[FinishedTrack, ...]
    hiccups: tuple[tuple[float, int], ...] = ()
    pace: float = 1.0

    @cached_property
    def _starts(self) -> list[float]:
        return [segment.start for segment in self.segments]

    def at(self, moment: float) -> Segment:
        """Return what the player was doing at a moment."""
        return self.segments[max(0, bisect_right(self._starts, moment) - 1)]

    def heard_by(self, moment: float) -> list[TruePlay]:
        """Return the plays that had begun by a moment; one that had not ended yet as far as it had got."""
        begun = [play for play in self.plays if play.started_at <= moment]
        if begun and begun[-1].ended_at > moment:
            number = len(begun) - 1
            open_play = replace(
                begun[-1], ended_at=moment, ms_played=self._heard(number, moment), end_reason=""
            )
            begun[-1] = open_play
        return begun

    def _heard(self, number: int, moment: float) -> int:
        """Milliseconds of a play that had been heard by a moment."""
        first = max(0, bisect_right(self._starts, self.plays[number].started_at) - 1)
        last = bisect_right(self._starts, moment)
        ends = [*self._starts[first + 1 : last], moment]
        stretch = zip(self.segments[first:last], ends, strict=True)
        return round(
            1000 * sum(end - part.start for part, end in stretch if part.moving and part.play == number)
        )

    def moved(self, start: float, pace: float = 1.0) -> ListeningHistory:
        """Return the same history, its first play beginning at `start`, everything `pace` times as fast."""
        return _Mover(self, start, pace).moved()


class _Mover:
    def __init__(self, record: ListeningHistory, start: float, pace: float) -> None:
        self._record = record
        self._from = record.plays[0].started_at if record.plays else record.start
        self._to = start
        self._pace = pace
        self._items: dict[str, ItemObject] = {}

    def moved(self) -> ListeningHistory:
        record = self._record
        return ListeningHistory(
            start=self._moment(record.start),
            end=self._moment(record.end),
            segments=tuple(self._segment(segment) for segment in record.segments),
            plays=tuple(self._play(play) for play in record.plays),
            leavings=tuple(self._leaving(leaving) for leaving in record.leavings),
            hiccups=tuple((self._moment(moment), count) for moment, count in record.hiccups),
            pace=record.pace * self._pace,
        )

    def _moment(self, moment: float) -> float:
        return self._to + (moment - self._from) / self._pace

    def _item(self, item: ItemObject) -> ItemObject:
        if self._pace == 1.0:
            return item
        if item.uri not in self._items:
            self._items[item.uri] = item.paced(self._pace)
        return self._items[item.uri]

    def _segment(self, segment: Segment) -> Segment:
        frozen = segment.scene.frozen_at
        scene = segment.scene if frozen is None else replace(segment.scene, frozen_at=self._moment(frozen))
        return replace(
            segment,
            start=self._moment(segment.start),
            changed_at=self._moment(segment.changed_at) if math.isfinite(segment.changed_at) else 0.0,
            position_ms=segment.position_ms / self._pace,
            item=None if segment.item is None else self._item(segment.item),
            scene=scene,
        )

    def _play(self, play: TruePlay) -> TruePlay:
        return replace(
            play,
            started_at=self._moment(play.started_at),
            ended_at=self._moment(play.ended_at),
            ms_played=round(play.ms_played / self._pace),
            duration_ms=math.ceil(play.duration_ms / self._pace),
        )

    def _leaving(self, leaving: FinishedTrack) -> FinishedTrack:
        return replace(
            leaving,
            item=self._item(leaving.item),
            left_at=self._moment(leaving.left_at),
            ms_played=leaving.ms_played / self._pace,
        )
