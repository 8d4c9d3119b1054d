"""A listener made of chance: the same days for the same seed, and the truth about them."""

from __future__ import annotations

import math
import random
from itertools import chain
from typing import TYPE_CHECKING

from spotify_logger.simulator.bodies import LIKED_SONGS, context, make_id
from spotify_logger.simulator.catalog import make_catalog
from spotify_logger.simulator.habits import Habits
from spotify_logger.simulator.hearing import DEVICES, ListeningBehavior
from spotify_logger.simulator.history import History

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spotify_logger.simulator.bodies import ItemObject
    from spotify_logger.simulator.catalog import Catalog
    from spotify_logger.simulator.timeline import ListeningHistory

DAWN = 1767571200.0
"""Monday, 2026-01-05, 00:00 UTC: when histories begin by default."""
DAY = 86400.0

LISTENING_HOURS = (
    (6.8, 8.0, 0.75),
    (8.5, 12.0, 0.55),
    (12.5, 16.0, 0.55),
    (17.0, 19.0, 0.55),
    (19.5, 22.5, 0.85),
)
"""Sessions of a day: the hours between which one begins, and how likely it is. Late ones go past midnight."""

MEAN_IDLE_SECONDS = 2700.0
"""Seconds of silence, at least, between two sessions: more than the half hour after which a play is over."""

MIN_SESSION_SECONDS = 60.0
"""Seconds: for so little nobody comes back to an episode."""


def listen(
    seed: int,
    days: float,
    habits: Habits | None = None,
    *,
    start: float = DAWN,
    catalog: Catalog | None = None,
) -> ListeningHistory:
    """Return what a listener heard.

    Args:
        seed: Chance; the same seed gives the same history.
        days: How many days, of 24 hours.
        habits: How this listener listens; an ordinary one by default.
        start: When the history begins, in seconds since the epoch.
        catalog: What there is to hear; made up from the seed unless given.
    """
    listener = SimulatedListener(seed, habits or Habits(), catalog or make_catalog(seed), start)
    return listener.live(days)


