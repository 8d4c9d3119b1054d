"""Answer `count`: how often something was played, from the index and the catalog alone."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, compress
from typing import TYPE_CHECKING

from spotify_logger.core.catalog import CatalogEntry, artists_of, credited_artists
from spotify_logger.core.display import format_duration
from spotify_logger.core.statistics import DetailedItemCounts, ItemCounts, ItemStatistics
from spotify_logger.core.text_search import MatchQuality, TextMatcher
from spotify_logger.queries.phrases import format_time, gap_note, item_title, unseen_data
from spotify_logger.queries.question import FINISHED, HALF, PLAYS, Question
from spotify_logger.queries.ranking import TRACKS, groups_of, ranked
from spotify_logger.queries.reader import PlayReader
from spotify_logger.report.blocks import Answer, Block, Table
from spotify_logger.report.words import counted, utc_time

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from spotify_logger.core.play_rows import PlayRows
    from spotify_logger.report.csv_output import CsvValue
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
    rank: int | None

    @property
    def title(self) -> str:
        """Artists and name of the recording."""
        return item_title(self.keys[0], self.entry)

    def most(self, by: str) -> tuple[int, int]:
        """Return plays and milliseconds, with the one that it is ranked by first."""
        plays, ms_played = self.tally.plays, self.tally.ms_played
        return (plays, ms_played) if by == PLAYS else (ms_played, plays)

    @property
    def data(self) -> dict[str, CsvValue]:
        """The recording for JSON and CSV, without its keys."""
        entry = self.entry
        names = {"name": entry.name, "artists": entry.artists, "album": entry.album}
        return {**names, **_sums_data(self.tally), "rank": self.rank}


def count(archive: Archive, question: Question, text: str) -> Answer:
    """Count how often something was played.

    The text is a title, an album or an artist, in full; if nothing has that name, a part of these; and if
    there is none either, words from them in any order.
    """
    reader, matcher = PlayReader(archive, question), TextMatcher(text)
    tallies, details, fitting = ItemCounts(), DetailedItemCounts(), set[str]()
    entries: dict[str, CatalogEntry] = {}
    for days, new in reader.batches():
        entries.update(new)
        fitting.update(key for key, entry in new.items() if _quality(matcher, entry))
        for day, counts in days:
            tallies.add(day, counts)
            _add_some(details, fitting, day, counts)
    entries = {key: entries[key] for key in tallies.ms_played}
    groups, artists = groups_of(TRACKS, entries, exact=question.exact), credited_artists(entries)
    names = {key: [artist.name for artist in credited] for key, credited in artists.items()}
    recordings = {key: groups[key][0] if key in groups else key for key in entries}
    keys, is_whole, left_out = _find(matcher, entries, recordings, names)
    if not fitting.issuperset(keys):
        # Other IDs of a matching recording that do not match themselves may have been played earlier.
        details, fitting = DetailedItemCounts(), set(keys)
        for day, counts in reader.days():
            _add_some(details, fitting, day, counts)
    places = _ranks(tallies, groups, question.by)
    tracks = _tracks(keys, entries, recordings, details, places)
    tracks.sort(key=lambda track: (track.title, track.keys))
    tracks.sort(key=lambda track: track.most(question.by), reverse=True)
    sums = ItemStatistics()
    for track in tracks:
        sums.merge(track.tally)
    data = {
        "text": text,
        "whole": is_whole,
        "at_least_ms": None if question.threshold in (HALF, FINISHED) else question.threshold,
        "from": utc_time(question.period.begin),
        "to": utc_time(question.period.end),
        **_sums_data(sums),
        "ranked": len(places),
        "unseen": unseen_data(reader),
        "tracks": [
            {"keys": track.keys, "artist_names": names[track.keys[0]], **track.data} for track in tracks
        ],
    }
    if not tracks:
        return Answer(data, [f"No play matches “{text}”."])
    page = _page(tracks, sums, len(places), question)
    if left_out:
        page.append(f"Not counted: {counted(left_out, 'track')} matching less closely.")
    rows = [{**track.data, "key": track.keys[0]} for track in tracks]
    return Answer(data, [*page, *gap_note(reader)], csv_rows=rows)


def _add_some(details: DetailedItemCounts, wanted: set[str], rows: PlayRows, counts: Sequence[bool]) -> None:
    """Add the rows of a day that belong to the wanted items."""
    if not wanted.isdisjoint(rows.items):
        chosen = list(map(wanted.__contains__, rows.items))
        details.add(rows.select(chosen), list(compress(counts, chosen)))


def _find(
    matcher: TextMatcher,
    entries: Mapping[str, CatalogEntry],
    recordings: Mapping[str, Hashable],
    names: Mapping[str, Sequence[str]],
) -> tuple[list[str], bool, int]:
    """Return the items that match best, whether by a whole name, and how many recordings match less well."""
    artists = {name for name in set(chain.from_iterable(names.values())) if matcher.matches_any([name])}

    def quality(key: str, entry: CatalogEntry) -> MatchQuality:
        return _quality(matcher, entry) if artists.isdisjoint(names[key]) else MatchQuality.EXACT

    matching: dict[MatchQuality, list[str]] = {how: [] for how in MatchQuality}
    for key, entry in entries.items():
        matching[quality(key, entry)].append(key)
    how = max(how for how in MatchQuality if matching[how] or how is MatchQuality.WORDS)
    # A recording that matches counts under all its IDs; one that matches by its album, on that album only.
    named = {recordings[key] for key in matching[how] if quality(key, entries[key]._replace(album="")) >= how}
    keys = list(dict.fromkeys((*matching[how], *(key for key in entries if recordings[key] in named))))
    worse = (MatchQuality.WORDS, MatchQuality.SUBSTRING)
    others = {recordings[key] for less in worse if less < how for key in matching[less]}
    return keys, how is MatchQuality.EXACT, len(others - {recordings[key] for key in keys})


def _quality(matcher: TextMatcher, entry: CatalogEntry) -> MatchQuality:
    how = matcher.match(entry.name, entry.artists, entry.album)
    is_artist = how is MatchQuality.SUBSTRING and matcher.matches_any(map(str, artists_of(entry)))
    return MatchQuality.EXACT if is_artist else how


def _ranks(tallies: ItemCounts, groups: Mapping[str, Sequence[Hashable]], by: str) -> dict[Hashable, int]:
    """Return the rank of each recording; ties share one."""
    places: dict[Hashable, int] = {}
    place, previous = 0, -1
    for number, each in enumerate(ranked(tallies, groups, by), 1):
        if each.measure(by) != previous:
            place, previous = number, each.measure(by)
        places[each.group] = place
    return places


def _tracks(
    keys: Sequence[str],
    entries: Mapping[str, CatalogEntry],
    recordings: Mapping[str, Hashable],
    details: DetailedItemCounts,
    places: Mapping[Hashable, int],
) -> list[CountedTrack]:
    """Return the recordings with these keys."""
    groups: dict[Hashable, list[str]] = {}
    for key in sorted(keys, key=lambda key: (-details.plays[key], -details.ms_played[key], key)):
        groups.setdefault(recordings[key], []).append(key)
    tracks = []
    for group, own in groups.items():
        track = CountedTrack(own, entries[own[0]], ItemStatistics(), places.get(group))
        for key in own:
            track.tally.merge(details.tally(key))
        tracks.append(track)
    return tracks


def _page(
    tracks: Sequence[CountedTrack], sums: ItemStatistics, number: int, question: Question
) -> list[Block]:
    rank = tracks[0].rank if len(tracks) == 1 else None
    rows = [
        ("what", tracks[0].title if len(tracks) == 1 else counted(len(tracks), "track")),
        ("plays", f"{sums.plays:,}"),
        ("shorter", f"{sums.shorter:,}"),
        ("skipped", f"{sums.skips:,}"),
        ("heard", format_duration(sums.ms_played)),
        ("rank", "" if rank is None else f"{rank:,} of {counted(number, 'track')}"),
        ("first", format_time(question.zone, sums.first)),
        ("last", format_time(question.zone, sums.last)),
    ]
    page: list[Block] = [Table([row for row in rows if row[1]])]
    if len(tracks) > 1:
        lines = [
            (
                track.title,
                f"{track.tally.plays:,}",
                format_duration(track.tally.ms_played),
                "" if track.rank is None else f"{track.rank:,}",
                track.entry.album,
            )
            for track in tracks[: question.limit]
        ]
        page.append(Table(lines, ("track", "plays", "heard", "rank", "album"), [1, 2, 3], flexible=0))
    if len(tracks) > question.limit:
        page.append(f"and {counted(len(tracks) - question.limit, 'more track')}")
    return page


def _sums_data(sums: ItemStatistics) -> dict[str, CsvValue]:
    return {
        "plays": sums.plays,
        "shorter": sums.shorter,
        "skips": sums.skips,
        "heard_ms": sums.ms_played,
        "first": utc_time(sums.first),
        "last": utc_time(sums.last),
    }
