"""Answer `compare`: the artists and tracks that two listeners share, how often, and who heard them first.

Plays are counted in the period. Who was first is decided over all time up to its end: someone who has known
a track for years is first in every year.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.catalog import keys_by_group
from spotify_logger.core.periods import Period
from spotify_logger.core.statistics import ItemCounts
from spotify_logger.queries.phrases import item_title
from spotify_logger.queries.question import TIME
from spotify_logger.queries.ranking import ARTISTS, TRACKS, RankedItem, groups_of, ranked
from spotify_logger.queries.reader import PlayReader
from spotify_logger.queries.status import UNNAMED
from spotify_logger.report.blocks import Answer, Heading, Table
from spotify_logger.report.words import counted, listening_time, utc_time

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from spotify_logger.core.catalog import CatalogEntry
    from spotify_logger.core.play_rows import PlayRows
    from spotify_logger.queries.question import Question
    from spotify_logger.report.blocks import Block
    from spotify_logger.storage.bulk import Archive

KINDS = {ARTISTS: "artist", TRACKS: "track"}
NEEDED = ("name", "artists", "artist_ids", "isrc", "album")
"""The catalog fields that identify and name tracks and artists."""


@dataclass
class ListenerPlays:
    """The plays of one of the two listeners.

    Attributes:
        name: The name of the listener; "" for the one without a name.
        tallies: The plays of the period, by item.
        entries: The catalog entries of the items.
        things: Artists and tracks, by kind and group (see `RankedItem`).
        firsts: The second of the first play that counts over all time, by kind and group.
    """

    name: str
    tallies: ItemCounts = field(default_factory=ItemCounts)
    entries: Mapping[str, CatalogEntry] = field(default_factory=dict)
    things: dict[str, dict[Hashable, RankedItem]] = field(default_factory=dict)
    firsts: dict[str, dict[Hashable, int]] = field(default_factory=dict)


class SharedItem(NamedTuple):
    """A track or an artist that both listeners heard.

    Attributes:
        name: The name of the artist, or artists and title of the track.
        left: How much the first listener played it.
        right: How much the second listener played it.
        firsts: The seconds at which each first heard it, even before the period.
    """

    name: str
    left: RankedItem
    right: RankedItem
    firsts: tuple[int, int]

    def measures(self, by: str) -> tuple[int, int]:
        """Return plays or milliseconds of each listener, whichever it is ranked by."""
        return self.left.measure(by), self.right.measure(by)


def compare(archives: Sequence[Archive], names: Sequence[str], question: Question) -> Answer:
    """Compare two listeners.

    Args:
        archives: Their logs.
        names: Their names; "" for the listener without a name.
        question: The question to answer.
    """
    pair = [
        _heard(PlayReader(archive, question), name) for archive, name in zip(archives, names, strict=True)
    ]
    common = {kind: _common(pair, kind, question.by) for kind in KINDS}
    return Answer(_data(pair, common, question), _page(pair, common, question))


def _heard(reader: PlayReader, name: str) -> ListenerPlays:
    heard = ListenerPlays(name)
    firsts: dict[str, int] = {}
    begin = reader.question.period.begin
    if begin is not None:
        for day in reader.days(Period(end=begin)):
            _note_firsts(firsts, *day)
    for day in reader.days():
        heard.tallies.add(*day)
        _note_firsts(firsts, *day)
    heard.entries = reader.entries(heard.tallies.ms_played.keys() | firsts.keys(), NEEDED)
    for kind in KINDS:
        groups = groups_of(kind, heard.entries, exact=reader.question.exact)
        found = ranked(heard.tallies, groups, reader.question.by)
        heard.things[kind] = {each.group: each for each in found}
        heard.firsts[kind] = {
            group: min(firsts[key] for key in keys) for group, keys in keys_by_group(firsts, groups).items()
        }
    return heard


def _note_firsts(firsts: dict[str, int], rows: PlayRows, counts: Sequence[bool]) -> None:
    """Record the first counting play of each item, from days in chronological order."""
    for item, second in zip(compress(rows.items, counts), compress(rows.seconds, counts), strict=True):
        firsts.setdefault(item, second)


def _common(pair: Sequence[ListenerPlays], kind: str, by: str) -> list[SharedItem]:
    """Return what both played, ranked by the lower of the two measures."""
    one, other = pair
    found = []
    for group, ours in one.things[kind].items():
        theirs = other.things[kind].get(group)
        if theirs is not None:
            name = str(group) if kind == ARTISTS else item_title(ours.keys[0], one.entries.get(ours.keys[0]))
            firsts = one.firsts[kind][group], other.firsts[kind][group]
            found.append(SharedItem(name, ours, theirs, firsts))
    return sorted(found, key=lambda each: (-min(each.measures(by)), -sum(each.measures(by)), each.name))


def _page(
    pair: Sequence[ListenerPlays], common: Mapping[str, list[SharedItem]], question: Question
) -> list[Block]:
    names = [each.name or UNNAMED for each in pair]
    figures = [
        ("plays", *(f"{each.tallies.plays.total():,}" for each in pair)),
        ("heard", *(listening_time(sum(each.tallies.ms_played.values())) for each in pair)),
        *((kind, *(f"{len(each.things[kind]):,}" for each in pair)) for kind in KINDS),
    ]
    blocks: list[Block] = [Table(figures, [question.period.words, *names], right_aligned=[1, 2], flexible=0)]
    for kind, noun in KINDS.items():
        found = common[kind]
        blocks.append(Heading(f"{counted(len(found), noun)} in common"))
        if found:
            rows = [
                _row(place, each, names, question) for place, each in enumerate(found[: question.limit], 1)
            ]
            blocks.append(Table(rows, ["", noun, *names, "first"], right_aligned=[0, 2, 3]))
    return blocks


def _row(place: int, each: SharedItem, names: Sequence[str], question: Question) -> Sequence[str]:
    amounts = [
        listening_time(amount) if question.by == TIME else f"{amount:,}"
        for amount in each.measures(question.by)
    ]
    first = min(each.firsts)
    day = f"{question.zone.day(first)}"
    return str(place), each.name, *amounts, f"{_who_first(each, names)}, {day}"


def _who_first(each: SharedItem, names: Sequence[str]) -> str:
    left, right = each.firsts
    return "both" if left == right else names[0] if left < right else names[1]


def _data(
    pair: Sequence[ListenerPlays], common: Mapping[str, list[SharedItem]], question: Question
) -> dict[str, object]:
    return {
        "from": utc_time(question.period.begin),
        "to": utc_time(question.period.end),
        "by": question.by,
        "listeners": [
            {
                "name": each.name,
                "plays": each.tallies.plays.total(),
                "heard_ms": sum(each.tallies.ms_played.values()),
                **{kind: len(each.things[kind]) for kind in KINDS},
            }
            for each in pair
        ],
        "common": {kind: len(found) for kind, found in common.items()},
        **{
            kind: [_line(place, each) for place, each in enumerate(found[: question.limit], 1)]
            for kind, found in common.items()
        },
    }


def _line(place: int, each: SharedItem) -> dict[str, object]:
    return {
        "rank": place,
        "name": each.name,
        "plays": [each.left.plays, each.right.plays],
        "heard_ms": [each.left.ms_played, each.right.ms_played],
        "first": [utc_time(second) for second in each.firsts],
        "key": each.left.keys[0],
    }
