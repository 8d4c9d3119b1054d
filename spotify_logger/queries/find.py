"""Find the artist, album or track that a text names, in one pass over the plays.

Each item is looked up in the catalog when it first occurs. From then on, statistics are kept of what matches,
so that the log rarely has to be read twice.
"""

from __future__ import annotations

from enum import IntEnum
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.catalog import (
    ARTIST_FIELDS,
    RECORDING_FIELDS,
    Artist,
    CatalogEntry,
    artists_of,
    is_episode,
)
from spotify_logger.core.periods import LocalClock
from spotify_logger.core.statistics import CalendarCounts, ItemCounts, Totals
from spotify_logger.core.text import fold
from spotify_logger.core.text_search import TextMatcher
from spotify_logger.queries.ranking import ALBUMS, ARTISTS, TRACKS, RankedItem, groups_of, ranked

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from spotify_logger.core.play_rows import PlayRows
    from spotify_logger.queries.reader import PlayReader

NEEDED: Mapping[str, Sequence[str]] = {
    ARTISTS: ARTIST_FIELDS,
    ALBUMS: ("album", "album_id", *ARTIST_FIELDS),
    TRACKS: RECORDING_FIELDS,
}
"""For each kind, the catalog fields that identify and name its things."""


class ItemMatch(IntEnum):
    """How well a text matches a thing, from not at all to by its key."""

    NONE = 0
    WORDS = 1  # its words occur in artist and name, in any order
    ACROSS = 2  # it is a part of artist and name, taken together
    SUBSTRING = 3  # it is a part of the name
    FOLDED = 4  # it is the name, or artist and name, except for case and accents
    EXACT = 5  # it is the name, or artist and name, character by character
    KEY = 6


OF_QUALITY = (ItemMatch.NONE, ItemMatch.WORDS, ItemMatch.SUBSTRING, ItemMatch.FOLDED)
"""How well a name matches, by the `MatchQuality` of its text."""


class ItemStats:
    """Running statistics of one thing.

    Attributes:
        items: Its catalog keys; a key may be added before rows of it.
        first: Second of the first play that counts; None if there is none.
        last: Second of the last one.
        run: The number of plays in the longest run of consecutive plays, with no other counting play between
            them, and the second of its first play, None if there is none. The earliest in a tie.
    """

    def __init__(self, clock: LocalClock, items: Iterable[str] = ()) -> None:
        self.items = set(items)
        self.calendar = CalendarCounts(clock)
        self.sums = Totals()
        self.first: int | None = None
        self.last: int | None = None
        self.run: tuple[int, int | None] = (0, None)
        self._current_run = (0, 0)

    def add(self, rows: PlayRows, counts: list[bool]) -> None:
        """Add all plays of a day; days come in chronological order."""
        hits = list(map(self.items.__contains__, rows.items))
        self._add_to_runs(compress(rows.seconds, counts), list(compress(hits, counts)))
        if True not in hits:
            return
        own, counted = rows.select(hits), list(compress(counts, hits))
        self.calendar.add(own, counted)
        self.sums.add(own, counted)
        seconds = list(compress(own.seconds, counted))
        if seconds:
            self.first = seconds[0] if self.first is None else self.first
            self.last = seconds[-1]

    def _add_to_runs(self, seconds: Iterable[int], hits: Sequence[bool]) -> None:
        if True not in hits:
            self._current_run = (0, 0) if hits else self._current_run
            return
        for second, hit in zip(seconds, hits, strict=True):
            plays, begin = self._current_run
            self._current_run = (plays + 1, begin if plays else second) if hit else (0, 0)
            if self._current_run[0] > self.run[0]:
                self.run = self._current_run


class MatchGroup(NamedTuple):
    """Things that match equally well.

    Attributes:
        things: What identifies the things.
        stats: The catalog keys of all of them, with their statistics, unless there are several.
    """

    things: set[Hashable]
    stats: ItemStats


