"""Writes a history, and the truth about it in the same stroke, so that the two can never disagree.

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
    Segment,
    TruePlay,
)

if TYPE_CHECKING:
    from spotify_logger.simulator.bodies import ItemObject
    from spotify_logger.simulator.timeline import Visible

PAUSE_LIMIT = 1800.0
"""Seconds: a play that is paused or out of sight for longer is over, and resuming begins a new one."""

_NO_TIME = 1e-6  # seconds that are none but for rounding

DESK = DeviceObject("Desk", "Computer", "0d5ad7e5f1c043f8a1e4f6f3c7d0b2a96c11e8f0")


@dataclass
class _OpenPlay:
    item: ItemObject
    started_at: float
    heard_until: float
    ms: float = 0.0


class History:
    """A scripted player that records what an API client would see, and what was really heard.

    Every method but `finish` returns the history, so that they can be chained. Durations are seconds.
    What a session looks like (device, context, shuffle, ...) is changed by `surround` and stays so.

    Args:
        start: When the history begins, in seconds since the epoch.
        scene: What surrounds the first item.
    """

    def __init__(self, start: float, scene: PlaybackSettings | None = None) -> None:
        self.start = start
        self.now = start
        self.scene = scene or PlaybackSettings(DESK)
        self.item: ItemObject | None = None
        self._position_ms = 0.0
        self._segments: list[Segment] = []
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
        """Where the player is in its item, in seconds."""
        return self._position_ms / 1000

    @property
    def remaining(self) -> float:
        """Seconds from here to the end of the item; 0 without one."""
        return 0.0 if self.item is None else max(0.0, self.item.seconds - self.position)

    def surround(self, **changes: object) -> Self:
        """Change the scene from here on: see `Scene` for the names."""
        self.scene = replace(self.scene, **changes)  # type: ignore[arg-type]
        return self

    def play(
        self, item: ItemObject, seconds: float | None = None, *, position: float = 0.0, load: float = 0.0
    ) -> Self:
        """Turn to `item`, which begins a new play, and listen for `seconds`, or to its end.

        Args:
            item: What is played.
            seconds: How long to listen, None for the rest.
            position: Where to begin.
            load: How long the player shows the item before it sounds.
        """
        self._leave()
        self.item = item
        self._position_ms = position * 1000
        self._cause = "play"
        self._add(load, "item", playing=True, moving=False)
        return self.listen(seconds)

    def listen(self, seconds: float | None = None, *, fade: bool = False) -> Self:
        """Go on with the item, after a pause or whatever there was, for `seconds` or to its end.

        Args:
            seconds: How long, None for the rest.
            fade: The player itself turns to the next item after that, as with crossfade and automix.

        Raises:
            ValueError: There is no item, or it is not as long as that.
        """
        seconds = self.remaining if seconds is None else seconds
        if self.item is None or seconds > self.remaining + _NO_TIME:
            raise ValueError(f"there is not that much left to listen to: {seconds} of {self.remaining} s")
        self._gone = False
        if not self._segments[-1].playing:
            self._because("resume")
        self._add(seconds, "item", playing=True, moving=True)
        self._faded = fade
        return self

    def pause(self, seconds: float) -> Self:
        """Stand still, the item being shown."""
        self._because("pause")
        return self._stand(seconds, "item")

    def seek(self, seconds: float) -> Self:
        """Jump to this position of the item; what follows (`listen`, `pause`) goes on from there."""
        self._position_ms = seconds * 1000
        self._cause = "seek"
        return self

    def hand_over(
        self, device: DeviceObject, seconds: float, face: Literal["nothing", "unknown"] = "nothing"
    ) -> Self:
        """Move to another device, which takes `seconds` in which answers show nothing; the position stays.

        Both faces were reported: a short 204, or item null with type "unknown" (spotify/web-api#821).
        """
        self._because("device")
        self._stand(seconds, face)
        self._because("device")
        return self.surround(device=device)

    def ad(self, seconds: float) -> Self:
        """Leave the item for an advertisement: progress runs, but there is no item (spotify/web-api#1072)."""
        self._leave()
        self.item = None
        self._position_ms = 0.0
        self._cause = "ad"
        self._add(seconds, "ad", playing=True, moving=True)
        return self

    def silent(self, seconds: float) -> Self:
        """Stand still after the last item of a context: it is shown, not playing, at its beginning."""
        self._leave()
        self._position_ms = 0.0
        self._cause = "end"
        self._stand(seconds, "item")
        self.item = None
        return self

    def gone(self, seconds: float) -> Self:
        """Close the player: answers are 204. `listen` resumes the item, if it was not heard to its end."""
        if self._is_done():
            self._leave()
            self.item = None
        elif not self._gone:
            self._report()
            self._gone = True
        self._because("gone")
        return self._stand(seconds, "nothing")

    def finish(self, hiccups: tuple[tuple[float, int], ...] = ()) -> ListeningHistory:
        """End the history here."""
        self.gone(0)
        self._leave()
        self.item = None
        self._append("nothing", playing=False, moving=False)
        return ListeningHistory(
            self.start, self.now, tuple(self._segments), tuple(self._plays), tuple(self._leavings), hiccups
        )

    def _because(self, cause: str) -> None:
        """Name the cause of the next segment, unless something happened just now that shows in it too."""
        self._cause = self._cause or cause

    def _is_done(self) -> bool:
        return self.item is not None and (self._faded or self.remaining < _NO_TIME)

    def _stand(self, seconds: float, face: Visible) -> Self:
        self._add(seconds, face, playing=False, moving=False)
        return self

    def _add(self, seconds: float, face: Visible, *, playing: bool, moving: bool) -> None:
        if seconds <= 0:
            return
        heard = playing and face == "item" and not self.scene.private
        if heard:
            self._hear()
        self._append(face, playing=playing, moving=moving)
        self.now += seconds
        self._position_ms += seconds * 1000 if moving else 0.0
        if heard and self._open is not None:
            self._open.heard_until = self.now
            self._open.ms += seconds * 1000 if moving else 0.0
            self._reported_ms += seconds * 1000 if moving else 0.0

    def _append(self, face: Visible, *, playing: bool, moving: bool, start: float | None = None) -> None:
        if self._cause:
            self._changed_at = self.now
        number = None if self._open is None or face != "item" or self.scene.private else len(self._plays)
        segment = Segment(
            start=self.now if start is None else start,
            face=self._face(face),
            scene=self.scene,
            item=self.item,
            position_ms=self._position_ms,
            playing=playing,
            moving=moving,
            changed_at=self._changed_at if self.scene.frozen_at is None else self.scene.frozen_at,
            cause=self._cause,
            play=number,
        )
        self._cause = ""
        self._segments.append(segment)

    def _face(self, face: Visible) -> Visible:
        hidden: Visible = "nothing" if self.scene.private == "nothing" else "withheld"
        return hidden if face == "item" and self.scene.private in {"nothing", "withheld"} else face

    def _hear(self) -> None:
        """See to it that what is heard from now on belongs to a play."""
        if self._open is not None and self.now - self._open.heard_until > PAUSE_LIMIT:
            self._close("stopped", self._open.heard_until)
        if self._open is None and self.item is not None:
            self._open = _OpenPlay(self.item, self.now, self.now)

    def _leave(self) -> None:
        """End what there is, because the player turns to something else or stops for good."""
        if self._open is not None:
            self._close(*self._ending(self._open))
        if not self._gone:
            self._report()
        self._faded = self._gone = False

    def _ending(self, play: _OpenPlay) -> tuple[str, float]:
        if self._gone or self.now - play.heard_until > PAUSE_LIMIT:
            return "stopped", play.heard_until
        if self.scene.private:
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
        """Note that a track was left; podcasts, local files and private listening are never listed."""
        if (
            self.item is not None
            and self.item.kind == "track"
            and self._reported_ms > 0
            and not self.scene.private
        ):
            self._leavings.append(FinishedTrack(self.item, self.now, self._reported_ms, self.scene.context))
        self._reported_ms = 0.0
