"""What the player did, moment by moment, and the true plays: those that a perfect logger would record.

All times are true seconds since the epoch, UTC. `history` scripts a `ListeningHistory`, `listener` generates
a random one; it is never changed afterwards.
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
"""What an answer shows: the item, a 204, an unknown item, an advertisement, or a withheld item."""


@dataclass(frozen=True, slots=True)
class PlaybackSettings:
    """The settings of the player.

    Attributes:
        device: The device that plays.
        context: Where the item is played from.
        shuffle: Whether shuffle is on.
        repeat: The repeat mode.
        private: Empty, or what the API shows of a private session: "shown" (everything, with a flag),
            "withheld" (no item) or "nothing" (204). All three were reported (spotify/web-api#685).
        speed: How fast the position advances, as a multiple of real time: of podcasts and audiobooks.
        report_seconds: Seconds between the reports of a player whose position otherwise seems to advance in
            real time; None if it is shown as it is.
        frozen_at: The `timestamp` that all answers have, in seconds since the epoch; None if it is not stuck.
    """

    device: DeviceObject
    context: ContextObject | None = None
    shuffle: bool = False
    repeat: Literal["off", "track", "context"] = "off"
    private: Literal["", "shown", "withheld", "nothing"] = ""
    speed: float = 1.0
    report_seconds: float | None = None
    frozen_at: float | None = None


@dataclass(frozen=True, slots=True)
class PlayerSegment:
    """A span of time in which only the position changed.

    Attributes:
        start: When it began; it lasts until the next one.
        visible: What an answer shows during it.
        settings: The settings of the player.
        item: The item that is loaded in the player, even if no answer shows it.
        position_ms: The position in the item at `start`.
        playing: The value of `is_playing`.
        moving: Whether the position really advances.
        changed_at: The value of `timestamp`, in seconds since the epoch.
        cause: The event that began it; empty if there was none.
        play: The index of the true play that it belongs to, if any.
    """

    start: float
    visible: Visible
    settings: PlaybackSettings
    item: ItemObject | None
    position_ms: float
    playing: bool
    moving: bool
    changed_at: float
    cause: str
    play: int | None

    def position_at(self, moment: float) -> float:
        """Return the position in milliseconds at a moment within this segment."""
        speed = self.settings.speed
        return self.position_ms + ((moment - self.start) * 1000 * speed if self.moving else 0.0)

    def shown_at(self, moment: float) -> float:
        """Return the position in milliseconds that an answer shows at a moment within this segment."""
        if self.settings.report_seconds is None or not self.moving or self.item is None:
            return self.position_at(moment)
        since_report = (moment - self.start) % self.settings.report_seconds
        shown = self.position_at(moment - since_report) + 1000 * since_report
        return min(shown, self.item.duration_ms)


@dataclass(frozen=True, slots=True)
class TruePlay:
    """One play, as it really was.

    Attributes:
        started_at: When it began; if it began in a private session, when that ended.
        ended_at: When the player moved on to something else, or else the last moment heard.
        ms_played: Milliseconds really heard outside of private sessions.
        item: `track:<id>`, `episode:<id>`, or the URI of a local file.
        uri: The item's URI.
        name: The item's title.
        artists: Names of its artists.
        album: The name of its album, show or audiobook.
        duration_ms: Its length in milliseconds.
        end_reason: "trackdone", "skipped", "stopped" (nothing followed within half an hour, or the player
            was closed), "unknown" (it ended in a private session), or empty while it goes on.
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
    """A track that the player has finished or skipped, for `recently-played`.

    Attributes:
        item: The track.
        left_at: When the player moved on to something else, after any pause.
        ms_played: Milliseconds heard since the track was started.
        context: Where it was played from.
    """

    item: ItemObject
    left_at: float
    ms_played: float
    context: ContextObject | None


@dataclass(frozen=True)
class ListeningHistory:
    """Everything that a simulated listener did.

    Attributes:
        start: When it begins.
        end: When it ends; nothing plays from then on.
        segments: What the player did, in order; the first one starts at minus infinity.
        plays: The true plays, in order.
        finished_tracks: The tracks that `recently-played` may list, in order.
        hiccups: Moments, and how many answers from then on are 204 although music plays.
        pace: The speed, as a multiple of real time.
    """

    start: float
    end: float
    segments: tuple[PlayerSegment, ...]
    plays: tuple[TruePlay, ...]
    finished_tracks: tuple[FinishedTrack, ...]
    hiccups: tuple[tuple[float, int], ...] = ()
    pace: float = 1.0

    @cached_property
    def _starts(self) -> list[float]:
        return [segment.start for segment in self.segments]

    def at(self, moment: float) -> PlayerSegment:
        """Return what the player was doing at a moment."""
        return self.segments[max(0, bisect_right(self._starts, moment) - 1)]

    def heard_by(self, moment: float) -> list[TruePlay]:
        """Return the true plays that had begun by a moment; one that is still going on is cut off there."""
        begun = [play for play in self.plays if play.started_at <= moment]
        if begun and begun[-1].ended_at > moment:
            number = len(begun) - 1
            open_play = replace(
                begun[-1], ended_at=moment, ms_played=self._heard(number, moment), end_reason=""
            )
            begun[-1] = open_play
        return begun

    def _heard(self, number: int, moment: float) -> int:
        """Return the milliseconds of a play that had been heard by a moment."""
        first = max(0, bisect_right(self._starts, self.plays[number].started_at) - 1)
        last = bisect_right(self._starts, moment)
        ends = [*self._starts[first + 1 : last], moment]
        parts = zip(self.segments[first:last], ends, strict=True)
        return round(
            1000 * sum(end - part.start for part, end in parts if part.moving and part.play == number)
        )

    def moved(self, start: float, pace: float = 1.0) -> ListeningHistory:
        """Return the same history with its first play at `start`, and `pace` times as fast."""
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
            finished_tracks=tuple(self._finished_track(track) for track in record.finished_tracks),
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

    def _segment(self, segment: PlayerSegment) -> PlayerSegment:
        settings = segment.settings
        if settings.frozen_at is not None:
            settings = replace(settings, frozen_at=self._moment(settings.frozen_at))
        if settings.report_seconds is not None:
            settings = replace(settings, report_seconds=settings.report_seconds / self._pace)
        return replace(
            segment,
            start=self._moment(segment.start),
            changed_at=self._moment(segment.changed_at) if math.isfinite(segment.changed_at) else 0.0,
            position_ms=segment.position_ms / self._pace,
            item=None if segment.item is None else self._item(segment.item),
            settings=settings,
        )

    def _play(self, play: TruePlay) -> TruePlay:
        return replace(
            play,
            started_at=self._moment(play.started_at),
            ended_at=self._moment(play.ended_at),
            ms_played=round(play.ms_played / self._pace),
            duration_ms=math.ceil(play.duration_ms / self._pace),
        )

    def _finished_track(self, track: FinishedTrack) -> FinishedTrack:
        return replace(
            track,
            item=self._item(track.item),
            left_at=self._moment(track.left_at),
            ms_played=track.ms_played / self._pace,
        )
