"""What two listeners have in common: artists and tracks, how often each heard them, and who did so first.

How often is about a stretch. Who was first is about all time up to its end: who has known something for years
is first in every year.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

from spotify_logger.core.catalog import keys_by_group
from spotify_logger.core.periods import Period
from spotify_logger.core.statistics import ItemCounts
from spotify_logger.queries.phrases import called
from spotify_logger.queries.question import TIME
from spotify_logger.queries.ranking import ARTISTS, TRACKS, Ranked, groups_of, ranked
from spotify_logger.queries.reader import Reading
from spotify_logger.queries.status import UNNAMED
from spotify_logger.report.blocks import Answer, Heading, Table
from spotify_logger.report.words import counted, listened, utc_time

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from spotify_logger.core.catalog import CatalogEntry
    from spotify_logger.core.play_rows import PlayRows
    from spotify_logger.queries.question import Question
    from spotify_logger.report.blocks import Block
    from spotify_logger.storage.bulk import Archive

KINDS = {ARTISTS: "artist", TRACKS: "track"}
NEEDED = ("name", "artists", "artist_ids", "isrc", "album")
"""The fields of the catalogue that tell both, and what they are called."""


@dataclass
class Heard:
    """What one of the two heard.

    Attributes:
        name: Whose it is; "" where it has no name.
        tallies: By item.
        entries: What is known of the items.
        things: Artists and tracks, by what tells them from others of their kind.
        firsts: The second of the first play ever that counts, by kind and by the same.
    """

    name: str
    tallies: ItemCounts = field(default_factory=ItemCounts)
    entries: Mapping[str, CatalogEntry] = field(default_factory=dict)
    things: dict[str, dict[Hashable, Ranked]] = field(default_factory=dict)
    firsts: dict[str, dict[Hashable, int]] = field(default_factory=dict)


class Both(NamedTuple):
    """Something that both heard.

    Attributes:
        name: What it is called.
        ones: What the one made of it.
        others: What the other one made of it.
        firsts: The seconds in which each first heard it, be it before the stretch.
    """

    name: str
    ones: Ranked
    others: Ranked
    firsts: tuple[int, int]

    def measures(self, by: str) -> tuple[int, int]:
        """What it is ranked by, for each."""
        return self.ones.measure(by), self.others.measure(by)


def compare(archives: Sequence[Archive], names: Sequence[str], question: Question) -> Answer:
    """What two listeners have in common.

    Args:
        archives: Their logs.
        names: What they are called; "" for the one without a name.
        question: What is asked.
    """
    pair = [_heard(Reading(archive, question), name) for archive, name in zip(archives, names, strict=True)]
    common = {kind: _common(pair, kind, question.by) for kind in KINDS}
    return Answer(_data(pair, common, question), _page(pair, common, question))


def _heard(reading: Reading, name: str) -> Heard:
    heard = Heard(name)
    firsts: dict[str, int] = {}
    begin = reading.question.stretch.begin
    if begin is not None:
        for day in reading.days(Period(end=begin)):
            _note_firsts(firsts, *day)
    for day in reading.days():
        heard.tallies.add(*day)
        _note_firsts(firsts, *day)
    heard.entries = reading.entries(heard.tallies.heard.keys() | firsts.keys(), NEEDED)
    for kind in KINDS:
        groups = groups_of(kind, heard.entries, exact=reading.question.exact)
        found = ranked(heard.tallies, groups, reading.question.by)
        heard.things[kind] = {each.group: each for each in found}
        heard.firsts[kind] = {
            group: min(firsts[key] for key in keys) for group, keys in keys_by_group(firsts, groups).items()
        }
    return heard


def _note_firsts(firsts: dict[str, int], rows: PlayRows, counts: Sequence[bool]) -> None:
    """Note when items were first heard so that it counts, of a day that is later than those before."""
    for item, second in zip(compress(rows.items, counts), compress(rows.seconds, counts), strict=True):
        firsts.setdefault(item, second)


def _common(pair: Sequence[Heard], kind: str, by: str) -> list[Both]:
    """What both heard, first what the one of them who heard it less heard most."""
    one, other = pair
    found = []
    for group, ours in one.things[kind].items():
        theirs = other.things[kind].get(group)
        if theirs is not None:
            name = str(group) if kind == ARTISTS else called(ours.keys[0], one.entries.get(ours.keys[0]))
            firsts = one.firsts[kind][group], other.firsts[kind][group]
            found.append(Both(name, ours, theirs, firsts))
    return sorted(found, key=lambda each: (-min(each.measures(by)), -sum(each.measures(by)), each.name))


def _page(pair: Sequence[Heard], common: Mapping[str, list[Both]], question: Question) -> list[Block]:
    names = [each.name or UNNAMED for each in pair]
    figures = [
        ("plays", *(f"{each.tallies.plays.total():,}" for each in pair)),
        ("heard", *(listened(sum(each.tallies.heard.values())) for each in pair)),
        *((kind, *(f"{len(each.things[kind]):,}" for each in pair)) for kind in KINDS),
    ]
    blocks: list[Block] = [Table(figures, [question.stretch.words, *names], numbers=[1, 2], wide=0)]
    for kind, noun in KINDS.items():
        found = common[kind]
        blocks.append(Heading(f"{counted(len(found), noun)} in common"))
        if found:
            rows = [
                _row(place, each, names, question) for place, each in enumerate(found[: question.number], 1)
            ]
            blocks.append(Table(rows, ["", noun, *names, "first"], numbers=[0, 2, 3]))
    return blocks


def _row(place: int, each: Both, names: Sequence[str], question: Question) -> Sequence[str]:
    amounts = [
        listened(amount) if question.by == TIME else f"{amount:,}" for amount in each.measures(question.by)
    ]
    first = min(each.firsts)
    day = f"{question.zone.day(first)}"
    return str(place), each.name, *amounts, f"{_who_first(each, names)}, {day}"


def _who_first(each: Both, names: Sequence[str]) -> str:
    ones, others = each.firsts
    return "both" if ones == others else names[0] if ones < others else names[1]


def _data(pair: Sequence[Heard], common: Mapping[str, list[Both]], question: Question) -> dict[str, object]:
    return {
        "from": utc_time(question.stretch.begin),
        "to": utc_time(question.stretch.end),
        "by": question.by,
        "listeners": [
            {
                "name": each.name,
                "plays": each.tallies.plays.total(),
                "heard_ms": sum(each.tallies.heard.values()),
                **{kind: len(each.things[kind]) for kind in KINDS},
            }
            for each in pair
        ],
        "common": {kind: len(found) for kind, found in common.items()},
        **{
            kind: [_line(place, each) for place, each in enumerate(found[: question.number], 1)]
            for kind, found in common.items()
        },
    }


def _line(place: int, each: Both) -> dict[str, object]:
    return {
        "rank": place,
        "name": each.name,
        "plays": [each.ones.plays, each.others.plays],
        "heard_ms": [each.ones.ms_played, each.others.ms_played],
        "first": [utc_time(second) for second in each.firsts],
        "key": each.ones.keys[0],
    }