class SimulatedListener:
    """One listener's days. Use `listen`."""

    def __init__(self, seed: int, habits: Habits, catalog: Catalog, start: float) -> None:
        self._habits = habits
        self._chance = random.Random(f"listener {seed}")
        self._history = History(start)
        self._hearing = ListeningBehavior(self._history, habits, self._chance)
        self._catalog = catalog.within(*habits.lengths)
        self._tracks = self._catalog.tracks
        self._albums = [album for album in self._catalog.albums if len(album) > 1]
        self._queue: Iterator[ItemObject] = iter(())
        self._paused: tuple[ItemObject, float] | None = None
        """The track that was left in the middle when the last session ended, and where, in seconds."""
        self._bookmarks: dict[str, float] = {}
        """Where episodes and chapters were left, in seconds, by URI."""
        self._chapters: Iterator[ItemObject] = iter(())
        self._hiccups: list[tuple[float, int]] = []

    def live(self, days: float) -> ListeningHistory:
        """Live through some days."""
        begin = self._history.now
        sittings = self._nonstop(begin + days * DAY) if self._habits.nonstop else self._sittings(begin, days)
        for until in sittings:
            self._sit(until)
        self._history.gone(max(0.0, begin + days * DAY - self._history.now))
        return self._history.finish(tuple(self._hiccups))

    def _nonstop(self, end: float) -> Iterator[float]:
        while self._history.now < end:
            yield min(end, self._history.now + self._hearing.between(self._habits.session))

    def _sittings(self, begin: float, days: float) -> Iterator[float]:
        """Wait for each session in turn, and yield when it will end."""
        history = self._history
        for day in range(math.ceil(days)):
            for earliest, latest, chance in LISTENING_HOURS:
                start = begin + day * DAY + 3600 * self._hearing.between((earliest, latest))
                length = self._hearing.between(self._habits.session)
                if self._hearing.happens(chance) and start + length <= begin + days * DAY + 3 * 3600:
                    history.gone(max(MEAN_IDLE_SECONDS, start - history.now))
                    yield history.now + length

    def _sit(self, until: float) -> None:
        """Listen until about a moment, then stop."""
        begin = self._history.now
        self._settle()
        habits = self._habits
        kinds = (
            (habits.music, self._music),
            (habits.podcast, self._podcast),
            (habits.audiobook, self._book),
            (habits.local, self._files),
        )
        (kind,) = self._chance.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])
        kind(until)
        if self._hearing.happens(habits.hiccup):
            count = self._chance.choice((1, 1, 1, 2, 3))
            self._hiccups.append((self._chance.uniform(begin, self._history.now), count))

    def _settle(self) -> None:
        """Choose the device and whatever else lasts for a session."""
        habits, hearing = self._habits, self._hearing
        private = self._chance.choice(("shown", "withheld", "nothing"))
        frozen = self._history.now - self._chance.uniform(600, 7200)
        self._history.surround(
            device=self._chance.choice(DEVICES),
            private=private if hearing.happens(habits.private) else "",
            frozen_at=frozen if hearing.happens(habits.frozen_timestamp) else None,
        )
        fade = self._chance.choice((0.0, hearing.between(habits.fade_seconds)))
        hearing.fade_seconds = fade if hearing.happens(habits.crossfade) else None

    def _music(self, until: float) -> None:
        self._begin_music()
        with_ads = self._hearing.happens(self._habits.ads)
        count = 0
        while self._history.now < until:
            self._turn()
            count += 1
            if with_ads and count % 4 == 0:
                self._hearing.advertise()
        self._end()

    def _begin_music(self) -> None:
        """Start with what was paused last time, or with something that is skipped at once, or neither."""
        paused, self._paused = self._paused, None
        if paused and self._hearing.happens(self._habits.resume):
            item, position = paused
            self._hearing.through(item, position)
        elif self._hearing.happens(self._habits.first_skip):
            self._hearing.skip_early(self._next())

    def _turn(self) -> None:
        """Do one thing with the next item, or with the next few."""
        hearing, habits = self._hearing, self._habits
        ways: tuple[tuple[float, Callable[[], None]], ...] = (
            (habits.flip, self._flip),
            (habits.early_skip, lambda: hearing.skip_early(self._next())),
            (habits.late_skip, lambda: hearing.skip_late(self._next())),
            (habits.repeat_one, lambda: hearing.repeat(self._next())),
            (habits.replay, lambda: hearing.replay(self._next(), self._next())),
            (habits.episode, self._episode_between),
        )
        roll = self._chance.random()
        for chance, way in ways:
            if roll < chance:
                return way()
            roll -= chance
        return hearing.through(self._next())

    def _flip(self) -> None:
        for _ in range(self._chance.randint(*self._habits.flips)):
            self._hearing.flip(self._next())

    def _episode_between(self) -> None:
        """Hear part of an episode between two tracks."""
        episode = self._chance.choice(self._chance.choice(self._catalog.shows))
        scene = self._history.scene
        self._history.surround(context=episode.home, shuffle=False)
        self._hearing.spoken(
            episode, 0.0, self._history.now + self._hearing.between(self._habits.episode_part)
        )
        self._history.surround(context=scene.context, shuffle=scene.shuffle)

    def _next(self) -> ItemObject:
        """Return the next item of what plays: an album in order, a playlist, an artist, the liked songs."""
        item = next(self._queue, None)
        while item is None:
            self._queue = self._choose()
            item = next(self._queue, None)
        return item

    def _choose(self) -> Iterator[ItemObject]:
        """Choose what to put on, and yield it."""
        if self._hearing.happens(0.35):
            album = self._chance.choice(self._albums)
            self._history.surround(context=album[0].home, shuffle=False, repeat="off")
            yield from album
            return
        playlist = context("playlist", make_id(self._chance))
        artist = context("artist", make_id(self._chance))
        source = self._chance.choice((playlist, playlist, LIKED_SONGS, artist, None))
        self._history.surround(
            context=source,
            shuffle=self._hearing.happens(0.5),
            repeat=self._chance.choice(("off", "off", "context")),
        )
        yield from self._chance.sample(self._tracks, min(len(self._tracks), self._chance.randint(8, 25)))

    def _podcast(self, until: float) -> None:
        """Hear episodes, the first one from where it was left."""
        while self._history.now < until:
            episode = self._choose_episode()
            self._history.surround(context=episode.home, shuffle=False, repeat="off")
            self._speak(episode, until)
        self._end_in_the_middle()

    def _choose_episode(self) -> ItemObject:
        episodes = [episode for show in self._catalog.shows for episode in show]
        left = [episode for episode in episodes if episode.uri in self._bookmarks]
        return self._chance.choice(left if left and self._hearing.happens(0.7) else episodes)

    def _book(self, until: float) -> None:
        """Hear chapters in a row, the first one from where it was left."""
        while self._history.now < until:
            chapter = next(self._chapters, None)
            if chapter is None:
                self._chapters = iter(self._chance.choice(self._catalog.books))
                continue
            self._history.surround(context=chapter.home, shuffle=False, repeat="off")
            self._speak(chapter, until)
            if chapter.uri in self._bookmarks:
                self._chapters = chain((chapter,), self._chapters)
        self._end_in_the_middle()

    def _speak(self, item: ItemObject, until: float) -> None:
        """Hear an episode or a chapter from where it was left, and remember where it is left now."""
        self._hearing.spoken(item, self._bookmarks.pop(item.uri, 0.0), until)
        if self._history.remaining > MIN_SESSION_SECONDS:
            self._bookmarks[item.uri] = self._history.position

    def _files(self, until: float) -> None:
        """Hear files of one's own, with tracks among them."""
        while self._history.now < until:
            self._history.surround(context=None, shuffle=True, repeat="off")
            for _ in range(self._chance.randint(1, 5)):
                self._hearing.through(self._chance.choice(self._catalog.files))
            self._hearing.through(self._next())
        self._end()

    def _end(self) -> None:
        """End a session with a last track, in one of the ways in which sessions end."""
        if self._habits.nonstop:
            return
        habits, chance = self._habits, self._chance
        ways = (
            (habits.ends_paused, self._end_paused),
            (habits.ends_silent, self._end_silent),
            (habits.ends_gone, self._end_gone),
        )
        (way,) = chance.choices([way for _, way in ways], [weight for weight, _ in ways])
        self._hearing.fade_seconds = None  # there is nothing to fade into
        way()

    def _end_paused(self) -> None:
        item = self._next()
        self._hearing.hear(item, self._chance.uniform(0.1, 0.9) * item.seconds)
        self._paused = (item, self._history.position)
        self._history.pause(self._hearing.between(self._habits.paused_end_seconds)).gone(1)

    def _end_silent(self) -> None:
        self._hearing.through(self._next())
        self._history.silent(self._hearing.between(self._habits.silent_end_seconds)).gone(1)

    def _end_gone(self) -> None:
        self._hearing.through(self._next())
        self._history.gone(1)

    def _end_in_the_middle(self) -> None:
        """Pause what is spoken, to be gone on with another time."""
        if self._habits.nonstop or self._history.remaining <= 0:
            return
        self._history.pause(self._hearing.between(self._habits.paused_end_seconds)).gone(1)
