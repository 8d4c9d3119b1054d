"""A random listener; the same seed gives the same history."""

from __future__ import annotations

import math
import random
from itertools import chain
from typing import TYPE_CHECKING

from spotify_logger.simulator.bodies import LIKED_SONGS, context, make_id
from spotify_logger.simulator.catalog import make_catalog
from spotify_logger.simulator.habits import Habits
from spotify_logger.simulator.history import History
from spotify_logger.simulator.listening_behavior import ListeningBehavior

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spotify_logger.simulator.bodies import ItemObject
    from spotify_logger.simulator.catalog import Catalog
    from spotify_logger.simulator.timeline import ListeningHistory

DEFAULT_START = 1767571200.0
"""When histories begin by default: Monday, 2026-01-05, 00:00 UTC."""
DAY = 86400.0

MIN_IDLE_SECONDS = 2700.0
"""Minimum seconds of silence between two sessions: more than the half hour after which a play is over."""

MIN_REMAINING_SECONDS = 60.0
"""Seconds left of an episode below which nobody comes back to it."""


def listen(
    seed: int,
    days: float,
    habits: Habits | None = None,
    *,
    start: float = DEFAULT_START,
    catalog: Catalog | None = None,
) -> ListeningHistory:
    """Return the history of a random listener.

    Args:
        seed: Random seed.
        days: How many days of 24 hours it covers.
        habits: The habits of the listener (default: those of an ordinary one).
        start: When the history begins, in seconds since the epoch.
        catalog: What can be played (default: made up from the seed).
    """
    listener = SimulatedListener(seed, habits or Habits(), catalog or make_catalog(seed), start)
    listener.simulate(start, days)
    return listener.finish()


