"""What was played most: tallies of items become a list of tracks, artists, albums or shows. Pure."""

from __future__ import annotations

from collections import defaultdict
from heapq import nlargest
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.catalog import album_keys, artist_names, is_episode, keys_by_group, recording_key
from spotify_logger.queries.question import TIME

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from spotify_logger.core.catalog import CatalogEntry
    from spotify_logger.core.statistics import ItemCounts

TRACKS, ARTISTS, ALBUMS, SHOWS = "tracks", "artists", "albums", "shows"
KINDS = (TRACKS, ARTISTS, ALBUMS, SHOWS)


class RankedItem(NamedTuple):
    """A thing and how it was played.

    Attributes:
        group: What tells it from others of its kind.
        keys: The catalogue keys that it has, the most played first.
        plays: How often it was played.
        ms_played: How long, in milliseconds.
    """

    group: Hashable
    keys: list[str]
    plays: int
    ms_played: int

    def measure(self, by: str) -> int:
        """What it is ranked by."""
        return self.ms_played if by == TIME else self.plays


def groups_of(kind: str, entries: Mapping[str, CatalogEntry], *, exact: bool) -> dict[str, list[Hashable]]:
    """Which things of a kind each item belongs to.

    Args:
        kind: One of `KINDS`.
        entries: What the catalogue knows, by key.
        exact: See `recordings`.
    """
    if kind == ALBUMS:
        return {key: [album] for key, album in album_keys(entries, exact=exact).items()}
    if kind == SHOWS:
        return {key: [entry.album] for key, entry in entries.items() if is_episode(key) and entry.album}
    music = {key: entry for key, entry in entries.items() if not is_episode(key)}
    if kind == ARTISTS:
        return {key: [*artist_names(entry)] for key, entry in music.items()}
    return {key: [recording_key(key, entry.isrc, exact=exact)] for key, entry in music.items()}


def ranked(
    tallies: ItemCounts, groups: Mapping[str, Iterable[Hashable]], by: str, *, counted_only: bool = True
) -> list[RankedItem]:
    """Things in the order of how much they were played.

    Args:
        tallies: By item.
        groups: See `groups_of`.
        by: "plays" or "time"; the other one decides between equals.
        counted_only: Leave out what was never played so that it counts.
    """
    plays, heard = tallies.plays, tallies.ms_played
    found = []
    for group, keys in keys_by_group(heard, groups).items():
        if len(keys) == 1:  # most things have one: nothing is to be added up
            times, milliseconds = plays[keys[0]], heard[keys[0]]
        else:
            keys.sort(key=lambda key: (-plays[key], -heard[key], key))
            times, milliseconds = sum(plays[key] for key in keys), sum(heard[key] for key in keys)
        if times or not counted_only:
            found.append(RankedItem(group, keys, times, milliseconds))
    if by == TIME:
        found.sort(key=lambda each: (-each.ms_played, -each.plays, each.keys[0], str(each.group)))
    else:
        found.sort(key=lambda each: (-each.plays, -each.ms_played, each.keys[0], str(each.group)))
    return found


def top_ranked(
    tallies: ItemCounts, groups: Mapping[str, Iterable[Hashable]], by: str, number: int
) -> tuple[list[RankedItem], int]:
    """The first ones of `ranked`, and how many there are in all, without bringing the others into an order.

    Args:
        tallies: By item.
        groups: See `groups_of`.
        by: "plays" or "time".
        number: How many are wanted.
    """
    plays: defaultdict[Hashable, int] = defaultdict(int)
    heard: defaultdict[Hashable, int] = defaultdict(int)
    for key, milliseconds in tallies.ms_played.items():
        times = tallies.plays[key]
        for group in groups.get(key, ()):
            plays[group] += times
            heard[group] += milliseconds
    measure = heard if by == TIME else plays
    counted = [group for group, times in plays.items() if times]
    threshold = min(nlargest(number, map(measure.__getitem__, counted)), default=0)
    wanted = {group for group in counted if measure[group] >= threshold}
    few = {
        key: [group for group in groups[key] if group in wanted]
        for key in tallies.ms_played
        if not wanted.isdisjoint(groups.get(key, ()))
    }
    return ranked(tallies, few, by)[:number], len(counted)
