"""Decide when to poll next. Pure: what is known about the player in, seconds to wait out.

Progress and duration predict the end of an item, so the next request follows just after it. Polling is quick
while the listener skips around, slow while they just listen, and slower and slower while nothing plays.
"""

from spotify_logger.core.observations import Observations
from spotify_logger.core.play import near_end_ms
from spotify_logger.core.player_state import is_episode

DELAY_AFTER_END = 1.0  # seconds from the end of an item until the next one shows, as in Home Assistant
ATTENTIVE_SECONDS = 30.0  # of quick polling after the listener did something unexpected
SETTLING_MS = 20_000  # from the beginning of an item, in which it is most likely to be skipped
EXPECTED_TOLERANCE_MS = 3_000  # a position this close to the predicted one was expected
FIRST_IDLE_WAIT = 10.0  # seconds to the first request after playback has stopped; later waits grow from there
IDLE_GROWTH = 1.1
MAX_IDLE_FACTOR = 1.75  # of `poll_max`: the longest idle wait; a first play shorter than it may be missed


class PollSchedule:
    """Computes the waits after answers; all but those for the end of an item are multiplied by `slowdown`."""

    def __init__(self, poll_min: float, poll_max: float) -> None:
        self._poll_min, self._poll_max = poll_min, poll_max
        self.slowdown = 1.0
        self._attentive_until = float("-inf")
        self._idle = 0.0
        self._fade = 0.0  # seconds before its end that the player went on from an item: crossfade, automix

    def wait_after(self, seen: Observations, now: float) -> float:
        """Return the seconds to wait after an answer at `now` seconds of the monotonic clock."""
        state, position, remaining = seen.state, seen.state.progress_ms, seen.remaining_ms
        first_idle_wait = min(FIRST_IDLE_WAIT, self._poll_max)
        is_same = seen.before.playing and seen.before.uri == state.uri
        is_still = is_same and position is not None and seen.before.progress_ms == position
        # A player may claim to play but not advance (spotify/web-api#626).
        if not state.playing or (is_still and seen.interval > EXPECTED_TOLERANCE_MS):
            longest = MAX_IDLE_FACTOR * self._poll_max
            self._idle = min(max(first_idle_wait, self._idle * IDLE_GROWTH), longest)
            return self.slowdown * self._idle
        self._idle = 0.0
        left_early_ms = _left_early_ms(seen)
        if not _was_expected(seen, left_early_ms):
            ago_ms = min(position or 0, seen.interval) if state.uri != seen.before.uri else 0
            self._attentive_until = now - ago_ms / 1000 + ATTENTIVE_SECONDS
        elif left_early_ms is not None and state.uri != seen.before.uri:
            self._fade = max(0, left_early_ms) / 1000
        if state.is_advertisement:
            return self.slowdown * first_idle_wait
        is_quick = now < self._attentive_until or (position is not None and position < SETTLING_MS)
        wait = self.slowdown * (self._poll_min if is_quick else self._poll_max)
        end = wait if remaining is None else remaining / 1000 + min(DELAY_AFTER_END, self._poll_min)
        return min(wait, max(end - self._fade, min(end, self.slowdown * self._poll_min)))


def _was_expected(seen: Observations, left_early_ms: int | None) -> bool:
    """Return whether the player just played on: the same item, or the next one after its end."""
    state, before = seen.state, seen.before
    if not before.playing or not before.uri:
        return before.playing  # what follows an advertisement is never a choice
    if state.progress_ms is None or before.progress_ms is None:
        return before.uri == state.uri
    if before.uri == state.uri:
        expected = before.progress_ms + seen.interval
        is_on_course = abs(state.progress_ms - expected) <= EXPECTED_TOLERANCE_MS
        # Where an episode is at another speed, some players report only now and then.
        is_untouched = state.changed_ms == before.changed_ms or seen.rate_of(state.item) != 1
        if is_on_course or (is_episode(state.item) and is_untouched):
            return True
    longest = near_end_ms(before.duration_ms or 0) + EXPECTED_TOLERANCE_MS
    return left_early_ms is not None and left_early_ms <= longest


def _left_early_ms(seen: Observations) -> int | None:
    """Return how long before the end of the previous item the current one began; None if unknown."""
    state, before = seen.state, seen.before
    if before.duration_ms is None or before.progress_ms is None or state.progress_ms is None:
        return None
    return before.duration_ms - (before.progress_ms + seen.interval - state.progress_ms)
