"""What a listener does with an item or a few in a row: play it to the end, skip it, repeat it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from spotify_logger.simulator.bodies import ItemObject
    from spotify_logger.simulator.habits import Habits, Span
    from spotify_logger.simulator.history import History

RESTART_AFTER = 3.0
"""Seconds of an item after which the "previous" button restarts it; before, it goes to the previous item."""

SPEEDS = (0.5, 0.8, 1.2, 1.5, 1.5, 1.8, 2.0, 3.0, 3.5)
"""Speeds that the player offers for podcasts and audiobooks, besides 1."""


class ListeningBehavior:
    """Writes what a listener does with items to a history.

    Args:
        history: The history to write to.
        habits: The probabilities and durations; they may be replaced.
        rng: The random number generator.
    """

    def __init__(self, history: History, habits: Habits, rng: random.Random) -> None:
        self.history = history
        self.fade_seconds: float | None = None  # crossfade of this session
        self.habits = habits
        self._rng = rng

    def between(self, span: Span) -> float:
        """Return a random number within a span."""
        return self._rng.uniform(*span)

    def happens(self, rate: float) -> bool:
        """Return True with this probability."""
        return self._rng.random() < rate

    def begin(self, item: ItemObject, position: float = 0.0) -> None:
        """Start an item; the caller continues with `history.listen`."""
        self.history.play(item, 0.0, position=position, load=self.between(self.habits.load_seconds))

    def play_for(self, item: ItemObject, seconds: float) -> None:
        """Play an item for some seconds, or to its end if that comes first."""
        self.begin(item)
        self.history.listen(min(max(seconds, self.habits.shortest), self.history.remaining))

    def play_through(self, item: ItemObject, position: float = 0.0) -> None:
        """Play an item to its end, with random interruptions."""
        self.begin(item, position)
        for interruption in self._interruptions():
            self.history.listen(self._rng.uniform(0.1, 0.7) * self.history.remaining)
            interruption()
        self._to_the_end()

    def skip_early(self, item: ItemObject) -> None:
        """Play an item and skip it within its first seconds."""
        self.play_for(item, self.between(self.habits.early_seconds))

    def skip_late(self, item: ItemObject) -> None:
        """Play an item and skip it anywhere later."""
        self.play_for(item, self._rng.uniform(min(20.0, 0.5 * item.seconds), 0.97 * item.seconds))

    def flip(self, item: ItemObject) -> None:
        """Play an item for a moment, as when flipping through several."""
        self.play_for(item, self.between(self.habits.flip_seconds))

    def repeat(self, item: ItemObject) -> None:
        """Play an item several times, with the player on repeat."""
        before = self.history.settings.repeat
        self.history.change(repeat="track")
        for _ in range(self._rng.randint(*self.habits.repeats)):
            self.play_for(item, item.seconds)
        self.history.change(repeat=before)

    def restart(self, item: ItemObject) -> None:
        """Start an item again before its end, once or a few times; each time begins a new play."""
        for _ in range(self._rng.choice((1, 1, 1, 2, 3))):
            self.play_for(item, self._rng.uniform(RESTART_AFTER, max(RESTART_AFTER, 0.98 * item.seconds)))
        self.play_through(item)

    def replay(self, item: ItemObject, other: ItemObject) -> None:
        """Play part of an item, a little of another one, and then the first one from its beginning."""
        self.play_for(item, self._rng.uniform(0.2, 0.6) * item.seconds)
        self.play_for(other, min(self.between(self.habits.other_seconds), 0.8 * other.seconds))
        self.play_for(item, item.seconds)

    def choose_speed(self) -> None:
        """Choose how fast podcasts and audiobooks are played from now on."""
        speed = self._rng.choice(SPEEDS) if self.happens(self.habits.speed) else 1.0
        hidden = speed != 1.0 and self.happens(self.habits.speed_hidden)
        self.history.change(
            speed=speed, report_seconds=self.between(self.habits.report_seconds) if hidden else None
        )

    def advertise(self) -> None:
        """Play one advertisement, or two in a row."""
        for _ in range(self._rng.choice((1, 1, 2))):
            self.history.ad(self.between(self.habits.ad_seconds))

    def play_spoken(self, item: ItemObject, position: float, until: float) -> None:
        """Play an episode or a chapter to its end or until about a moment, with a few short jumps."""
        history = self.history
        self.begin(item, position)
        self._listen_on(until)
        while history.remaining > 0 and history.now < until:
            self._jump()
            if self.happens(self.habits.pause):
                self._pause()
            self._listen_on(until)

    def change_device(self) -> None:
        """Move playback to another device."""
        others = [device for device in self.habits.devices if device != self.history.settings.device]
        device = self._rng.choice(others)
        seconds = self.between(self.habits.handover_seconds)
        self.history.hand_over(device, seconds, "unknown" if self.happens(0.4) else "nothing")

    def _listen_on(self, until: float) -> None:
        """Go on for some minutes, not far beyond `until`."""
        seconds = min(self._rng.uniform(240, 1200), max(self.habits.shortest, 10.0, until - self.history.now))
        self.history.listen(min(seconds, self.history.remaining))

    def _to_the_end(self) -> None:
        fade = self._fade()
        if fade is None or fade > 0.5 * self.history.remaining:
            self.history.listen()
        else:
            self.history.listen(self.history.remaining - fade, fade=True)

    def _fade(self) -> float | None:
        """Return how many seconds before the end the player moves on; with automix it varies."""
        if self.fade_seconds is None:
            return None
        return self.between(self.habits.automix_seconds) if self.fade_seconds == 0 else self.fade_seconds

    def _interruptions(self) -> list[Callable[[], None]]:
        habits = self.habits
        possible: list[tuple[float, Callable[[], None]]] = [
            (habits.pause, self._pause),
            (habits.long_pause, self._pause_long),
            (habits.seek, self._seek),
            (habits.handover, self.change_device),
            (habits.private_moment, self._hide),
        ]
        chosen = [interruption for rate, interruption in possible if self.happens(rate)]
        self._rng.shuffle(chosen)
        return chosen

    def _pause(self) -> None:
        shortest, longest = self.habits.pause_seconds
        self.history.pause(math.exp(self._rng.uniform(math.log(shortest), math.log(longest))))

    def _pause_long(self) -> None:
        """Pause for over half an hour; the device may go to sleep meanwhile."""
        seconds = self.between(self.habits.long_pause_seconds)
        shown = seconds if self.happens(0.5) else self._rng.uniform(300, 1500)
        self.history.pause(shown)
        if shown < seconds:
            self.history.gone(seconds - shown)

    def _seek(self) -> None:
        history = self.history
        if self.happens(0.6):
            history.seek(history.position + self._rng.uniform(0.1, 0.7) * history.remaining)
        else:
            history.seek(history.position * self._rng.uniform(0.1, 0.9))

    def _jump(self) -> None:
        """Jump 15 or 30 seconds forwards or 15 backwards, as the podcast buttons do."""
        if not self.happens(min(1.0, 10 * self.habits.seek)) or self.history.remaining < 60:  # noqa: PLR2004 - room to jump
            return
        self.history.seek(max(0.0, self.history.position + self._rng.choice((15, 15, 30, -15))))

    def _hide(self) -> None:
        """Switch to a private session for a while."""
        if self.history.settings.private:
            return
        self.history.change(private=self._rng.choice(("shown", "withheld")))
        self.history.listen(min(self.between(self.habits.private_seconds), 0.7 * self.history.remaining))
        self.history.change(private="")
