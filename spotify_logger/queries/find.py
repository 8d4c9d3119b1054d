"""Find the artist, album or track that a text means, in one pass over the plays.

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
from spotify_logger.queries.item_stats import ItemStats
from spotify_logger.queries.ranking import ALBUMS, ARTISTS, TRACKS, RankedItem, groups_of, ranked

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from spotify_logger.core.catalog import CatalogEntry
    from spotify_logger.core.play_rows import PlayRows
    from spotify_logger.queries.reader import PlayReader

NEEDED: Mapping[str, Sequence[str]] = {
    ARTISTS: ("artists", "artist_ids"),
    ALBUMS: ("artists", "artist_ids", "album", "album_id"),
    TRACKS: ("name", "artists", "artist_ids", "isrc"),
}
"""The catalog fields that identify and name the things of a kind."""


class ItemMatch(IntEnum):
    """How well a text matches a thing, from not at all to exactly by key.

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


ITEM_MATCH_OF = {
    MatchQuality.NONE: ItemMatch.NOT,
    MatchQuality.WORDS: ItemMatch.WORDS,
    MatchQuality.SUBSTRING: ItemMatch.SUBSTRING,
    MatchQuality.EXACT: ItemMatch.EXACT,
}


class ItemQuery:
    """The thing to search for.

    Args:
        kind: ARTISTS, ALBUMS or TRACKS.
        text: A name, with that of the artist before it or not; or a key, as "track:<id>" or "album:<id>".
    """

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text
        self._key = text.removeprefix("spotify:")
        self._finder = TextMatcher(text)

    def named(self, name: str) -> ItemMatch:
        """Return how well the text matches a name."""
        return ItemMatch.EXACTLY if name == self.text else ITEM_MATCH_OF[self._finder.match(name, "", "")]

    def titled(self, key: str, name: str, entry: CatalogEntry) -> ItemMatch:
        """Return how well the text matches a track or an album.

        Args:
            key: Its key.
            name: What it is called.
            entry: What else is known of it.
        """
        if key == self._key:
            return ItemMatch.KEY
        return max(self._beside(whose, name) for whose in {entry.artists, *artist_names(entry)})

    def _beside(self, whose: str, name: str) -> ItemMatch:
        both = self.named(f"{whose} {name}")
        if both in (ItemMatch.NOT, ItemMatch.EXACTLY):
            return both
        return max(self.named(name), ItemMatch.BESIDE if both is ItemMatch.SUBSTRING else both)


@dataclass(slots=True)
class MatchGroup:
    """Things that match equally well.

    Attributes:
        following: What was played of it, as long as it is one thing.
        things: What tells it from others.
        items: Their catalog keys.
    """

    stats: ItemStats
    things: set[Hashable]
    items: set[str]


class ItemSearch:
    """Reads the plays of a question and finds the things that match a text.

    Args:
        reading: The rows.
        wanted: What is looked for.

    Attributes:
        wanted: The same.
        entries: The catalog entries of everything played, with the `NEEDED` fields only.
        tallies: How much was played, by item.
        ranking: All things of the kind, the most played first, with those of which no play counts.
        candidates: Those of them that fit best.
    """

    def __init__(self, reader: PlayReader, query: ItemQuery) -> None:
        self.query = query
        self.entries: dict[str, CatalogEntry] = {}
        self.tallies = ItemCounts()
        self._reader = reader
        self._exact = reader.question.exact
        self._clock = LocalClock(reader.question.zone)
        self._groups: dict[ItemMatch, MatchGroup] = {}
        for days, new in reader.batches(NEEDED[query.kind]):
            self._learn(new)
            for rows, counts in days:
                self._add(rows, counts)
        groups = groups_of(query.kind, self.entries, exact=self._exact)
        self.ranking = ranked(self.tallies, groups, reader.question.by, counted_only=False)
        self._best = max(self._groups, default=ItemMatch.NOT)
        self.candidates = self.fitting(self._best)

    def fitting(self, how: ItemMatch) -> list[RankedItem]:
        """Return the things that match this well, most played first."""
        group = self._groups.get(how)
        if group is None:
            return []
        if self.query.kind == ARTISTS:
            return [each for each in self.ranking if each.group in group.things]
        return [each for each in self.ranking if not group.items.isdisjoint(each.keys)]

    def follow(self, each: RankedItem) -> ItemStats:
        """Return the statistics of one of the candidates."""
        items = set(each.keys)
        group = self._groups[self._best]
        if len(group.things) == 1 and group.items == items:
            return group.stats
        stats = ItemStats(items, self._clock)
        for rows, counts in self._reader.days():
            stats.add(rows, counts)
        return stats

    def _learn(self, new: Mapping[str, CatalogEntry]) -> None:
        """Match items that are new."""
        self.entries.update(new)
        for key, entry in new.items():
            if is_episode(key):
                continue
            for how, thing in self._fits(key, entry):
                if how:
                    group = self._groups.get(how) or self._new_group(how)
                    group.things.add(thing)
                    group.items.add(key)

    def _fits(self, key: str, entry: CatalogEntry) -> Iterable[tuple[ItemMatch, Hashable]]:
        """Return the things that an item belongs to, each with how well it matches."""
        query = self.query
        if query.kind == ARTISTS:
            return [(query.named(name), name) for name in artist_names(entry)]
        if query.kind == TRACKS:
            same = recording_key(key, entry.isrc, exact=self._exact)
            return [(query.titled(key, entry.name, entry), same)]
        key = f"album:{entry.album_id}" if entry.album_id else ""
        # By name alone: only the whole catalog would show whether the album has several artists.
        return [(query.titled(key, entry.album, entry), entry.album)] if entry.album else []

    def _new_group(self, how: ItemMatch) -> MatchGroup:
        items: set[str] = set()
        group = self._groups[how] = MatchGroup(ItemStats(items, self._clock), set(), items)
        return group

    def _add(self, rows: PlayRows, counts: list[bool]) -> None:
        self.tallies.add(rows, counts)
        for group in self._groups.values():
            if len(group.things) == 1:
                group.stats.add(rows, counts)
