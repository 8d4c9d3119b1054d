"""Scripts a listening history; segments and true plays are written together, so that they always agree.

record = History(start).play(song, 100).pause(30).listen().play(other, 5).gone(600).finish()
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from spotify_logger.simulator.bodies import DeviceObject
from spotify_logger.simulator.timeline import (
    FinishedTrack,
    ListeningHistory,
    PlaybackSettings,
    PlayerSegment,
    TruePlay,
)

if TYPE_CHECKING:
    from spotify_logger.simulator.bodies import ItemObject
    from spotify_logger.simulator.timeline import Visible

PAUSE_LIMIT = 1800.0
"""Seconds of pause or silence after which a play is over; resuming begins a new one."""

_NO_TIME = 1e-6  # seconds; a rounding error

DESK = DeviceObject("Desk", "Computer", "0d5ad7e5f1c043f8a1e4f6f3c7d0b2a96c11e8f0")


@dataclass
class _OpenPlay:
    item: ItemObject
    started_at: float
    heard_until: float
    ms: float = 0.0


class History:
    """A scripted player that records what an API client would see, and what was really heard.

    Every method except `finish` returns the history, so that calls can be chained. Durations are in seconds.
    `change` sets the settings of the player (device, context, shuffle, ...) from then on.

    Args:
        start: When the history begins, in seconds since the epoch.
        settings: The initial settings of the player.
    """

    def __init__(self, start: float, settings: PlaybackSettings | None = None) -> None:
        self.start = start
        self.now = start
        self.settings = settings or PlaybackSettings(DESK)
        self.item: ItemObject | None = None
        self._position_ms = 0.0
        self._segments: list[PlayerSegment] = []
        self._plays: list[TruePlay] = []
        self._leavings: list[FinishedTrack] = []
        self._open: _OpenPlay | None = None
        self._reported_ms = 0.0
        self._faded = False
        self._gone = False
        self._cause = ""
        self._changed_at = -math.inf
        self._append("nothing", playing=False, moving=False, start=-math.inf)

    @property
    def position(self) -> float:
        """The position in the item, in seconds."""
        return self._position_ms / 1000

    @property
    def remaining(self) -> float:
        """Seconds until the item ends if it plays on at its speed; 0 without an item."""
        return 0.0 if self.item is None else max(0.0, self.item.seconds - self.position) / self.settings.speed

    def change(self, **changes: object) -> Self:
        """Change settings of the player from now on: the fields of `PlaybackSettings`."""
        self.settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        return self

    def play(
        self, item: ItemObject, seconds: float | None = None, *, position: float = 0.0, load: float = 0.0
    ) -> Self:
        """Start `item`, which begins a new play, and listen for `seconds` or to its end.

        Args:
            item: The item to play.
            seconds: How long to listen (default: to the end).
            position: Where in the item to begin.
            load: How long the player shows the item before it is audible.
        """
        self._leave()
        self.item = item
        self._position_ms = position * 1000
        self._cause = "play"
        self._add(load, "item", playing=True, moving=False)
        return self.listen(seconds)

    def listen(self, seconds: float | None = None, *, fade: bool = False) -> Self:
        """Go on with the item, for `seconds` or to its end.

        Args:
            seconds: How long to listen (default: to the end).
            fade: Whether the player then moves on by itself, as with crossfade and automix.

        Raises:
            ValueError: There is no item, or less than that is left of it.
        """
        seconds = self.remaining if seconds is None else seconds
        if self.item is None or seconds > self.remaining + _NO_TIME:
            raise ValueError(f"cannot listen for {seconds} s: {self.remaining} s are left")
        self._gone = False
        if not self._segments[-1].playing:
            self._set_cause("resume")
        self._add(seconds, "item", playing=True, moving=True)
        self._faded = fade
        return self

    def pause(self, seconds: float) -> Self:
        """Pause; the item stays visible."""
        self._set_cause("pause")
        return self._stand_still(seconds, "item")

    def seek(self, seconds: float) -> Self:
        """Jump to this position in the item; `listen` goes on from there."""
        self._position_ms = seconds * 1000
        self._cause = "seek"
        return self

    def hand_over(
        self, device: DeviceObject, seconds: float, visible: Literal["nothing", "unknown"] = "nothing"
    ) -> Self:
        """Move to another device, which takes `seconds` without an item; the position stays.

        Both were reported: a short 204, and a null item with type "unknown" (spotify/web-api#821).
        """
        self._set_cause("device")
        self._stand_still(seconds, visible)
        self._set_cause("device")
        return self.change(device=device)

    def ad(self, seconds: float) -> Self:
        """Play an advertisement: the progress advances, but there is no item (spotify/web-api#1072)."""
        self._leave()
        self.item = None
        self._position_ms = 0.0
        self._cause = "ad"
        self._add(seconds, "ad", playing=True, moving=True)
        return self

    def silent(self, seconds: float) -> Self:
        """Stop after the last item of a context: it is shown at its beginning, not playing."""
        self._leave()
        self._position_ms = 0.0
        self._cause = "end"
        self._stand_still(seconds, "item")
        self.item = None
        return self

    def gone(self, seconds: float) -> Self:
        """Close the player: answers are 204. `listen` resumes the item, unless it has ended."""
        if self._is_done():
            self._leave()
            self.item = None
        elif not self._gone:
            self._report()
            self._gone = True
        self._set_cause("gone")
        return self._stand_still(seconds, "nothing")

    def finish(self, hiccups: tuple[tuple[float, int], ...] = ()) -> ListeningHistory:
        """End the history, and return it."""
        self.gone(0)
        self._leave()
        self.item = None
        self._append("nothing", playing=False, moving=False)
        return ListeningHistory(
            self.start, self.now, tuple(self._segments), tuple(self._plays), tuple(self._leavings), hiccups
        )

    def _set_cause(self, cause: str) -> None:
        """Set the cause of the next segment, unless it already has one."""
        self._cause = self._cause or cause

    def _is_done(self) -> bool:
        return self.item is not None and (self._faded or self.remaining < _NO_TIME)

    def _stand_still(self, seconds: float, visible: Visible) -> Self:
        self._add(seconds, visible, playing=False, moving=False)
        return self

    def _add(self, seconds: float, visible: Visible, *, playing: bool, moving: bool) -> None:
        if seconds <= 0:
            return
        heard = playing and visible == "item" and not self.settings.private
        if heard:
            self._continue_play()
        self._append(visible, playing=playing, moving=moving)
        self.now += seconds
        self._position_ms += seconds * 1000 * self.settings.speed if moving else 0.0
        if heard and self._open is not None:
            self._open.heard_until = self.now
            self._open.ms += seconds * 1000 if moving else 0.0
            self._reported_ms += seconds * 1000 if moving else 0.0

    def _append(self, visible: Visible, *, playing: bool, moving: bool, start: float | None = None) -> None:
        if self._cause:
            self._changed_at = self.now
        number = (
            None if self._open is None or visible != "item" or self.settings.private else len(self._plays)
        )
        segment = PlayerSegment(
            start=self.now if start is None else start,
            visible=self._visible_as(visible),
            settings=self.settings,
            item=self.item,
            position_ms=self._position_ms,
            playing=playing,
            moving=moving,
            changed_at=self._changed_at if self.settings.frozen_at is None else self.settings.frozen_at,
            cause=self._cause,
            play=number,
        )
        self._cause = ""
        self._segments.append(segment)

    def _visible_as(self, visible: Visible) -> Visible:
        hidden: Visible = "nothing" if self.settings.private == "nothing" else "withheld"
        return hidden if visible == "item" and self.settings.private in {"nothing", "withheld"} else visible

    def _continue_play(self) -> None:
        """Begin a play, unless one is open that can go on."""
        if self._open is not None and self.now - self._open.heard_until > PAUSE_LIMIT:
            self._close("stopped", self._open.heard_until)
        if self._open is None and self.item is not None:
            self._open = _OpenPlay(self.item, self.now, self.now)

    def _leave(self) -> None:
        """End the open play: the player moves on to something else or stops for good."""
        if self._open is not None:
            self._close(*self._ending(self._open))
        if not self._gone:
            self._report()
        self._faded = self._gone = False

    def _ending(self, play: _OpenPlay) -> tuple[str, float]:
        if self._gone or self.now - play.heard_until > PAUSE_LIMIT:
            return "stopped", play.heard_until
        if self.settings.private:
            return "unknown", play.heard_until
        return ("trackdone" if self._is_done() else "skipped"), self.now

    def _close(self, reason: str, ended_at: float) -> None:
        play, self._open = self._open, None
        if play is None:
            return
        item = play.item
        self._plays.append(
            TruePlay(
                started_at=play.started_at,
                ended_at=ended_at,
                ms_played=round(play.ms),
                item=item.key,
                uri=item.uri,
                name=item.name,
                artists=item.artists,
                album=item.album,
                duration_ms=item.duration_ms,
                end_reason=reason,
                kind=item.kind,
            )
        )

    def _report(self) -> None:
        """Add the track to `finished_tracks`; podcasts, local files and private sessions are never listed."""
        if (
            self.item is not None
            and self.item.kind == "track"
            and self._reported_ms > 0
            and not self.settings.private
        ):
            self._leavings.append(
                FinishedTrack(self.item, self.now, self._reported_ms, self.settings.context)
            )
        self._reported_ms = 0.0
