"""Find the artist, album or track that a text names, in one pass over the plays.

Each item is looked up in the catalog when it first occurs. From then on, statistics are kept of what matches,
so that the log rarely has to be read twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from spotify_logger.core.catalog import artist_names, is_episode, recording_key
from spotify_logger.core.periods import LocalClock
from spotify_logger.core.statistics import ItemCounts
from spotify_logger.core.text_search import MatchQuality, TextMatcher
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
"""For each kind, the catalog fields that identify and name its things."""


class ItemMatch(IntEnum):
    """How well a text matches a thing, from not at all to by its key.

    Attributes:
        NONE: It does not match.
        WORDS: Its words occur in artist and name, in any order.
        ACROSS: It is a part of artist and name, taken together.
        SUBSTRING: It is a part of the name.
        FOLDED: It is the name, or artist and name, except for case and accents.
        EXACT: It is the name, or artist and name, character by character.
        KEY: It is the key.
    """

    NONE = 0
    WORDS = 1
    ACROSS = 2
    SUBSTRING = 3
    FOLDED = 4
    EXACT = 5
    KEY = 6


ITEM_MATCH_OF = {
    MatchQuality.NONE: ItemMatch.NONE,
    MatchQuality.WORDS: ItemMatch.WORDS,
    MatchQuality.SUBSTRING: ItemMatch.SUBSTRING,
    MatchQuality.EXACT: ItemMatch.FOLDED,
}


class ItemQuery:
    """The thing to search for.

    Args:
        kind: ARTISTS, ALBUMS or TRACKS.
        text: A name, with or without the artist before it, or a key such as "track:<id>" or "album:<id>".
    """

    def __init__(self, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text
        self._key = text.removeprefix("spotify:")
        self._finder = TextMatcher(text)

    def named(self, name: str) -> ItemMatch:
        """Return how well the text matches a name."""
        return ItemMatch.EXACT if name == self.text else ITEM_MATCH_OF[self._finder.match(name, "", "")]

    def titled(self, key: str, name: str, entry: CatalogEntry) -> ItemMatch:
        """Return how well the text matches a track or an album.

        Args:
            key: Its key.
            name: Its name.
            entry: The catalog entry of the track, or of any track of the album.
        """
        if key == self._key:
            return ItemMatch.KEY
        return max(self._with_artist(artist, name) for artist in {entry.artists, *artist_names(entry)})

    def _with_artist(self, artist: str, name: str) -> ItemMatch:
        both = self.named(f"{artist} {name}")
        if both in (ItemMatch.NONE, ItemMatch.EXACT):
            return both
        return max(self.named(name), ItemMatch.ACROSS if both is ItemMatch.SUBSTRING else both)


@dataclass(slots=True)
class MatchGroup:
    """Things that match equally well.

    Attributes:
        stats: The statistics of the thing; unused once there are several.
        things: What identifies the things.
        items: Their catalog keys.
    """

    stats: ItemStats
    things: set[Hashable]
    items: set[str]


class ItemSearch:
    """Reads the plays of a question and finds the things that match a text.

    Args:
        reader: Reads the plays.
        query: The thing to search for.

    Attributes:
        query: The thing to search for.
        entries: The catalog entries of everything played, with the `NEEDED` fields only.
        tallies: How much was played, by item.
        ranking: All things of the kind, most played first, including those without plays that count.
        candidates: Those that match best.
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
        self._best = max(self._groups, default=ItemMatch.NONE)
        self.candidates = self.matching(self._best)

    def matching(self, how: ItemMatch) -> list[RankedItem]:
        """Return the things that match this well, the most played first."""
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
            for how, thing in self._matches(key, entry):
                if how:
                    group = self._groups.get(how) or self._new_group(how)
                    group.things.add(thing)
                    group.items.add(key)

    def _matches(self, key: str, entry: CatalogEntry) -> Iterable[tuple[ItemMatch, Hashable]]:
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
