"""Rank and name tracks, artists, albums and shows by the play counts of their items. Pure."""

from __future__ import annotations

from collections import defaultdict
from heapq import nlargest
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.catalog import (
    AlbumKey,
    CatalogEntry,
    album_keys,
    credited_artists,
    is_episode,
    keys_by_group,
    recordings,
)
from spotify_logger.queries.question import TIME
from spotify_logger.report.words import listening_time

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from spotify_logger.core.statistics import ItemCounts

TRACKS, ARTISTS, ALBUMS, SHOWS = KINDS = ("tracks", "artists", "albums", "shows")
DEVICES, CONTEXTS = "devices", "contexts"
CHOICES = (*KINDS, DEVICES, CONTEXTS)
NOUNS = {kind: kind.removesuffix("s") for kind in CHOICES}
VARIOUS = "various artists"


class RankedItem(NamedTuple):
    """A track, artist, album or show, and how much it was played.

    Attributes:
        group: What identifies it among others of its kind.
        keys: Its catalog keys, most played first.
        plays: The number of plays that count.
        ms_played: Milliseconds heard.
    """

    group: Hashable
    keys: list[str]
    plays: int
    ms_played: int

    def measure(self, by: str) -> int:
        """Return what it is ranked by: plays or milliseconds."""
        return self.ms_played if by == TIME else self.plays


class RankedLine(NamedTuple):
    """A line of a ranking.

    Attributes:
        name: The name.
        artists: The artists of a track or an album; "" otherwise.
        now: How much it was played in the period.
        before: Plays and milliseconds in the period before; None if there is no such period.
    """

    name: str
    artists: str
    now: RankedItem
    before: tuple[int, int] | None = None

    @property
    def title(self) -> str:
        """Artists and name in one string."""
        return f"{self.artists} – {self.name}" if self.artists else self.name

    @property
    def data(self) -> dict[str, str | int | float | None]:
        """The line for JSON and CSV."""
        amounts = amounts_data(self.now.plays, self.now.ms_played)
        return {"name": self.name, "artists": self.artists, **amounts, "key": self.now.keys[0]}


def amounts_data(plays: int, ms_played: int) -> dict[str, int]:
    """Return plays and milliseconds for JSON and CSV."""
    return {"plays": plays, "heard_ms": ms_played}


def amount_words(plays: int, ms_played: int, by: str) -> str:
    """Format what is ranked by: "12,345" plays, or "3 h 20 min"."""
    return listening_time(ms_played) if by == TIME else f"{plays:,}"


def groups_of(kind: str, entries: Mapping[str, CatalogEntry], *, exact: bool) -> dict[str, list[Hashable]]:
    """Map each catalog key to its groups of a kind; with `exact`, each ID of a recording is separate.

    Groups of two calls are not comparable: which items belong together depends on all `entries`. These are in
    the order in which the items were last played.
    """
    if kind == ALBUMS:
        return {key: [album] for key, album in album_keys(entries, exact=exact).items()}
    if kind == SHOWS:
        return {key: [entry.album] for key, entry in entries.items() if is_episode(key) and entry.album}
    music = {key: entry for key, entry in entries.items() if not is_episode(key)}
    if kind == ARTISTS:
        return {key: [*artists] for key, artists in credited_artists(music).items()}
    return {key: [recording] for key, recording in recordings(music, exact=exact).items()}


def ranked(
    tallies: ItemCounts, groups: Mapping[str, Iterable[Hashable]], by: str, *, counted_only: bool = True
) -> list[RankedItem]:
    """Rank the groups of items by plays or time, the most played first; the other measure breaks ties.

    Groups without plays that count are left out, unless `counted_only` is false.
    """
    plays, heard = tallies.plays, tallies.ms_played
    found = []
    for group, keys in keys_by_group(heard, groups).items():
        if len(keys) == 1:  # most groups have a single key: nothing to add up
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
    """Return the first `number` groups of a ranking, and the total number, without sorting the rest."""
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


def lines_of(kind: str, shown: Sequence[RankedItem], entries: Mapping[str, CatalogEntry]) -> list[RankedLine]:
    """Return ranked groups as lines, named by their catalog entries."""
    return [RankedLine(*_names(kind, each, entries), each) for each in shown]


def _names(kind: str, each: RankedItem, entries: Mapping[str, CatalogEntry]) -> tuple[str, str]:
    """Return the name and the artists of a group."""
    if kind == TRACKS:
        entry = entries.get(each.keys[0])
        return (entry.name, entry.artists) if entry and entry.name else (each.keys[0], "")
    if isinstance(each.group, AlbumKey):
        credited = credited_artists({key: entries[key] for key in each.keys if key in entries})
        firsts = {artists[0].name if artists else "" for artists in credited.values()}
        return each.group.name, firsts.pop() if len(firsts) == 1 else VARIOUS
    # Spotify has several URIs for Liked Songs.
    is_liked = kind == CONTEXTS and str(each.group).endswith(":collection")
    return "Liked Songs" if is_liked else str(each.group), ""