class ItemSearch:
    """Reads the plays of a question and finds the things that match a text.

    Args:
        reader: Reads the plays.
        kind: ARTISTS, ALBUMS or TRACKS.
        text: A name, with or without the artist before it, or a key, such as "track:<id>" or "artist:<id>".

    Attributes:
        entries: The catalog entries of everything played, with the `NEEDED` fields only.
        tallies: How much was played, by item.
        ranking: All things of the kind, most played first, including those without plays that count.
        candidates: Those that match best.
    """

    def __init__(self, reader: PlayReader, kind: str, text: str) -> None:
        self.kind = kind
        self.text = text
        self.entries: dict[str, CatalogEntry] = {}
        self.tallies = ItemCounts()
        self._reader = reader
        self._matcher = TextMatcher(text)
        self._clock = LocalClock(reader.question.zone)
        self._groups: dict[ItemMatch, MatchGroup] = {}
        for days, new in reader.batches(NEEDED[kind]):
            self._learn(new)
            for rows, counts in days:
                self.tallies.add(rows, counts)
                for group in self._groups.values():
                    if len(group.things) == 1:
                        group.stats.add(rows, counts)
        entries = {key: self.entries[key] for key in self.tallies.ms_played}
        groups = groups_of(kind, entries, exact=reader.question.exact)
        self.ranking = ranked(self.tallies, groups, reader.question.by, counted_only=False)
        for artist in (each.group for each in self.ranking if isinstance(each.group, Artist)):
            self._note(*self._credited(artist), ())  # only now are all of them told apart
        self._best = next(filter(self.matching, sorted(self._groups, reverse=True)), ItemMatch.NONE)
        self.candidates = self.matching(self._best)

    def matching(self, how: ItemMatch) -> list[RankedItem]:
        """Return the things that match this well, the most played first."""
        group = self._groups.get(how)
        if group is None:
            return []
        if self.kind != ARTISTS:
            return [each for each in self.ranking if not group.stats.items.isdisjoint(each.keys)]
        artists = ((each, each.group) for each in self.ranking if isinstance(each.group, Artist))
        return [each for each, one in artists if not group.things.isdisjoint((one.id, fold(one.name)))]

    def follow(self, each: RankedItem) -> ItemStats:
        """Return the statistics of one of the candidates."""
        group = self._groups[self._best]
        if len(group.things) == 1 and group.stats.items == set(each.keys):
            return group.stats
        stats = ItemStats(self._clock, each.keys)
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
                self._note(how, thing, [key])

    def _note(self, how: ItemMatch, thing: Hashable, keys: Iterable[str]) -> None:
        if how:
            group = self._groups.get(how)
            if group is None:
                group = self._groups[how] = MatchGroup(set(), ItemStats(self._clock))
            group.things.add(thing)
            group.stats.items.update(keys)

    def _matches(self, key: str, entry: CatalogEntry) -> Iterable[tuple[ItemMatch, Hashable]]:
        """Return the things that an item belongs to, each with how well it matches."""
        if self.kind == ARTISTS:
            return [self._credited(artist) for artist in artists_of(entry)]
        # By name alone: only all entries show which items are one recording or album.
        if self.kind == TRACKS:
            return [(self._titled(key, entry.name, entry), entry.name)]
        key = f"album:{entry.album_id}" if entry.album_id else ""
        return [(self._titled(key, entry.album, entry), entry.album)] if entry.album else []

    def _credited(self, artist: Artist) -> tuple[ItemMatch, Hashable]:
        is_key = artist.id and self.text.removeprefix("spotify:") == f"artist:{artist.id}"
        return ItemMatch.KEY if is_key else self._named(artist.name), artist.id or fold(artist.name)

    def _named(self, name: str) -> ItemMatch:
        return ItemMatch.EXACT if name == self.text else OF_QUALITY[self._matcher.match(name, "", "")]

    def _titled(self, key: str, name: str, entry: CatalogEntry) -> ItemMatch:
        """Return how well the text matches the key, or the name with or without one of the artists."""
        if key == self.text.removeprefix("spotify:"):
            return ItemMatch.KEY
        artists = {entry.artists, *(artist.name for artist in artists_of(entry))}
        return max(self._with_artist(artist, name) for artist in artists)

    def _with_artist(self, artist: str, name: str) -> ItemMatch:
        both = self._named(f"{artist} {name}")
        if both in (ItemMatch.NONE, ItemMatch.EXACT):
            return both
        return max(self._named(name), ItemMatch.ACROSS if both is ItemMatch.SUBSTRING else both)
