"""Decide when to poll next. Pure: the outlook for the player in, seconds to wait out.

Progress and duration predict the end of an item, so the next request follows just after it. Polling is quick
while the listener skips around, slow while they just listen, and slower and slower while nothing plays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spotify_logger.core.observations import Outlook

DELAY_AFTER_END = 1.0
"""Seconds from the expected end of an item until the next one shows, as in Home Assistant."""
ATTENTIVE_SECONDS = 60.0
"""Seconds of quick polling after the listener did something unexpected."""
SETTLING_MS = 20_000
"""Milliseconds from the beginning of an item in which it is most likely to be skipped."""
FIRST_IDLE_WAIT = 10.0
"""Seconds to the first request after playback has stopped; later waits grow from there."""
IDLE_GROWTH = 1.1
MAX_IDLE_FACTOR = 1.75
"""The longest idle wait, in multiples of `poll_max`; a first play shorter than it may be missed."""


class PollSchedule:
    """Computes the wait after each answer.

    Args:
        poll_min: The shortest wait in seconds; only the wait for the end of an item may be shorter.
        poll_max: The longest wait in seconds while something plays; otherwise, times `MAX_IDLE_FACTOR`.

    Attributes:
        slowdown: The factor on every wait except the one for the end of an item.
    """

    def __init__(self, poll_min: float, poll_max: float) -> None:
        self._poll_min, self._poll_max = poll_min, poll_max
        self.slowdown = 1.0
        self._attentive_until = float("-inf")
        self._idle = 0.0

    def wait_after(self, outlook: Outlook, now: float) -> float:
        """Return the seconds to wait after an answer.

        Args:
            outlook: What the tracker expects of the player.
            now: The time of the answer, in seconds of the monotonic clock.
        """
        if not outlook.is_advancing:
            return self.slowdown * self._next_idle()
        self._idle = 0.0
        if outlook.since_user_action_ms is not None:
            self._attentive_until = now - outlook.since_user_action_ms / 1000 + ATTENTIVE_SECONDS
        if outlook.is_advertisement:
            return self.slowdown * min(FIRST_IDLE_WAIT, self._poll_max)
        is_settling = outlook.progress_ms is not None and outlook.progress_ms < SETTLING_MS
        is_quick = now < self._attentive_until or is_settling
        wait = self.slowdown * (self._poll_min if is_quick else self._poll_max)
        if outlook.remaining_ms is None:
            return wait
        return min(wait, outlook.remaining_ms / 1000 + min(DELAY_AFTER_END, self._poll_min))

    def _next_idle(self) -> float:
        start = min(FIRST_IDLE_WAIT, self._poll_max)
        self._idle = min(max(start, self._idle * IDLE_GROWTH), MAX_IDLE_FACTOR * self._poll_max)
        return self._idle
