"""Which artist, album or track a text means, and what became of it, found while the rows go by.

Each item is looked up when it is met first. What fits is followed from there on, so that in the end most
often everything is known of it, and the log need not be read twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from spotify_logger.core.catalog import artist_names, is_episode, recording_key
from spotify_logger.core.periods import LocalClock
from spotify_logger.core.statistics import ItemCounts
from spotify_logger.core.text import MatchQuality, TextMatcher
from spotify_logger.queries.item_stats import Following
from spotify_logger.queries.ranking import ALBUMS, ARTISTS, TRACKS, Ranked, groups_of, ranked

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from spotify_logger.core.catalog import CatalogEntry
    from spotify_logger.core.play_rows import PlayRows
    from spotify_logger.queries.reader import Reading

NEEDED: Mapping[str, Sequence[str]] = {
    ARTISTS: ("artists", "artist_ids"),
    ALBUMS: ("artists", "artist_ids", "album", "album_id"),
    TRACKS: ("name", "artists", "artist_ids", "isrc"),
}
"""The fields of the catalogue that tell things of a kind from each other, and what they are called."""


class How(IntEnum):
    """How well a text fits something, from not at all to as well as can be.

    Attributes:
        NOT: Not at all.
        WORDS: Its words are in whose it is and what it is called, in any order.
        BESIDE: It is a part of whose it is and what it is called, taken together.
        IN_PART: It is a part of its name.
        WHOLE: It is its name, with whose it is before it or not; case and accents aside.
        EXACTLY: The same letter by letter.
        KEY: It is its key.
    """

    NOT = 0
    WORDS = 1
    BESIDE = 2
    SUBSTRING = 3
    EXACT = 4
    EXACTLY = 5
    KEY = 6


HOW_OF = {
    MatchQuality.NOT: How.NOT,
    MatchQuality.WORDS: How.WORDS,
    MatchQuality.SUBSTRING: How.SUBSTRING,
    MatchQuality.EXACT: How.EXACT,
}


class Wanted:
    """What is looked for.

    Args:
        kind: ARTISTS, ALBUMS or TRACKS.
        text: A name, with that of the artist before it or not; or a key, as "track:<id>" or "album:<id>".
    """

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text
        self._key = text.removeprefix("spotify:")
        self._finder = TextMatcher(text)

    def named(self, name: str) -> How:
        """How well it fits a name."""
        return How.EXACTLY if name == self.text else HOW_OF[self._finder.match(name, "", "")]

    def titled(self, key: str, name: str, entry: CatalogEntry) -> How:
        """How well it fits a track or an album.

        Args:
            key: Its key.
            name: What it is called.
            entry: What else is known of it.
        """
        if key == self._key:
            return How.KEY
        return max(self._beside(whose, name) for whose in {entry.artists, *artist_names(entry)})

    def _beside(self, whose: str, name: str) -> How:
        both = self.named(f"{whose} {name}")
        if both in (How.NOT, How.EXACTLY):
            return both
        return max(self.named(name), How.BESIDE if both is How.SUBSTRING else both)


@dataclass(slots=True)
class Trail:
    """What fits equally well.

    Attributes:
        following: What was played of it, as long as it is one thing.
        things: What tells it from others.
        items: Its catalogue keys.
    """

    following: Following
    things: set[Hashable]
    items: set[str]


class Search:
    """Reads the rows of a question, and finds what a text means among what was played.

    Args:
        reading: The rows.
        wanted: What is looked for.

    Attributes:
        wanted: The same.
        entries: What the catalogue knows of all that was played, as far as it is `NEEDED`.
        tallies: How much was played, by item.
        ranking: All things of the kind, the most played first, with those of which no play counts.
        candidates: Those of them that fit best.
    """

    def __init__(self, reading: Reading, wanted: Wanted) -> None:
        self.wanted = wanted
        self.entries: dict[str, CatalogEntry] = {}
        self.tallies = ItemCounts()
        self._reading = reading
        self._exact = reading.question.exact
        self._clock = LocalClock(reading.question.zone)
        self._trails: dict[How, Trail] = {}
        for days, new in reading.met(NEEDED[wanted.kind]):
            self._learn(new)
            for rows, counts in days:
                self._add(rows, counts)
        groups = groups_of(wanted.kind, self.entries, exact=self._exact)
        self.ranking = ranked(self.tallies, groups, reading.question.by, counted=False)
        self._best = max(self._trails, default=How.NOT)
        self.candidates = self.fitting(self._best)

    def fitting(self, how: How) -> list[Ranked]:
        """The things that fit so well, the most played first."""
        trail = self._trails.get(how)
        if trail is None:
            return []
        if self.wanted.kind == ARTISTS:
            return [each for each in self.ranking if each.group in trail.things]
        return [each for each in self.ranking if not trail.items.isdisjoint(each.keys)]

    def follow(self, each: Ranked) -> Following:
        """All that is told of one of the candidates."""
        items = set(each.keys)
        trail = self._trails[self._best]
        if len(trail.things) == 1 and trail.items == items:
            return trail.following
        following = Following(items, self._clock)
        for rows, counts in self._reading.days():
            following.add(rows, counts)
        return following

    def _learn(self, new: Mapping[str, CatalogEntry]) -> None:
        """See whether anything fits of what is met first."""
        self.entries.update(new)
        for key, entry in new.items():
            if is_episode(key):
                continue
            for how, thing in self._fits(key, entry):
                if how:
                    trail = self._trails.get(how) or self._new_trail(how)
                    trail.things.add(thing)
                    trail.items.add(key)

    def _fits(self, key: str, entry: CatalogEntry) -> Iterable[tuple[How, Hashable]]:
        """How well which things fit that an item belongs to."""
        wanted = self.wanted
        if wanted.kind == ARTISTS:
            return [(wanted.named(name), name) for name in artist_names(entry)]
        if wanted.kind == TRACKS:
            same = recording_key(key, entry.isrc, exact=self._exact)
            return [(wanted.titled(key, entry.name, entry), same)]
        key = f"album:{entry.album_id}" if entry.album_id else ""
        # By name alone: only all of the catalogue would tell whether it is an album of many artists.
        return [(wanted.titled(key, entry.album, entry), entry.album)] if entry.album else []

    def _new_trail(self, how: How) -> Trail:
        items: set[str] = set()
        trail = self._trails[how] = Trail(Following(items, self._clock), set(), items)
        return trail

    def _add(self, rows: PlayRows, counts: list[bool]) -> None:
        self.tallies.add(rows, counts)
        for trail in self._trails.values():
            if len(trail.things) == 1:
                trail.following.add(rows, counts)
