"""Answer `top`: the most played tracks, artists, albums and shows, and the most used devices and contexts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.catalog import AlbumKey, CatalogEntry, artist_names
from spotify_logger.core.play_rows import PlayRows
from spotify_logger.core.statistics import ItemCounts
from spotify_logger.queries.phrases import gap_note, item_title, nothing_played, unobserved_data
from spotify_logger.queries.question import PLAYS, TIME
from spotify_logger.queries.ranking import (
    ALBUMS,
    ARTISTS,
    KINDS,
    SHOWS,
    TRACKS,
    RankedItem,
    groups_of,
    ranked,
    top_ranked,
)
from spotify_logger.queries.reader import PlayReader
from spotify_logger.report.blocks import Answer, Table
from spotify_logger.report.words import change, counted, listening_time, percentage, utc_time

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from spotify_logger.core.periods import Period
    from spotify_logger.queries.question import Question
    from spotify_logger.report.blocks import Block
    from spotify_logger.storage.bulk import Archive

DEVICES, CONTEXTS = "devices", "contexts"
CHOICES = (*KINDS, DEVICES, CONTEXTS)
NEEDED: Mapping[str, Sequence[str]] = {
    TRACKS: ("isrc",),
    ARTISTS: ("artists", "artist_ids"),
    ALBUMS: CatalogEntry._fields,
    SHOWS: ("album",),
    DEVICES: (),
    CONTEXTS: (),
}
"""The catalog fields that decide which groups of a kind an item belongs to."""
PLAY_FIELD = {DEVICES: "device_name", CONTEXTS: "context_uri"}
"""The field of a play that names its device or context: the index has neither."""
NOUNS = {
    TRACKS: "track",
    ARTISTS: "artist",
    ALBUMS: "album",
    SHOWS: "show",
    DEVICES: "device",
    CONTEXTS: "context",
}
UNKNOWN = "unknown"
VARIOUS = "various artists"


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
    before: tuple[int, int] | None

    @property
    def title(self) -> str:
        """Artists and name in one string."""
        return f"{self.artists} – {self.name}" if self.artists else self.name


def top(archive: Archive, question: Question, kind: str) -> Answer:
    """Return what was played most.

    Args:
        archive: The log.
        question: The question to answer.
        kind: One of `CHOICES`.
    """
    reader = PlayReader(archive, question)
    previous = question.period.previous
    tallies = tally_plays(reader, kind, question.period)
    earlier = ItemCounts() if previous is None else tally_plays(reader, kind, previous)
    groups = _groups(reader, kind, tallies.ms_played.keys() | earlier.ms_played.keys())
    shown, number = top_ranked(tallies, groups, question.by, question.limit)
    if not shown:
        return Answer(_data(reader, kind, [], tallies, 0), [_none(kind, question, tallies)])
    names = look_up_names(reader, kind, shown)
    before = None if previous is None else _before(earlier, groups, shown)
    lines = [
        RankedLine(*names[each.group], each, None if before is None else before.get(each.group, (0, 0)))
        for each in shown
    ]
    return Answer(
        _data(reader, kind, lines, tallies, number),
        _page(reader, kind, lines, tallies, number),
        csv_rows=[_line_data(number, line, question, tallies) for number, line in enumerate(lines, 1)],
    )


def tally_plays(reader: PlayReader, kind: str, period: Period) -> ItemCounts:
    """Count the plays of a period by item, or by device or context for these kinds."""
    tallies = ItemCounts()
    for rows, counts in reader.days(period):
        tallies.add(_renamed(reader, kind, rows) if kind in PLAY_FIELD else rows, counts)
    return tallies


def _renamed(reader: PlayReader, kind: str, rows: PlayRows) -> PlayRows:
    """Replace the items of rows by the devices or contexts of the plays."""
    found = reader.archive.fields(rows.seconds, [PLAY_FIELD[kind]])
    return PlayRows(rows.seconds, [name or UNKNOWN for _, (name,) in found], rows.ms_played, rows.ends)


def _groups(reader: PlayReader, kind: str, items: Iterable[str]) -> Mapping[str, Iterable[Hashable]]:
    if kind in PLAY_FIELD:
        return {name: [name] for name in items}
    return groups_of(kind, reader.entries(items, NEEDED[kind]), exact=reader.question.exact)


def _before(
    earlier: ItemCounts, groups: Mapping[str, Iterable[Hashable]], shown: Sequence[RankedItem]
) -> dict[Hashable, tuple[int, int]]:
    """Return plays and milliseconds of the shown groups in the period before."""
    wanted = {each.group for each in shown}
    ours = {key: groups[key] for key in earlier.ms_played if not wanted.isdisjoint(groups.get(key, ()))}
    found = ranked(earlier, ours, PLAYS, counted_only=False)
    return {each.group: (each.plays, each.ms_played) for each in found if each.group in wanted}


def _none(kind: str, question: Question, tallies: ItemCounts) -> str:
    """Return the message for an empty ranking, even if other things were played."""
    if not tallies.ms_played:
        return nothing_played(question.period)
    return f"No {NOUNS[kind]} has plays {question.rule_words}: {question.period.words}."


def look_up_names(
    reader: PlayReader, kind: str, shown: Sequence[RankedItem]
) -> dict[Hashable, tuple[str, str]]:
    """Look up the name and the artists of ranked groups."""
    keys = [key for each in shown for key in each.keys] if kind in (TRACKS, ALBUMS) else []
    return names_by_group(kind, shown, reader.entries(keys))


def names_by_group(
    kind: str, shown: Iterable[RankedItem], entries: Mapping[str, CatalogEntry]
) -> dict[Hashable, tuple[str, str]]:
    """Return the name and the artists of ranked groups, from catalog entries already read."""
    if kind == CONTEXTS:
        return {each.group: (_context(str(each.group)), "") for each in shown}
    if kind in (ARTISTS, SHOWS, DEVICES):
        return {each.group: (str(each.group), "") for each in shown}
    if kind == ALBUMS:
        return {each.group: _album(each, entries) for each in shown}
    return {each.group: _track(each.keys[0], entries) for each in shown}


def lines_of(kind: str, shown: Sequence[RankedItem], entries: Mapping[str, CatalogEntry]) -> list[RankedLine]:
    """Return ranked groups as lines, without a comparison to the period before."""
    names = names_by_group(kind, shown, entries)
    return [RankedLine(*names[each.group], each, None) for each in shown]


def _track(key: str, entries: Mapping[str, CatalogEntry]) -> tuple[str, str]:
    entry = entries.get(key)
    if entry is None or not entry.name:
        return item_title(key, None), ""
    return entry.name, entry.artists


def _album(each: RankedItem, entries: Mapping[str, CatalogEntry]) -> tuple[str, str]:
    album = each.group
    assert isinstance(album, AlbumKey)  # noqa: S101 - so are the groups of this kind
    firsts = {next(iter(artist_names(entries[key])), "") for key in each.keys if key in entries}
    return album.name, firsts.pop() if len(firsts) == 1 else VARIOUS


def _context(uri: str) -> str:
    """Return a readable name of a context; Spotify has several URIs for Liked Songs."""
    return "Liked Songs" if uri.endswith(":collection") else uri


def _page(
    reader: PlayReader, kind: str, lines: Sequence[RankedLine], tallies: ItemCounts, number: int
) -> list[Block]:
    question = reader.question
    plays, heard = totals(tallies)
    rows = []
    for place, line in enumerate(lines, 1):
        share = percentage(line.now.measure(question.by), heard if question.by == TIME else plays)
        row = [str(place), line.title, f"{line.now.plays:,}", listening_time(line.now.ms_played), share]
        rows.append(row if line.before is None else [*row, _change(line, question.by)])
    headings = ["", NOUNS[kind], "plays", "heard", "share"]
    numbers = [0, 2, 3, 4]
    previous = question.period.previous
    if previous is not None:
        headings, numbers = [*headings, previous.words], [*numbers, 5]
    total = f"{question.period.words}: {counted(plays, 'play')} {question.rule_words}"
    in_all = f"{total}, of {counted(number, NOUNS[kind])}; {listening_time(heard)} heard in all"
    return [Table(rows, headings, numbers), in_all, *gap_note(reader)]


def _change(line: RankedLine, by: str) -> str:
    plays, ms_played = line.before or (0, 0)
    if by != TIME:
        return change(line.now.plays, plays)
    if not ms_played:
        return change(line.now.ms_played, 0)
    more = line.now.ms_played // 60_000 - ms_played // 60_000
    return f"{more:+,} min" if more else "="


def totals(tallies: ItemCounts) -> tuple[int, int]:
    """Return the total of plays and of milliseconds."""
    return tallies.plays.total(), sum(tallies.ms_played.values())


def _data(
    reader: PlayReader, kind: str, lines: Sequence[RankedLine], tallies: ItemCounts, number: int
) -> dict[str, object]:
    question = reader.question
    plays, heard = totals(tallies)
    return {
        "kind": kind,
        "from": utc_time(question.period.begin),
        "to": utc_time(question.period.end),
        "by": question.by,
        "plays": plays,
        "heard_ms": heard,
        "number": number,
        "unseen": unobserved_data(reader),
        "top": [_line_data(place, line, question, tallies) for place, line in enumerate(lines, 1)],
    }


def _line_data(
    place: int, line: RankedLine, question: Question, tallies: ItemCounts
) -> dict[str, str | int | float | None]:
    plays, heard = totals(tallies)
    whole = heard if question.by == TIME else plays
    before_plays, before_ms = line.before or (None, None)
    return {
        "rank": place,
        "name": line.name,
        "artists": line.artists,
        "plays": line.now.plays,
        "heard_ms": line.now.ms_played,
        "share": round(line.now.measure(question.by) / whole, 6) if whole else 0.0,
        "plays_before": before_plays,
        "heard_ms_before": before_ms,
        "key": line.now.keys[0],
    }