class SimulatedListener:
    """Generates the history of one listener; see `listen`."""

    def __init__(self, seed: int, habits: Habits, catalog: Catalog, start: float) -> None:
        self._rng = random.Random(f"listener {seed}")
        self._history = History(start)
        self._behavior = ListeningBehavior(self._history, habits, self._rng)
        self.change(habits, catalog)
        self._queue: Iterator[ItemObject] = iter(())
        self._paused: tuple[ItemObject, float] | None = None
        """The track that was paused when the last session ended, and its position in seconds."""
        self._bookmarks: dict[str, float] = {}
        """The positions in seconds at which episodes and chapters were left, by URI."""
        self._chapters: Iterator[ItemObject] = iter(())
        self._hiccups: list[tuple[float, int]] = []

    def change(self, habits: Habits, catalog: Catalog) -> None:
        """Change the habits, and what can be played, from now on."""
        self._habits = self._behavior.habits = habits
        self._catalog = catalog.within(*habits.lengths)
        self._tracks = self._catalog.tracks
        self._albums = [album for album in self._catalog.albums if len(album) > 1]

    def simulate(self, begin: float, days: float) -> None:
        """Listen for some days, from a moment that is not in the past."""
        sessions = self._nonstop(begin + days * DAY) if self._habits.nonstop else self._sessions(begin, days)
        for until in sessions:
            self._listen_until(until)
        self._history.gone(max(0.0, begin + days * DAY - self._history.now))

    def finish(self) -> ListeningHistory:
        """End the history, and return it."""
        return self._history.finish(tuple(self._hiccups))

    def _nonstop(self, end: float) -> Iterator[float]:
        while self._history.now < end:
            yield min(end, self._history.now + self._behavior.between(self._habits.session))

    def _sessions(self, begin: float, days: float) -> Iterator[float]:
        """Advance to the beginning of each session, and yield when it will end."""
        history = self._history
        for day in range(math.ceil(days)):
            for earliest, latest, probability in self._habits.hours:
                start = begin + day * DAY + 3600 * self._behavior.between((earliest, latest))
                length = self._behavior.between(self._habits.session)
                if self._behavior.happens(probability) and start + length <= begin + days * DAY + 3 * 3600:
                    history.gone(max(MIN_IDLE_SECONDS, start - history.now))
                    yield history.now + length

    def _listen_until(self, until: float) -> None:
        """Go through one session, which ends at about a moment."""
        begin = self._history.now
        self._start_session()
        habits = self._habits
        kinds = (
            (habits.music, self._music),
            (habits.podcast, self._podcast),
            (habits.audiobook, self._book),
            (habits.local, self._files),
        )
        (kind,) = self._rng.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])
        kind(until)
        if self._behavior.happens(habits.hiccup):
            count = self._rng.choice((1, 1, 1, 2, 3))
            self._hiccups.append((self._rng.uniform(begin, self._history.now), count))

    def _start_session(self) -> None:
        """Choose the device and the other settings of a session."""
        habits, behavior = self._habits, self._behavior
        private = self._rng.choice(("shown", "withheld", "nothing"))
        frozen = self._history.now - self._rng.uniform(600, 7200)
        self._history.change(
            speed=1.0,
            report_seconds=None,
            device=self._rng.choice(habits.devices),
            private=private if behavior.happens(habits.private) else "",
            frozen_at=frozen if behavior.happens(habits.frozen_timestamp) else None,
        )
        fade = self._rng.choice((0.0, behavior.between(habits.fade_seconds)))
        behavior.fade_seconds = fade if behavior.happens(habits.crossfade) else None

    def _music(self, until: float) -> None:
        self._begin_music()
        with_ads = self._behavior.happens(self._habits.ads)
        count = 0
        while self._history.now < until:
            self._take_turn()
            count += 1
            if with_ads and count % 4 == 0:
                self._behavior.advertise()
        self._end()

    def _begin_music(self) -> None:
        """Resume the track that was paused last time, or skip the first one, or do neither."""
        paused, self._paused = self._paused, None
        if paused and self._behavior.happens(self._habits.resume):
            item, position = paused
            self._behavior.play_through(item, position)
        elif self._behavior.happens(self._habits.first_skip):
            self._behavior.skip_early(self._next())

    def _take_turn(self) -> None:
        """Do something with the next item or the next few."""
        behavior, habits = self._behavior, self._habits
        actions: tuple[tuple[float, Callable[[], None]], ...] = (
            (habits.flip, self._flip),
            (habits.early_skip, lambda: behavior.skip_early(self._next())),
            (habits.late_skip, lambda: behavior.skip_late(self._next())),
            (habits.repeat_one, lambda: behavior.repeat(self._next())),
            (habits.restart, lambda: behavior.restart(self._next())),
            (habits.replay, lambda: behavior.replay(self._next(), self._next())),
            (habits.episode, self._episode_between),
        )
        roll = self._rng.random()
        for probability, act in actions:
            if roll < probability:
                return act()
            roll -= probability
        return behavior.play_through(self._next())

    def _flip(self) -> None:
        for _ in range(self._rng.randint(*self._habits.flips)):
            self._behavior.flip(self._next())

    def _episode_between(self) -> None:
        """Play part of an episode between two tracks."""
        episode = self._rng.choice(self._rng.choice(self._catalog.shows))
        settings = self._history.settings
        self._history.change(context=episode.home, shuffle=False)
        self._behavior.play_spoken(
            episode, 0.0, self._history.now + self._behavior.between(self._habits.episode_part)
        )
        self._history.change(context=settings.context, shuffle=settings.shuffle)

    def _next(self) -> ItemObject:
        """Return the next item of the queue, filling it when it is empty."""
        item = next(self._queue, None)
        while item is None:
            self._queue = self._choose()
            item = next(self._queue, None)
        return item

    def _choose(self) -> Iterator[ItemObject]:
        """Choose an album, a playlist, an artist or the liked songs, and yield its items."""
        if self._behavior.happens(0.35):
            album = self._rng.choice(self._albums)
            self._history.change(context=album[0].home, shuffle=False, repeat="off")
            yield from album
            return
        playlist = context("playlist", make_id(self._rng))
        artist = context("artist", make_id(self._rng))
        source = self._rng.choice((playlist, playlist, LIKED_SONGS, artist, None))
        self._history.change(
            context=source,
            shuffle=self._behavior.happens(0.5),
            repeat=self._rng.choice(("off", "off", "context")),
        )
        yield from self._rng.sample(self._tracks, min(len(self._tracks), self._rng.randint(8, 25)))

    def _podcast(self, until: float) -> None:
        """Play episodes; one that was left unfinished goes on where it was left."""
        self._behavior.choose_speed()
        while self._history.now < until:
            episode = self._choose_episode()
            self._history.change(context=episode.home, shuffle=False, repeat="off")
            self._play_spoken(episode, until)
        self._end_in_the_middle()

    def _choose_episode(self) -> ItemObject:
        episodes = [episode for show in self._catalog.shows for episode in show]
        left = [episode for episode in episodes if episode.uri in self._bookmarks]
        return self._rng.choice(left if left and self._behavior.happens(0.7) else episodes)

    def _book(self, until: float) -> None:
        """Play chapters in order; one that was left unfinished goes on where it was left."""
        self._behavior.choose_speed()
        while self._history.now < until:
            chapter = next(self._chapters, None)
            if chapter is None:
                self._chapters = iter(self._rng.choice(self._catalog.books))
                continue
            self._history.change(context=chapter.home, shuffle=False, repeat="off")
            self._play_spoken(chapter, until)
            if chapter.uri in self._bookmarks:
                self._chapters = chain((chapter,), self._chapters)
        self._end_in_the_middle()

    def _play_spoken(self, item: ItemObject, until: float) -> None:
        """Play an episode or a chapter from its bookmark, and set a new one."""
        self._behavior.play_spoken(item, self._bookmarks.pop(item.uri, 0.0), until)
        if self._history.remaining > MIN_REMAINING_SECONDS:
            self._bookmarks[item.uri] = self._history.position

    def _files(self, until: float) -> None:
        """Play local files, with some tracks between them."""
        while self._history.now < until:
            self._history.change(context=None, shuffle=True, repeat="off")
            for _ in range(self._rng.randint(1, 5)):
                self._behavior.play_through(self._rng.choice(self._catalog.files))
            self._behavior.play_through(self._next())
        self._end()

    def _end(self) -> None:
        """End a session with a last track, in one of several ways."""
        if self._habits.nonstop:
            return
        habits, rng = self._habits, self._rng
        endings = (
            (habits.ends_paused, self._end_paused),
            (habits.ends_silent, self._end_silent),
            (habits.ends_gone, self._end_gone),
        )
        (ending,) = rng.choices([ending for _, ending in endings], [weight for weight, _ in endings])
        self._behavior.fade_seconds = None  # there is nothing to fade into
        ending()

    def _end_paused(self) -> None:
        item = self._next()
        self._behavior.play_for(item, self._rng.uniform(0.1, 0.9) * item.seconds)
        self._paused = (item, self._history.position)
        self._history.pause(self._behavior.between(self._habits.paused_end_seconds)).gone(1)

    def _end_silent(self) -> None:
        self._behavior.play_through(self._next())
        self._history.silent(self._behavior.between(self._habits.silent_end_seconds)).gone(1)

    def _end_gone(self) -> None:
        self._behavior.play_through(self._next())
        self._history.gone(1)

    def _end_in_the_middle(self) -> None:
        """End a session by pausing an episode or a chapter."""
        if self._habits.nonstop or self._history.remaining <= 0:
            return
        self._history.pause(self._behavior.between(self._habits.paused_end_seconds)).gone(1)
