"""Answer `count`: how often something was played, from the index and the catalog alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.catalog import artist_names, recording_key
from spotify_logger.core.display import format_duration
from spotify_logger.core.statistics import DetailedItemCounts, ItemCounts, ItemStatistics
from spotify_logger.core.text_search import MatchQuality, TextMatcher
from spotify_logger.queries.phrases import format_time, gap_note, item_title, unobserved_data
from spotify_logger.queries.question import FINISHED, HALF, PLAYS
from spotify_logger.queries.ranking import TRACKS, groups_of, ranked
from spotify_logger.queries.reader import PlayReader
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import counted, utc_time

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from spotify_logger.core.catalog import CatalogEntry
    from spotify_logger.core.periods import Zone
    from spotify_logger.core.play_rows import PlayRows
    from spotify_logger.queries.question import Question
    from spotify_logger.report.blocks import Block
    from spotify_logger.storage.bulk import Archive


@dataclass(slots=True)
class CountedTrack:
    """A recording and its plays; Spotify may have several IDs for it.

    Attributes:
        keys: Its catalog keys, most played first; if an album matched, only those on it.
        entry: The catalog entry of the first key.
        tally: Its plays under all of these keys.
        rank: Its rank among all recordings, from 1; None for an episode, and without plays.
    """

    keys: list[str]
    entry: CatalogEntry
    tally: ItemStatistics
    rank: int | None = None

    @property
    def title(self) -> str:
        """Artists and name of the recording."""
        return item_title(self.keys[0], self.entry)


def count(archive: Archive, question: Question, text: str) -> Answer:
    """Count how often something was played.

    Args:
        archive: The log.
        question: The question to answer.
        text: A title, an album or an artist, in full; if nothing has that name, a part of these; and if there
            is none either, words from them in any order.
    """
    reader = PlayReader(archive, question)
    search = _TrackSearch(reader, TextMatcher(text))
    for days, new in reader.batches():
        search.add(days, new)
    found = _find(search.finder, search.entries, exact=question.exact)
    places, number = _ranks(search.tallies, search.entries, question)
    tracks = _tracks(found.keys, search.entries, search.details_of(found.keys), places, question)
    sums = ItemStatistics()
    for track in tracks:
        sums.merge(track.tally)
    data = {
        "text": text,
        "whole": found.whole,
        "at_least_ms": None if question.threshold in (HALF, FINISHED) else question.threshold,
        "from": utc_time(question.period.begin),
        "to": utc_time(question.period.end),
        **_tally_data(sums),
        "ranked": number,
        "unseen": unobserved_data(reader),
        "tracks": [_track_data(track) for track in tracks],
    }
    if not tracks:
        return Answer(data, [f"No play matches “{text}”."])
    page = [*_page(tracks, sums, number, question), *_left_out(found.left_out), *gap_note(reader)]
    return Answer(data, page, csv_rows=[_csv_row(track) for track in tracks])


class _TrackSearch:
    """Matches a text against the items played, and collects details of the matching ones only.

    Args:
        reader: Reads the plays.
        finder: Matches the text.

    Attributes:
        finder: The matcher.
        tallies: The plays of all items.
        entries: Their catalog entries.
    """

    def __init__(self, reader: PlayReader, finder: TextMatcher) -> None:
        self.finder = finder
        self.tallies = ItemCounts()
        self.entries: dict[str, CatalogEntry] = {}
        self._reader = reader
        self._fitting: set[str] = set()
        self._details = DetailedItemCounts()

    def add(self, days: Sequence[tuple[PlayRows, list[bool]]], new: Mapping[str, CatalogEntry]) -> None:
        """Add some days, with the catalog entries of the items that are new in them."""
        self.entries.update(new)
        self._fitting.update(
            key for key, entry in new.items() if _quality(self.finder, entry) is not MatchQuality.NONE
        )
        for rows, counts in days:
            self.tallies.add(rows, counts)
            _add_some(self._details, self._fitting, rows, counts)

    def details_of(self, keys: Sequence[str]) -> DetailedItemCounts:
        """Return the details of some items."""
        if self._fitting.issuperset(keys):
            return self._details
        # Other IDs of a matching recording that do not match themselves may have been played earlier.
        details, wanted = DetailedItemCounts(), set(keys)
        for rows, counts in self._reader.days():
            _add_some(details, wanted, rows, counts)
        return details


def _add_some(details: DetailedItemCounts, wanted: set[str], rows: PlayRows, counts: Sequence[bool]) -> None:
    """Add the rows of a day that belong to the wanted items."""
    if not wanted.isdisjoint(rows.items):
        chosen = list(map(wanted.__contains__, rows.items))
        details.add(rows.select(chosen), list(compress(counts, chosen)))


class Matches(NamedTuple):
    """The items that a text matches.

    Attributes:
        keys: Catalog keys.
        whole: Whether the text is a whole title, album or artist.
        left_out: The number of recordings that match less closely.
    """

    keys: list[str]
    whole: bool
    left_out: int


def _find(finder: TextMatcher, entries: Mapping[str, CatalogEntry], *, exact: bool) -> Matches:
    matching: dict[MatchQuality, list[str]] = {how: [] for how in MatchQuality}
    for key, entry in entries.items():
        matching[_quality(finder, entry)].append(key)
    how = max(how for how in MatchQuality if matching[how] or how is MatchQuality.WORDS)
    # A recording that matches counts under all its IDs; one that matches by its album, on that album only.
    named = [key for key in matching[how] if _quality(finder, entries[key]._replace(album="")) >= how]
    recordings = {recording_key(key, entries[key].isrc, exact=exact) for key in named}
    others = [] if exact else [key for key, entry in entries.items() if entry.isrc.upper() in recordings]
    keys = list(dict.fromkeys((*matching[how], *others)))
    worse = {
        key for less in (MatchQuality.WORDS, MatchQuality.SUBSTRING) if less < how for key in matching[less]
    }
    return Matches(keys, how is MatchQuality.EXACT, _number(worse, keys, entries, exact=exact))


def _number(
    matching: set[str], keys: Iterable[str], entries: Mapping[str, CatalogEntry], *, exact: bool
) -> int:
    """Count the matching recordings other than those with the given keys."""
    same = [{recording_key(key, entries[key].isrc, exact=exact) for key in some} for some in (matching, keys)]
    return len(same[0] - same[1])


def _quality(finder: TextMatcher, entry: CatalogEntry) -> MatchQuality:
    how = finder.match(entry.name, entry.artists, entry.album)
    return (
        MatchQuality.EXACT
        if how is MatchQuality.SUBSTRING and finder.matches_any(artist_names(entry))
        else how
    )


def _ranks(
    tallies: ItemCounts, entries: Mapping[str, CatalogEntry], question: Question
) -> tuple[dict[Hashable, int], int]:
    """Return the rank of each recording (ties share one), and the number of recordings."""
    everything = ranked(tallies, groups_of(TRACKS, entries, exact=question.exact), question.by)
    places: dict[Hashable, int] = {}
    place, previous = 0, -1
    for number, each in enumerate(everything, 1):
        if each.measure(question.by) != previous:
            place, previous = number, each.measure(question.by)
        places[each.group] = place
    return places, len(everything)


def _tracks(
    keys: Sequence[str],
    entries: Mapping[str, CatalogEntry],
    details: DetailedItemCounts,
    places: Mapping[Hashable, int],
    question: Question,
) -> list[CountedTrack]:
    """Return the recordings with these keys, most played first."""
    groups: dict[str, list[str]] = {}
    for key in sorted(keys, key=lambda key: (-details.plays[key], -details.ms_played[key], key)):
        groups.setdefault(recording_key(key, entries[key].isrc, exact=question.exact), []).append(key)
    tracks = []
    for group, own in groups.items():
        track = CountedTrack(own, entries[own[0]], ItemStatistics(), places.get(group))
        for key in own:
            track.tally.merge(details.tally(key))
        tracks.append(track)
    return sorted(tracks, key=lambda track: (*_most(track.tally, question.by), track.title, track.keys))


def _most(tally: ItemStatistics, by: str) -> tuple[int, int]:
    """Return the sort key that puts the most played first."""
    most = -tally.plays, -tally.ms_played
    return most if by == PLAYS else most[::-1]


def _page(
    tracks: Sequence[CountedTrack], sums: ItemStatistics, number: int, question: Question
) -> list[Block]:
    only = tracks[0].title if len(tracks) == 1 else counted(len(tracks), "track")
    rank = tracks[0].rank if len(tracks) == 1 else None
    page: list[Block] = [_sums_table(only, sums, rank, number, question.zone)]
    if len(tracks) > 1:
        rows = [
            (
                track.title,
                f"{track.tally.plays:,}",
                format_duration(track.tally.ms_played),
                "" if track.rank is None else f"{track.rank:,}",
                track.entry.album,
            )
            for track in tracks[: question.limit]
        ]
        page.append(
            Table(rows, ("track", "plays", "heard", "rank", "album"), right_aligned=[1, 2, 3], flexible=0)
        )
    if len(tracks) > question.limit:
        page.append(f"and {counted(len(tracks) - question.limit, 'more track')}")
    return page


def _left_out(number: int) -> list[str]:
    words = f"Not counted: {counted(number, 'track')} matching less closely."
    return [words] if number else []


def _sums_table(only: str, sums: ItemStatistics, rank: int | None, number: int, zone: Zone) -> Table:
    rows = [
        ("what", only),
        ("plays", f"{sums.plays:,}"),
        ("shorter", f"{sums.shorter:,}"),
        ("skipped", f"{sums.skips:,}"),
        ("heard", format_duration(sums.ms_played)),
        ("rank", "" if rank is None else f"{rank:,} of {counted(number, 'track')}"),
        ("first", format_time(zone, sums.first)),
        ("last", format_time(zone, sums.last)),
    ]
    return Table([row for row in rows if row[1]])


def _track_data(track: CountedTrack) -> dict[str, object]:
    entry = track.entry
    about = {"keys": track.keys, "name": entry.name, "artists": entry.artists, "album": entry.album}
    return {**about, **_tally_data(track.tally), "rank": track.rank}


def _csv_row(track: CountedTrack) -> dict[str, str | int | None]:
    entry, tally = track.entry, track.tally
    return {
        "name": entry.name,
        "artists": entry.artists,
        "album": entry.album,
        "plays": tally.plays,
        "shorter": tally.shorter,
        "skips": tally.skips,
        "heard_ms": tally.ms_played,
        "first": utc_time(tally.first),
        "last": utc_time(tally.last),
        "rank": track.rank,
        "key": track.keys[0],
    }


def _tally_data(sums: ItemStatistics) -> dict[str, object]:
    return {
        "plays": sums.plays,
        "shorter": sums.shorter,
        "skips": sums.skips,
        "heard_ms": sums.ms_played,
        "first": utc_time(sums.first),
        "last": utc_time(sums.last),
    }
