"""What the answers so far tell of the player, and on which timeline. Pure: time comes in with each answer.

Moments are milliseconds on one timeline that follows the monotonic clock, so that a step of the wall clock
between two answers changes no length. It starts with the wall clock's stamp of the first answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spotify_logger.playback import Item, Playback

JITTER_MS = 750
"""By how much progress and clock may disagree between two answers: a request takes time to and fro."""
STEP_BACK_MS = 3_000
"""Progress that falls by no more is no seek: a device that takes over starts a little behind."""
BUTTON_MS = 15_000
"""The buttons of a podcast go so far back, and forward."""
REMEMBERED = 8
"""Items whose positions are kept in mind: podcasts and albums are resumed where they were left."""
BLIP_MS = 60_000
"""For so long an answer without information says nothing about whether music plays (spotify/web-api#1158)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What the last answer that said something told about the player.

    Attributes:
        uri: The item's; empty for an advertisement and for what is heard in private.
        progress_ms: None when the answer left it out.
        playing: Whether it was playing, in public.
        changed_ms: Spotify's `timestamp`.
        at: The moment of the answer on the timeline.
        doubted: Where the item's play would begin, should it prove to advance; None when nothing is in doubt.
    """

    uri: str
    progress_ms: int | None
    playing: bool
    changed_ms: int | None
    at: int
    doubted: int | None = None

    def to_memory(self) -> dict[str, object]:
        """The attributes by name, as JSON knows them."""
        return {
            "uri": self.uri,
            "progress_ms": self.progress_ms,
            "playing": self.playing,
            "changed_ms": self.changed_ms,
            "at": self.at,
            "doubted": self.doubted,
        }


@dataclass(frozen=True, slots=True)
class Hidden:
    """A stretch of a private session, from the first answer that told of it to the last."""

    begun: int
    ended: int


class Player:
    """The player as seen so far.

    Attributes:
        last: The last answer that said something.
        previous: The last one about the item before that of `last`.
        unseen: When the first answer without information came after `last`; None: none came.
        answered: When the last answer of any kind came.
        hidden: The private session since `last`, if there was one.
        blind: Whether nobody could look for a while since `last`: what happened meanwhile is not known.
        now: The moment of the present answer.
    """

    def __init__(self) -> None:
        self.last: Sample | None = None
        self.previous: Sample | None = None
        self.unseen: int | None = None
        self.answered: int | None = None
        self.hidden: Hidden | None = None
        self.blind = False
        self._left: dict[str, int] = {}  # uri -> position at which an item was left
        self.now = 0
        self._stamp_ms = 0  # the wall clock's for `now`
        self._monotonic_ms: int | None = None

    def advance(self, stamp_ms: int, monotonic_ms: int) -> None:
        """Go to the moment of the next answer; both clocks in milliseconds, the stamp since the epoch."""
        if self._monotonic_ms is None:
            self.now = max(self.answered or 0, stamp_ms)
        else:
            self.now += max(0, monotonic_ms - self._monotonic_ms)
        self._monotonic_ms = monotonic_ms
        self._stamp_ms = stamp_ms

    def stamp(self, moment: int) -> int:
        """The wall clock's stamp for a moment of the timeline."""
        return self._stamp_ms - (self.now - moment)

    def see(self, playback: Playback, *, playing: bool, doubted: int | None = None) -> None:
        """Keep an answer that said something."""
        uri = "" if playback.private else uri_of(playback)
        if self.last is not None and self.last.uri != uri:
            self.previous = self.last
            self._leave(self.last)
        self.last = Sample(uri, playback.progress_ms, playing, playback.changed_ms, self.now, doubted)
        self.unseen = self.hidden = None
        self.blind = False

    def lose_sight(self) -> None:
        """Keep in mind that nobody could look between the last answer and the one to come."""
        if self.last is not None:
            self.blind = True
            self.unseen = self.last.at if self.unseen is None else self.unseen

    def hide(self) -> None:
        """Keep in mind that an answer told of a private session."""
        self.hidden = Hidden(self.now if self.hidden is None else self.hidden.begun, self.now)

    def left_at(self, uri: str) -> int | None:
        """The position in milliseconds at which an item was left; None when that is not known any more."""
        return self._left.get(uri)

    def _leave(self, last: Sample) -> None:
        if last.uri and last.progress_ms is not None:
            self._left.pop(last.uri, None)
            self._left[last.uri] = last.progress_ms
        if len(self._left) > REMEMBERED:
            del self._left[next(iter(self._left))]

    def miss(self, playback: Playback) -> None:
        """Keep in mind that an answer said nothing; one delivered twice does not even say that."""
        twice = playback.item is not None and self.now - self.last_at <= JITTER_MS
        if self.unseen is None and not twice:
            self.unseen = self.now

    @property
    def last_at(self) -> int:
        """When something was last said; now, if never."""
        return self.now if self.last is None else self.last.at

    @property
    def progress(self) -> int:
        """The last known position, 0 if unknown."""
        return (self.last.progress_ms or 0) if self.last is not None else 0

    @property
    def was_playing(self) -> bool:
        """Whether it played, in public, when something was last said."""
        return self.last is not None and self.last.playing

    def changed(self, playback: Playback, earliest: int, latest: int) -> int | None:
        """When its state last changed, if what Spotify's `timestamp` says of it lies within a stretch."""
        if playback.changed_ms is None:
            return None
        moment = self.now - (self._stamp_ms - playback.changed_ms)
        return moment if earliest <= moment <= latest else None

    def age(self, playback: Playback) -> int | None:
        """Milliseconds since its state last changed, by Spotify's `timestamp`; None when it does not say."""
        return None if playback.changed_ms is None else self._stamp_ms - playback.changed_ms

    def window(self) -> int | None:
        """The earliest moment at which an item that was not there before can have begun; None: any."""
        if self.answered is not None and self.unseen is not None and self.answered - self.unseen >= BLIP_MS:
            return self.answered
        return None if self.last is None else self.last.at

    def repeats(self, playback: Playback) -> bool:
        """Whether an answer is a stale one, or one without the progress that would tell."""
        last, previous, uri = self.last, self.previous, uri_of(playback)
        if previous is not None and previous.uri == uri and previous.changed_ms is not None:
            # A cached answer of the item before, to the letter, while another plays already.
            return (previous.progress_ms, previous.changed_ms) == (playback.progress_ms, playback.changed_ms)
        if last is None or not uri or last.uri != uri or playback.private:
            return False
        if playback.progress_ms is None:
            return True
        fallen = (last.progress_ms or 0) - playback.progress_ms
        stands = last.progress_ms is not None and 0 <= fallen <= step_back_ms(playback.item)
        return last.playing and playback.playing and stands

    def heard_since_last(self, playback: Playback) -> int:
        """Milliseconds heard since the last sample, of the same item: advancing progress, as a rule."""
        last, progress = self.last, playback.progress_ms
        if last is None or last.progress_ms is None or progress is None:
            return 0
        elapsed, advanced = self.now - last.at, progress - last.progress_ms
        if self.hidden is not None:
            # It turned private and public again somewhere between two answers each: half of that is public.
            return max(0, min(advanced, elapsed) - (self.hidden.ended - self.hidden.begun)) // 2
        if not last.playing and not playback.playing:
            return advanced if JITTER_MS < advanced <= elapsed + JITTER_MS else 0
        throughout = last.playing and playback.playing
        if throughout and self._sought_back(playback, last.progress_ms, elapsed - advanced):
            return elapsed
        if -step_back_ms(playback.item) <= advanced <= elapsed + JITTER_MS:
            return max(0, advanced)
        return self._heard_around_seek(last, playback)

    def _sought_back(self, playback: Playback, before_ms: int, lag: int) -> bool:
        """Whether progress lags behind the clock because of a seek back, and not of a pause.

        An episode has a button for that. Otherwise the `timestamp` tells: where the position then, at the
        last change, was behind that of the last sample, no pause explains it.
        """
        if lag <= JITTER_MS or playback.progress_ms is None:
            return False
        is_episode = playback.item is not None and playback.item.key.startswith("episode:")
        if is_episode and abs(lag - BUTTON_MS) <= JITTER_MS:
            return True
        changed = self.changed(playback, self.last_at, self.now)
        return changed is not None and playback.progress_ms - self.now + changed < before_ms - JITTER_MS

    def _heard_around_seek(self, last: Sample, playback: Playback) -> int:
        """The position jumped. Playing before and after, it was heard throughout; else the hint decides."""
        if last.playing and playback.playing:
            return self.now - last.at
        changed = self.changed(playback, last.at, self.now)
        if changed is None:
            return (self.now - last.at) // 2
        return self.now - changed if playback.playing else changed - last.at

    def to_memory(self) -> dict[str, object]:
        """What has to be kept for another process to go on, as JSON knows it."""
        return {
            "last": None if self.last is None else self.last.to_memory(),
            "previous": None if self.previous is None else self.previous.to_memory(),
            "unseen": self.unseen,
            "answered": self.answered,
            "hidden": None
            if self.hidden is None
            else {"begun": self.hidden.begun, "ended": self.hidden.ended},
            "blind": self.blind,
            "left": self._left,
        }

    def remember(self, memory: Mapping[str, object]) -> None:
        """Go on with what `to_memory` kept; what is garbled counts as not kept."""
        self.last = _to_sample(memory.get("last"))
        self.previous = _to_sample(memory.get("previous"))
        self.unseen = _to_moment(memory.get("unseen"))
        self.answered = _to_moment(memory.get("answered"))
        self.hidden = _to_hidden(memory.get("hidden"))
        self.blind = memory.get("blind") is True
        self._left = _to_positions(memory.get("left"))
        if not self._is_in_order():
            self.forget()

    def _is_in_order(self) -> bool:
        """Whether the moments can have come after each other; those of a garbled memory cannot."""
        hidden = (None, None) if self.hidden is None else (self.hidden.begun, self.hidden.ended)
        seen = [None if sample is None else sample.at for sample in (self.previous, self.last)]
        moments = [moment for moment in (*seen, *hidden, self.answered) if moment is not None]
        return moments == sorted(moments) and (self.unseen or 0) <= (self.answered or 0)

    def forget(self) -> None:
        """Begin anew, as if nothing had been seen."""
        self.last = self.previous = self.unseen = self.answered = self.hidden = None
        self.blind = False
        self._left.clear()


def uri_of(playback: Playback) -> str:
    """What tells the items of answers apart; empty for an advertisement."""
    return playback.item.uri if playback.item is not None else ""


def step_back_ms(item: Item | None) -> int:
    """How far progress may fall without a seek: less for items so short that it would hide a repeat."""
    duration = item.duration_ms if item is not None else None
    return STEP_BACK_MS if duration is None else min(STEP_BACK_MS, duration // 20)


def _to_moment(value: object) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**53 else None


def _to_hidden(value: object) -> Hidden | None:
    if not isinstance(value, dict):
        return None
    begun, ended = _to_moment(value.get("begun")), _to_moment(value.get("ended"))
    return None if begun is None or ended is None else Hidden(begun, ended)


def _to_positions(value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        return {}
    moments = ((uri, _to_moment(position)) for uri, position in list(value.items())[:REMEMBERED])
    return {uri: position for uri, position in moments if position is not None}


def _to_sample(value: object) -> Sample | None:
    if not isinstance(value, dict):
        return None
    uri, at = value.get("uri"), _to_moment(value.get("at"))
    if not isinstance(uri, str) or at is None:
        return None
    return Sample(
        uri,
        _to_moment(value.get("progress_ms")),
        value.get("playing") is True,
        _to_moment(value.get("changed_ms")),
        at,
        _to_moment(value.get("doubted")),
    )
