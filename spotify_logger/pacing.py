"""When to ask next. Pure: what was seen and the time come in, seconds to wait go out.

Progress and duration tell when an item ends, so the question comes just after. A listener who flips is asked
after quickly, one who listens calmly seldom, and one who is away more and more seldom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spotify_logger.playback import Kind
from spotify_logger.player import uri_of
from spotify_logger.plays import near_end_ms

if TYPE_CHECKING:
    from collections.abc import Callable

    from spotify_logger.playback import Playback

AFTER_END = 1.0
"""Seconds after an item should have ended at which the next one shows; Home Assistant waits as long."""
ATTENTIVE = 60.0
"""Seconds for which a listener who did something unforeseen is asked after at the quickest pace."""
SETTLING = 20.0
"""Seconds at the beginning of an item in which it is most often skipped."""
IDLE_START = 10.0
"""Seconds to the first question after playback has stopped; they grow from there."""
IDLE_GROWTH = 1.1
IDLE_LONGEST = 1.75
"""Times the longest wait while something plays; a first play shorter than that may go unseen."""
FORESEEN = 3.0
"""Seconds by which the position may differ from the one that was foreseen."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of the player, and when, in seconds of the monotonic clock."""

    at: float
    uri: str
    playing: bool
    progress: float | None
    duration: float | None


class Pacer:
    """Says how long to wait after each answer.

    Args:
        poll_min: The shortest wait in seconds; only the aim at an item's end may be shorter.
        poll_max: The longest wait in seconds while something plays; half of the longest otherwise.

    Attributes:
        slowness: By how much every wait is longer, but for the aim at an item's end.
    """

    def __init__(self, poll_min: float, poll_max: float) -> None:
        self._poll_min, self._poll_max = poll_min, poll_max
        self.slowness = 1.0
        self._seen: Seen | None = None
        self._attentive_until = float("-inf")
        self._idle = 0.0

    def after_answer(self, playback: Playback, at: float) -> float:
        """Seconds to wait after an answer that was true at `at`, in seconds of the monotonic clock."""
        before, seen = self._seen, _seen(playback, at)
        self._seen = seen
        if not seen.playing or (before is not None and _stands_still(before, seen)):
            return self.slowness * self._next_idle()
        self._idle = 0.0
        if before is None or not _was_foreseen(before, seen):
            self._attentive_until = _changed_at(before, seen) + ATTENTIVE
        if playback.kind is not Kind.ITEM:
            return self.slowness * min(IDLE_START, self._poll_max)
        return self._while_playing(seen)

    def _next_idle(self) -> float:
        start = min(IDLE_START, self._poll_max)
        self._idle = min(max(start, self._idle * IDLE_GROWTH), IDLE_LONGEST * self._poll_max)
        return self._idle

    def _while_playing(self, seen: Seen) -> float:
        wait = self._poll_max
        if seen.at < self._attentive_until or (seen.progress is not None and seen.progress < SETTLING):
            wait = self._poll_min
        wait *= self.slowness
        if seen.progress is None or seen.duration is None or seen.progress >= seen.duration:
            return wait
        return min(wait, seen.duration - seen.progress + min(AFTER_END, self._poll_min))


class Backoff:
    """Says how long to wait after failures in a row: twice as long each time, with jitter.

    Args:
        shortest: Seconds after the first.
        longest: Seconds at most.
        chance: Gives a number from 0 to 1.
    """

    def __init__(self, shortest: float, longest: float, chance: Callable[[], float]) -> None:
        self._shortest, self._longest, self._chance = shortest, longest, chance
        self._failures = 0

    def failed(self) -> float:
        """Seconds to wait after one more failure."""
        wait = min(self._shortest * 2.0 ** min(self._failures, 16), self._longest)
        self._failures += 1
        return wait * (0.5 + self._chance() / 2)

    def succeeded(self) -> None:
        """Forget the failures."""
        self._failures = 0


def _seen(playback: Playback, at: float) -> Seen:
    duration = None if playback.item is None else playback.item.duration_ms
    return Seen(
        at,
        uri_of(playback),
        playback.playing,
        None if playback.progress_ms is None else playback.progress_ms / 1000,
        None if duration is None else duration / 1000,
    )


def _stands_still(before: Seen, seen: Seen) -> bool:
    """Whether the player says that it plays, and does not move (spotify/web-api#626)."""
    same = before.playing and before.uri == seen.uri and seen.progress is not None
    return same and before.progress == seen.progress and seen.at - before.at > FORESEEN


def _changed_at(before: Seen | None, seen: Seen) -> float:
    """When the listener did what was not foreseen: a new item tells it by its position."""
    if before is None or before.uri == seen.uri or seen.progress is None:
        return seen.at
    return max(before.at, seen.at - seen.progress)


def _was_foreseen(before: Seen, seen: Seen) -> bool:
    """Whether the player just went on: where it would be by now, or with the next item after the end."""
    if not before.playing or not before.uri:
        return before.playing  # nobody chooses what comes after an advertisement
    if before.progress is None or seen.progress is None:
        return before.uri == seen.uri
    expected = before.progress + seen.at - before.at
    if before.uri == seen.uri and abs(seen.progress - expected) <= FORESEEN:
        return True
    if before.duration is None:
        return False
    near_end = before.duration - near_end_ms(int(before.duration * 1000)) / 1000
    return expected >= near_end and seen.progress <= expected - near_end + FORESEEN
